"""Timers and signals: durable, in order, once; no thread, no slot, no statement while a run waits."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel
from returns.result import Success

from cloaca import (
    BlockingRunner,
    NoSuchSignal,
    PayloadTooLarge,
    RunHandle,
    Runner,
    RunNotFound,
    Workflow,
    sleep,
    task,
    wait_for,
)
from cloaca.interpreter.drives import Drive
from cloaca.interpreter.workers import Worker
from cloaca.stores.memory import MemoryStore
from tests.runner.controlled import database, kinds, postgres, until_status
from tests.runner.databases import Database, asynchronous, eventually

DAY_S = 86_400.0

__all__ = ["database", "postgres"]  # fixtures


class Order(BaseModel):
    order: int


class Approval(BaseModel):
    by: str


class Signed(Approval):
    signature: str = ""


class Release(BaseModel):
    text: str


@task
def release(order: Order, approval: Approval) -> Release:
    return Release(text=f"{order.order} by {approval.by}")


@task
def note(order: Order) -> None: ...


class Pair(BaseModel):
    one: Approval
    two: Approval


@task
def both(pair: Pair) -> Release:
    return Release(text=f"{pair.one.by}, {pair.two.by}")


approved = Workflow("approved", note >> wait_for(Approval) >> release, input=Order)
hasty = Workflow("hasty", wait_for(Approval, timeout=0.05) >> release, input=Order)
patient = Workflow("patient", sleep(timedelta(days=30)) >> note, input=Order)
twice = Workflow(
    "twice",
    [wait_for(Approval).named("one").into("one"), wait_for(Approval).named("two").into("two")] >> both,
)
ALL = (approved, hasty, patient, twice)


def worker_of(runner: Runner) -> Worker:
    worker = runner._engine.worker
    assert worker is not None
    return worker


def drive_of(runner: Runner, handle: RunHandle[Any, Any, Any]) -> Drive:
    return worker_of(runner).drives[int(handle.id)]


async def waits(handle: RunHandle[Any, Any, Any], kind: str) -> None:
    async def does() -> bool:
        return (await handle.why()).kind == kind

    await eventually(does)


class Clock:
    """A worker's clock that is set forward and back."""

    def __init__(self, runner: Runner) -> None:
        self.worker, self.shift = worker_of(runner), 0.0
        now = self.worker.clock.now
        self.worker.now = lambda: now() + self.shift

    async def set(self, shift: float) -> None:
        self.shift = shift
        await self.worker._beat()
        await self.worker.look()


# Signals


@asynchronous
async def test_a_signal_goes_to_the_wait_that_has_begun(database: Database) -> None:
    async with database.runner(*ALL) as runner:
        handle = await runner.start(approved, Order(order=7))
        await waits(handle, "signal")
        why = await handle.why()
        assert (why.task, why.field, why.until) == ("wait_for:Approval", "Approval", None)
        waiting = {info.name: info for info in await handle.tasks()}["wait_for:Approval"]
        assert (waiting.status, waiting.attempt, waiting.started_at is not None) == ("waiting", 1, True)
        await handle.send(Approval(by="Ada"))
        assert await handle.result() == Success(Release(text="7 by Ada"))
        assert (await handle.context())["by"] == "Ada"
        assert await handle.output_of("wait_for:Approval") == Approval(by="Ada")
        assert await kinds(handle) == [
            "run_started", "task_started", "task_succeeded", "wait_began", "signal_received", "task_succeeded",
            "task_started", "task_succeeded", "run_succeeded",
        ]  # fmt: skip


@asynchronous
async def test_a_signal_is_kept_until_its_wait_is_reached(database: Database) -> None:
    async with database.runner(*ALL, work=False) as runner:
        handle = await runner.start(approved, Order(order=7))
        await handle.send(Approval(by="Ada"))
    async with database.runner(*ALL) as runner:
        handle = await runner.get(handle.id)
        assert await handle.result() == Success(Release(text="7 by Ada"))


@asynchronous
async def test_a_signal_from_another_process_is_heard(database: Database) -> None:
    async with database.runner(*ALL) as runner, database.runner(*ALL, work=False) as other:
        handle = await runner.start(approved, Order(order=7))
        await waits(handle, "signal")
        same = await other.get(handle.id)
        await same.send(Signed(by="Ada", signature="x"))
        assert await handle.result() == Success(Release(text="7 by Ada"))


@asynchronous
async def test_signals_are_taken_in_order_each_once(database: Database) -> None:
    async with database.runner(*ALL) as runner:
        handle = await runner.start(twice)
        for name in ("Ada", "Grace"):
            await handle.send(Approval(by=name))
        with pytest.raises(NoSuchSignal):
            await handle.send(Approval(by="Mallory"))
        assert await handle.result() == Success(Release(text="Ada, Grace"))
        history = await runner._engine.history(int(handle.id))
        assert [signal.taken_by for signal in history.signals] == ["one", "two"]


@asynchronous
async def test_what_no_wait_takes_is_refused(database: Database) -> None:
    async with database.runner(*ALL, payload_limit=100) as runner:
        handle = await runner.start(approved, Order(order=7))
        with pytest.raises(NoSuchSignal, match="waits for no Order: its workflow waits for Approval"):
            await handle.send(Order(order=1))
        with pytest.raises(PayloadTooLarge):
            await handle.send(Approval(by="x" * 200))
        with pytest.raises(TypeError, match="an instance of the model"):
            await handle.send(Approval)  # type: ignore[arg-type]  # the class itself
        await handle.send(Approval(by="Ada"))
        await handle.result()
        with pytest.raises(NoSuchSignal, match=r"has ended \(succeeded\)"):
            await handle.send(Approval(by="Ada"))
        with pytest.raises(NoSuchSignal, match="no signal at all"):
            await (await runner.start(patient, Order(order=1))).send(Approval(by="Ada"))
        await runner._engine.store.prune(runner._engine.clock.now() + 9, 9)
        with pytest.raises(RunNotFound):
            await handle.send(Approval(by="Ada"))


def test_signals_without_await(tmp_path: Any) -> None:
    with BlockingRunner(tmp_path / "runs.db", workflows=ALL) as runner:
        handle = runner.start(approved, Order(order=7))
        handle.send(Approval(by="Ada"))
        assert handle.result() == Success(Release(text="7 by Ada"))
        assert handle.children() == []


# Time


@asynchronous
async def test_a_wait_that_times_out_has_failed_and_begins_anew_with_a_retry(database: Database) -> None:
    async with database.runner(*ALL) as runner:
        handle = await runner.start(hasty, Order(order=7))
        failure = (await handle.result()).failure()
        assert (failure.task, failure.error) == ("wait_for:Approval", None)
        [failed] = failure.failures
        assert (failed.exception_type, failed.message) == ("WaitTimeout", "no Approval was sent within 0.05 s")
        with pytest.raises(NoSuchSignal):
            await handle.send(Approval(by="Ada"))
        clock = Clock(runner)
        clock.shift = -DAY_S  # so that it does not time out
        await handle.retry()
        await handle.send(Approval(by="Ada"))
        assert await handle.result() == Success(Release(text="7 by Ada"))
        assert next((info.name, info.attempt) for info in await handle.tasks()) == ("wait_for:Approval", 2)


@asynchronous
async def test_thirty_days_pass_at_once_when_the_clock_says_so(database: Database) -> None:
    async with database.runner(*ALL) as runner:
        clock = Clock(runner)
        handle = await runner.start(patient, Order(order=7))
        await waits(handle, "timer")
        outcome = clock.worker._loop.create_task(handle.result())  # so that it is not parked
        await waits(handle, "timer")
        await clock.set(29.9 * DAY_S)
        assert await handle.status() == "running"
        await clock.set(-DAY_S)  # set back: the timer is a promise about the clock
        assert (await handle.why()).kind == "timer"
        await clock.set(30 * DAY_S + 1)
        assert await outcome == Success(None)
        [slept, _] = await handle.tasks()
        assert slept.started_at is not None
        assert slept.finished_at is not None
        assert slept.finished_at - slept.started_at >= timedelta(days=30)


@asynchronous
async def test_a_timer_goes_on_over_restarts_to_the_same_moment(database: Database) -> None:
    async with database.runner(*ALL) as runner:
        handle = await runner.start(patient, Order(order=7))
        await waits(handle, "timer")
        until = (await handle.why()).until
    async with database.runner(*ALL) as runner:
        handle = await runner.get(handle.id)
        await waits(handle, "timer")
        assert (await handle.why()).until == until
        assert await kinds(handle) == ["run_started", "wait_began"]
        await Clock(runner).set(30 * DAY_S + 1)
        assert await handle.result() == Success(None)


@asynchronous
async def test_nothing_waited_for_ends_in_a_pause(database: Database) -> None:
    async with database.runner(*ALL) as runner:
        clock = Clock(runner)
        timed, signalled = await runner.start(patient, Order(order=7)), await runner.start(approved, Order(order=8))
        await waits(timed, "timer")
        await waits(signalled, "signal")
        for handle in (timed, signalled):
            await handle.pause()
            await until_status(handle, "paused")
        await signalled.send(Approval(by="Ada"))
        await clock.set(31 * DAY_S)
        assert [await handle.status() for handle in (timed, signalled)] == ["paused", "paused"]
        for handle in (timed, signalled):
            await handle.resume()
        assert await timed.result() == Success(None)
        assert await signalled.result() == Success(Release(text="8 by Ada"))


@asynchronous
async def test_a_waiting_run_is_cancelled_and_retried(database: Database) -> None:
    async with database.runner(*ALL) as runner:
        handle = await runner.start(approved, Order(order=7))
        await waits(handle, "signal")
        await handle.cancel()
        assert [info.status for info in await handle.tasks()] == ["succeeded", "cancelled", "cancelled"]
        await handle.retry()
        await waits(handle, "signal")
        await handle.send(Approval(by="Ada"))
        assert await handle.result() == Success(Release(text="7 by Ada"))


@asynchronous
async def test_a_fork_waits_again_and_reuses_what_was_answered(database: Database) -> None:
    async with database.runner(*ALL) as runner:
        handle = await runner.start(approved, Order(order=7))
        await handle.send(Approval(by="Ada"))
        await handle.result()
        again = await handle.fork(before="wait_for:Approval")
        await again.send(Approval(by="Grace"))
        assert await again.result() == Success(Release(text="7 by Grace"))
        assert await (await again.fork(before=release)).result() == Success(Release(text="7 by Grace"))


# What waiting costs


@asynchronous
async def test_a_waiting_run_takes_no_slot_and_no_statement(database: Database) -> None:
    async with database.runner(*ALL, concurrency=1) as runner:
        worker = worker_of(runner)
        handles = [await runner.start(approved, Order(order=n)) for n in range(20)]
        for handle in handles:
            await waits(handle, "signal")
        assert worker._active == 0
        assert worker._slots.free == 1
        calls: list[str] = []
        store = runner._engine.store
        for name in ("transact", "hear", "history", "claim", "wake", "run"):
            setattr(store, name, partial(calls.append, name))  # which nobody can await
        worker.commits.renew_at = float("inf")
        for _ in range(5):
            await worker._beat()
        for name in ("transact", "hear", "history", "claim", "wake", "run"):
            delattr(store, name)
        assert calls == []


@asynchronous
async def test_what_rests_long_is_parked_and_comes_back(database: Database) -> None:
    async with database.runner(*ALL) as runner:
        clock, worker = Clock(runner), worker_of(runner)
        timed, signalled = await runner.start(patient, Order(order=7)), await runner.start(approved, Order(order=8))
        await waits(timed, "timer")
        await waits(signalled, "signal")
        await clock.set(30.0)
        assert len(worker.drives) == 2
        await clock.set(100.0)
        await worker.commits.flushed()
        assert worker.drives == {}
        for handle in (timed, signalled):
            row = await runner._engine.store.run(int(handle.id))
            assert row is not None
            assert (row.status, row.owner) == ("running", None)
        assert ((await timed.why()).kind, (await signalled.why()).kind) == ("timer", "signal")
        assert len(worker._alarms) <= 64
        await signalled.send(Approval(by="Ada"))
        assert await signalled.result() == Success(Release(text="8 by Ada"))
        if isinstance(database.memory, MemoryStore) or type(database) is Database:  # else the server has its own clock
            await clock.set(30 * DAY_S + 101)
            assert await timed.result() == Success(None)
        await timed.cancel()


@asynchronous
async def test_what_somebody_here_waits_for_is_not_parked(database: Database) -> None:
    async with database.runner(*ALL) as runner:
        clock, worker = Clock(runner), worker_of(runner)
        handle = await runner.start(approved, Order(order=7))
        await waits(handle, "signal")
        with pytest.raises(TimeoutError):
            await handle.result(timeout=0.01)
        waiting = worker._loop.create_task(handle.result())
        await waits(handle, "signal")
        await clock.set(100.0)
        assert list(worker.drives) == [int(handle.id)]
        await handle.send(Approval(by="Ada"))
        assert await waiting == Success(Release(text="7 by Ada"))
