"""The one write path on PostgreSQL: a batch is one statement, whatever is in it, and so one round trip and one commit.

The statement is put together from parts, one for each kind of row in the batch. The first locks the session against
whoever takes it for dead, and every other finds nothing to do unless that one has found it. All parts see the database
as it was before: what a batch writes about runs that are new in it, it writes by a second statement.
It knows statements and rows, not connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import NamedTuple

import asyncpg

from cloaca.ports import Batch, EndRow, NewRun, Receipt, Submitted
from cloaca.stores.sql import postgres_arrivals
from cloaca.stores.sql.postgres_caching import KEEP, distinct
from cloaca.stores.sql.postgres_links import Link, transaction
from cloaca.stores.sql.postgres_starts import (
    CREATED,
    INSERT_PLANS,
    INSERT_RUNS,
    TELL,
    UNLESS_KEY,
    WAKE,
    answer,
    columns,
    ids,
    insert_run,
    is_taken_id,
    part,
    plans_in_order,
    runs_in_order,
)
from cloaca.stores.sql.statements import lost

# FOR KEY SHARE goes along with a renewal of the lease, but waits for a DELETE, and finds nothing after it.
FENCE = "s AS MATERIALIZED (SELECT id FROM {schema}.cloaca_session WHERE id = ? FOR KEY SHARE)"
LOCK_SESSION = "SELECT id FROM {schema}.cloaca_session WHERE id = ? FOR KEY SHARE"
LOCK_RUNS = "SELECT id FROM {schema}.cloaca_run WHERE id = ANY(?::int8[]) AND owner = ? ORDER BY id FOR SHARE"
RENEW = (
    "s AS (UPDATE {schema}.cloaca_session SET expires_at = greatest(expires_at, {now} + ?) WHERE id = ? RETURNING id)"
)
END_LEASE = "s AS (UPDATE {schema}.cloaca_session SET expires_at = {now} + ? WHERE id = ? RETURNING id)"
PLANS = f"new_plans AS ({part(INSERT_PLANS, 's,')})"
RUNS = f"new_runs AS ({part(INSERT_RUNS, 's,')}{UNLESS_KEY})"
# By their ids, one by one, which OFFSET 0 sees to: statistics of how many runs are running are always out of date.
OWN = (
    "own AS MATERIALIZED (SELECT run.id FROM s, unnest(?::int8[]) AS t(id), "
    "LATERAL (SELECT id, owner FROM {schema}.cloaca_run WHERE id = t.id OFFSET 0) AS run WHERE run.owner = s.id)"
)
TASKS = (
    "tasks AS (INSERT INTO {schema}.cloaca_task (run_id, name, status, attempt, session, started_at, finished_at, "
    "output, code) SELECT t.* FROM unnest(?::int8[], ?::text[], ?::text[], ?::int8[], ?::int8[], ?::float8[], "
    "?::float8[], ?::text[], ?::text[]) AS t(run_id) WHERE t.run_id IN (SELECT id FROM own){again})"
)
# A batch that has nothing but tasks, as most have where a run is alone: planned and done in two thirds of the time.
TASKS_ALONE = (
    "INSERT INTO {schema}.cloaca_task (run_id, name, status, attempt, session, started_at, finished_at, output, code) "
    "SELECT t.* FROM {schema}.cloaca_session AS s, unnest(?::int8[], ?::text[], ?::text[], ?::int8[], ?::int8[], "
    "?::float8[], ?::float8[], ?::text[], ?::text[]) AS t(run_id), "
    "LATERAL (SELECT owner FROM {schema}.cloaca_run WHERE id = t.run_id OFFSET 0) AS run "
    "WHERE s.id = ? AND run.owner = s.id FOR KEY SHARE OF s RETURNING run_id"
)
FAILURES = (
    "failures AS (INSERT INTO {schema}.cloaca_failure (run_id, name, attempt, session, started_at, at, exception_type, "
    "message, traceback, error, retry_at, code) SELECT f.run_id, f.name, f.attempt, f.session, f.started_at, f.at, "
    "f.exception_type, f.message, f.traceback, f.error, f.retry_at, f.code FROM unnest(?::int8[], ?::text[], "
    "?::int8[], ?::int8[], ?::float8[], ?::float8[], ?::text[], ?::text[], ?::text[], ?::text[], ?::float8[], "
    "?::text[]) WITH ORDINALITY AS f(run_id, name, attempt, session, started_at, at, exception_type, message, "
    "traceback, error, retry_at, code, place) "
    "WHERE f.run_id IN (SELECT id FROM own) ORDER BY f.place{again})"
)
ATTEMPTS = (
    "attempts AS (INSERT INTO {schema}.cloaca_attempt (run_id, name, attempt, session, started_at, beat_at, code) "
    "SELECT a.* FROM unnest(?::int8[], ?::text[], ?::int8[], ?::int8[], ?::float8[], ?::float8[], ?::text[]) "
    "AS a(run_id) "
    "WHERE a.run_id IN (SELECT id FROM own) ON CONFLICT (run_id, name) DO UPDATE SET attempt = excluded.attempt, "
    "session = excluded.session, started_at = excluded.started_at, beat_at = excluded.beat_at, code = excluded.code)"
)
WAITS = (
    "waits AS (INSERT INTO {schema}.cloaca_wait (run_id, name, began_at, until) SELECT w.* FROM unnest(?::int8[], "
    "?::text[], ?::float8[], ?::float8[]) AS w(run_id) WHERE w.run_id IN (SELECT id FROM own) "
    "ON CONFLICT (run_id, name) DO UPDATE SET began_at = excluded.began_at, until = excluded.until)"
)
TAKEN = (
    "taken AS (UPDATE {schema}.cloaca_signal AS signal SET taken_by = t.name FROM unnest(?::int8[], ?::int8[], "
    "?::text[]) AS t(run_id, id, name) WHERE signal.id = t.id AND signal.run_id = t.run_id "
    "AND signal.taken_by IS NULL AND t.run_id IN (SELECT id FROM own))"
)
SETTLED = (
    "settled AS (DELETE FROM {schema}.cloaca_attempt AS a USING s, unnest(?::int8[], ?::text[]) AS d(run_id, name) "
    "WHERE a.run_id = d.run_id AND a.name = d.name AND a.session = s.id)"
)
FREED = (
    "freed AS (DELETE FROM {schema}.cloaca_slot AS slot USING s, unnest(?::int8[]) AS f(ticket) "
    "WHERE slot.session = s.id AND slot.ticket = f.ticket)"
)
# A note about a run that is gone is left out, and so is one that is there already.
NOTES = (
    "notes AS (INSERT INTO {schema}.cloaca_note (run_id, at, kind, task, detail) SELECT n.run_id, n.at, n.kind, "
    "n.task, n.detail FROM s, unnest(?::int8[], ?::float8[], ?::text[], ?::text[], ?::text[]) WITH ORDINALITY "
    "AS n(run_id, at, kind, task, detail, place) "
    "WHERE EXISTS (SELECT 1 FROM {schema}.cloaca_run AS run WHERE run.id = n.run_id) "
    "AND NOT EXISTS (SELECT 1 FROM {schema}.cloaca_note AS o WHERE o.run_id = n.run_id AND o.at = n.at "
    "AND o.kind = n.kind AND o.task IS NOT DISTINCT FROM n.task AND o.detail = n.detail) ORDER BY n.place)"
)
CLOSINGS = (
    "closings AS (UPDATE {schema}.cloaca_run AS run SET closing = c.closing, cancel_requested = false, "
    "pausing = CASE WHEN c.status = 'cancelled' THEN NULL ELSE run.pausing END "
    "FROM unnest(?::int8[], ?::text[], ?::text[]) AS c(run_id, status, closing) "
    "WHERE run.id = c.run_id AND c.run_id IN (SELECT id FROM own))"
)
ENDS = (
    "ends AS (UPDATE {schema}.cloaca_run AS run SET status = e.status, finished_at = e.at, reason = e.reason, "
    "owner = NULL, cancel_requested = false, pausing = NULL, closing = NULL, roused = false, wake_at = NULL "
    "FROM unnest(?::int8[], ?::text[], ?::float8[], ?::text[]) "
    "AS e(run_id, status, at, reason) WHERE run.id = e.run_id AND e.run_id IN (SELECT id FROM own) RETURNING run.id), "
    "hidden AS (DELETE FROM {schema}.cloaca_attempt AS a USING ends WHERE a.run_id = ends.id)"
)
MOVE = (
    "UPDATE {schema}.cloaca_run AS run SET plan = m.plan, version = m.version, epilogue = m.epilogue "
    "FROM unnest(?::int8[], ?::text[], ?::text[], ?::bool[]) AS m(run_id, plan, version, epilogue) "
    "WHERE run.id = m.run_id AND run.owner = ?"
)
# What the statement answers: nothing if the session is gone.
FOREIGN = "(SELECT string_agg(t.id::text, ' ') FROM unnest(?::int8[]) AS t(id) WHERE t.id NOT IN (SELECT id FROM own))"
NOTIFY = "(SELECT count(pg_notify(?, ?)) FROM s)"
AGAIN = " ON CONFLICT DO NOTHING"
ENDED = (
    "SELECT e.run_id FROM unnest(?::int8[], ?::text[], ?::float8[], ?::text[]) AS e(run_id, status, at, reason), "
    "LATERAL (SELECT * FROM {schema}.cloaca_run WHERE id = e.run_id LIMIT 1) AS run WHERE run.status = e.status "
    "AND run.finished_at = e.at AND run.reason IS NOT DISTINCT FROM e.reason AND run.owner IS NULL"
)
ABSOLVE = (
    "UPDATE {schema}.cloaca_run AS run SET crashes = greatest(0, run.crashes - a.times) "
    "FROM (SELECT id, count(*)::int AS times FROM unnest(?::int8[]) AS n(id) GROUP BY id) AS a "
    "WHERE run.id = a.id AND run.status NOT IN ('succeeded', 'failed', 'cancelled')"
)
HEAR = (
    "UPDATE {schema}.cloaca_run SET pausing = 'heard' WHERE id = ANY(?::int8[]) AND owner = ? AND pausing IS NOT NULL"
)
# One UPDATE for all: a request to stop or to pause that comes meanwhile is seen, whichever way it goes.
RELEASE = (
    "WITH released AS (UPDATE {schema}.cloaca_run AS run SET "
    "status = CASE WHEN run.cancel_requested AND NOT run.epilogue THEN 'cancelled' "
    "WHEN run.pausing IS NOT NULL AND NOT run.cancel_requested THEN 'paused' ELSE 'pending' END, "
    "owner = NULL, pausing = NULL, "
    "crashes = run.crashes + CASE WHEN run.cancel_requested AND NOT run.epilogue THEN 0 ELSE ?::int END, "
    "finished_at = CASE WHEN run.cancel_requested AND NOT run.epilogue THEN ?::float8 END, "
    "cancel_requested = run.cancel_requested AND run.epilogue "
    "FROM unnest(?::int8[]) AS s(id) WHERE run.owner = s.id AND run.status = 'running' AND run.id {which}(?::int8[])"
    " RETURNING run.id, run.status, s.id AS session), "
    "hidden AS (DELETE FROM {schema}.cloaca_attempt AS a USING released WHERE a.run_id = released.id), "
    "noted AS (INSERT INTO {schema}.cloaca_note (run_id, at, kind, detail) SELECT r.id, n.at, n.kind, n.detail "
    "FROM released AS r, LATERAL (VALUES (?::float8, 1, 'run_recovered', "
    "'the worker of session ' || r.session || ' died', ?::int > 0 AND r.status <> 'cancelled'), "
    "(?::float8, 2, 'run_paused', '', r.status = 'paused')) AS n(at, place, kind, detail, holds) "
    "WHERE n.holds AND NOT EXISTS (SELECT 1 FROM {schema}.cloaca_note AS o WHERE o.run_id = r.id AND o.at = n.at "
    "AND o.kind = n.kind AND o.task IS NULL AND o.detail = n.detail) ORDER BY r.id, n.place) "
    "SELECT count(*) FILTER (WHERE status = 'pending'), "
    "string_agg(id::text, ' ') FILTER (WHERE status = 'cancelled') FROM released"
)
RELEASE_BUT, RELEASE_ONLY = (RELEASE.replace("{which}", which) for which in ("<> ALL", "= ANY"))


class Piece(NamedTuple):
    """A part of a statement, with its values."""

    text: str
    values: Sequence[object]


async def write(link: Link, batch: Batch, told: str | None = None) -> Receipt:
    """Write a batch: by one statement where that is possible, else in a transaction. Raises LeaseLost.

    With it, ``told`` is announced.
    """
    special = batch.replay or batch.absolved or batch.held is not None or batch.heard or batch.released or batch.moved
    family = batch.children or batch.roused or batch.forsaken or batch.parked
    if not (special or family or _is_about_itself(batch)):
        if told is None and _has_tasks_alone(batch):
            written = {row[0] for row in await link.ask(TASKS_ALONE, *columns(batch.tasks), batch.session)}
            if written:
                return Receipt([], frozenset(batch.touched() - written))
        try:
            return await _at_once(link, batch, told)
        except asyncpg.UniqueViolationError as error:
            if not is_taken_id(error):
                raise
    async with transaction(link):
        receipt = await _one_by_one(link, batch)
        if told is not None:
            await link.ask(TELL, link.names.channel, told)
        return receipt


async def write_inside(link: Link, batch: Batch, told: str | None = None) -> Receipt:
    """Write a batch without new runs in the transaction that is open, and announce ``told``. Raises LeaseLost.

    Its runs are locked first: whoever would end one comes before, and it is not the session's any more, or afterwards.
    The session comes before its runs, for everybody, so that nobody waits in a circle.
    """
    if not await link.ask(LOCK_SESSION, batch.session):
        lost(batch.session)
    await link.ask(LOCK_RUNS, list(batch.touched()), batch.session)
    receipt = await _at_once(link, batch, told)
    await postgres_arrivals.write(link, batch, receipt.disowned)
    return receipt


def _is_about_itself(batch: Batch) -> bool:
    """Whether a batch has rows of runs that are new in it."""
    new = {run.id for run in batch.runs}
    return bool(new) and not new.isdisjoint(batch.touched() | {note.run for note in batch.notes})


_BESIDE_TASKS = tuple(each.name for each in fields(Batch) if each.name not in ("session", "at", "tasks"))


def _has_tasks_alone(batch: Batch) -> bool:
    return bool(batch.tasks) and not any(getattr(batch, name) for name in _BESIDE_TASKS)


async def _at_once(link: Link, batch: Batch, told: str | None) -> Receipt:
    """Write a batch by one statement. Only who comes second with a key is then told by another whose run it is."""
    touched = list(batch.touched())
    pieces = [_fence(batch), *_starts(batch), *_rows(batch, touched)]
    answers = [Piece("s.id", ())]
    if batch.runs:
        answers.append(Piece(CREATED, ()))
    if touched:
        answers.append(Piece(FOREIGN, [touched]))
    if batch.freed or any(run.owner is None for run in batch.runs):
        answers.append(Piece(NOTIFY, [link.names.channel, ""]))
    if told is not None:
        answers.append(Piece(NOTIFY, [link.names.channel, told]))
    [_, *found] = await _send(link, batch, pieces, answers)
    created = ids(found.pop(0)) if batch.runs else frozenset()
    foreign = ids(found.pop(0)) if touched else frozenset()
    return Receipt(await answer(link, batch.runs, created), foreign)


async def _one_by_one(link: Link, batch: Batch) -> Receipt:
    """Write a batch in the transaction that is open, the new runs before the rest."""
    plans = [piece for piece in _starts(batch) if piece.text == PLANS]
    await _send(link, batch, [_fence(batch), *plans], [Piece("s.id", ())])
    if batch.held is not None:
        await release(link, [batch.session], batch.at, crash=0, but=batch.held)
    if batch.absolved:
        await link.ask(ABSOLVE, batch.absolved)
    submitted = [await insert_run(link, run) for run in batch.runs]
    if any(run.owner is None and new.created for run, new in zip(batch.runs, submitted, strict=True)):
        await link.ask(WAKE, link.names.channel)
    if batch.moved:  # a statement can't change one row twice, and the run may end in this batch
        await link.ask(MOVE, *columns(batch.moved), batch.session)
    touched = list(batch.touched())
    pieces = [Piece(FENCE, [batch.session]), *_rows(batch, touched)]
    answers = [Piece("s.id", ()), *([Piece(FOREIGN, [touched])] if touched else [])]
    if batch.freed:
        answers.append(Piece(NOTIFY, [link.names.channel, ""]))
    [_, *found] = await _send(link, batch, pieces, answers)
    foreign = ids(found[0]) if touched else frozenset()
    submitted += [await _insert_child(link, child, foreign) for child in batch.children]
    await postgres_arrivals.write(link, batch, foreign)
    if batch.heard:
        await link.ask(HEAR, batch.heard, batch.session)
    given = [*await postgres_arrivals.park(link, batch), *batch.released]
    if given:
        await release(link, [batch.session], batch.at, crash=0, only=given)
    return Receipt(submitted, foreign - await _ended_already(link, batch, foreign))


async def _insert_child(link: Link, child: NewRun, foreign: frozenset[int]) -> Submitted:
    if child.parent in foreign:
        return Submitted(child.id, created=False, agrees=False)
    made = await insert_run(link, child)
    if made.created and child.owner is None:
        await link.ask(WAKE, link.names.channel)
    return made


async def _send(link: Link, batch: Batch, pieces: Sequence[Piece], answers: Sequence[Piece]) -> Sequence[str | None]:
    statement = f"WITH {', '.join(piece.text for piece in pieces)} SELECT {', '.join(a.text for a in answers)} FROM s"
    values = [value for piece in [*pieces, *answers] for value in piece.values]
    rows = await link.ask(statement.replace("{again}", AGAIN if batch.replay else ""), *values)
    if not rows:
        lost(batch.session)
    return tuple(rows[0])


def _fence(batch: Batch) -> Piece:
    """The part that finds the session. A lease is as long as the batch says, from the server's now on."""
    if batch.renew_until is None:
        return Piece(FENCE, [batch.session])
    return Piece(END_LEASE if batch.ends_lease else RENEW, [batch.renew_until - batch.at, batch.session])


def _starts(batch: Batch) -> list[Piece]:
    pieces = []
    if batch.plans:
        pieces.append(Piece(PLANS, columns(plans_in_order(batch.plans))))
    if batch.runs:
        pieces.append(Piece(RUNS, columns(runs_in_order(batch.runs))))
    return pieces


def _rows(batch: Batch, touched: list[int]) -> list[Piece]:
    """The parts that write the rows of runs, as far as the session owns these."""
    ends = {end.run: end for end in batch.ends}
    kinds: list[tuple[str, Sequence[tuple[object, ...]]]] = [
        (TASKS, batch.tasks),
        (FAILURES, batch.failures),
        (ATTEMPTS, _still_shown(batch, ends)),
        (WAITS, list({(row.run, row.name): row for row in batch.waits}.values())),
        (TAKEN, batch.taken),
        (SETTLED, batch.settled),
        (FREED, [(ticket,) for ticket in batch.freed]),
        (NOTES, list(dict.fromkeys(batch.notes))),
        (CLOSINGS, batch.closings),
        (KEEP, distinct(batch.cached)),
        (ENDS, list(ends.values())),
    ]
    own = [Piece(OWN, [touched])] if touched else []
    return own + [Piece(text, columns(rows)) for text, rows in kinds if rows]


def _still_shown(batch: Batch, ends: dict[int, EndRow]) -> list[tuple[object, ...]]:
    """The attempts that this very batch does not hide again; of one that is in it twice, the last."""
    gone = {(run, name, batch.session) for run, name in batch.settled}
    shown = {(row.run, row.name): row for row in batch.attempts}
    return [row for row in shown.values() if row.run not in ends and (row.run, row.name, row.session) not in gone]


async def _ended_already(link: Link, batch: Batch, foreign: frozenset[int]) -> set[int]:
    """The runs that are not owned any more because this very batch has ended them, in a try whose answer was lost."""
    ends = [end for end in batch.ends if batch.replay and end.run in foreign]
    return {row[0] for row in await link.ask(ENDED, *columns(ends))} if ends else set()


async def release(
    link: Link,
    sessions: Sequence[int],
    at: float,
    *,
    crash: int,
    but: Sequence[int] = (),
    only: Sequence[int] | None = None,
) -> int:
    """Take runs from sessions, all ``but`` some or ``only`` some, with so many crashes more; tell the workers.

    Return how many wait.
    """
    statement, runs = (RELEASE_BUT, but) if only is None else (RELEASE_ONLY, only)
    [(count, stopped)] = await link.ask(statement, crash, at, sessions, runs, at, crash, at)
    if stopped:
        await postgres_arrivals.stopped(link, sorted(ids(stopped)), at)
    if count:
        await link.ask(WAKE, link.names.channel)
    return int(count)
