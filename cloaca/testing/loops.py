"""An event loop on virtual time: it runs asyncio code of several simulated processes, in an order that a seed chooses.

Nothing waits: when nobody has anything to do, time moves on to the next timer. Every callback belongs to the process in
whose context it was scheduled; a process that was killed never runs again, not even its ``finally`` clauses, and one
that is frozen runs later. It knows callbacks and processes, not workflows.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from random import Random
from typing import Any, NoReturn, TypeVar, cast

from cloaca.testing.processes import PROCESS, Call, Callback, Process

T = TypeVar("T")

HOUSEKEEPING = "Worker._tick"  # the coroutine whose timers only look after leases, and for work that was announced


class NeverRests(Exception):
    """Somebody always has something to do, though nothing comes of it."""


class NothingLeft(Exception):
    """Nobody has anything to do any more, now or later, and what was waited for has not happened."""


class VirtualLoop:
    """Runs callbacks on virtual time. It has what asyncio asks of a loop, but for connections, files and processes.

    Args:
        chance: chooses which process goes next; None takes them in the order in which their callbacks came.
        skip: is asked, when nothing but housekeeping is left until a time, to move on to then at once.
    """

    def __init__(self, chance: Random | None = None, skip: Callable[[float | None], float] | None = None) -> None:
        self.now = 0.0
        self.steps = 0
        self.main = Process("test")
        self.patience = 8  # rounds of housekeeping after which nothing new is to be expected of them
        self._chance, self._skip = chance, skip
        self._runnable: deque[Process] = deque()  # one entry for each callback that is ready, in their order
        self._timers: list[tuple[float, int, Call]] = []
        self._count = 0
        self._closed = False
        self._quiet = 0  # housekeeping timers that have fired since anything else happened
        self._tasks: list[asyncio.Task[Any]] = []  # so that a killed process is never collected while we run
        self._many = MANY_TASKS
        self.as_loop = cast("asyncio.AbstractEventLoop", self)
        self._halted: BaseException | None = None
        self._in_vain = 0

    # What asyncio asks of a loop

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return asyncio._get_running_loop() is self.as_loop

    def is_closed(self) -> bool:
        return self._closed

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self.as_loop)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        if self._closed:
            coro.close()
            raise RuntimeError("the simulation is over")
        context: contextvars.Context | None = options.pop("context", None)
        name = options.pop("name", None)
        task = asyncio.Task(coro, loop=self.as_loop, name=name, context=context)
        self._tasks.append(task)
        if len(self._tasks) > self._many:  # a callback at the end of each would be one step more
            self._tasks = [each for each in self._tasks if not each.done()]
            self._many = MANY_TASKS + 2 * len(self._tasks)
        return task

    def call_soon(self, callback: Callback, *args: Any, context: contextvars.Context | None = None) -> Call:
        if context is None:
            context = contextvars.copy_context()
        process = context.get(PROCESS, self.main)
        call = Call(callback, args, context, process)
        process.ready.append(call)
        self._runnable.append(process)
        return call

    def call_soon_threadsafe(self, callback: Callback, *args: Any, context: contextvars.Context | None = None) -> Call:
        if (
            getattr(callback, "__name__", "") == "_set_state"
        ):  # a future of threads tells one of ours: it belongs to nobody
            context = contextvars.copy_context()
            context.run(PROCESS.set, self.main)
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callback, *args: Any, context: contextvars.Context | None = None
    ) -> Call:
        return self.call_at(self.now + max(0.0, delay), callback, *args, context=context)

    def call_at(self, when: float, callback: Callback, *args: Any, context: contextvars.Context | None = None) -> Call:
        if context is None:
            context = contextvars.copy_context()
        call = Call(callback, args, context, context.get(PROCESS, self.main))
        is_sleep = getattr(callback, "__name__", "") == "_set_result_unless_cancelled"
        call.housekeeping = is_sleep and self._is_housekeeping()
        self._count += 1
        heappush(self._timers, (when, self._count, call))
        return call

    def run_in_executor(self, executor: Any, func: Callback, *args: Any) -> asyncio.Future[Any]:
        """Call at once: a simulated process has no threads."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - for whoever awaits it
            future.set_exception(error)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Nobody looks at what is left behind by a process that was killed."""

    async def shutdown_asyncgens(self) -> None:
        """There are none to shut down."""

    def close(self) -> None:
        """Forget everything that has not run, and bury what is in the middle of something.

        Their ``finally`` clauses run now, when no effect of theirs happens any more.
        """
        self._closed = True
        self._timers.clear()
        self._runnable.clear()
        tasks, self._tasks = [each for each in self._tasks if not each.done()], []
        with warnings.catch_warnings(), self.entered():
            warnings.simplefilter("ignore", RuntimeWarning)  # of coroutines that were made and never began
            for task in tasks:
                _bury(task)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"loop.{name}: a simulated body can't open connections, files or processes on the event loop; "
            f"give the task a fake, as in fakes={{charge: fake_charge}}"
        )

    # Running

    def run_until_complete(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` to its end and return what it returns. Raises NothingLeft if it waits for what never comes."""
        with self.entered():
            task: asyncio.Task[T] = self.create_task(work)
            while not task.done():
                self._step()
            return task.result()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be the running loop, whichever is: a test may itself be asynchronous."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        asyncio._set_running_loop(self.as_loop)
        try:
            yield
        finally:
            asyncio._set_running_loop(before)

    def in_process(self, process: Process, callback: Callback, *args: Any, delay: float = 0.0) -> None:
        """Call ``callback`` as a part of ``process``, after ``delay`` seconds."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, process)
        if delay > 0:
            self.call_later(delay, callback, *args, context=context)
        else:
            self.call_soon(callback, *args, context=context)

    def halt(self, error: BaseException) -> None:
        """Stop before the next step: ``run_until_complete`` raises ``error``."""
        self._halted = self._halted or error

    def progress(self) -> None:
        """Something has come of it all: the workers don't run in circles."""
        self._in_vain = self.steps

    def _step(self) -> None:
        """Run one callback, after moving time to the next timer if there is none."""
        process = self._next()
        while process is None:
            self._advance()
            process = self._next()
        call = process.ready.popleft()
        if call.callback is None:
            return
        self.steps += 1
        if self.steps - self._in_vain > MOST_STEPS:
            raise NeverRests
        try:
            call.context.run(call.callback, *call.args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:  # noqa: BLE001 - asyncio would log it; nobody looks at what a killed process leaves
            pass
        if self._halted is not None:
            raise self._halted

    def _next(self) -> Process | None:
        """Return whose callback is next, None if nobody can go on now."""
        runnable = self._runnable
        count = len(runnable)
        if count > 1 and self._chance is not None:
            runnable.rotate(-int(self._chance.random() * (count if count < AHEAD else AHEAD)))
        for _ in range(count):
            process = runnable.popleft()
            if not process.alive:
                continue
            if process.frozen_until <= self.now:
                return process
            runnable.append(process)
        return None

    def _advance(self) -> None:
        """Move time on to the next timer, or to when a frozen process goes on; make ready what is due then."""
        until = self._due()
        self.now = max(self.now, until)
        housekeeping, timers = True, self._timers
        while timers and timers[0][0] <= self.now:
            call = heappop(timers)[2]
            if call.callback is None or not call.process.alive:
                continue
            housekeeping = housekeeping and call.housekeeping
            call.process.ready.append(call)
            self._runnable.append(call.process)
        self._quiet = self._quiet + 1 if housekeeping else 0

    def _due(self) -> float:
        """Return when the next thing happens."""
        timers = self._timers
        while timers and (timers[0][2].callback is None or not timers[0][2].process.alive):
            heappop(timers)
        thaws = [process.frozen_until for process in set(self._runnable) if process.alive]
        if self._quiet > self.patience and self._skip is not None:
            self._pass_over(thaws)
        if not timers and not thaws:
            raise NothingLeft
        return min([*thaws, *(timer[0] for timer in timers[:1])])

    def _pass_over(self, thaws: list[float]) -> None:
        """Nothing but housekeeping has happened for a while: move on to the first other event at once."""
        assert self._skip is not None
        living = [timer for timer in self._timers if timer[2].callback is not None and timer[2].process.alive]
        others = [when for when, _, call in living if not call.housekeeping]
        until = self._skip(min([*others, *thaws], default=None))
        late = until - self.now
        if late <= 0:
            return
        shifted = [(when + late if call.housekeeping else when, count, call) for when, count, call in living]
        self._timers = sorted(shifted)  # by time, then in the order in which they were set
        self._quiet = 0

    def _is_housekeeping(self) -> bool:
        task = asyncio.current_task(self.as_loop)
        coroutine = None if task is None else task.get_coro()
        return inspect.iscoroutine(coroutine) and coroutine.__qualname__ == HOUSEKEEPING


def _bury(task: asyncio.Task[Any]) -> None:
    """End a task that nobody will go on with, whatever it says to that."""
    coroutine = task.get_coro()
    for _ in range(STUBBORN):
        try:
            coroutine.close()
        except BaseException:  # noqa: BLE001 - a clause that awaits, or raises: once more
            continue
        return


MANY_TASKS = 1_000  # after which those that are done are let go
AHEAD = 8  # callbacks of which chance chooses the next
STUBBORN = 10  # clauses that await, one within the other
MOST_STEPS = 200_000  # without progress
