"""The floors: how fast a bare driver commits the very rows that a run commits, on the same database and disk.

A ground is a database to measure on: its URL, and its floors at this moment.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from cloaca.ports import Store, TaskRow
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.sqlite import SqliteStore
from cloaca.stores.sql.statements import INSERT_TASK, columns

GROUP = 500
# Of a task's row as it is stored; a new column makes this file fail until it is here, too.
TYPES = {
    "run_id": "int8", "name": "text", "status": "text", "attempt": "int4", "session": "int8",
    "started_at": "float8", "finished_at": "float8", "output": "text", "code": "text",
}  # fmt: skip
COLUMNS = ", ".join([*(f"{name} {TYPES[name]}" for name in columns(TaskRow)), "PRIMARY KEY (run_id, name)"])
# As one statement with arrays: of the ways to write rows to PostgreSQL the fastest at these sizes.
ARRAYS = ", ".join(f"${place}::{TYPES[name]}[]" for place, name in enumerate(columns(TaskRow), 1))
INSERT_ARRAYS = f"INSERT INTO floor.task SELECT * FROM unnest({ARRAYS})"


@dataclass(frozen=True, slots=True)
class Floors:
    """Rows per second through a bare driver: one per commit, and ``GROUP`` per commit."""

    single: float
    group: float

    def mean(self, other: Floors) -> Floors:
        """The floors around a run: the mean of before and after."""
        return Floors((self.single + other.single) / 2, (self.group + other.group) / 2)


class Ground(Protocol):
    """A database to measure on."""

    name: str
    url: str

    async def floors(self) -> Floors:
        """Measure both floors now."""
        ...

    async def clear(self) -> None:
        """Remove what was written."""
        ...

    def store(self) -> Store:
        """Return a store on the database, to be opened."""
        ...

    async def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Send a statement by a connection of its own; ``{0}`` stands before the names of tables. Return its rows."""
        ...

    def logged(self) -> AbstractAsyncContextManager[Callable[[], Awaitable[int]]]:
        """Give a function that says how many bytes were written to the write-ahead log since."""
        ...


class SqliteGround:
    """A file of SQLite, with write-ahead log and ``synchronous=FULL``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"SQLite {sqlite3.sqlite_version}, WAL, synchronous=FULL"
        self.url = f"sqlite:///{folder / 'bench.db'}"

    async def floors(self) -> Floors:
        """Measure both floors in a new file."""
        _remove(self.folder, "floor.db*")
        connection = sqlite3.connect(self.folder / "floor.db", isolation_level=None)
        try:
            table = f"CREATE TABLE cloaca_task ({COLUMNS})"
            for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", table):
                connection.execute(statement)
            return Floors(_sqlite_rate(connection, 1, 200), _sqlite_rate(connection, GROUP, 20))
        finally:
            connection.close()

    async def clear(self) -> None:
        """Remove the file."""
        _remove(self.folder, "bench.db*")

    def store(self) -> Store:
        """Return a store on the file."""
        return SqliteStore(self.folder / "bench.db")

    async def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Send a statement."""
        with contextlib.closing(sqlite3.connect(self.folder / "bench.db", isolation_level=None)) as connection:
            return connection.execute(statement.format("")).fetchall()

    @asynccontextmanager
    async def logged(self) -> AsyncIterator[Callable[[], Awaitable[int]]]:
        """Measure the log; a reader that looks on keeps it from being begun anew."""
        log = self.folder / "bench.db-wal"
        with contextlib.closing(sqlite3.connect(self.folder / "bench.db", isolation_level=None)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM cloaca_meta").fetchall()

            async def length() -> int:
                return log.stat().st_size

            yield length


class PostgresGround:
    """A server of PostgreSQL, as it is installed: ``synchronous_commit=on``."""

    def __init__(self, url: str, version: str) -> None:
        self.name, self.url = f"PostgreSQL {version}, synchronous_commit=on", url

    async def floors(self) -> Floors:
        """Measure both floors in a new table, through one connection."""
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute("DROP SCHEMA IF EXISTS floor CASCADE")
            await connection.execute("CREATE SCHEMA floor")
            await connection.execute(f"CREATE TABLE floor.task ({COLUMNS})")
            return Floors(await _postgres_rate(connection, 1, 200), await _postgres_rate(connection, GROUP, 20))
        finally:
            await connection.close()

    async def clear(self) -> None:
        """Remove cloaca's schema."""
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute("DROP SCHEMA IF EXISTS cloaca CASCADE")
        finally:
            await connection.close()

    def store(self) -> Store:
        """Return a store in the schema that a runner takes."""
        return PostgresStore(self.url)

    async def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Send a statement."""
        connection = await asyncpg.connect(self.url)
        try:
            return [tuple(row) for row in await connection.fetch(statement.format("cloaca."))]
        finally:
            await connection.close()

    @asynccontextmanager
    async def logged(self) -> AsyncIterator[Callable[[], Awaitable[int]]]:
        """Measure the server's log, in which the first change of a page after a checkpoint is the whole page."""
        begun = await self._position()

        async def length() -> int:
            return await self._position() - begun

        yield length

    async def _position(self) -> int:
        [(position,)] = await self.query("SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::int8")
        return int(position)


def _remove(folder: Path, pattern: str) -> None:
    for leftover in folder.glob(pattern):
        leftover.unlink()


def _sqlite_rate(connection: sqlite3.Connection, rows: int, commits: int) -> float:
    batches = list(_batches(rows, commits))
    begun = time.perf_counter()
    for batch in batches:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT_TASK, batch)
        connection.execute("COMMIT")
    return rows * commits / (time.perf_counter() - begun)


async def _postgres_rate(connection: asyncpg.Connection[asyncpg.Record], rows: int, commits: int) -> float:
    batches = [[list(column) for column in zip(*batch, strict=True)] for batch in _batches(rows, commits)]
    statement = await connection.prepare(INSERT_ARRAYS)
    begun = time.perf_counter()
    for batch in batches:
        await statement.fetch(*batch)
    return rows * commits / (time.perf_counter() - begun)


def _batches(rows: int, commits: int) -> Iterator[list[TaskRow]]:
    first = 7_530_000_000_000_000_000 + rows * 1_000_000
    for commit in range(commits):
        yield [
            TaskRow(
                first + row, f"t{commit}", "succeeded", 1, 1, 1.7e9 + row, 1.7e9 + row, '{"n":1}', "202be4fb8431539a"
            )
            for row in range(rows)
        ]
