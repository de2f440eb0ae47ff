"""Who drives which run in memory: sessions and their leases, claiming runs, giving them back, what has come for them.

It knows leases by the times that it is given, not by a clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from cloaca.ports import NOTHING, SUSPECT_CRASHES, Arrivals, History, RunRow
from cloaca.stores.memory_rows import MemoryRows


class MemoryOwnership(MemoryRows):
    """The part of the memory store that knows sessions."""

    def __init__(self) -> None:
        super().__init__()
        self.last_session = 0

    async def open_session(self, name: str, at: float, until: float, *, serves: Mapping[str, str] = NOTHING) -> int:
        await asyncio.sleep(0)
        self.last_session += 1
        self.sessions[self.last_session] = until
        self.serves[self.last_session] = dict(serves)
        return self.last_session

    async def serve(self, session: int, serves: Mapping[str, str]) -> None:
        await asyncio.sleep(0)
        self.serves[session] = dict(serves)

    async def close_session(self, session: int, *, at: float) -> None:
        await asyncio.sleep(0)
        self.sessions.pop(session, None)
        self.slots.free(session)
        self._give_back(session, at)

    async def claim(
        self, session: int, workflows: Sequence[str], limit: int, at: float, *, suspects: bool
    ) -> list[History]:
        await asyncio.sleep(0)
        self._fence(session)
        found = [row for row in self._queue(workflows) if (row.crashes >= SUSPECT_CRASHES) == suspects]
        for row in found[:limit]:
            self._take(row, session, at)
        return [self._history(row.id) for row in found[:limit]]

    async def claim_refused(self, session: int, serves: Mapping[str, str], limit: int, at: float) -> list[History]:
        await asyncio.sleep(0)
        self._fence(session)
        found = self._refused(serves)[: max(0, limit)]
        for row in found:
            self._take(row, session, at)
        return [self._history(row.id) for row in found]

    async def reap(self, at: float, *, sparing: int | None = None) -> int:
        await asyncio.sleep(0)
        dead = [session for session, until in self.sessions.items() if until < at and session != sparing]
        for session in dead:
            del self.sessions[session]
            self.slots.free(session)
        return sum(self._give_back(session, at, crash=1) for session in dead)

    async def hear(self, session: int, runs: Sequence[int]) -> list[Arrivals]:
        await asyncio.sleep(0)
        owned = sorted(set(runs).intersection(self._owned.get(session, ())))
        for run in owned:
            self._put(self.rows[run]._replace(roused=False))
        signals = {run: [s for s in self.signals.get(run, {}).values() if s.taken_by is None] for run in owned}
        return [Arrivals(run, signals[run], self._children(run)) for run in owned]

    async def wake(self, at: float, limit: int) -> int:
        await asyncio.sleep(0)
        due = sorted(self._parked_due(at), key=lambda row: (row.wake_at, row.id))[: max(0, limit)]
        for row in due:
            self._put(row._replace(status="pending"))
        return len(due)

    async def reconsider(self, serves: Mapping[str, str]) -> int:
        await asyncio.sleep(0)
        rows = [row for row in self.rows.values() if row.refused is not None and row.status in ("pending", "blocked")]
        found = [row for row in rows if row.workflow in serves and serves[row.workflow] in (row.refused or "")]
        for row in found:
            self._put(row._replace(refused=(row.refused or "").replace(f"{serves[row.workflow]},", "")))
        return len(found)

    async def block(self, session: int, run: int, reason: str, version: str = "") -> None:
        await asyncio.sleep(0)
        if self._owns(session, run):
            row = self.rows[run]
            refused = f"{row.refused or ''}{version},"
            waits = self._is_served(row.workflow, refused)
            status, because = ("pending", None) if waits else ("blocked", reason)
            self._put(row._replace(status=status, owner=None, reason=because, pausing=None, refused=refused))
            self._hide(lambda attempt: attempt.run == run)

    # What has been stored

    def _queue(self, workflows: Sequence[str]) -> Iterator[RunRow]:
        rows = (self.rows[run] for run in self._waiting)
        waiting = (row for row in rows if row.workflow in workflows and row.refused is None)
        return iter(sorted(waiting, key=lambda row: (-row.priority, row.id)))

    def _refused(self, serves: Mapping[str, str]) -> list[RunRow]:
        """The runs that other code has refused, and that these versions may take."""
        rows = (row for row in self.rows.values() if row.refused is not None and row.status in ("pending", "blocked"))
        found = [row for row in rows if row.workflow in serves and self._may_try(row, serves[row.workflow])]
        return sorted(found, key=lambda row: (-row.priority, row.id))

    def _may_try(self, row: RunRow, version: str) -> bool:
        refused = row.refused or ""
        return version not in refused or (row.status == "pending" and not self._is_served(row.workflow, refused))

    def _is_served(self, workflow: str, refused: str) -> bool:
        """Whether a session has a version of a workflow that has not refused a run."""
        found = (self.serves.get(session, {}).get(workflow) for session in self.sessions)
        return any(version is not None and version not in refused for version in found)

    def _parked_due(self, at: float) -> Iterator[RunRow]:
        parked = (row for row in self.rows.values() if row.status == "running" and row.owner is None)
        return (row for row in parked if row.wake_at is not None and row.wake_at <= at)

    # What writes

    def _take(self, row: RunRow, session: int, at: float) -> None:
        started_at = at if row.started_at is None else row.started_at
        row = row._replace(status="running", owner=session, started_at=started_at, reason=None)
        self._put(row._replace(roused=False, wake_at=None))
