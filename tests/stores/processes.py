"""Other processes for tests of a file that several share: programs, and how a test starts and talks to them.

``python -m tests.stores.processes PROGRAM ARGUMENT...`` runs a program. It says "ready" when it is, and goes on when it
gets a line: so that a test decides what happens at once.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel

from cloaca import Runner, Workflow, task
from cloaca.errors import StoreError
from cloaca.ports import Batch
from cloaca.stores.sql.sqlite import SqliteStore
from tests.stores.rows import FAR, owned

ROOT = Path(__file__).parents[2]
NOBODY = 65534
PARENT = os.getpid()


class Number(BaseModel):
    value: int


@task
async def increment(number: Number) -> Number:
    return Number(value=number.value + 1)


@task(name="double")
def doubled(number: Number) -> Number:
    return Number(value=number.value * 2)


counting = Workflow("counting", increment >> doubled)


def say(*words: object) -> None:
    """Tell the test."""
    print(*words, flush=True)


def hear() -> None:
    """Wait for the test."""
    sys.stdin.readline()


def count(path: str, processes: str, runs: str) -> None:
    """Be many processes, each of which does so many runs at the same time; say how many of them went well."""
    waiting, gate = os.pipe()
    children = [os.fork() for _ in range(int(processes)) if os.getpid() == PARENT]
    if os.getpid() != PARENT:
        os.close(gate)
        os.read(waiting, 1)  # until the parent opens the gate for all
        asyncio.run(counted(path, int(runs)))
        return
    os.close(waiting)
    say("ready")
    hear()
    os.close(gate)
    say(sum(os.waitpid(child, 0)[1] == 0 for child in children), "done")


async def counted(path: str, runs: int) -> None:
    async with Runner(Path(path), workflows=[counting]) as runner:
        outcomes = await asyncio.gather(*(runner.run(counting, Number(value=n)) for n in range(runs)))
    assert [outcome.unwrap().value for outcome in outcomes] == [2 * (n + 1) for n in range(runs)]


async def live(path: str, run: str) -> None:
    """Register a worker, start a run, and stay."""
    store = SqliteStore(path)
    await store.open()
    await owned(store, await store.open_session("other", time.time(), FAR), int(run))
    say("ready")
    hear()


async def fork(path: str, run: str) -> None:
    """Do as ``live``, and leave a child behind that shares all open files."""
    store = SqliteStore(path)
    await store.open()
    await owned(store, await store.open_session("other", time.time(), FAR), int(run))
    child = os.fork()
    if child == 0:
        hear()
        os._exit(0)
    say("ready", child)
    time.sleep(60)


async def as_nobody(*paths: str) -> None:
    """Open files as a user who may do little, and say what comes of it."""
    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    for path in paths:
        store = SqliteStore(path)
        try:
            await store.open()
            session = await store.open_session("nobody", 0.0, FAR)
            await store.transact(Batch(session))
            await store.close_session(session, at=0.0)
        except StoreError as error:
            say(type(error).__name__, error)
        else:
            say("opened")
        await store.close()


async def fill(path: str, most_bytes: str) -> None:
    """Write until the system refuses, and say what comes of it; then write again without the limit."""
    import resource  # noqa: PLC0415 - not on every system
    import signal  # noqa: PLC0415 - as above

    store = SqliteStore(path)
    await store.open()
    session = await store.open_session("other", time.time(), FAR)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(most_bytes), unlimited[1]))
    written = 0
    try:
        while True:
            await owned(store, session, written, input="x" * 10_000)
            written += 1
    except StoreError as error:
        say(type(error).__name__, error)
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    await owned(store, session, written, input="x" * 10_000)
    rows = await store.runs(workflow=None, status=None, before=None, limit=10_000)
    assert [row.id for row in rows] == list(range(written, -1, -1))
    await store.close()
    say("done")


class Talking:
    """A module of this repository in a process of its own, which says lines and waits for some; killed at the end."""

    def __init__(self, module: str, *arguments: object, stderr: int | None = None) -> None:
        command = [sys.executable, "-m", module, *map(str, arguments)]
        self.popen = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.popen.kill()
        self.popen.communicate()

    def line(self) -> str:
        """Return the next line that it says."""
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def go_on(self) -> None:
        """Let it go on."""
        assert self.popen.stdin is not None
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()


class Process(Talking):
    """A program of this module in a process of its own."""

    def __init__(self, program: Callable[..., object], *arguments: object) -> None:
        super().__init__(__name__, program.__name__, *arguments, stderr=subprocess.PIPE)

    def end(self) -> str:
        """Wait for its end, and return the rest of what it says; what it complains about fails the test."""
        said, complaints = self.popen.communicate(timeout=60)
        assert (self.popen.returncode, complaints) == (0, ""), complaints
        return said.strip()


PROGRAMS: dict[str, Callable[..., Coroutine[Any, Any, None] | None]] = {
    "count": count, "live": live, "fork": fork, "as_nobody": as_nobody, "fill": fill
}  # fmt: skip

if __name__ == "__main__":
    running = PROGRAMS[sys.argv[1]](*sys.argv[2:])
    if running is not None:
        asyncio.run(running)
