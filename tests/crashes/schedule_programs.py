"""A program that serves schedules until all that was due is done, or until it dies at a statement. It knows no test."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from pydantic import BaseModel

from cloaca import Runner, TaskContext, Workflow, task
from tests.torture import journal
from tests.torture.boundaries import Fault, install

LEASE_S = 0.6


class Report(BaseModel):
    schedule: str


class Written(BaseModel):
    schedule: str


@task
async def write(report: Report, *, ctx: TaskContext) -> Written:
    assert ctx.scheduled_for is not None
    return Written(schedule=report.schedule)


reports = Workflow("reports", write)


def serve(database: str, folder: Path, fault: Fault, wanted: dict[str, int]) -> None:
    """Work until so many firings of each schedule have runs that succeeded; note how many statements that took."""
    os.environ[journal.VARIABLE] = str(folder / "journal")
    watched = install(fault)
    asyncio.run(_serve(database, wanted))
    journal.note("left", statements=watched.count)


async def _serve(database: str, wanted: dict[str, int]) -> None:
    async with Runner(database, workflows=[reports], lease_s=LEASE_S) as runner:
        for name, count in wanted.items():
            while (await runner.schedules.statistics(name)).succeeded < count:
                await asyncio.sleep(0.01)
