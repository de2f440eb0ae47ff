"""Pruning on the databases: bounded, by an index, safe to kill, harmless if several do it; no run loses its plan."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from cloaca.interpreter import retention
from cloaca.interpreter.retention import prune
from cloaca.ports import Batch, Store
from cloaca.stores.sql import postgres_pruning, pruning
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.pruning import OF_RUNS
from cloaca.stores.sql.schedules import MOST_SKIPPED
from cloaca.stores.sql.sqlite import SqliteStore
from tests.crashes.processes import life, until
from tests.stores.asynchronous import asynchronous
from tests.stores.conformance.scheduling import fired, hand_over, ledger
from tests.stores.rows import (
    AT,
    PLAN,
    end,
    failure,
    firing_run,
    new_run,
    note,
    owned,
    schedule,
    session_of,
    task,
    waiting,
)
from tests.stores.traces import Trace, driver


@pytest.fixture(params=["sqlite", "postgres"])
def stores(request: pytest.FixtureRequest, quick_path: Path) -> tuple[Store, Store]:
    """Two stores on one database that nobody has used, not opened yet."""
    if request.param == "sqlite":
        return SqliteStore(quick_path / "runs.db"), SqliteStore(quick_path / "runs.db")
    url, schema = request.getfixturevalue("postgres"), request.getfixturevalue("schema")
    return PostgresStore(url, schema=schema), PostgresStore(url, schema=schema)


@asynccontextmanager
async def both(stores: tuple[Store, Store]) -> AsyncIterator[tuple[Store, Store]]:
    for store in stores:
        await store.open()
    try:
        yield stores
    finally:
        for store in stores:
            await store.close()


async def fill(store: Store, runs: range, tasks: int = 1) -> None:
    """Store runs that have ended, with rows of every kind but attempts."""
    session = await session_of(store, until=AT * 1e9)
    await owned(store, session, *runs)
    rows = Batch(session, ends=[end(run, at=AT) for run in runs])
    rows.tasks = [task(run, f"t{n}") for run in runs for n in range(tasks)]
    rows.failures, rows.notes = [failure(run, "t0") for run in runs], [note(run) for run in runs]
    await store.transact(rows)
    await store.close_session(session, at=AT)


def test_every_table_with_rows_of_runs_is_pruned() -> None:
    assert {"cloaca_task", "cloaca_failure", "cloaca_attempt", "cloaca_note"} <= set(OF_RUNS)


@asynchronous
async def test_large_runs_are_deleted_a_few_at_a_time(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "MOST_ROWS", 30)
    async with both(stores) as (store, _):
        await fill(store, range(1, 8), tasks=8)  # ten rows each
        await fill(store, range(8, 9), tasks=50)
        counts = []
        while count := await store.prune(AT + 1, 500):
            counts.append(count)
        assert counts == [3, 3, 1, 1]
        assert await store.runs(workflow=None, status=None, before=None, limit=9) == []


@asynchronous
async def test_several_may_prune_at_once(stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MOST_RUNS", 7)
    monkeypatch.setattr(retention, "PAUSE_S", 0.0)
    async with both(stores) as (one, two):
        await fill(one, range(1, 201))
        await waiting(one, 500, plan="digest")
        counts = await asyncio.gather(*(prune(store, AT + 1) for store in (one, two, one, two)))
        assert sum(counts) == 200
        assert [row.id for row in await two.runs(workflow=None, status=None, before=None, limit=9)] == [500]
        assert await two.plan("digest") == PLAN


@asynchronous
async def test_no_run_loses_its_plan_to_one_who_prunes_meanwhile(stores: tuple[Store, Store]) -> None:
    """Each plan has one run at a time: it is unused again and again, just when another run of it is started."""
    async with both(stores) as (one, two):
        session = await session_of(one, until=AT * 1e9)
        done = asyncio.Event()

        async def prune_on() -> None:
            while not done.is_set():
                await two.prune(AT + 1, 5)

        pruner = asyncio.create_task(prune_on())
        for id in range(1, 60):
            plan = PLAN._replace(digest=f"d{id % 2}")
            run = new_run(id, plan=plan.digest, owner=session)
            await one.transact(Batch(session, plans=[plan], runs=[run]))
            assert await one.plan(plan.digest) == plan
            await one.transact(Batch(session, ends=[end(id, at=AT)]))
        done.set()
        await pruner


@asynchronous
async def test_who_starts_runs_does_not_wait_for_a_pruner_that_hangs(postgres: str, schema: str) -> None:
    """Nor does a pruner wait for them: a plan that it can't delete now goes another time."""
    one, two = PostgresStore(postgres, schema=schema), PostgresStore(postgres, schema=schema)
    async with both((one, two)):
        await one.submit(PLAN._replace(digest="unused"), new_run(1))
        assert one._requests is not None
        async with one._requests.link() as link:
            await link.connection.execute("BEGIN")
            await link.connection.execute(link.names.of("LOCK TABLE {schema}.cloaca_plan IN ROW EXCLUSIVE MODE"))
            assert await two.prune(AT, 5) == 0
            assert await two.plan("unused") is not None
            await waiting(two, 2)
            await link.connection.execute("ROLLBACK")
        assert await two.prune(AT, 5) == 0
        assert await two.plan("unused") is None
        assert await two.plan("digest") == PLAN


@asynchronous
async def test_the_cost_is_that_of_what_is_deleted(quick_path: Path) -> None:
    """In statements, and in steps of SQLite's machine: neither grows with the runs that stay."""
    costs = []
    for kept in (50, 5_000):
        store = SqliteStore(quick_path / f"{kept}.db")
        await store.open()
        await fill(store, range(1, 11))
        session = await session_of(store)
        await owned(store, session, *range(1_000, 1_000 + kept))
        ends = [end(run, at=AT + 5) for run in range(1_000, 1_000 + kept)]
        await store.transact(Batch(session, tasks=[task(end.run) for end in ends], ends=ends))
        trace, steps = Trace(store), [0]

        def count(steps: list[int] = steps) -> int:
            steps[0] += 1
            return 0

        driver(store._writing).set_progress_handler(count, 10)
        assert await store.prune(AT + 1, 500) == 10
        assert await store.prune(AT + 1, 500) == 0
        costs.append((steps[0], len(trace.statements)))
        await store.close()
    assert costs[0][1] == costs[1][1]
    assert costs[1][0] <= costs[0][0] * 1.1 + 5


@asynchronous
async def test_the_oldest_are_found_by_the_index(quick_path: Path) -> None:
    store = SqliteStore(quick_path / "runs.db")
    await store.open()
    plans = [
        [row[3] for row in driver(store._writing).execute(f"EXPLAIN QUERY PLAN {statement}", values)]
        for statement, values in ((pruning.OLDEST, (AT, 5)), (pruning.DELETE_PLANS, ()))
    ]
    await store.close()
    assert plans[0][0] == "SEARCH run USING INDEX cloaca_run_ended (finished_at<?)"
    assert not re.search("SCAN|TEMP B-TREE", str(plans[0]))
    assert "SEARCH cloaca_run USING COVERING INDEX cloaca_run_by_plan (plan=?)" in str(plans[1])


def prune_all(place: tuple[str, ...], ready: Path) -> None:
    """Prune, one run a transaction, until killed."""

    async def pruner() -> None:
        store = store_of(*place)
        await store.open()
        ready.touch()
        while await store.prune(AT + 1, 1):
            pass

    asyncio.run(pruner())


def store_of(place: str, schema: str = "") -> Store:
    return PostgresStore(place, schema=schema) if schema else SqliteStore(place)


OF_RUN = ("cloaca_task", "cloaca_failure", "cloaca_note", "cloaca_signal", "cloaca_firing")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@asynchronous
async def test_a_pruner_that_is_killed_leaves_whole_runs(
    kind: str, quick_path: Path, request: pytest.FixtureRequest
) -> None:
    """Again and again, at some statement: what it leaves is complete, and what still goes on is never touched."""
    place: tuple[str, ...] = (str(quick_path / "runs.db"),)
    if kind == "postgres":
        place = request.getfixturevalue("postgres"), request.getfixturevalue("schema")
    store = store_of(*place)
    await store.open()
    count = 1_500
    await fill(store, range(1, count + 1), tasks=2)
    await waiting(store, 5_000)
    left = count + 1
    for life_number in range(3):
        ready = quick_path / f"ready-{life_number}"
        with life(prune_all, place, ready) as pruner:
            await asyncio.to_thread(until, partial(has_begun, place, ready, left))
            pruner.kill()
        left = number_of(*place)
        assert 1 < left < count + 1
        for table in OF_RUN:
            assert counted(place, f"{{}}{table} WHERE run_id NOT IN (SELECT id FROM {{}}cloaca_run)") == 0
        assert counted(place, "{}cloaca_task") == 2 * (left - 1)
        assert counted(place, "{}cloaca_run WHERE plan NOT IN (SELECT digest FROM {}cloaca_plan)") == 0
    if kind == "sqlite":
        with closing(sqlite3.connect(place[0])) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert await prune(store, AT + 1) == left - 1
    assert number_of(*place) == 1
    await store.close()


def has_begun(place: tuple[str, ...], ready: Path, left: int) -> bool:
    return ready.exists() and number_of(*place) < left


def number_of(*place: str) -> int:
    return counted(place, "{}cloaca_run")


def counted(place: tuple[str, ...], source: str) -> int:
    """Return how many rows there are; ``{}`` stands before the names of tables."""
    if len(place) == 1:
        with closing(sqlite3.connect(place[0], timeout=10)) as connection:
            return int(connection.execute(f"SELECT count(*) FROM {source.replace('{}', '')}").fetchone()[0])
    quoted = '"' + place[1].replace('"', '""') + '".'

    async def ask() -> int:
        connection = await asyncpg.connect(place[0])
        try:
            return int(await connection.fetchval(f"SELECT count(*) FROM {source.replace('{}', quoted)}"))
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as other:  # this thread has an event loop that runs
        return other.submit(lambda: asyncio.run(ask())).result()


@asynchronous
async def test_skipped_firings_go_a_few_at_a_time(stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: a schedule may skip one a second, for years."""
    for statements in (pruning, postgres_pruning):
        shortened = statements.FORGET_SKIPPED.replace(str(MOST_SKIPPED), "3")
        assert shortened != statements.FORGET_SKIPPED
        monkeypatch.setattr(statements, "FORGET_SKIPPED", shortened)
    async with both(stores) as (store, _):
        session = await session_of(store)
        await store.put_schedule(schedule(), None)
        times = [900.0 + number for number in range(8)]
        await fired(store, session, *times, overlap="skip")
        await hand_over(store, session, *(firing_run(number, at) for number, at in enumerate(times, 1)))
        lengths = []
        for _ in range(4):
            lengths.append(len(await ledger(store)))
            assert await store.prune(AT + 1, 9) == 0
        assert lengths == [8, 5, 2, 1]
