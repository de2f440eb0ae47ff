"""What a runner and its handles share: the store, the codec, the clock, and the worker if there is one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from cloaca.errors import RunnerClosed, RunNotFound
from cloaca.interpreter.drives import Drive
from cloaca.interpreter.histories import Waiting, moment
from cloaca.interpreter.workers import Worker
from cloaca.ports import Clock, Codec, History, RunRow, Store
from cloaca.telemetry import Telemetry


@dataclass(slots=True)
class Engine:
    """The parts of a runner. ``worker`` is None if it only starts and follows runs, ``loop`` unless it is open.

    ``ids`` are those of runs to come. ``telemetry`` is None if nobody wants to know.
    """

    store: Store
    codec: Codec
    clock: Clock
    ids: Iterator[int]
    worker: Worker | None = None
    telemetry: Telemetry | None = None
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
            raise RunNotFound(
                f"no run {run} in this database: check the URL; ended runs are deleted after `retention=`"
            )
        return history

    async def row(self, run: int) -> RunRow:
        """Return a run's own row, which costs the same however much the run has done. Raises RunNotFound."""
        self.check_open()
        row = await self.store.run(run)
        if row is None:
            raise RunNotFound(f"no run {run} in this database")
        return row

    def drive(self, run: int) -> Drive | None:
        """Return the drive of a run, if this process has it and the run has not ended."""
        drive = self.worker.drives.get(run) if self.worker else None
        return None if drive is None or drive.dropped or drive.ended.is_set() else drive

    def queued(self, drive: Drive) -> Waiting | None:
        """Return what a run waits for that this process drives, if it is a slot of a queue."""
        found = self.worker.queues.waiting(drive) if self.worker else None
        if found is None:
            return None
        ticket, due_s = found
        until = None if due_s is None else moment(self.clock.now() + due_s)
        return Waiting("queue", drive.shown(ticket.node), ticket.queue, until)

    def wake(self) -> None:
        """Look for work now, if this process works: there is some."""
        if self.worker is not None:
            self.worker.wake()

    async def arrival(self, run: int, within_s: float) -> None:
        """Wait for a while, or until this process drives a run."""
        if self.worker is None:
            await asyncio.sleep(within_s)
        else:
            await self.worker.arrival(run, within_s)
