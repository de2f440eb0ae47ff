"""What a SQLite store really sends to SQLite."""

from __future__ import annotations

import sqlite3
from collections import Counter

from sqlalchemy import Connection

from cloaca.stores.sql.connections import driver_of
from cloaca.stores.sql.sqlite import SqliteStore


def driver(connection: Connection | None) -> sqlite3.Connection:
    """Return the driver's connection below one of an open store."""
    assert connection is not None
    return driver_of(connection)


class Trace:
    """Every statement of an open store, as SQLite sees it, its values included."""

    def __init__(self, store: SqliteStore) -> None:
        self.statements: list[str] = []
        for connection in (store._writing, store._reading):
            driver(connection).set_trace_callback(self.statements.append)

    def kinds(self) -> Counter[str]:
        """Count statements by their first words."""
        return Counter(" ".join(statement.split()[:2]) for statement in self.statements)
