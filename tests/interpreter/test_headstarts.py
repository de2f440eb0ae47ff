"""Bodies that are begun at once behave as if they were awaited: what they wait for, what is thrown, how they end."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from pydantic import BaseModel

from cloaca import Runner, Task, Workflow, task
from cloaca.codecs import JsonCodec
from cloaca.interpreter.answers import Raised, Returned
from cloaca.interpreter.drives import Drive
from cloaca.interpreter.flags import Flag
from cloaca.interpreter.headstarts import head_start
from cloaca.interpreter.inputs import Outputs


class Number(BaseModel):
    """What goes in and out."""

    n: int


@task
async def at_once(given: Number) -> Number:
    """Never suspends."""
    return Number(n=given.n + 1)


@task
async def in_turns(given: Number) -> Number:
    """Suspends several times, in each way there is."""
    await asyncio.sleep(0)
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, 1)
    added: int = await future
    async with asyncio.TaskGroup() as group:
        more = group.create_task(asyncio.sleep(0, 1))
    return Number(n=given.n + added + more.result())


@task
async def timed(given: Number) -> Number:
    """Its own time limit cancels its first wait, and it goes on."""
    try:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    except TimeoutError:
        await asyncio.sleep(0)
        return Number(n=given.n + 10)
    return given


@task
async def cancels_itself(given: Number) -> Number:
    """Cancels the task that it runs in, and suspends."""
    current = asyncio.current_task()
    assert current is not None
    current.cancel()
    await asyncio.sleep(0)
    return given


@task
async def exits(given: Number) -> Number:
    """Would end the process."""
    raise SystemExit(given.n)


@task
async def wrong(given: Number) -> Number:
    """Returns something else."""
    return given.n  # type: ignore[return-value]  # that is what it is for


class Thing:
    """An awaitable that is no coroutine."""

    def __await__(self) -> Iterator[None]:
        yield
        return None


def workflow(step: Task[Any, Any]) -> Workflow[Any, Any]:
    return Workflow("one", step, input=Number)


@pytest.mark.parametrize(
    ("step", "answer"), [(at_once, 2), (in_turns, 3), (timed, 11)], ids=["at once", "in turns", "timed"]
)
def test_a_body_goes_on_from_wherever_it_suspends(step: Task[Any, Any], answer: int) -> None:
    async def main() -> None:
        async with Runner("memory://") as runner:
            outcome = await runner.run(workflow(step), Number(n=1))
            assert outcome.unwrap() == Number(n=answer)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("step", "kind"),
    [(cancels_itself, "CancelledError"), (exits, "SystemExit"), (wrong, "WrongOutput")],
    ids=["cancels itself", "exits", "wrong"],
)
def test_whatever_a_body_does_is_a_failure_of_its_task_alone(step: Task[Any, Any], kind: str) -> None:
    async def main() -> None:
        async with Runner("memory://") as runner:
            failure = (await runner.run(workflow(step), Number(n=1))).failure()
            assert [each.exception_type for each in failure.failures] == [kind]
            assert (await runner.run(Workflow("next", at_once, input=Number), Number(n=1))).unwrap() == Number(n=2)

    asyncio.run(main())


def test_a_body_that_is_over_at_once_needs_no_event_loop() -> None:
    node = workflow(at_once).plan.nodes[0]
    found = head_start(node, at_once.function, Outputs('{"n":1}'), JsonCodec())
    assert found == Returned('{"n":2}')


def test_an_input_that_can_not_be_read_is_a_failure_that_is_not_retried() -> None:
    node = workflow(at_once).plan.nodes[0]
    found = head_start(node, at_once.function, Outputs('{"n":"x"}'), JsonCodec())
    assert isinstance(found, Raised)
    assert (found.exception_type, found.retryable) == ("ValidationError", False)


def test_what_is_no_coroutine_is_awaited_later() -> None:
    node = workflow(at_once).plan.nodes[0]
    found = head_start(node, lambda _: Thing(), Outputs('{"n":1}'), JsonCodec())
    assert isinstance(found, Awaitable)
    assert asyncio.run(_await(found)) is None


async def _await(thing: Awaitable[object]) -> object:
    return await thing


def test_context_variables_do_not_leak_from_a_body_that_never_suspends() -> None:
    variable: ContextVar[int] = ContextVar("variable", default=0)
    seen = []

    @task
    async def sets(given: Number) -> Number:
        seen.append(variable.get())
        variable.set(given.n)
        return given

    steps = sets.named("a") >> sets.named("b") >> sets.named("c")

    async def main() -> None:
        async with Runner("memory://") as runner:
            await runner.run(Workflow("three", steps, input=Number), Number(n=7))

    asyncio.run(main())
    assert seen == [0, 0, 0]


def test_a_run_that_has_ended_is_freed_without_the_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[Drive] = weakref.WeakSet()
    begin = Drive.begin

    def counted(drive: Drive) -> None:
        alive.add(drive)
        begin(drive)

    monkeypatch.setattr(Drive, "begin", counted)

    async def main() -> int:
        async with Runner("memory://") as runner:
            for number in range(3):
                await runner.run(
                    Workflow("two", at_once.named("a") >> in_turns.named("b"), input=Number), Number(n=number)
                )
            await asyncio.sleep(0)
            return len(alive)

    gc.disable()
    try:
        assert asyncio.run(main()) == 0
    finally:
        gc.enable()


def test_a_flag_wakes_whoever_waits_and_only_them() -> None:
    async def main() -> None:
        flag = Flag()
        impatient, patient = asyncio.create_task(flag.wait()), asyncio.create_task(flag.wait())
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.sleep(0)
        assert not flag.is_set()
        assert impatient.cancelled()
        assert not patient.done()
        flag.set()
        flag.set()
        assert flag.is_set()
        await patient
        await flag.wait()

    asyncio.run(main())
