"""Pausing, resuming, retrying and forking on a store whose answers get lost: asked again, each does what it did."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from returns.result import Failure, Success

from cloaca import Runner, StoreUnavailable
from cloaca.ports import Batch, Receipt, Store
from tests.runner.controlled import Handle, Stage, database, kinds, postgres, until_status
from tests.runner.databases import Database, asynchronous
from tests.runner.shop import D, Order
from tests.runner.test_lost_answers import breaks, loses_answers

__all__ = ["database", "postgres"]

CONTROLS = ("pause", "resume", "retry", "fork")


def loses_releases(store: Store, *, written: bool, times: int = 1) -> list[Batch]:
    """Let commits that give runs back fail, after they were written or before; return their batches."""
    transact, lost = store.transact, list[Batch]()

    async def transacted(batch: Batch) -> Receipt:
        if not (batch.released or batch.heard) or len(lost) >= times:
            return await transact(batch)
        lost.append(batch)
        if written:
            await transact(batch)
        raise StoreUnavailable("the answer is lost")

    store.transact = transacted  # type: ignore[method-assign]  # as a connection does that breaks
    return lost


async def again(control: Any, *args: Any, **options: Any) -> Any:
    """Ask as a user does who is told to try again."""
    while True:
        try:
            return await control(*args, **options)
        except StoreUnavailable:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("written", [True, False])
@asynchronous
async def test_a_pause_whose_commit_has_no_answer(database: Database, written: bool) -> None:
    stage, store = Stage(), database.store()
    stage.holds = {"left", "right"}
    workflow = stage.workflow()
    async with Runner("memory://", store=store, workflows=[workflow]) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await stage.begun("left")
        await stage.begun("right")
        lost = loses_releases(store, written=written, times=2)
        await handle.pause()
        stage.holds.clear()
        await until_status(handle, "paused")
        await asyncio.sleep(0.3)
        await handle.resume()
        assert await handle.result(timeout=15) == Success(D(d=102))
        assert len(lost) == 2
        assert stage.log == [(name, 1) for name in ("first", "left", "right", "last")]
        found = [kind for kind in await kinds(handle) if kind.startswith("run_")]
        assert found == ["run_started", "run_paused", "run_resumed", "run_succeeded"]


@asynchronous
async def test_a_pause_whose_answer_is_lost_is_resumed_at_once_elsewhere(database: Database) -> None:
    """The commit that paused the run is sent again when the run goes on already: that must not take it away."""
    stage, store = Stage(), database.store()
    stage.holds = {"left", "right"}
    workflow = stage.workflow()
    async with (
        Runner("memory://", store=store, workflows=[workflow]) as runner,
        database.runner(workflow, work=False) as other,
    ):
        handle = await runner.start(workflow, Order(order=1))
        await stage.begun("left")
        await stage.begun("right")
        await handle.pause()
        remote = await other.get(handle.id)
        loses_releases(store, written=True, times=3)
        stage.holds.clear()
        await until_status(remote, "paused")
        await remote.resume()
        assert await remote.result(timeout=15) == Success(D(d=102))
        assert stage.log == [(name, 1) for name in ("first", "left", "right", "last")]


@pytest.mark.parametrize("lose", [loses_answers, breaks])
@asynchronous
async def test_controls_whose_answers_are_lost(database: Database, lose: Any) -> None:
    stage, store = Stage(), database.store()
    workflow = stage.workflow()
    async with Runner("memory://", store=store, workflows=[workflow]) as runner:
        for control in CONTROLS:
            lose(store, control, times=2, **({} if lose is loses_answers else {"odd": StoreUnavailable("not now")}))
        stage.holds, stage.fails = {"left"}, {"last"}
        handle: Handle = await runner.start(workflow, Order(order=1))
        await stage.begun("left")
        await again(handle.pause)
        stage.holds.clear()
        await until_status(handle, "paused")
        await again(handle.resume)
        assert isinstance(await handle.result(timeout=10), Failure)
        stage.fails, stage.holds = set(), {"last"}  # else the run may have succeeded before it is asked again
        await again(handle.retry)
        stage.holds.clear()
        assert await handle.result(timeout=10) == Success(D(d=102))
        fork = await again(handle.fork, before="right")
        assert await fork.result(timeout=10) == Success(D(d=102))
        assert (await kinds(handle)).count("run_retried") == 1
        assert stage.count("first") == 1
