"""A program that is killed at any moment: runs that wait, have child runs for elements, and an epilogue of their own.

A body writes one line into a ledger when it begins, with a single call. It knows no test.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cloaca import RunFailure, Runner, TaskContext, Workflow, each, sleep, subflow, task, wait_for
from cloaca.interpreter import workers
from tests.crashes.programs import Job, One

PIECES = 3


class Piece(BaseModel):
    index: int


class Pieces(BaseModel):
    pieces: list[Piece]


class Part(Job):
    index: int


class Done(BaseModel):
    done: int


class Approval(BaseModel):
    by: str


class Signed(Job):
    by: str


@task
async def reserves(job: Job, *, ctx: TaskContext) -> One:
    job.note(ctx)
    return One(one=job.number)


@task
async def releases(job: Job, *, ctx: TaskContext) -> None:
    job.note(ctx)
    await asyncio.sleep(0.03)


@task
def lists(job: Job) -> Pieces:
    return Pieces(pieces=[Piece(index=index) for index in range(PIECES)])


@task
async def makes(part: Part, *, ctx: TaskContext) -> One:
    part.note(ctx)
    return One(one=part.index)


@task
async def unmakes(part: Part, *, ctx: TaskContext) -> None:
    part.note(ctx)
    await asyncio.sleep(0.03)


@task
async def holds(part: Part) -> Done:
    while part.number % 3 == 2:  # these are cancelled
        await asyncio.sleep(0.01)
    return Done(done=part.index)


@task
async def child_ends(part: Part, *, ctx: TaskContext) -> None:
    part.note(ctx)


@task
async def closes(signed: Signed) -> Done:
    if signed.by == "nobody":
        raise PermissionError("not signed")
    return Done(done=signed.number)


@task
async def cheers(job: Job, *, ctx: TaskContext) -> None:
    job.note(ctx)
    await asyncio.sleep(0.03)


@task
async def tells(job: Job, *, failure: RunFailure[Any], ctx: TaskContext) -> None:
    job.note(ctx)
    await asyncio.sleep(0.03)


piece = Workflow("piece", makes.compensate(unmakes) >> holds, input=Part, on_cancel=child_ends)
parting = Workflow(
    "parting",
    reserves.compensate(releases)
    >> sleep(0.05)
    >> lists
    >> each(sleep(0.02) >> subflow(piece), over="pieces", into="made").named("pieces")
    >> wait_for(Approval, timeout=3600)
    >> closes,
    input=Job,
    on_success=cheers,
    on_failure=tells.named("mourns"),
    on_cancel=tells,
)


def work(url: str, folder: Path) -> None:
    """Work until killed; what waits is parked at once."""
    workers.PARKED_AFTER_S = 0.05

    async def worker() -> None:
        async with Runner(url, workflows=[parting, piece], lease_s=1):
            (folder / f"ready-{os.getpid()}").touch()
            while True:
                await asyncio.sleep(1)

    asyncio.run(worker())
