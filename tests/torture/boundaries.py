"""The boundaries of statements: counting those that write, and dying right before, after or amid the n-th of them.

Nothing in cloaca knows of it: the drivers' methods are replaced, in a process of the tests that has asked for it.
``amid`` is for a server: the statement is on its way, and nobody will hear the answer.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

from cloaca.stores.sql.connections import HandHeld
from tests.torture import journal

Side = Literal["before", "after", "amid"]
WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|BEGIN|COMMIT)\b")


@dataclass(frozen=True)
class Fault:
    """Where a process dies. ``number`` counts from 1; 0 only counts."""

    number: int = 0
    side: Side = "before"


class Boundaries:
    """Counts the statements of this process that write, and dies where its fault says."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.count = 0
        self._lock = threading.Lock()

    def pass_(self, statement: str) -> int:
        """Count a statement that is about to be sent; return its number, 0 if it only reads."""
        if not WRITES.search(statement):
            return 0
        with self._lock:
            self.count += 1
            return self.count

    def reach(self, number: int, side: Side, statement: str) -> None:
        """Die, if this is the place."""
        if number and (number, side) == (self.fault.number, self.fault.side):
            journal.note("died", number=number, side=side, statement=" ".join(statement.split()[:3]))
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)  # on another thread than the one that dies first


def install(fault: Fault) -> Boundaries:
    """Watch what this process sends to any database."""
    boundaries = Boundaries(fault)
    _watch_sqlite(boundaries)
    _watch_postgres(boundaries)
    return boundaries


def _watch_sqlite(boundaries: Boundaries) -> None:
    class Watched(sqlite3.Cursor):
        """A cursor that counts."""

        def execute(self, sql: str, parameters: Any = (), /) -> Self:
            number = boundaries.pass_(sql)
            boundaries.reach(number, "before", sql)
            done = super().execute(sql, parameters)
            boundaries.reach(number, "after", sql)
            return done

        def executemany(self, sql: str, parameters: Any, /) -> Self:
            number = boundaries.pass_(sql)
            boundaries.reach(number, "before", sql)
            done = super().executemany(sql, parameters)
            boundaries.reach(number, "after", sql)
            return done

    def cursor(self: HandHeld, factory: Any = Watched) -> sqlite3.Cursor:
        return sqlite3.Connection.cursor(self, Watched)

    def execute(self: HandHeld, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return self.cursor().execute(sql, parameters)

    def executemany(self: HandHeld, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        return self.cursor().executemany(sql, parameters)

    connection: Any = HandHeld  # in this process only, which is made to die
    connection.cursor, connection.execute, connection.executemany = cursor, execute, executemany


def _watch_postgres(boundaries: Boundaries) -> None:
    from asyncpg.connection import Connection  # noqa: PLC0415 - a process on SQLite needs no driver
    from asyncpg.prepared_stmt import PreparedStatement  # noqa: PLC0415 - as above

    fetch, execute = PreparedStatement.fetch, Connection.execute

    def watched_fetch(self: Any, *values: Any, **options: Any) -> Any:
        return _watched(boundaries, self.get_query(), lambda: fetch(self, *values, **options))

    def watched_execute(self: Any, query: str, *values: Any, **options: Any) -> Any:
        return _watched(boundaries, query, lambda: execute(self, query, *values, **options))

    statement, connection = cast(Any, PreparedStatement), cast(Any, Connection)
    statement.fetch, connection.execute = watched_fetch, watched_execute


async def _watched(boundaries: Boundaries, statement: str, ask: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    number = boundaries.pass_(statement)
    boundaries.reach(number, "before", statement)
    if (number, "amid") == (boundaries.fault.number, boundaries.fault.side):
        ask().send(None)  # until it waits for the answer
        boundaries.reach(number, "amid", statement)
    answer = await ask()
    boundaries.reach(number, "after", statement)
    return answer
