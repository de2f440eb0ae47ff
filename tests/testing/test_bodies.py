"""Bodies of every kind in the simulation: on threads and on the loop, with sessions, in queues, for child processes."""

from __future__ import annotations

import asyncio
import os
import time

import pytest
from returns.result import Failure, Success

from cloaca import Queue, TaskContext, Workflow
from cloaca.interpreter import queues
from cloaca.testing import (
    BrokenPromise,
    Deviation,
    Scenario,
    World,
    crash_after_commit,
    crash_before_commit,
    exhaust,
    fail,
    leave,
    lose_lease,
    override,
    simulate,
    store_error,
    time_out,
    zombie,
)
from cloaca.testing.threads import SimulatedThreads, on_a_thread, sleep
from tests.machine.mutants import Mutant
from tests.testing.bodies import (
    A,
    B,
    Start,
    Sum,
    also,
    books,
    conditional,
    elsewhere,
    in_a_child,
    make,
    one,
    queued,
    raises,
    right,
    undecided,
    wide,
)

START = Start(n=3)
NARROW = [Queue("narrow", concurrency=1)]
DEVIATIONS = [
    crash_before_commit("left"),
    crash_after_commit("left"),
    crash_before_commit("right"),
    crash_after_commit("right"),
    zombie("left"),
    zombie("right"),
    lose_lease("also"),
    lose_lease("right"),
    leave("right"),
    store_error("left"),
    store_error("right", lost=True),
    time_out("also"),
    fail("also"),
]


def names(world: World) -> list[str]:
    return sorted(row["name"] for row in world.tables["kit_line"])


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("deviation", DEVIATIONS, ids=str)
def test_what_a_session_writes_is_there_once(deviation: Deviation, workers: int, seed: int | None) -> None:
    world = simulate(books, START, Scenario(deviation, workers=workers, seed=seed))
    assert world.status == "succeeded"
    assert names(world) == ["also", "left", "right"]


def test_a_worker_that_leaves_does_not_begin_again_what_the_database_failed() -> None:
    """It has closed its threads by then: the attempt is another worker's, and no failure."""
    for task in ("left", "right"):
        world = simulate(books, START, Scenario(leave(task), store_error(task), seed=1))
        assert (world.status, names(world)) == ("succeeded", ["also", "left", "right"])


def test_a_worker_that_is_killed_gives_the_database_back() -> None:
    for deviation in (crash_before_commit("also"), crash_before_commit("left"), leave("right")):
        for other in (lose_lease("also"), zombie("right"), zombie("left")):
            assert simulate(books, START, Scenario(deviation, other, workers=2)).status == "succeeded"


def test_what_a_session_writes_is_undone_with_its_attempt() -> None:
    world = simulate(books, START, Scenario(exhaust("left")))
    assert names(world) == ["also", "right"]
    world = simulate(books, Start(n=-1))  # a Failure is an answer
    assert (world.status, names(world)) == ("failed", ["left", "right"])


def test_a_fake_need_not_take_the_session() -> None:
    world = simulate(books, START, fakes={also: lambda start: Success(C_OF(start)), right: fake_right})
    assert world.outcome == Success(Sum(total=3 + 40 + 3))
    assert names(world) == ["left"]


def C_OF(start: Start) -> object:
    from tests.testing.bodies import C  # noqa: PLC0415

    return C(c=start.n)


def fake_right(start: Start, *, ctx: TaskContext) -> B:
    assert ctx.task == "right"
    return B(b=40)


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize(
    "deviation",
    [crash_before_commit("two"), zombie("two"), leave("two"), fail("three"), store_error("one"), lose_lease("two")],
    ids=str,
)
def test_a_queue_gives_its_slots_back(deviation: Deviation, seed: int | None) -> None:
    world = simulate(queued, START, Scenario(deviation, workers=2, seed=seed), queues=NARROW)
    assert world.outcome == Success(Sum(total=9))


def test_a_body_for_a_child_process_runs_in_the_simulation() -> None:
    world = simulate(in_a_child, START, Scenario(crash_before_commit("elsewhere")))
    assert world.outcome == Success(A(a=os.getpid()))
    assert world.attempts(elsewhere) == 2


@pytest.mark.parametrize(("n", "status"), [(1, "succeeded"), (2, "skipped")])
@pytest.mark.parametrize("workers", [1, 2])
def test_conditions(n: int, status: str, workers: int) -> None:
    for deviation in (crash_before_commit("when:make:0"), crash_after_commit("when:make:0"), zombie("tidy")):
        world = simulate(conditional, Start(n=n), Scenario(deviation, workers=workers))
        assert world.statuses == {"make": status, "tidy": "succeeded"}
        assert world.attempts(make) == (n == 1)


def test_a_condition_that_raises() -> None:
    world = simulate(undecided, START, Scenario(crash_before_commit("when:make:0")))
    assert (world.status, world.statuses) == ("failed", {"make": "failed", "tidy": "succeeded"})
    match world.outcome:
        case Failure(failed):
            assert (failed.task, failed.failures[0].exception_type) == ("make", "LookupError")
        case other:
            pytest.fail(f"{other}")
    with pytest.raises(LookupError):
        raises(START)


def test_a_hundred_side_by_side() -> None:
    workflow = wide(100)
    world = simulate(workflow, START, Scenario(crash_after_commit("t50"), workers=3, seed=1))
    assert (world.status, len(world.context)) == ("succeeded", 102)
    assert sum(world.attempts(f"t{number}") for number in range(100)) >= 100
    assert all(world.commits(f"t{number}") == 1 for number in range(100))


def test_time_passes_in_a_fake_that_sleeps() -> None:
    async def slow(start: Start) -> A:
        await asyncio.sleep(3600)
        return A(a=1)

    began = time.monotonic()
    world = simulate(Workflow("slow", one), START, fakes={one: slow})
    assert world.elapsed.total_seconds() == 3600
    assert time.monotonic() - began < 60  # an hour did not pass


def test_an_override_may_be_asynchronous_where_the_task_is_not() -> None:
    async def slow(start: Start) -> A:
        await asyncio.sleep(7)
        return A(a=70)

    with override({one: slow}):
        world = simulate(queued, START, queues=NARROW)
    assert (world.context["a"], world.elapsed.total_seconds()) == (70, 8)  # one slot each: they wait for one another


def test_a_body_can_open_no_connection() -> None:
    async def calls(start: Start) -> A:
        await asyncio.open_connection("localhost", 80)
        return A(a=1)

    world = simulate(Workflow("calls", one), START, fakes={one: calls})
    assert world.status == "failed"
    assert "give the task a fake" in world.failures[0].message


def test_a_body_that_never_rests_is_found() -> None:
    async def spins(start: Start) -> A:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(BrokenPromise, match="the workers never come to rest"):
        simulate(Workflow("spins", one), START, fakes={one: spins})


def test_a_slot_that_is_never_given_back() -> None:
    leaks = Mutant("a slot leaks", queues.Queues._give_back, "if not self._commits.closed:", "if False:")
    with leaks.planted(), pytest.raises(BrokenPromise, match="ends: "):
        simulate(queued, START, queues=NARROW)


def test_a_simulated_thread_ends_with_its_simulation() -> None:
    ended = []

    def stuck() -> None:
        try:
            sleep(10**9)
        finally:
            ended.append(on_a_thread())

    async def main() -> None:
        threads = SimulatedThreads()
        threads.submit(stuck)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        threads.bury()
        threads.close()
        with pytest.raises(RuntimeError, match="closed"):
            threads.submit(stuck)

    asyncio.run(main())
    assert ended == [True]
    assert not on_a_thread()
