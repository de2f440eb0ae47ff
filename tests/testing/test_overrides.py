"""``override``: fakes wherever tasks run: in simulations, on real runners, on threads, on the loop, for processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from returns.result import Success

from cloaca import BlockingRunner, Runner, TaskContext, Workflow
from cloaca.interpreter.attempts import SUBSTITUTES
from cloaca.testing import Ledger, Scenario, fail, lose_lease, override, simulate
from tests.testing.bodies import A, B, Start, elsewhere, in_a_child, left, make, one, right, two

START = Start(n=1)


def forty(start: Start) -> A:
    return A(a=40)


async def fifty(start: Start) -> A:
    await asyncio.sleep(0)
    return A(a=50)


def attempts(start: Start, *, ctx: TaskContext) -> A:
    return A(a=ctx.attempt)


def sixty(start: Start) -> B:
    return B(b=60)


ON_A_THREAD = Workflow("on-a-thread", one)
ON_THE_LOOP = Workflow("on-the-loop", two)
CASES: list[tuple[Workflow[Any, Any, Any, Any], Any, Callable[..., Any], object]] = [
    (ON_A_THREAD, one, forty, A(a=40)),
    (ON_A_THREAD, one, fifty, A(a=50)),
    (ON_A_THREAD, one, attempts, A(a=1)),
    (ON_THE_LOOP, two, sixty, B(b=60)),
    (in_a_child, elsewhere, forty, A(a=40)),
    (Workflow("renamed", one.named("uno").with_options(timeout=5)), one, forty, A(a=40)),
    (Workflow("sessions", left), left, forty, A(a=40)),
    (Workflow("sessions", right), right, sixty, B(b=60)),
]
NAMES = ["sync", "async-for-sync", "ctx", "sync-for-async", "process", "renamed", "session", "async-session"]


@pytest.mark.parametrize(("workflow", "task", "fake", "expected"), CASES, ids=NAMES)
def test_in_a_simulation(workflow: Any, task: Any, fake: Any, expected: object) -> None:
    with override({task: fake}):
        assert simulate(workflow, START).outcome == Success(expected)


@pytest.mark.parametrize(("workflow", "task", "fake", "expected"), CASES, ids=NAMES)
def test_on_runners(workflow: Any, task: Any, fake: Any, expected: object) -> None:
    async def main() -> object:
        async with Runner("memory://") as runner:
            return await runner.run(workflow, START)

    with override({task: fake}):
        assert asyncio.run(main()) == Success(expected)
        with BlockingRunner("memory://") as runner:
            assert runner.run(workflow, START) == Success(expected)
    assert not SUBSTITUTES


def test_a_fake_on_a_thread_may_go_on_after_its_lease_though_the_task_is_asynchronous() -> None:
    ledger = Ledger()

    def posts(start: Start) -> B:
        ledger.post("card", 1)
        return B(b=70)

    world = simulate(ON_THE_LOOP, START, Scenario(lose_lease(two)), fakes={two: posts})
    assert (world.violations, world.outcome, ledger.count("card")) == ([], Success(B(b=70)), 2)


def test_the_inner_one_counts_and_the_outer_one_comes_back() -> None:
    with override({one: forty, make: forty}):
        with override({one: fifty}):
            assert simulate(ON_A_THREAD, START).outcome == Success(A(a=50))
            assert simulate(Workflow("make", make), START).outcome == Success(A(a=40))
        assert simulate(ON_A_THREAD, START).outcome == Success(A(a=40))
    assert simulate(ON_A_THREAD, START).outcome == Success(A(a=1))


def test_an_exception_restores_it() -> None:
    with pytest.raises(LookupError), override({one: forty}):
        raise LookupError
    assert simulate(ON_A_THREAD, START).outcome == Success(A(a=1))
    assert not SUBSTITUTES


def test_fakes_of_a_simulation_come_before_overrides() -> None:
    with override({one: forty}):
        assert simulate(ON_A_THREAD, START, fakes={one: fifty}).outcome == Success(A(a=50))


def test_a_fake_that_fails() -> None:
    with override({two: sixty}):
        world = simulate(ON_THE_LOOP, START, Scenario(fail("two")))
    assert world.status == "failed"


def test_a_task_called_plainly_stays_itself() -> None:
    with override({one: forty}):
        assert one(START) == A(a=1)


@pytest.mark.parametrize(
    ("fakes", "text"),
    [({"one": forty}, "the key is a task"), ({one: two}, "is a plain function"), ({one: 3}, "is a plain function")],
)
def test_what_is_no_fake(fakes: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text), override(fakes):
        pytest.fail("it is one")
    assert not SUBSTITUTES
