"""Programs that end themselves out of a signal's handler, as many do: ``signal(SIGTERM, lambda *_: sys.exit())``.

One waits to be sent the signal while a body runs; the other strikes itself, at the n-th moment at which Python looks
for signals in the library's code. It knows no test.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from opcode import opmap
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from pydantic import BaseModel
from sqlmodel import Session

import cloaca
from cloaca import Retry, Runner, TaskContext, Workflow, each, task
from tests.crashes.programs import Ends, Job, Seen, Three, Total, Two, first, last

CODE = 7
LIBRARY = str(Path(cloaca.__file__).parent)
LOOKS_AFTER = {opmap[name] for name in ("RESUME", "CALL", "CALL_FUNCTION_EX", "JUMP_BACKWARD")}


def leave_when_told() -> None:
    """Have SIGTERM end this process as in many programs."""
    signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(CODE)


# Bodies of every kind, which wait for the file "go"


@task
async def idles(seen: Seen, *, ctx: TaskContext) -> Two:
    seen.note(ctx)
    while not seen.is_open("go"):
        await asyncio.sleep(0.005)
    return Two(two=seen.one)


@task
async def computes(seen: Seen, *, ctx: TaskContext) -> Two:
    """Keeps the event loop from everything else, so that the signal strikes in here."""
    seen.note(ctx)
    while not seen.is_open("go"):
        pass
    return Two(two=seen.one)


@task
def blocks(seen: Seen, *, ctx: TaskContext) -> Two:
    seen.note(ctx)
    while not seen.is_open("go"):
        time.sleep(0.005)
    return Two(two=seen.one)


@task(executor="process")
def crunches(seen: Seen, *, ctx: TaskContext) -> Two:
    seen.note(ctx)
    while not seen.is_open("go"):
        time.sleep(0.005)
    return Two(two=seen.one)


@task
def books(seen: Seen, *, ctx: TaskContext, session: Session) -> Two:
    seen.note(ctx)
    while not seen.is_open("go"):
        time.sleep(0.005)
    return Two(two=seen.one)


class Items(BaseModel):
    items: list[Seen]


class Results(BaseModel):
    results: list[Two]


@task
def lists(seen: Seen) -> Items:
    return Items(items=[seen, seen])


@task
def counts(given: Results) -> Two:
    return Two(two=given.results[0].two)


@task(retry=Retry(attempts=3, delay=0.0, on=BaseException))
async def retries(seen: Seen, *, ctx: TaskContext) -> Two:
    """Would be tried again at once."""
    seen.note(ctx)
    while not seen.is_open("go"):
        await asyncio.sleep(0.005)
    return Two(two=seen.one)


BODIES = {
    "idles": first >> idles,
    "limited": first >> idles.with_options(timeout=60).named("limited"),
    "computes": first >> computes,
    "blocks": first >> blocks,
    "blocks_limited": first >> blocks.with_options(timeout=60).named("blocks_limited"),
    "crunches": first >> crunches,
    "books": first >> books,
    "retries": first >> retries,
    "elements": first >> lists >> each(idles.named("elements"), over="items", into="results") >> counts,
}
WORKFLOWS: dict[str, Any] = {name: Workflow(name, graph, input=Job) for name, graph in BODIES.items()}


def wait_for_the_signal(url: str, folder: str, name: str) -> None:
    """Start a run and wait for its end, which does not come."""
    leave_when_told()
    asyncio.run(_wait(url, Job(folder=folder, number=1), name))


async def _wait(url: str, job: Job, name: str) -> None:
    async with Runner(url, workflows=WORKFLOWS.values(), grace_s=600) as runner:
        await (await runner.start(WORKFLOWS[name], job, key="once")).result()


# Struck at any moment


@task
async def left(seen: Seen) -> Two:
    await asyncio.sleep(0)
    return Two(two=seen.one + 1)


@task(retry=Retry(attempts=2, delay=0.0))
async def right(seen: Seen, *, ctx: TaskContext) -> Three:
    if ctx.attempt == 1:
        raise ConnectionError("the first attempt fails")
    return Three(three=seen.one + 2)


@task(timeout=60)
async def sums(ends: Ends) -> Total:
    return Total(total=ends.two + ends.three)


struck = Workflow("struck", first >> [left, right] >> sums.named("sums"), input=Job)
threaded = Workflow("threaded", first >> [left, right] >> last, input=Job)
STRUCK = [struck, threaded, struck]


def strike(url: str, folder: str, number: int) -> None:
    """Drive some runs to their end, but raise the signal at the moment ``number``, should there be so many.

    The number of moments that have passed is then in the file "moments", and where it was raised in "where".
    """
    leave_when_told()
    moments = Moments(number, (Path(folder) / "where").write_text)
    asyncio.run(_drive(url, folder, moments))
    (Path(folder) / "moments").write_text(str(moments.passed))


async def _drive(url: str, folder: str, moments: Moments) -> None:
    async with Runner(url, workflows={*STRUCK}, grace_s=600) as runner:
        moments.watch()
        handles = [
            await runner.start(workflow, Job(folder=folder, number=place), key=f"{folder} {place}")
            for place, workflow in enumerate(STRUCK)
        ]
        for handle in handles:
            await handle.result()
        sys.settrace(None)


class Moments:
    """Counts the moments at which Python looks for signals in the library's code, and strikes at one."""

    def __init__(self, number: int, tell: Callable[[str], object]) -> None:
        self._number, self._tell = number, tell
        self.passed = 0

    def watch(self) -> None:
        """Begin to count; ``sys.settrace(None)`` ends it."""
        sys.settrace(self._entered)

    def _entered(self, frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        code = frame.f_code
        if not code.co_filename.startswith(LIBRARY):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._follower(code)

    def _follower(self, code: CodeType) -> Callable[..., Any]:
        instructions, before = code.co_code, 0

        def follow(frame: FrameType, event: str, arg: object) -> Callable[..., Any]:
            nonlocal before
            if event == "opcode":
                looks = before in LOOKS_AFTER
                before = instructions[frame.f_lasti]
                self.passed += looks
                if looks and self.passed == self._number:
                    sys.settrace(None)
                    self._tell(f"{code.co_qualname}, line {frame.f_lineno}")
                    signal.raise_signal(signal.SIGTERM)
            return follow

        return follow
