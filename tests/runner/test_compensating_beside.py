"""Compensations, callbacks and caches beside handlers, fan-outs, waits, and child runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from cloaca import ContractError, RunFailure, TaskFailure, Workflow, each, sleep, subflow, task, wait_for
from tests.runner.controlled import database, kinds, postgres, until_status
from tests.runner.databases import Database, asynchronous, eventually
from tests.runner.shop import A, Order
from tests.runner.test_waiting import Clock, worker_of

__all__ = ["database", "postgres"]  # fixtures

LOG: list[str] = []
SEEN: list[Any] = []
BROKEN: set[str] = set()
HELD: set[str] = set()


@pytest.fixture(autouse=True)
def _new() -> None:
    for known in (LOG, SEEN, BROKEN, HELD):
        known.clear()


async def act(name: str) -> None:
    LOG.append(name)
    while name in HELD:
        await asyncio.sleep(0.002)
    if name in BROKEN:
        raise ConnectionError(f"{name} fails")


class Approval(BaseModel):
    by: str


class Item(BaseModel):
    number: int


class Items(BaseModel):
    items: list[Item]


class Doubled(BaseModel):
    doubled: int


@task
async def make(order: Order) -> A:
    await act("make")
    return A(a=order.order)


@task
async def instead(order: Order, failure: TaskFailure) -> A:
    await act("instead")
    return A(a=-1)


@task
async def last(a: A) -> None:
    await act("last")


@task
async def undo_make(a: A) -> None:
    await act("undo_make")


@task
async def undo_instead(a: A, *, failure: RunFailure[Any]) -> None:
    SEEN.append(failure)
    await act("undo_instead")


rescued = Workflow("rescued", make.compensate(undo_make).rescue(instead.compensate(undo_instead)) >> last)


@asynchronous
async def test_a_task_that_was_rescued_is_not_undone_but_what_stood_in_is(database: Database) -> None:
    BROKEN.update(("make", "last"))
    async with database.runner(rescued) as runner:
        handle = await runner.start(rescued, Order(order=1))
        failed = (await handle.result()).failure()
        assert failed.task == "last"
        assert LOG == ["make", "instead", "last", "undo_instead"]
        assert [found.task for found in SEEN] == ["last"]
        assert {info.name: info.status for info in await handle.tasks()} == {
            "make": "failed", "instead": "succeeded", "last": "failed",
            "undo_make": "skipped", "undo_instead": "succeeded",
        }  # fmt: skip
        BROKEN.clear()
        await handle.retry()  # what stood in was undone: so it is the task's turn again
        (await handle.result()).unwrap()
        assert LOG[4:] == ["make", "last"]


@asynchronous
async def test_a_task_that_needed_no_handler_is_undone(database: Database) -> None:
    BROKEN.add("last")
    async with database.runner(rescued) as runner:
        assert (await runner.run(rescued, Order(order=1))).failure().task == "last"
        assert LOG == ["make", "last", "undo_make"]


waiting = Workflow("waiting", make.compensate(undo_make) >> wait_for(Approval))
slept = Workflow("slept", make.compensate(undo_make) >> sleep(1000))


@pytest.mark.parametrize("workflow", [waiting, slept], ids=lambda each: each.name)
@asynchronous
async def test_a_parked_run_that_is_cancelled_is_undone(database: Database, workflow: Any) -> None:
    async with database.runner(workflow) as runner:
        clock, worker = Clock(runner), worker_of(runner)
        handle = await runner.start(workflow, Order(order=1))

        async def rests() -> bool:
            return (await handle.why()).kind in ("signal", "timer")

        await eventually(rests)
        await clock.set(100.0)
        await worker.commits.flushed()
        assert worker.drives == {}
        await handle.cancel()
        assert (await handle.result()).failure().status == "cancelled"
        assert LOG == ["make", "undo_make"]


@task
async def hold(order: Order) -> Doubled:
    await act("hold")
    return Doubled(doubled=1)


@task
async def undo_hold(order: Order) -> None:
    await act("undo_hold")


@task
async def begin(order: Order) -> None:
    await act("begin")


endless = Workflow("endless", begin.compensate(undo_hold) >> hold, input=Order)
parent = Workflow("parent", make.compensate(undo_make) >> subflow(endless))


@asynchronous
async def test_a_child_run_is_cancelled_and_undone_with_its_parent(database: Database) -> None:
    HELD.update(("hold", "undo_make"))
    async with database.runner(parent, endless) as runner:
        handle = await runner.start(parent, Order(order=1))

        async def begun() -> bool:
            return "hold" in LOG

        await eventually(begun)
        child = await runner.get((await handle.why()).field or "")
        await handle.cancel()
        await until_status(child, "cancelled")  # before its parent has ended: nothing is undone below a running child
        assert await handle.status() == "running"
        HELD.clear()
        assert (await handle.result()).failure().status == "cancelled"
        assert sorted(LOG) == ["begin", "hold", "make", "undo_hold", "undo_make"]


@asynchronous
async def test_a_child_that_nobody_drives_is_undone_when_its_parent_is_cancelled(database: Database) -> None:
    HELD.add("hold")
    async with database.runner(parent, endless, grace_s=0) as runner:
        handle = await runner.start(parent, Order(order=1))

        async def begun() -> bool:
            return "hold" in LOG

        await eventually(begun)
        child = (await handle.why()).field or ""
    HELD.clear()
    async with database.runner(parent, work=False) as runner:
        await (await runner.get(handle.id)).cancel()
    async with database.runner(parent) as runner:  # knows the child's workflow, but only through its parent
        handle = await runner.get(handle.id)
        assert (await handle.result()).failure().status == "cancelled"
    async with database.runner(parent, endless) as runner:
        assert (await (await runner.get(child)).result()).failure().status == "cancelled"
        assert "run_cancelled" in await kinds(await runner.get(child))
        assert sorted(LOG) == ["begin", "hold", "make", "undo_hold", "undo_make"]


@task(cache=True)
async def double(item: Item) -> Doubled:
    await act(f"double {item.number}")
    return Doubled(doubled=2 * item.number)


doubling = Workflow("doubling", each(double, over="items", into="all"), input=Items)


@asynchronous
async def test_results_of_elements_are_reused(database: Database) -> None:
    async with database.runner(doubling) as runner:
        for _ in range(2):
            handle = await runner.start(doubling, Items(items=[Item(number=1), Item(number=2)]))
            context: Any = (await handle.result()).unwrap()
            assert [found.doubled for found in context["all"]] == [2, 4]
        assert sorted(LOG) == ["double 1", "double 2"]
        assert (await kinds(handle)).count("cache_hit") == 2


@task
async def undo_double(item: Item) -> None:
    await act("undo_double")


def test_a_task_inside_a_fan_out_has_no_compensation() -> None:
    inner = double.with_options(cache=None).compensate(undo_double)
    with pytest.raises(ContractError, match="can't have a compensation") as refused:
        Workflow("w", each(inner, over="items", into="all"), input=Items)  # type: ignore[cloaca-workflow-input]
    assert [violation.code for violation in refused.value.violations] == ["workflow-input"]


def test_a_handler_of_a_compensation_is_refused() -> None:
    with pytest.raises(TypeError, match="it has a handler"):
        make.compensate(undo_make.rescue(undo_instead))  # type: ignore[arg-type]  # wrong on purpose


def test_a_picture_shows_what_undoes_a_handler() -> None:
    assert rescued.picture().backward == {("make", "undo_make"), ("instead", "undo_instead")}
