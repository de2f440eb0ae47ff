"""``python -m tests.benchmarks [--quick] [--large]``: measure on both databases, and print a table for each.

``--quick`` repeats less, ``--large`` adds graphs of 100,000 tasks and a million runs that have ended. Each figure is a
median; the floors are those around each run. ``--only`` names one part: rates, fanning, draining, peer, latency,
volume, payloads, growth or checking. The garbage collector is set as in ``cloaca worker``, for the peer, too.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg

from cloaca import Runner, Workflow
from cloaca.cli.working import seldom_collected
from tests.benchmarks import checking, draining, fanning, growth, latency, payloads, peer, volume
from tests.benchmarks.floors import Floors, Ground, PostgresGround, SqliteGround
from tests.benchmarks.workloads import chain, count, count_on_thread, fan, layers, many, one_by_one
from tests.stores.servers import server

PARTS = ("rates", "fanning", "draining", "peer", "latency", "volume", "payloads", "growth", "checking")

Work = Callable[[Runner, Workflow[Any, Any], int], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured run: tasks per second, CPU microseconds per task, and the floors around it."""

    rate: float
    cpu_us: float
    floors: Floors


async def sample(ground: Ground, workflow: Workflow[Any, Any], work: Work, runs: int) -> Sample:
    """Run ``runs`` runs on a new database after one to warm up."""
    tasks = runs * len(workflow.plan.nodes)
    async with Runner(ground.url) as runner:
        await work(runner, workflow, 1)
        before = await ground.floors()
        begun, cpu = time.perf_counter(), time.process_time()
        await work(runner, workflow, runs)
        taken, used = time.perf_counter() - begun, time.process_time() - cpu
        floors = before.mean(await ground.floors())
    await ground.clear()
    return Sample(tasks / taken, used / tasks * 1e6, floors)


def report(label: str, samples: list[Sample]) -> float:
    """Print one row: the medians; return that of the rates."""
    print(
        f"{label:<38} {median(s.rate for s in samples):>10,.0f} {median(s.cpu_us for s in samples):>9.1f} "
        f"{median(s.rate / s.floors.single for s in samples):>10.2f} "
        f"{median(s.rate / s.floors.group for s in samples):>10.3f}",
        flush=True,
    )
    return median(s.rate for s in samples)


def importing(statement: str) -> float:
    """Return the CPU milliseconds that a fresh interpreter takes for ``statement``, the median of several."""
    code = f"import time; b = time.process_time(); {statement}; print((time.process_time() - b) * 1e3)"
    return median(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
        for _ in range(7)
    )


def bytes_per_task(folder: Path) -> tuple[float, float]:
    """Return the bytes of database file and of write-ahead log per task, for 500 runs of a chain of 10."""
    path = folder / "bytes.db"
    empty, log = 0, 0

    async def fill() -> None:
        nonlocal empty, log
        async with Runner(f"sqlite:///{path}") as runner:
            connection = sqlite3.connect(path)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            empty = path.stat().st_size
            await many(runner, chain(count, 10), 500)
            log = Path(f"{path}-wal").stat().st_size
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()

    asyncio.run(fill())
    return (path.stat().st_size - empty) / 5000, log / 5000


def building(nodes: int) -> None:
    """Print what it costs to build, check and compile layers of ``nodes`` tasks."""
    begun = time.process_time()
    layers(nodes)
    built = (time.process_time() - begun) / nodes * 1e6
    print(f"{f'build, check and compile {nodes:,} tasks':<38} {'':>10} {built:>9.1f}", flush=True)


def main() -> None:
    """Measure everything and print it."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--large", action="store_true")
    arguments.add_argument("--only", choices=PARTS)
    options = arguments.parse_args()
    parts = {options.only} if options.only else set(PARTS)
    folder = Path(tempfile.mkdtemp(prefix="cloaca-bench-", dir="."))
    try:
        measure_parts(SqliteGround(folder), parts, quick=options.quick, large=options.large)
        if "rates" in parts:
            measure_sizes(folder)
        with server(in_memory=False) as url:
            ground = PostgresGround(url, asyncio.run(version(url)))
            measure_parts(ground, parts, quick=options.quick, large=options.large)
        if "checking" in parts:
            checking.report(folder, modules=20 if options.quick else 100, repeat=1 if options.quick else 3)
    finally:
        shutil.rmtree(folder)


async def version(url: str) -> str:
    """Return the version of a server."""
    connection = await asyncpg.connect(url)
    try:
        found: str = await connection.fetchval("SHOW server_version")
        return found.split(maxsplit=1)[0]
    finally:
        await connection.close()


def measure_parts(ground: Ground, parts: set[str], *, quick: bool, large: bool) -> None:
    """Print what was asked for of one database."""
    print(f"Python {platform.python_version()}, {ground.name}")
    print(f"{'':<38} {'tasks/s':>10} {'CPU us/t':>9} {'x single':>10} {'x group':>10}")
    repeat = 2 if quick else 5
    if "rates" in parts:
        measure_all(ground, repeat, large=large)
    if "fanning" in parts:
        fanning.report(ground, quick=quick)
    if "draining" in parts:
        draining.report(ground, 2_000 if quick else 10_000, repeat)
    if "peer" in parts:
        runs, rounds = (50, 3) if quick else (500, 5)

        def ours() -> float:
            return asyncio.run(sample(ground, chain(count, 10), many, runs)).rate

        peer.report(ground, ours, runs=runs, repeat=rounds)
    if "latency" in parts:
        latency.report(ground, quick=quick)
    if "volume" in parts:
        volume.report(ground)
    if "payloads" in parts:
        asyncio.run(payloads.report(ground))
    if "growth" in parts:
        growth.report(ground, large=large)


def measure_all(ground: Ground, repeat: int, *, large: bool) -> None:
    """Print the rates on one database; ``repeat`` is the number of samples behind each median."""

    def row(label: str, workflow: Workflow[Any, Any], work: Work, runs: int, times: int = repeat) -> None:
        report(label, [asyncio.run(sample(ground, workflow, work, runs)) for _ in range(times)])

    row("500 runs at once, chain of 10, async", chain(count, 10), many, 500)
    row("500 runs at once, chain of 10, threads", chain(count_on_thread, 10), many, 500)
    row("one run after the other, chain of 10", chain(count, 10), one_by_one, 20)
    for width in (50, 200, 800, 3200):
        row(f"1 -> {width} -> 1", fan(width), one_by_one, max(1, 2000 // width))
    for nodes in (1_000, 10_000, *((100_000,) if large else ())):
        building(nodes)
        row(f"layers of 100, {nodes:,} tasks", layers(nodes), one_by_one, 1, 1 if nodes > 10_000 else repeat)
    row("chain of 1,000, one run", chain(count, 1_000), one_by_one, 1)


def measure_sizes(folder: Path) -> None:
    """Print what tasks take in the file, and what importing costs."""
    stored, logged = bytes_per_task(folder)
    print(f"{'bytes per task':<38} {stored:>10,.0f} in the file, {logged:,.0f} in the log")
    floor = importing("import pydantic")
    print(f"{'import pydantic':<38} {floor:>10.0f} ms CPU")
    for statement in ("import cloaca", "from cloaca import Workflow, run, task"):
        print(f"{statement:<38} {importing('import pydantic; ' + statement):>10.0f} ms CPU, pydantic included")


if __name__ == "__main__":
    with seldom_collected():
        main()
