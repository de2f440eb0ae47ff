"""Random programs in a world that goes wrong: commits that fail or whose answer is lost, leases that are lost, workers
that come and go. The outcome is the one of a calm world, and no task has two rows.

CLOACA_EXAMPLES=100 tries more worlds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from cloaca import RunHandle, Runner, StoreUnavailable, Workflow
from cloaca.interpreter import group_commit, slots, workers
from cloaca.ports import Batch, History, Receipt, Store
from cloaca.stores.memory import MemoryStore
from cloaca.stores.sql.sqlite import SqliteStore
from tests.interpreter.programs import Input, Program, blocks, graphs, workflow_of
from tests.interpreter.reference import Reference

WORLDS = int(os.environ.get("CLOACA_EXAMPLES", "4"))
PATIENCE_S = 40
MOST_REAPED = 8  # a worker that lives takes back what it was charged with, so this is not too often

T = TypeVar("T")


class Fate:
    """What goes wrong in a store, by chance."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.calm = False

    async def befall(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Commit, or fail before, or fail afterwards: then the answer is lost."""
        turn = 0.5 if self.calm else self.chance.random()
        if turn < 0.15:
            raise StoreUnavailable("it went wrong before")
        if 0.15 <= turn < 0.16:
            raise ZeroDivisionError("a bug of the store")
        answer = await ask()
        if turn > 0.85:
            raise StoreUnavailable("it went wrong afterwards")
        return answer


class FaultyMemory(MemoryStore):
    fate: Fate

    async def transact(self, batch: Batch) -> Receipt:
        return await self.fate.befall(lambda: MemoryStore.transact(self, batch))

    async def claim(self, *args: Any, **options: Any) -> list[History]:
        return await self.fate.befall(lambda: MemoryStore.claim(self, *args, **options))


class FaultySqlite(SqliteStore):
    fate: Fate

    async def transact(self, batch: Batch) -> Receipt:
        return await self.fate.befall(lambda: SqliteStore.transact(self, batch))

    async def claim(self, *args: Any, **options: Any) -> list[History]:
        return await self.fate.befall(lambda: SqliteStore.claim(self, *args, **options))


@pytest.fixture(params=["memory", "sqlite"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Fate], Callable[[], Store]]:
    """Make a new database, and return what opens one more store on it."""
    numbers = iter(range(10**6))

    def database(fate: Fate) -> Callable[[], Store]:
        memory = FaultyMemory()
        memory.fate = fate
        path = tmp_path / f"{next(numbers)}.db"

        def store() -> Store:
            if request.param == "memory":
                return memory
            opened = FaultySqlite(path)
            opened.fate = fate
            return opened

        return store

    return database


Stores = Callable[[Fate], Callable[[], Store]]


@pytest.fixture(autouse=True)
def cramped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small limits, so that small programs reach them."""
    monkeypatch.setattr(group_commit, "MOST_ROWS", 4)
    monkeypatch.setattr(group_commit, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(slots, "TURN", 2)
    monkeypatch.setattr(workers, "MOST_RUNS", 4)
    monkeypatch.setattr(workers, "REFILL", 1)
    monkeypatch.setattr(workers, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(workers, "LONGEST_PAUSE_S", 0.01)


def worlds(test: Callable[[Program, int], None]) -> None:
    """Call ``test`` with programs and seeds."""

    @seed(int(os.environ.get("CLOACA_SEED", "1")))
    @settings(
        max_examples=WORLDS,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(program=st.one_of(graphs(), blocks()), number=st.integers(0, 2**32))
    def each(program: Program, number: int) -> None:
        test(program, number)

    each()


async def histories_of(store: Store, handles: list[RunHandle[Any, Any]]) -> list[History]:
    found = [await store.history(int(handle.id)) for handle in handles]
    return [history for history in found if history is not None]


async def assert_as_calm(program: Program, handles: list[RunHandle[Any, Any]], store: Store) -> None:
    expected = Reference(program)
    for handle in handles:
        await handle.result(timeout=20)
        assert {info.name: info.status for info in await handle.tasks()} == expected.statuses()
        assert await handle.context() == expected.context()
        failures = [(failure.task, failure.attempt, failure.exception_type) for failure in await handle.failures()]
        assert Counter(failures) == Counter(expected.failures)
        assert await handle.status() == ("failed" if expected.has_failed else "succeeded")
    for history in await histories_of(store, handles):
        assert history.run.owner is None
        assert history.attempts == []
        assert max(Counter(row.name for row in history.tasks).values(), default=1) == 1


NOTES = {"run_recovered", "attempt_ignored", "code_changed"}


async def heard(handle: RunHandle[Any, Any]) -> list[tuple[str, str | None, int | None]]:
    """Return the events of a run but its notes, as somebody hears them who listens now."""
    events = [(event.kind, event.task, event.attempt) async for event in handle.events()]
    return [event for event in events if event[0] not in NOTES]


def assert_told_once(live: list[Any], stored: list[Any], expected: Reference) -> None:
    """Whoever listened all the time has heard what is stored, each event once, causes before effects."""
    assert Counter(live) == Counter(stored)
    assert max(Counter(live).values()) == 1
    for events in (live, stored):
        assert events[0] == ("run_started", None, None)
        assert events[-1][0] == ("run_failed" if expected.has_failed else "run_succeeded")
        at = {event: place for place, event in enumerate(events)}
        for kind, name, attempt in events:
            if kind in ("task_succeeded", "attempt_failed") or (
                kind == "task_failed" and expected.standings[name] == "failed"
            ):
                assert at["task_started", name, attempt] < at[kind, name, attempt]


async def start_all(runner: Runner, workflow: Workflow[Any, Any], program: Program, count: int) -> list[Any]:
    """Start runs however often that is refused."""
    handles: list[Any] = []
    while len(handles) < count:
        with contextlib.suppress(StoreUnavailable, ZeroDivisionError):
            input = Input(seed=program.seed, trace=("input",))
            handles.append(await runner.start(workflow, input, key=f"{len(handles)}"))
    return handles


def test_commits_that_fail_and_leases_that_are_lost(stores: Stores) -> None:
    async def world(program: Program, number: int) -> None:
        chance = random.Random(number)
        fate = Fate(chance)
        store = stores(fate)()
        workflow = workflow_of(program, f"program {number}")
        async with Runner("memory://", store=store, workflows=[workflow], concurrency=3, grace_s=1) as runner:
            handles = await start_all(runner, workflow, program, 6)
            listening = [asyncio.create_task(heard(handle)) for handle in handles]
            for _ in range(chance.randint(0, MOST_REAPED)):
                await asyncio.sleep(chance.uniform(0, 0.01))
                await store.reap(time.time() + 3600)
            await assert_as_calm(program, handles, store)
            for handle, listener in zip(handles, listening, strict=True):
                assert_told_once(await listener, await heard(handle), Reference(program))
            fate.calm = True

    worlds(lambda program, number: asyncio.run(asyncio.wait_for(world(program, number), PATIENCE_S)))


def test_workers_that_come_and_go(stores: Stores) -> None:
    async def world(program: Program, number: int) -> None:
        chance = random.Random(number)
        fate = Fate(chance)
        make = stores(fate)
        workflow = workflow_of(program, f"program {number}")
        ended = asyncio.Event()

        async def comes_and_goes() -> None:
            while not ended.is_set():
                grace_s = chance.choice((0, 0.005, 1))
                async with Runner("memory://", store=make(), workflows=[workflow], grace_s=grace_s):
                    lasting = chance.choice((0, 0.002, 0.02, 0.2))
                    try:
                        await asyncio.wait_for(ended.wait(), lasting)
                    except TimeoutError:
                        continue

        submitting = make()
        async with Runner("memory://", store=submitting, workflows=[workflow], work=False) as submitter:
            handles = await start_all(submitter, workflow, program, 4)
            listening = [asyncio.create_task(heard(handle)) for handle in handles]
            workers = [asyncio.create_task(comes_and_goes()) for _ in range(2)]
            try:
                await assert_as_calm(program, handles, submitting)
                for handle, listener in zip(handles, listening, strict=True):
                    assert_told_once(await listener, await heard(handle), Reference(program))
            finally:
                ended.set()
                fate.calm = True
                await asyncio.gather(*workers)
            for history in await histories_of(submitting, handles):
                assert history.run.crashes == 0

    worlds(lambda program, number: asyncio.run(asyncio.wait_for(world(program, number), PATIENCE_S)))
