"""News of other processes: an idle worker asks hardly anything, and whoever waits for a run elsewhere hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel

from cloaca import Runner, Workflow, task
from cloaca.interpreter.workers import Worker
from cloaca.ports import Store
from cloaca.runner import vigils
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.postgres_links import Link, Row
from cloaca.stores.sql.sqlite import SqliteStore
from tests.runner.databases import asynchronous
from tests.stores.conftest import postgres, schema  # noqa: F401 - fixtures
from tests.stores.traces import Trace

MINUTE = 60


class Step(BaseModel):
    number: int


gates: dict[str, asyncio.Event] = {}


@task
async def first(step: Step) -> Step:
    await gates["first"].wait()
    return step


@task
async def second(step: Step) -> Step:
    await gates["second"].wait()
    return step


stepping = Workflow("stepping", first >> second)

Make = Callable[[], Store]


@pytest.fixture(params=["sqlite", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes stores on one database, as several processes have them."""
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / "runs.db")
    url, name = request.getfixturevalue("postgres"), request.getfixturevalue("schema")
    return lambda: PostgresStore(url, schema=name)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that stores on PostgreSQL send."""
    statements: list[str] = []
    ask = Link.ask

    async def note(link: Link, statement: str, *values: object) -> list[Row]:
        statements.append(statement)
        return await ask(link, statement, *values)

    monkeypatch.setattr(Link, "ask", note)
    return statements


class Hours:
    """A clock, and an event loop's time, that a test moves on."""

    def __init__(self, worker: Worker, started: float) -> None:
        ticker, worker._ticker = worker._ticker, None
        assert ticker is not None  # an open worker has one
        ticker.remove_done_callback(worker._stopped_ticking)
        ticker.cancel()
        self.worker, self.started, self.passed = worker, started, 0.0
        self.began, self.loop = worker._loop.time(), worker._loop
        worker.now = self.now
        worker._loop = cast("asyncio.AbstractEventLoop", self)
        worker.commits.clock = self

    def now(self) -> float:
        return self.started + self.passed

    def time(self) -> float:
        return self.began + self.passed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loop, name)

    async def pass_by(self, seconds: int) -> None:
        for _ in range(seconds):
            self.passed += 1
            await self.worker._beat()
            await self.worker.commits.flushed()


@asynchronous
async def test_an_idle_worker_asks_once_in_five_seconds_and_keeps_its_lease(make: Make, asked: list[str]) -> None:
    store = make()
    async with Runner(store=store, workflows=[stepping]) as runner:
        worker = runner._engine.worker
        assert worker is not None
        await worker.look()
        hours = Hours(worker, worker.now())
        statements = Trace(store).statements if isinstance(store, SqliteStore) else asked
        statements.clear()
        await hours.pass_by(10 * MINUTE)
        assert MINUTE <= len(statements) <= 10 * MINUTE / 5
        assert not any("COMMIT" in statement for statement in statements)
        assert {statement.split()[0] for statement in statements} <= {"SELECT", "UPDATE"}
        if isinstance(store, SqliteStore):  # PostgreSQL has a clock of its own
            assert not (await store.poll(0, [], hours.now())).expired


@asynchronous
async def test_a_worker_looks_again_when_the_lease_of_another_runs_out(tmp_path: Path) -> None:
    store, other = SqliteStore(tmp_path / "runs.db"), SqliteStore(tmp_path / "runs.db")
    async with Runner(store=store, workflows=[stepping]) as runner:
        worker = runner._engine.worker
        assert worker is not None
        await other.open()
        hours = Hours(worker, worker.now())
        session = await other.open_session("other", hours.now(), hours.now() + 8.5)
        await worker.look()
        await hours.pass_by(8)
        assert [lease.session for lease in store._peers] == [session]
        await hours.pass_by(1)
        assert store._peers == []  # it was reaped, half a second late and not six
        await other.close()


@asynccontextmanager
async def elsewhere(make: Make) -> AsyncIterator[tuple[Runner, Runner]]:
    """A runner that works, and one that only follows what the first does."""
    gates.update(first=asyncio.Event(), second=asyncio.Event())
    async with (
        Runner(store=make(), workflows=[stepping]) as working,
        Runner(store=make(), workflows=[stepping], work=False) as following,
    ):
        yield working, following
        for gate in gates.values():
            gate.set()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a run elsewhere looks at it once a day, unless there is news."""
    monkeypatch.setattr(vigils, "FIRST_PAUSE_S", 86_400.0)
    monkeypatch.setattr(vigils, "LONGEST_PAUSE_S", 86_400.0)
    monkeypatch.setattr(vigils, "POLL_S", 86_400.0)


class Looked:
    """Tells when a store was asked for a run."""

    def __init__(self, store: Any) -> None:
        self.count, self.event = 0, asyncio.Event()
        run, history = store.run, store.history

        async def noted(ask: Callable[[int], Awaitable[Any]], id: int) -> Any:
            found = await ask(id)
            self.count += 1
            self.event.set()
            return found

        store.run, store.history = partial(noted, run), partial(noted, history)


@pytest.mark.usefixtures("patient")
@asynchronous
async def test_a_result_elsewhere_is_heard_of(make: Make) -> None:
    async with elsewhere(make) as (working, following):
        handle = await working.start(stepping, Step(number=1))
        same = await following.get(handle.id)
        looked = Looked(following._engine.store)
        waiting = asyncio.create_task(same.result())
        await looked.event.wait()
        await asyncio.sleep(0.05)  # the driver hears that somebody follows
        for gate in gates.values():
            gate.set()
        assert (await waiting).unwrap() == Step(number=1)
        assert looked.count <= 8


@pytest.mark.usefixtures("patient")
@asynchronous
async def test_events_elsewhere_are_heard_of_as_they_happen(make: Make) -> None:
    async with elsewhere(make) as (working, following):
        handle = await working.start(stepping, Step(number=1))
        events = (await following.get(handle.id)).events()
        assert (await anext(events)).kind == "run_started"
        heard = asyncio.create_task(_until(events, "task_succeeded"))
        await asyncio.sleep(0.1)
        gates["first"].set()
        assert await heard == "first"
        await _hold_still()
        await handle.cancel()
        assert await _until(events, "run_cancelled") is None


@pytest.mark.usefixtures("patient")
@asynchronous
async def test_what_happens_to_a_run_that_nobody_drives_is_heard_of(make: Make) -> None:
    async with Runner(store=make(), work=False) as starting, Runner(store=make(), work=False) as following:
        handle = await starting.start(stepping, Step(number=1))
        same = (
            (await following.get(handle.id)) if following._catalogue.workflows else await _named(following, handle.id)
        )
        events = same.events()
        assert (await anext(events)).kind == "run_started"
        heard = asyncio.create_task(_until(events, "run_cancelled"))
        await asyncio.sleep(0.05)
        await handle.pause()
        await _hold_still()
        await handle.cancel()
        assert await heard is None


async def _named(runner: Runner, run: str) -> Any:
    runner._catalogue.add(stepping)
    return await runner.get(run)


async def _until(events: Any, kind: str) -> str | None:
    async for event in events:
        if event.kind == kind:
            found: str | None = event.task
            return found
    raise AssertionError(f"no {kind}")


async def _hold_still() -> None:
    await asyncio.sleep(0.05)
