"""Programs whose tasks share a queue: bodies that note when they begin and when they end. They know no test."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from cloaca import Queue, Runner, TaskContext, Workflow, task
from tests.crashes.programs import Job, One

LIMIT = 3
QUEUES = [Queue("gate", concurrency=LIMIT)]


def note(job: Job, what: str) -> None:
    """Write a line with a single call."""
    file = os.open(Path(job.folder) / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, f"{what} {os.getpid()} {job.number}\n".encode())
    os.close(file)


@task(queue="gate")
async def passes(job: Job, *, ctx: TaskContext) -> One:
    note(job, "begin")
    await asyncio.sleep(0.002 * (job.number % 4))
    note(job, "end")
    return One(one=job.number)


@task(queue="gate")
async def stays(job: Job, *, ctx: TaskContext) -> One:
    note(job, "begin")
    while not job.is_open("go"):
        await asyncio.sleep(0.005)
    note(job, "end")
    return One(one=job.number)


passing, staying = Workflow("passing", passes), Workflow("staying", stays)


def serve(database: str, folder: Path, lease_s: float) -> None:
    """Work until the file "leave" is there."""

    async def worker() -> None:
        async with Runner(database, workflows=[passing, staying], queues=QUEUES, lease_s=lease_s, concurrency=20):
            (folder / f"ready-{os.getpid()}").touch()
            while not (folder / "leave").exists():
                await asyncio.sleep(0.01)

    asyncio.run(worker())
