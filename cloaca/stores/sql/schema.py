"""Whose tables a SQLite file has: none, ours, somebody else's, or those of a newer release.

It looks before anything of the file is changed, and makes the tables of a new one. What they are is said in ``tables``.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from sqlalchemy import Connection

from cloaca.errors import CorruptDatabase, DatabaseTooNew, ForeignDatabase
from cloaca.stores.sql import views
from cloaca.stores.sql.connections import connect, driver_of
from cloaca.stores.sql.failures import BUSY, DAMAGED, code_of
from cloaca.stores.sql.tables import SCHEMA, Meta, Table

NAMES = "SELECT name, type FROM sqlite_master WHERE lower(name) GLOB 'cloaca_*'"


def check(path: Path) -> None:
    """Refuse a file that is not ours, without changing it.

    Where it can't be looked at without writing, as after a crash in the middle of a rollback, nothing is refused yet.
    """
    try:
        with contextlib.closing(connect(path, read_only=True)) as driver:
            has_tables(path, driver)
    except sqlite3.Error as error:
        if code_of(error) in DAMAGED | BUSY:
            raise


def create(path: Path, connection: Connection) -> None:
    """Make the tables if they are not there yet."""
    if not has_tables(path, driver_of(connection)):
        Table.metadata.create_all(connection)
        for statement in views.statements(views.SQLITE):
            driver_of(connection).execute(statement)
        row = Meta(id=1, schema_version=SCHEMA, created_at=time.time())
        connection.execute(Table.metadata.tables["cloaca_meta"].insert(), row.model_dump())


def has_tables(path: Path, driver: sqlite3.Connection) -> bool:
    """Return whether our tables are there. Raises if they are not ours, not whole, or newer than this code."""
    found = dict(driver.execute(NAMES).fetchall())
    if not found:
        return False
    version = _version(driver) if "cloaca_meta" in found else None
    if version is None:
        raise ForeignDatabase(
            f"{path} has tables that cloaca did not make ({', '.join(sorted(found))}): choose another file"
        )
    if version > SCHEMA:
        raise DatabaseTooNew(
            f"{path} was written by a newer release of cloaca (schema {version}, this one knows {SCHEMA}): "
            "upgrade cloaca here; the file was not changed"
        )
    absent = sorted(Table.metadata.tables.keys() - found.keys())
    if version == SCHEMA and absent:
        raise CorruptDatabase(f"{path} lacks the table {absent[0]}: restore it from a backup")
    return True


def _version(driver: sqlite3.Connection) -> int | None:
    """Return the schema's number as the file has it, None if it has none."""
    try:
        row = driver.execute("SELECT schema_version FROM cloaca_meta WHERE id = 1").fetchone()
    except sqlite3.OperationalError as error:
        if code_of(error) != sqlite3.SQLITE_ERROR:
            raise
        return None
    return row[0] if row is not None and isinstance(row[0], int) else None
