"""Schedules and their ledger on SQLite: what is due, claiming firings, handing them over.

Each function is called inside a transaction that is open. It knows statements, not threads and files.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from sqlalchemy import Connection

from cloaca.ports import MOST_HANDOVERS, FiringCount, FiringRow, Move, NewRun, PlanRow, ScheduleRow, Taken
from cloaca.stores.ledger import MOST_OF_ONE, Open, is_bounded, takeable
from cloaca.stores.sql.connections import driver_of
from cloaca.stores.sql.ownership import cancel
from cloaca.stores.sql.statements import INSERT_PLAN, columns, fence, insert, insert_run

SCHEDULE_COLUMNS = ", ".join(ScheduleRow._fields)
FIRING_COLUMNS = ", ".join(columns(FiringRow))
MOST_COUNTED = 1000  # runs of one schedule that go on: no limit is larger

INSERT_SCHEDULE = insert("cloaca_schedule", ScheduleRow._fields) + " ON CONFLICT (name) DO NOTHING"
CHANGE_SCHEDULE = (
    f"UPDATE cloaca_schedule SET ({SCHEDULE_COLUMNS}) = ({', '.join('?' * len(ScheduleRow._fields))}) "
    "WHERE name = ? AND revision = ?"
)
DROP_FIRINGS = "DELETE FROM cloaca_firing WHERE schedule = ?"
DROP_SCHEDULE = "DELETE FROM cloaca_schedule WHERE name = ?"
SCHEDULE = f"SELECT {SCHEDULE_COLUMNS} FROM cloaca_schedule WHERE name = ?"
SCHEDULES = f"SELECT {SCHEDULE_COLUMNS} FROM cloaca_schedule WHERE name > ? ORDER BY name LIMIT ?"
FIRINGS = (
    f"SELECT {FIRING_COLUMNS} FROM cloaca_firing WHERE schedule = ? AND scheduled_for < ? "
    "ORDER BY scheduled_for DESC LIMIT ?"
)
COUNTS = (
    "SELECT f.state, run.status, count(*), "
    "sum(f.state = 'handed_over' AND f.kind = 'schedule' AND f.handed_at > f.scheduled_for + ?) "
    "FROM cloaca_firing AS f LEFT JOIN cloaca_run AS run ON run.id = f.run_id WHERE f.schedule = ? "
    "GROUP BY f.state, run.status ORDER BY f.state, coalesce(run.status, '')"
)
DUE = (
    f"SELECT {SCHEDULE_COLUMNS} FROM cloaca_schedule WHERE name IN (SELECT name FROM json_each(?1) AS wanted "
    "CROSS JOIN cloaca_schedule AS due WHERE due.name IN (SELECT name FROM cloaca_schedule "
    "INDEXED BY cloaca_schedule_due WHERE due_at IS NOT NULL AND workflow = wanted.value AND due_at <= ?2 "
    "ORDER BY due_at LIMIT ?3)) ORDER BY due_at, name LIMIT ?3"
)
MOVE = (
    "UPDATE cloaca_schedule SET next_at = ?, due_at = ?, last_at = ?, missed = missed + ?, revision = revision + 1 "
    "WHERE name = ? AND revision = ?"
)
CLAIM = insert("cloaca_firing", columns(FiringRow)) + " ON CONFLICT (schedule, scheduled_for) DO NOTHING"
CLAIM_AGAIN = (
    insert("cloaca_firing", columns(FiringRow)) + " ON CONFLICT (schedule, scheduled_for) DO UPDATE SET "
    "attempts = 0, owner = NULL, kind = excluded.kind, overlap = excluded.overlap, at_most = excluded.at_most, "
    f"parked = excluded.parked WHERE state = 'claimed' AND attempts >= {MOST_HANDOVERS}"
)
# The schedules with claimed firings, found by leaps through the index, and of each the first firings.
OPEN = (
    "WITH RECURSIVE named(name) AS (SELECT min(schedule) FROM cloaca_firing INDEXED BY cloaca_firing_open "
    "WHERE state = 'claimed' UNION ALL SELECT (SELECT min(schedule) FROM cloaca_firing INDEXED BY cloaca_firing_open "
    "WHERE state = 'claimed' AND schedule > named.name) FROM named WHERE named.name IS NOT NULL) "
    f"SELECT {', '.join('f.' + name for name in columns(FiringRow))}, "
    "EXISTS (SELECT 1 FROM cloaca_session WHERE id = f.owner), "
    "(SELECT count(*) FROM (SELECT 1 FROM cloaca_run INDEXED BY cloaca_run_scheduled WHERE schedule = f.schedule "
    f"AND schedule IS NOT NULL AND finished_at IS NULL LIMIT {MOST_COUNTED})), s.input "
    "FROM named CROSS JOIN cloaca_schedule AS s ON s.name = named.name "
    "CROSS JOIN cloaca_firing AS f ON f.schedule = s.name AND f.scheduled_for IN "
    "(SELECT scheduled_for FROM cloaca_firing INDEXED BY cloaca_firing_open WHERE state = 'claimed' "
    f"AND schedule = s.name ORDER BY scheduled_for LIMIT {MOST_OF_ONE}) "
    "WHERE f.state = 'claimed' AND f.workflow IN (SELECT value FROM json_each(?)) ORDER BY f.schedule, f.scheduled_for"
)
TAKE = (
    "UPDATE cloaca_firing SET owner = ?1, attempts = attempts + (owner IS NOT ?1), parked = 0 "
    "WHERE schedule = ?2 AND scheduled_for = ?3"
)
FIRING = f"SELECT {FIRING_COLUMNS} FROM cloaca_firing WHERE schedule = ? AND scheduled_for = ?"
ACTIVE = (
    "SELECT id FROM cloaca_run INDEXED BY cloaca_run_scheduled WHERE schedule = ? AND schedule IS NOT NULL "
    f"AND finished_at IS NULL ORDER BY id LIMIT {MOST_COUNTED}"
)
EARLIER = (
    "SELECT count(*) FROM (SELECT 1 FROM cloaca_firing INDEXED BY cloaca_firing_open WHERE state = 'claimed' "
    "AND schedule = ? AND scheduled_for < ? LIMIT ?)"
)
SETTLE = (
    "UPDATE cloaca_firing SET state = ?, run_id = ?, owner = NULL, handed_at = ? "
    "WHERE schedule = ? AND scheduled_for = ?"
)
PARK = (
    "UPDATE cloaca_firing SET owner = NULL, attempts = attempts - 1, parked = 1 "
    "WHERE schedule = ? AND scheduled_for = ?"
)
MOST_SKIPPED = 10_000  # of a transaction; what is left goes the next time
FORGET_SKIPPED = (
    "DELETE FROM cloaca_firing WHERE rowid IN (SELECT rowid FROM cloaca_firing INDEXED BY cloaca_firing_skipped "
    f"WHERE state = 'skipped' AND handed_at < ? LIMIT {MOST_SKIPPED})"
)
LATEST = 9e18


class SqliteSchedules:
    """The part of the store that knows schedules."""

    _write: Callable[[Callable[[sqlite3.Connection], Any]], Coroutine[Any, Any, Any]]
    _read: Callable[[Callable[[Connection], Any]], Coroutine[Any, Any, Any]]

    async def put_schedule(self, row: ScheduleRow, seen: int | None) -> bool:
        def put(driver: sqlite3.Connection) -> bool:
            if seen is None:
                return driver.execute(INSERT_SCHEDULE, row).rowcount == 1
            return driver.execute(CHANGE_SCHEDULE, (*row, row.name, seen)).rowcount == 1

        return bool(await self._write(put))

    async def drop_schedule(self, name: str) -> bool:
        def drop(driver: sqlite3.Connection) -> bool:
            driver.execute(DROP_FIRINGS, (name,))
            return driver.execute(DROP_SCHEDULE, (name,)).rowcount == 1

        return bool(await self._write(drop))

    async def schedule(self, name: str) -> ScheduleRow | None:
        found = await self._read(lambda reading: schedules(driver_of(reading), SCHEDULE, (name,)))
        return next(iter(found), None)

    async def schedules(self, *, after: str | None, limit: int) -> list[ScheduleRow]:
        values = (after or "", max(0, limit))
        return list(await self._read(lambda reading: schedules(driver_of(reading), SCHEDULES, values)))

    async def firings(self, schedule: str, *, before: float | None, limit: int) -> list[FiringRow]:
        values = (schedule, LATEST if before is None else before, max(0, limit))
        return list(await self._read(lambda reading: list(map(_firing, driver_of(reading).execute(FIRINGS, values)))))

    async def firing_counts(self, schedule: str, late_s: float) -> list[FiringCount]:
        def count(reading: Connection) -> list[FiringCount]:
            return [FiringCount._make(row) for row in driver_of(reading).execute(COUNTS, (late_s, schedule))]

        return list(await self._read(count))

    async def due(self, workflows: Sequence[str], at: float, limit: int) -> tuple[float, list[ScheduleRow]]:
        values = (json.dumps(list(set(workflows))), at, max(0, limit))
        return at, await self._read(lambda reading: schedules(driver_of(reading), DUE, values))

    async def fire(self, session: int, moves: Sequence[Move], at: float) -> list[tuple[str, float]]:
        return list(await self._write(lambda driver: fire(driver, session, moves, at)))

    async def add_firings(
        self, schedule: str, instants: Sequence[float], *, kind: str, at_most: int | None, at: float
    ) -> int | None:
        def add(driver: sqlite3.Connection) -> int | None:
            found = schedules(driver, SCHEDULE, (schedule,))
            if not found:
                return None
            rows = [
                (schedule, instant, found[0].workflow, "claimed", kind, None, None, 0, "allow", at_most,
                 at_most is not None, at, None)
                for instant in instants
            ]  # fmt: skip
            return sum(driver.execute(CLAIM_AGAIN, row).rowcount for row in rows)

        added: int | None = await self._write(add)
        return added

    async def take_firings(self, session: int, workflows: Sequence[str], limit: int) -> list[Taken]:
        return list(await self._write(lambda driver: take(driver, session, workflows, limit)))

    async def hand_over(
        self, session: int, plans: Sequence[PlanRow], runs: Sequence[NewRun], at: float
    ) -> list[str | None]:
        return list(await self._write(lambda driver: hand_over(driver, session, plans, runs, at)))


def schedules(driver: sqlite3.Connection, statement: str, values: tuple[object, ...]) -> list[ScheduleRow]:
    """Return the schedules that a statement finds."""
    found = [ScheduleRow._make(row) for row in driver.execute(statement, values)]
    return [row._replace(paused=bool(row.paused)) for row in found]


def _firing(row: tuple[Any, ...]) -> FiringRow:
    found = FiringRow._make(row)
    return found._replace(parked=bool(found.parked))


def fire(driver: sqlite3.Connection, session: int, moves: Sequence[Move], at: float) -> list[tuple[str, float]]:
    """Claim firings for a session and move their schedules on; return the firings that are new."""
    fence(driver, session)
    new = []
    for move in moves:
        moved = (move.next_at, move.due_at, move.last_at, move.missed, move.schedule, move.revision)
        for instant in move.fired if driver.execute(MOVE, moved).rowcount else ():
            row = FiringRow(
                move.schedule, instant, move.workflow, "claimed", "schedule", None, session, 1, move.overlap,
                move.at_most, False, at, None,
            )  # fmt: skip
            if driver.execute(CLAIM, row).rowcount:
                new.append((move.schedule, instant))
    return new


def take(driver: sqlite3.Connection, session: int, workflows: Sequence[str], limit: int) -> list[Taken]:
    """Make a session the owner of claimed firings that nobody hands over."""
    fence(driver, session)
    rows = driver.execute(OPEN, (json.dumps(list(workflows)),)).fetchall()
    found = [Open(_firing(row[:-3]), bool(row[-3]), row[-2], row[-1]) for row in rows]
    chosen = [each.taken for each in takeable(found, session, limit)]
    driver.executemany(TAKE, [(session, each.schedule, each.scheduled_for) for each in chosen])
    return chosen


def hand_over(
    driver: sqlite3.Connection, session: int, plans: Sequence[PlanRow], runs: Sequence[NewRun], at: float
) -> list[str | None]:
    """Start the runs of claimed firings, those that no other run stops first; return the state of each firing."""
    fence(driver, session)
    driver.executemany(INSERT_PLAN, plans)
    firings = [next(map(_firing, driver.execute(FIRING, (run.schedule, run.scheduled_for))), None) for run in runs]
    states: dict[int, str | None] = {}
    for number in sorted(range(len(runs)), key=lambda place: is_bounded(firings[place])):
        states[number] = _hand_over(driver, session, firings[number], runs[number], at)
    return [states[number] for number in range(len(runs))]


def _hand_over(
    driver: sqlite3.Connection, session: int, firing: FiringRow | None, run: NewRun, at: float
) -> str | None:
    if firing is None or (firing.state == "claimed" and firing.owner != session):
        return None
    key = (firing.schedule, firing.scheduled_for)
    if firing.state != "claimed":
        return firing.state
    active = [row[0] for row in driver.execute(ACTIVE, (firing.schedule,))] if is_bounded(firing) else []
    if firing.overlap == "skip" and active:
        driver.execute(SETTLE, ("skipped", None, at, *key))
        return "skipped"
    if firing.at_most is not None:
        [(earlier,)] = driver.execute(EARLIER, (*key, firing.at_most))
        if len(active) + earlier >= firing.at_most:
            driver.execute(PARK, key)
            return "claimed"
    for other in active if firing.overlap == "cancel" else ():
        cancel(driver, other, at)
    driver.execute(SETTLE, ("handed_over", insert_run(driver, run).id, at, *key))
    return "handed_over"
