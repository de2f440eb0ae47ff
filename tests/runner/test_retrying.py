"""Retrying: the same run goes on from what failed, and what had succeeded stays."""

from __future__ import annotations

import asyncio
import threading

import pytest
from returns.result import Failure, Success

from cloaca import IncompatibleRun, NotRetryable, Retry, TaskContext, Workflow, task
from cloaca.errors import RunNotFound
from cloaca.interpreter.histories import restored
from cloaca.runner import controls
from tests.runner.controlled import Stage, database, kinds, postgres, told, until_status
from tests.runner.databases import Database, asynchronous
from tests.runner.shop import A, B, C, D, Order, seed

__all__ = ["database", "postgres"]


@asynchronous
async def test_what_failed_starts_anew_and_what_succeeded_stays(database: Database) -> None:
    stage = Stage()
    stage.fails = {"left"}
    workflow = stage.workflow(retry=Retry(attempts=2, delay=0.01))
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        other = await runner.get(handle.id)
        failed = await handle.result()
        assert isinstance(failed, Failure)
        assert isinstance(await other.result(), Failure)
        await handle.retry()
        again = await handle.result()
        assert isinstance(again, Failure)
        assert [failure.attempt for failure in again.failure().failures] == [1, 2, 3, 4]  # the policy begins anew
        stage.fails.clear()
        await handle.retry()
        assert await handle.result() == Success(D(d=102))
        assert await other.result() == Success(D(d=102))  # a handle that had seen the old end waits for the new one
        assert stage.log == [
            ("first", 1), ("left", 1), ("right", 1), ("left", 2), ("left", 3), ("left", 4), ("left", 5), ("last", 1),
        ]  # fmt: skip
        assert stage.keys == {f"{handle.id}:{name}" for name in ("first", "left", "right", "last")}
        assert [failure.attempt for failure in await handle.failures()] == [1, 2, 3, 4]
        assert {info.name: (info.status, info.attempt) for info in await handle.tasks()} == {
            "first": ("succeeded", 1), "left": ("succeeded", 5), "right": ("succeeded", 1), "last": ("succeeded", 1),
        }  # fmt: skip
        assert [event for event in await told(handle) if event[1] in ("left", None)] == [
            ("run_started", None, None),
            ("task_started", "left", 1), ("attempt_failed", "left", 1),
            ("task_started", "left", 2), ("task_failed", "left", 2),
            ("run_retried", None, None),
            ("task_started", "left", 3), ("attempt_failed", "left", 3),
            ("task_started", "left", 4), ("task_failed", "left", 4),
            ("run_retried", None, None),
            ("task_started", "left", 5), ("task_succeeded", "left", 5),
            ("run_succeeded", None, None),
        ]  # fmt: skip
        details = [event.detail async for event in handle.events() if event.kind == "run_retried"]
        assert details == ["was failed; again: left, last"] * 2


@asynchronous
async def test_a_cancelled_run_goes_on(database: Database) -> None:
    stage = Stage()
    stage.holds = {"left"}
    workflow = stage.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await stage.begun("left")
        await stage.begun("right")
        await asyncio.sleep(0.05)
        await handle.cancel()
        stage.holds.clear()
        await handle.retry()
        assert await handle.result() == Success(D(d=102))
        assert [stage.count(name) for name in ("first", "left", "right", "last")] == [1, 2, 1, 1]


@asynchronous
async def test_the_attempts_before_a_cancellation_do_not_count(database: Database) -> None:
    stage = Stage()
    stage.fails = {"left"}
    workflow = stage.workflow(retry=Retry(attempts=3, delay=0.2, backoff="fixed"))
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await stage.begun("left", 2)
        await asyncio.sleep(0.05)
        await handle.cancel()
        await handle.retry()
        assert isinstance(await handle.result(), Failure)
        assert [entry for entry in stage.log if entry[0] == "left"] == [("left", n) for n in range(1, 6)]
        assert [failure.attempt for failure in await handle.failures()] == [1, 2, 3, 4, 5]
        finals = [(kind, attempt) for kind, name, attempt in await told(handle) if name == "left" and "failed" in kind]
        assert finals == [(f"{'task' if n == 5 else 'attempt'}_failed", n) for n in range(1, 6)]


@asynchronous
async def test_what_ran_because_of_a_failure_runs_again(database: Database) -> None:
    stage = Stage()
    stage.fails = {"left"}
    workflow = stage.workflow(behind=True)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        assert isinstance(await handle.result(), Failure)
        assert stage.count("tidy") == 1
        stage.fails.clear()
        await handle.retry()
        assert await handle.result() == Success(A(a=1))
        assert [stage.log.count(("tidy", attempt)) for attempt in (1, 2)] == [1, 1]
        assert [stage.count(name) for name in ("first", "right")] == [1, 1]


@asynchronous
async def test_another_process_picks_a_retried_run_up(database: Database) -> None:
    stage = Stage()
    stage.fails = {"left"}
    workflow = stage.workflow()
    async with database.runner(workflow) as runner, database.runner(workflow, work=False) as other:
        handle = await runner.start(workflow, Order(order=1))
        assert isinstance(await handle.result(), Failure)
        stage.fails.clear()
        remote = await other.get(handle.id)
        await remote.retry()
        assert await remote.result(timeout=10) == Success(D(d=102))
        assert await handle.result() == Success(D(d=102))


@asynchronous
async def test_only_what_has_not_gone_well_is_retried(database: Database) -> None:
    stage = Stage()
    workflow = stage.workflow()
    async with database.runner(workflow) as runner:
        done = await runner.start(workflow, Order(order=1))
        await done.result()
        with pytest.raises(NotRetryable, match=f"run {done.id} has succeeded.*fork it"):
            await done.retry()
        stage.holds = {"left"}
        going = await runner.start(workflow, Order(order=2))
        await going.retry()  # it goes on already
        await stage.begun("left", 2)
        await going.pause()
        stage.holds.clear()
        await until_status(going, "paused")
        with pytest.raises(NotRetryable, match=r"is paused.*resume it"):
            await going.retry()
        await going.resume()
        assert await going.result() == Success(D(d=203))
        with pytest.raises(RunNotFound):
            await controls.retry(runner._engine, 7, workflow.plan)


@asynchronous
async def test_retrying_at_once_from_many_places_is_one_retry(database: Database) -> None:
    stage = Stage()
    stage.fails = {"left"}
    workflow = stage.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await handle.result()
        stage.fails.clear()
        stage.holds = {"left"}
        await asyncio.gather(*(handle.retry() for _ in range(5)))
        stage.holds.clear()
        assert await handle.result() == Success(D(d=102))
        assert (await kinds(handle)).count("run_retried") == 1
        assert stage.count("left") == 2


@asynchronous
async def test_a_run_that_was_given_up_is_tried_again(database: Database) -> None:
    stage = Stage()
    workflow = stage.workflow()
    async with database.runner(workflow, work=False) as submitting:
        handle = await submitting.start(workflow, Order(order=1))
        store = submitting._engine.store
        for _ in range(5):
            at = submitting._engine.clock.now()
            session = await store.open_session("host:2", at, at - 5)
            for suspects in (False, True):
                await store.claim(session, ["stage"], 1, at, suspects=suspects)
            await store.reap(at)
        row = await store.run(int(handle.id))
        assert row is not None
        assert (row.status, row.crashes) == ("pending", 5)
    async with database.runner(workflow) as runner:
        same = await runner.get(handle.id)
        failed = await same.result()
        assert isinstance(failed, Failure)
        assert "5 workers died" in failed.failure().failures[-1].message
        assert stage.log == []
        await same.retry()
        assert await same.result() == Success(D(d=102))
        assert (await same._engine.history(int(same.id))).run.crashes == 0


@asynchronous
async def test_a_blocked_run_is_looked_at_again(database: Database) -> None:
    begun = asyncio.Event()

    @task
    async def hold(a: A) -> B:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    @task
    async def other(a: A) -> B:
        return B(b=a.a)

    @task
    async def finish(b: B) -> C:
        return C(c=b.b)

    longer = Workflow("changing", seed >> hold >> finish)
    async with database.runner(longer, grace_s=0) as runner:
        handle = await runner.start(longer, Order(order=5))
        await begun.wait()
    shorter = Workflow("changing", other.named("afresh").reading(a="order") >> finish, input=Order)
    async with database.runner(shorter) as runner:
        same = await runner.get(handle.id)
        await until_status(same, "blocked")
        await same.retry()
        await until_status(same, "blocked")  # it still does not fit
        history = await same._engine.history(int(same.id))
        assert [note.kind for note in history.notes] == ["run_retried"]
        await same.pause()
        assert await same.status() == "paused"
        with pytest.raises(IncompatibleRun):
            await same.fork(before="afresh")
        await same.cancel()
        with pytest.raises(IncompatibleRun):
            await same.retry()


@asynchronous
async def test_a_failure_names_the_task_that_has_failed_now(database: Database) -> None:
    stage = Stage()
    stage.fails = {"left"}
    workflow = stage.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        first = await handle.result()
        stage.fails = {"last"}
        await handle.retry()
        second = await handle.result()
        assert [outcome.failure().task for outcome in (first, second)] == ["left", "last"]
        assert [failure.task for failure in second.failure().failures] == ["left", "last"]
        stage.fails.clear()
        await handle.retry()
        assert await handle.result() == Success(D(d=102))
        assert [stage.count(name) for name in ("first", "left", "right", "last")] == [1, 2, 1, 2]
        state = restored(workflow.plan, await handle._engine.history(int(handle.id)))
        assert state.unfinished == 0
        assert state.failed == []


@asynchronous
async def test_a_late_result_of_a_thread_is_ignored(database: Database) -> None:
    release, seen = threading.Event(), []

    @task
    def slow(order: Order, *, ctx: TaskContext) -> A:
        seen.append(ctx)
        if len(seen) == 1:
            release.wait(20)
            return A(a=-1)
        return A(a=order.order)

    @task
    async def last(a: A) -> B:
        return B(b=a.a)

    workflow = Workflow("late", slow >> last)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        while not seen:
            await asyncio.sleep(0.005)
        await handle.cancel()
        await handle.retry()
        assert await handle.result() == Success(B(b=1))
        assert seen[0].cancelled
        release.set()
        await asyncio.sleep(0.1)
        assert await handle.result() == Success(B(b=1))
        assert await handle.output_of(slow) == A(a=1)


@asynchronous
async def test_a_condition_that_raised_is_asked_again(database: Database) -> None:
    broken = [True]

    def is_large(order: Order) -> bool:
        if broken[0]:
            raise ConnectionError("no connection")
        return order.order > 3

    @task
    async def only(order: Order) -> A:
        return A(a=order.order)

    workflow = Workflow("asking", only.when(is_large))
    async with database.runner(workflow) as runner:
        handles = [await runner.start(workflow, Order(order=n)) for n in (1, 5)]
        assert [type(await handle.result()) for handle in handles] == [Failure, Failure]
        broken[0] = False
        for handle in handles:
            await handle.retry()
        assert [await handle.result() for handle in handles] == [Success(None), Success(A(a=5))]
        assert [kind for kind, _, _ in await told(handles[1])].count("task_failed") == 1
