"""Schedules and their ledger on PostgreSQL: what is due, claiming firings, handing them over.

A schedule is due by the server's clock, as leases run by it. Rows are locked in one order, a session, schedules,
firings, runs, each by name, so that nobody waits in a circle. It knows statements and rows, not connections.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from cloaca.ports import MOST_HANDOVERS, FiringCount, FiringRow, Move, NewRun, PlanRow, ScheduleRow, Taken
from cloaca.stores.ledger import MOST_OF_ONE, Open, is_bounded, takeable
from cloaca.stores.sql.postgres_batches import FENCE, LOCK_SESSION
from cloaca.stores.sql.postgres_links import Link, transaction
from cloaca.stores.sql.postgres_ownership import cancel_within
from cloaca.stores.sql.postgres_starts import (
    INSERT_PLANS,
    INSERT_RUN,
    WAKE,
    columns,
    insert_run,
    part,
    plans_in_order,
    runs_in_order,
)
from cloaca.stores.sql.schedules import FIRING_COLUMNS, LATEST, MOST_COUNTED, MOST_SKIPPED, SCHEDULE_COLUMNS
from cloaca.stores.sql.statements import columns as names
from cloaca.stores.sql.statements import lost

VALUES = ", ".join("?" * len(ScheduleRow._fields))
INSERT_SCHEDULE = (
    f"INSERT INTO {{schema}}.cloaca_schedule ({SCHEDULE_COLUMNS}) VALUES ({VALUES}) "
    "ON CONFLICT (name) DO NOTHING RETURNING name"
)
CHANGE_SCHEDULE = (
    f"UPDATE {{schema}}.cloaca_schedule SET {', '.join(f'{name} = ?' for name in ScheduleRow._fields)} "
    "WHERE name = ? AND revision = ? RETURNING name"
)
LOCK_SCHEDULES = "SELECT name FROM {schema}.cloaca_schedule WHERE name = ANY(?::text[]) ORDER BY name FOR UPDATE"
DROP_FIRINGS = "DELETE FROM {schema}.cloaca_firing WHERE schedule = ?"
DROP_SCHEDULE = "DELETE FROM {schema}.cloaca_schedule WHERE name = ? RETURNING name"
SCHEDULE = f"SELECT {SCHEDULE_COLUMNS} FROM {{schema}}.cloaca_schedule WHERE name = ?"
SCHEDULES = f"SELECT {SCHEDULE_COLUMNS} FROM {{schema}}.cloaca_schedule WHERE name > ? ORDER BY name LIMIT ?"
FIRINGS = (
    f"SELECT {FIRING_COLUMNS} FROM {{schema}}.cloaca_firing WHERE schedule = ? AND scheduled_for < ? "
    "ORDER BY scheduled_for DESC LIMIT ?"
)
COUNTS = (
    "SELECT f.state, run.status, count(*), count(*) FILTER (WHERE f.state = 'handed_over' AND f.kind = 'schedule' "
    "AND f.handed_at > f.scheduled_for + ?::float8) FROM {schema}.cloaca_firing AS f "
    "LEFT JOIN {schema}.cloaca_run AS run ON run.id = f.run_id WHERE f.schedule = ? GROUP BY f.state, run.status "
    "ORDER BY f.state, coalesce(run.status, '')"
)
DUE = (
    "SELECT t.at AS asked_at, due.* FROM (SELECT {now} AS at) AS t LEFT JOIN LATERAL (SELECT found.* FROM "
    f"unnest(?::text[]) AS wanted(workflow), LATERAL (SELECT {SCHEDULE_COLUMNS} FROM {{schema}}.cloaca_schedule "
    "WHERE due_at IS NOT NULL AND workflow = wanted.workflow AND due_at <= t.at ORDER BY due_at LIMIT ?) AS found "
    "ORDER BY found.due_at, found.name LIMIT ?) AS due ON true"
)
# What another is just moving on is passed over: it need not be waited for.
FIRE = (
    f"WITH {FENCE}, found AS MATERIALIZED (SELECT c.name FROM s, {{schema}}.cloaca_schedule AS c, "
    "unnest(?::text[], ?::int8[]) AS m(name, revision) WHERE c.name = m.name AND c.revision = m.revision "
    "ORDER BY c.name FOR UPDATE OF c SKIP LOCKED), "
    "moved AS (UPDATE {schema}.cloaca_schedule AS c SET next_at = m.next_at, due_at = m.due_at, last_at = m.last_at, "
    "missed = c.missed + m.missed, revision = c.revision + 1 FROM found, "
    "unnest(?::text[], ?::float8[], ?::float8[], ?::float8[], ?::int8[]) AS m(name, next_at, due_at, last_at, missed) "
    "WHERE c.name = found.name AND m.name = found.name RETURNING c.name), "
    "new AS (INSERT INTO {schema}.cloaca_firing (schedule, scheduled_for, workflow, state, kind, owner, attempts, "
    "overlap, at_most, parked, claimed_at) SELECT f.schedule, f.scheduled_for, f.workflow, 'claimed', 'schedule', "
    "s.id, 1, f.overlap, f.at_most, false, ?::float8 FROM s, moved JOIN "
    "unnest(?::text[], ?::float8[], ?::text[], ?::text[], ?::int4[]) AS "
    "f(schedule, scheduled_for, workflow, overlap, at_most) ON f.schedule = moved.name ON CONFLICT DO NOTHING "
    "RETURNING schedule, scheduled_for) "
    "SELECT s.id, new.schedule, new.scheduled_for FROM s LEFT JOIN new ON true"
)
CLAIM_AGAIN = (
    "WITH new AS (INSERT INTO {schema}.cloaca_firing AS f (schedule, scheduled_for, workflow, state, kind, attempts, "
    "overlap, at_most, parked, claimed_at) SELECT c.name, i.at, c.workflow, 'claimed', ?::text, 0, 'allow', "
    "?::int4, ?::bool, ?::float8 FROM {schema}.cloaca_schedule AS c, unnest(?::float8[]) AS i(at) WHERE c.name = ? "
    "ORDER BY i.at ON CONFLICT (schedule, scheduled_for) DO UPDATE SET attempts = 0, owner = NULL, "
    "kind = excluded.kind, overlap = excluded.overlap, at_most = excluded.at_most, parked = excluded.parked "
    f"WHERE f.state = 'claimed' AND f.attempts >= {MOST_HANDOVERS} RETURNING 1) "
    "SELECT (SELECT count(*) FROM new), EXISTS (SELECT 1 FROM {schema}.cloaca_schedule WHERE name = ?)"
)
# The schedules with claimed firings, found by leaps through the index, and of each the first firings.
OPEN = (
    "WITH RECURSIVE named(name) AS ((SELECT schedule FROM {schema}.cloaca_firing WHERE state = 'claimed' "
    "ORDER BY schedule LIMIT 1) UNION ALL SELECT (SELECT schedule FROM {schema}.cloaca_firing "
    "WHERE state = 'claimed' AND schedule > named.name ORDER BY schedule LIMIT 1) FROM named "
    "WHERE named.name IS NOT NULL) "
    f"SELECT {', '.join('f.' + name for name in names(FiringRow))}, "
    "EXISTS (SELECT 1 FROM {schema}.cloaca_session WHERE id = f.owner) AS lives, "
    "(SELECT count(*) FROM (SELECT 1 FROM {schema}.cloaca_run WHERE schedule = f.schedule AND schedule IS NOT NULL "
    f"AND finished_at IS NULL LIMIT {MOST_COUNTED}) AS going) AS active, c.input "
    "FROM named, LATERAL (SELECT input FROM {schema}.cloaca_schedule WHERE name = named.name OFFSET 0) AS c, "
    "LATERAL (SELECT * FROM "
    "{schema}.cloaca_firing WHERE state = 'claimed' AND schedule = named.name ORDER BY scheduled_for "
    f"LIMIT {MOST_OF_ONE} FOR UPDATE SKIP LOCKED) AS f WHERE f.workflow = ANY(?::text[]) "
    "ORDER BY f.schedule, f.scheduled_for"
)
TAKE = (
    "UPDATE {schema}.cloaca_firing AS f SET owner = ?::int8, "
    "attempts = f.attempts + (f.owner IS DISTINCT FROM ?::int8)::int, parked = false "
    "FROM unnest(?::text[], ?::float8[]) AS t(schedule, scheduled_for) "
    "WHERE f.schedule = t.schedule AND f.scheduled_for = t.scheduled_for"
)
LOCK_FIRINGS = (
    f"SELECT {', '.join('f.' + name for name in names(FiringRow))} FROM unnest(?::text[], ?::float8[]) AS "
    "t(schedule, scheduled_for), LATERAL (SELECT * FROM {schema}.cloaca_firing AS f WHERE f.schedule = t.schedule "
    "AND f.scheduled_for = t.scheduled_for FOR UPDATE) AS f"
)
ACTIVE = (
    "SELECT id FROM {schema}.cloaca_run WHERE schedule = ? AND schedule IS NOT NULL AND finished_at IS NULL "
    f"ORDER BY id LIMIT {MOST_COUNTED}"
)
EARLIER = (
    "SELECT count(*) FROM (SELECT 1 FROM {schema}.cloaca_firing WHERE state = 'claimed' AND schedule = ? "
    "AND scheduled_for < ? LIMIT ?) AS earlier"
)
SETTLE = (
    "UPDATE {schema}.cloaca_firing AS f SET state = t.state, run_id = t.run_id, owner = NULL, handed_at = ?::float8 "
    "FROM unnest(?::text[], ?::int8[], ?::text[], ?::float8[]) AS t(state, run_id, schedule, scheduled_for) "
    "WHERE f.schedule = t.schedule AND f.scheduled_for = t.scheduled_for"
)
PARK = (
    "UPDATE {schema}.cloaca_firing SET owner = NULL, attempts = attempts - 1, parked = true "
    "WHERE schedule = ? AND scheduled_for = ?"
)
FORGET_SKIPPED = (
    "DELETE FROM {schema}.cloaca_firing WHERE (schedule, scheduled_for) IN (SELECT schedule, scheduled_for "
    f"FROM {{schema}}.cloaca_firing WHERE state = 'skipped' AND handed_at < ? LIMIT {MOST_SKIPPED})"
)


class PostgresSchedules:
    """The part of the store that knows schedules."""

    _ask: Callable[[Callable[[Link], Awaitable[Any]]], Coroutine[Any, Any, Any]]
    _read: Callable[[Callable[[Link], Awaitable[Any]]], Coroutine[Any, Any, Any]]

    async def put_schedule(self, row: ScheduleRow, seen: int | None) -> bool:
        return bool(await self._ask(lambda link: put(link, row, seen)))

    async def drop_schedule(self, name: str) -> bool:
        return bool(await self._ask(lambda link: drop(link, name)))

    async def schedule(self, name: str) -> ScheduleRow | None:
        found = await self._read(lambda link: link.ask(SCHEDULE, name))
        return next(map(ScheduleRow._make, found), None)

    async def schedules(self, *, after: str | None, limit: int) -> list[ScheduleRow]:
        found = await self._read(lambda link: link.ask(SCHEDULES, after or "", max(0, limit)))
        return [ScheduleRow._make(row) for row in found]

    async def firings(self, schedule: str, *, before: float | None, limit: int) -> list[FiringRow]:
        values = (schedule, LATEST if before is None else before, max(0, limit))
        return [FiringRow._make(row) for row in await self._read(lambda link: link.ask(FIRINGS, *values))]

    async def firing_counts(self, schedule: str, late_s: float) -> list[FiringCount]:
        return [FiringCount._make(row) for row in await self._read(lambda link: link.ask(COUNTS, late_s, schedule))]

    async def due(self, workflows: Sequence[str], at: float, limit: int) -> tuple[float, list[ScheduleRow]]:
        values = (list(set(workflows)), max(0, limit), max(0, limit))
        rows = [tuple(row) for row in await self._read(lambda link: link.ask(DUE, *values))]
        return rows[0][0], [ScheduleRow._make(row[1:]) for row in rows if row[1] is not None]

    async def fire(self, session: int, moves: Sequence[Move], at: float) -> list[tuple[str, float]]:
        return list(await self._ask(lambda link: fire(link, session, moves, at))) if moves else []

    async def add_firings(
        self, schedule: str, instants: Sequence[float], *, kind: str, at_most: int | None, at: float
    ) -> int | None:
        async def add(link: Link) -> int | None:
            async with transaction(link):
                found = await link.ask(
                    CLAIM_AGAIN, kind, at_most, at_most is not None, at, list(instants), schedule, schedule
                )
                await link.ask(WAKE, link.names.channel)
            return int(found[0][0]) if found[0][1] else None

        added: int | None = await self._ask(add)
        return added

    async def take_firings(self, session: int, workflows: Sequence[str], limit: int) -> list[Taken]:
        return list(await self._ask(lambda link: take(link, session, workflows, limit)))

    async def hand_over(
        self, session: int, plans: Sequence[PlanRow], runs: Sequence[NewRun], at: float
    ) -> list[str | None]:
        return list(await self._ask(lambda link: hand_over(link, session, plans, runs, at))) if runs else []


async def put(link: Link, row: ScheduleRow, seen: int | None) -> bool:
    """Store a schedule, or change it, unless it is not as seen; tell the workers."""
    async with transaction(link):
        asked = link.ask(INSERT_SCHEDULE, *row) if seen is None else link.ask(CHANGE_SCHEDULE, *row, row.name, seen)
        done = bool(await asked)
        if done:
            await link.ask(WAKE, link.names.channel)
    return done


async def drop(link: Link, name: str) -> bool:
    """Delete a schedule with its firings; return whether there was one."""
    async with transaction(link):
        await link.ask(LOCK_SCHEDULES, [name])
        await link.ask(DROP_FIRINGS, name)
        return bool(await link.ask(DROP_SCHEDULE, name))


async def fire(link: Link, session: int, moves: Sequence[Move], at: float) -> list[tuple[str, float]]:
    """Claim firings for a session and move their schedules on, by one statement; return the firings that are new."""
    fired = [(m.schedule, instant, m.workflow, m.overlap, m.at_most) for m in moves for instant in m.fired]
    moved = [(m.schedule, m.next_at, m.due_at, m.last_at, m.missed) for m in moves]
    rows = await link.ask(
        FIRE,
        session,
        *columns([(m.schedule, m.revision) for m in moves]),
        *columns(moved),
        at,
        *(columns(fired) if fired else [[]] * 5),
    )
    if not rows:
        lost(session)
    new = {(row[1], row[2]) for row in rows if row[1] is not None}
    return [(schedule, instant) for schedule, instant, *_ in fired if (schedule, instant) in new]


async def take(link: Link, session: int, workflows: Sequence[str], limit: int) -> list[Taken]:
    """Make a session the owner of claimed firings that nobody hands over."""
    async with transaction(link):
        if not await link.ask(LOCK_SESSION, session):
            lost(session)
        rows = [tuple(row) for row in await link.ask(OPEN, list(workflows))]
        found = [Open(FiringRow._make(row[:-3]), *row[-3:]) for row in rows]
        chosen = [each.taken for each in takeable(found, session, limit)]
        if chosen:
            await link.ask(TAKE, session, session, *columns([each[:2] for each in chosen]))
    return chosen


async def hand_over(
    link: Link, session: int, plans: Sequence[PlanRow], runs: Sequence[NewRun], at: float
) -> list[str | None]:
    """Start the runs of claimed firings, those that no other run stops first, in one transaction."""
    async with transaction(link):
        if not await link.ask(LOCK_SESSION, session):
            lost(session)
        await link.ask(LOCK_SCHEDULES, sorted({run.schedule or "" for run in runs}))
        keys = sorted((run.schedule or "", run.scheduled_for or 0.0) for run in runs)
        found = [FiringRow._make(row) for row in await link.ask(LOCK_FIRINGS, *columns(keys))]
        firings = {(row.schedule, row.scheduled_for): row for row in found}
        states = {key: row.state for key, row in firings.items() if row.state != "claimed"}
        own = [
            run for run in runs if (row := firings.get(_key(run))) and (row.state, row.owner) == ("claimed", session)
        ]
        if plans:
            await link.ask(part(INSERT_PLANS), *columns(plans_in_order(plans)))
        settled = await _start([run for run in own if not is_bounded(firings[_key(run)])], link)
        await _settle(link, settled, at)
        for run in own:
            if is_bounded(firings[_key(run)]):
                states[_key(run)] = await _hand_over(link, firings[_key(run)], run, at)
        states.update(((row[2], row[3]), row[0]) for row in settled)
        await link.ask(WAKE, link.names.channel)
    return [states.get(_key(run)) for run in runs]


def _key(run: NewRun) -> tuple[str, float]:
    assert run.schedule is not None
    assert run.scheduled_for is not None
    return run.schedule, run.scheduled_for


async def _start(runs: Sequence[NewRun], link: Link) -> list[tuple[str, int, str, float]]:
    """Insert runs, as many as possible by one statement; return what becomes of their firings."""
    if not runs:
        return []
    created = {row[0] for row in await link.ask(part(INSERT_RUN), *columns(runs_in_order(runs)))}
    made = {run: run.id if run.id in created else (await insert_run(link, run)).id for run in runs}
    return [("handed_over", made[run], *_key(run)) for run in runs]


async def _settle(link: Link, settled: Sequence[tuple[str, int | None, str, float]], at: float) -> None:
    if settled:
        await link.ask(SETTLE, at, *columns(settled))


async def _hand_over(link: Link, firing: FiringRow, run: NewRun, at: float) -> str:
    """Hand over a firing that other runs of its schedule may stop; the schedule is locked."""
    key = (firing.schedule, firing.scheduled_for)
    active = [row[0] for row in await link.ask(ACTIVE, firing.schedule)]
    if firing.overlap == "skip" and active:
        await _settle(link, [("skipped", None, *key)], at)
        return "skipped"
    if firing.at_most is not None:
        [(earlier,)] = await link.ask(EARLIER, *key, firing.at_most)
        if len(active) + earlier >= firing.at_most:
            await link.ask(PARK, *key)
            return "claimed"
    for other in active if firing.overlap == "cancel" else ():
        await cancel_within(link, other, at)
    await _settle(link, [("handed_over", (await insert_run(link, run)).id, *key)], at)
    return "handed_over"
