"""Alarms: what is to happen when a moment has come, by the clock and not by how long one waits.

One timer of the event loop stands for all of them. A clock that was set back is waited for, one that was set forward is
noticed with the next ``ring``. It knows moments and drives, not what an alarm means.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Protocol

FEW = 64  # alarms that nobody wants any more are thrown away when there are more, and more than those that are wanted


class Sleeper(Protocol):
    """Who sets alarms."""

    @property
    def is_gone(self) -> bool:
        """Whether nobody waits for its alarms any more."""
        ...

    def alarm(self, node: int) -> None:
        """The moment for ``node`` has come."""
        ...


class Alarms:
    """The alarms of one worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now: Callable[[], float]) -> None:
        self._loop, self._now = loop, now
        self._heap: list[tuple[float, int, Sleeper, int]] = []
        self._count = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._unwanted = 0

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, due: float, sleeper: Sleeper, node: int) -> None:
        """Call ``sleeper.alarm(node)`` once it is ``due``, unless the sleeper is gone then."""
        heappush(self._heap, (due, next(self._count), sleeper, node))
        if self._heap[0][2:] == (sleeper, node):
            self._arm()

    def forget(self, count: int) -> None:
        """Note that so many alarms belong to a sleeper that is gone now."""
        self._unwanted += count
        if self._unwanted > FEW and self._unwanted * 2 > len(self._heap):
            self._heap = [alarm for alarm in self._heap if not alarm[2].is_gone]
            heapify(self._heap)
            self._unwanted = 0

    def ring(self) -> None:
        """Ring what is due by now."""
        now = self._now()
        while self._heap and self._heap[0][0] <= now:
            _, _, sleeper, node = heappop(self._heap)
            if not sleeper.is_gone:
                sleeper.alarm(node)
        self._arm()

    def clear(self) -> None:
        """Forget them all."""
        self._heap.clear()
        self._unwanted = 0
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._timer = self._loop.call_later(max(0.0, self._heap[0][0] - self._now()), self.ring)
