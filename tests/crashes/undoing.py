"""A program that is killed while it undoes: steps with compensations, of which the last fails, or the run is cancelled.

A body writes one line into a ledger when it begins, with a single call. It knows no test.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from cloaca import RunFailure, Runner, TaskContext, Workflow, task
from tests.crashes.programs import Job, One

STEPS = 5


@task
async def does(job: Job, *, ctx: TaskContext) -> One:
    job.note(ctx)
    await asyncio.sleep(0.002)
    return One(one=job.number)


@task
async def undoes(job: Job, *, ctx: TaskContext) -> None:
    job.note(ctx)
    await asyncio.sleep(0.08)


@task
async def breaks(job: Job, *, ctx: TaskContext) -> None:
    job.note(ctx)
    while job.number % 2 and not job.is_open("go"):  # half of the runs are cancelled
        await asyncio.sleep(0.005)
    raise ConnectionError("the last step fails")


@task
async def tells(job: Job, *, failure: RunFailure[Any], ctx: TaskContext) -> None:
    job.note(ctx)


def _graph() -> Any:
    graph: Any = breaks
    for place in reversed(range(STEPS)):
        graph = does.named(f"do{place}").into(f"one{place}").compensate(undoes.named(f"undo{place}")) >> graph
    return graph


undone = Workflow("undone", _graph(), input=Job, on_failure=tells, on_cancel=tells)


def work(url: str, folder: Path) -> None:
    """Work until killed."""

    async def worker() -> None:
        async with Runner(url, workflows=[undone], lease_s=1):
            (folder / f"ready-{os.getpid()}").touch()
            while True:
                await asyncio.sleep(1)

    asyncio.run(worker())
