"""A fan-out over many elements: CPU for each of them, commits, and the memory that they take.

The memory is the most that a process of its own has held, less what it held before; so each figure has a process:
``python -m tests.benchmarks.fanning URL ELEMENTS``.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import time
from typing import Any

from pydantic import BaseModel

from cloaca import Runner, Workflow, each, task
from cloaca.ports import Batch, Receipt
from tests.benchmarks.floors import Ground
from tests.runner.books import Page, Pages, Text, Texts

ELEMENTS, FEW = 100_000, 10_000
PAYLOAD_LIMIT = 64 << 20


class Size(BaseModel):
    """How many elements."""

    size: int


class Count(BaseModel):
    """What comes of the run."""

    count: int


@task
def split(size: Size) -> Pages:
    """Make the list."""
    return Pages(pages=[Page(number=number) for number in range(size.size)])


@task
async def fetch(page: Page) -> Text:
    """Do what an element needs, which is nothing."""
    return Text(text=f"page {page.number}")


@task
def bind(texts: Texts) -> Count:
    """Read all outputs."""
    return Count(count=len(texts.texts))


pages = Workflow("pages", split >> each(fetch, over="pages", into="texts") >> bind)


def resident() -> int:
    """Return the most bytes that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


async def fanned(url: str, size: int) -> dict[str, float]:
    """Run one fan-out, and look at its tasks once."""
    async with Runner(url, workflows=[pages], payload_limit=PAYLOAD_LIMIT) as runner:
        await runner.run(pages, Size(size=10))
        commits = counting(runner)
        held, cpu, begun = resident(), time.process_time(), time.perf_counter()
        handle = await runner.start(pages, Size(size=size))
        outcome = await handle.result()
        used, taken, most = time.process_time() - cpu, time.perf_counter() - begun, resident() - held
        assert outcome.unwrap() == Count(count=size)
        made, cpu = len(commits), time.process_time()
        infos = await handle.tasks()
        assert infos[1].elements == {"total": size, "succeeded": size}
        looked = time.process_time() - cpu
    return {"cpu_us": used / size * 1e6, "commits": made, "bytes": most / size, "s": taken, "tasks_s": looked}


def counting(runner: Runner) -> list[int]:
    """Return a list that grows by the size of each batch that is committed."""
    store: Any = runner._engine.store
    transact, sizes = store.transact, []

    async def counted(batch: Batch) -> Receipt:
        sizes.append(len(batch.tasks))
        receipt: Receipt = await transact(batch)
        return receipt

    store.transact = counted
    return sizes


def report(ground: Ground, *, quick: bool) -> None:
    """Print a row for each number of elements."""
    for size in (FEW,) if quick else (FEW, ELEMENTS):
        command = [sys.executable, "-m", "tests.benchmarks.fanning", ground.url, str(size)]
        found = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        asyncio.run(ground.clear())
        print(
            f"{f'each over {size:,} elements':<38} {size / found['s']:>10,.0f} {found['cpu_us']:>9.1f} us of CPU each, "
            f"{found['commits']:,} commits, {found['bytes']:,.0f} bytes each at most, tasks() {found['tasks_s']:.2f} s",
            flush=True,
        )


if __name__ == "__main__":
    print(json.dumps(asyncio.run(fanned(sys.argv[1], int(sys.argv[2])))))
