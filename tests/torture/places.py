"""Databases under torture, as three see them: a process that works there, a check that asks in SQL, and who keeps them.

A place can be pickled: it is what a process is told. It knows no workflow.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from cloaca.ports import Store
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.sqlite import SqliteStore

Rows = list[tuple[Any, ...]]

TABLES = (
    "meta", "session", "plan", "run", "task", "failure", "attempt", "note", "wait", "signal", "cache", "schedule",
    "firing",
)  # fmt: skip
PATIENCE_S = 30.0


class Place(Protocol):
    """A database of cloaca's."""

    def store(self) -> Store:
        """Return a store on it, not opened yet."""
        ...

    def ask(self, statement: str) -> Rows:
        """Return what a statement finds, in a transaction of its own; ``?`` is not understood."""
        ...

    def damage(self) -> Rows:
        """Return what the database itself finds wrong with its files."""
        ...


@dataclass(frozen=True)
class File:
    """A SQLite file."""

    path: Path

    def store(self) -> Store:
        return SqliteStore(self.path)

    def ask(self, statement: str) -> Rows:
        with closing(sqlite3.connect(self.path, timeout=PATIENCE_S)) as connection, connection:
            return connection.execute(statement).fetchall()

    def damage(self) -> Rows:
        return [row for row in self.ask("PRAGMA integrity_check") if row != ("ok",)]


@dataclass(frozen=True)
class Schema:
    """A schema on a PostgreSQL server. ``url`` is for workers, ``direct`` for checks: nothing stands in between."""

    url: str
    direct: str
    name: str

    def store(self) -> Store:
        return PostgresStore(self.url, schema=self.name)

    def ask(self, statement: str) -> Rows:
        return asyncio.run(self._ask(statement))

    async def _ask(self, statement: str) -> Rows:
        connection = await asyncpg.connect(self.direct, timeout=PATIENCE_S, command_timeout=PATIENCE_S)
        try:
            await connection.execute(f'SET search_path TO "{self.name}"')
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    def damage(self) -> Rows:
        """Compare each index with its table, where the server has its extension for that."""
        if not self.ask("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'"):
            return []
        indexes = (
            "SELECT c.oid::int FROM pg_class AS c JOIN pg_index AS i ON i.indexrelid = c.oid "
            f"WHERE c.relnamespace = '\"{self.name}\"'::regnamespace AND i.indisvalid AND c.relam = "
            "(SELECT oid FROM pg_am WHERE amname = 'btree')"
        )
        damaged: Rows = []
        for (index,) in self.ask(indexes):
            try:
                self.ask(f"SELECT public.bt_index_check({index}::oid::regclass, true)")
            except asyncpg.PostgresError as error:
                damaged.append((index, str(error)))
        return damaged


def copy(place: Place, path: Path) -> File:
    """Copy all rows into a new SQLite file, whose tables have the same columns and no constraint."""
    with closing(sqlite3.connect(path)) as target, target:
        for table in TABLES:
            columns = _columns(place, table)
            target.execute(f"CREATE TABLE cloaca_{table} ({', '.join(columns)})")
            found = place.ask(f"SELECT {', '.join(columns)} FROM cloaca_{table}")
            marks = ", ".join("?" * len(columns))
            target.executemany(f"INSERT INTO cloaca_{table} VALUES ({marks})", found)
    return File(path)


def _columns(place: Place, table: str) -> Sequence[str]:
    if isinstance(place, File):
        return [str(row[1]) for row in place.ask(f"PRAGMA table_info(cloaca_{table})")]
    found = place.ask(
        "SELECT column_name::text FROM information_schema.columns WHERE table_schema = current_schema() "
        f"AND table_name = 'cloaca_{table}' ORDER BY ordinal_position"
    )
    return [str(name) for (name,) in found]
