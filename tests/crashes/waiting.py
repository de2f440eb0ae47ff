"""The programs of runs that wait, and of child runs, whose workers are killed. It knows no test."""

from __future__ import annotations

from pydantic import BaseModel

from cloaca import Workflow, sleep, subflow, task, wait_for
from tests.crashes.programs import Job, chain, first


class Approval(BaseModel):
    by: str


class Signed(BaseModel):
    one: int
    by: str


class Letter(BaseModel):
    text: str


class Sum(BaseModel):
    total: int


@task
def sign(signed: Signed) -> Letter:
    return Letter(text=f"{signed.one} {signed.by}")


@task
def double(sum: Sum) -> Letter:
    return Letter(text=str(sum.total * 2))


approved = Workflow("approved", first >> sleep(0.3) >> wait_for(Approval, timeout=3600) >> sign, input=Job)
family = Workflow("family", subflow(chain) >> double)
