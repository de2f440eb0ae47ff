"""Processes to be killed, stopped and continued; and a look at what they have left behind.

They are forked from a server that has loaded the programs and nothing else, so that one more costs milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import asyncpg

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "tests.crashes.programs",
        "tests.crashes.version_programs",
        "tests.torture.programs",
        "cloaca.stores.sql.migrating",
    ]
)
PATIENCE_S = 30.0


class Life:
    """A process that calls ``target(*args)``."""

    def __init__(self, target: Callable[..., None], *args: object) -> None:
        self._process: ForkServerProcess = FORKS.Process(target=target, args=args, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.join(PATIENCE_S)

    def end(self) -> int | None:
        """Wait for its end; return its exit code."""
        self._process.join(PATIENCE_S)
        return self._process.exitcode

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def freeze(self, database: Path | str) -> None:
        """Stop it, but not while it holds a file's write lock: the others would wait for that."""
        path = file_of(database)
        if path is None:
            os.kill(self.pid, signal.SIGSTOP)
        else:
            until(lambda: self._frozen_without_lock(path))

    def _frozen_without_lock(self, database: Path) -> bool:
        os.kill(self.pid, signal.SIGSTOP)
        with closing(sqlite3.connect(database, timeout=0.2, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                self.thaw()
                return False
            connection.execute("ROLLBACK")
            return True

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@contextmanager
def life(target: Callable[..., None], *args: object) -> Iterator[Life]:
    """A process that does not outlive the block."""
    started = Life(target, *args)
    try:
        yield started
    finally:
        started.kill()


def until(holds: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Wait for what another process does."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.002)


def log(folder: Path) -> list[dict[str, Any]]:
    """Return what the bodies have noted, in order."""
    file = folder / "log"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def begun(folder: Path, name: str, times: int = 1) -> bool:
    """Whether bodies of a task have begun so many times."""
    return [entry["task"] for entry in log(folder)].count(name) >= times


def file_of(database: Path | str) -> Path | None:
    """Return the file that a path or a URL means, None for a server."""
    if isinstance(database, Path):
        return database
    return Path(database.removeprefix("sqlite:///")) if database.startswith("sqlite:") else None


def rows(database: Path | str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Return what a statement finds in a file or, without values, on a server."""
    path = file_of(database)
    if path is None:
        assert not values
        with ThreadPoolExecutor(1) as other:  # this thread may have an event loop that runs
            return other.submit(lambda: asyncio.run(_server_rows(str(database), statement))).result()
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        return connection.execute(statement, values).fetchall()


async def _server_rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url, server_settings={"search_path": "cloaca"})
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


def assert_sound(database: Path | str) -> None:
    """The file is whole; each task has one row, each attempt one failure at most; no lease is left over."""
    if file_of(database) is not None:
        assert rows(database, "PRAGMA integrity_check") == [("ok",)]
    assert rows(database, "SELECT run_id, name FROM cloaca_task GROUP BY 1, 2 HAVING count(*) > 1") == []
    twice = "SELECT run_id, name, attempt FROM cloaca_failure GROUP BY 1, 2, 3 HAVING count(*) > 1"
    assert rows(database, twice) == []
    assert rows(database, "SELECT id FROM cloaca_run WHERE owner IS NOT NULL AND status <> 'running'") == []
