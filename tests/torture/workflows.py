"""The workflows under torture: every shape and kind of body, all of them deterministic.

What a run does follows from its input alone: which attempts fail, which tasks are skipped, what is written. Bodies keep
a journal: ``began`` when they begin, ``done`` when they are about to return or raise. A body in a child process can't
know its worker's session, so its worker notes that it began (see ``programs``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pydantic import BaseModel
from returns.result import Failure, Result, Success

from cloaca import Retry, TaskContext, Workflow, task
from tests.torture import journal


class Claim(NamedTuple):
    """Under what a body begins: the session that drives its run, and a moment before it has claimed it."""

    session: int
    since: float


class Present:
    """Who works in this process."""

    @staticmethod
    def ask() -> Claim | None:
        """Return the claim under which a body begins just now, None where nobody works, as in a child process."""
        return None


def began(ctx: TaskContext, claim: Claim | None) -> None:
    """Note that a body begins."""
    facts = {"run": ctx.run_id, "task": ctx.task, "attempt": ctx.attempt, "key": ctx.idempotency_key}
    journal.note("began", session=claim and claim.session, since=claim and claim.since, **facts)


@contextmanager
def noted(ctx: TaskContext, *, in_child: bool = False) -> Iterator[None]:
    """Note that a body begins, and that it is done, however it ends."""
    if not in_child:
        began(ctx, Present.ask())
    try:
        yield
    finally:
        journal.note("done", run=ctx.run_id, task=ctx.task, attempt=ctx.attempt, key=ctx.idempotency_key)


def pause_s(ctx: TaskContext) -> float:
    """Return some milliseconds, other ones for each task and attempt."""
    return sum(ctx.task.encode()) * 7 % 13 * ctx.attempt / 1000


class Job(BaseModel):
    """The input of every workflow. ``number`` says how a run goes."""

    number: int


class One(BaseModel):
    one: int


class Two(BaseModel):
    two: int


class Three(BaseModel):
    three: int


class Four(BaseModel):
    four: int


class Refused(BaseModel):
    reason: str


class Document(BaseModel):
    """A payload of some kilobytes, with characters that databases like to break."""

    text: str


class Digest(BaseModel):
    length: int


# A chain: sync and async bodies take turns, and a document passes through


@task
def writes(job: Job, *, ctx: TaskContext) -> Document:
    with noted(ctx):
        time.sleep(pause_s(ctx))
        return Document(text=f"«{job.number}» \\ \" ' ? $1 % {{}} \U0001f9ea\n" * 150)


@task
async def reads(document: Document, *, ctx: TaskContext) -> Digest:
    with noted(ctx):
        await asyncio.sleep(pause_s(ctx))
        return Digest(length=len(document.text))


@task
def doubles(digest: Digest, *, ctx: TaskContext) -> One:
    with noted(ctx):
        time.sleep(pause_s(ctx))
        return One(one=digest.length * 2)


@task
async def closes(one: One, *, ctx: TaskContext) -> Two:
    with noted(ctx):
        await asyncio.sleep(pause_s(ctx))
        return Two(two=one.one + 1)


chain = Workflow("chain", writes >> reads >> doubles >> closes, input=Job)


# A diamond


class Both(BaseModel):
    two: int
    three: int


@task
def opens(job: Job, *, ctx: TaskContext) -> One:
    with noted(ctx):
        return One(one=job.number)


@task
async def left(one: One, *, ctx: TaskContext) -> Two:
    with noted(ctx):
        await asyncio.sleep(pause_s(ctx))
        return Two(two=one.one + 2)


@task
def right(one: One, *, ctx: TaskContext) -> Three:
    with noted(ctx):
        time.sleep(pause_s(ctx))
        return Three(three=one.one + 3)


@task
async def joined(both: Both, *, ctx: TaskContext) -> Four:
    with noted(ctx):
        return Four(four=both.two * both.three)


diamond = Workflow("diamond", opens >> [left, right] >> joined, input=Job)


# A wide fan, whose parts fail once or twice before they don't

WIDTH = 12


class Part(BaseModel):
    part: int


class Parts(BaseModel):
    p0: Part
    p1: Part
    p2: Part
    p3: Part
    p4: Part
    p5: Part
    p6: Part
    p7: Part
    p8: Part
    p9: Part
    p10: Part
    p11: Part


@task(retry=Retry(attempts=3, delay=0.02, backoff="fixed"))
async def piece(one: One, *, ctx: TaskContext) -> Part:
    with noted(ctx):
        await asyncio.sleep(pause_s(ctx))
        place = int(ctx.task[1:])
        if ctx.attempt <= place % 3:
            raise ConnectionError(f"{ctx.task} at attempt {ctx.attempt}")
        return Part(part=one.one * 100 + place)


@task(retry=Retry(attempts=2, delay=0.01))
def gathers(parts: Parts, *, ctx: TaskContext) -> Two:
    with noted(ctx):
        if ctx.attempt == 1:
            raise TimeoutError("not yet")
        return Two(two=sum(getattr(parts, f"p{place}").part for place in range(WIDTH)))


pieces = [piece.named(f"p{place}").into(f"p{place}") for place in range(WIDTH)]
fan = Workflow("fan", opens >> pieces >> gathers, input=Job)


# Failures: typed ones and faults that last, and what runs because of them


class Seen(BaseModel):
    number: int
    two: int = -1


@task
async def judges(job: Job, *, ctx: TaskContext) -> Result[Two, Refused]:
    with noted(ctx):
        await asyncio.sleep(pause_s(ctx))
        if job.number % 2:
            return Failure(Refused(reason=f"{job.number} is odd"))
        return Success(Two(two=job.number))


@task(retry=Retry(attempts=2, delay=0.01))
def breaks(job: Job, *, ctx: TaskContext) -> Three:
    with noted(ctx):
        if job.number % 3 == 0:
            raise ValueError(f"{job.number} is a multiple of three")
        return Three(three=job.number)


@task
def follows(two: Two, *, ctx: TaskContext) -> One:
    with noted(ctx):
        return One(one=two.two)


@task
async def cleans(seen: Seen, *, ctx: TaskContext) -> Digest:
    with noted(ctx):
        await asyncio.sleep(pause_s(ctx))
        return Digest(length=seen.number + seen.two)


@task
def mourns(job: Job, *, ctx: TaskContext) -> Document:
    with noted(ctx):
        return Document(text=f"{job.number} has failed")


failing = Workflow(
    "failing",
    [judges >> follows, breaks] >> cleans.on("all_done"),
    [judges, breaks] >> mourns.on("any_failed"),
    input=Job,
)


# A condition


class Perhaps(BaseModel):
    number: int
    one: int = 0


def is_large(job: Job) -> bool:
    return job.number > 2


@task
def adds(perhaps: Perhaps, *, ctx: TaskContext) -> Four:
    with noted(ctx):
        return Four(four=perhaps.number + perhaps.one)


conditional = Workflow("conditional", opens.when(is_large) >> adds, input=Job)


# A body in a child process


@task(executor="process", retry=Retry(attempts=3, delay=0.01))
def crunches(one: One, *, ctx: TaskContext) -> Two:
    with noted(ctx, in_child=True):
        if ctx.attempt == 1:
            raise ConnectionError("the first attempt fails")
        return Two(two=sum(range(one.one + 1000)))


crunching = Workflow("crunching", opens >> crunches >> closes.reading(one="two").writing(two="three"), input=Job)

WORKFLOWS: list[Any] = [chain, diamond, fan, failing, conditional, crunching]
