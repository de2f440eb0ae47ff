"""Commits: what comes before what, what a store that fails or a lease that is lost does to runs, and what it doesn't.

The stores here are the real ones, with an eye on their transactions and a hand on their gate.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from returns.result import Success

from cloaca import CloacaError, Retry, RunnerClosed, StoreError, StoreUnavailable, Workflow, WorkflowBuilder, task
from cloaca.ports import Batch, Receipt, RunRow, Store
from cloaca.runner import Runner
from cloaca.stores.memory import MemoryStore
from cloaca.stores.sql.sqlite import SqliteStore
from tests.runner.databases import Database, asynchronous, eventually
from tests.runner.shop import A, B, C, Order, Shipment, seed, shop


class Watched:
    """What the tests do to a store: hold its transactions, let them fail, note what they wrote."""

    def __init__(self) -> None:
        self.open_gate = asyncio.Event()
        self.open_gate.set()
        self.failures = 0
        self.fails: Callable[[], Exception] = lambda: StoreUnavailable("the disk is full")
        self.entered = asyncio.Event()
        self.written: list[str] = []

    async def pass_gate(self) -> None:
        self.entered.set()
        await self.open_gate.wait()
        if self.failures:
            self.failures -= 1
            raise self.fails()

    def note(self, batch: Batch) -> None:
        self.written.extend(row.name for row in batch.tasks)


class WatchedMemory(MemoryStore):
    watched: Watched

    async def transact(self, batch: Batch) -> Receipt:
        await self.watched.pass_gate()
        receipt = await super().transact(batch)
        self.watched.note(batch)
        return receipt


class WatchedSqlite(SqliteStore):
    watched: Watched

    async def transact(self, batch: Batch) -> Receipt:
        await self.watched.pass_gate()
        receipt = await super().transact(batch)
        self.watched.note(batch)
        return receipt


@pytest.fixture(params=[WatchedMemory, WatchedSqlite])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], WatchedMemory | WatchedSqlite]:
    def made() -> WatchedMemory | WatchedSqlite:
        store = WatchedMemory() if request.param is WatchedMemory else WatchedSqlite(tmp_path / "runs.db")
        store.watched = Watched()
        return store

    return made


Make = Callable[[], WatchedMemory | WatchedSqlite]


@asynccontextmanager
async def running(store: Store, *workflows: Workflow[Any, Any, Any, Any], **options: Any) -> AsyncIterator[Runner]:
    async with Runner("memory://", store=store, workflows=workflows, **options) as runner:
        yield runner


# Order


@asynchronous
async def test_a_successor_starts_only_after_the_commit(make: Make) -> None:
    store = make()
    started: list[str] = []

    @task
    async def first(order: Order) -> A:
        store.watched.open_gate.clear()
        return A(a=1)

    @task
    async def second(a: A) -> B:
        started.append("second")
        return B(b=1)

    workflow = Workflow("two", first >> second)
    async with running(store, workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        store.watched.entered.clear()
        await store.watched.entered.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        assert started == []
        assert await handle.status() == "running"
        assert await handle.output_of(first) is None
        store.watched.open_gate.set()
        assert await handle.result() == Success(B(b=1))
        assert started == ["second"]


@asynchronous
async def test_a_retry_starts_only_after_the_failure_is_durable(make: Make) -> None:
    store = make()
    attempts: list[int] = []

    @task(retry=Retry(attempts=2, delay=0))
    async def flaky(order: Order) -> A:
        attempts.append(1)
        if len(attempts) == 1:
            store.watched.open_gate.clear()
            raise ConnectionError
        return A(a=2)

    workflow = Workflow("flaky", flaky)
    async with running(store, workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await eventually(lambda: closed(store.watched))
        for _ in range(50):
            await asyncio.sleep(0)
        assert attempts == [1]
        store.watched.open_gate.set()
        assert await handle.result() == Success(A(a=2))


async def closed(watched: Watched) -> bool:
    return not watched.open_gate.is_set()


@asynchronous
async def test_start_returns_only_once_the_run_is_durable(make: Make) -> None:
    store = make()
    ran: list[int] = []

    @task
    async def work(order: Order) -> A:
        ran.append(1)
        return A(a=1)

    workflow = Workflow("work", work)
    async with running(store, workflow) as runner:
        store.watched.open_gate.clear()
        starting = asyncio.create_task(runner.start(workflow, Order(order=1)))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not starting.done()
        assert ran == []
        store.watched.open_gate.set()
        assert await (await starting).result() == Success(A(a=1))


@asynchronous
async def test_a_result_is_told_only_once_it_is_durable(make: Make) -> None:
    store = make()

    @task
    async def work(order: Order) -> A:
        store.watched.open_gate.clear()
        return A(a=1)

    workflow = Workflow("work", work)
    async with running(store, workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        waiting = asyncio.create_task(handle.result())
        await eventually(lambda: closed(store.watched))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not waiting.done()
        store.watched.open_gate.set()
        assert await waiting == Success(A(a=1))


@asynchronous
async def test_predecessors_are_in_the_file_when_a_body_runs(file: Database) -> None:
    """Looked at with a connection of the body's own, in random graphs, in many runs at once."""
    chance = random.Random(7)
    missing: list[str] = []
    before: dict[str, list[str]] = {}
    from cloaca import TaskContext  # noqa: PLC0415 - the name is needed in the local annotations

    def look(ctx: TaskContext) -> None:
        with sqlite3.connect(f"file:{file.path}?mode=ro", uri=True) as connection:
            rows = connection.execute("SELECT name FROM cloaca_task WHERE run_id = ?", (int(ctx.run_id),)).fetchall()
        connection.close()
        missing.extend(f"{name} before {ctx.task}" for name in before[ctx.task] if (name,) not in rows)

    @task
    async def async_body(*, ctx: TaskContext) -> None:
        look(ctx)

    @task
    def sync_body(*, ctx: TaskContext) -> None:
        look(ctx)

    builder = WorkflowBuilder("random")
    for place in range(24):
        name = f"t{place}"
        before[name] = chance.sample(list(before), min(len(before), chance.randint(0, 3)))
        builder.add(chance.choice([async_body, sync_body]).named(name), after=before[name])
    workflow = builder.build()
    async with file.runner(workflow) as runner:
        outcomes = await asyncio.gather(*(runner.run(workflow) for _ in range(12)))
    assert all(isinstance(outcome, Success) for outcome in outcomes)
    assert missing == []


@asynchronous
async def test_two_processes_make_the_same_id(make: Make) -> None:
    """Ids are made by chance: the later run gets another, and neither sees the other's data."""
    store = make()
    other = store if isinstance(store, MemoryStore) else make()
    async with running(store, shop) as first, running(other, shop) as second:
        handles = [await first.start(shop, Order(order=order)) for order in range(5)]
        taken = [int(handle.id) for handle in handles]
        second._engine.ids = iter([*taken, *taken])
        later = [await second.start(shop, Order(order=order)) for order in range(100, 105)]
        keyed = [await second.start(shop, Order(order=order), key=f"{order}") for order in range(200, 205)]
        every = [*handles, *later, *keyed]
        outcomes = [(await handle.result()).unwrap().tracking for handle in every]
        assert outcomes == [f"paid-{n}-10/sku-{n}" for n in (*range(5), *range(100, 105), *range(200, 205))]
        assert len({handle.id for handle in every}) == 15
        for handle in later:
            assert (await handle.context())["order"] >= 100


# A store that fails


@asynchronous
async def test_nothing_is_lost_while_the_database_is_unavailable(make: Make) -> None:
    store = make()
    ran: list[str] = []

    @task
    async def first(order: Order) -> A:
        ran.append("first")
        store.watched.failures = 3
        return A(a=1)

    @task
    def second(a: A) -> B:
        ran.append("second")
        return B(b=a.a)

    workflow = Workflow("two", first >> second)
    async with running(store, workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        assert await handle.result() == Success(B(b=1))
        assert ran == ["first", "second"]
        assert store.watched.failures == 0
        assert store.watched.written == ["first", "second"]


@asynchronous
async def test_starts_are_refused_at_once_while_the_database_is_unavailable(make: Make) -> None:
    store = make()
    async with running(store, shop) as runner:
        store.watched.failures = 10**6
        for _ in range(2):  # the second waits behind the first, which is tried again and again
            with pytest.raises(StoreUnavailable, match="the disk is full"):
                await asyncio.wait_for(runner.start(shop, Order(order=1)), 15)
        store.watched.failures = 0
        assert await runner.run(shop, Order(order=2)) == Success(Shipment(tracking="paid-2-10/sku-2"))
        assert len(await runner.runs()) == 1


@asynchronous
async def test_a_start_during_an_outage_with_work_in_flight(make: Make) -> None:
    store = make()
    release = asyncio.Event()

    @task
    async def hold(order: Order) -> A:
        await release.wait()
        return A(a=order.order)

    workflow = Workflow("held", hold)
    async with running(store, workflow, shop) as runner:
        handles = [await runner.start(workflow, Order(order=order)) for order in range(5)]
        store.watched.failures = 10**6
        release.set()  # five results wait for the database
        await asyncio.sleep(0.01)
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(runner.start(shop, Order(order=1)), 15)
        store.watched.failures = 0
        assert [await handle.result() for handle in handles] == [Success(A(a=order)) for order in range(5)]


@asynchronous
async def test_a_runner_that_is_left_while_the_database_is_unavailable(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloaca.interpreter.workers.FLUSH_S", 0.05)
    store = make()

    lives: list[int] = []

    @task
    async def work(order: Order) -> A:
        lives.append(1)
        store.watched.failures = 10**6 if len(lives) == 1 else 0
        return A(a=len(lives))

    workflow = Workflow("work", work)
    async with running(store, workflow, grace_s=0.05) as runner:
        handle = await runner.start(workflow, Order(order=1))
        waiting = asyncio.create_task(handle.result())
        await eventually(lambda: failing(store.watched))
        starting = asyncio.create_task(runner.start(workflow, Order(order=2)))
        await asyncio.sleep(0)
    with pytest.raises(RunnerClosed):
        await waiting
    with pytest.raises(CloacaError):  # StoreUnavailable or RunnerClosed, whichever came first
        await starting
    again = store if isinstance(store, MemoryStore) else make()
    again.watched.failures = 0
    async with running(again, workflow) as runner:
        assert await (await runner.get(handle.id)).result() == Success(A(a=2))


async def failing(watched: Watched) -> bool:
    return watched.failures > 0


@pytest.mark.parametrize("odd", [AssertionError("a bug"), StoreError("it has refused a statement")])
@asynchronous
async def test_a_store_that_breaks_its_word(make: Make, odd: Exception) -> None:
    """An error that no store may raise: the worker starts again from the rows, under a new session."""
    store = make()
    ran: list[str] = []

    @task
    async def first(order: Order) -> A:
        ran.append("first")
        if len(ran) == 1:
            store.watched.fails = lambda: odd
            store.watched.failures = 1
        return A(a=1)

    workflow = Workflow("work", first)
    async with running(store, workflow, lease_s=0.5) as runner:
        handle = await runner.start(workflow, Order(order=1))
        assert await handle.result() == Success(A(a=1))
        assert store.watched.written == ["first"]
        assert isinstance(await runner.run(shop, Order(order=1)), Success)


# A lease that is lost


async def expire_all(store: Store) -> None:
    """Take every worker for dead, as a peer does whose clock says so."""
    await store.reap(time.time() + 3600)


@asynchronous
async def test_a_lease_that_is_lost(make: Make) -> None:
    store = make()
    release = asyncio.Event()
    ran: list[str] = []

    @task
    async def hold(a: A) -> B:
        ran.append("hold")
        await release.wait()
        return B(b=a.a)

    @task
    async def end(b: B) -> C:
        ran.append("end")
        return C(c=b.b)

    workflow = Workflow("held", seed >> hold >> end)
    async with running(store, workflow) as runner:
        handle = await runner.start(workflow, Order(order=4))
        waiting = asyncio.create_task(handle.result())
        await eventually(lambda: contains(ran, "hold"))
        await expire_all(store)
        release.set()
        assert await waiting == Success(C(c=4))
        assert store.watched.written == ["seed", "hold", "end"]
        assert ran == ["hold", "hold", "end"]  # what was committed did not run again
        kinds = [event.kind async for event in handle.events()]
        assert kinds.count("run_recovered") == 1
        assert isinstance(await runner.run(shop, Order(order=1)), Success)


async def contains(items: list[str], item: str) -> bool:
    return item in items


@asynchronous
async def test_starts_while_the_lease_is_lost(make: Make) -> None:
    store = make()
    async with running(store, shop) as runner:
        await expire_all(store)
        outcomes = await asyncio.gather(*(runner.run(shop, Order(order=order)) for order in range(5)))
        assert outcomes == [Success(Shipment(tracking=f"paid-{n}-10/sku-{n}")) for n in range(5)]
        assert len(await runner.runs()) == 5


@asynchronous
async def test_an_idle_worker_gets_over_a_lost_lease(make: Make) -> None:
    store = make()
    other = store if isinstance(store, MemoryStore) else make()
    async with running(store, shop) as runner, running(other, shop, work=False) as submitter:
        await expire_all(store)
        handle = await submitter.start(shop, Order(order=1))
        assert isinstance(await handle.result(timeout=4), Success)  # long before it would renew its lease
        assert isinstance(await runner.run(shop, Order(order=1)), Success)


@asynchronous
async def test_a_run_that_is_cancelled_as_the_lease_is_lost(make: Make) -> None:
    store = make()
    begun = asyncio.Event()

    @task
    async def forever(order: Order) -> A:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    workflow = Workflow("forever", forever)
    async with running(store, workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await begun.wait()
        await expire_all(store)
        await asyncio.wait_for(handle.cancel(), 10)
        assert await handle.status() == "cancelled"


@asynchronous
async def test_a_worker_that_slept_past_its_lease_does_not_reap_itself(make: Make) -> None:
    """Nobody else was there to take its runs: it goes on, and no crash is counted."""
    store = make()
    ran: list[int] = []
    release = asyncio.Event()

    @task
    async def hold(order: Order) -> A:
        ran.append(1)
        await release.wait()
        return A(a=1)

    workflow = Workflow("held", hold)
    async with running(store, workflow, lease_s=0.4) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await eventually(lambda: at_least(ran, 1))
        await store.open_session("a worker that has died", time.time(), time.time() + 0.5)  # there is one to reap
        store.watched.failures = 10**6  # an outage longer than the lease
        await asyncio.sleep(0.8)
        store.watched.failures = 0
        await asyncio.sleep(0.3)
        release.set()
        assert await handle.result() == Success(A(a=1))
        assert ran == [1]
        row: RunRow | None = await store.run(int(handle.id))
        assert row is not None
        assert row.crashes == 0


async def at_least(items: list[int], count: int) -> bool:
    return len(items) >= count
