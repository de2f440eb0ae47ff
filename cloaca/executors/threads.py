"""Runs synchronous bodies on a pool of threads.

Many results share one wake-up of the event loop, which halves the cost of a short body. A body that is abandoned (its
attempt timed out, its run was cancelled) keeps its thread until it returns; another thread takes its place, so that
bodies that hang don't starve the others. It knows calls and futures, not tasks.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue

Call = Callable[[], object]

MOST_THREADS = min(32, (os.cpu_count() or 1) + 4)


class ThreadExecutor:
    """A pool of at most ``threads`` daemon threads: a body that never returns does not keep the process from ending."""

    def __init__(self, threads: int = MOST_THREADS) -> None:
        self._jobs: SimpleQueue[Body | None] = SimpleQueue()
        self._mail: Mailbox | None = None
        self._lock = threading.Lock()  # for all that follows, and for what a body has come to
        self._limit = threads
        self._threads = 0
        self._idle = 0  # threads that have not begun a body
        self._pending = 0  # bodies that no thread has begun
        self._closed = False

    def submit(self, call: Call) -> asyncio.Future[object]:
        """Run ``call`` on a thread, in a copy of the current context. Cancelling the future abandons the body.

        Raises RuntimeError if the executor is closed, or no thread can be started at all.
        """
        loop = asyncio.get_running_loop()
        if self._mail is None or self._mail.loop is not loop:
            self._mail = Mailbox(loop)
        body = Body(self, self._mail, call)
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor is closed")
            self._pending += 1
            self._jobs.put(body)
        self._grow()
        return body

    def abandon(self, future: asyncio.Future[object]) -> None:
        """Stop waiting for a body that can't be stopped: its future still tells when it returns.

        A body that has not begun never will; its future is cancelled.
        """
        assert isinstance(future, Body)
        with self._lock:
            future.abandoned = True
            hangs = future.begun and not future.returned and not future.replaced
            if hangs:
                future.replaced = True
                self._limit += 1
        if hangs:
            self._grow()
        elif not future.begun:
            future.cancel()

    def close(self) -> None:
        """Take no more calls, and forget those that have not begun. Threads end, those in a body after it."""
        with self._lock:
            self._closed = True
            threads = self._threads
        try:
            while (body := self._jobs.get_nowait()) is not None:
                body.cancel()
        except Empty:
            pass
        for _ in range(threads):
            self._jobs.put(None)

    # On the threads

    def _work(self) -> None:
        while self._serve(self._jobs.get()):
            pass

    def _serve(self, body: Body | None) -> bool:
        """Run a body; return whether this thread goes on. What it has seen is forgotten before it waits again."""
        if body is None:
            return False
        if self._begin(body):
            body.mail.put(body, *_outcome(*body.taken()))
        goes_on = self._end(body)
        del body  # an exception keeps this frame, which would keep the future, which keeps the exception
        return goes_on

    def _begin(self, body: Body) -> bool:
        with self._lock:
            self._pending -= 1
            self._idle -= 1
            body.begun = not body.abandoned
            return body.begun

    def _end(self, body: Body) -> bool:
        """Note that a thread is free; one whose place was taken meanwhile is one too many."""
        with self._lock:
            body.returned = True
            self._limit -= body.replaced
            surplus = self._threads > self._limit
            self._threads -= surplus
            self._idle += not surplus
            return not surplus

    def _grow(self) -> None:
        """Start a thread if a body waits for one and there may be more."""
        with self._lock:
            if self._pending <= self._idle or self._threads >= self._limit or self._closed:
                return
            self._threads += 1
            self._idle += 1
            name = f"cloaca-body-{self._threads}"
        try:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except RuntimeError:  # the system has no more threads: those that are there do the work
            with self._lock:
                self._threads -= 1
                self._idle -= 1
                if self._threads == 0:
                    raise


class Body(asyncio.Future[object]):
    """The result of one body to be. ``abandoned``: nobody waits for it; ``replaced``: its thread is one too many."""

    def __init__(self, executor: ThreadExecutor, mail: Mailbox, call: Call) -> None:
        super().__init__(loop=mail.loop)
        self.executor, self.mail = executor, mail
        self.begun = self.returned = self.abandoned = self.replaced = False
        self._todo: tuple[contextvars.Context, Call] | None = (contextvars.copy_context(), call)

    def taken(self) -> tuple[contextvars.Context, Call]:
        """Hand over what is to be done, and keep nothing of it."""
        todo, self._todo = self._todo, None
        assert todo is not None
        return todo

    def cancel(self, msg: object = None) -> bool:
        """Cancel the future, and abandon the body."""
        if not super().cancel(msg):
            return False
        self.executor.abandon(self)
        return True


class Mailbox:
    """Takes results from threads to the one event loop whose futures wait for them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._results: deque[tuple[Body, object, BaseException | None]] = deque()
        self._woken = False

    def put(self, body: Body, result: object, error: BaseException | None) -> None:
        """Hand over what a body has come to, from any thread."""
        self._results.append((body, result, error))
        if self._woken:
            return
        self._woken = True
        try:
            self.loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self._woken = False
            self._results.clear()

    def _deliver(self) -> None:
        self._woken = False
        while self._results:
            body, result, error = self._results.popleft()
            if body.done():
                continue
            if error is None:
                body.set_result(result)
            else:
                body.set_exception(_carried(error))
                if body.abandoned:
                    body.exception()  # seen: asyncio need not warn that nobody looked


class BodyExit(Exception):
    """Stands for an exception that a future can't carry."""


def _outcome(context: contextvars.Context, call: Call) -> tuple[object, BaseException | None]:
    try:
        return context.run(call), None
    except BaseException as error:  # noqa: BLE001 - handed to whoever awaits the future
        # Without this very frame: a traceback begins where the user's code does.
        return None, error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)


def _carried(error: BaseException) -> BaseException:
    """Two exceptions mean something to the coroutine that awaits: a future refuses one, the other would close it."""
    if not isinstance(error, StopIteration | GeneratorExit):
        return error
    carried = BodyExit(f"the body raised {type(error).__name__}: {error}")
    carried.__cause__ = error
    return carried
