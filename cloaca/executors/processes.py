"""Runs bodies in child processes: one job at a time in each, so that the end of a child is the end of one job.

A child is started when a job finds none idle, up to a limit; then jobs wait. A job whose future is cancelled has its
child killed, and another takes its place. It knows jobs, which are JSON and mean something to the entry in the child,
not tasks; and nothing of it starts before the first job does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from cloaca.errors import ProcessDied
from cloaca.executors.births import LEAVE_S, Births, Newborn, search_path, usual
from cloaca.executors.frames import Frames, packed

Hear = Callable[[Any], None]

LAST_WORDS_S = 1.0  # how long to wait for what a dead child has sent before


class ProcessExecutor:
    """A pool of at most ``processes`` children, by default one for each CPU that this process may use.

    ``entry`` is ``"module:function"``: the child calls it with each job and a function that sends messages back.
    """

    def __init__(self, entry: str, processes: int | None = None, births: Births | None = None) -> None:
        self._entry = entry
        self._limit = processes or usable_cpus()
        self._births = births or usual(entry)
        self._queue: deque[Job] = deque()
        self._idle: list[Child] = []
        self._children: set[Child] = set()  # until they are known to be dead
        self._work: set[asyncio.Task[None]] = set()
        self._being_born = 0
        self._closed = False
        self._loop: asyncio.AbstractEventLoop

    def submit(self, job: object, hear: Hear) -> Job:
        """Do ``job`` in a child; the future has the entry's answer. ``hear`` gets what the entry says meanwhile.

        Cancelling the future kills the child. Raises RuntimeError if the executor is closed; the future has
        ProcessDied if the child ends before it answers, OSError if none can be started.
        """
        if self._closed:
            raise RuntimeError("the executor is closed")
        future = Job(self, job, hear)
        self._loop = future.get_loop()
        self._queue.append(future)
        self._go_on()
        return future

    def close(self) -> None:
        """Take no more jobs, and cancel those that no child has. Children end, busy ones when their job is done."""
        self._closed = True
        while self._queue:
            self._queue.popleft().cancel()
        while self._idle:
            self._idle.pop().dismiss()

    async def closed(self) -> None:
        """Close, kill what is still busy, and wait until no child is left."""
        self.close()
        for child in self._children:
            child.doom()
        while self._work:
            await asyncio.wait(set(self._work))
        await self._births.close()

    # The pool

    def _go_on(self) -> None:
        """Give jobs to children that are idle, and have as many born as are wanted."""
        while self._queue and (self._queue[0].done() or self._idle):
            job = self._queue.popleft()
            if not job.done():
                self._idle.pop().take(job)
        missing = min(len(self._queue), self._limit - len(self._children)) - self._being_born
        for _ in range(missing):
            self._being_born += 1
            self._spawn(self._grow())

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)  # a job may be cancelled while no event loop runs
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _grow(self) -> None:
        """Have one more child; if there can't be one, the job that has waited longest fails."""
        try:
            child = await self._begun(await self._births.bear())
        except OSError as error:
            self._being_born -= 1
            self._fail(error)
        else:
            self._being_born -= 1
            self._children.add(child)
            self._free(child)

    async def _begun(self, newborn: Newborn) -> Child:
        """Connect to a child, and tell it what it needs to become like this process."""
        child = Child(self, newborn)
        loop, line = asyncio.get_running_loop(), newborn.line
        connect = loop.create_connection if sys.platform == "win32" else loop.create_unix_connection
        await connect(lambda: child, sock=line)
        newborn.ended.add_done_callback(lambda _: self._bury(child))
        child.send(_setup(self._entry))
        return child

    def _fail(self, error: Exception) -> None:
        while self._queue:
            job = self._queue.popleft()
            if not job.done():
                job.set_exception(error)
                break
        self._go_on()

    def _free(self, child: Child) -> None:
        """A child has nothing to do."""
        if self._closed:
            child.dismiss()
        else:
            self._idle.append(child)
            self._go_on()

    def _done(self, child: Child) -> None:
        child.job = None
        if not child.doomed and child.burial is None:
            self._free(child)

    def _bury(self, child: Child) -> None:
        """A child has hung up, or is dead: see to both, then let another take its place."""
        if child.burial is None:
            if child in self._idle:
                self._idle.remove(child)
            child.burial = self._buried(child)
            self._spawn(child.burial)

    async def _buried(self, child: Child) -> None:
        newborn = child.newborn
        if not newborn.ended.done():  # it has hung up, and may take a moment to end in order
            await asyncio.wait({newborn.ended}, timeout=LEAVE_S)
            newborn.kill()
        status = await newborn.ended
        await asyncio.wait({child.silent}, timeout=LAST_WORDS_S)
        child.hang_up()
        self._children.discard(child)
        if child.job is not None:
            self._bereave(child.job, status)
            child.job = None
        if not self._closed:
            self._go_on()

    def _bereave(self, job: Job, status: int | None) -> None:
        """The child of a job is dead. If the job had not begun, its child was about to die: another one tries it."""
        if job.done():
            return
        if job.heard or job.again or self._closed:
            job.set_exception(ProcessDied(obituary(status)))
            return
        job.again, job.child = True, None
        self._queue.appendleft(job)


class Job(asyncio.Future[Any]):
    """The answer to a job to be."""

    def __init__(self, executor: ProcessExecutor, job: object, hear: Hear) -> None:
        super().__init__()
        self.executor, self.job, self._hear = executor, job, hear
        self.child: Child | None = None
        self.heard = self.again = False  # whether its child has said something; whether this is its second child

    def hear(self, message: Any) -> None:
        """Hand on what the child says while it does the job."""
        self.heard = True
        self._hear(message)

    def cancel(self, msg: object = None) -> bool:
        """Cancel the future, and kill the child that does the job."""
        if not super().cancel(msg):
            return False
        if self.child is not None and self.child.job is self:
            self.child.doom()
        return True


class Child(asyncio.Protocol):
    """The parent's end of the line to a child."""

    def __init__(self, executor: ProcessExecutor, newborn: Newborn) -> None:
        self.executor, self.newborn = executor, newborn
        self.job: Job | None = None
        self.doomed = False
        self.burial: Any = None
        self.silent: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # nothing more will come
        self._number = 0
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None

    def take(self, job: Job) -> None:
        """Send a job; what is said of earlier ones is not heard any more."""
        self._number += 1
        self.job, job.child = job, self
        self.send([self._number, job.job])

    def send(self, message: object) -> None:
        """Send a message, as soon as the child takes it."""
        assert self._transport is not None
        self._transport.write(packed(message))

    def doom(self) -> None:
        """Kill the child if it has a job; it gets no other."""
        if self.job is not None and not self.doomed:
            self.doomed = True
            self.newborn.kill()
            self.job.cancel()
            self.executor._bury(self)

    def dismiss(self) -> None:
        """Let an idle child end in order: it finds that nobody speaks to it any more."""
        self.hang_up()
        self.executor._bury(self)

    def hang_up(self) -> None:
        """Close the line."""
        if self._transport is not None:
            self._transport.close()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for kind, number, message in self._frames.fed(data):
            job = self.job
            if job is None or number != self._number:
                continue
            if kind == "done":
                if not job.done():
                    job.set_result(message)
                self.executor._done(self)
            elif not job.done():
                job.hear(message)

    def connection_lost(self, error: Exception | None) -> None:
        self.silent.set_result(None)
        self.executor._bury(self)


def _setup(entry: str) -> dict[str, object]:
    try:
        cwd = os.getcwd()
    except FileNotFoundError:
        cwd = os.sep
    return {"entry": entry, "path": search_path(), "argv": sys.argv, "cwd": cwd, "environ": dict(os.environ)}


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    counting = getattr(os, "process_cpu_count", os.cpu_count)  # Python 3.13 has the former
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity and counting is os.cpu_count else counting() or 1


def obituary(status: int | None) -> str:
    """Say how a child has ended.

    >>> obituary(3)
    'the process of the body ended with exit code 3 before the body did'
    """
    if status is None:
        return "the process of the body is gone, together with the process that starts the others"
    if status >= 0:
        return f"the process of the body ended with exit code {status} before the body did"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = "; did the system run out of memory?" if name == "SIGKILL" else ""
    return f"the process of the body was killed by {name}{hint}"
