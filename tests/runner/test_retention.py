"""Retention: while a runner works, what ended long ago goes; what has not ended stays, and so does all else."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from returns.result import Success

from cloaca import Runner, RunNotFound, StoreUnavailable, Workflow, task
from cloaca.interpreter import retention
from cloaca.interpreter.retention import batches, keep_pruning
from cloaca.stores.memory import MemoryStore
from tests.runner.databases import Database, asynchronous, eventually
from tests.runner.shop import A, Order, seed
from tests.stores.rows import AT, end, owned, session_of

seeds = Workflow("seeds", seed)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runners that prune all the time."""
    monkeypatch.setattr(retention, "FIRST_S", 0.05)
    monkeypatch.setattr(retention, "EVERY_S", 0.05)


async def ids(runner: Runner) -> set[str]:
    return {info.id for info in await runner.runs()}


@pytest.mark.usefixtures("soon")
@asynchronous
async def test_a_run_goes_when_its_time_is_over(database: Database) -> None:
    async with database.runner(seeds, retention=timedelta(milliseconds=1)) as runner:
        first = await runner.start(seeds, Order(order=1), key="k")
        await eventually(lambda: gone(runner, first.id))
        with pytest.raises(RunNotFound):
            await first.status()
        again = await runner.start(seeds, Order(order=2), key="k")  # another input: no KeyConflict
        assert again.id != first.id


async def gone(runner: Runner, run: str) -> bool:
    return run not in await ids(runner)


@pytest.mark.usefixtures("soon")
@asynchronous
async def test_what_has_not_ended_stays(database: Database) -> None:
    release = asyncio.Event()

    @task
    async def hold(order: Order) -> A:
        await release.wait()
        return A(a=order.order)

    held = Workflow("held", hold)
    async with database.runner(seeds, held, retention=0.001) as runner:
        live = await runner.start(held, Order(order=1))
        for n in range(3):
            over = await runner.start(seeds, Order(order=n))
            await eventually(lambda over=over: gone(runner, over.id))  # type: ignore[misc]  # it binds the run
        assert await ids(runner) == {live.id}
        waiting = asyncio.create_task(live.result())
        release.set()
        assert await waiting == Success(A(a=1))


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("options", [{}, {"retention": None}, {"retention": 3600}, {"retention": 0.001, "work": False}])
@asynchronous
async def test_what_is_young_stays_and_without_work_all_does(database: Database, options: dict[str, Any]) -> None:
    async with database.runner(seeds) as runner:
        handle = await runner.start(seeds, Order(order=1))
        await handle.result()
    async with database.runner(seeds, **options) as runner:
        await asyncio.sleep(0.3)
        assert await ids(runner) == {handle.id}


@pytest.mark.parametrize("bad", [0, -1, timedelta(0), timedelta(days=-1), float("nan")])
def test_no_time_is_refused(bad: float | timedelta) -> None:
    with pytest.raises(ValueError, match="more than 0, or None for ever"):
        Runner("memory://", retention=bad)


def test_thirty_days_are_the_default() -> None:
    assert Runner("memory://")._settings.retention_s == 30 * 86_400
    assert Runner("memory://", retention=None)._settings.retention_s is None


class Sleeps:
    """Stands for ``asyncio.sleep`` and the clock: nobody waits, and the time passes all the same."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, enough: int) -> None:
        self.asked: list[float] = []
        self.now = AT
        self._enough = enough
        monkeypatch.setattr("cloaca.interpreter.retention.asyncio.sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        if len(self.asked) == self._enough:
            raise asyncio.CancelledError
        self.asked.append(seconds)
        self.now += seconds


class Store(MemoryStore):
    """A store that fails when told, and notes how it was asked."""

    def __init__(self, *errors: Exception | None) -> None:
        super().__init__()
        self.errors = list(errors)
        self.asked: list[tuple[float, int]] = []

    async def prune(self, ended_before: float, limit: int) -> int:
        self.asked.append((ended_before, limit))
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return 0

    async def prune_cache(self, kept_before: float, limit: int) -> int:
        return 0


def test_it_begins_after_a_while_and_goes_on_at_times_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    store, sleeps, chances = Store(), Sleeps(monkeypatch, 4), iter([0.0, 0.5, 1.0, 0.25, 0.0])
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(keep_pruning(store, lambda: sleeps.now, lambda: next(chances), 100.0))
    assert sleeps.asked == [30.0, 3600.0, 5400.0, 2700.0]
    assert [ended_before for ended_before, _ in store.asked] == [AT + at - 100 for at in (30, 3630, 9030, 11730)]


def test_a_database_that_fails_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, sleeps = Store(StoreUnavailable("it is away"), ZeroDivisionError("a bug")), Sleeps(monkeypatch, 3)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(keep_pruning(store, lambda: sleeps.now, lambda: 0.5, 100.0))
    assert len(store.asked) == 3
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]


def test_others_get_a_turn_between_two_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MOST_RUNS", 2)
    store = MemoryStore()

    async def pruned() -> list[int]:
        session = await session_of(store)
        await owned(store, session, *range(1, 6))
        for run in range(1, 6):
            store._end(end(run, at=AT))
        sleeps = Sleeps(monkeypatch, 99)
        counts = [count async for count in batches(store, AT + 1)]
        assert sleeps.asked.count(retention.PAUSE_S) == 3
        return counts

    assert asyncio.run(pruned()) == [2, 2, 1]
