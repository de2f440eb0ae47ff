"""Every statement finds its rows by an index, so that its cost does not grow with the runs that are stored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from cloaca.ports import Batch, QueueRow
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.postgres_links import Link, Row, array
from cloaca.stores.sql.postgres_ownership import CLAIM
from cloaca.stores.sql.postgres_queries import ATTEMPTS, FAILURES, NOTES, TASKS
from cloaca.stores.sql.postgres_slots import GRANT, SET_BACK
from tests.stores.asynchronous import asynchronous
from tests.stores.rows import (
    AT,
    FAR,
    PLAN,
    attempt,
    end,
    failure,
    firing_run,
    move,
    new_run,
    note,
    owned,
    schedule,
    session_of,
    slot,
    task,
    waiting,
)

ENDED = 20_000
FILL = (
    "INSERT INTO {schema}.cloaca_run (id, workflow, version, plan, status, key, crashes, created_at, finished_at) "
    "SELECT n, CASE n % 3 WHEN 0 THEN 'mail' ELSE 'orders' END, 'v1', 'digest', "
    "CASE n % 10 WHEN 0 THEN 'failed' ELSE 'succeeded' END, 'key ' || n, 0, 1.0, 2.0 FROM generate_series(1, ?) AS n",
    "INSERT INTO {schema}.cloaca_task (run_id, name, status, attempt, session, started_at, finished_at, output) "
    "SELECT n, 'charge', 'succeeded', 1, 1, 1.0, 2.0, '{}' FROM generate_series(1, ?) AS n",
    "INSERT INTO {schema}.cloaca_failure (run_id, name, attempt, session, started_at, at, exception_type, message, "
    "traceback) SELECT n, 'charge', 1, 1, 1.0, 2.0, '', '', '' FROM generate_series(1, ?) AS n",
    "INSERT INTO {schema}.cloaca_attempt (run_id, name, attempt, session, started_at) "
    "SELECT n, 'charge', 1, n, 1.0 FROM generate_series(1, ?) AS n",
    "INSERT INTO {schema}.cloaca_note (run_id, at, kind, detail) "
    "SELECT n, 1.0, 'code_changed', '' FROM generate_series(1, ?) AS n",
    "INSERT INTO {schema}.cloaca_slot (session, ticket, queue, priority, run, task, held) "
    "SELECT 1000 + n % 7, n, CASE n % 2 WHEN 0 THEN 'mail' ELSE 'web' END, n % 5, n, 'charge', n % 400 = 0 "
    "FROM generate_series(1, ?) AS n",
    "INSERT INTO {schema}.cloaca_start (queue, at, number) "
    "SELECT CASE n % 50 WHEN 0 THEN 'mail' ELSE 'other' || n % 50 END, n, n FROM generate_series(1, ?) AS n",
    "INSERT INTO {schema}.cloaca_schedule (name, workflow, timezone, cron, catchup, overlap, jitter_s, paused, "
    "next_at, due_at, created_at, updated_at) SELECT 's' || n, CASE n % 3 WHEN 0 THEN 'mail' ELSE 'orders' END, 'UTC', "
    "'@daily', 'latest', 'allow', 0, false, 1000 + n, 1000 + n, 1.0, 1.0 FROM generate_series(1, ?) AS n",
    "INSERT INTO {schema}.cloaca_firing (schedule, scheduled_for, workflow, state, kind, run_id, attempts, overlap, "
    "parked, claimed_at, handed_at) SELECT 's' || n % 10, n, 'orders', CASE n % 4 WHEN 0 THEN 'skipped' ELSE "
    "'handed_over' END, 'schedule', CASE n % 4 WHEN 0 THEN NULL ELSE n END, 1, 'allow', false, 1.0, 2.0 "
    "FROM generate_series(1, ?) AS n",
)
ANALYZE = "ANALYZE {schema}.cloaca_run, {schema}.cloaca_task, {schema}.cloaca_failure, {schema}.cloaca_attempt"
# Of all tables, only that of the workers that are alive is ever looked through, and a handful of plans and queues.
SCANS = re.compile(r"Seq Scan on (cloaca_(?!session|plan|queue)\w+)")


async def filled(store: PostgresStore) -> None:
    """Store runs that have ended."""
    for statement in FILL:
        await store._ask(lambda link, statement=statement: link.ask(statement, ENDED))  # type: ignore[misc]  # binds it
    await store._ask(lambda link: link.ask(ANALYZE))
    await store._ask(lambda link: link.ask("ANALYZE {schema}.cloaca_note, {schema}.cloaca_slot, {schema}.cloaca_start"))
    await store._ask(lambda link: link.ask("ANALYZE {schema}.cloaca_schedule, {schema}.cloaca_firing"))


@asynchronous
async def test_no_statement_looks_through_a_large_table(
    postgres: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresStore(postgres, schema=schema)
    await store.open()
    await filled(store)
    sent: dict[str, Sequence[object]] = {}
    ask = Link.ask

    async def recorded(link: Link, statement: str, *values: object) -> list[Row]:
        sent.setdefault(statement, values)
        return await ask(link, statement, *values)

    monkeypatch.setattr(Link, "ask", recorded)
    await all_that_happens(store)
    monkeypatch.undo()
    assert len(sent) > 30
    plans = {statement: await plan_of(store, statement, values) for statement, values in sent.items()}
    await store.close()
    scans = {statement: plan for statement, plan in plans.items() if SCANS.search(plan)}
    assert scans == {}
    used = set(re.findall(r"cloaca_run_\w+", str(plans)))
    assert {
        "cloaca_run_queue",
        "cloaca_run_suspects",
        "cloaca_run_owned",
        "cloaca_run_cancelling",
        "cloaca_run_pausing",
        "cloaca_run_ended",
        "cloaca_run_scheduled",
    } <= used
    of_schedules = set(re.findall(r"cloaca_(?:schedule|firing)_\w+", str(plans)))
    assert {"cloaca_schedule_due", "cloaca_firing_open", "cloaca_firing_run", "cloaca_firing_skipped"} <= of_schedules
    given = next(plan for statement, plan in plans.items() if statement == GRANT)
    assert "cloaca_slot_waiting" in given
    assert not re.search("Sort|Seq Scan on cloaca_slot", given)


@asynchronous
async def test_of_many_runs_that_wait_the_first_are_found_in_the_order_of_an_index(postgres: str, schema: str) -> None:
    store = PostgresStore(postgres, schema=schema)
    await store.open()
    waiting = FILL[0].replace("CASE n % 10 WHEN 0 THEN 'failed' ELSE 'succeeded' END", "'pending'")
    await store._ask(lambda link: link.ask(waiting, ENDED))
    await store._ask(lambda link: link.ask("ANALYZE {schema}.cloaca_run"))
    plan = await plan_of(store, CLAIM, [1, ["orders", "mail"], 10, 10, AT])
    await store.close()
    assert re.search(r"LockRows.*\n\s+->  Index Scan using cloaca_run_queue", plan)
    assert "Seq Scan on cloaca_run" not in plan


@asynchronous
async def test_in_a_table_that_nobody_has_counted_the_rows_of_many_runs_are_found_one_by_one(
    postgres: str, schema: str
) -> None:
    store = PostgresStore(postgres, schema=schema)
    await store.open()
    for table in ("task", "failure", "attempt", "note"):
        await store._ask(
            lambda link, table=table: link.ask(f"ALTER TABLE {{schema}}.cloaca_{table} SET (autovacuum_enabled = off)")  # type: ignore[misc]  # binds it
        )
    for statement in FILL[1:5]:
        await store._ask(lambda link, statement=statement: link.ask(statement, ENDED))  # type: ignore[misc]  # as above
    plans = [await plan_of(store, statement, [range(1, 257)]) for statement in (TASKS, FAILURES, ATTEMPTS, NOTES)]
    await store.close()
    assert [plan for plan in plans if SCANS.search(plan)] == []


async def plan_of(store: PostgresStore, statement: str, values: Sequence[Any]) -> str:
    """Return PostgreSQL's plan for a statement, which is not executed."""
    if statement.startswith("SELECT pg_"):
        return ""
    sent = [array(value) if isinstance(value, list | tuple | range) else value for value in values]

    async def explain(link: Link) -> str:
        rows = await link.connection.fetch("EXPLAIN " + link.names.of(statement), *sent)
        return "\n".join(row[0] for row in rows)

    return await store._ask(explain)


async def all_that_happens(store: PostgresStore) -> None:
    """Take a few runs through all that happens to runs."""
    first = ENDED + 1
    runs = range(first, first + 20)
    session, other = await session_of(store), await session_of(store, until=AT - 1)
    await waiting(store, *runs)
    await store.submit(PLAN, new_run(first, key="new"))
    await store.submit(PLAN, new_run(first, key="new"))
    for suspects in (False, True):
        await store.claim(session, ["orders", "mail"], 10, AT, suspects=suspects)
    await store.poll(session, ["orders", "mail"], AT)
    mine = Batch(session, AT, FAR, tasks=[task(run) for run in runs], failures=[failure(first)])
    mine.attempts, mine.settled = [attempt(first, session=session)], [(first + 1, "charge")]
    mine.notes, mine.ends = [note(first)], [end(first), end(first + 1)]
    for batch in (mine, Batch(session), Batch(session, tasks=[task(first + 2, "b")], ends=[end(first + 2)])):
        await store.transact(batch)
    await store.transact(Batch(session, held=[first + 3], absolved=[first + 3], replay=True, ends=[end(first)]))
    await owned(store, other, *range(first + 50, first + 60))
    await store.cancel(first + 50, AT)
    await store.cancel(first, AT)
    await store.reap(AT)
    await controlled(store, session, first)
    await queued(store, session)
    await scheduled(store, session, first)
    await store.block(session, first + 3, "unfit")
    await store.reconsider({"orders": "v1"})
    await store.claim_refused(session, {"orders": "v1"}, 5, AT)
    await store.serve(session, {"orders": "v1"})
    await store.close_session(session, at=AT)
    await store.submit(PLAN._replace(digest="of no run"), new_run(first, key="new"))
    for ended_before in (3.0, 0.0):
        await store.prune(ended_before, 5)
    await store.history(first)
    await store.plan("digest")
    for workflow, status in (("orders", "failed"), ("orders", None), (None, "failed"), (None, None)):
        for before in (None, ENDED):
            await store.runs(workflow=workflow, status=status, before=before, limit=5)


async def queued(store: PostgresStore, session: int) -> None:
    """Give out slots, by all limits."""
    limits = [QueueRow("mail", 60, 100, 1.0), QueueRow("web", None, 5, 1.0)]
    for declared in (limits, limits):
        await store.declare(declared)
    await store.queues()
    await store.acquire(session, [slot(1), slot(2, queue="web")], AT)
    await store._ask(lambda link: link.ask(SET_BACK, 0.0, "none", 0.0))
    await store.acquire(session, [], AT)
    await store.transact(Batch(session, AT, freed=[1, 2]))


async def scheduled(store: PostgresStore, session: int, first: int) -> None:
    """Fire schedules, by all policies, hand over and look at them."""
    row = schedule()
    assert await store.put_schedule(row, None)
    assert await store.put_schedule(row._replace(revision=1), 0)
    await store.due(["orders", "mail"], AT + 50, 10)
    for seen, overlap in enumerate(("allow", "skip", "queue", "cancel"), 1):
        assert await store.fire(session, [move(seen, float(seen), overlap=overlap)], AT)
    await store.add_firings("daily", [50.0], kind="backfill", at_most=1, at=AT)
    await store.take_firings(session, ["orders"], 10)
    await store.hand_over(session, [PLAN], [firing_run(first + 200 + n, float(n)) for n in (1, 2, 3, 4)], AT)
    await store.poll(session, ["orders", "mail"], AT)
    await store.schedule("s7")
    await store.schedules(after="s5", limit=10)
    await store.firings("s7", before=9_000.0, limit=10)
    await store.firing_counts("daily", 10.0)
    assert await store.drop_schedule("daily")


async def controlled(store: PostgresStore, session: int, first: int) -> None:
    """Pause, resume, retry and fork some of them."""
    await owned(store, session, first + 70)
    for run in (first + 4, first + 70):
        await store.pause(run, AT)
        await store.resume(run, AT)
        await store.pause(run, AT)
    await store.transact(Batch(session, heard=[first + 70], released=[first + 70]))
    ended = await store.run(first + 1)
    assert ended is not None
    assert await store.retry(ended, AT, anew=["charge"], earlier=None, detail="")
    assert await store.fork(PLAN, new_run(first + 90), origin=first + 2, tasks=["charge"], detail="") is not None
