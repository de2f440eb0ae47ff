"""Child runs: typed, visible from both sides, and bound to the fate of their parent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel
from returns.result import Failure, Result, Success
from sqlmodel import Session

from cloaca import Runner, TaskContext, Workflow, sleep, subflow, task
from cloaca.interpreter import workers
from cloaca.interpreter.offspring import new_child
from cloaca.ports import Batch, NewRun
from tests.runner.controlled import Stage, database, postgres, told, until_status
from tests.runner.databases import Database, asynchronous, eventually

__all__ = ["database", "postgres"]  # fixtures


class Number(BaseModel):
    number: int


class Root(BaseModel):
    root: int


class Negative(BaseModel):
    by: int


class Told(BaseModel):
    text: str


BROKEN: set[int] = set()


@task
async def halve(number: Number) -> Result[Root, Negative]:
    if number.number < 0 or number.number in BROKEN:
        return Failure(Negative(by=number.number))
    return Success(Root(root=number.number // 2))


@task
def tell(root: Root) -> Told:
    return Told(text=f"root {root.root}")


@task
async def hold(number: Number, *, ctx: TaskContext) -> Root:
    await asyncio.Event().wait()
    raise AssertionError


@task
def default(root: MaybeRoot) -> Told:
    return Told(text=f"root {root.root}")


class MaybeRoot(BaseModel):
    root: int = -1


@task
def record(number: Number, *, session: Session) -> Root:
    session.connection()  # so that the transaction begins
    return Root(root=number.number)


roots = Workflow("roots", halve, input=Number)
recorded = Workflow("recorded", subflow(Workflow("record", record)) >> tell)
parent = Workflow("parent", subflow(roots) >> tell)
grandparent = Workflow("grandparent", subflow(parent))
endless = Workflow("endless", hold)
patient = Workflow("patient", subflow(endless) >> tell)
older = Workflow("older", subflow(patient))
some = Workflow("some", halve.when(lambda number: number.number > 0), input=Number)
lenient = Workflow("lenient", subflow(some) >> default)


@asynchronous
async def test_a_child_run_reads_and_writes_the_context_of_its_parent(database: Database) -> None:
    async with database.runner(grandparent) as runner:
        handle = await runner.start(grandparent, Number(number=8))
        assert await handle.result() == Success(Told(text="root 4"))
        [child] = await handle.children()
        assert (child.workflow, child.status, child.parent, child.key) == ("parent", "succeeded", handle.id, None)
        middle = await runner.get(child.id)
        assert [(info.name, info.child is not None) for info in await middle.tasks()] == [
            ("subflow:roots", True), ("tell", False),
        ]  # fmt: skip
        [grandchild] = await middle.children()
        assert await (await runner.get(grandchild.id)).result() == Success(Root(root=4))
        assert {info.workflow for info in await runner.runs()} == {"roots", "parent", "grandparent"}
        assert (await told(handle))[:3] == [
            ("run_started", None, None), ("wait_began", "subflow:parent", 1), ("task_succeeded", "subflow:parent", 1),
        ]  # fmt: skip


@asynchronous
async def test_the_typed_error_of_a_grandchild_is_the_run_s(database: Database) -> None:
    async with database.runner(grandparent) as runner:
        handle = await runner.start(grandparent, Number(number=-8))
        failure = (await handle.result()).failure()
        assert (failure.task, failure.error) == ("subflow:parent", Negative(by=-8))
        [child] = await handle.children()
        assert f"run {child.id} failed" in failure.failures[0].message
        assert 'task "halve"' in failure.failures[0].message


@asynchronous
async def test_a_retry_retries_the_same_child_run(database: Database) -> None:
    BROKEN.add(8)
    async with database.runner(grandparent) as runner:
        handle = await runner.start(grandparent, Number(number=8))
        assert isinstance(await handle.result(), Failure)
        BROKEN.discard(8)
        before = await handle.children()
        await handle.retry()
        assert await handle.result() == Success(Told(text="root 4"))
        after = await handle.children()
        assert [child.id for child in after] == [child.id for child in before]
        assert after[0].status == "succeeded"
        assert [f.task for f in await (await runner.get(after[0].id)).failures()] == ["subflow:roots"]


@asynchronous
async def test_child_runs_are_cancelled_with_their_parent(database: Database) -> None:
    async with database.runner(older) as runner:
        handle = await runner.start(older, Number(number=8))

        async def runs() -> bool:
            return [info.status for info in await runner.runs(workflow=endless)] == ["running"]

        await eventually(runs)
        assert (await handle.why()).kind == "child"
        assert (await handle.why()).field == (await handle.children())[0].id
        await handle.cancel()
        assert {info.status for info in await runner.runs()} == {"cancelled"}


@asynchronous
async def test_a_child_run_that_is_cancelled_fails_its_parent(database: Database) -> None:
    async with database.runner(patient) as runner:
        handle = await runner.start(patient, Number(number=8))

        async def runs() -> bool:
            return bool(await runner.runs(workflow=endless, status="running"))

        await eventually(runs)
        await (await runner.get((await handle.children())[0].id)).cancel()
        failure = (await handle.result()).failure()
        assert failure.failures[0].exception_type == "ChildCancelled"
        assert [info.status for info in await handle.tasks()] == ["failed", "skipped"]


@asynchronous
async def test_another_process_drives_the_child_run(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def left_to_others(*args: Any, owner: int, **more: Any) -> NewRun:
        return new_child(*args, owner=None, **more)

    monkeypatch.setattr(workers, "new_child", left_to_others)
    async with database.runner(parent) as runner, database.runner(roots) as other:
        theirs = runner._engine.worker
        assert theirs is not None
        monkeypatch.setattr(theirs, "workflows", {"parent": parent})
        handle = await runner.start(parent, Number(number=8))
        assert await handle.result() == Success(Told(text="root 4"))
        [child] = await handle.children()
        events = [event async for event in (await other.get(child.id)).events()]
        assert events[-1].kind == "run_succeeded"


@asynchronous
async def test_a_child_run_ends_in_a_transaction_of_its_own(database: Database) -> None:
    async with database.runner(recorded) as runner:
        assert await runner.run(recorded, Number(number=8)) == Success(Told(text="root 8"))
        worker = runner._engine.worker
        assert worker is not None
        assert not worker._calling


@asynchronous
async def test_a_child_run_may_write_nothing(database: Database) -> None:
    async with database.runner(lenient) as runner:
        assert await runner.run(lenient, Number(number=8)) == Success(Told(text="root 4"))
        assert await runner.run(lenient, Number(number=-8)) == Success(Told(text="root -1"))


@asynchronous
async def test_pausing_a_parent_leaves_its_child_run_alone(database: Database) -> None:
    stage = Stage()
    stage.holds.add("first")
    child = stage.workflow()
    whole = Workflow("whole", subflow(child))
    async with database.runner(whole) as runner:
        from tests.runner.shop import Order  # noqa: PLC0415 - the input of the stage

        handle = await runner.start(whole, Order(order=1))
        await stage.begun("first")
        await handle.pause()
        await until_status(handle, "paused")
        stage.holds.clear()
        [info] = await handle.children()
        below = await runner.get(info.id)
        await below.result()
        assert await handle.status() == "paused"
        await handle.resume()
        assert isinstance(await handle.result(), Success)


def test_two_workflows_of_one_name_are_refused() -> None:
    other = Workflow("roots", sleep(1) >> halve, input=Number)
    with pytest.raises(ValueError, match='two different workflows are both named "roots"'):
        Runner("memory://", workflows=[parent, Workflow("more", subflow(other))])


@asynchronous
async def test_a_child_run_whose_commit_is_unanswered_is_driven_once(database: Database) -> None:
    from cloaca.errors import StoreUnavailable  # noqa: PLC0415

    async with database.runner(parent) as runner:
        store: Any = runner._engine.store
        transact = store.transact
        lost: list[Batch] = []

        async def forgetful(batch: Batch) -> Any:
            receipt = await transact(batch)
            if batch.children and not lost:
                lost.append(batch)
                raise StoreUnavailable("the answer was lost")
            return receipt

        store.transact = forgetful
        handle = await runner.start(parent, Number(number=8))
        assert await handle.result() == Success(Told(text="root 4"))
        assert lost
        assert len(await handle.children()) == 1
        store.transact = transact
