"""Workflows whose code changes under their runs: a run goes on where it fits, and says plainly where it does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import create_model
from returns.result import Success

from cloaca import IncompatibleRun, NotBlocked, RunHandle, Runner, Workflow, task
from cloaca.contract.fingerprints import fingerprint
from tests.runner.databases import Database, asynchronous, eventually
from tests.runner.shop import A, B, C, Order, seed


@task
async def finish(b: B) -> C:
    return C(c=b.b)


async def left_in_the_middle(database: Database) -> str:
    """Return a run of which ``seed`` is committed and ``hold`` is not."""
    begun = asyncio.Event()

    @task
    async def hold(a: A) -> B:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    workflow = Workflow("changing", seed >> hold >> finish)
    async with database.runner(workflow, grace_s=0) as runner:
        handle = await runner.start(workflow, Order(order=5))
        await begun.wait()
    return handle.id


async def kinds(handle: RunHandle[Any, Any]) -> list[str]:
    return [event.kind async for event in handle.events()]


@asynchronous
async def test_a_changed_body_goes_on(database: Database) -> None:
    run = await left_in_the_middle(database)

    @task
    async def hold(a: A) -> B:
        return B(b=a.a * 100)

    workflow = Workflow("changing", seed >> hold >> finish)
    async with database.runner(workflow) as runner:
        assert await (await runner.get(run)).result() == Success(C(c=500))


@asynchronous
async def test_a_new_task_behind_goes_on_and_says_so(database: Database) -> None:
    run = await left_in_the_middle(database)

    @task
    async def hold(a: A) -> B:
        return B(b=a.a)

    @task
    async def more(c: C) -> Order:
        return Order(order=c.c + 1)

    workflow = Workflow("changing", seed >> hold >> finish >> more.into("more"))
    async with database.runner(workflow) as runner:
        handle = await runner.get(run)
        assert await handle.result() == Success(Order(order=6))
        assert "code_changed" in await kinds(handle)


@asynchronous
async def test_a_committed_task_that_is_gone_blocks_the_run(database: Database) -> None:
    run = await left_in_the_middle(database)

    @task
    async def hold(order: Order) -> B:
        return B(b=order.order)

    @task
    async def first(order: Order) -> A:
        return A(a=order.order)

    @task
    async def good(a: A) -> B:
        return B(b=a.a)

    without = Workflow("changing", first >> hold >> finish)
    async with database.runner(without) as runner:
        handle = await runner.get(run)
        await eventually(lambda: is_blocked(handle))
        [info] = await runner.runs(status="blocked")
        assert info.reason is not None
        assert '"seed"' in info.reason
        waiting = await handle.why()
        assert waiting.kind == "blocked"
        assert '"seed"' in f"{waiting.field}"
        with pytest.raises(TimeoutError):
            await handle.result(timeout=0.05)
        # Other runs of the workflow are not held up.
        assert await runner.run(without, Order(order=1)) == Success(C(c=1))
    again = Workflow("changing", seed >> good.named("hold") >> finish)
    async with database.runner(again) as runner:  # code that fits comes back: the run goes on by itself
        assert await (await runner.get(run)).result() == Success(C(c=5))


@asynchronous
async def test_a_blocked_run_is_cancelled(database: Database) -> None:
    run = await left_in_the_middle(database)

    @task
    async def hold(order: Order) -> B:
        return B(b=order.order)

    without = Workflow("changing", hold >> finish)
    async with database.runner(without) as runner:
        handle = await runner.get(run)
        await eventually(lambda: is_blocked(handle))
        await handle.cancel()
        assert await handle.status() == "cancelled"


async def is_blocked(handle: RunHandle[Any, Any]) -> bool:
    return await handle.status() == "blocked"


@asynchronous
async def test_two_versions_side_by_side(database: Database) -> None:
    """A run is taken by whoever comes first; the one whose code doesn't fit gives it up for the other."""

    @task
    async def hold(a: A) -> B:
        return B(b=a.a)

    @task
    async def other(order: Order) -> B:
        return B(b=order.order)

    old, new = Workflow("changing", seed >> hold >> finish), Workflow("changing", other >> finish)
    run = await left_in_the_middle(database)

    async def run_with(runner: Runner) -> object:
        return await (await runner.get(run)).result()

    async with database.runner(new) as newer:
        handle = await newer.get(run)
        await eventually(lambda: is_blocked(handle))
        async with database.runner(old) as older:
            assert await run_with(older) == Success(C(c=5))


@asynchronous
async def test_attempts_store_the_code_that_ran(database: Database) -> None:
    run = await left_in_the_middle(database)

    @task
    async def hold(a: A) -> B:
        return B(b=a.a)

    workflow = Workflow("changing", seed >> hold >> finish)
    async with database.runner(workflow) as runner:
        handle = await runner.get(run)
        await handle.result()
        found = {info.name: info.code for info in await handle.tasks()}
    assert found == {"seed": fingerprint(seed), "hold": fingerprint(hold), "finish": fingerprint(finish)}


@asynchronous
async def test_a_pinned_workflow_wants_the_very_same_version(database: Database) -> None:
    run = await left_in_the_middle(database)

    @task
    async def hold(a: A) -> B:
        return B(b=a.a + 1)

    workflow = Workflow("changing", seed >> hold >> finish, versioning="pinned")
    async with database.runner(workflow) as runner:
        handle = await runner.get(run)
        await eventually(lambda: is_blocked(handle))
        assert f"{(await handle.why()).field}".startswith('workflow "changing" is pinned')
        assert await handle.upgrade() == ()
        assert await handle.result() == Success(C(c=6))
        assert "run_upgraded" in await kinds(handle)


@asynchronous
async def test_only_a_blocked_run_is_upgraded_and_only_what_must_be_is_given_up(database: Database) -> None:
    run = await left_in_the_middle(database)

    @task
    async def hold(a: A) -> B:
        return B(b=a.a)

    @task
    async def first(order: Order) -> A:
        return A(a=order.order * 2)

    workflow = Workflow("changing", first >> hold >> finish)
    async with database.runner(workflow) as runner:
        handle = await runner.get(run)
        await eventually(lambda: is_blocked(handle))
        with pytest.raises(IncompatibleRun, match="given up: seed") as refused:
            await handle.upgrade()
        assert refused.value.give_up == ("seed",)
        with pytest.raises(ValueError, match="without giving up finish"):
            await handle.upgrade(["seed", finish])
        assert await handle.status() == "blocked"
        assert await handle.upgrade(["seed"]) == ("seed",)
        assert await handle.result() == Success(C(c=10))
        with pytest.raises(NotBlocked, match="it is not blocked"):
            await handle.upgrade()


@asynchronous
async def test_a_fork_takes_over_only_what_fits(database: Database) -> None:
    run = await left_in_the_middle(database)
    wider: Any = create_model("Wider", a=(str, ...))

    @task
    async def hold(a: wider) -> B:
        return B(b=len(dict(a)["a"]))

    async def seed_text(order: Order) -> wider:
        return wider(a="text")

    workflow = Workflow("changing", task(seed_text).named("seed") >> hold >> finish)
    async with database.runner(workflow) as runner:
        handle = await runner.get(run)
        await eventually(lambda: is_blocked(handle))
        with pytest.raises(IncompatibleRun, match='field "a" was stored as int'):
            await handle.fork(before="hold")
        forked = await handle.fork(before="seed")
        assert await forked.result() == Success(C(c=4))


def test_a_versioning_that_there_is_not() -> None:
    with pytest.raises(ValueError, match='choose "compatible" or "pinned"'):
        Workflow("changing", seed, versioning="strict")  # type: ignore[call-overload]  # that is the point
