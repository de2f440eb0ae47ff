"""Cached results: what one run has computed another reuses, if the code and the input are the same."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from returns.result import Failure, Result, Success

from cloaca import Retry, StoreUnavailable, TaskContext, Workflow, task
from cloaca.interpreter.retention import prune
from cloaca.ports import Cached
from cloaca.stores.memory import MemoryStore
from tests.runner.controlled import database, kinds, postgres
from tests.runner.databases import Database, asynchronous
from tests.runner.shop import A, B, Order

__all__ = ["database", "postgres"]


def square(calls: list[int], cache: Any = True) -> Workflow[Any, Any, Any, Any]:
    """Return a workflow whose one task notes when it is executed."""

    @task(cache=cache)
    async def compute(order: Order, *, ctx: TaskContext) -> A:
        calls.append(order.order)
        return A(a=order.order**2)

    return Workflow("squares", compute)


@asynchronous
async def test_a_result_is_reused_by_another_run(database: Database) -> None:
    calls: list[int] = []
    workflow = square(calls)
    async with database.runner(workflow) as runner:
        first = await runner.start(workflow, Order(order=3))
        assert await first.result() == Success(A(a=9))
        again = await runner.start(workflow, Order(order=3))
        assert await again.result() == Success(A(a=9))
        assert await runner.run(workflow, Order(order=4)) == Success(A(a=16))
        assert calls == [3, 4]
        assert "cache_hit" in await kinds(again)
        assert "cache_hit" not in await kinds(first)
        details = [event.detail async for event in again.events() if event.kind == "cache_hit"]
        assert details == [f"the result of run {first.id}"]
        [info] = await again.tasks()
        assert (info.status, info.attempt) == ("succeeded", 1)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, Order(order=3)) == Success(A(a=9))
        assert calls == [3, 4]


@asynchronous
async def test_an_old_result_is_not_reused(database: Database) -> None:
    calls: list[int] = []
    workflow = square(calls, cache=timedelta(milliseconds=40))
    async with database.runner(workflow) as runner:
        await runner.run(workflow, Order(order=3))
        await asyncio.sleep(0.05)
        await runner.run(workflow, Order(order=3))
        assert calls == [3, 3]


@asynchronous
async def test_other_code_and_other_options_are_another_task(database: Database) -> None:
    calls: list[str] = []

    @task(name="compute", cache=True)
    async def one(order: Order) -> A:
        calls.append("one")
        return A(a=1)

    @task(name="compute", cache=True)
    async def two(order: Order) -> A:
        calls.append("two")
        return A(a=2)

    async with database.runner() as runner:
        assert await runner.run(Workflow("1", one), Order(order=1)) == Success(A(a=1))
        assert await runner.run(Workflow("2", two), Order(order=1)) == Success(A(a=2))
        assert await runner.run(Workflow("3", one.named("other")), Order(order=1)) == Success(A(a=1))
        assert await runner.run(Workflow("4", one.with_options(cache=None)), Order(order=1)) == Success(A(a=1))
        assert calls == ["one", "two", "one"]


@asynchronous
async def test_failures_are_never_kept(database: Database) -> None:
    calls: list[int] = []

    class No(BaseModel):
        no: int

    @task(cache=True, retry=Retry(attempts=2, delay=0))
    async def decline(order: Order) -> Result[A, No]:
        calls.append(order.order)
        return Failure(No(no=1)) if len(calls) < 3 else Success(A(a=1))

    workflow = Workflow("declines", decline)
    async with database.runner(workflow) as runner:
        assert isinstance(await runner.run(workflow, Order(order=1)), Failure)
        assert isinstance(await runner.run(workflow, Order(order=1)), Failure)
        assert await runner.run(workflow, Order(order=1)) == Success(A(a=1))
        assert await runner.run(workflow, Order(order=1)) == Success(A(a=1))
        assert calls == [1, 1, 1]


@asynchronous
async def test_what_can_not_be_looked_up_is_executed(caplog: pytest.LogCaptureFixture) -> None:
    class Away(MemoryStore):
        async def cached(self, keys: Any, at: float) -> list[Cached]:
            raise StoreUnavailable("it is away")

    calls: list[int] = []
    workflow = square(calls)
    database = Database(None, Away())  # type: ignore[arg-type]  # it needs no path
    async with database.runner(workflow) as runner:
        for _ in range(2):
            assert await runner.run(workflow, Order(order=3)) == Success(A(a=9))
        assert calls == [3, 3]
    assert "could not be looked up" in caplog.text


@asynchronous
async def test_a_result_that_no_longer_fits_is_not_reused() -> None:
    calls: list[int] = []
    workflow = square(calls)
    store = MemoryStore()
    async with Database(None, store).runner(workflow) as runner:  # type: ignore[arg-type]  # it needs no path
        await runner.run(workflow, Order(order=3))
        [(key, (row, since))] = store.kept.items()
        store.kept[key] = (row._replace(output='{"a": "x"}'), since)
        assert await runner.run(workflow, Order(order=3)) == Success(A(a=9))
        assert calls == [3, 3]


@asynchronous
async def test_many_at_once_are_looked_up_together() -> None:
    asked: list[int] = []

    class Counting(MemoryStore):
        async def cached(self, keys: Any, at: float) -> list[Cached]:
            asked.append(len(keys))
            return await super().cached(keys, at)

    @task(cache=True)
    async def compute(order: Order) -> A:
        return A(a=order.order)

    @task
    async def plain(order: Order) -> B:
        return B(b=1)

    nodes = [compute.named(f"c{n}").into(f"c{n}") for n in range(1000)]
    workflow = Workflow("many", *nodes, input=Order)
    async with Database(None, Counting()).runner() as runner:  # type: ignore[arg-type]  # it needs no path
        assert isinstance(await runner.run(workflow, Order(order=1)), Success)
        assert len(asked) <= 20  # they are one key: whoever wants it while it is asked for shares the answer
        asked.clear()
        await runner.run(Workflow("plain", plain), Order(order=1))
        assert asked == []  # a task without a cache costs nothing


@asynchronous
async def test_results_go_with_the_runs_that_are_as_old(database: Database) -> None:
    calls: list[int] = []
    workflow = square(calls)
    async with database.runner(workflow) as runner:
        await runner.run(workflow, Order(order=3))
        store = runner._engine.store
        assert await prune(store, 1.0) == 0
        await runner.run(workflow, Order(order=3))
        assert calls == [3]
        await prune(store, runner._engine.clock.now() + 60)
        await runner.run(workflow, Order(order=3))
        assert calls == [3, 3]


@task
async def nothing(order: Order) -> None: ...


@task
async def something(order: Order) -> A:
    return A(a=1)


@pytest.mark.parametrize("age", [0, -1, timedelta(0), float("nan")])
def test_an_age_is_above_zero(age: Any) -> None:
    with pytest.raises(ValueError, match="above 0"):
        something.with_options(cache=age)


def test_what_has_no_result_is_not_cached() -> None:
    with pytest.raises(TypeError, match="writes nothing"):
        nothing.with_options(cache=True)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(TypeError, match="cache='a day'"):
        something.with_options(cache="a day")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="can't undo it"):
        something.with_options(cache=True).compensate(nothing)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(TypeError, match="can't undo it"):
        something.compensate(nothing).with_options(cache=True)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(TypeError, match="cached"):
        something.compensate(something.with_options(cache=True).named("undo"))  # type: ignore[arg-type]  # wrong on purpose
