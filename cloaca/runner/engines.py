"""What a runner and its handles share: the store, the codec, the clock, and the worker if there is one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cloaca.errors import RunnerClosed, RunNotFound
from cloaca.interpreter.workers import Worker
from cloaca.ports import Clock, Codec, History, Store


@dataclass(slots=True)
class Engine:
    """The parts of a runner. ``worker`` is None if it only starts and follows runs, ``loop`` unless it is open."""

    store: Store
    codec: Codec
    clock: Clock
    worker: Worker | None = None
    loop: asyncio.AbstractEventLoop | None = None

    def check_open(self) -> None:
        """Raise RunnerClosed unless the runner is open, on this very event loop."""
        if self.loop is None:
            raise RunnerClosed("the runner is not open: use it inside `async with Runner(...) as runner`")
        if self.loop is not asyncio.get_running_loop():
            raise RunnerClosed("the runner is open on another event loop: use it there, or use a BlockingRunner")

    async def history(self, run: int) -> History:
        """Return all that is stored about a run. Raises RunNotFound."""
        self.check_open()
        history = await self.store.history(run)
        if history is None:
            raise RunNotFound(f"no run {run} in this database")
        return history
