"""The bytes that a task writes to the log of the database, by the size of its payload."""

from __future__ import annotations

import asyncio
import random

from pydantic import BaseModel

from cloaca import Runner, Workflow, task
from tests.benchmarks.floors import Ground

PAYLOADS = (10, 200, 1_000, 10_000)  # characters in the text of a payload, which are random: they don't compress
TASKS, RUNS = 10, 500


class Text(BaseModel):
    """A context of one text."""

    text: str


@task
async def copy(given: Text) -> Text:
    """Write what is read."""
    return given


async def written(ground: Ground, size: int) -> tuple[int, float]:
    """Return the bytes of a payload, and those written for each task, the starts and ends of the runs included."""
    chain = copy.named("t0") >> copy.named("t1")
    for number in range(2, TASKS):
        chain = chain >> copy.named(f"t{number}")
    workflow, given = Workflow("copying", chain), Text(text=random.Random(size).randbytes(size // 2).hex())
    async with Runner(ground.url, workflows=[workflow]) as runner:
        await runner.run(workflow, given)
        async with ground.logged() as length:
            before = await length()
            await asyncio.gather(*(runner.run(workflow, given) for _ in range(RUNS)))
            bytes_written = await length() - before
    await ground.clear()
    return len(given.model_dump_json()), bytes_written / (RUNS * TASKS)


def report(ground: Ground) -> None:
    """Print a row for each size."""
    for size in PAYLOADS:
        payload, bytes_written = asyncio.run(written(ground, size))
        label = f"bytes written per task, payload {payload:,}"
        print(f"{label:<38} {bytes_written:>10,.0f}   at most {3 * payload + 500:,} wanted", flush=True)
