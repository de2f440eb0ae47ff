"""A store whose answers get lost, or that raises what no store may: no run is stranded, and none is charged with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest
from returns.result import Success

from cloaca import Retry, Runner, StoreError, StoreUnavailable, TaskContext, Workflow, task
from cloaca.interpreter import drives, workers
from cloaca.ports import Batch, Receipt, RunRow, Store
from tests.runner.databases import Database, asynchronous, eventually
from tests.runner.shop import A, B, Order, Shipment, shop

FIRST = Success(Shipment(tracking="paid-1-10/sku-1"))


def runner_on(store: Store, *workflows: Workflow[Any, Any, Any, Any], **options: Any) -> Runner:
    return Runner("memory://", store=store, workflows=workflows, **options)


def loses_answers(store: Store, method: str, *, times: int = 1) -> list[Any]:
    """Let the answers to the next calls of a method be lost, once it has done what it was asked; return them."""
    asked, lost = getattr(store, method), list[Any]()

    async def answered(*args: Any, **options: Any) -> Any:
        answer = await asked(*args, **options)
        if len(lost) < times and answer:
            lost.append(answer)
            raise StoreUnavailable("the answer is lost")
        return answer

    setattr(store, method, answered)
    return lost


def breaks(store: Store, method: str, *, times: int = 1, odd: Exception | None = None) -> list[int]:
    """Let the next calls of a method raise what no store may raise; return how often they did."""
    asked, broken = getattr(store, method), list[int]()

    async def answered(*args: Any, **options: Any) -> Any:
        if len(broken) < times:
            broken.append(1)
            raise odd or ZeroDivisionError("a bug")
        return await asked(*args, **options)

    setattr(store, method, answered)
    return broken


async def row_of(store: Store, run: str) -> RunRow:
    row = await store.run(int(run))
    assert row is not None
    return row


# Answers that are lost


@asynchronous
async def test_a_start_whose_answer_is_lost(database: Database) -> None:
    """The run is stored though ``start`` has raised: it is driven like any other, and its key finds it."""
    store = database.store()
    async with runner_on(store, shop) as runner:
        lost = loses_answers(store, "transact")
        with pytest.raises(StoreUnavailable, match="the answer is lost"):
            await runner.start(shop, Order(order=1), key="one")
        [run] = [submitted.id for receipt in lost for submitted in receipt.submitted]
        again = await runner.start(shop, Order(order=1), key="one")
        assert again.id == str(run)
        assert await again.result(timeout=10) == FIRST
        assert (await row_of(store, again.id)).crashes == 0


@asynchronous
async def test_a_start_whose_answer_is_lost_beside_other_runs(database: Database) -> None:
    """What the worker drives stays with it: only what it has never heard of is given back."""
    store, release, ran = database.store(), asyncio.Event(), list[str]()

    @task
    async def hold(order: Order) -> A:
        ran.append("hold")
        await release.wait()
        return A(a=1)

    held = Workflow("held", hold)
    async with runner_on(store, shop, held) as runner:
        handle = await runner.start(held, Order(order=1))
        lost = loses_answers(store, "transact")
        with pytest.raises(StoreUnavailable):
            await runner.start(shop, Order(order=1))
        [run] = [submitted.id for receipt in lost for submitted in receipt.submitted]
        stranded = await runner.get(str(run))
        assert await stranded.result(timeout=10) == FIRST
        release.set()
        assert await handle.result() == Success(A(a=1))
        assert ran == ["hold"]


@asynchronous
async def test_claims_whose_answers_are_lost(database: Database) -> None:
    store, submitting = database.store(), database.store()
    async with runner_on(submitting, shop, work=False) as submitter:
        handles = [await submitter.start(shop, Order(order=1)) for _ in range(3)]
        lost = loses_answers(store, "claim", times=2)
        async with runner_on(store, shop, lease_s=1) as runner:
            for handle in handles:
                assert await handle.result(timeout=10) == FIRST
                assert (await row_of(submitting, handle.id)).crashes == 0
            assert len(lost) == 2
            assert await runner.run(shop, Order(order=1)) == FIRST


# What no store may raise


@asynchronous
async def test_runs_are_not_charged_with_an_error_of_the_store(database: Database) -> None:
    """The worker takes a new session at once, and leaves the old one in order: nobody has died."""
    store, submitting, ran = database.store(), database.store(), list[str]()

    @task
    async def first(order: Order) -> A:
        ran.append("first")
        if len(ran) == 1:
            breaks(store, "transact")
        return A(a=1)

    workflow = Workflow("work", first)
    async with runner_on(store, workflow) as runner:  # a lease of 30 seconds
        handle = await runner.start(workflow, Order(order=1))
        assert await handle.result(timeout=10) == Success(A(a=1))
        assert [event.kind async for event in handle.events()].count("run_recovered") == 0
        assert (await row_of(store, handle.id)).crashes == 0
        async with runner_on(submitting, work=False):
            assert not (await submitting.poll(0, [], time.time() + 20)).expired


@pytest.mark.parametrize("method", ["close_session", "open_session"])
@asynchronous
async def test_a_new_session_is_tried_for_until_there_is_one(
    database: Database, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "FIRST_PAUSE_S", 0.01)
    store = database.store()
    async with runner_on(store, shop, lease_s=1) as runner:
        breaks(store, "transact")
        broken = breaks(store, method, times=10**6 if method == "close_session" else 3)
        with pytest.raises(ZeroDivisionError):
            await runner.start(shop, Order(order=1))
        assert (await runner.run(shop, Order(order=1))) == FIRST
        await eventually(lambda: has_session(runner))
        assert len(broken) >= (1 if method == "close_session" else 3)


async def has_session(runner: Runner) -> bool:
    worker = runner._engine.worker
    return worker is not None and not worker.commits.closed


@pytest.mark.parametrize("method", ["poll", "claim"])
@asynchronous
async def test_a_look_that_breaks_does_not_end_the_worker(
    database: Database, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    store, submitting = database.store(), database.store()
    async with runner_on(store, shop, lease_s=0.25), runner_on(submitting, shop, work=False) as submitter:
        broken = breaks(store, method, times=2)
        handle = await submitter.start(shop, Order(order=1))
        assert await handle.result(timeout=15) == FIRST
        assert len(broken) == 2
        assert (await row_of(submitting, handle.id)).crashes == 0
    assert "a bug" in caplog.text


@asynchronous
async def test_a_heartbeat_that_breaks_does_not_end_the_worker(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    store, submitting = database.store(), database.store()
    async with runner_on(store, shop, lease_s=0.25) as runner, runner_on(submitting, shop, work=False) as submitter:
        worker: Any = runner._engine.worker
        show, broken = worker._show_attempts, list[int]()

        def shown() -> None:
            if not broken:
                broken.append(1)
                raise ZeroDivisionError("a bug")
            show()

        worker._show_attempts = shown
        await eventually(lambda: is_true(broken))
        handle = await submitter.start(shop, Order(order=1))
        assert await handle.result(timeout=10) == FIRST
    assert "heartbeat failed" in caplog.text


async def is_true(items: list[int]) -> bool:
    return bool(items)


@asynchronous
async def test_what_can_never_be_written_is_not_tried_at_full_speed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, ran, refuses = database.store(), list[str](), [True]
    transact = store.transact

    async def refused(batch: Batch) -> Receipt:
        if batch.tasks and refuses:
            raise StoreError("a row is refused")
        return await transact(batch)

    monkeypatch.setattr(store, "transact", refused)

    @task
    async def first(order: Order) -> A:
        ran.append("first")
        return A(a=1)

    workflow = Workflow("work", first)
    async with runner_on(store, workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await asyncio.sleep(1.5)
        assert len(ran) <= 2
        refuses.clear()
        assert await handle.result(timeout=10) == Success(A(a=1))


# A lease that runs out though the worker lives


@asynchronous
async def test_a_worker_that_was_taken_for_dead_is_not_a_death(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, peer, release, begun = database.store(), database.store(), asyncio.Event(), list[int]()

    @task
    async def hold(order: Order, *, ctx: TaskContext) -> A:
        begun.append(ctx.attempt)
        await release.wait()
        return A(a=1)

    workflow = Workflow("held", hold)

    async def has_begun(times: int) -> bool:
        return len(begun) >= times

    async def is_forgiven() -> bool:
        return (await row_of(peer, handle.id)).crashes == 0

    absolved, transact = list[int](), store.transact

    async def transacted(batch: Batch) -> Receipt:
        receipt = await transact(batch)
        absolved.extend(batch.absolved)
        return receipt

    monkeypatch.setattr(store, "transact", transacted)
    async with runner_on(store, workflow, lease_s=2) as runner, runner_on(peer, work=False):
        handle = await runner.start(workflow, Order(order=1))
        for lapse in range(drives.FATAL_CRASHES + 2):
            await eventually(lambda times=lapse + 1: has_begun(times))  # type: ignore[misc]  # a default binds it
            assert await peer.reap(time.time() + 3600) == 1
            await eventually(is_forgiven)
        release.set()
        assert await handle.result() == Success(A(a=1))
        assert set(begun) == {1}
        assert absolved == [int(handle.id)] * (drives.FATAL_CRASHES + 2)  # each once


@asynchronous
async def test_crashes_are_taken_back_by_the_session_that_lasts(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is lost again before the crash is taken back: it is not forgotten."""
    store, begun = database.store(), asyncio.Event()

    @task
    async def hold(order: Order) -> A:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    workflow = Workflow("held", hold)
    async with runner_on(store, workflow, grace_s=0) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await begun.wait()
        opened, sessions = store.open_session, list[int]()

        async def open_session(name: str, at: float, until: float, *, serves: Mapping[str, str]) -> int:
            sessions.append(await opened(name, at, until, serves=serves))
            if len(sessions) < 3:
                await store.reap(time.time() + 3600)
            return sessions[-1]

        monkeypatch.setattr(store, "open_session", open_session)
        begun.clear()
        await store.reap(time.time() + 3600)
        await begun.wait()
        assert len(sessions) == 3

        async def is_forgiven() -> bool:
            return (await row_of(store, handle.id)).crashes == 0

        await eventually(is_forgiven)


# A file that is lost


@asynchronous
async def test_a_file_that_is_moved_away_and_back(file: Database) -> None:
    """Nobody is told that work is durable while it is not, and nothing that was done is lost."""
    release, ran = asyncio.Event(), list[str]()

    @task
    async def hold(order: Order) -> A:
        ran.append("hold")
        await release.wait()
        return A(a=1)

    held = Workflow("held", hold)
    async with file.runner(held, shop) as runner:
        handle = await runner.start(held, Order(order=1))
        away = file.path.rename(file.path.with_name("away.db"))
        with pytest.raises(StoreUnavailable, match="is gone"):
            await runner.start(shop, Order(order=1))
        release.set()
        with pytest.raises(StoreUnavailable, match="is gone"):
            await handle.status()
        away.rename(file.path)
        assert await handle.result(timeout=10) == Success(A(a=1))
        assert ran == ["hold"]
        assert await runner.run(shop, Order(order=1)) == FIRST


# Room


@asynchronous
async def test_a_run_takes_room_while_any_task_of_it_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for a retry delay, but another of its tasks runs."""
    monkeypatch.setattr(workers, "MOST_RUNS", 1)
    monkeypatch.setattr(workers, "REFILL", 1)
    release, failed = asyncio.Event(), list[int]()

    @task(retry=Retry(attempts=2, delay=600))
    async def flaky(order: Order) -> A:
        failed.append(1)
        raise ConnectionError

    @task
    async def hold(order: Order) -> B:
        await release.wait()
        return B(b=1)

    workflow = Workflow("both", flaky, hold, input=Order)
    async with database.runner(workflow, shop) as runner:
        first = await runner.start(workflow, Order(order=1))

        async def waits() -> bool:
            return len(await first.failures()) == 1

        await eventually(waits)
        second = await runner.start(shop, Order(order=1))
        await asyncio.sleep(0.05)
        assert await second.status() == "pending"
        release.set()
        assert await second.result(timeout=10) == FIRST  # now the first only waits
        assert (await first.why()).kind == "retry"
