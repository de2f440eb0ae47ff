"""Runs that wait, drained by two worker processes: how fast, how evenly, and whether any task ran twice.

``python -m tests.benchmarks.draining URL`` is one of the processes.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from cloaca import Runner
from cloaca.cli.working import seldom_collected
from cloaca.ports import Batch, NewRun, PlanRow
from tests.benchmarks.floors import Floors, Ground
from tests.benchmarks.workloads import chain, count, executed
from tests.stores.processes import Talking

FIRST = 7_000_000_000_000_000_000
AT_ONCE = 1_000
chained = chain(count, 10)


async def work(url: str) -> None:
    """Work until a line comes."""
    with seldom_collected():  # as ``cloaca worker`` does
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        before = time.process_time()
        async with Runner(url, workflows=[chained]):
            await asyncio.to_thread(sys.stdin.readline)
    print(len(executed), time.process_time() - before, flush=True)


class Process(Talking):
    """A worker in a process of its own, which has imported everything and waits for the start."""

    def __init__(self, url: str, module: str = "tests.benchmarks.draining") -> None:
        super().__init__(module, url)
        assert self.line() == "ready"


async def enqueue(ground: Ground, runs: int) -> None:
    """Store runs that wait for a worker, many in a transaction."""
    store, plan = ground.store(), chained.plan
    await store.open()
    session, at = await store.open_session("bench", time.time(), time.time() + 600), time.time()
    row = PlanRow(plan.digest, chained.name, chained.version, plan.spec)
    for first in range(0, runs, AT_ONCE):
        new = [
            NewRun(FIRST + number, chained.name, chained.version, plan.digest, '{"n":0}', None, None, at)
            for number in range(first, min(first + AT_ONCE, runs))
        ]
        await store.transact(Batch(session, plans=[row], runs=new))
    await store.close_session(session, at=at)
    await store.close()


@dataclass(frozen=True, slots=True)
class Drained:
    """One measured run. ``share`` is that of the process that did less, of all tasks."""

    rate: float
    cpu_us: float
    share: float
    floors: Floors


async def drain(ground: Ground, runs: int) -> Drained:
    """Enqueue and drain. Raises AssertionError if a task was executed twice or not at all."""
    tasks = runs * len(chained.plan.nodes)
    await enqueue(ground, runs)
    before = await ground.floors()
    with Process(ground.url) as one, Process(ground.url) as other:
        begun = time.time()
        for process in (one, other):
            process.go_on()
        unended = "SELECT EXISTS (SELECT 1 FROM {0}cloaca_run WHERE finished_at IS NULL)"
        while (await ground.query(unended))[0][0]:  # over at the first row, so that it takes nothing from the processes
            await asyncio.sleep(0.1)
        for process in (one, other):
            process.go_on()
        said = [process.line().split() for process in (one, other)]
    floors = before.mean(await ground.floors())
    [(stored, ended)] = await ground.query("SELECT count(*), max(finished_at) FROM {0}cloaca_task")
    done = [int(words[0]) for words in said]
    assert sum(done) == stored == tasks, (done, stored, tasks)
    await ground.clear()
    cpu_us = sum(float(words[1]) for words in said) / tasks * 1e6
    return Drained(tasks / (ended - begun), cpu_us, min(done) / tasks, floors)


def report(ground: Ground, runs: int, repeat: int) -> None:
    """Print the medians."""
    found = [asyncio.run(drain(ground, runs)) for _ in range(repeat)]

    def middle(of: Callable[[Drained], float]) -> float:
        return median(of(sample) for sample in found)

    print(
        f"{f'{runs:,} waiting, 2 processes, chain of 10':<38} {middle(lambda s: s.rate):>10,.0f} "
        f"{middle(lambda s: s.cpu_us):>9.1f} {middle(lambda s: s.rate / s.floors.single):>10.2f} "
        f"{middle(lambda s: s.rate / s.floors.group):>10.3f}   no task twice, "
        f"{middle(lambda s: s.share):.0%} by the process that did less",
        flush=True,
    )


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
