"""The events of a run: each once, causes before effects, for whoever listens from wherever since whenever."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from returns.result import Failure, Result, Success

from cloaca import Retry, RunEvent, RunHandle, RunnerClosed, Workflow, task
from tests.runner.databases import Database, asynchronous
from tests.runner.shop import A, B, C, Declined, Order, fetch, seed, shop

Brief = tuple[str, str | None, int | None]


def brief(events: list[RunEvent]) -> list[Brief]:
    return [(event.kind, event.task, event.attempt) for event in events]


async def told(events: AsyncIterator[RunEvent]) -> list[RunEvent]:
    return [event async for event in events]


async def story(handle: RunHandle[object, object]) -> list[Brief]:
    return brief(await told(handle.events()))


CHAIN: list[Brief] = [
    ("run_started", None, None),
    ("task_started", "seed", 1),
    ("task_succeeded", "seed", 1),
    ("task_started", "hold", 1),
    ("task_succeeded", "hold", 1),
    ("task_started", "end", 1),
    ("task_succeeded", "end", 1),
    ("run_succeeded", None, None),
]


class Held:
    """A chain whose middle waits to be released."""

    def __init__(self) -> None:
        release, begun = self.release, self.begun = asyncio.Event(), asyncio.Event()

        @task
        async def hold(a: A) -> B:
            begun.set()
            await release.wait()
            return B(b=a.a)

        @task
        def end(b: B) -> C:
            return C(c=b.b)

        self.workflow = Workflow("held", seed >> hold >> end)


@asynchronous
async def test_live_from_the_start(database: Database) -> None:
    held = Held()
    async with database.runner(held.workflow) as runner:
        handle = await runner.start(held.workflow, Order(order=1))
        listening = asyncio.create_task(story(handle))
        await held.begun.wait()
        held.release.set()
        assert await listening == CHAIN


@asynchronous
async def test_events_come_as_they_happen(database: Database) -> None:
    held = Held()
    async with database.runner(held.workflow) as runner:
        handle = await runner.start(held.workflow, Order(order=1))
        seen: list[RunEvent] = []
        async for event in handle.events():
            seen.append(event)
            if (event.kind, event.task) == ("task_started", "hold"):
                held.release.set()  # or the rest never comes
        assert brief(seen) == CHAIN
        assert [event.at for event in seen] == sorted(event.at for event in seen)
        assert all(event.at.utcoffset() is not None for event in seen)


@asynchronous
async def test_a_late_listener_hears_everything(database: Database) -> None:
    held = Held()
    async with database.runner(held.workflow) as runner:
        handle = await runner.start(held.workflow, Order(order=1))
        await held.begun.wait()
        listening = [asyncio.create_task(story(handle)), asyncio.create_task(story(await runner.get(handle.id)))]
        await asyncio.sleep(0.02)
        held.release.set()
        for listener in listening:
            assert await listener == CHAIN


@asynchronous
async def test_after_the_end(database: Database) -> None:
    held = Held()
    held.release.set()
    async with database.runner(held.workflow) as runner:
        handle = await runner.start(held.workflow, Order(order=1))
        await handle.result()
        assert await story(handle) == CHAIN
        assert await story(handle) == CHAIN
    async with database.runner(held.workflow) as runner:
        assert await story(await runner.get(handle.id)) == CHAIN


@asynchronous
async def test_from_another_runner(database: Database) -> None:
    held = Held()
    async with database.runner(held.workflow) as runner, database.runner(held.workflow, work=False) as other:
        handle = await runner.start(held.workflow, Order(order=1))
        listening = asyncio.create_task(story(await other.get(handle.id)))
        await held.begun.wait()
        held.release.set()
        assert await listening == CHAIN


@asynchronous
async def test_from_before_anybody_takes_the_run(database: Database) -> None:
    held = Held()
    held.release.set()
    async with database.runner(held.workflow, work=False) as submitter:
        handle = await submitter.start(held.workflow, Order(order=1))
        listening = asyncio.create_task(story(handle))
        async with database.runner(held.workflow):
            assert await listening == CHAIN


@asynchronous
async def test_a_handle_that_becomes_live(database: Database) -> None:
    """The run is in the database when the listener comes; then this very runner takes it."""
    held = Held()
    held.release.set()
    async with database.runner(held.workflow, work=False) as submitter:
        run = (await submitter.start(held.workflow, Order(order=1))).id
    async with database.runner(held.workflow) as runner:
        assert await story(await runner.get(run)) == CHAIN


@asynchronous
async def test_retries_failures_and_skips(database: Database) -> None:
    @task(retry=Retry(attempts=2, delay=0.001))
    def flaky(order: Order) -> A:
        raise ConnectionError("no line")

    @task
    async def declines(order: Order) -> Result[B, Declined]:
        return Failure(Declined(reason="no"))

    @task
    def end(a: A) -> C:
        return C(c=1)

    def never(order: Order) -> bool:
        return False

    workflow = Workflow("mixed", flaky >> end, declines, fetch.when(never), input=Order)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        live = await told(handle.events())
        stored = await told(handle.events())
        expected: list[Brief] = [
            ("run_started", None, None),
            ("task_started", "flaky", 1),
            ("attempt_failed", "flaky", 1),
            ("task_started", "flaky", 2),
            ("task_failed", "flaky", 2),
            ("task_started", "declines", 1),
            ("task_failed", "declines", 1),
            ("task_skipped", "fetch", None),
            ("task_skipped", "end", None),
            ("run_failed", None, None),
        ]
        for events in (live, stored):
            assert Counter(brief(events)) == Counter(expected)
            assert_causal(brief(events), ["flaky", "declines"])
            details = {(event.kind, event.attempt): event.detail for event in events if event.task == "flaky"}
            assert details["attempt_failed", 1] == details["task_failed", 2] == "no line"


@asynchronous
async def test_a_condition_that_raises(database: Database) -> None:
    def odd(order: Order) -> bool:
        raise LookupError("no idea")

    workflow = Workflow("odd", fetch.when(odd) >> seed, input=Order)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        live, stored = await story(handle), await story(handle)
        expected: list[Brief] = [
            ("run_started", None, None),
            ("task_failed", "fetch", 1),
            ("task_skipped", "seed", None),
            ("run_failed", None, None),
        ]
        assert live == stored == expected


@asynchronous
async def test_many_parallel_tasks_and_many_listeners(database: Database) -> None:
    """Listeners that come at any moment hear the same, in causal order."""

    @task(retry=Retry(attempts=3, delay=0))
    async def work(a: A) -> None:
        await asyncio.sleep(0)

    @task
    def sync(a: A) -> None: ...

    tasks = [*(work.named(f"w{n}") for n in range(15)), *(sync.named(f"s{n}") for n in range(15))]
    workflow = Workflow("parallel", seed >> tasks >> fetch, input=Order)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        listening: list[asyncio.Task[list[Brief]]] = []
        for _ in range(40):
            listening.append(asyncio.create_task(story(handle)))
            await asyncio.sleep(0)
        await handle.result()
        final = await story(handle)
        names = ["seed", "fetch", *(task.name for task in tasks)]
        assert len(final) == 2 + 2 * len(names)
        for listener in listening:
            heard = await listener
            assert Counter(heard) == Counter(final)
            assert_causal(heard, names)
            assert heard.index(("task_succeeded", "seed", 1)) < heard.index(("task_started", "w0", 1))
            assert heard.index(("task_succeeded", "s14", 1)) < heard.index(("task_started", "fetch", 1))


def assert_causal(events: list[Brief], tasks: list[str]) -> None:
    """The run's start comes first, its end last; of each task, starts and ends alternate, attempts count up."""
    assert events[0] == ("run_started", None, None)
    assert events[-1][0] in ("run_succeeded", "run_failed", "run_cancelled")
    for name in tasks:
        mine = [event for event in events if event[1] == name]
        assert [kind.startswith("task_started") for kind, _, _ in mine] == [True, False] * (len(mine) // 2)
        assert [attempt for _, _, attempt in mine] == [n // 2 + 1 for n in range(len(mine))]


@asynchronous
async def test_a_run_that_moves_on_to_another_worker(database: Database) -> None:
    """The listener stays; its runner's worker leaves the run to another."""
    held = Held()
    first = database.runner(held.workflow, grace_s=0)
    async with database.runner(held.workflow, work=False) as watcher:
        async with first:
            handle = await first.start(held.workflow, Order(order=1))
            await held.begun.wait()
            mine = asyncio.create_task(story(handle))
            watching = asyncio.create_task(story(await watcher.get(handle.id)))
            await asyncio.sleep(0)
        with pytest.raises(RunnerClosed):
            await mine
        held.release.set()
        async with database.runner(held.workflow):
            assert await watching == CHAIN


@asynchronous
async def test_a_listener_may_leave(database: Database) -> None:
    held = Held()
    async with database.runner(held.workflow) as runner:
        handle = await runner.start(held.workflow, Order(order=1))
        events = handle.events()
        assert (await anext(events)).kind == "run_started"
        await events.aclose()
        held.release.set()
        assert await handle.result() == Success(C(c=1))
        assert await story(handle) == CHAIN


@asynchronous
async def test_the_events_of_a_cancelled_run(database: Database) -> None:
    held = Held()
    async with database.runner(held.workflow) as runner:
        handle = await runner.start(held.workflow, Order(order=1))
        live = asyncio.create_task(told(handle.events()))
        await held.begun.wait()
        await handle.cancel()
        expected = [*CHAIN[:4], ("attempt_ignored", "hold", None), ("run_cancelled", None, None)]
        heard = await live
        # An attempt that was cut off within a second has left no trace but the note, for who began to listen after it.
        untold = [event for event in expected if event != ("task_started", "hold", 1)]
        assert brief(heard) in (expected, untold)
        assert heard[-2].detail == "the attempt was cancelled"
        assert await story(handle) == untold


@asynchronous
async def test_a_pending_run_that_is_cancelled(database: Database) -> None:
    async with database.runner(shop, work=False) as runner:
        handle = await runner.start(shop, Order(order=1))
        await handle.cancel()
        assert await story(handle) == [("run_started", None, None), ("run_cancelled", None, None)]
