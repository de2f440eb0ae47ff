"""How long it takes until a body begins: in the process that starts the run, and in another; and what idling costs.

``python -m tests.benchmarks.latency URL`` is the other process.
"""

from __future__ import annotations

import asyncio
import sys
import time
from statistics import median

from pydantic import BaseModel

from cloaca import Runner, Workflow, task
from cloaca.ports import Store
from cloaca.stores.sql.postgres_links import Link, Row
from cloaca.stores.sql.sqlite import SqliteStore
from tests.benchmarks.draining import Process
from tests.benchmarks.floors import Ground
from tests.stores.traces import Trace

IDLE_S = 30.0
LONG_S = 3.0  # after so long an idle worker looks least often


class Nothing(BaseModel):
    """No context to speak of."""


class Begun(BaseModel):
    """When the body began, in seconds since the epoch."""

    at: float


@task
async def note(_: Nothing) -> Begun:
    """Say when this begins."""
    return Begun(at=time.time())


noting = Workflow("noting", note)


async def work(url: str) -> None:
    """Work until a line comes."""
    async with Runner(url, workflows=[noting]):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)


async def first_bodies(ground: Ground, runs: int) -> float:
    """Return the median time from the call of ``start`` to the body, in milliseconds."""
    found = []
    async with Runner(ground.url, workflows=[noting]) as runner:
        for _ in range(runs):
            begun = time.time()
            outcome = await runner.run(noting, Nothing())
            found.append((outcome.unwrap().at - begun) * 1e3)
    await ground.clear()
    return median(found)


async def elsewhere(ground: Ground, runs: int) -> tuple[float, float, float]:
    """Return medians in milliseconds: from ``start`` having returned to the body in another process; the same for a
    process that was idle for long; and from there to the outcome here."""
    there: list[float] = []
    rested: list[float] = []
    back: list[float] = []
    async with Runner(ground.url, workflows=[noting], work=False) as runner:
        with Process(ground.url, "tests.benchmarks.latency"):
            for number in range(runs):
                await asyncio.sleep(LONG_S if number % 3 == 0 else 0.1 + number % 7 * 0.013)
                handle = await runner.start(noting, Nothing())
                stored = time.time()
                at = (await handle.result()).unwrap().at
                (rested if number % 3 == 0 else there).append((at - stored) * 1e3)
                back.append((time.time() - at) * 1e3)
    await ground.clear()
    return median(there), median(rested), median(back)


async def idle(store: Store) -> tuple[float, float]:
    """Return the statements per minute of a runner that has nothing to do, and its CPU time in percent of a core."""
    sent: list[str] = []
    ask = Link.ask

    async def counted(self: Link, statement: str, *values: object) -> list[Row]:
        sent.append(statement)
        return await ask(self, statement, *values)

    async with Runner(store=store, workflows=[noting]):
        await asyncio.sleep(1)
        statements = Trace(store).statements if isinstance(store, SqliteStore) else sent
        Link.ask = counted  # type: ignore[method-assign]  # of this process alone, for a while
        statements.clear()
        cpu = time.process_time()
        await asyncio.sleep(IDLE_S)
        used, count = time.process_time() - cpu, len(statements)
        Link.ask = ask  # type: ignore[method-assign]  # as it was
    return count / IDLE_S * 60, used / IDLE_S * 100


def report(ground: Ground, *, quick: bool) -> None:
    """Print the medians."""
    print(f"{'start to the first body':<38} {asyncio.run(first_bodies(ground, 50 if quick else 200)):>10.2f} ms")
    there, rested, back = asyncio.run(elsewhere(ground, 12 if quick else 45))
    print(
        f"{'start to a body in another process':<38} {there:>10.1f} ms, {rested:.1f} ms after {LONG_S:.0f} s of idling"
    )
    print(f"{'its end to the outcome elsewhere':<38} {back:>10.1f} ms")
    statements, percent = asyncio.run(idle(ground.store()))
    asyncio.run(ground.clear())
    print(f"{'idle runner':<38} {statements:>10.0f} statements a minute, {percent:.2f} % of a core", flush=True)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
