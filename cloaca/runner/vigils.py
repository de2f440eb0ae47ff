"""Vigils: waiting for what other processes, or this one's worker, do to a run.

Whoever keeps one looks at the run, rests, looks again. A rest ends with news of the run; where others can't be heard it
is short, else long, but for the first ones: what is done while the others learn that somebody follows may be missed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from cloaca.runner.engines import Engine

POLL_S = 0.5  # how often to look where news can't be heard; eight times that while this very worker may take the run
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 6.0
LEAST_GAP_S, MOST_GAP_S = 0.01, 0.5  # a look at a large run takes a while: so long at least nobody looks again


class Vigil:
    """Rests between two looks at a run."""

    def __init__(self, engine: Engine, run: int) -> None:
        self._engine, self._run = engine, run
        self._news = asyncio.Event()
        self._hears: bool | None = None  # whether news comes from other processes; None before the beginning
        self._pause = 0.0
        self._looks_since = 0.0

    async def begin(self) -> None:
        """Listen, if that has not begun: what happens from now on ends the next rest, at the latest a later one."""
        if self._hears is not None:
            return
        self._hears = await self._engine.store.follow(self._run, self._disturb)
        if self._engine.worker is not None:
            self._engine.worker.expect(self._run, self._disturb)
        self._pause = FIRST_PAUSE_S if self._hears else POLL_S
        self._looks_since = asyncio.get_running_loop().time()

    def end(self) -> None:
        """Listen no more."""
        self._engine.store.unfollow(self._run, self._disturb)
        if self._engine.worker is not None:
            self._engine.worker.forget(self._run, self._disturb)

    async def rest(self, *, may_come: bool = False) -> None:
        """Wait until it is time for another look. ``may_come``: this process's worker will most likely take the run."""
        now = asyncio.get_running_loop().time
        earliest = now() + min(max(LEAST_GAP_S, now() - self._looks_since), MOST_GAP_S)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), self._pause)
        await asyncio.sleep(max(0.0, earliest - now()))
        self._news.clear()
        if self._hears:
            self._pause = min(self._pause * 2, LONGEST_PAUSE_S)
            await self._engine.store.follow(self._run, self._disturb)
        else:
            self._pause = min(self._pause * 2, 8 * POLL_S) if may_come and self._engine.worker is not None else POLL_S
        self._looks_since = now()

    def _disturb(self) -> None:
        self._news.set()


@contextlib.contextmanager
def vigil(engine: Engine, run: int) -> Iterator[Vigil]:
    """A vigil, which ends with the block."""
    kept = Vigil(engine, run)
    try:
        yield kept
    finally:
        kept.end()
