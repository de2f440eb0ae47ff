"""A flag that is set once, and that may be waited for. Every run has two, and hardly anybody waits for either.

It is an ``asyncio.Event`` that is made of one object until somebody waits: what a run consists of, the garbage
collector goes through again and again. It knows the event loop and nothing else.
"""

from __future__ import annotations

import asyncio


class Flag:
    """Not set at first. For one event loop."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: list[asyncio.Future[None]] | None = None

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and wake whoever waits."""
        self._is_set = True
        waiting, self._waiting = self._waiting, None
        for future in waiting or ():
            if not future.done():
                future.set_result(None)

    async def wait(self) -> None:
        """Return once it is set."""
        if self._is_set:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiting is None:
            self._waiting = []
        self._waiting.append(future)
        try:
            await future
        finally:
            if self._waiting is not None:  # who waits no more is not woken
                self._waiting.remove(future)
