"""What a durable task costs on SQLite: statements, commits and bytes, which are the same on every computer."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cloaca import Graph, Queue, Runner, Workflow, task
from cloaca.interpreter.workers import Settings
from cloaca.ports import Batch, Poll, QueueRow
from cloaca.stores.sql.sqlite import SqliteStore
from tests.stores.asynchronous import asynchronous
from tests.stores.rows import AT, owned, session_of, slot
from tests.stores.rows import task as row
from tests.stores.traces import Trace, driver

RUNS, TASKS = 500, 10


class Number(BaseModel):
    value: int


@task
async def increment(number: Number) -> Number:
    return Number(value=number.value + 1)


steps: Graph[Number, Number] = increment.named("t0")
for step in range(1, TASKS):
    steps = steps >> increment.named(f"t{step}")
counting = Workflow("counting", steps, input=Number, output=Number)


@asynchronous
async def test_a_task_in_a_group_costs_one_row_and_little_else(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    async with Runner(store=store, workflows=[counting]) as runner:
        trace = Trace(store)
        connection = driver(store._writing)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        empty = store.path.stat().st_size  # a page for each table and each index
        outcomes = await asyncio.gather(*(runner.run(counting, Number(value=0)) for _ in range(RUNS)))
        assert {outcome.unwrap().value for outcome in outcomes} == {TASKS}
        log_bytes = store.path.with_name("runs.db-wal").stat().st_size
        kinds = trace.kinds()
        counts = {
            name: connection.execute(f"SELECT count(*) FROM cloaca_{name}").fetchone()[0]
            for name in ("run", "task", "failure", "attempt", "note", "plan")
        }
    assert counts == {"run": RUNS, "task": RUNS * TASKS, "failure": 0, "attempt": 0, "note": 0, "plan": 1}
    assert kinds["INSERT INTO"] <= RUNS * TASKS + RUNS + 10  # a row for each task and each run, and their plan
    assert kinds["UPDATE cloaca_run"] == RUNS  # the run's end; it is born running
    assert kinds["COMMIT"] == kinds["BEGIN IMMEDIATE"] <= RUNS * TASKS / 100
    assert kinds.total() <= 1.3 * RUNS * TASKS
    assert log_bytes <= 450 * RUNS * TASKS
    # an empty file has some pages for each table
    assert store.path.stat().st_size - empty <= 150 * RUNS * TASKS


@asynchronous
async def test_a_lone_task_costs_one_commit_of_a_few_pages(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    async with Runner(store=store, workflows=[counting]) as runner:
        await runner.run(counting, Number(value=0))
        driver(store._writing).execute("PRAGMA wal_checkpoint(TRUNCATE)")
        trace = Trace(store)
        await runner.run(counting, Number(value=0))
        log_bytes = store.path.with_name("runs.db-wal").stat().st_size
        kinds = trace.kinds()
    assert kinds["COMMIT"] <= TASKS + 2  # each task, the run's start, and perhaps a lease
    assert log_bytes <= 16_000 * TASKS  # two to four pages each


@asynchronous
async def test_an_idle_runner_asks_for_nothing_between_two_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloaca.runner.runners.Settings", partial(Settings, poll_s=3600.0))
    looked, release = asyncio.Event(), asyncio.Event()

    class Watched(SqliteStore):
        async def poll(self, session: int, workflows: object, at: float, **options: Any) -> Poll:
            found = await super().poll(session, ["held"], at, **options)
            looked.set()
            return found

    @task
    async def hold(number: Number) -> Number:
        await release.wait()
        return number

    held = Workflow("held", hold)
    store = Watched(tmp_path / "runs.db")
    async with Runner(store=store, workflows=[held], lease_s=36_000.0) as runner:
        handle = await runner.start(held, Number(value=1))
        await looked.wait()
        trace = Trace(store)
        for _ in range(200):
            await asyncio.sleep(0)
        await store._read(lambda _: None)  # both threads have done what they were asked for before
        await store._call(store._writer, lambda: None)
        assert trace.statements == []
        await store.poll(1, ["held"], 0.0)
        assert len(trace.statements) <= 5  # what a look costs
        release.set()
        assert (await handle.result()).unwrap() == Number(value=1)


@asynchronous
async def test_many_runs_are_claimed_with_a_few_statements(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    await store.open()
    first, second = await session_of(store), await session_of(store)
    await owned(store, first, *range(300))
    await store.transact(Batch(first, tasks=[row(run, name) for run in range(300) for name in "abc"]))
    await store.close_session(first, at=AT)
    trace = Trace(store)
    histories = await store.claim(second, ["orders", "mail"], 256, AT, suspects=False)
    assert len(histories) == 256
    assert len(trace.statements) <= 14
    await store.close()


@asynchronous
async def test_slots_are_asked_for_and_given_back_together(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    await store.open()
    session = await session_of(store)
    await store.declare([QueueRow("mail", 200, None, None)])
    trace = Trace(store)
    granted = await store.acquire(session, [slot(n, run=n) for n in range(1, 301)], AT)
    assert len(granted.held) == 200
    kinds = trace.kinds()
    assert kinds["COMMIT"] == 1
    assert kinds.total() - kinds["INSERT INTO"] <= 8  # rows are inserted by one call
    trace = Trace(store)
    assert (await store.acquire(session, [], AT)).held == granted.held
    assert len(trace.statements) <= 8
    await store.close()


@asynchronous
async def test_a_queue_costs_one_commit_more_than_the_tasks_in_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    queued = Workflow("queued", increment.with_options(queue="mail"))
    async with Runner(store=store, workflows=[queued], queues=[Queue("mail", concurrency=1000)]) as runner:
        await runner.run(queued, Number(value=0))
        trace = Trace(store)
        await runner.run(queued, Number(value=0))
        assert trace.kinds()["COMMIT"] <= 3 + 1  # the start, the slot, the end with the slot; and perhaps a lease
        trace = Trace(store)
        await asyncio.gather(*(runner.run(queued, Number(value=n)) for n in range(RUNS)))
        assert trace.kinds()["COMMIT"] <= RUNS / 5
