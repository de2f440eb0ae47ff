"""The runner without ``await``: from a plain program, from threads, inside a running event loop, inside a task."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from returns.result import Failure, Success

from cloaca import (
    BlockingRunner,
    InvalidDatabaseUrl,
    RunFailure,
    RunnerClosed,
    RunNotFound,
    StoreUnavailable,
    Waiting,
    Workflow,
    task,
)
from tests.runner.shop import A, B, Order, Shipment, seed, shop


@pytest.fixture(params=["memory", "file"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/runs.db"


def test_everything_of_a_handle(database: str) -> None:
    with BlockingRunner(database, workflows=[shop]) as runner:
        assert runner.run(shop, Order(order=1)) == Success(Shipment(tracking="paid-1-10/sku-1"))
        handle = runner.start(shop, Order(order=2), key="two")
        assert handle.result(timeout=20) == Success(Shipment(tracking="paid-2-10/sku-2"))
        assert repr(handle) == f"<run {handle.id} of shop>"
        assert handle.workflow is shop
        assert handle.status() == "succeeded"
        assert handle.context()["sku"] == "sku-2"
        assert handle.output_of("ship") == Shipment(tracking="paid-2-10/sku-2")
        assert handle.failures() == []
        assert [info.status for info in handle.tasks()] == ["succeeded"] * 3
        assert handle.why() == Waiting("nothing")
        handle.cancel()
        assert handle.status() == "succeeded"
        assert runner.get(handle.id).status() == "succeeded"
        assert [info.id for info in runner.runs(workflow=shop, status="succeeded", limit=1)] == [handle.id]
        events = list(handle.events())
        assert (events[0].kind, events[-1].kind, len(events)) == ("run_started", "run_succeeded", 8)
        assert next(iter(handle.events())).kind == "run_started"  # a listener that leaves
        assert runner.start(shop, Order(order=2), key="two").id == handle.id
        match runner.run(shop, Order(order=-1)):
            case Failure(RunFailure(task="charge")):
                pass
            case other:
                pytest.fail(f"{other}")
        with pytest.raises(RunNotFound):
            runner.get("7")


def test_live_events_and_timeouts(database: str) -> None:
    release = threading.Event()

    @task
    def hold(order: Order) -> A:
        release.wait(20)
        return A(a=1)

    workflow = Workflow("held", hold)
    with BlockingRunner(database, workflows=[workflow]) as runner:
        handle = runner.start(workflow, Order(order=1))
        with pytest.raises(TimeoutError):
            handle.result(timeout=0.02)
        kinds = []
        for event in handle.events():
            kinds.append(event.kind)
            if event.kind == "task_started":
                release.set()
        assert kinds == ["run_started", "task_started", "task_succeeded", "run_succeeded"]


def test_from_many_threads(database: str) -> None:
    with BlockingRunner(database, workflows=[shop]) as runner, ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda order: runner.run(shop, Order(order=order)), range(64)))
        assert outcomes == [Success(Shipment(tracking=f"paid-{n}-10/sku-{n}")) for n in range(64)]
        keyed = set(pool.map(lambda _: runner.start(shop, Order(order=1), key="one").id, range(32)))
        assert len(keyed) == 1


def test_inside_a_running_loop(database: str) -> None:
    async def notebook() -> None:
        with BlockingRunner(database, workflows=[shop]) as runner:
            assert runner.run(shop, Order(order=1)) == Success(Shipment(tracking="paid-1-10/sku-1"))
            await asyncio.sleep(0)
            assert list(runner.start(shop, Order(order=1)).events())

    asyncio.run(notebook())


def test_from_a_synchronous_task_of_its_own(database: str) -> None:
    inner = Workflow("inner", seed)

    @task
    def outer(order: Order) -> A:
        return runner.run(inner, order).unwrap()

    workflow = Workflow("outer", outer)
    with BlockingRunner(database, workflows=[workflow, inner]) as runner:
        assert runner.run(workflow, Order(order=3)) == Success(A(a=3))


def test_from_an_asynchronous_task_of_its_own(database: str) -> None:
    """It would wait for itself for ever; it is told so instead."""

    @task
    async def outer(order: Order) -> A:
        return runner.run(inner, order).unwrap()

    inner, workflow = Workflow("inner", seed), Workflow("outer", outer)
    with BlockingRunner(database, workflows=[workflow, inner]) as runner:
        match runner.run(workflow, Order(order=3)):
            case Failure(RunFailure(task="outer", failures=(failure,))):
                assert "BlockingRunner was called on its own event loop" in failure.message
            case other:
                pytest.fail(f"{other}")


def test_before_and_after(database: str) -> None:
    runner = BlockingRunner(database, workflows=[shop])
    with pytest.raises(RunnerClosed, match="with BlockingRunner"):
        runner.run(shop, Order(order=1))
    with runner:
        handle = runner.start(shop, Order(order=1))
        handle.result()
    for call in (handle.status, handle.result, handle.tasks, handle.cancel, lambda: list(handle.events())):
        with pytest.raises(RunnerClosed):
            call()
    with pytest.raises(RunnerClosed), runner:
        pass
    runner.__exit__(None, None, None)  # as often as one likes


def test_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(InvalidDatabaseUrl):
        BlockingRunner("nonsense")
    threads = threading.active_count()
    for _ in range(5):
        with pytest.raises(StoreUnavailable), BlockingRunner(tmp_path / "absent" / "runs.db"):
            pass
    assert threading.active_count() <= threads + 1


def test_two_runners_in_two_threads_on_one_file(tmp_path: Path) -> None:
    def work(first: int) -> list[object]:
        with BlockingRunner(tmp_path / "runs.db", workflows=[shop]) as runner:
            return [runner.run(shop, Order(order=order)) for order in range(first, first + 10)]

    with ThreadPoolExecutor(2) as pool:
        outcomes = [outcome for outcomes in pool.map(work, (0, 10)) for outcome in outcomes]
    assert outcomes == [Success(Shipment(tracking=f"paid-{n}-10/sku-{n}")) for n in range(20)]


def test_a_run_is_paused_resumed_retried_and_forked(database: str) -> None:
    release, broken = threading.Event(), [True]

    @task
    def hold(order: Order) -> A:
        release.wait(10)
        return A(a=order.order)

    @task
    def breaks(a: A) -> B:
        if broken[0]:
            raise ConnectionError("not yet")
        return B(b=a.a)

    workflow = Workflow("held", hold >> breaks)
    with BlockingRunner(database, workflows=[workflow]) as runner:
        handle = runner.start(workflow, Order(order=4))
        handle.pause()
        release.set()
        while handle.status() != "paused":
            time.sleep(0.01)
        assert handle.why() == Waiting("resume")
        handle.resume()
        assert isinstance(handle.result(), Failure)
        broken[0] = False
        handle.retry()
        assert handle.result() == Success(B(b=4))
        assert handle.fork(before=breaks).result() == Success(B(b=4))


def test_a_body_that_ignores_its_end_does_not_hold_the_runner(database: str) -> None:
    begun = threading.Event()

    @task
    async def stubborn(order: Order) -> None:
        begun.set()
        while True:
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                cancelled.append(1)
                if len(cancelled) == 2:
                    raise

    cancelled: list[int] = []
    workflow = Workflow("stubborn", stubborn)
    with BlockingRunner(database, workflows=[workflow], grace_s=0) as runner:
        handle = runner.start(workflow, Order(order=1))
        begun.wait(10)
        assert handle.status() == "running"
    assert len(cancelled) == 2  # once by the worker, once by the loop
