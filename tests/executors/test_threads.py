"""Bodies on threads: what they return or raise arrives, and those that hang cost nobody else anything."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, ParamSpec

import pytest

from cloaca.executors.threads import BodyExit, ThreadExecutor

P = ParamSpec("P")

PATIENCE_S = 20.0


@pytest.fixture
def executor() -> Iterator[ThreadExecutor]:
    executor = ThreadExecutor(2)
    yield executor
    executor.close()


def asynchronous(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a coroutine as a test; what its event loop complains about fails it."""

    @functools.wraps(test)
    def runs(*args: P.args, **kwargs: P.kwargs) -> None:
        complaints: list[object] = []

        async def scenario() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            await asyncio.wait_for(test(*args, **kwargs), PATIENCE_S)
            gc.collect()

        asyncio.run(scenario())
        assert not complaints

    return runs


class Hanging:
    """A body that returns when it is told to."""

    def __init__(self) -> None:
        self.begun, self.told = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.told.wait(PATIENCE_S)
        return "at last"

    async def begins(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, PATIENCE_S)


def raising(error: BaseException) -> Callable[[], object]:
    def body() -> object:
        raise error

    return body


# Results


@asynchronous
async def test_results_arrive(executor: ThreadExecutor) -> None:
    bodies = [executor.submit(functools.partial(divmod, number, 7)) for number in range(500)]
    assert await asyncio.gather(*bodies) == [divmod(number, 7) for number in range(500)]
    assert await executor.submit(lambda: None) is None
    assert await executor.submit(threading.get_ident) != threading.get_ident()


class Own(BaseException):
    """An exception that is no Exception."""


ERRORS = (
    ValueError("no"), SystemExit(3), KeyboardInterrupt(), Own("own"), StopAsyncIteration(),
    asyncio.CancelledError("body"), concurrent.futures.CancelledError(), TimeoutError(), MemoryError(),
    ExceptionGroup("some", [ValueError()]), BaseExceptionGroup("some", [Own()]),
)  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@asynchronous
async def test_whatever_a_body_raises_arrives(executor: ThreadExecutor, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        await executor.submit(raising(error))
    assert type(caught.value) is type(error)
    assert caught.value is error or isinstance(error, asyncio.CancelledError)
    assert await executor.submit(lambda: "goes on") == "goes on"


@asynchronous
async def test_what_a_future_can_not_carry_arrives_as_something_that_it_can(executor: ThreadExecutor) -> None:
    class Stop(StopIteration):
        pass

    for error in (StopIteration(5), Stop(), GeneratorExit()):
        with pytest.raises(BodyExit, match=type(error).__name__) as caught:
            await executor.submit(raising(error))
        assert caught.value.__cause__ is error


@asynchronous
async def test_a_traceback_begins_in_the_body(executor: ThreadExecutor) -> None:
    body = raising(ValueError("no"))
    with pytest.raises(ValueError, match="no") as caught:
        await executor.submit(body)
    frames = [entry.name for entry in caught.traceback]
    assert frames[-1] == "body"
    assert "_outcome" not in frames


@asynchronous
async def test_a_body_sees_the_context_and_does_not_change_it(executor: ThreadExecutor) -> None:
    word = contextvars.ContextVar("word", default="none")

    def body() -> str:
        seen = word.get()
        word.set("changed")
        return seen

    word.set("mine")
    first = executor.submit(body)
    word.set("another")
    second = executor.submit(body)
    assert [await first, await second] == ["mine", "another"]
    assert word.get() == "another"
    assert await executor.submit(body) == "another"


# Bodies that hang


@asynchronous
async def test_no_more_bodies_run_than_there_are_threads(executor: ThreadExecutor) -> None:
    hanging = [Hanging() for _ in range(5)]
    bodies = [executor.submit(body) for body in hanging]
    await hanging[0].begins()
    await hanging[1].begins()
    assert [body.begun.is_set() for body in hanging] == [True, True, False, False, False]
    for body in hanging:
        body.told.set()
    assert await asyncio.gather(*bodies) == ["at last"] * 5


@asynchronous
async def test_a_body_never_waits_for_a_thread_that_is_taken(
    executor: ThreadExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that has been handed a body, and has not begun it yet, does not count as free."""
    begin, handed, goes_on = executor._begin, threading.Event(), threading.Event()

    def slow(body: Any) -> bool:
        if not handed.is_set():
            handed.set()
            assert goes_on.wait(PATIENCE_S)
        return begin(body)

    monkeypatch.setattr(executor, "_begin", slow)
    first = executor.submit(lambda: "first")
    assert await asyncio.to_thread(handed.wait, PATIENCE_S)
    assert await executor.submit(lambda: "second") == "second"
    goes_on.set()
    assert await first == "first"


@asynchronous
async def test_bodies_that_hang_starve_nobody(executor: ThreadExecutor) -> None:
    """Their attempts were given up: others take their threads, and give them back when they return."""
    hanging = [Hanging() for _ in range(20)]
    bodies = []
    for body in hanging:
        bodies.append(executor.submit(body))
        await body.begins()
        executor.abandon(bodies[-1])
        executor.abandon(bodies[-1])
    assert await executor.submit(lambda: "quick") == "quick"
    for body in hanging:
        body.told.set()
    assert await asyncio.gather(*bodies) == ["at last"] * 20  # their futures tell when they return
    three = [Hanging() for _ in range(3)]
    again = [executor.submit(body) for body in three]
    await three[0].begins()
    await three[1].begins()
    assert not three[2].begun.is_set()  # there are two threads again
    for body in three:
        body.told.set()
    await asyncio.gather(*again)


@asynchronous
async def test_a_cancelled_body_goes_on_unheard(executor: ThreadExecutor) -> None:
    hanging, failing = Hanging(), threading.Event()

    def fail() -> None:
        failing.wait(PATIENCE_S)
        raise ValueError("nobody hears it")

    waiting = [asyncio.ensure_future(wait_for(executor.submit(body))) for body in (hanging, fail)]
    await hanging.begins()
    for task in waiting:
        task.cancel()
    assert await asyncio.gather(*waiting, return_exceptions=True) == ["cancelled", "cancelled"]
    assert await executor.submit(lambda: "quick") == "quick"
    hanging.told.set()
    failing.set()


async def wait_for(body: asyncio.Future[object]) -> object:
    try:
        return await body
    except asyncio.CancelledError:
        return "cancelled"


@asynchronous
async def test_an_abandoned_body_that_fails_warns_nobody(executor: ThreadExecutor) -> None:
    hanging = Hanging()

    def fail() -> None:
        hanging()
        raise ValueError("nobody hears it")

    body = executor.submit(fail)
    await hanging.begins()
    executor.abandon(body)
    hanging.told.set()
    await asyncio.wait({body})
    del body


@asynchronous
async def test_what_has_not_begun_never_will(executor: ThreadExecutor) -> None:
    """Neither does it cost a thread: a thousand calls may wait when their run is cancelled."""
    hanging, called, before = [Hanging(), Hanging()], [], threading.active_count()
    running = [executor.submit(body) for body in hanging]
    for body in hanging:
        await body.begins()
    waiting = [executor.submit(lambda: called.append(1)) for _ in range(1000)]
    for future in waiting[::2]:
        future.cancel()
    for future in waiting[1::2]:
        executor.abandon(future)
    assert all(future.cancelled() for future in waiting)
    assert threading.active_count() <= before + 10
    for body in hanging:
        body.told.set()
    await asyncio.gather(*running)
    assert await executor.submit(lambda: "last") == "last"
    assert not called


@asynchronous
async def test_to_give_up_what_has_returned_changes_nothing(executor: ThreadExecutor) -> None:
    body = executor.submit(lambda: 5)
    assert await body == 5
    executor.abandon(body)
    assert not body.cancel()
    assert body.result() == 5


# What is left behind


class Payload:
    """Something that must not be kept."""


@asynchronous
async def test_nothing_is_kept_of_a_body(executor: ThreadExecutor) -> None:
    """Neither by a thread that waits, nor in a ring of references that waits for the collector."""

    async def perform(fails: bool) -> list[weakref.ref[Any]]:
        payload = Payload()

        def body(payload: Payload = payload) -> Payload:
            if fails:
                raise Own
            return payload

        kept: list[weakref.ref[Any]] = [weakref.ref(payload), weakref.ref(body)]
        try:
            await executor.submit(body)
        except Own as error:
            kept.append(weakref.ref(error))
        return kept

    gc.collect()
    gc.disable()
    try:
        kept = await perform(fails=False) + await perform(fails=True)
        await executor.submit(lambda: None)  # its thread has let go of the one before
        await executor.submit(lambda: None)
        assert [reference() for reference in kept] == [None] * len(kept)
    finally:
        gc.enable()


@asynchronous
async def test_closing_waits_for_nobody(executor: ThreadExecutor) -> None:
    hanging = [Hanging() for _ in range(3)]
    bodies = [executor.submit(body) for body in hanging]
    await hanging[0].begins()
    await hanging[1].begins()
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("cloaca-body")]
    executor.close()
    executor.close()
    assert bodies[2].cancelled()
    with pytest.raises(RuntimeError, match="closed"):
        executor.submit(lambda: None)
    executor.abandon(bodies[0])
    for body in hanging:
        body.told.set()
    assert await asyncio.gather(*bodies[:2]) == ["at last"] * 2
    for thread in threads:
        await asyncio.to_thread(thread.join, PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads)
    assert not hanging[2].begun.is_set()


def test_an_executor_serves_one_loop_after_another(executor: ThreadExecutor) -> None:
    hanging = Hanging()

    async def first() -> None:
        assert await executor.submit(lambda: 1) == 1
        executor.submit(hanging)
        await hanging.begins()

    async def second() -> None:
        hanging.told.set()  # it returns to a loop that is closed
        assert await asyncio.gather(*(executor.submit(lambda: 2) for _ in range(20))) == [2] * 20

    asyncio.run(first())
    asyncio.run(second())
    asyncio.run(second())


def test_what_nobody_waits_for_is_not_kept(executor: ThreadExecutor) -> None:
    """Bodies return one after another to a loop that is closed."""
    hanging = [Hanging(), Hanging()]
    kept: list[weakref.ref[Any]] = []

    def returning(body: Hanging) -> Payload:
        body()
        payload = Payload()
        kept.append(weakref.ref(payload))
        return payload

    async def leave() -> None:
        for body in hanging:
            executor.submit(functools.partial(returning, body))
            await body.begins()

    asyncio.run(leave())
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("cloaca-body")]
    executor.close()
    for body in hanging:
        body.told.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    gc.collect()
    assert [reference() for reference in kept] == [None, None]


def test_without_a_loop_nothing_is_submitted(executor: ThreadExecutor) -> None:
    with pytest.raises(RuntimeError):
        executor.submit(lambda: None)


@asynchronous
async def test_a_system_without_threads_says_so_and_recovers(
    executor: ThreadExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    hanging = Hanging()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            executor.submit(lambda: None)
    first = executor.submit(hanging)
    await hanging.begins()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        second = executor.submit(lambda: "one thread is enough")
    hanging.told.set()
    assert [await first, await second] == ["at last", "one thread is enough"]


HANGS = """
import asyncio, threading
from cloaca.executors.threads import ThreadExecutor

async def main():
    executor, begun = ThreadExecutor(), threading.Event()
    executor.submit(lambda: (begun.set(), threading.Event().wait()))
    await asyncio.to_thread(begun.wait)
    executor.close()

asyncio.run(main())
print("ends")
"""


def test_a_body_that_never_returns_does_not_keep_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ends\n", "")
