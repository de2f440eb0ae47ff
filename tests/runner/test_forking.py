"""Forking: a new run that reuses what another has committed, but for one task and what is behind it."""

from __future__ import annotations

import asyncio

import pytest
from returns.result import Failure, Success

from cloaca import Retry, RunNotFound, UnknownTask, Workflow, task
from cloaca.ports import PlanRow
from cloaca.runner import controls
from tests.runner.controlled import Handle, Stage, database, postgres, told
from tests.runner.databases import Database, asynchronous
from tests.runner.shop import A, B, C, D, Order, seed

__all__ = ["database", "postgres"]


async def notes(handle: Handle) -> list[tuple[str, str]]:
    history = await handle._engine.history(int(handle.id))
    return [(note.kind, note.detail) for note in history.notes]


@asynchronous
async def test_what_is_not_behind_the_task_is_reused(database: Database) -> None:
    stage = Stage()
    workflow = stage.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1), key="one")
        assert await handle.result() == Success(D(d=102))
        before = await handle._engine.history(int(handle.id))
        other = await handle.fork(before="left")
        assert other.id != handle.id
        assert await other.result() == Success(D(d=102))
        assert [stage.count(name) for name in ("first", "left", "right", "last")] == [1, 2, 1, 2]
        assert await handle._engine.history(int(handle.id)) == before
        assert await notes(other) == [("run_forked", f"from run {handle.id}, before left")]
        events = await told(other)
        assert events[0] == ("run_started", None, None)
        assert ("run_forked", None, None) in events
        assert events[-1] == ("run_succeeded", None, None)
        assert [info.key for info in await runner.runs()] == [None, "one"]
        assert stage.keys >= {f"{other.id}:left", f"{other.id}:last"}
        again = await other.fork(before="last")  # a fork of a fork
        assert await again.result() == Success(D(d=102))
        assert [stage.count(name) for name in ("first", "left", "right", "last")] == [1, 2, 1, 3]


@asynchronous
async def test_a_fork_by_the_task_itself_with_mended_code(database: Database) -> None:
    @task
    async def middle(a: A) -> B:
        return B(b=-a.a)

    @task
    async def finish(b: B) -> C:
        return C(c=b.b)

    async with database.runner(Workflow("mended", seed >> middle >> finish)) as runner:
        handle = await runner.start("mended", Order(order=3))
        assert await handle.result() == Success(C(c=-3))

    @task(name="middle")
    async def mended(a: A) -> B:
        return B(b=a.a)

    workflow = Workflow("mended", seed >> mended >> finish)
    async with database.runner(workflow) as runner:
        other = await (await runner.get(handle.id)).fork(before=mended)
        assert await other.result() == Success(C(c=3))
        assert (await other.tasks())[0].status == "succeeded"


@asynchronous
async def test_a_run_that_goes_on_can_be_forked(database: Database) -> None:
    stage = Stage()
    stage.holds = {"left"}
    workflow = stage.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await stage.begun("left")
        await stage.begun("right")
        await asyncio.sleep(0.1)
        stage.holds.clear()
        other = await handle.fork(before="right")
        assert [await each.result() for each in (handle, other)] == [Success(D(d=102))] * 2
        assert stage.count("first") == 1
        assert stage.count("right") == 2


@asynchronous
async def test_what_failed_runs_again_in_a_fork(database: Database) -> None:
    stage = Stage()
    stage.fails = {"left"}
    workflow = stage.workflow(retry=Retry(attempts=2, delay=0.01), behind=True)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        assert isinstance(await handle.result(), Failure)
        stage.fails.clear()
        other = await handle.fork(before="right")
        assert await other.result() == Success(A(a=1))
        assert [stage.count(name) for name in ("first", "left", "right", "last", "tidy")] == [1, 3, 2, 1, 2]
        assert await other.failures() == []
        assert stage.log.count(("left", 1)) == 2
        assert await handle.status() == "failed"


@asynchronous
async def test_runs_in_other_states_can_be_forked(database: Database) -> None:
    stage = Stage()
    workflow = stage.workflow()
    async with database.runner(workflow, work=False) as submitting:
        pending = await submitting.start(workflow, Order(order=1))
        paused = await submitting.start(workflow, Order(order=2))
        await paused.pause()
        cancelled = await submitting.start(workflow, Order(order=3))
        await cancelled.cancel()
        forks = [await handle.fork(before="last") for handle in (pending, paused, cancelled)]
        assert [await fork.status() for fork in forks] == ["pending"] * 3
    async with database.runner(workflow) as runner:
        results = [await (await runner.get(fork.id)).result() for fork in forks]
        assert results == [Success(D(d=n * 100 + n + 1)) for n in (1, 2, 3)]
        assert await (await runner.get(paused.id)).status() == "paused"


@asynchronous
async def test_a_condition_of_the_task_is_asked_again(database: Database) -> None:
    least = [3]

    def is_large(order: Order) -> bool:
        return order.order > least[0]

    @task
    async def only(order: Order) -> A:
        return A(a=order.order)

    workflow = Workflow("asking", only.when(is_large))
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=2))
        assert await handle.result() == Success(None)
        least[0] = 1
        assert await (await handle.fork(before=only)).result() == Success(A(a=2))


@asynchronous
async def test_a_task_that_is_not_there(database: Database) -> None:
    stage = Stage()
    workflow = stage.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        with pytest.raises(UnknownTask, match='no task "charge"; it has first, left, right, last'):
            await handle.fork(before="charge")
        await handle.result()
        assert len(await runner.runs()) == 1
        plan = workflow.plan
        row = PlanRow(plan.digest, workflow.name, workflow.version, plan.spec)
        with pytest.raises(RunNotFound):
            await controls.fork(runner._engine, 7, plan, row, "left")


@asynchronous
async def test_a_sealed_graph_is_forked_before_as_a_whole(database: Database) -> None:
    begun: list[str] = []

    @task
    async def inner(order: Order) -> A:
        begun.append("inner")
        return A(a=order.order)

    @task
    async def outer(a: A) -> B:
        begun.append("outer")
        return B(b=a.a)

    sealed = inner.sealed(Order, A).named("seal")
    workflow = Workflow("sealed", sealed >> outer)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        assert await handle.result() == Success(B(b=1))
        assert await (await handle.fork(before="seal")).result() == Success(B(b=1))
        assert begun == ["inner", "outer"] * 2
        assert await (await handle.fork(before=outer)).result() == Success(B(b=1))
        assert begun == ["inner", "outer", "inner", "outer", "outer"]
