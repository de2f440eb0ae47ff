"""Handles and listings: what can be seen of a run while it runs, after its end, and from another runner."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from returns.result import Failure, Success

from cloaca import (
    Retry,
    RunFailure,
    RunHandle,
    RunNotFound,
    TaskInfo,
    UnknownTask,
    UnknownWorkflow,
    Waiting,
    Workflow,
    task,
)
from tests.runner.databases import Database, asynchronous, eventually
from tests.runner.shop import A, B, C, Order, Payment, Shipment, fetch, seed, ship, shop


def statuses(infos: list[TaskInfo]) -> dict[str, str]:
    return {info.name: info.status for info in infos}


# Waiting for the end


@pytest.mark.parametrize("timeout", [0.05, timedelta(milliseconds=50), 0])
@asynchronous
async def test_a_timeout_leaves_the_run_alone(database: Database, timeout: float | timedelta) -> None:
    release = asyncio.Event()

    @task
    async def hold(order: Order) -> A:
        await release.wait()
        return A(a=1)

    workflow = Workflow("held", hold)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        with pytest.raises(TimeoutError):
            await handle.result(timeout=timeout)
        assert await handle.status() == "running"
        release.set()
        assert await handle.result(timeout=20) == Success(A(a=1))
        assert await handle.result(timeout=20) == Success(A(a=1))  # again


@asynchronous
async def test_many_wait_for_one_run(database: Database) -> None:
    async with database.runner(shop) as runner, database.runner(shop, work=False) as other:
        handle = await runner.start(shop, Order(order=1))
        handles = [handle, await runner.get(handle.id), await other.get(handle.id)]
        outcomes = await asyncio.gather(*(each.result() for each in handles * 2))
        assert outcomes == [Success(Shipment(tracking="paid-1-10/sku-1"))] * 6


@asynchronous
async def test_a_cancelled_waiter_leaves_the_run_alone(database: Database) -> None:
    release = asyncio.Event()

    @task
    async def hold(order: Order) -> A:
        await release.wait()
        return A(a=1)

    workflow = Workflow("held", hold)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        waiter = asyncio.create_task(handle.result())
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        release.set()
        assert await handle.result() == Success(A(a=1))


@asynchronous
async def test_a_start_that_nobody_waits_for_any_more_still_runs(database: Database) -> None:
    ran = asyncio.Event()

    @task
    async def run_on(order: Order) -> A:
        ran.set()
        return A(a=1)

    workflow = Workflow("orphan", run_on)
    async with database.runner(workflow) as runner:
        starting = asyncio.create_task(runner.start(workflow, Order(order=1)))
        await asyncio.sleep(0)  # it is on its way to the database
        starting.cancel()
        await asyncio.wait({starting})
        await asyncio.wait_for(ran.wait(), 10)


# What a handle shows


@asynchronous
async def test_a_run_on_its_way(database: Database) -> None:
    release = asyncio.Event()
    begun = asyncio.Event()

    @task
    async def hold(a: A) -> B:
        begun.set()
        await release.wait()
        return B(b=a.a)

    @task
    def end(b: B) -> C:
        return C(c=b.b)

    workflow = Workflow("way", seed >> hold >> end)
    async with database.runner(workflow) as runner, database.runner(workflow, work=False) as other:
        handle = await runner.start(workflow, Order(order=5))
        assert repr(handle) == f"<run {handle.id} of way>"
        assert handle.workflow is workflow
        await begun.wait()
        for view in (handle, await runner.get(handle.id), await other.get(handle.id)):
            assert view.id == handle.id
            assert await view.status() == "running"
            assert await view.context() == {"order": 5, "a": 5}
            assert await view.output_of(seed) == A(a=5)
            assert await view.output_of(hold) is None
            assert await view.output_of("end") is None
            assert await view.failures() == []
        assert statuses(await handle.tasks()) == {"seed": "succeeded", "hold": "running", "end": "pending"}
        [first, second, third] = await handle.tasks()
        assert (first.attempt, second.attempt, third.attempt) == (1, 1, 0)
        assert first.started_at is not None
        assert first.finished_at is not None
        assert first.started_at <= first.finished_at <= datetime.now(UTC)
        assert second.started_at is not None
        assert second.finished_at is None
        assert third.started_at is None
        assert await handle.why() == Waiting("task", "hold")
        # Another process sees an attempt once it has run for a second.
        view = await other.get(handle.id)
        await eventually(lambda: running_elsewhere(view, "hold"))
        assert await view.why() == Waiting("task", "hold")
        release.set()
        assert await handle.result() == Success(C(c=5))
        for view in (handle, await other.get(handle.id)):
            assert await view.status() == "succeeded"
            assert await view.context() == {"order": 5, "a": 5, "b": 5, "c": 5}
            assert await view.output_of("end") == C(c=5)
            assert await view.why() == Waiting("nothing")
            infos = await view.tasks()
            assert statuses(infos) == {"seed": "succeeded", "hold": "succeeded", "end": "succeeded"}
            assert [info.attempt for info in infos] == [1, 1, 1]


async def running_elsewhere(view: object, name: str) -> bool:
    infos: list[TaskInfo] = await view.tasks()  # type: ignore[attr-defined]  # a handle of any workflow
    return statuses(infos)[name] == "running"


@asynchronous
async def test_a_pending_run(database: Database) -> None:
    async with database.runner(shop, work=False) as runner:
        handle = await runner.start(shop, Order(order=5))
        assert await handle.status() == "pending"
        assert await handle.why() == Waiting("worker")
        assert statuses(await handle.tasks()) == {"charge": "ready", "fetch": "ready", "ship": "pending"}
        assert dict(await handle.context()) == {"order": 5}
        with pytest.raises(TimeoutError):
            await handle.result(timeout=0.05)
        async with database.runner(shop):
            assert await handle.result() == Success(Shipment(tracking="paid-5-10/sku-5"))


@asynchronous
async def test_a_run_that_waits_for_a_retry(database: Database) -> None:
    @task(retry=Retry(attempts=2, delay=60))
    async def flaky(order: Order) -> A:
        raise ConnectionError("not yet")

    workflow = Workflow("flaky", flaky)
    async with database.runner(workflow) as runner, database.runner(workflow, work=False) as other:
        handle = await runner.start(workflow, Order(order=5))
        await eventually(lambda: one_failure(handle))
        for view in (handle, await other.get(handle.id)):
            [info] = await view.tasks()
            assert (info.status, info.attempt) == ("waiting", 1)
            waiting = await view.why()
            assert (waiting.kind, waiting.task) == ("retry", "flaky")
            assert waiting.until is not None
            assert timedelta(seconds=50) < waiting.until - datetime.now(UTC) <= timedelta(seconds=60)
            [failure] = await view.failures()
            assert (failure.task, failure.attempt, failure.message) == ("flaky", 1, "not yet")


async def one_failure(view: object) -> bool:
    return len(await view.failures()) == 1  # type: ignore[attr-defined]  # a handle of any workflow


@asynchronous
async def test_a_run_that_waits_for_a_slot(database: Database) -> None:
    release = asyncio.Event()
    begun = asyncio.Event()

    @task
    async def hold(order: Order) -> A:
        begun.set()
        await release.wait()
        return A(a=1)

    hog, late = Workflow("hog", hold), Workflow("late", seed)
    async with database.runner(hog, late, concurrency=1) as runner:
        hogging = await runner.start(hog, Order(order=1))
        await begun.wait()
        handle = await runner.start(late, Order(order=2))
        assert await handle.why() == Waiting("slot", "seed")
        assert statuses(await handle.tasks()) == {"seed": "ready"}
        release.set()
        assert await handle.result() == Success(A(a=2))
        assert await hogging.result() == Success(A(a=1))


@asynchronous
async def test_a_failed_runs_tasks_and_failures(database: Database) -> None:
    async with database.runner(shop) as runner, database.runner(shop, work=False) as other:
        handle = await runner.start(shop, Order(order=-3))
        await handle.result()
        for view in (handle, await other.get(handle.id)):
            infos = {info.name: info for info in await view.tasks()}
            assert (infos["charge"].status, infos["charge"].attempt) == ("failed", 1)
            assert (infos["ship"].status, infos["ship"].skipped_because) == ("skipped", "charge failed")
            assert infos["ship"].attempt == 0
            [failure] = await view.failures()
            assert (failure.task, failure.exception_type) == ("charge", "Failure")
            assert await view.output_of("charge") is None
            assert await view.why() == Waiting("nothing")


@asynchronous
async def test_output_of_a_task_that_is_not_there(database: Database) -> None:
    async with database.runner(shop) as runner:
        handle = await runner.start(shop, Order(order=1))
        with pytest.raises(UnknownTask, match=r'workflow "shop" has no task "pay"; it has .*charge'):
            await handle.output_of("pay")
        with pytest.raises(UnknownTask, match='"other"'):
            await handle.output_of(fetch.named("other"))


@asynchronous
async def test_output_of_is_typed_by_the_task(database: Database) -> None:
    async with database.runner(shop) as runner:
        handle = await runner.start(shop, Order(order=1))
        await handle.result()
        shipment: Shipment | None = await handle.output_of(ship)
        assert shipment == Shipment(tracking="paid-1-10/sku-1")
        assert await handle.output_of("charge") == Payment(payment="paid-1-10")


# Finding runs


@asynchronous
async def test_get_refuses_what_is_no_run(database: Database) -> None:
    async with database.runner(shop) as runner:
        for odd in ("", "abc", "-1", "1.5", "12345", str(2**63), "9" * 5000, "٣"):
            with pytest.raises(RunNotFound, match="run"):
                await runner.get(odd)
        with pytest.raises(RunNotFound):
            await runner.get(None)  # type: ignore[arg-type]  # what a caller without types may do


@asynchronous
async def test_get_without_the_workflow(database: Database) -> None:
    async with database.runner(shop, work=False) as runner, database.runner(work=False) as other:
        handle = await runner.start(shop, Order(order=1))
        with pytest.raises(UnknownWorkflow, match=r'"shop".*known: none.*workflows=\[\.\.\.\]'):
            await other.get(handle.id)


@asynchronous
async def test_start_by_name(database: Database) -> None:
    async with database.runner(shop) as runner:
        handle = await runner.start("shop", Order(order=1))
        assert await handle.result() == Success(Shipment(tracking="paid-1-10/sku-1"))
        assert await runner.run("shop", Order(order=2)) == Success(Shipment(tracking="paid-2-10/sku-2"))
        with pytest.raises(UnknownWorkflow, match=r'"shops".*known: shop'):
            await runner.start("shops", Order(order=1))


@asynchronous
async def test_a_workflow_that_was_not_listed_is_added(database: Database) -> None:
    async with database.runner() as runner:
        assert isinstance(await runner.run(shop, Order(order=1)), Success)
        assert isinstance(await runner.run("shop", Order(order=1)), Success)
        with pytest.raises(ValueError, match='two different workflows are both named "shop"'):
            await runner.start(Workflow("shop", seed), Order(order=1))


@asynchronous
async def test_listing_runs(database: Database) -> None:
    other = Workflow("other", seed)
    async with database.runner(shop, other) as runner, database.runner(work=False) as reader:
        handles: list[RunHandle[Any, Any]] = []
        for order in (1, -1, 2):
            handles.append(await runner.start(shop, Order(order=order)))
        handles.append(await runner.start(other, Order(order=3), key="three"))
        for handle in handles:
            await handle.result()
        newest_first = [handle.id for handle in reversed(handles)]
        assert newest_first == sorted(newest_first, key=int, reverse=True)
        assert [info.id for info in await reader.runs()] == newest_first
        assert [info.id for info in await reader.runs(workflow=shop)] == newest_first[1:]
        assert [info.id for info in await reader.runs(workflow="other")] == newest_first[:1]
        assert [info.id for info in await reader.runs(workflow="no such")] == []
        assert [info.id for info in await reader.runs(status="failed")] == [handles[1].id]
        assert [info.id for info in await reader.runs(workflow=other, status="failed")] == []
        assert [info.id for info in await reader.runs(limit=2)] == newest_first[:2]
        assert [info.id for info in await reader.runs(limit=2, before=newest_first[1])] == newest_first[2:]
        assert await reader.runs(before=newest_first[-1]) == []
        newest, *_, failed, oldest = await reader.runs()
        assert (newest.workflow, newest.status, newest.key, newest.version) == (
            "other",
            "succeeded",
            "three",
            other.version,
        )
        assert newest.started_at is not None
        assert newest.finished_at is not None
        assert newest.created_at <= newest.started_at <= newest.finished_at <= datetime.now(UTC)
        assert (failed.status, failed.reason, oldest.key) == ("failed", None, None)


@asynchronous
async def test_listing_pending_and_running_runs(database: Database) -> None:
    release = threading.Event()
    begun = asyncio.Event()

    @task
    async def hold(order: Order) -> A:
        begun.set()
        await asyncio.to_thread(release.wait)
        return A(a=1)

    workflow = Workflow("held", hold)
    async with database.runner(work=False) as submitter, database.runner(workflow) as runner:
        waiting = await submitter.start(shop, Order(order=1))
        handle = await runner.start(workflow, Order(order=1))
        await begun.wait()
        assert [info.id for info in await runner.runs(status="running")] == [handle.id]
        [pending] = await runner.runs(status="pending")
        assert (pending.id, pending.started_at, pending.finished_at) == (waiting.id, None, None)
        release.set()
        await handle.result()


@pytest.mark.parametrize(("arguments", "text"), [
    ({"status": "done"}, "status='done': choose one of pending, running"),
    ({"limit": -1}, "limit=-1"),
])  # fmt: skip
@asynchronous
async def test_listing_refuses_odd_filters(database: Database, arguments: dict[str, object], text: str) -> None:
    async with database.runner(work=False) as runner:
        with pytest.raises(ValueError, match=text):
            await runner.runs(**arguments)  # type: ignore[arg-type]  # odd on purpose
        with pytest.raises(RunNotFound):
            await runner.runs(before="yesterday")


# Runners that only submit


@asynchronous
async def test_a_runner_that_does_not_work(database: Database) -> None:
    async with database.runner(shop, work=False) as submitter:
        handles = [await submitter.start(shop, Order(order=order)) for order in (1, -2)]
        await asyncio.sleep(0.05)
        assert [info.status for info in await submitter.runs()] == ["pending", "pending"]
        async with database.runner(shop):
            assert await handles[0].result() == Success(Shipment(tracking="paid-1-10/sku-1"))
            match await handles[1].result():
                case Failure(RunFailure(task="charge")):
                    pass
                case other:
                    pytest.fail(f"{other}")


@asynchronous
async def test_a_worker_takes_only_what_it_knows(database: Database) -> None:
    other = Workflow("other", seed)
    async with database.runner(work=False) as submitter, database.runner(other):
        mine = await submitter.start(other, Order(order=1))
        foreign = await submitter.start(shop, Order(order=1))
        assert await mine.result() == Success(A(a=1))
        assert await foreign.status() == "pending"
        async with database.runner(shop):
            assert isinstance(await foreign.result(), Success)


# Pictures


@asynchronous
async def test_a_run_draws_itself_as_it_stands(database: Database) -> None:
    release = asyncio.Event()

    @task
    async def hold(order: Order) -> A:
        await release.wait()
        return A(a=1)

    @task
    def follow(a: A) -> B:
        return B(b=a.a)

    workflow = Workflow("drawn", hold >> follow)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await eventually(lambda: _stands(handle, {"hold": "running", "follow": "pending"}))
        before = await handle.picture()
        assert before.to_text() == workflow.to_text({"hold": "running", "follow": "pending"})
        assert before.to_svg() == workflow.to_svg({"hold": "running", "follow": "pending"}) == before._repr_svg_()
        release.set()
        await handle.result(timeout=20)
        after = await handle.picture()
        done = {"hold": "succeeded", "follow": "succeeded"}
        assert after.to_mermaid() == workflow.to_mermaid(done) != before.to_mermaid()
        assert after.to_dot() == workflow.to_dot(done) != before.to_dot()


async def _stands(handle: RunHandle[Any, Any], wanted: dict[str, str]) -> bool:
    return statuses(await handle.tasks()) == wanted
