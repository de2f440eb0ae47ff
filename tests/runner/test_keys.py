"""Idempotency keys: one run for each key of a workflow, whoever starts it, however often, wherever."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel
from returns.result import Success

from cloaca import KeyConflict, Workflow, task
from tests.runner.databases import Database, asynchronous
from tests.runner.shop import A, Order, Shipment, seed, shop


@asynchronous
async def test_the_same_key_and_input_is_the_same_run(database: Database) -> None:
    async with database.runner(shop) as runner:
        first = await runner.start(shop, Order(order=1), key="one")
        second = await runner.start(shop, Order(order=1), key="one")
        assert first.id == second.id
        assert await second.result() == Success(Shipment(tracking="paid-1-10/sku-1"))
        third = await runner.start(shop, Order(order=1), key="one")
        assert third.id == first.id
        assert await third.result() == Success(Shipment(tracking="paid-1-10/sku-1"))
        assert len(await runner.runs()) == 1


@asynchronous
async def test_the_same_key_and_another_input_is_refused(database: Database) -> None:
    async with database.runner(shop) as runner:
        handle = await runner.start(shop, Order(order=1), key="one")
        with pytest.raises(
            KeyConflict, match=f"key 'one' of workflow \"shop\" has started run {handle.id}.*use another"
        ):
            await runner.start(shop, Order(order=2), key="one")
        assert await handle.result() == Success(Shipment(tracking="paid-1-10/sku-1"))
        assert len(await runner.runs()) == 1


@asynchronous
async def test_keys_are_per_workflow(database: Database) -> None:
    other = Workflow("other", seed)
    async with database.runner(shop, other) as runner:
        first = await runner.start(shop, Order(order=1), key="one")
        second = await runner.start(other, Order(order=2), key="one")
        assert first.id != second.id
        assert await second.result() == Success(A(a=2))


@asynchronous
async def test_without_a_key_each_start_is_a_run(database: Database) -> None:
    async with database.runner(shop) as runner:
        handles = [await runner.start(shop, Order(order=1)) for _ in range(3)]
        assert len({handle.id for handle in handles}) == 3


@asynchronous
async def test_a_key_without_input(database: Database) -> None:
    @task
    async def begin() -> A:
        return A(a=1)

    workflow = Workflow("alone", begin)
    async with database.runner(workflow) as runner:
        first = await runner.start(workflow, key="one")
        second = await runner.start(workflow, key="one")
        assert first.id == second.id


@asynchronous
async def test_concurrent_tasks_with_one_key(database: Database) -> None:
    ran: list[int] = []

    @task
    async def once(order: Order) -> A:
        ran.append(order.order)
        return A(a=order.order)

    workflow = Workflow("once", once)
    async with database.runner(workflow) as runner, database.runner(workflow) as other:
        handles = await asyncio.gather(
            *(each.start(workflow, Order(order=1), key="one") for each in (runner, other) for _ in range(20))
        )
        assert len({handle.id for handle in handles}) == 1
        outcomes = await asyncio.gather(*(handle.result() for handle in handles))
        assert outcomes == [Success(A(a=1))] * 40
        assert ran == [1]


@asynchronous
async def test_concurrent_tasks_with_one_key_and_two_inputs(database: Database) -> None:
    async with database.runner(shop) as runner:
        starts = await asyncio.gather(
            *(runner.start(shop, Order(order=order), key="one") for order in (1, 2) * 5), return_exceptions=True
        )
        assert [isinstance(start, KeyConflict) for start in starts] == [False, True] * 5
        assert len(await runner.runs()) == 1


@asynchronous
async def test_equal_inputs_with_unlike_json(database: Database) -> None:
    """A set's order differs from process to process; a field with a default may be new since the first start."""

    class Old(BaseModel):
        tags: set[str]

    class New(BaseModel):
        tags: set[str]
        colour: str = "red"

    @task
    async def old(tagged: Old) -> None: ...

    @task
    async def new(tagged: New) -> None: ...

    before, after = Workflow("tagged", old), Workflow("tagged", new)
    async with database.runner(before) as runner:
        first = await runner.start(before, Old(tags={"a", "b", "c", "d"}), key="one")
    async with database.runner(after) as runner:
        assert (await runner.start(after, New(tags={"d", "c", "b", "a"}), key="one")).id == first.id
        with pytest.raises(KeyConflict):
            await runner.start(after, New(tags={"a", "b", "c", "d"}, colour="blue"), key="one")


@pytest.mark.parametrize("key", ["", "a" * 513, "a\x00b", "a\nb", "\ud800", b"bytes", 7])
@asynchronous
async def test_keys_that_are_refused(database: Database, key: object) -> None:
    async with database.runner(shop) as runner:
        with pytest.raises(ValueError, match="an idempotency key is a printable string of 1 to 512 characters"):
            await runner.start(shop, Order(order=1), key=key)  # type: ignore[arg-type]  # odd on purpose
        assert await runner.runs() == []


@asynchronous
async def test_keys_are_taken_as_they_are(database: Database) -> None:
    async with database.runner(shop) as runner:
        keys = ["a", "A", "a ", "ä", "a\u0308", "'; DROP TABLE cloaca_run; --", "%", "_", "名前", "🐈", "x" * 512]
        handles = [await runner.start(shop, Order(order=1), key=key) for key in keys]
        assert len({handle.id for handle in handles}) == len(keys)
        assert [info.key for info in reversed(await runner.runs())] == keys
