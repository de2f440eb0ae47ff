"""A workflow for schedules: it writes down for when it ran."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from cloaca import TaskContext, Workflow, task

RAN: list[datetime | None] = []


class Report(BaseModel):
    day: str


class Written(BaseModel):
    pages: int


@task
def write(report: Report, *, ctx: TaskContext) -> Written:
    RAN.append(ctx.scheduled_for)
    return Written(pages=len(report.day))


reports = Workflow("reports", write)
REPORT = Report(day="each")
