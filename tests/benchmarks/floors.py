"""The floors: how fast bare sqlite3 commits the very rows that a run commits, on the same disk, at the same moment."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cloaca.stores.sql.statements import INSERT_TASK

GROUP = 500
TABLE = (
    "CREATE TABLE cloaca_task (run_id BIGINT, name VARCHAR, status VARCHAR, attempt INTEGER, session INTEGER, "
    "started_at FLOAT, finished_at FLOAT, output TEXT, PRIMARY KEY (run_id, name))"
)


@dataclass(frozen=True, slots=True)
class Floors:
    """Rows per second through bare sqlite3: one per commit, and ``GROUP`` per commit."""

    single: float
    group: float

    def mean(self, other: Floors) -> Floors:
        """The floors around a run: the mean of before and after."""
        return Floors((self.single + other.single) / 2, (self.group + other.group) / 2)


def measure(folder: Path) -> Floors:
    """Measure both floors in a new file in ``folder``, with write-ahead log and ``synchronous=FULL``."""
    path = folder / "floor.db"
    for leftover in folder.glob("floor.db*"):
        leftover.unlink()
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", TABLE):
            connection.execute(statement)
        return Floors(_rate(connection, 1, 200), _rate(connection, GROUP, 20))
    finally:
        connection.close()


def _rate(connection: sqlite3.Connection, rows: int, commits: int) -> float:
    batches = list(_batches(rows, commits))
    begun = time.perf_counter()
    for batch in batches:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT_TASK, batch)
        connection.execute("COMMIT")
    return rows * commits / (time.perf_counter() - begun)


def _batches(rows: int, commits: int) -> Iterator[list[tuple[object, ...]]]:
    first = 7_530_000_000_000_000_000 + rows * 1_000_000
    for commit in range(commits):
        yield [
            (first + row, f"t{commit}", "succeeded", 1, 1, 1.7e9 + row, 1.7e9 + row, '{"n":1}') for row in range(rows)
        ]
