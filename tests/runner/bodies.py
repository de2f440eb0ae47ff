"""Tasks for child processes: they live in a module of their own, because a child has to import them.

A body that is to be killed says in a file of the run's folder that it has begun, by its process id, and then spins.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

from pydantic import BaseModel, PrivateAttr, field_validator
from returns.result import Failure, Result, Success

from cloaca import Retry, TaskContext, TaskFailure, task

FAST = Retry(attempts=3, delay=0.01)


class Place(BaseModel):
    """Where bodies leave their traces, and what they are to do."""

    folder: str
    word: str = ""

    def leave(self, what: str) -> None:
        """Leave a trace: one line that begins with the process id."""
        with (Path(self.folder) / "traces").open("a") as file:
            file.write(f"{os.getpid()} {what}\n")


class Seen(BaseModel):
    pid: int
    word: str
    lock: Any = None  # a lock could not be pickled
    _secret: threading.Lock = PrivateAttr(default_factory=threading.Lock)


class Declined(BaseModel):
    reason: str


class Short(BaseModel):
    text: str

    @field_validator("text")
    @classmethod
    def _short(cls, text: str) -> str:
        if len(text) > 3:
            raise ValueError("at most 3 letters")
        return text


class Odd(BaseModel):
    """What JSON does not give back as it was."""

    value: Any


class OwnError(Exception):
    """An exception that can't be pickled, and that needs two arguments."""

    def __init__(self, message: str, lock: object) -> None:
        super().__init__(message)
        self.lock = lock


def own(error: BaseException) -> bool:
    return isinstance(error, OwnError)


@task(executor="process")
def where(place: Place) -> Seen:
    return Seen(pid=os.getpid(), word=place.word.upper())


@task(executor="process")
async def where_async(place: Place) -> Seen:
    await asyncio.sleep(0)
    return Seen(pid=os.getpid(), word=place.word.upper())


@task(executor="process")
def decides(place: Place) -> Result[Seen, Declined]:
    if place.word == "no":
        return Failure(Declined(reason="no means no"))
    return Success(Seen(pid=os.getpid(), word=place.word))


def helper(word: str) -> None:
    raise OwnError(f"can't {word}", threading.Lock())


@task(executor="process")
def raises(place: Place) -> Seen:
    helper(place.word)
    return Seen(pid=0, word="")


@task(executor="process")
async def raises_async(place: Place) -> Seen:
    await asyncio.sleep(0)
    helper(place.word)
    return Seen(pid=0, word="")


@task(executor="process", retry=FAST)
def third_time_lucky(place: Place, *, ctx: TaskContext) -> Seen:
    place.leave(f"attempt {ctx.attempt}")
    if ctx.attempt < 3:
        helper("yet")
    return Seen(pid=os.getpid(), word=ctx.idempotency_key)


@task(executor="process", retry=Retry(attempts=3, delay=0.01, on=lambda error: "again" in str(error)))
def judged_by_a_lambda(place: Place) -> Seen:
    place.leave("tries")
    return raises(place)


@task(executor="process")
def exits(place: Place) -> Seen:
    sys.exit(place.word)


@task(executor="process")
def listens(place: Place, *, ctx: TaskContext) -> None:
    """Do all that a context is for."""
    assert not ctx.cancelled
    ctx.logger.info("too quiet to be heard")
    ctx.logger.warning("in run %s", ctx.run_id)
    try:
        helper("log")
    except OwnError:
        ctx.logger.exception("it went wrong")
    ctx.heartbeat()
    place.leave(f"{ctx.task} {ctx.attempt} {ctx.run_id} {ctx.idempotency_key} {ctx.scheduled_for}")


@task(executor="process")
def large(place: Place) -> Seen:
    return Seen(pid=os.getpid(), word=place.word[::-1])


@task(executor="process")
def grows(place: Place) -> Seen:
    return Seen(pid=0, word="x" * 1024 * 1024)


@task(executor="process")
def wrong(place: Place) -> Short:
    if place.word == "type":
        return place  # type: ignore[return-value]  # what is tested
    return Short.model_construct(text=place.word)


@task(executor="process")
def odd(place: Place) -> Odd:
    return Odd(value=(1, 2) if place.word == "tuple" else float("nan") if place.word == "nan" else "\ud800")


def spin(place: Place) -> None:
    """Keep a CPU busy for ever, and say so."""
    place.leave("spins")
    while True:
        pass


@task(executor="process")
def spins(place: Place) -> Seen:
    spin(place)
    return Seen(pid=0, word="")


@task(executor="process")
def holds_the_lock(place: Place) -> Seen:
    """Keep Python's lock for ever: not even another thread of the process can do anything."""
    place.leave("spins")
    re.fullmatch(r"(a+)+b", "a" * 60)
    return Seen(pid=0, word="")


@task(executor="process", timeout=0.2, retry=Retry(attempts=2, delay=0.01))
def too_slow(place: Place) -> Seen:
    spin(place)
    return Seen(pid=0, word="")


@task(executor="process", timeout=0.2)
async def too_slow_async(place: Place) -> Seen:
    spin(place)
    return Seen(pid=0, word="")


@task(executor="process", timeout=30)
def in_time(place: Place) -> Seen:
    return Seen(pid=os.getpid(), word=place.word)


@task(executor="process")
def leaves_a_child(place: Place) -> Seen:
    """Start a process, as a body that calls a tool does, and wait for it."""
    tool = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    with (Path(place.folder) / "traces").open("a") as file:
        file.write(f"{tool.pid} tool\n")
    spin(place)
    return Seen(pid=0, word="")


DEATHS: dict[str, Callable[[], object]] = {
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGSEGV": lambda: ctypes.string_at(0),
    "exit code 3": lambda: os._exit(3),
}


@task(executor="process")
def dies(place: Place) -> Seen:
    DEATHS[place.word]()
    return Seen(pid=0, word="")


@task(executor="process", retry=FAST)
def dies_twice(place: Place, *, ctx: TaskContext) -> Seen:
    place.leave(f"attempt {ctx.attempt}")
    if ctx.attempt < 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return Seen(pid=os.getpid(), word=place.word)


@task(executor="process")
def meets(place: Place) -> Seen:
    """Wait until another body, told apart by its process, is there too."""
    place.leave("arrives")
    while len({line.split()[0] for line in (Path(place.folder) / "traces").read_text().splitlines()}) < 2:
        pass
    return Seen(pid=os.getpid(), word=place.word)


def plain(place: Place) -> Seen:
    return Seen(pid=os.getpid(), word=place.word)


borrowed = task(executor="process", name="borrowed")(plain)


def made_in_a_function() -> object:
    @task(executor="process")
    def local(place: Place) -> Seen:
        return Seen(pid=os.getpid(), word="")

    return local


def shadowed_by_another() -> object:
    copy = FunctionType(plain.__code__, plain.__globals__, "plain")
    copy.__annotations__ = plain.__annotations__
    copy.__module__, copy.__qualname__ = plain.__module__, "raises"
    return task(executor="process")(copy)


# A handler in a child


@task(executor="process")
def stands_in(failure: TaskFailure, declined: Declined, place: Place) -> Seen:
    assert isinstance(failure.error, Declined)
    return Seen(pid=os.getpid(), word=f"{failure.task} {failure.attempt} {failure.error.reason} {declined.reason}")


@task(executor="process")
def told(place: Place, failure: TaskFailure) -> Seen:
    return Seen(pid=os.getpid(), word=f"{failure.exception_type} {failure.error} {failure.at.tzinfo}")
