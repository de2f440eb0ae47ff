"""A SQLite file as a ground for tables: whoever writes is alone, and a transaction holds changes of tables, too."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path

from sqlalchemy import Connection

from cloaca.stores.sql import migrating, schema
from cloaca.stores.sql.connections import PAUSE_S, driver_of, transaction
from cloaca.stores.sql.standing import Found


class SqliteGround:
    """A file that is open; ``connection`` is its writer's."""

    schema: str | None = None
    clock = "((julianday('now') - 2440587.5) * 86400.0)"

    def __init__(self, path: Path, connection: Connection) -> None:
        self.where, self.connection = str(path), connection

    def upgrade(self, *, after_deployment: bool = False) -> list[str]:
        """Bring the tables to this release's revision; return those that were reached."""
        return migrating.upgrade(self, after_deployment=after_deployment)

    def turn(self) -> AbstractContextManager[None]:
        return transaction(driver_of(self.connection))

    def look(self) -> Found:
        return schema.look(driver_of(self.connection))

    def prepare(self) -> None:
        """Do nothing: the file is there."""

    def in_the_way(self, error: Exception) -> bool:
        return False  # SQLite waits by itself

    def pause(self) -> None:
        time.sleep(PAUSE_S)
