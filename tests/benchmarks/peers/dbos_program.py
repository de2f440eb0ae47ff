"""``python dbos_program.py URL MODE CONCURRENCY RUNS REPEAT``: the steps per second of DBOS, as a list in JSON.

It runs in an environment of its own, and imports nothing of cloaca. Each of ``RUNS`` workflows is ten steps, one after
the other; ``MODE`` is ``threads`` (synchronous workflows, started from ``CONCURRENCY`` threads, which is the fastest
way that was found), or ``tasks`` (asynchronous ones, so many at a time). On SQLite the file gets a write-ahead log,
which DBOS does not set by itself and which makes it faster. The
garbage collector comes as seldom as in cloaca's process.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor

with contextlib.suppress(ImportError):  # DBOS needs SQLite 3.42, and Python may have an older one
    import pysqlite3

    if sqlite3.sqlite_version_info < (3, 42):
        sys.modules["sqlite3"] = pysqlite3
        sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2

from dbos import DBOS, DBOSConfig

STEPS = 10


@DBOS.step()
def add(number: int) -> int:
    """Add one."""
    return number + 1


@DBOS.workflow()
def count(number: int) -> int:
    """Ten steps."""
    for _ in range(STEPS):
        number = add(number)
    return number


@DBOS.step()
async def add_async(number: int) -> int:
    """Add one."""
    return number + 1


@DBOS.workflow()
async def count_async(number: int) -> int:
    """Ten steps."""
    for _ in range(STEPS):
        number = await add_async(number)
    return number


def on_threads(concurrency: int, runs: int) -> None:
    """Run synchronous workflows."""
    with ThreadPoolExecutor(concurrency) as threads:
        assert set(threads.map(count, [0] * runs)) == {STEPS}


def as_tasks(concurrency: int, runs: int) -> None:
    """Run asynchronous workflows."""

    async def work() -> None:
        slots = asyncio.Semaphore(concurrency)

        async def one() -> int:
            async with slots:
                return await count_async(0)

        assert set(await asyncio.gather(*(one() for _ in range(runs)))) == {STEPS}

    asyncio.run(work())


def main(url: str, mode: str, concurrency: int, runs: int, repeat: int) -> None:
    """Measure and print."""
    if url.startswith("sqlite:///"):
        with contextlib.closing(sys.modules["sqlite3"].connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": url,
        "sys_db_pool_size": concurrency + 4,
        "run_admin_server": False,
        "log_level": "ERROR",
        "enable_otlp": False,
    }
    DBOS(config=config)
    DBOS.launch()
    work = {"threads": on_threads, "tasks": as_tasks}[mode]
    work(concurrency, 2)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    rates = []
    for _ in range(repeat):
        begun = time.perf_counter()
        work(concurrency, runs)
        rates.append(runs * STEPS / (time.perf_counter() - begun))
    DBOS.destroy()
    print(json.dumps(rates))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
