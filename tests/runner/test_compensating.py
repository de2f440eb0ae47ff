"""Compensations and callbacks: what succeeded is undone when a run fails or is cancelled, and then a task is called."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from pydantic import BaseModel
from returns.result import Failure, Result, Success

from cloaca import NotRetryable, Retry, RunFailure, TaskContext, UnknownTask, Workflow, task
from cloaca.interpreter import drives
from cloaca.ports import GIVEN_UP, SUSPECT_CRASHES
from tests.runner.controlled import database, kinds, postgres, until_status
from tests.runner.databases import Database, asynchronous, eventually
from tests.runner.shop import A, B, C, D, Order
from tests.stores.rows import AT

__all__ = ["database", "postgres"]


class Undone(BaseModel):
    undone: str


class Declined(BaseModel):
    reason: str


class OrderA(BaseModel):
    order: int
    a: int


class Maybe(BaseModel):
    order: int
    b: int = -1


class Play:
    """Three steps in a row, each with a compensation, and callbacks. ``fails`` and ``holds`` name bodies."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.keys: dict[str, list[str]] = {}
        self.fails: set[str] = set()
        self.holds: set[str] = set()
        self.failures: list[RunFailure[Any]] = []
        self.seen: list[BaseModel] = []

    async def act(self, ctx: TaskContext) -> None:
        self.log.append(ctx.task)
        self.keys.setdefault(ctx.task, []).append(ctx.idempotency_key)
        while ctx.task in self.holds:
            await asyncio.sleep(0.002)
        if ctx.task in self.fails:
            raise ConnectionError(f"{ctx.task} fails")

    async def begun(self, name: str) -> None:
        async def has_begun() -> bool:
            return name in self.log

        await eventually(has_begun)

    def workflow(self, **callbacks: str) -> Workflow[Any, Any, Any, Any]:
        @task
        async def one(order: Order, *, ctx: TaskContext) -> A:
            await self.act(ctx)
            return A(a=order.order + 1)

        @task
        async def two(a: A, *, ctx: TaskContext) -> B:
            await self.act(ctx)
            return B(b=a.a + 1)

        @task
        async def three(b: B, *, ctx: TaskContext) -> Result[C, Declined]:
            await self.act(ctx)
            return Success(C(c=b.b + 1)) if "three!" not in self.fails else Failure(Declined(reason="no"))

        @task
        async def undo_one(seen: OrderA, *, ctx: TaskContext) -> Undone:
            self.seen.append(seen)
            await self.act(ctx)
            return Undone(undone=ctx.task)

        @task(retry=Retry(attempts=2, delay=0))
        async def undo_two(seen: B, *, failure: RunFailure[Any], ctx: TaskContext) -> None:
            self.failures.append(failure)
            await self.act(ctx)

        @task
        async def call(seen: Maybe, *, ctx: TaskContext) -> None:
            self.seen.append(seen)
            await self.act(ctx)

        @task
        async def tell(seen: Maybe, *, failure: RunFailure, ctx: TaskContext) -> None:
            self.failures.append(failure)
            await self.act(ctx)

        graph = one.compensate(undo_one) >> two.compensate(undo_two) >> three
        known: Any = {"call": call, "tell": tell}
        return Workflow("play", graph, **{name: known[given] for name, given in callbacks.items()})


def statuses(infos: Any) -> dict[str, str]:
    return {info.name: info.status for info in infos}


@asynchronous
async def test_what_succeeded_is_undone_the_last_first(database: Database) -> None:
    play = Play()
    play.fails = {"three!"}
    workflow = play.workflow(on_failure="tell", on_cancel="tell", on_success="call")
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        failed = (await handle.result()).failure()
        assert play.log == ["one", "two", "three", "undo_two", "undo_one", "tell"]
        assert (failed.status, failed.task, failed.error) == ("failed", "three", Declined(reason="no"))
        assert play.seen == [OrderA(order=1, a=2)]
        for told in play.failures:
            assert (told.run_id, told.status, told.task, told.error) == (
                handle.id, "failed", "three", Declined(reason="no"),
            )  # fmt: skip
        infos = await handle.tasks()
        assert statuses(infos) == {
            "one": "succeeded", "two": "succeeded", "three": "failed",
            "undo_one": "succeeded", "undo_two": "succeeded", "tell": "succeeded", "call": "skipped",
        }  # fmt: skip
        assert {info.name: info.skipped_because for info in infos if info.skipped_because} == {"call": "the run failed"}
        assert await handle.output_of("undo_one") == Undone(undone="undo_one")
        assert await handle.context() == {"order": 1, "a": 2, "b": 3}  # nothing of what undoes
        told_kinds = await kinds(handle)
        assert told_kinds.index("outcome_reached") < told_kinds.index("run_failed") == len(told_kinds) - 1
        assert [event.detail async for event in handle.events() if event.kind == "outcome_reached"] == ["failed"]


@asynchronous
async def test_a_run_that_succeeds_undoes_nothing(database: Database) -> None:
    play = Play()
    workflow = play.workflow(on_failure="tell", on_success="call")
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        assert await handle.result() == Success(C(c=4))
        assert play.log == ["one", "two", "three", "call"]
        assert play.seen == [Maybe(order=1, b=3)]
        infos = {info.name: info for info in await handle.tasks()}
        assert infos["undo_one"].skipped_because == infos["tell"].skipped_because == "the run succeeded"
        assert "task_skipped" not in await kinds(handle)


@asynchronous
async def test_only_what_succeeded_is_undone(database: Database) -> None:
    play = Play()
    play.fails = {"two"}
    workflow = play.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        assert (await handle.result()).failure().task == "two"
        assert play.log == ["one", "two", "undo_one"]
        infos = {info.name: info for info in await handle.tasks()}
        assert infos["undo_two"].skipped_because == "two did not succeed"


@asynchronous
async def test_a_compensation_that_fails_does_not_stop_the_others(database: Database) -> None:
    play = Play()
    play.fails = {"three", "undo_two", "tell"}
    workflow = play.workflow(on_failure="tell")
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        failed = (await handle.result()).failure()
        assert play.log == ["one", "two", "three", "undo_two", "undo_two", "undo_one", "tell"]
        assert failed.task == "three"
        assert [failure.task for failure in failed.failures] == ["three", "undo_two", "undo_two", "tell"]
        assert statuses(await handle.tasks())["undo_two"] == "failed"
        assert (await kinds(handle)).count("task_failed") == 3


@asynchronous
async def test_a_callback_that_fails_leaves_the_outcome_alone(database: Database) -> None:
    play = Play()
    play.fails = {"call"}
    workflow = play.workflow(on_success="call")
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        assert await handle.result() == Success(C(c=4))
        assert [failure.task for failure in await handle.failures()] == ["call"]


@asynchronous
async def test_a_cancelled_run_is_undone_and_its_result_waits(database: Database) -> None:
    play = Play()
    play.holds = {"three", "undo_two"}
    workflow = play.workflow(on_cancel="tell")
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await play.begun("three")
        await handle.cancel()
        await play.begun("undo_two")
        assert await handle.status() == "running"
        assert statuses(await handle.tasks()) == {
            "one": "succeeded", "two": "succeeded", "three": "cancelled",
            "undo_one": "pending", "undo_two": "running", "tell": "pending",
        }  # fmt: skip
        assert (await handle.why()).task == "undo_two"
        await handle.cancel()  # that changes nothing any more
        play.holds.clear()
        failed = (await handle.result()).failure()
        assert (failed.status, failed.task) == ("cancelled", None)
        assert play.log == ["one", "two", "three", "undo_two", "undo_one", "tell"]
        assert [told.status for told in play.failures] == ["cancelled"] * 2


@asynchronous
async def test_a_run_that_nobody_drives_is_cancelled_by_whoever_comes(database: Database) -> None:
    play = Play()
    play.holds = {"three"}
    workflow = play.workflow(on_cancel="tell")
    async with database.runner(workflow, grace_s=0) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await play.begun("three")
    async with database.runner(workflow, work=False) as runner:
        handle = await runner.get(handle.id)
        await handle.cancel()
        assert await handle.status() == "pending"
        assert play.log == ["one", "two", "three"]
    async with database.runner(workflow) as runner:
        handle = await runner.get(handle.id)
        assert (await handle.result()).failure().status == "cancelled"
        assert play.log == ["one", "two", "three", "undo_two", "undo_one", "tell"]
        assert "run_cancelled" in await kinds(handle)


@asynchronous
async def test_a_run_is_cancelled_from_another_process(database: Database) -> None:
    play = Play()
    play.holds = {"three"}
    workflow = play.workflow()
    async with database.runner(workflow) as runner, database.runner(workflow, work=False) as other:
        handle = await runner.start(workflow, Order(order=1))
        await play.begun("three")
        await (await other.get(handle.id)).cancel()
        assert (await handle.result()).failure().status == "cancelled"
        assert play.log == ["one", "two", "three", "undo_two", "undo_one"]


@asynchronous
async def test_it_pauses_and_goes_on_in_the_middle(database: Database) -> None:
    play = Play()
    play.fails, play.holds = {"three"}, {"undo_two"}
    workflow = play.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await play.begun("undo_two")
        await handle.pause()
        play.holds.clear()
        await until_status(handle, "paused")
        assert play.log[-1] == "undo_two"
        await handle.cancel()  # its outcome is known: it stays paused, and fails
        assert await handle.status() == "paused"
        await handle.resume()
        assert (await handle.result()).failure().status == "failed"
        assert play.log == ["one", "two", "three", "undo_two", "undo_one"]


@asynchronous
async def test_a_paused_run_is_cancelled_and_undone(database: Database) -> None:
    play = Play()
    play.holds = {"two"}
    workflow = play.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await play.begun("two")
        await handle.pause()
        play.holds.clear()
        await until_status(handle, "paused")
        await handle.cancel()
        assert (await handle.result()).failure().status == "cancelled"
        assert play.log == ["one", "two", "undo_two", "undo_one"]


@asynchronous
async def test_another_worker_goes_on_where_the_first_left_off(database: Database) -> None:
    play = Play()
    play.fails, play.holds = {"three"}, {"undo_one"}
    workflow = play.workflow(on_failure="tell")
    async with database.runner(workflow, grace_s=0) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await play.begun("undo_one")
    play.holds.clear()
    async with database.runner(workflow) as runner:
        assert (await (await runner.get(handle.id)).result()).failure().task == "three"
        assert play.log == ["one", "two", "three", "undo_two", "undo_one", "undo_one", "tell"]
        assert len(set(play.keys["undo_one"])) == 1
        assert play.failures[-1].task == "three"


@asynchronous
async def test_what_was_undone_is_done_again_by_a_retry(database: Database) -> None:
    play = Play()
    play.fails = {"three"}
    workflow = play.workflow(on_failure="tell", on_success="call")
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await handle.result()
        await handle.retry()
        assert (await handle.result()).failure().task == "three"
        play.fails.clear()
        await handle.retry()
        assert await handle.result() == Success(C(c=4))
        undoing = ["one", "two", "three", "undo_two", "undo_one", "tell"]
        assert play.log == [*undoing, *undoing, "one", "two", "three", "call"]
        for name in ("one", "two", "undo_one", "undo_two"):  # what a peer has seen undone is not the same any more
            assert len(set(play.keys[name])) == len(play.keys[name])
        assert len(set(play.keys["three"])) == 1
        assert statuses(await handle.tasks())["undo_one"] == "skipped"
        with pytest.raises(NotRetryable):
            await handle.retry()


@asynchronous
async def test_a_retry_keeps_what_was_not_undone(database: Database) -> None:
    play = Play()
    play.fails = {"two"}
    workflow = play.workflow()
    kept: list[int] = []

    @task
    async def zero(order: Order) -> D:
        kept.append(order.order)
        return D(d=0)

    whole = Workflow("whole", zero >> workflow.graph, input=Order)
    async with database.runner(whole) as runner:
        handle = await runner.start(whole, Order(order=1))
        await handle.result()
        play.fails.clear()
        await handle.retry()
        assert await handle.result() == Success(C(c=4))
        assert kept == [1]
        assert play.log == ["one", "two", "undo_one", "one", "two", "three"]


@asynchronous
async def test_a_fork_reuses_nothing_that_was_undone(database: Database) -> None:
    play = Play()
    play.fails = {"three"}
    workflow = play.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await handle.result()
        play.fails.clear()
        fork = await handle.fork(before="three")
        assert await fork.result() == Success(C(c=4))
        assert play.log == ["one", "two", "three", "undo_two", "undo_one", "one", "two", "three"]
        with pytest.raises(UnknownTask):
            await handle.fork(before="undo_one")


@asynchronous
async def test_a_fork_does_not_undo_what_it_has_taken_over(database: Database) -> None:
    play = Play()
    workflow = play.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await handle.result()
        play.fails = {"three"}
        fork = await handle.fork(before="two")
        assert (await fork.result()).failure().task == "three"
        assert play.log == ["one", "two", "three", "two", "three", "undo_two"]
        infos = {info.name: info for info in await fork.tasks()}
        assert infos["undo_one"].skipped_because == "one was done by another run"


@asynchronous
async def test_a_run_that_kills_its_workers_is_undone_and_then_given_up(database: Database) -> None:
    play = Play()
    play.holds = {"three"}
    workflow = play.workflow(on_failure="tell")

    async def has_begun_again() -> bool:
        return play.log.count("undo_two") == 2

    async def crash(times: int) -> None:
        """Let workers take the run and die."""
        store = database.store()
        await store.open()
        for _ in range(times):
            session = await store.open_session("host:1", AT, AT)
            row = (await store.runs(workflow=None, status=None, before=None, limit=1))[0]
            suspects = row.crashes >= SUSPECT_CRASHES
            assert await store.claim(session, ["play"], 1, time.time(), suspects=suspects)
            assert await store.reap(AT + 1) == 1
        if database.memory is None:
            await store.close()

    async with database.runner(workflow, grace_s=0) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await play.begun("three")
    await crash(drives.FATAL_CRASHES)
    play.holds = {"undo_two"}
    async with database.runner(workflow, grace_s=0):
        await play.begun("undo_two")
    assert play.log == ["one", "two", "three", "undo_two"]
    await crash(drives.FATAL_CRASHES - 1)
    async with database.runner(workflow, grace_s=0):
        await eventually(has_begun_again)
    await crash(1)
    play.log.clear()
    async with database.runner(workflow) as runner:
        handle = await runner.get(handle.id)
        failed = (await handle.result()).failure()
        assert failed.failures[-1].exception_type == "WorkerLost"
        assert play.log == []
        assert "epilogue_abandoned" in await kinds(handle)
        assert statuses(await handle.tasks())["undo_one"] == "cancelled"


@asynchronous
async def test_a_blocked_run_is_given_up_at_the_second_word(database: Database) -> None:
    play = Play()
    play.holds = {"three"}
    workflow = play.workflow()
    async with database.runner(workflow, grace_s=0) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await play.begun("three")

    @task
    async def other(order: Order) -> A:
        return A(a=1)

    async with database.runner(Workflow("play", other)) as runner:
        handle = await runner.get(handle.id)
        await until_status(handle, "blocked")
        await handle.cancel()
        await until_status(handle, "blocked")
        assert await handle.status() == "blocked"
        await handle.cancel()
        assert await handle.status() == "cancelled"
        assert (await runner.runs())[0].reason == GIVEN_UP


@asynchronous
async def test_bodies_that_nobody_may_stop_are_not_undone(database: Database) -> None:
    """Also under a workflow whose epilogue is decided at once: every task is skipped, and a callback due."""
    called: list[str] = []

    @task
    async def never(order: Order) -> A:
        raise AssertionError

    @task
    async def call(order: Order) -> None:
        called.append("called")

    workflow = Workflow("nothing", never.on("any_failed"), on_success=call)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, Order(order=1)) == Success(None)
        assert called == ["called"]
