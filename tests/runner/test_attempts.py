"""Attempts: retries and their delays, timeouts, pristine inputs, what a body is told about itself."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from returns.result import Failure, Result, Success

from cloaca import Retry, RunFailure, TaskContext, TaskFailure, Workflow, task
from tests.runner.databases import Database, asynchronous
from tests.runner.shop import A, B, Declined, Item, Order, seed, shop


async def failures_of(database: Database, workflow: Workflow[Any, Any, Any, Any]) -> tuple[TaskFailure, ...]:
    async with database.runner(workflow) as runner:
        match await runner.run(workflow, Order(order=1)):
            case Failure(RunFailure(failures=failures)):
                return failures
            case other:
                pytest.fail(f"{other}")


# Retries


@pytest.mark.parametrize("attempts", [1, 2, 5])
@asynchronous
async def test_attempts_is_the_number_of_executions(database: Database, attempts: int) -> None:
    seen: list[int] = []

    @task(retry=Retry(attempts=attempts, delay=0))
    def flaky(order: Order, *, ctx: TaskContext) -> A:
        seen.append(ctx.attempt)
        raise ConnectionError(f"line {ctx.attempt}")

    failures = await failures_of(database, Workflow("flaky", flaky))
    assert seen == list(range(1, attempts + 1))
    assert [(failure.attempt, failure.message) for failure in failures] == [(n, f"line {n}") for n in seen]


@pytest.mark.parametrize("is_async", [True, False])
@asynchronous
async def test_a_retry_that_succeeds(database: Database, is_async: bool) -> None:
    @task(name="flaky", retry=Retry(attempts=3, delay=0))
    async def flaky_async(order: Order, *, ctx: TaskContext) -> A:
        return answer(ctx)

    @task(name="flaky", retry=Retry(attempts=3, delay=0))
    def flaky_sync(order: Order, *, ctx: TaskContext) -> A:
        return answer(ctx)

    def answer(ctx: TaskContext) -> A:
        if ctx.attempt < 3:
            raise ConnectionError("again")
        return A(a=ctx.attempt)

    workflow = Workflow("flaky", flaky_async if is_async else flaky_sync)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        assert await handle.result() == Success(A(a=3))
        assert [failure.attempt for failure in await handle.failures()] == [1, 2]
        [info] = await handle.tasks()
        assert (info.status, info.attempt) == ("succeeded", 3)


@pytest.mark.parametrize(("policy", "expected"), [
    (Retry(attempts=4, delay=0.04, backoff="fixed"), [0.04, 0.04, 0.04]),
    (Retry(attempts=4, delay=0.02, backoff="linear"), [0.02, 0.04, 0.06]),
    (Retry(attempts=4, delay=0.02, backoff="exponential"), [0.02, 0.04, 0.08]),
    (Retry(attempts=4, delay=timedelta(milliseconds=20), max_delay=0.03), [0.02, 0.03, 0.03]),
])  # fmt: skip
@asynchronous
async def test_delays(database: Database, policy: Retry, expected: list[float]) -> None:
    starts: list[float] = []
    ends: list[float] = []

    @task(retry=policy)
    async def flaky(order: Order) -> A:
        starts.append(time.time())
        try:
            raise ConnectionError
        finally:
            ends.append(time.time())

    await failures_of(database, Workflow("flaky", flaky))
    gaps = [start - end for start, end in zip(starts[1:], ends, strict=False)]
    assert len(gaps) == len(expected)
    for gap, delay in zip(gaps, expected, strict=True):
        assert delay - 0.001 <= gap < delay + 1.0


@asynchronous
async def test_jitter_is_drawn_for_each_delay(database: Database) -> None:
    @task(retry=Retry(attempts=8, delay=0.01, backoff="fixed", jitter=1.0))
    async def flaky(order: Order) -> A:
        raise ConnectionError

    workflow = Workflow("flaky", flaky)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await handle.result()
    store = database.store()
    await store.open()
    history = await store.history(int(handle.id))
    await store.close()
    assert history is not None
    delays = [row.retry_at - row.at for row in history.failures if row.retry_at is not None]
    assert len(delays) == 7
    assert all(-1e-6 <= delay <= 0.02 + 1e-6 for delay in delays)
    assert len({round(delay, 6) for delay in delays}) > 3


@pytest.mark.parametrize(("on", "error", "attempts"), [
    (ConnectionError, ConnectionError(), 3),
    (ConnectionError, ConnectionResetError(), 3),
    (ConnectionError, ValueError(), 1),
    ((ConnectionError, KeyError), KeyError(), 3),
    ([ConnectionError], ConnectionError(), 3),
    (lambda error: "again" in str(error), ValueError("again"), 3),
    (lambda error: "again" in str(error), ValueError("never"), 1),
    ((Exception,), SystemExit(1), 1),
    (BaseException, SystemExit(1), 3),
    (BaseException, KeyboardInterrupt(), 3),
])  # fmt: skip
@asynchronous
async def test_which_errors_are_retried(database: Database, on: Any, error: BaseException, attempts: int) -> None:
    @task(retry=Retry(attempts=3, delay=0, on=on))
    def flaky(order: Order) -> A:
        raise error

    failures = await failures_of(database, Workflow("flaky", flaky))
    assert [failure.exception_type for failure in failures] == [type(error).__name__] * attempts


@pytest.mark.parametrize("odd", [RuntimeError("odd"), SystemExit(1), KeyboardInterrupt()])
@asynchronous
async def test_a_retry_predicate_that_raises(database: Database, odd: BaseException) -> None:
    """The error of the body stands as it is, and is not tried again."""

    def unsure(error: BaseException) -> bool:
        raise odd

    @task(retry=Retry(attempts=3, delay=0, on=unsure))
    async def flaky(order: Order) -> A:
        raise ConnectionError("the line")

    [failure] = await failures_of(database, Workflow("flaky", flaky))
    assert (failure.task, failure.exception_type, failure.message) == ("flaky", "ConnectionError", "the line")


@asynchronous
async def test_a_typed_failure_is_never_retried(database: Database) -> None:
    @task(retry=Retry(attempts=3, delay=0, on=BaseException))
    async def declines(order: Order) -> Result[A, Declined]:
        return Failure(Declined(reason="no"))

    [failure] = await failures_of(database, Workflow("declines", declines))
    assert (failure.exception_type, failure.error) == ("Failure", Declined(reason="no"))


@asynchronous
async def test_validation_errors_are_never_retried(database: Database) -> None:
    @task(retry=Retry(attempts=3, delay=0, on=BaseException))
    def invalid(order: Order) -> A:
        return A.model_validate({"a": "x"})

    @task(retry=Retry(attempts=3, delay=0, on=BaseException))
    def wrong(order: Order) -> A:
        return "a"  # type: ignore[return-value]  # on purpose

    [failure] = await failures_of(database, Workflow("invalid", invalid))
    assert failure.exception_type == ValidationError.__name__
    [failure] = await failures_of(database, Workflow("wrong", wrong))
    assert failure.exception_type == "WrongOutput"


# Timeouts


@asynchronous
async def test_an_async_body_is_cancelled_at_its_timeout(database: Database) -> None:
    cleaned: list[int] = []

    @task(timeout=0.02, retry=Retry(attempts=2, delay=0))
    async def slow(order: Order, *, ctx: TaskContext) -> A:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(ctx.attempt)
        raise AssertionError

    failures = await failures_of(database, Workflow("slow", slow))
    assert cleaned == [1, 2]
    assert [(failure.exception_type, failure.message) for failure in failures] == [
        ("TimeoutError", "the attempt took longer than 0.02 s")
    ] * 2


@asynchronous
async def test_a_timeout_is_a_timeout_error_for_on(database: Database) -> None:
    @task(timeout=0.01, retry=Retry(attempts=2, delay=0, on=TimeoutError))
    async def slow(order: Order, *, ctx: TaskContext) -> A:
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        return A(a=ctx.attempt)

    workflow = Workflow("slow", slow)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, Order(order=1)) == Success(A(a=2))


@asynchronous
async def test_an_async_body_that_swallows_its_timeout(database: Database) -> None:
    @task(timeout=timedelta(milliseconds=20))
    async def stubborn(order: Order) -> A:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return A(a=1)  # too late

    [failure] = await failures_of(database, Workflow("stubborn", stubborn))
    assert failure.exception_type == "TimeoutError"


@asynchronous
async def test_an_async_body_that_outlives_its_cancellation(database: Database) -> None:
    """The next attempt waits for the old body, which may not be stopped in time."""
    alive = most = 0
    release = asyncio.Event()

    @task(timeout=0.01, retry=Retry(attempts=2, delay=0))
    async def stubborn(order: Order, *, ctx: TaskContext) -> A:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        try:
            if ctx.attempt == 1:
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    asyncio.get_running_loop().call_later(1.2, release.set)
                    await release.wait()
        finally:
            alive -= 1
        return A(a=ctx.attempt)

    workflow = Workflow("stubborn", stubborn)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, Order(order=1)) == Success(A(a=2))
    assert most == 1


@asynchronous
async def test_no_attempt_starts_while_an_old_body_still_runs(database: Database) -> None:
    alive = most = 0
    told: list[bool] = []
    lock = threading.Lock()

    @task(timeout=0.02, retry=Retry(attempts=3, delay=0))
    def hang(order: Order, *, ctx: TaskContext) -> A:
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        until = time.monotonic() + 10
        while ctx.attempt < 3 and not ctx.cancelled and time.monotonic() < until:
            time.sleep(0.002)
        told.append(ctx.cancelled)
        time.sleep(0.03)
        with lock:
            alive -= 1
        return A(a=ctx.attempt)

    workflow = Workflow("hanging", hang.with_options(timeout=0.3))
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        assert await handle.result() == Success(A(a=3))
        assert most == 1
        assert told == [True, True, False]  # a body that was timed out can see it, and leave early
        assert [failure.exception_type for failure in await handle.failures()] == ["TimeoutError"] * 2


@asynchronous
async def test_the_last_timeout_does_not_wait_for_the_body(database: Database) -> None:
    release = threading.Event()

    @task(timeout=0.02)
    def hang(order: Order) -> A:
        release.wait(20)
        return A(a=1)

    try:
        [failure] = await failures_of(database, Workflow("hanging", hang))
        assert failure.exception_type == "TimeoutError"
    finally:
        release.set()


@asynchronous
async def test_bodies_that_hang_do_not_starve_the_others(database: Database) -> None:
    release = threading.Event()

    @task(timeout=0.05)
    def hang(order: Order) -> None:
        release.wait(20)

    workflow = Workflow("hanging", *(hang.named(f"h{n}") for n in range(60)), input=Order)
    async with database.runner(workflow, grace_s=0) as runner:
        try:
            assert isinstance(await runner.run(workflow, Order(order=1)), Failure)
            assert isinstance(await runner.run(shop, Order(order=1)), Success)
        finally:
            release.set()


@asynchronous
async def test_a_timeout_does_not_count_the_wait_for_a_thread(database: Database) -> None:
    """There are more bodies than threads: those that wait for a thread have not begun."""
    executed: list[str] = []

    @task(timeout=2.0)
    def work(order: Order, *, ctx: TaskContext) -> None:
        executed.append(ctx.task)
        time.sleep(0.06)

    @task(timeout=0.15)
    def quick(order: Order, *, ctx: TaskContext) -> None:
        executed.append(ctx.task)

    tasks = [*(work.named(f"a{n:02}") for n in range(40)), *(quick.named(f"b{n}") for n in range(10))]
    workflow = Workflow("crowd", *tasks, input=Order)
    async with database.runner(workflow) as runner:
        assert isinstance(await runner.run(workflow, Order(order=1)), Success)
    assert sorted(executed) == sorted(task.name for task in tasks)


@asynchronous
async def test_a_body_that_ends_in_time_is_not_disturbed(database: Database) -> None:
    @task(timeout=20)
    async def fast(order: Order) -> A:
        return A(a=1)

    @task(timeout=20)
    def fast_too(order: Order) -> B:
        raise ValueError("its own")

    [failure] = await failures_of(database, Workflow("fast", fast, fast_too, input=Order))
    assert (failure.task, failure.exception_type) == ("fast_too", "ValueError")


@asynchronous
async def test_a_timeout_of_its_own_is_not_the_tasks(database: Database) -> None:
    @task(timeout=20)
    async def asks(order: Order) -> A:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
        raise AssertionError

    [failure] = await failures_of(database, Workflow("asks", asks))
    assert (failure.exception_type, failure.message) == ("TimeoutError", "")


# Pristine inputs


class Basket(BaseModel):
    items: list[str]
    counts: dict[str, int] = {}
    best: Item | None = None


@asynchronous
async def test_each_attempt_gets_a_pristine_copy_of_its_input(database: Database) -> None:
    seen: list[Basket] = []

    def spoil(basket: Basket, ctx: TaskContext) -> None:
        seen.append(basket.model_copy(deep=True))
        basket.items.append("spoiled")
        basket.counts["spoiled"] = 1
        basket.best = Item(sku="spoiled")
        if ctx.attempt < 3:
            raise ConnectionError

    @task(retry=Retry(attempts=3, delay=0))
    def sync_spoils(basket: Basket, *, ctx: TaskContext) -> None:
        spoil(basket, ctx)

    @task(retry=Retry(attempts=3, delay=0))
    async def async_spoils(basket: Basket, *, ctx: TaskContext) -> None:
        spoil(basket, ctx)

    @task
    def write(order: Order) -> Basket:
        kept.append(Basket(items=["a"], counts={"a": 1}, best=Item(sku="a")))
        return kept[0]

    @task
    def last(basket: Basket) -> B:
        seen.append(basket)
        return B(b=len(basket.items))

    kept: list[Basket] = []
    workflow = Workflow("spoiled", write >> [sync_spoils, async_spoils] >> last, input=Order)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, Order(order=1)) == Success(B(b=1))
    assert seen == [Basket(items=["a"], counts={"a": 1}, best=Item(sku="a"))] * 7
    assert kept[0] not in [basket for basket in seen if basket is kept[0]]


@asynchronous
async def test_the_callers_input_is_not_shared(database: Database) -> None:
    @task
    async def spoil(basket: Basket) -> B:
        basket.items.append("spoiled")
        return B(b=len(basket.items))

    workflow = Workflow("spoiled", spoil)
    async with database.runner(workflow) as runner:
        basket = Basket(items=["a"])
        handle = await runner.start(workflow, basket)
        basket.items.append("mine")
        assert await handle.result() == Success(B(b=2))
        assert basket.items == ["a", "mine"]
        assert await handle.context() == {"items": ["a"], "counts": {}, "best": None, "b": 2}


# What a body is told


@asynchronous
async def test_the_context_of_an_attempt(database: Database) -> None:
    contexts: list[TaskContext] = []

    @task(retry=Retry(attempts=2, delay=0))
    def sync_looks(order: Order, *, ctx: TaskContext) -> None:
        look(ctx)

    @task(retry=Retry(attempts=2, delay=0))
    async def async_looks(order: Order, *, ctx: TaskContext) -> None:
        look(ctx)

    def look(ctx: TaskContext) -> None:
        contexts.append(ctx)
        assert not ctx.cancelled
        if ctx.attempt == 1:
            raise ConnectionError

    workflow = Workflow("looks", sync_looks, async_looks.named("other"), input=Order)
    async with database.runner(workflow) as runner:
        handles = [await runner.start(workflow, Order(order=1)) for _ in range(2)]
        for handle in handles:
            await handle.result()
    assert len(contexts) == 8
    for handle in handles:
        for name in ("sync_looks", "other"):
            mine = [ctx for ctx in contexts if (ctx.run_id, ctx.task) == (handle.id, name)]
            assert sorted(ctx.attempt for ctx in mine) == [1, 2]
            assert len({ctx.idempotency_key for ctx in mine}) == 1
            assert all(ctx.scheduled_for is None for ctx in mine)
    assert len({ctx.idempotency_key for ctx in contexts}) == 4


@asynchronous
async def test_the_logger_says_which_attempt(database: Database) -> None:
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    @task
    def logs(order: Order, *, ctx: TaskContext) -> None:
        ctx.logger.warning("order %d", order.order)

    workflow = Workflow("logs", logs)
    logger = logging.getLogger("cloaca.task")
    handler = Keep()
    logger.addHandler(handler)
    try:
        async with database.runner(workflow) as runner:
            handle = await runner.start(workflow, Order(order=7))
            await handle.result()
    finally:
        logger.removeHandler(handler)
    [record] = records
    assert record.name == "cloaca.task.logs"
    assert record.getMessage() == "order 7"
    assert (record.__dict__["run"], record.__dict__["task"], record.__dict__["attempt"]) == (handle.id, "logs", 1)


@asynchronous
async def test_a_heartbeat_is_shown_to_other_processes(database: Database) -> None:
    release = threading.Event()

    @task
    def beats(order: Order, *, ctx: TaskContext) -> None:
        while not release.wait(0.01):
            ctx.heartbeat()

    workflow = Workflow("beats", beats)
    store = database.store()
    await store.open()
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=7))
        try:
            async with asyncio.timeout(10):
                while True:
                    history = await store.history(int(handle.id))
                    assert history is not None
                    if history.attempts and history.attempts[0].beat_at is not None:
                        break
                    await asyncio.sleep(0.02)
        finally:
            release.set()
        [attempt] = history.attempts
        assert (attempt.name, attempt.attempt) == ("beats", 1)
        assert attempt.beat_at is not None
        assert attempt.beat_at >= attempt.started_at
        await handle.result()
        history = await store.history(int(handle.id))
        assert history is not None
        assert history.attempts == []
    await store.close()


# Context variables

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody's")


@asynchronous
async def test_context_variables_come_from_where_the_runner_was_opened(database: Database) -> None:
    """Never from whoever happened to start a run: after a restart that would be somebody else."""
    seen: list[str] = []

    @task
    async def async_looks(order: Order) -> None:
        seen.append(VARIABLE.get())

    @task
    def sync_looks(order: Order) -> None:
        seen.append(VARIABLE.get())

    def predicate(order: Order) -> bool:
        seen.append(VARIABLE.get())
        return True

    workflow = Workflow(
        "looks",
        async_looks,
        sync_looks.when(predicate),
        seed.named("s").into("x") >> sync_looks.named("t"),
        input=Order,
    )
    VARIABLE.set("the opener's")
    async with database.runner(workflow) as runner:

        async def caller(name: str) -> None:
            VARIABLE.set(name)
            await runner.run(workflow, Order(order=1))

        await asyncio.gather(*(caller(name) for name in "abc"))
    assert seen == ["the opener's"] * 12


@asynchronous
async def test_context_variables_do_not_leak_between_attempts(database: Database) -> None:
    seen: list[str] = []

    @task(retry=Retry(attempts=2, delay=0))
    async def async_sets(order: Order, *, ctx: TaskContext) -> None:
        sets(ctx)

    @task(retry=Retry(attempts=2, delay=0))
    def sync_sets(order: Order, *, ctx: TaskContext) -> None:
        sets(ctx)

    @task(timeout=20)
    async def limited_sets(order: Order, *, ctx: TaskContext) -> None:
        sets(ctx)

    def sets(ctx: TaskContext) -> None:
        seen.append(VARIABLE.get())
        VARIABLE.set(f"{ctx.task} {ctx.attempt}")
        if ctx.attempt == 1:
            raise ConnectionError

    def predicate(order: Order) -> bool:
        seen.append(VARIABLE.get())
        VARIABLE.set("predicate")
        return True

    tasks = [kind.named(f"{kind.name}{n}") for n in range(10) for kind in (async_sets, sync_sets, limited_sets)]
    workflow = Workflow("sets", *tasks, *(task.named(f"g{task.name}").when(predicate) for task in tasks), input=Order)
    async with database.runner(workflow) as runner:
        await runner.run(workflow, Order(order=1))
    assert set(seen) == {"nobody's"}


@asynchronous
async def test_a_sync_body_sees_the_variables_of_its_attempt(database: Database) -> None:
    """As with asyncio.to_thread: the copy is the body's own."""

    @task
    def sets(order: Order) -> A:
        token = VARIABLE.set("mine")
        assert VARIABLE.get() == "mine"
        VARIABLE.reset(token)
        return A(a=1)

    workflow = Workflow("sets", sets)
    async with database.runner(workflow) as runner:
        assert await runner.run(workflow, Order(order=1)) == Success(A(a=1))


# Starvation


@asynchronous
async def test_sync_bodies_do_not_block_the_loop(database: Database) -> None:
    release = threading.Event()

    @task
    def hold(order: Order) -> None:
        release.wait(20)

    workflow = Workflow("held", *(hold.named(f"h{n}") for n in range(4)), input=Order)
    async with database.runner(workflow, lease_s=0.4) as runner:
        handle = await runner.start(workflow, Order(order=1))
        assert await runner.run(Workflow("other", seed), Order(order=1)) == Success(A(a=1))
        await asyncio.sleep(1.0)  # longer than the lease: the heartbeat goes on
        assert not handle._drive.dropped  # type: ignore[union-attr]  # a look inside
        release.set()
        assert isinstance(await handle.result(), Success)
