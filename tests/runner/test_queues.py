"""Queues: no more bodies at once than there are slots, no more starts than a rate allows, and no slot is ever lost."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from returns.result import Success

from cloaca import (
    BlockingRunner,
    Queue,
    Retry,
    Runner,
    StoreUnavailable,
    TaskContext,
    UnknownQueue,
    Waiting,
    Workflow,
    task,
)
from cloaca.ports import Store
from cloaca.stores.memory import MemoryStore
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.sqlite import SqliteStore
from tests.runner.databases import asynchronous, eventually
from tests.stores.clocked import drop, new_schema
from tests.stores.servers import server

Place = Callable[[], Store]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with server() as url:
        yield url


@pytest.fixture
def schema(postgres: str) -> Iterator[str]:
    name = new_schema()
    yield name
    asyncio.run(drop(postgres, name))


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place that nobody has used; each call gives another store of it."""
    if request.param == "memory":
        memory = MemoryStore()
        yield lambda: memory
    elif request.param == "sqlite":
        yield lambda: SqliteStore(tmp_path / "runs.db")
    else:
        url, schema = request.getfixturevalue("postgres"), request.getfixturevalue("schema")
        yield lambda: PostgresStore(url, schema=schema)


def runner(place: Place, *workflows: Workflow[Any, Any, Any, Any], **options: Any) -> Runner:
    return Runner(workflows=workflows, store=place(), **options)


@asynccontextmanager
async def opened(place: Place) -> AsyncIterator[Store]:
    store = place()
    await store.open()
    try:
        yield store
    finally:
        if not isinstance(store, MemoryStore):
            await store.close()


async def slots(place: Place) -> list[tuple[str, bool]]:
    """Every slot that is held or waited for."""
    async with opened(place) as store:
        if isinstance(store, MemoryStore):
            rows = [(row.task, False) for row in store.slots.wanted.values()]
            return sorted(rows + [(row.task, True) for row in store.slots.held.values()])
        if isinstance(store, SqliteStore):
            statement = "SELECT task, held FROM cloaca_slot ORDER BY 1"
            return [(name, bool(held)) for name, held in await store._write(lambda d: d.execute(statement).fetchall())]
        found = await store._ask(lambda link: link.ask("SELECT task, held FROM {schema}.cloaca_slot ORDER BY 1"))  # type: ignore[attr-defined]  # it is PostgreSQL
        return [tuple(row) for row in found]


async def none_is_left(place: Place) -> bool:
    return await slots(place) == []


class Number(BaseModel):
    number: int


class Done(BaseModel):
    done: int


class Gauge:
    """How many bodies are at work, how many were at most, in which order they began; and a gate that they wait for."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.order: list[int] = []
        self.open = threading.Event()
        self._lock = threading.Lock()

    def enter(self, number: int) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.order.append(number)

    def leave(self) -> None:
        with self._lock:
            self.now -= 1


gauge = Gauge()


@pytest.fixture(autouse=True)
def new_gauge() -> Iterator[None]:
    global gauge  # noqa: PLW0603 - the bodies find it there
    gauge = Gauge()
    yield
    gauge.open.set()


@task(queue="mail")
async def send(number: Number) -> Done:
    gauge.enter(number.number)
    try:
        await asyncio.sleep(0.005)
    finally:
        gauge.leave()
    return Done(done=number.number)


@task(queue="mail")
async def hold(number: Number) -> Done:
    gauge.enter(number.number)
    while not gauge.open.is_set():
        await asyncio.sleep(0.005)
    gauge.leave()
    return Done(done=number.number)


@task(queue="mail")
def block(number: Number) -> Done:
    gauge.enter(number.number)
    gauge.open.wait(30)
    gauge.leave()
    return Done(done=number.number)


@task
async def free(number: Number) -> Done:
    return Done(done=number.number)


sending, holding, blocking, freely = (Workflow(t.name, t) for t in (send, hold, block, free))
MAIL = [Queue("mail", concurrency=2)]


async def begun(count: int) -> None:
    async def holds() -> bool:
        return len(gauge.order) >= count

    await eventually(holds)


@asynchronous
async def test_no_more_bodies_at_once_than_slots(place: Place) -> None:
    async with runner(place, sending, queues=MAIL) as mine:
        outcomes = await asyncio.gather(*(mine.run(sending, Number(number=n)) for n in range(20)))
        assert outcomes == [Success(Done(done=n)) for n in range(20)]
        assert gauge.most == 2
        await eventually(lambda: none_is_left(place))


@asynchronous
async def test_two_workers_share_the_slots(place: Place) -> None:
    async with runner(place, sending, queues=MAIL) as one, runner(place, sending) as other:
        runs = [each.run(sending, Number(number=n)) for n in range(8) for each in (one, other)]
        await asyncio.gather(*runs)
        assert gauge.most == 2
        await eventually(lambda: none_is_left(place))


@asynchronous
async def test_who_waits_holds_no_slot_of_the_worker(place: Place) -> None:
    async with runner(place, holding, freely, queues=[Queue("mail", concurrency=1)], concurrency=2) as mine:
        handles = [await mine.start(holding, Number(number=n)) for n in range(5)]
        await begun(1)
        assert await mine.run(freely, Number(number=7)) == Success(Done(done=7))
        assert await handles[3].why() == Waiting("queue", "hold", "mail")
        assert await handles[0].why() == Waiting("task", "hold")
        assert [info.status for info in await handles[3].tasks()] == ["ready"]
        gauge.open.set()
        assert [await handle.result() for handle in handles] == [Success(Done(done=n)) for n in range(5)]
        assert gauge.most == 1


@asynchronous
async def test_a_wait_is_told_to_those_who_look_from_elsewhere(place: Place) -> None:
    async with runner(place, holding, queues=[Queue("mail", concurrency=1)]) as mine:
        await mine.start(holding, Number(number=1))
        await begun(1)
        handle = await mine.start(holding, Number(number=2))
        async with runner(place, holding, work=False) as other:
            assert await (await other.get(handle.id)).why() == Waiting("queue", "hold", "mail")
        gauge.open.set()
        await handle.result()


@asynchronous
async def test_runs_of_a_higher_priority_are_first_in_line_and_then_the_oldest(place: Place) -> None:
    async with runner(place, holding, sending, queues=[Queue("mail", concurrency=1)]) as mine:
        await mine.start(holding, Number(number=0))
        await begun(1)
        handles = [
            await mine.start(sending, Number(number=n), priority=priority)
            for n, priority in ((1, 0), (2, 5), (3, -100), (4, 5), (5, 100), (6, 0))
        ]
        await eventually(lambda: _waiting(place, 6))
        gauge.open.set()
        for handle in handles:
            await handle.result()
        assert gauge.order == [0, 5, 2, 4, 1, 6, 3]


async def _waiting(place: Place, count: int) -> bool:
    return [held for _, held in await slots(place)].count(False) == count


@asynchronous
async def test_a_rate_spaces_starts_out_and_says_until_when(place: Place) -> None:
    async with runner(place, sending, queues=[Queue("mail", rate=(2, timedelta(seconds=0.4)))]) as mine:
        handles = [await mine.start(sending, Number(number=n)) for n in range(5)]
        await begun(2)
        asked = time.time()
        waiting = await handles[4].why()
        if len(gauge.order) < 5:
            assert (waiting.kind, waiting.task, waiting.field) == ("queue", "send", "mail")
            assert waiting.until is not None
            assert waiting.until.timestamp() < asked + 60
        for handle in handles:
            await handle.result()
        assert gauge.order == [0, 1, 2, 3, 4]
        await eventually(lambda: none_is_left(place))


@asynchronous
async def test_a_rate_outlives_the_runner(place: Place) -> None:
    queues = [Queue("mail", rate="2/hour")]
    async with runner(place, sending, queues=queues) as mine:
        await asyncio.gather(*(mine.run(sending, Number(number=n)) for n in range(2)))
    async with runner(place, sending, queues=queues) as mine:
        handle = await mine.start(sending, Number(number=9))
        waits = Waiting("queue", "send", "mail")
        await eventually(lambda: _waits(handle, waits))
        until = (await handle.why()).until
        assert until is not None
        assert 3000 < until.timestamp() - time.time() <= 3600
        await handle.cancel()
        await eventually(lambda: none_is_left(place))
    assert gauge.order == [0, 1]


async def _waits(handle: Any, wanted: Waiting) -> bool:
    found = await handle.why()
    return (found.kind, found.task, found.field, found.until is None) == (wanted.kind, wanted.task, wanted.field, False)


class Counting(MemoryStore):
    """Counts how often slots are asked for."""

    asked = 0

    async def acquire(self, *args: Any, **options: Any) -> Any:
        self.asked += 1
        return await super().acquire(*args, **options)


@asynchronous
async def test_who_waits_for_a_rate_asks_once_for_each_start() -> None:
    store = Counting()
    queues = [Queue("mail", rate=(1, 0.2))]
    async with Runner(store=store, workflows=[sending], queues=queues) as mine:
        handles = [await mine.start(sending, Number(number=n)) for n in range(6)]
        for handle in handles:
            await handle.result()
    assert store.asked <= 6 * 3  # one for each start; a timer may be early by a rounding, runs come one by one


@asynchronous
async def test_without_a_queue_nothing_is_asked() -> None:
    store = Counting()
    async with Runner(store=store, workflows=[freely], queues=MAIL) as mine:
        await mine.run(freely, Number(number=1))
    assert store.asked == 0


# Slots are free again


@asynchronous
async def test_a_cancelled_run_gives_back_what_it_waited_for_and_what_it_held(place: Place) -> None:
    async with runner(place, holding, sending, queues=[Queue("mail", concurrency=1)]) as mine:
        first = await mine.start(holding, Number(number=1))
        await begun(1)
        second, third = [await mine.start(holding, Number(number=n)) for n in (2, 3)]
        await eventually(lambda: _waiting(place, 2))
        await second.cancel()
        await eventually(lambda: _waiting(place, 1))
        await first.cancel()
        await begun(2)
        gauge.open.set()
        assert await third.result() == Success(Done(done=3))
        assert gauge.order == [1, 3]
        await eventually(lambda: none_is_left(place))


@asynchronous
async def test_a_paused_run_gives_its_place_up_and_waits_anew(place: Place) -> None:
    async with runner(place, holding, queues=[Queue("mail", concurrency=1)]) as mine:
        first = await mine.start(holding, Number(number=1))
        await begun(1)
        second = await mine.start(holding, Number(number=2))
        await eventually(lambda: _waiting(place, 1))
        await second.pause()
        await eventually(lambda: _waiting(place, 0))
        assert await second.why() == Waiting("resume")
        await second.resume()
        await eventually(lambda: _waiting(place, 1))
        gauge.open.set()
        assert [await handle.result() for handle in (first, second)] == [Success(Done(done=n)) for n in (1, 2)]
        await eventually(lambda: none_is_left(place))


@task(queue="mail", retry=Retry(attempts=2, delay=0.3, backoff="fixed"))
async def flaky(number: Number, *, ctx: TaskContext) -> Done:
    gauge.enter(number.number)
    gauge.leave()
    if ctx.attempt == 1 and number.number == 1:
        raise ConnectionError("not yet")
    return Done(done=number.number)


@asynchronous
async def test_a_retry_delay_holds_no_slot(place: Place) -> None:
    workflow = Workflow("flaky", flaky)
    async with runner(place, workflow, queues=[Queue("mail", concurrency=1)]) as mine:
        first = await mine.start(workflow, Number(number=1))
        await begun(1)
        assert await mine.run(workflow, Number(number=2)) == Success(Done(done=2))
        assert await first.result() == Success(Done(done=1))
        assert gauge.order == [1, 2, 1]
        await eventually(lambda: none_is_left(place))


@asynchronous
async def test_a_body_that_can_not_be_stopped_keeps_its_slot(place: Place) -> None:
    late = Workflow("late", block.with_options(timeout=0.05))
    async with runner(place, late, sending, queues=[Queue("mail", concurrency=1)]) as mine:
        outcome = await mine.run(late, Number(number=1))
        assert outcome.failure().failures[0].exception_type == "TimeoutError"
        second = await mine.start(sending, Number(number=2))
        await eventually(lambda: _waiting(place, 1))
        assert await slots(place) == [("block", True), ("send", False)]
        gauge.open.set()
        assert await second.result() == Success(Done(done=2))
        assert gauge.most == 1
        await eventually(lambda: none_is_left(place))


@asynchronous
async def test_so_does_the_body_of_a_cancelled_run(place: Place) -> None:
    async with runner(place, blocking, sending, queues=[Queue("mail", concurrency=1)]) as mine:
        first = await mine.start(blocking, Number(number=1))
        await begun(1)
        await first.cancel()
        second = await mine.start(sending, Number(number=2))
        await eventually(lambda: _waiting(place, 1))
        assert await slots(place) == [("block", True), ("send", False)]
        gauge.open.set()
        assert await second.result() == Success(Done(done=2))
        assert gauge.most == 1
        await eventually(lambda: none_is_left(place))


@asynchronous
async def test_whoever_leaves_in_order_leaves_its_slots(place: Place) -> None:
    async with runner(place, holding, work=False, queues=[Queue("mail", concurrency=1)]) as watching:
        async with runner(place, holding, grace_s=0) as mine:
            handles = [await mine.start(holding, Number(number=n)) for n in range(3)]
            await begun(1)
        assert await none_is_left(place)
        gauge.open.set()
        async with runner(place, holding):
            assert [await (await watching.get(h.id)).result() for h in handles] == [
                Success(Done(done=n)) for n in range(3)
            ]
        assert await none_is_left(place)
        assert gauge.order[0] == 0


@asynchronous
async def test_a_worker_takes_on_more_than_what_waits_in_a_queue(place: Place) -> None:
    """Runs that wait for a slot take no room from others."""
    async with runner(place, holding, freely, work=False, queues=[Queue("mail", concurrency=1)]) as submitting:
        for n in range(3):
            await submitting.start(holding, Number(number=n))
        handle = await submitting.start(freely, Number(number=9))
        async with runner(place, holding, freely, concurrency=2):
            assert await handle.result(timeout=20) == Success(Done(done=9))
            gauge.open.set()


# Declaring


def test_a_runner_that_declares_queues_knows_all_that_its_workflows_name() -> None:
    with pytest.raises(
        UnknownQueue, match='task "send" of workflow "send" is in queue "mail", which this runner does not'
    ):
        Runner(workflows=[sending], queues=[Queue("web")], store=MemoryStore())
    with pytest.raises(UnknownQueue, match="it declares none"):
        Runner(workflows=[sending], queues=[], store=MemoryStore())
    with pytest.raises(ValueError, match='two queues are named "mail"'):
        Runner(queues=[Queue("mail"), Queue("mail", concurrency=1)], store=MemoryStore())
    with pytest.raises(TypeError, match="'mail' is no queue"):
        Runner(queues=["mail"], store=MemoryStore())  # type: ignore[list-item]


@asynchronous
async def test_a_workflow_that_is_started_by_value_is_checked_too() -> None:
    async with Runner(queues=[Queue("web")], store=MemoryStore()) as mine:
        with pytest.raises(UnknownQueue):
            await mine.start(sending, Number(number=1))
        assert await mine.runs() == []


@asynchronous
async def test_a_queue_that_nobody_has_declared_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    with caplog.at_level(logging.WARNING, "cloaca.worker"):
        async with Runner(workflows=[sending], store=store) as mine:
            await asyncio.gather(*(mine.run(sending, Number(number=n)) for n in range(9)))
    assert [record.message.partition(",")[0] for record in caplog.records] == [
        'Queue "mail" of workflow "send" was never declared in this database'
    ]
    assert gauge.most == 9
    assert store.slots.held == store.slots.wanted == {}


@asynchronous
async def test_other_limits_are_told(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    with caplog.at_level(logging.WARNING, "cloaca.worker"):
        for queue in (Queue("mail", concurrency=2), Queue("mail", concurrency=2), Queue("mail", rate="5/min")):
            async with Runner(queues=[queue], store=store):
                pass
    assert [record.message for record in caplog.records] == [
        'Queue "mail" has other limits from now on: 5 per 60 s, was 2 at a time'
    ]


@pytest.mark.parametrize("priority", [101, -101, 1.0, True, None, "5"])
@asynchronous
async def test_a_priority_is_a_small_number(priority: Any) -> None:
    async with Runner(workflows=[freely], store=MemoryStore()) as mine:
        with pytest.raises(ValueError, match="a whole number from -100 to 100; the higher goes first"):
            await mine.start(freely, Number(number=1), priority=priority)
        assert await mine.runs() == []


@asynchronous
async def test_a_run_tells_its_priority_and_a_fork_keeps_it(place: Place) -> None:
    async with runner(place, freely) as mine:
        handle = await mine.start(freely, Number(number=1), priority=7)
        await handle.result()
        fork = await handle.fork(before=free)
        await fork.result()
        assert [info.priority for info in await mine.runs()] == [7, 7]


@asynchronous
async def test_where_slots_of_the_worker_are_scarce_the_higher_priority_is_first() -> None:
    order = []

    @task
    async def note(number: Number) -> None:
        order.append(number.number)
        await asyncio.sleep(0.001)

    noting = Workflow("note", note)
    async with Runner(workflows=[noting, holding], queues=MAIL, store=MemoryStore(), concurrency=1) as mine:
        first = await mine.start(holding, Number(number=0))
        await begun(1)
        handles = [await mine.start(noting, Number(number=n), priority=n % 3 - 1) for n in range(6)]
        gauge.open.set()
        for handle in (first, *handles):
            await handle.result()
    assert order == [2, 5, 1, 4, 0, 3]


class Failing(Counting):
    """Fails for a while when slots are asked for; of every second call only the answer is lost."""

    left = 0

    async def acquire(self, *args: Any, **options: Any) -> Any:
        if self.left == 0:
            return await super().acquire(*args, **options)
        self.left -= 1
        if self.left % 2:
            await super().acquire(*args, **options)
        self.asked += 1
        raise StoreUnavailable("not now")


@asynchronous
async def test_a_store_that_fails_is_asked_again_after_a_while_and_no_slot_is_lost() -> None:
    store = Failing()
    async with Runner(store=store, workflows=[sending], queues=MAIL) as mine:
        store.left = 3
        handles = [await mine.start(sending, Number(number=n)) for n in range(6)]
        await handles[0].cancel()
        for handle in handles[1:]:
            assert (await handle.result()).unwrap().done > 0
        assert gauge.most <= 2
    assert store.slots.held == store.slots.wanted == {}


@asynchronous
async def test_a_worker_that_has_lost_its_session_waits_under_another() -> None:
    store = MemoryStore()
    async with Runner(store=store, workflows=[sending, holding], queues=[Queue("mail", concurrency=1)]) as mine:
        first = await mine.start(holding, Number(number=1))
        await begun(1)
        second = await mine.start(sending, Number(number=2))
        store.sessions = dict.fromkeys(store.sessions, 0.0)
        await store.reap(time.time())
        gauge.open.set()
        assert [await handle.result() for handle in (first, second)] == [Success(Done(done=n)) for n in (1, 2)]
    assert store.slots.held == store.slots.wanted == {}


def test_a_blocking_runner_takes_queues_and_priorities(tmp_path: Path) -> None:
    with BlockingRunner(tmp_path / "runs.db", workflows=[sending], queues=MAIL) as mine:
        assert mine.run(sending, Number(number=1), priority=3) == Success(Done(done=1))
        assert [info.priority for info in mine.runs()] == [3]
