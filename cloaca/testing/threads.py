"""Simulated threads: synchronous bodies that wait without keeping anybody else from going on.

A body runs in a greenlet on the simulation's one real thread, so that it can stop in the middle of a call and go on
later, on virtual time. It knows calls, not tasks.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar, cast

import greenlet  # type: ignore[import-untyped]  # it brings no types

from cloaca.interpreter.answers import Exit

T = TypeVar("T")


class SimulatedThread(greenlet.greenlet):  # type: ignore[misc]  # the same
    """One body on its thread."""

    def __init__(self, run: Callable[[], None]) -> None:
        super().__init__(run)
        self.gr_context = contextvars.copy_context()

    def go_on(self) -> None:
        """Run until it waits for something, or ends."""
        awaited = self.switch()
        if not self.dead:
            cast("asyncio.Future[Any]", awaited).add_done_callback(lambda _: self.go_on())

    def bury(self) -> None:
        """End it where it stands, whatever it says to that."""
        for _ in range(STUBBORN):
            if self.dead:
                return
            with suppress(BaseException):
                self.throw(greenlet.GreenletExit)


def on_a_thread() -> bool:
    """Whether this is called by a body on a simulated thread."""
    return isinstance(greenlet.getcurrent(), SimulatedThread)


def wait_for(future: asyncio.Future[T]) -> T:
    """Wait, on a simulated thread, and return what the future comes to."""
    if not future.done():
        parent = greenlet.getcurrent().parent
        assert parent is not None  # only a simulated thread may wait
        parent.switch(future)
    return future.result()


def sleep(seconds: float) -> None:
    """Wait, on a simulated thread, for so long on virtual time."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    loop.call_later(seconds, future.set_result, None)
    wait_for(future)


def wait_until_done(work: Coroutine[Any, Any, T]) -> T:
    """Do asynchronous work on a simulated thread, and wait for it."""
    return wait_for(asyncio.get_running_loop().create_task(work))


class SimulatedThreads:
    """The executor of a simulated process: bodies run in one instant, but for when they wait."""

    def __init__(self) -> None:
        self._closed = False
        self._running: set[SimulatedThread] = set()

    def submit(self, call: Callable[[], object]) -> asyncio.Future[object]:
        if self._closed:
            raise RuntimeError("the executor is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        loop.call_soon(self._begin, future, call)
        return future

    def _begin(self, future: asyncio.Future[object], call: Callable[[], object]) -> None:
        """Run a body, whether somebody still waits for it or not: a thread can't be stopped."""

        def run() -> None:
            try:
                result = call()
            except greenlet.GreenletExit:
                return
            except BaseException as error:  # noqa: BLE001 - a user's body may raise anything
                result = Exit(error)
            self._running.discard(thread)
            if not future.done():
                future.set_result(result)

        thread = SimulatedThread(run)
        self._running.add(thread)
        thread.go_on()

    def abandon(self, future: asyncio.Future[object]) -> None:
        """Nothing is to be done: there is always room for another body."""

    def close(self) -> None:
        self._closed = True

    def bury(self) -> None:
        """End what still runs, when the simulation is over."""
        while self._running:
            self._running.pop().bury()


STUBBORN = 10  # clauses that wait, one within the other
