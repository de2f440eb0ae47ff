"""Schedules and their ledger in memory: the reference of what fires, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Container, Sequence

from cloaca.ports import (
    MOST_HANDOVERS,
    FiringCount,
    FiringRow,
    Move,
    NewRun,
    PlanRow,
    RunRow,
    ScheduleRow,
    Taken,
)
from cloaca.stores.ledger import MOST_OF_ONE, Open, is_bounded, takeable
from cloaca.stores.memory_rows import MemoryRows

Key = tuple[str, float]


class MemorySchedules(MemoryRows):
    """The part of the memory store that knows schedules."""

    def __init__(self) -> None:
        super().__init__()
        self.known_schedules: dict[str, ScheduleRow] = {}
        self.ledger: dict[Key, FiringRow] = {}
        self._open: set[Key] = set()  # claimed firings

    async def put_schedule(self, row: ScheduleRow, seen: int | None) -> bool:
        await asyncio.sleep(0)
        known = self.known_schedules.get(row.name)
        if (None if known is None else known.revision) != seen:
            return False
        self.known_schedules[row.name] = row
        return True

    async def drop_schedule(self, name: str) -> bool:
        await asyncio.sleep(0)
        for key in [key for key in self.ledger if key[0] == name]:
            self._forget_firing(key)
        return self.known_schedules.pop(name, None) is not None

    async def schedule(self, name: str) -> ScheduleRow | None:
        await asyncio.sleep(0)
        return self.known_schedules.get(name)

    async def schedules(self, *, after: str | None, limit: int) -> list[ScheduleRow]:
        await asyncio.sleep(0)
        found = sorted(row for name, row in self.known_schedules.items() if after is None or name > after)
        return found[: max(0, limit)]

    async def firings(self, schedule: str, *, before: float | None, limit: int) -> list[FiringRow]:
        await asyncio.sleep(0)
        found = [row for key, row in self.ledger.items() if key[0] == schedule and (before is None or key[1] < before)]
        return sorted(found, key=lambda row: -row.scheduled_for)[: max(0, limit)]

    async def firing_counts(self, schedule: str, late_s: float) -> list[FiringCount]:
        await asyncio.sleep(0)
        counts: Counter[tuple[str, str | None]] = Counter()
        late: Counter[tuple[str, str | None]] = Counter()
        for row in self.ledger.values():
            if row.schedule == schedule:
                key = (row.state, None if row.run is None else self.rows[row.run].status)
                counts[key] += 1
                late[key] += _is_late(row, late_s)
        return sorted((FiringCount(*key, counts[key], late[key]) for key in counts), key=by_state)

    async def due(self, workflows: Sequence[str], at: float, limit: int) -> tuple[float, list[ScheduleRow]]:
        await asyncio.sleep(0)
        found = [(when, row.name) for when, row in self._due(workflows) if when <= at]
        return at, [self.known_schedules[name] for _, name in sorted(found)[: max(0, limit)]]

    async def fire(self, session: int, moves: Sequence[Move], at: float) -> list[Key]:
        await asyncio.sleep(0)
        self._fence(session)
        return [key for move in moves for key in self._move(session, move, at)]

    async def add_firings(
        self, schedule: str, instants: Sequence[float], *, kind: str, at_most: int | None, at: float
    ) -> int | None:
        await asyncio.sleep(0)
        row = self.known_schedules.get(schedule)
        if row is None:
            return None
        added = 0
        for instant in instants:
            known = self.ledger.get((schedule, instant))
            if known is None or (known.state == "claimed" and known.attempts >= MOST_HANDOVERS):
                parked = at_most is not None
                self._put_firing(
                    FiringRow(
                        schedule, instant, row.workflow, "claimed", kind, None, None, 0, "allow", at_most, parked, at,
                        None,
                    )
                )  # fmt: skip
                added += 1
        return added

    async def take_firings(self, session: int, workflows: Sequence[str], limit: int) -> list[Taken]:
        await asyncio.sleep(0)
        self._fence(session)
        chosen = takeable(list(self._open_firings(workflows)), session, limit)
        for firing in (each.firing for each in chosen):
            attempts = firing.attempts + (firing.owner != session)
            self._put_firing(firing._replace(owner=session, attempts=attempts, parked=False))
        return [each.taken for each in chosen]

    async def hand_over(
        self, session: int, plans: Sequence[PlanRow], runs: Sequence[NewRun], at: float
    ) -> list[str | None]:
        await asyncio.sleep(0)
        self._fence(session)
        for plan in plans:
            self.plans.setdefault(plan.digest, plan)
        firings = [self._firing_of(run) for run in runs]
        states: dict[int, str | None] = {}
        for number in sorted(range(len(runs)), key=lambda place: is_bounded(firings[place])):
            states[number] = self._hand_over(session, firings[number], runs[number], at)
        return [states[number] for number in range(len(runs))]

    # What the store tells of runs

    def _forget_firing_of(self, row: RunRow) -> None:
        for key in [key for key, firing in self.ledger.items() if firing.run == row.id]:
            self._forget_firing(key)

    def _forget_skipped(self, before: float) -> None:
        for key, firing in list(self.ledger.items()):
            if firing.state == "skipped" and firing.handed_at is not None and firing.handed_at < before:
                self._forget_firing(key)

    def _waits(self, session: int, workflows: Sequence[str]) -> bool:
        """Whether a claimed firing has no living owner."""
        found = (self.ledger[key] for key in self._open)
        return any(
            row.workflow in workflows and row.owner != session and row.owner not in self.sessions
            and row.attempts < MOST_HANDOVERS
            for row in found
        )  # fmt: skip

    def _due(self, workflows: Container[str]) -> list[tuple[float, ScheduleRow]]:
        known = self.known_schedules.values()
        return [(row.due_at, row) for row in known if row.due_at is not None and row.workflow in workflows]

    # Firings

    def _put_firing(self, row: FiringRow) -> None:
        key = (row.schedule, row.scheduled_for)
        self.ledger[key] = row
        (self._open.add if row.state == "claimed" else self._open.discard)(key)

    def _forget_firing(self, key: Key) -> None:
        del self.ledger[key]
        self._open.discard(key)

    def _move(self, session: int, move: Move, at: float) -> list[Key]:
        row = self.known_schedules.get(move.schedule)
        if row is None or row.revision != move.revision:
            return []
        self.known_schedules[move.schedule] = row._replace(
            next_at=move.next_at, due_at=move.due_at, last_at=move.last_at, missed=row.missed + move.missed,
            revision=row.revision + 1,
        )  # fmt: skip
        new = [key for instant in move.fired if (key := (move.schedule, instant)) not in self.ledger]
        for schedule, instant in new:
            self._put_firing(
                FiringRow(
                    schedule, instant, move.workflow, "claimed", "schedule", None, session, 1, move.overlap,
                    move.at_most, False, at, None,
                )
            )  # fmt: skip
        return new

    def _open_firings(self, workflows: Sequence[str]) -> list[Open]:
        found: list[Open] = []
        counts: Counter[str] = Counter()
        for key in sorted(self._open):
            firing, row = self.ledger[key], self.known_schedules.get(key[0])
            if firing.workflow in workflows and row is not None and counts[key[0]] < MOST_OF_ONE:
                counts[key[0]] += 1
                active = len(self._active.get(key[0], ()))
                found.append(Open(firing, firing.owner in self.sessions, active, row.input))
        return found

    def _firing_of(self, run: NewRun) -> FiringRow | None:
        assert run.schedule is not None
        assert run.scheduled_for is not None
        return self.ledger.get((run.schedule, run.scheduled_for))

    def _hand_over(self, session: int, firing: FiringRow | None, run: NewRun, at: float) -> str | None:
        if firing is None or (firing.state == "claimed" and firing.owner != session):
            return None
        if firing.state != "claimed":
            return firing.state
        active = self._active.get(firing.schedule, set())
        if firing.overlap == "skip" and active:
            self._put_firing(firing._replace(state="skipped", owner=None, handed_at=at))
            return "skipped"
        if firing.at_most is not None and len(active) + self._earlier(firing) >= firing.at_most:
            self._put_firing(firing._replace(owner=None, attempts=firing.attempts - 1, parked=True))
            return "claimed"
        if firing.overlap == "cancel":
            for other in sorted(active):
                self._stop(other, at)
        made = self._insert(run).id
        self._put_firing(firing._replace(state="handed_over", run=made, owner=None, handed_at=at))
        return "handed_over"

    def _earlier(self, firing: FiringRow) -> int:
        return sum(key[0] == firing.schedule and key[1] < firing.scheduled_for for key in self._open)


def by_state(count: FiringCount) -> tuple[str, str]:
    """Return what counts are ordered by."""
    return count.state, count.status or ""


def _is_late(row: FiringRow, late_s: float) -> bool:
    came = row.state == "handed_over" and row.kind == "schedule" and row.handed_at is not None
    return came and row.handed_at is not None and row.handed_at > row.scheduled_for + late_s
