"""Slots: offered work is performed by priority, then in the order of its offers, at most so many pieces at a time.

It knows nothing of what the work is. A slot goes on with the next offer as long as its work does not suspend, so that
a thousand short pieces cost one task of the event loop, not a thousand; as soon as one suspends, another slot takes
over. Work that changes context variables ends its slot, so that nothing leaks into the next piece.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from cloaca.interpreter.interrupts import stay_unlogged

T = TypeVar("T")

TURN = 64  # pieces that one slot performs before the event loop gets a turn


class Slots(Generic[T]):
    """Performs offers. ``perform`` does a piece at once and returns None, or returns what to await.

    ``interrupted`` is called with what ends the event loop, should that come out of a piece.
    """

    def __init__(
        self,
        limit: int,
        perform: Callable[[T], Coroutine[Any, Any, None] | None],
        interrupted: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        self._perform, self._interrupted = perform, interrupted
        self._limit = self._free = limit
        self._offers: deque[T] = deque()  # those of priority 0, which are all as a rule
        self._others: dict[int, deque[T]] = {}  # by priority, none empty
        self.serving: asyncio.Task[None] | None = None  # the task in which ``perform`` is called
        self._scheduled = False
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # as it was when the worker was opened, whoever offers

    def offer(self, item: T, priority: int = 0) -> None:
        """Perform ``item`` as soon as a slot is free; never, once closed: a slot that becomes free would go on."""
        if not self._closed:
            (self._others.setdefault(priority, deque()) if priority else self._offers).append(item)
            self._schedule()

    @property
    def free(self) -> int:
        """How many pieces more could be performed at once."""
        return max(0, self._free - self.waiting)

    @property
    def busy(self) -> int:
        """How many slots are taken."""
        return self._limit - self._free

    @property
    def waiting(self) -> int:
        """How many pieces wait."""
        return len(self._offers) + sum(map(len, self._others.values()))

    def _next(self) -> T:
        """Take the first offer of the highest priority."""
        if not self._others:
            return self._offers.popleft()
        highest = max(self._others)
        if highest < 0 and self._offers:
            return self._offers.popleft()
        first = self._others[highest].popleft()
        if not self._others[highest]:
            del self._others[highest]
        return first

    def clear(self) -> None:
        """Forget what was offered and has not begun."""
        self._offers.clear()
        self._others.clear()

    def close(self) -> None:
        """Begin nothing more."""
        self._closed = True
        self.clear()

    def _schedule(self) -> None:
        """Have slots opened: at once if none is open, which saves a turn of the event loop; else see how many then."""
        if self._scheduled or self._free <= 0:
            return
        self._scheduled = True
        if self._free == self._limit:
            self._open(1)
        else:
            self._loop.call_soon(self._fill, context=self._context)

    def _fill(self) -> None:
        """Open slots: one, or as many again as are suspended now."""
        self._scheduled = False
        suspended = self._limit - self._free
        self._open(min(self.waiting, self._free, max(1, suspended)))

    def _open(self, count: int) -> None:
        for _ in range(count):
            self._free -= 1
            task = self._loop.create_task(self._serve(), context=self._context.copy())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self) -> None:
        self._scheduled = False
        context, performed = copy_context(), 0
        current = asyncio.current_task()
        assert current is not None
        try:
            while self._offers or self._others:
                self.serving = current
                work = self._perform(self._next())
                if work is not None:
                    if self._offers or self._others:
                        self._schedule()  # should this piece suspend, another slot goes on
                    await work
                if current.cancelling() or copy_context() != context:
                    return
                performed += 1
                if performed % TURN == 0:
                    await asyncio.sleep(0)
        except (SystemExit, KeyboardInterrupt) as error:
            stay_unlogged()
            self._interrupted(error)
            raise
        finally:
            self._free += 1
            if self._offers or self._others:
                self._schedule()
