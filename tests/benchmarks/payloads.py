"""What a run's input costs in its row, which is updated when the run ends, and what it would in a table of its own.

Both layouts are written by the bare driver as a run is: inserted with its input, updated twice (a claim, the end), and
read as a listing of runs does.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from pathlib import Path

import asyncpg

from tests.benchmarks.floors import Ground, SqliteGround

SIZES = (200, 2_000, 20_000, 200_000)
RUNS = 300
RUN = "CREATE TABLE {run} (id BIGINT PRIMARY KEY, status TEXT, owner BIGINT, finished_at FLOAT8, input TEXT)"
INPUT = "CREATE TABLE {input} (id BIGINT PRIMARY KEY, input TEXT)"
CLAIM = "UPDATE {run} SET status = 'running', owner = 7 WHERE id = $1"
END = "UPDATE {run} SET status = 'succeeded', owner = NULL, finished_at = 1700000000.5 WHERE id = $1"
LISTING = "SELECT id, status, owner, finished_at FROM {run} ORDER BY id DESC LIMIT 50"
BOTH = "SELECT id, status, owner, finished_at, input FROM {run} ORDER BY id DESC LIMIT 50"

Figures = tuple[float, float, float]  # bytes of log for a run, microseconds for one, milliseconds for a listing


def texts(size: int) -> list[str]:
    """Return inputs that don't compress."""
    chance = random.Random(size)
    return [chance.randbytes(size // 2).hex() for _ in range(RUNS)]


def on_sqlite(folder: Path, size: int, *, apart: bool) -> Figures:
    """Write and read on SQLite."""
    path = folder / "payloads.db"
    names = {"run": "run", "input": "input"}
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 0"):
            connection.execute(f"PRAGMA {pragma}")
        for statement in (RUN, INPUT):
            connection.execute(statement.format(**names).replace("BIGINT", "INTEGER"))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        payloads, begun = texts(size), time.perf_counter()
        for number, text in enumerate(payloads):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "INSERT INTO run VALUES (?, 'pending', NULL, NULL, ?)", (number, None if apart else text)
            )
            if apart:
                connection.execute("INSERT INTO input VALUES (?, ?)", (number, text))
            connection.execute("COMMIT")
            for statement in (CLAIM, END):
                connection.execute(statement.format(**names).replace("$1", "?"), (number,))
        taken = time.perf_counter() - begun
        log = path.with_name(path.name + "-wal").stat().st_size
        begun = time.perf_counter()
        connection.execute((LISTING if apart else BOTH).format(**names)).fetchall()
        listed = time.perf_counter() - begun
    for file in folder.glob("payloads.db*"):
        file.unlink()
    return log / RUNS, taken / RUNS * 1e6, listed * 1e3


async def on_postgres(url: str, size: int, *, apart: bool) -> Figures:
    """Write and read on PostgreSQL."""
    names = {"run": "payloads.run", "input": "payloads.input"}
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DROP SCHEMA IF EXISTS payloads CASCADE; CREATE SCHEMA payloads")
        for statement in (RUN, INPUT):
            await connection.execute(statement.format(**names))
        await connection.execute("CHECKPOINT")
        payloads, before = texts(size), await connection.fetchval("SELECT pg_current_wal_lsn()")
        begun = time.perf_counter()
        for number, text in enumerate(payloads):
            async with connection.transaction():
                insert = "INSERT INTO payloads.run VALUES ($1, 'pending', NULL, NULL, $2)"
                await connection.execute(insert, number, None if apart else text)
                if apart:
                    await connection.execute("INSERT INTO payloads.input VALUES ($1, $2)", number, text)
            for statement in (CLAIM, END):
                await connection.execute(statement.format(**names), number)
        taken = time.perf_counter() - begun
        log = await connection.fetchval("SELECT pg_current_wal_lsn() - $1::pg_lsn", before)
        begun = time.perf_counter()
        await connection.fetch((LISTING if apart else BOTH).format(**names))
        listed = time.perf_counter() - begun
        await connection.execute("DROP SCHEMA payloads CASCADE")
    finally:
        await connection.close()
    return float(log) / RUNS, taken / RUNS * 1e6, listed * 1e3


async def report(ground: Ground) -> None:
    """Print a row for each size and layout."""
    print(f"{'input of a run':<38} {'log B/run':>10} {'us/run':>9} {'50 listed ms':>13}")
    for size in SIZES:
        for apart in (False, True):
            if isinstance(ground, SqliteGround):
                figures = on_sqlite(ground.folder, size, apart=apart)
            else:
                figures = await on_postgres(ground.url, size, apart=apart)
            label = f"{size:,} B, {'in a table of its own' if apart else 'in the row'}"
            print(f"{label:<38} {figures[0]:>10,.0f} {figures[1]:>9,.0f} {figures[2]:>13.2f}", flush=True)
