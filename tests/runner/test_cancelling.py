"""Cancelling: once it has returned, no new attempt of the run starts, and what became of the old ones is said."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from returns.result import Failure, Success

from cloaca import Retry, RunFailure, RunHandle, RunnerClosed, TaskContext, Workflow, task
from cloaca.executors.threads import MOST_THREADS
from tests.runner.databases import Database, asynchronous, eventually
from tests.runner.shop import A, B, Order, Shipment, seed, shop


async def assert_cancelled(handle: RunHandle[object, object]) -> None:
    assert await handle.status() == "cancelled"
    match await handle.result():
        case Failure(RunFailure(status="cancelled", task=None, error=None) as failed):
            assert failed.run_id == handle.id
        case other:
            pytest.fail(f"{other}")


async def ignored(handle: RunHandle[object, object]) -> list[tuple[str | None, str]]:
    return [(event.task, event.detail) async for event in handle.events() if event.kind == "attempt_ignored"]


@asynchronous
async def test_an_async_body_is_cancelled(database: Database) -> None:
    begun, cleaned = asyncio.Event(), asyncio.Event()
    later: list[str] = []

    @task
    async def forever(order: Order, *, ctx: TaskContext) -> A:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            assert ctx.cancelled
            cleaned.set()
        raise AssertionError

    @task
    async def after(a: A) -> None:
        later.append("after")

    workflow = Workflow("forever", seed.named("first").into("x") >> forever >> after, input=Order)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        waiting = asyncio.create_task(handle.result())
        await begun.wait()
        await handle.cancel()
        await assert_cancelled(handle)
        await asyncio.wait_for(cleaned.wait(), 10)
        assert isinstance(await waiting, Failure)
        assert await ignored(handle) == [("forever", "the attempt was cancelled")]
        assert {info.name: info.status for info in await handle.tasks()} == {
            "first": "succeeded",
            "forever": "cancelled",
            "after": "cancelled",
        }
        assert (await handle.output_of("first")) == A(a=1)  # what is done stays
        await handle.cancel()  # again: nothing happens
        await assert_cancelled(handle)
        assert not later
        assert isinstance(await runner.run(shop, Order(order=1)), Success)


@asynchronous
async def test_a_thread_bodys_result_is_ignored(database: Database) -> None:
    release, begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    seen: list[bool] = []

    @task
    def hang(order: Order, *, ctx: TaskContext) -> A:
        loop.call_soon_threadsafe(begun.set)
        release.wait(20)
        seen.append(ctx.cancelled)
        loop.call_soon_threadsafe(ended.set)
        return A(a=1)

    ended = asyncio.Event()
    workflow = Workflow("hanging", hang)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await begun.wait()
        await handle.cancel()
        await assert_cancelled(handle)
        assert await ignored(handle) == [("hang", "a thread can't be stopped: its result is ignored")]
        release.set()
        await ended.wait()
        assert seen == [True]
        assert isinstance(await runner.run(shop, Order(order=1)), Success)
        await assert_cancelled(handle)
        assert await handle.output_of(hang) is None


@asynchronous
async def test_a_body_that_swallows_its_cancellation(database: Database) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    @task
    async def stubborn(order: Order) -> A:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set()
        return A(a=1)

    workflow = Workflow("stubborn", stubborn)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await begun.wait()
        await handle.cancel()
        await asyncio.wait_for(ended.wait(), 10)
        await assert_cancelled(handle)
        assert await handle.output_of(stubborn) is None
        assert isinstance(await runner.run(shop, Order(order=1)), Success)
        await assert_cancelled(handle)


@asynchronous
async def test_an_async_body_with_a_timeout_is_cancelled(database: Database) -> None:
    begun, cleaned = asyncio.Event(), asyncio.Event()

    @task(timeout=100)
    async def forever(order: Order) -> A:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()
        raise AssertionError

    workflow = Workflow("forever", forever)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await begun.wait()
        await handle.cancel()
        await assert_cancelled(handle)
        await asyncio.wait_for(cleaned.wait(), 10)


@asynchronous
async def test_a_run_that_waits_for_a_retry_is_cancelled(database: Database) -> None:
    attempts: list[int] = []

    @task(retry=Retry(attempts=100, delay=0.01, backoff="fixed"))
    async def flaky(order: Order, *, ctx: TaskContext) -> A:
        attempts.append(ctx.attempt)
        raise ConnectionError("again")

    workflow = Workflow("flaky", flaky)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await eventually(lambda: at_least(attempts, 3))
        await handle.cancel()
        count = len(attempts)
        await assert_cancelled(handle)
        failures = await handle.failures()
        assert [failure.attempt for failure in failures] == list(range(1, len(failures) + 1))
        await asyncio.sleep(0.05)
        assert len(attempts) == count
        match await handle.result():
            case Failure(RunFailure(failures=kept)):
                assert list(kept) == failures
            case other:
                pytest.fail(f"{other}")


async def at_least(numbers: list[int], count: int) -> bool:
    return len(numbers) >= count


@asynchronous
async def test_no_attempt_starts_after_cancel_has_returned(database: Database) -> None:
    """A busy graph, cancelled at a moment of its own: whatever ran had begun before."""
    started = 0

    @task
    async def step(order: Order) -> None:
        nonlocal started
        started += 1
        await asyncio.sleep(0)

    chains = []
    for chain in range(10):
        graph = step.named(f"c{chain}s0")
        for place in range(1, 30):
            graph = graph >> step.named(f"c{chain}s{place}")  # type: ignore[assignment]  # it grows
        chains.append(graph)
    workflow = Workflow("busy", *chains, input=Order)
    async with database.runner(workflow) as runner:
        for moment in (0, 3, 17, 60):
            started = 0
            handle = await runner.start(workflow, Order(order=1))
            for _ in range(moment):
                await asyncio.sleep(0)
            await handle.cancel()
            count = started
            assert await handle.status() == "cancelled"
            await asyncio.sleep(0.02)
            assert started == count


@asynchronous
async def test_bodies_that_wait_for_a_thread_never_begin(database: Database) -> None:
    release, loop, full = threading.Event(), asyncio.get_running_loop(), asyncio.Event()
    begun: list[str] = []

    def body(ctx: TaskContext) -> None:
        begun.append(ctx.task)
        if len(begun) == MOST_THREADS:
            loop.call_soon_threadsafe(full.set)
        release.wait(20)

    @task
    def plain(order: Order, *, ctx: TaskContext) -> None:
        body(ctx)

    @task(timeout=100)
    def limited(order: Order, *, ctx: TaskContext) -> None:
        body(ctx)

    tasks = [kind.named(f"{kind.name}{n}") for n in range(40) for kind in (plain, limited)]
    workflow = Workflow("crowd", *tasks, input=Order)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await full.wait()
        await handle.cancel()
        count = len(begun)
        release.set()
        assert isinstance(await runner.run(shop, Order(order=1)), Success)
        assert len(begun) == count
        await assert_cancelled(handle)


@asynchronous
async def test_a_request_that_its_worker_never_saw_ends_the_run_when_it_leaves(database: Database) -> None:
    begun, other = asyncio.Event(), database.store()

    @task
    async def forever(order: Order) -> A:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    workflow = Workflow("forever", forever)
    await other.open()
    async with database.runner(workflow, grace_s=0) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await begun.wait()
        await asyncio.sleep(0.05)
        asked_at = time.time()
        await other.cancel(int(handle.id), asked_at)
    row = await other.run(int(handle.id))
    await other.close()
    assert row is not None
    assert row.status == "cancelled"
    assert row.finished_at is not None
    assert row.finished_at >= asked_at


@asynchronous
async def test_a_pending_run_is_cancelled(database: Database) -> None:
    async with database.runner(shop, work=False) as submitter:
        handle = await submitter.start(shop, Order(order=1))
        await handle.cancel()
        await assert_cancelled(handle)
        assert {info.status for info in await handle.tasks()} == {"cancelled"}
        async with database.runner(shop) as runner:
            await assert_cancelled(await runner.get(handle.id))


@asynchronous
async def test_a_finished_run_stays_as_it_is(database: Database) -> None:
    async with database.runner(shop) as runner, database.runner(shop, work=False) as other:
        for order, status in ((1, "succeeded"), (-1, "failed")):
            handle = await runner.start(shop, Order(order=order))
            await handle.result()
            await handle.cancel()
            await (await other.get(handle.id)).cancel()
            assert await handle.status() == status


@asynchronous
async def test_a_run_of_another_runner_is_cancelled(database: Database) -> None:
    begun, cleaned = asyncio.Event(), asyncio.Event()
    started: list[str] = []

    @task
    async def forever(order: Order) -> A:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()
        raise AssertionError

    @task(retry=Retry(attempts=1000, delay=0.001, backoff="fixed"))
    async def again(order: Order) -> B:
        started.append("again")
        raise ConnectionError

    workflow = Workflow("forever", forever, again, input=Order)
    async with database.runner(workflow) as runner, database.runner(workflow, work=False) as other:
        handle = await runner.start(workflow, Order(order=1))
        await begun.wait()
        theirs = await other.get(handle.id)
        await theirs.cancel()
        count = len(started)
        assert await theirs.status() == "cancelled"
        await asyncio.wait_for(cleaned.wait(), 10)
        await assert_cancelled(handle)
        await assert_cancelled(theirs)
        await asyncio.sleep(0.02)
        assert len(started) == count
        assert ("forever", "the attempt was cancelled") in await ignored(theirs)


@asynchronous
async def test_a_run_that_changes_hands_while_it_is_cancelled(database: Database) -> None:
    """The request is in the database; its worker leaves before it has seen it."""
    begun = asyncio.Event()
    lives: list[int] = []

    @task
    async def forever(order: Order) -> A:
        lives.append(1)
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    workflow = Workflow("forever", forever)
    async with database.runner(workflow, work=False) as other:
        async with database.runner(workflow, grace_s=0) as runner:
            handle = await runner.start(workflow, Order(order=1))
            await begun.wait()
            theirs = await other.get(handle.id)
            cancelling = asyncio.create_task(theirs.cancel())
            await asyncio.sleep(0)
        await cancelling
        await assert_cancelled(theirs)
        [info] = await other.runs()
        assert info.finished_at is not None
        assert info.started_at is not None
        assert info.finished_at >= info.started_at >= info.created_at
        async with database.runner(workflow) as runner:
            await assert_cancelled(await runner.get(handle.id))
        assert lives == [1]


@asynchronous
async def test_cancelling_from_inside_the_run(database: Database) -> None:
    handles: list[RunHandle[object, object]] = []
    given = asyncio.Event()

    @task
    async def suicidal(order: Order) -> A:
        await given.wait()
        await handles[0].cancel()
        raise AssertionError("cancelled before")

    workflow = Workflow("suicidal", suicidal)
    async with database.runner(workflow) as runner:
        handles.append(await runner.start(workflow, Order(order=1)))
        given.set()
        assert isinstance(await handles[0].result(), Failure)
        await assert_cancelled(handles[0])


@asynchronous
async def test_cancelling_with_the_runner_closed(database: Database) -> None:
    async with database.runner(shop) as runner:
        handle = await runner.start(shop, Order(order=1))
        await handle.result()
    with pytest.raises(RunnerClosed):
        await handle.cancel()


@asynchronous
async def test_many_cancel_at_once(database: Database) -> None:
    begun = asyncio.Event()

    @task
    async def forever(order: Order) -> A:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    workflow = Workflow("forever", forever)
    async with database.runner(workflow) as runner, database.runner(workflow, work=False) as other:
        handle = await runner.start(workflow, Order(order=1))
        await begun.wait()
        theirs = await other.get(handle.id)
        await asyncio.gather(*(each.cancel() for each in [handle, theirs] * 3))
        await assert_cancelled(handle)
        assert len(await ignored(handle)) == 1


@asynchronous
async def test_a_cancelled_key_is_taken(database: Database) -> None:
    async with database.runner(shop, work=False) as runner:
        handle = await runner.start(shop, Order(order=1), key="one")
        await handle.cancel()
        again = await runner.start(shop, Order(order=1), key="one")
        assert again.id == handle.id
        await assert_cancelled(again)
        other = await runner.start(shop, Order(order=1), key="two")
        async with database.runner(shop):
            assert await other.result() == Success(Shipment(tracking="paid-1-10/sku-1"))
