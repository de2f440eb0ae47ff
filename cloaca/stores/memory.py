"""A store in memory: the reference of what a store does, for tests and simulations. Nothing survives the process.

It knows the rows and the guarantees of the port, and passes the same conformance suite as the databases. What it does
by sessions, batches, schedules and users' wishes stands in files of their own, as it does in SQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from cloaca.ports import (
    NOTHING,
    SUSPECT_CRASHES,
    Cached,
    Granted,
    History,
    NewRun,
    PlanRow,
    Poll,
    QueueRow,
    RunRow,
    SlotRow,
    Submitted,
    Transaction,
)
from cloaca.stores.memory_batches import MemoryBatches
from cloaca.stores.memory_controls import MemoryControls
from cloaca.stores.memory_ownership import MemoryOwnership
from cloaca.stores.memory_rows import FINAL
from cloaca.stores.memory_schedules import MemorySchedules

if TYPE_CHECKING:
    from cloaca.stores.sql.memory_bodies import MemoryBodies


class MemoryStore(MemorySchedules, MemoryControls, MemoryBatches, MemoryOwnership):
    """Rows in dictionaries. Each method yields to the event loop once, as a database would, and is then one step."""

    def __init__(self) -> None:
        super().__init__()
        self._bodies: MemoryBodies | None = None

    async def open(self) -> None:
        """Nothing to prepare."""

    async def close(self) -> None:
        """Keep the rows: a store that is opened again still has them, as a file would."""

    async def watch(self, wake: Callable[[], None]) -> bool:
        """No other process shares this memory."""
        return False

    async def follow(self, run: int, wake: Callable[[], None]) -> bool:
        """As ``watch``."""
        return False

    def unfollow(self, run: int, wake: Callable[[], None]) -> None:
        """Nobody is called."""

    def transaction(self, *, is_async: bool) -> Transaction:
        from cloaca.stores.sql.memory_bodies import MemoryBodies  # noqa: PLC0415 - only who needs SQL loads it

        if self._bodies is None:
            self._bodies = MemoryBodies(self)
        return self._bodies.transaction(is_async=is_async)

    async def submit(self, plan: PlanRow, run: NewRun) -> Submitted:
        await asyncio.sleep(0)
        self.plans.setdefault(plan.digest, plan)
        return self._insert(run)

    async def poll(
        self,
        session: int,
        workflows: Sequence[str],
        at: float,
        *,
        renew_until: float | None = None,
        serves: Mapping[str, str] = NOTHING,
    ) -> Poll:
        await asyncio.sleep(0)
        if renew_until is not None:
            self._fence(session)
            self.sessions[session] = max(self.sessions[session], renew_until)
        crashes = [row.crashes for row in self._queue(workflows)]
        owned = [self.rows[run] for run in self._owned.get(session, ())]
        return Poll(
            claimable=any(count < SUSPECT_CRASHES for count in crashes),
            suspects=any(count >= SUSPECT_CRASHES for count in crashes),
            expired=any(until < at for other, until in self.sessions.items() if other != session),
            cancelling=sorted(row.id for row in owned if row.cancel_requested),
            pausing=frozenset(row.id for row in owned if row.pausing is not None),
            roused=frozenset(row.id for row in owned if row.roused),
            due=any(self._parked_due(at)),
            lapse_s=min((until - at for other, until in self.sessions.items() if other != session), default=None),
            firings=self._waits(session, workflows),
            due_s=min((due_at - at for due_at, _ in self._due(workflows)), default=None),
            refused=bool(self._refused(serves)),
        )

    async def declare(self, queues: Sequence[QueueRow]) -> list[QueueRow]:
        await asyncio.sleep(0)
        return self.slots.declare(queues)

    async def queues(self) -> list[QueueRow]:
        await asyncio.sleep(0)
        return sorted(self.slots.queues.values())

    async def acquire(self, session: int, wanted: Sequence[SlotRow], at: float) -> Granted:
        await asyncio.sleep(0)
        self._fence(session)
        return self.slots.acquire(self.sessions, session, wanted, at)

    async def history(self, run: int) -> History | None:
        await asyncio.sleep(0)
        return self._history(run) if run in self.rows else None

    async def run(self, run: int) -> RunRow | None:
        await asyncio.sleep(0)
        return self.rows.get(run)

    async def plan(self, digest: str) -> PlanRow | None:
        await asyncio.sleep(0)
        return self.plans.get(digest)

    async def runs(self, *, workflow: str | None, status: str | None, before: int | None, limit: int) -> list[RunRow]:
        await asyncio.sleep(0)
        found = (
            row
            for row in sorted(self.rows.values(), reverse=True)
            if workflow in (None, row.workflow) and status in (None, row.status) and (before is None or row.id < before)
        )
        return [row for row, _ in zip(found, range(limit), strict=False)]

    async def prune(self, ended_before: float, limit: int) -> int:
        await asyncio.sleep(0)
        ended = [(row.finished_at or 0.0, row.id) for row in self.rows.values() if row.status in FINAL]
        needed = {row.parent for row in self.rows.values() if row.status not in FINAL}
        roots = (end for end in ended if self.rows[end[1]].parent is None and end[1] not in needed)
        old = sorted(end for end in roots if end[0] < ended_before)[: max(0, limit)]
        for _, run in old:
            self._delete(run)
        if not old:
            self._forget_skipped(ended_before)
            kept = {row.plan for row in self.rows.values()}
            self.plans = {digest: plan for digest, plan in self.plans.items() if digest in kept}
        return len(old)

    def _delete(self, run: int) -> None:
        """Forget a run that has ended."""
        row = self.rows.pop(run)
        if row.key is not None:
            del self.keys[row.workflow, row.key]
        for rows in (self.tasks, self.failures, self.notes, self.waits, self.signals):
            rows.pop(run, None)
        for child in self._children(run):
            self._put(child._replace(parent=None))
        if row.schedule is not None:
            self._forget_firing_of(row)
        self._hide(lambda attempt: attempt.run == run)

    async def cached(self, keys: Sequence[str], at: float) -> list[Cached]:
        await asyncio.sleep(0)
        found = (self.kept[key] for key in set(keys) if key in self.kept)
        return [Cached(row.key, row.output, row.run, row.task, at - since) for row, since in found]

    async def prune_cache(self, kept_before: float, limit: int) -> int:
        await asyncio.sleep(0)
        old = sorted((since, key) for key, (_, since) in self.kept.items() if since < kept_before)[: max(0, limit)]
        for _, key in old:
            del self.kept[key]
        return len(old)
