"""Pausing: once it has returned no new attempt starts, what runs is committed, and nothing goes on until resumed."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from returns.result import Success

from cloaca import Retry, Runner, RunNotFound, TaskContext, Workflow, task
from cloaca.runner import controls
from tests.runner.controlled import Handle, Stage, database, kinds, postgres, told, until_status
from tests.runner.databases import Database, asynchronous, eventually
from tests.runner.shop import A, D, Order

__all__ = ["database", "postgres"]

POLL_S = 1.0


def drives(runner: Runner) -> int:
    worker = runner._engine.worker
    assert worker is not None
    return len(worker.drives)


@asynchronous
async def test_what_runs_is_committed_and_nothing_else_starts(database: Database) -> None:
    stage = Stage()
    stage.holds = {"left", "right"}
    workflow = stage.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await stage.begun("left")
        await stage.begun("right")
        await handle.pause()
        assert await handle.status() == "running"  # two attempts are in flight
        stage.holds.clear()
        await until_status(handle, "paused")
        assert drives(runner) == 0
        assert {info.name: info.status for info in await handle.tasks()} == {
            "first": "succeeded", "left": "succeeded", "right": "succeeded", "last": "ready",
        }  # fmt: skip
        waiting = await handle.why()
        assert (waiting.kind, waiting.task, waiting.until) == ("resume", None, None)
        assert [info.id for info in await runner.runs(status="paused")] == [handle.id]
        await asyncio.sleep(2 * POLL_S)
        assert stage.count("last") == 0
        await handle.resume()
        assert await handle.result() == Success(D(d=102))
        assert [kind for kind in await kinds(handle) if kind.startswith("run_")] == [
            "run_started", "run_paused", "run_resumed", "run_succeeded",
        ]  # fmt: skip
        assert stage.log == [(name, 1) for name in ("first", "left", "right", "last")]


@asynchronous
async def test_a_run_with_nothing_in_flight_is_paused_at_once(database: Database) -> None:
    stage = Stage()
    stage.fails = {"left"}
    workflow = stage.workflow(retry=Retry(attempts=3, delay=0.3, backoff="fixed"))
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))

        async def waits() -> bool:
            return (await handle.why()).kind == "retry"

        await eventually(waits)
        await handle.pause()
        assert await handle.status() == "paused"
        await handle.pause()
        assert await handle.status() == "paused"
        await asyncio.sleep(0.5)
        assert stage.count("left") == 1
        stage.fails.clear()
        began = time.monotonic()
        await handle.resume()
        await handle.resume()  # a run that is not paused stays as it is
        assert await handle.result() == Success(D(d=102))
        assert time.monotonic() - began < POLL_S / 2  # picked up at once, not at the next look
        assert [entry for entry in stage.log if entry[0] == "left"] == [("left", 1), ("left", 2)]


@asynchronous
async def test_a_run_that_nobody_drives_is_paused_and_survives_restarts(database: Database) -> None:
    stage = Stage()
    workflow = stage.workflow()
    async with database.runner(workflow, work=False) as submitting:
        handle = await submitting.start(workflow, Order(order=1))
        await handle.pause()
        assert await handle.status() == "paused"
    async with database.runner(workflow) as runner:
        await asyncio.sleep(1.5 * POLL_S)
        same = await runner.get(handle.id)
        assert await same.status() == "paused"
        assert stage.log == []
        async with database.runner(workflow, work=False) as other:
            await (await other.get(handle.id)).resume()
        assert await same.result(timeout=10) == Success(D(d=102))


@asynchronous
async def test_another_runner_hears_within_its_poll_interval(database: Database) -> None:
    stage = Stage()
    stage.holds = {"left", "right"}
    workflow = stage.workflow()
    async with database.runner(workflow) as runner, database.runner(workflow, work=False) as other:
        handle = await runner.start(workflow, Order(order=1))
        await stage.begun("left")
        await stage.begun("right")
        remote = await other.get(handle.id)
        began = time.monotonic()
        await remote.pause()
        assert time.monotonic() - began < 2 * POLL_S
        stage.holds.clear()
        await until_status(remote, "paused")
        assert stage.count("last") == 0
        await remote.resume()
        assert await handle.result(timeout=10) == Success(D(d=102))


@asynchronous
async def test_a_request_that_is_taken_back_in_time(database: Database) -> None:
    """``right`` holds all the time; ``left`` ends while the run pauses, and what is behind it alone goes on after."""
    stage = Stage()
    stage.holds = {"left", "right"}
    workflow = stage.workflow(behind=True)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await stage.begun("left")
        await stage.begun("right")
        await handle.pause()
        stage.holds = {"right"}
        await asyncio.sleep(0.2)
        assert stage.count("tidy") == 0
        await handle.resume()
        await stage.begun("tidy")
        assert await handle.status() == "running"
        stage.holds.clear()
        assert await handle.result() == Success(A(a=1))
        assert "run_paused" not in await kinds(handle)
        assert [stage.count(name) for name in ("first", "left", "right", "last", "tidy")] == [1] * 5


@asynchronous
async def test_a_request_from_elsewhere_that_is_taken_back_from_elsewhere(database: Database) -> None:
    stage = Stage()
    stage.holds = {"left", "right"}
    workflow = stage.workflow(behind=True)
    async with database.runner(workflow) as runner, database.runner(workflow, work=False) as other:
        handle = await runner.start(workflow, Order(order=1))
        await stage.begun("left")
        remote = await other.get(handle.id)
        await remote.pause()
        stage.holds = {"right"}
        await asyncio.sleep(0.1)
        assert stage.count("tidy") == 0
        await remote.resume()
        await stage.begun("tidy")
        stage.holds.clear()
        assert await handle.result(timeout=10) == Success(A(a=1))


@asynchronous
async def test_a_run_that_ends_with_what_is_in_flight_is_not_paused(database: Database) -> None:
    stage = Stage()
    stage.holds = {"last"}
    workflow = stage.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await stage.begun("last")
        await handle.pause()
        stage.holds.clear()
        assert await handle.result() == Success(D(d=102))
        await handle.pause()  # a run that has ended stays as it is
        await handle.resume()
        assert await handle.status() == "succeeded"
        assert (await told(handle))[-1][0] == "run_succeeded"


@asynchronous
async def test_a_paused_run_can_be_cancelled(database: Database) -> None:
    stage = Stage()
    stage.holds = {"left"}
    workflow = stage.workflow()
    async with database.runner(workflow) as runner:
        paused, pausing = [await runner.start(workflow, Order(order=n)) for n in (1, 2)]
        await stage.begun("left", 2)
        await paused.pause()
        stage.holds.clear()
        await until_status(paused, "paused")
        stage.holds = {"left"}
        await paused.cancel()
        assert await paused.status() == "cancelled"
        await pausing.cancel()
        third = await runner.start(workflow, Order(order=3))
        await stage.begun("left", 3)
        await third.pause()
        await third.cancel()  # while it pauses
        assert await third.status() == "cancelled"
        stage.holds.clear()


@asynchronous
async def test_a_failing_attempt_is_counted_while_the_run_pauses(database: Database) -> None:
    stage = Stage()
    stage.holds, stage.fails = {"left"}, {"left"}
    workflow = stage.workflow(retry=Retry(attempts=3, delay=0.01))
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await stage.begun("left")
        await handle.pause()
        stage.holds.clear()
        await until_status(handle, "paused")
        await asyncio.sleep(0.1)
        assert stage.count("left") == 1
        assert [failure.attempt for failure in await handle.failures()] == [1]
        stage.fails.clear()
        await handle.resume()
        assert await handle.result() == Success(D(d=102))
        assert stage.log.count(("left", 2)) == 1


@asynchronous
async def test_a_body_that_can_not_be_stopped_keeps_the_run_from_being_paused(database: Database) -> None:
    """Else another attempt might run beside it, once the run is resumed."""
    release, beside = threading.Event(), []

    @task(timeout=0.2, retry=Retry(attempts=2, delay=0.01))
    def hang(order: Order, *, ctx: TaskContext) -> A:
        if ctx.attempt == 1:
            release.wait(20)
        else:
            beside.append(release.is_set())
        return A(a=order.order)

    workflow = Workflow("hanging", hang)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))

        async def has_failed() -> bool:
            return bool(await handle.failures())

        await eventually(has_failed)
        await handle.pause()
        assert await handle.status() == "running"
        release.set()
        await until_status(handle, "paused")
        await handle.resume()
        assert await handle.result() == Success(A(a=1))
        assert beside == [True]


@asynchronous
async def test_a_worker_that_leaves_while_a_run_pauses_leaves_it_paused(database: Database) -> None:
    stage = Stage()
    stage.holds = {"left"}
    workflow = stage.workflow()
    async with database.runner(workflow, grace_s=0) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await stage.begun("left")
        await handle.pause()
    stage.holds.clear()
    async with database.runner(workflow) as runner:
        same = await runner.get(handle.id)
        await asyncio.sleep(1.2 * POLL_S)
        assert await same.status() == "paused"
        assert stage.count("left") == 1
        await same.resume()
        assert await same.result() == Success(D(d=102))
        assert [entry for entry in stage.log if entry[0] == "left"] == [("left", 1), ("left", 1)]


@asynchronous
async def test_paused_runs_take_no_room(database: Database) -> None:
    stage = Stage()
    stage.holds = {"left", "right"}
    workflow = stage.workflow()
    async with database.runner(workflow, concurrency=2) as runner:
        handles = [await runner.start(workflow, Order(order=n)) for n in range(6)]
        await asyncio.gather(*(handle.pause() for handle in handles))
        stage.holds.clear()
        for handle in handles:
            await until_status(handle, "paused")
        assert drives(runner) == 0
        assert await runner.run(workflow, Order(order=9)) == Success(D(d=910))
        await asyncio.gather(*(handle.resume() for handle in handles))
        assert [await handle.result() for handle in handles] == [Success(D(d=n * 100 + n + 1)) for n in range(6)]


@asynchronous
async def test_events_go_on_after_a_pause(database: Database) -> None:
    stage = Stage()
    stage.holds = {"left"}
    workflow = stage.workflow()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        following = asyncio.create_task(told_to_the_end(handle))
        await stage.begun("left")
        await handle.pause()
        stage.holds.clear()
        await until_status(handle, "paused")
        await asyncio.sleep(0.6)
        await handle.resume()
        found = await following
        assert found.index("task_succeeded left") < found.index("run_paused") < found.index("run_resumed")
        assert found.index("run_resumed") < found.index("task_started last")
        assert found[-1] == "run_succeeded"
        assert len(set(found)) == len(found)


async def told_to_the_end(handle: Handle) -> list[str]:
    return [f"{event.kind} {event.task or ''}".strip() async for event in handle.events()]


@asynchronous
async def test_a_run_that_is_not_there(database: Database) -> None:
    async with database.runner() as runner:
        for control in (controls.pause, controls.resume, controls.cancel):
            with pytest.raises(RunNotFound):
                await control(runner._engine, 7)
