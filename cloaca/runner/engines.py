"""What a runner and its handles share: the store, the codec, the clock, and the worker if there is one."""

from __future__ import annotations

from dataclasses import dataclass

from cloaca.errors import RunnerClosed, RunNotFound
from cloaca.interpreter.workers import Worker
from cloaca.ports import Clock, Codec, History, Store


@dataclass(slots=True)
class Engine:
    """The parts of an open runner. ``worker`` is None for a runner that only starts and follows runs."""

    store: Store
    codec: Codec
    clock: Clock
    worker: Worker | None = None
    is_open: bool = False

    def check_open(self) -> None:
        """Raise RunnerClosed unless the runner is open."""
        if not self.is_open:
            raise RunnerClosed("the runner is not open: use it inside `async with Runner(...) as runner`")

    async def history(self, run: int) -> History:
        """Return all that is stored about a run. Raises RunNotFound."""
        self.check_open()
        history = await self.store.history(run)
        if history is None:
            raise RunNotFound(f"no run {run} in this database")
        return history
