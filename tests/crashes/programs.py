"""The programs that are killed: workflows whose bodies keep a log, and what a process does with them.

A body writes one line when it begins, with a single call, so that a kill leaves whole lines. It knows no test.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel
from returns.result import Failure, Result, Success

from cloaca import Retry, Runner, TaskContext, TaskFailure, Workflow, branch, each, task


class Place(BaseModel):
    """Where a run keeps its log, and the files that its bodies wait for."""

    folder: str

    def note(self, ctx: TaskContext) -> None:
        entry = {
            "run": ctx.run_id,
            "task": ctx.task,
            "attempt": ctx.attempt,
            "key": ctx.idempotency_key,
            "pid": os.getpid(),
            "at": time.time(),
        }
        file = os.open(Path(self.folder) / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.write(file, json.dumps(entry).encode() + b"\n")
        os.close(file)

    def is_open(self, gate: str) -> bool:
        return (Path(self.folder) / gate).exists()


class Job(Place):
    number: int


class One(BaseModel):
    one: int


class Two(BaseModel):
    two: int


class Three(BaseModel):
    three: int


class Seen(Place):
    one: int


class Ends(Place):
    two: int
    three: int


class Total(BaseModel):
    total: int


class Refused(BaseModel):
    reason: str


# A chain whose middle waits for the file "go": on the event loop and on a thread


@task
def first(job: Job, *, ctx: TaskContext) -> One:
    job.note(ctx)
    return One(one=job.number)


@task
async def waits(seen: Seen, *, ctx: TaskContext) -> Two:
    seen.note(ctx)
    while not seen.is_open("go"):
        await asyncio.sleep(0.005)
    return Two(two=seen.one + 1)


@task
def blocks(seen: Seen, *, ctx: TaskContext) -> Three:
    seen.note(ctx)
    while not seen.is_open("go"):
        time.sleep(0.005)
    return Three(three=seen.one + 2)


@task
def last(ends: Ends, *, ctx: TaskContext) -> Total:
    ends.note(ctx)
    return Total(total=ends.two + ends.three)


chain = Workflow("chain", first >> [waits, blocks] >> last, input=Job)


# A pipeline that fans out and in, with retries


class Share(BaseModel):
    share: int


class Mid(BaseModel):
    middle: int


class Shares(Place):
    w0: Share
    w1: Share
    w2: Share
    w3: Share
    w4: Share
    w5: Share


class Middle(Place):
    middle: int


class Halves(Place):
    x0: Share
    x1: Share


def pause(ctx: TaskContext) -> float:
    """Return some milliseconds, other ones for each task and attempt, the same in every process."""
    return sum(ctx.task.encode()) * 7 % 11 * ctx.attempt / 1000


@task(retry=Retry(attempts=3, delay=0.01))
async def works(job: Job, *, ctx: TaskContext) -> Share:
    job.note(ctx)
    await asyncio.sleep(pause(ctx))
    place = int(ctx.task[1:])
    if ctx.attempt <= place % 3:
        raise ConnectionError(f"{ctx.task} at attempt {ctx.attempt}")
    return Share(share=job.number * 10 + place)


@task(retry=Retry(attempts=2, delay=0.01, backoff="fixed"))
def joins(shares: Shares, *, ctx: TaskContext) -> Mid:
    shares.note(ctx)
    time.sleep(pause(ctx))
    if ctx.attempt == 1:
        raise TimeoutError("not yet")
    return Mid(middle=sum(getattr(shares, f"w{n}").share for n in range(6)))


@task
async def halves(middle: Middle, *, ctx: TaskContext) -> Result[Share, Refused]:
    middle.note(ctx)
    await asyncio.sleep(pause(ctx))
    if middle.middle % 5 == 0 and ctx.task == "x1":
        return Failure(Refused(reason=f"{middle.middle} is a multiple of five"))
    return Success(Share(share=middle.middle * (2 + int(ctx.task[1:]))))


@task
def sums(both: Halves, *, ctx: TaskContext) -> Total:
    both.note(ctx)
    return Total(total=both.x0.share + both.x1.share)


pipeline = Workflow(
    "pipeline",
    [works.named(f"w{n}").into(f"w{n}") for n in range(6)]
    >> joins
    >> [halves.named(f"x{n}").into(f"x{n}") for n in range(2)]
    >> sums,
    input=Job,
)


# A run that kills its worker, and one that does not


@task
def bomb(job: Job, *, ctx: TaskContext) -> None:
    job.note(ctx)
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


@task
async def lingers(job: Job, *, ctx: TaskContext) -> One:
    job.note(ctx)
    await asyncio.sleep(0.05)
    return One(one=job.number)


killer, innocent = Workflow("killer", bomb), Workflow("innocent", lingers)


# A task that is tried again after a while


@task(retry=Retry(attempts=3, delay=1.5, backoff="fixed"))
def flaky(job: Job, *, ctx: TaskContext) -> One:
    job.note(ctx)
    if ctx.attempt < 2:
        raise ConnectionError("not yet")
    return One(one=ctx.attempt)


delayed = Workflow("delayed", flaky)


# A graph for each element of a list, so long that a worker is killed in the middle of it


class Page(BaseModel):
    page: int


class Pages(BaseModel):
    pages: list[Page]


class PageAt(Place):
    page: int


class Line(BaseModel):
    line: int


class LineAt(Place):
    line: int


class Lines(BaseModel):
    lines: list[Line]


PAGES = 60


@task
def cuts(job: Job, *, ctx: TaskContext) -> Pages:
    job.note(ctx)
    return Pages(pages=[Page(page=page) for page in range(PAGES)])


@task(retry=Retry(attempts=3, delay=0.01))
async def reads(page: PageAt, *, ctx: TaskContext) -> Line:
    page.note(ctx)
    await asyncio.sleep(0.02)
    if page.page % 7 == 0 and ctx.attempt == 1:
        raise ConnectionError("not yet")
    return Line(line=page.page)


@task
async def trims(line: LineAt, *, ctx: TaskContext) -> Line:
    line.note(ctx)
    await asyncio.sleep(0.02)
    return Line(line=line.line + 1)


@task
def binds(lines: Lines, *, ctx: TaskContext) -> Total:
    return Total(total=sum(line.line for line in lines.lines))


book = Workflow("book", cuts >> each(reads >> trims, over="pages", into="lines", limit=5) >> binds, input=Job)

# A branch whose arm fails, and a handler that waits for the file "go"


def is_odd(job: Job) -> bool:
    with (Path(job.folder) / "asked").open("a") as file:
        file.write(f"{os.getpid()}\n")
    return job.number % 2 == 1


@task
def refuses(job: Job, *, ctx: TaskContext) -> Result[One, Refused]:
    job.note(ctx)
    return Failure(Refused(reason=f"{job.number} is odd"))


@task
async def stands_in(failure: TaskFailure, refused: Refused, job: Job, *, ctx: TaskContext) -> One:
    job.note(ctx)
    while not job.is_open("go"):
        await asyncio.sleep(0.005)
    return One(one=len(refused.reason) + failure.attempt)


@task
def counts(seen: Seen, *, ctx: TaskContext) -> Total:
    seen.note(ctx)
    return Total(total=seen.one)


deciding = Workflow(
    "deciding", branch(is_odd, then=refuses.rescue(stands_in), otherwise=first.named("even")) >> counts, input=Job
)

WORKFLOWS = [chain, pipeline, killer, innocent, delayed, book, deciding]


# What a process does


def begun_file(folder: Path, name: str) -> bool:
    """Whether a body of a task has begun."""
    log = folder / "log"
    return log.exists() and f'"task": "{name}"' in log.read_text()


def work(database: Path | str, folder: Path, lease_s: float = 30.0) -> None:
    """Work until the file "leave" is there."""

    async def worker() -> None:
        async with Runner(database, workflows=WORKFLOWS, lease_s=lease_s, grace_s=2):
            (folder / f"ready-{os.getpid()}").touch()
            while not (folder / "leave").exists():
                await asyncio.sleep(0.01)

    asyncio.run(worker())


def start_with_key(database: Path, folder: Path, name: str, number: int) -> None:
    """Start a run as soon as the file "all" is there, wait for it, and leave its id and its result in a file."""

    async def starter() -> None:
        async with Runner(database, workflows=WORKFLOWS) as runner:
            (folder / f"ready-{os.getpid()}").touch()
            while not (folder / "all").exists():
                await asyncio.sleep(0.001)
            handle = await runner.start(innocent, Job(folder=str(folder), number=number), key="one")
            outcome = await handle.result()
            (folder / f"{name}.result").write_text(f"{handle.id} {outcome.unwrap().one}")

    asyncio.run(starter())


def begin(database: Path, folder: Path, numbers: Iterable[int]) -> None:
    """Start pipelines and work on until killed, or until the file "leave" is there."""

    async def beginner() -> None:
        async with Runner(database, workflows=WORKFLOWS) as runner:
            for number in numbers:
                await runner.start(pipeline, Job(folder=str(folder), number=number), key=f"pipeline {number}")
            (folder / f"ready-{os.getpid()}").touch()
            while not (folder / "leave").exists():
                await asyncio.sleep(0.01)

    asyncio.run(beginner())
