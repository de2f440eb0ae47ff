"""New runs on PostgreSQL, and the keys that make them one.

Runs are inserted many at a time by a part of a larger statement; where an id is taken, one by one in a transaction that
is open. It knows statements and rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import asyncpg

from cloaca.errors import StoreUnavailable
from cloaca.ports import NewRun, PlanRow, Submitted
from cloaca.stores.sql.postgres_links import Link, transaction

INSERT_PLANS = (
    "INSERT INTO {schema}.cloaca_plan (digest, workflow, version, spec) "
    "SELECT p.* FROM {source} unnest(?::text[], ?::text[], ?::text[], ?::text[]) AS p(digest, workflow, version, spec) "
    "ON CONFLICT (digest) DO NOTHING"
)
INSERT_RUNS = (
    "INSERT INTO {schema}.cloaca_run (id, workflow, version, plan, input, key, owner, created_at, status, started_at, "
    "crashes, cancel_requested, roused, priority, parent, parent_task, epilogue, schedule, scheduled_for, traceparent) "
    "SELECT r.id, r.workflow, r.version, "
    "r.plan, r.input, r.key, r.owner, r.created_at, CASE WHEN r.owner IS NULL THEN 'pending' ELSE 'running' END, "
    "CASE WHEN r.owner IS NOT NULL THEN r.created_at END, 0, false, false, r.priority, r.parent, r.parent_task, "
    "r.epilogue, r.schedule, r.scheduled_for, r.traceparent FROM {source} unnest(?::int8[], ?::text[], ?::text[], "
    "?::text[], ?::text[], ?::text[], ?::int8[], ?::float8[], ?::int4[], ?::int8[], ?::text[], ?::bool[], ?::text[], "
    "?::float8[], ?::text[]) AS r(id, workflow, version, plan, input, key, owner, created_at, priority, parent, "
    "parent_task, epilogue, schedule, scheduled_for, traceparent) "
)
# An id that is taken is an error here: the runs are then inserted one by one.
UNLESS_KEY = "ON CONFLICT (workflow, key) WHERE key IS NOT NULL DO NOTHING RETURNING id"
INSERT_RUN = INSERT_RUNS + "ON CONFLICT DO NOTHING RETURNING id"
FIND_KEY = "SELECT id, input FROM {schema}.cloaca_run WHERE workflow = ? AND key = ?"
SAME_RUN = (
    "SELECT 1 FROM {schema}.cloaca_run WHERE id = ? AND workflow = ? AND plan = ? AND input IS NOT DISTINCT FROM ? "
    "AND key IS NOT DISTINCT FROM ? AND created_at = ?"
)
WAKE = "SELECT pg_notify(?, '')"
TELL = "SELECT pg_notify(?, ?)"
CREATED = "(SELECT string_agg(id::text, ' ') FROM new_runs)"


def part(statement: str, source: str = "") -> str:
    """Return a statement that inserts only if ``source`` has a row."""
    return statement.replace("{source}", source)


SUBMIT = (
    f"WITH new_plans AS ({part(INSERT_PLANS)}), new_runs AS ({part(INSERT_RUNS)}{UNLESS_KEY}) "
    f"SELECT {CREATED}, (SELECT count(pg_notify(?, '')) FROM new_runs)"
)


def columns(rows: Sequence[tuple[object, ...]]) -> list[Sequence[object]]:
    """Return the columns of rows, of which there is one at least, each as an array."""
    return list(zip(*rows, strict=True))


def ids(text: str | None) -> frozenset[int]:
    """Return the numbers in a text, of which there may be none."""
    return frozenset(map(int, (text or "").split()))


def plans_in_order(plans: Sequence[PlanRow]) -> list[PlanRow]:
    """Return plans in the order in which all transactions insert them, so that none waits for one that waits for it."""
    return sorted(plans)


def runs_in_order(runs: Sequence[NewRun]) -> list[NewRun]:
    """Return runs ordered by what others may insert at the same time, their keys; of equal keys the first is first."""
    return sorted(runs, key=lambda run: (run.workflow, run.key or ""))


def is_taken_id(error: asyncpg.UniqueViolationError) -> bool:
    """Whether an insertion failed because another run has the id of a new one."""
    return error.constraint_name == "cloaca_run_pkey"


async def submit(link: Link, plan: PlanRow, run: NewRun) -> Submitted:
    """Insert one run without a session, by one statement, and tell the workers; or find the one that has its key."""
    values = [*columns([plan]), *columns([run]), link.names.channel]
    try:
        [(created, _)] = await link.ask(SUBMIT, *values)
    except asyncpg.UniqueViolationError as error:
        if not is_taken_id(error):
            raise
        async with transaction(link):
            await link.ask(part(INSERT_PLANS), *columns([plan]))
            submitted = await insert_run(link, run)
            await link.ask(WAKE, link.names.channel)
            return submitted
    [submitted] = await answer(link, [run], ids(created))
    return submitted


async def answer(link: Link, runs: Sequence[NewRun], created: frozenset[int]) -> list[Submitted]:
    """Say what became of each run, where ``created`` are the ids that were inserted."""
    left = set(created)
    answers = []
    for run in runs:
        if run.id in left:
            left.discard(run.id)  # of two with one id and key, the first was inserted
            answers.append(Submitted(run.id, created=True, agrees=True))
        else:
            answers.append(await _older(link, run) or _vanished(run))
    return answers


def _vanished(run: NewRun) -> NoReturn:
    raise StoreUnavailable(f"the run that had the key {run.key!r} was deleted just now: start yours again")


async def insert_run(link: Link, run: NewRun) -> Submitted:
    """Insert a new run; if its key is taken nothing is inserted, and the older run is the answer.

    An id that another run has is replaced by the next free one: ids are made by chance, in many processes.
    """
    if await link.ask(part(INSERT_RUN), *columns([run])):
        return Submitted(run.id, created=True, agrees=True)
    if older := await _older(link, run):
        return older
    if await link.ask(SAME_RUN, run.id, run.workflow, run.plan, run.input, run.key, run.created_at):
        return Submitted(run.id, created=True, agrees=True)
    return await insert_run(link, run._replace(id=run.id + 1))


async def _older(link: Link, run: NewRun) -> Submitted | None:
    """The run that has the key of a new one."""
    found = await link.ask(FIND_KEY, run.workflow, run.key) if run.key is not None else []
    if not found:
        return None
    [(id, input)] = found
    return Submitted(id, created=id == run.id, agrees=input == run.input)
