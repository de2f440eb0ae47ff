"""What users do to runs in memory: cancel, pause, resume, retry, upgrade, fork, send a signal.

It knows rows and statuses; which tasks begin anew is decided by whoever calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cloaca.ports import NewRun, NoteRow, PlanRow, RunRow, SignalRow
from cloaca.stores.memory_rows import FINAL, MemoryRows


class MemoryControls(MemoryRows):
    """The part of the memory store that users reach through a run's handle."""

    def __init__(self) -> None:
        super().__init__()
        self.last_signal = 0

    async def cancel(self, run: int, at: float) -> str | None:
        await asyncio.sleep(0)
        self._stop(run, at)
        row = self.rows.get(run)
        return row.status if row else None

    async def pause(self, run: int, at: float) -> RunRow | None:
        await asyncio.sleep(0)
        row = self.rows.get(run)
        if row is not None and row.status not in (*FINAL, "paused") and row.pausing is None:
            if row.owner is None:
                self._pause(row, at)
            else:
                self._put(row._replace(pausing="asked"))
        return self.rows.get(run)

    async def resume(self, run: int, at: float) -> RunRow | None:
        await asyncio.sleep(0)
        row = self.rows.get(run)
        if row is not None and row.status == "paused":
            self._put(row._replace(status="pending"))
            self._note(NoteRow(run, at, "run_resumed", None, ""))
        elif row is not None:
            self._put(row._replace(pausing=None))
        return self.rows.get(run)

    async def retry(self, seen: RunRow, at: float, *, anew: Sequence[str], earlier: str | None, detail: str) -> bool:
        await asyncio.sleep(0)
        row = self.rows.get(seen.id)
        if row is None or (row.status, row.finished_at) != (seen.status, seen.finished_at):
            return False
        row = row._replace(status="pending", finished_at=None, reason=None, crashes=0, earlier=earlier, refused=None)
        self._put(row)
        self._forget(row.id, anew)
        self._note(NoteRow(row.id, at, "run_retried", None, detail))
        return True

    async def upgrade(
        self, seen: RunRow, plan: PlanRow, at: float, *, anew: Sequence[str], earlier: str | None, epilogue: bool,
        detail: str,
    ) -> bool:  # fmt: skip
        await asyncio.sleep(0)
        row = self.rows.get(seen.id)
        if row is None or row.status != "blocked" or row.plan != seen.plan:
            return False
        self.plans.setdefault(plan.digest, plan)
        row = row._replace(plan=plan.digest, version=plan.version, epilogue=epilogue, earlier=earlier)
        self._put(row._replace(status="pending", reason=None, crashes=0, refused=None))
        self._forget(row.id, anew)
        self._note(NoteRow(row.id, at, "run_upgraded", None, detail))
        return True

    async def fork(self, plan: PlanRow, run: NewRun, *, origin: int, tasks: Sequence[str], detail: str) -> int | None:
        await asyncio.sleep(0)
        found = [self.tasks.get(origin, {}).get(name) for name in tasks]
        rows = [row for row in found if row is not None and row.status == "succeeded"]
        if len(rows) < len(tasks):
            return None
        self.plans.setdefault(plan.digest, plan)
        made = self._insert(run).id
        for row in rows:
            self.tasks.setdefault(made, {}).setdefault(row.name, row._replace(run=made, session=0))
        self._note(NoteRow(made, run.created_at, "run_forked", None, detail))
        return made

    async def send(self, run: int, name: str, payload: str, at: float, *, nodes: Sequence[str]) -> bool | None:
        await asyncio.sleep(0)
        row = self.rows.get(run)
        if row is None or row.status in FINAL:
            return None if row is None else False
        kept = self.signals.setdefault(run, {})
        untaken = sum(signal.name == name and signal.taken_by is None for signal in kept.values())
        answered = sum(node in self.tasks.get(run, ()) for node in set(nodes))
        if answered + untaken >= len(set(nodes)):
            return False
        self.last_signal += 1
        kept[self.last_signal] = SignalRow(self.last_signal, run, name, payload, at, None)
        self._rouse(run)
        return True

    def _forget(self, run: int, names: Sequence[str]) -> None:
        for name in names:
            self.tasks.get(run, {}).pop(name, None)
            self.waits.get(run, {}).pop(name, None)
