"""Each deviation by name, on the shop: what comes of it, how often the card is charged, how long it takes."""

from __future__ import annotations

import asyncio
import gc
import threading
from datetime import timedelta
from typing import Any

import pytest
from returns.result import Failure, Success

from cloaca import Graph, Retry, Workflow, task
from cloaca.errors import ContractError
from cloaca.testing import (
    BrokenPromise,
    Deviation,
    Scenario,
    SimulatedFault,
    World,
    clock_jump,
    crash_after_commit,
    crash_before_commit,
    crash_in_body,
    exhaust,
    fail,
    leave,
    lose_lease,
    pause,
    send,
    simulate,
    store_error,
    time_out,
    zombie,
)
from tests.testing.planted import planted
from tests.testing.shop import LEDGER, Order, Shipment, charge, shop

ORDER = Order(order_id=1, amount=5, gift=True)


@pytest.fixture(autouse=True)
def _clear() -> None:
    LEDGER.clear()


def test_nothing_goes_wrong() -> None:
    world = simulate(shop, ORDER)
    assert world.outcome == Success(Shipment(tracking="p1-s1-gold"))
    assert world.status == "succeeded"
    assert world.context["price"] == 10
    assert world.statuses == dict.fromkeys(["quote", "charge", "reserve", "wrap", "ship"], "succeeded")
    assert (world.attempts(charge), world.commits("charge"), world.elapsed.total_seconds()) == (1, 1, 93)
    assert (LEDGER.balance("card"), LEDGER.balance("shop")) == (10, -10)
    assert world.input is ORDER


def test_the_trace_reads_well() -> None:
    world = simulate(shop, Order(order_id=1, amount=5, gift=False), Scenario(zombie("charge"), workers=2))
    assert world.trace.splitlines() == [
        "     virtual  who      what",
        "        0.0s  w0       starts",
        "        0.0s  w1       starts",
        "        0.0s  client   submits the run",
        "        0.0s  w0       claims the run",
        "        0.0s  w0       runs quote (attempt 1)",
        "        0.0s  w0       commits quote succeeded",
        "        0.0s  w0       runs charge (attempt 1)",
        "        0.0s  w0       commits when:wrap:0 succeeded",
        "        0.0s  w0       runs reserve (attempt 1)",
        "        0.0s  w0       commits reserve succeeded",
        "        3.0s  w0       *** silent for 60 s",
        "       31.0s  w1       takes a worker for dead: its run is pending again",
        "       31.0s  w1       claims the run",
        "       31.0s  w1       runs charge (attempt 1)",
        "       34.0s  w1       commits charge succeeded",
        "       34.0s  w1       runs ship (attempt 1)",
        "      124.0s  w1       commits ship succeeded, run succeeded",
    ]


KILLED = "*** killed "
CASES = [
    (crash_before_commit("submit"), "succeeded", 1, 1, KILLED + "before the commit of submit"),
    (crash_after_commit("submit"), "succeeded", 1, 1, KILLED + "after the commit of submit"),
    (crash_before_commit("claim"), "succeeded", 1, 1, KILLED + "before the commit of claim"),
    (crash_after_commit("claim"), "succeeded", 1, 1, KILLED + "after the commit of claim"),
    (crash_before_commit("charge"), "succeeded", 2, 1, KILLED + "before the commit of charge"),
    (crash_after_commit("charge"), "succeeded", 1, 1, KILLED + "after the commit of charge"),
    (crash_in_body("charge"), "succeeded", 2, 1, KILLED + "inside of charge"),
    (crash_in_body("charge", 1), "succeeded", 2, 1, KILLED + "inside of charge"),
    (zombie("charge"), "succeeded", 2, 1, "*** silent for 60 s"),
    (lose_lease("charge"), "succeeded", 2, 1, "*** is taken for dead, though it lives"),
    (leave("charge"), "succeeded", 1, 1, "*** leaves in order"),
    (fail("charge"), "succeeded", 2, 1, "commits charge failed attempt 1"),
    (fail("charge", times=2), "succeeded", 3, 1, "commits charge failed attempt 2"),
    (exhaust("charge"), "failed", 3, 1, "commits charge failed"),
    (time_out("charge"), "failed", 1, 1, "commits charge failed"),
    (store_error("charge"), "succeeded", 1, 1, "*** the store can't be written, at charge"),
    (store_error("charge", lost=True), "succeeded", 1, 1, "*** the answer of the store is lost, at charge"),
    (clock_jump(3600, "charge"), "succeeded", 1, 1, "*** every clock jumps by 3600 s"),
    (clock_jump(-3600, "charge"), "succeeded", 1, 1, "*** every clock jumps by -3600 s"),
    (clock_jump(timedelta(hours=1)), "succeeded", 1, 1, "*** every clock jumps by 3600 s"),
    (clock_jump(-3600), "succeeded", 1, 1, "*** every clock jumps by -3600 s"),
    (store_error(at=1), "succeeded", 1, 1, "*** the store can't be written, at quote"),
    (store_error(at=3, lost=True), "succeeded", 1, 1, "*** the answer of the store is lost, at reserve"),
    (exhaust("quote"), "failed", 0, 0, "commits quote failed, run failed"),
]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize(
    ("deviation", "status", "attempts", "charged", "line"), CASES, ids=[f"{case[0]}" for case in CASES]
)
def test_each_deviation_comes_about(  # noqa: PLR0917 - a row of the table
    deviation: Deviation, status: str, attempts: int, charged: int, line: str, workers: int
) -> None:
    world = simulate(shop, ORDER, Scenario(deviation, workers=workers))
    assert world.status == status
    assert world.attempts(charge) == attempts
    assert LEDGER.count("card") == charged
    assert any(each.what.startswith(line) for each in world.lines), world.trace


def test_a_crash_between_two_effects_leaves_the_first() -> None:
    def look(world: World) -> None:
        counted.append((LEDGER.count("card"), LEDGER.count("shop")))

    counted: list[tuple[int, int]] = []
    simulate(shop, ORDER, Scenario(crash_in_body("charge", 1)), invariants=[look])
    assert (1, 0) in counted  # others commit before the body goes on, and after the crash
    assert counted[-1] == (1, 1)


def test_a_failure_is_one_that_the_policy_retries() -> None:
    world = simulate(shop, ORDER, Scenario(exhaust("charge")))
    match world.outcome:
        case Failure(failed):
            assert failed.task == "charge"
            assert [failure.exception_type for failure in failed.failures] == ["SimulatedConnectionError"] * 3
        case other:
            pytest.fail(f"{other}")
    world = simulate(shop, ORDER, Scenario(exhaust("reserve")))
    assert {failure.exception_type for failure in world.failures} == {SimulatedFault.__name__}


def test_a_run_moves_on_at_once_when_its_worker_leaves() -> None:
    world = simulate(shop, ORDER, Scenario(leave("quote"), workers=2))
    assert world.elapsed.total_seconds() < 94
    world = simulate(shop, ORDER, Scenario(crash_before_commit("quote"), workers=2))
    assert 93 + 30 <= world.elapsed.total_seconds() < 93 + 37  # the lease runs out first


def test_the_same_seed_gives_the_same_bytes() -> None:
    scenario = Scenario(crash_before_commit("charge"), zombie("ship"), workers=3, seed=7)
    traces = set()
    for _ in range(3):
        LEDGER.clear()
        traces.add(simulate(shop, ORDER, scenario).trace)
    assert len(traces) == 1
    others = {simulate(shop, ORDER, scenario.with_(seed=seed)).trace for seed in range(8)}
    assert len(others) > 1  # chance has something to say


def test_thirty_days_take_a_handful_of_steps() -> None:
    from tests.testing.bodies import Start, nap  # noqa: PLC0415

    world = simulate(nap, Start(n=1))
    assert world.elapsed.days == 30
    assert world.steps < 100  # a heartbeat each six seconds would be 432,000
    world = simulate(nap, Start(n=1), Scenario(crash_after_commit("claim"), workers=2))
    assert world.elapsed.days == 30
    assert world.steps < 300


def test_nothing_is_left_behind() -> None:
    before = threading.enumerate()
    simulate(shop, ORDER, Scenario(crash_before_commit("charge"), zombie("ship"), workers=3, seed=1))
    gc.collect()
    assert set(threading.enumerate()) <= set(before)  # one of another test may have ended meanwhile
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_it_runs_where_a_loop_runs() -> None:
    async def main() -> str:
        return simulate(shop, ORDER).status

    assert asyncio.run(main()) == "succeeded"


def test_a_clock_that_jumps_there_and_back_does_not_count_as_one_that_went_right() -> None:
    """A lease may end while the clock is ahead: whoever ends it then does no wrong."""
    there_and_back = [clock_jump(3600.0, "charge"), clock_jump(-3600.0, "reserve")]
    for seed in (1474, 2027):
        LEDGER.clear()
        world = simulate(shop, ORDER, Scenario(*there_and_back, workers=3, seed=seed))
        assert world.status == "succeeded"


def test_an_invariant_stops_the_execution() -> None:
    def no_charge(world: World) -> None:
        seen.append(world.status)
        assert world.commits("charge") == 0, "charged"

    seen: list[str] = []
    with pytest.raises(AssertionError, match="charged"):
        simulate(shop, ORDER, invariants=[no_charge])
    assert "succeeded" not in seen


def test_a_broken_promise_says_which_and_shows_the_trace() -> None:
    with planted("a join is counted twice"), pytest.raises(BrokenPromise) as caught:
        simulate(shop, ORDER)
    text = str(caught.value)
    assert text.startswith("ends: the run never ends")
    assert "1 worker, in turns" in text
    assert "runs quote (attempt 1)" in text
    assert caught.value.world.status == "running"


@pytest.mark.parametrize("input", [None, Shipment(tracking="x")])
def test_an_input_that_does_not_fit(input: object) -> None:
    with pytest.raises(ContractError, match='Workflow "shop" takes Order'):
        simulate(shop, input)


@pytest.mark.parametrize(
    ("fakes", "error", "text"),
    [
        ({"chrage": lambda bill: None}, ValueError, 'workflow "shop" has no such task'),
        ({3: lambda bill: None}, TypeError, "the key is a task, or its name"),
        ({"charge": charge}, TypeError, "is a plain function"),
        ({"charge": 3}, TypeError, "is a plain function"),
    ],
)
def test_fakes_that_are_none(fakes: dict[object, object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        simulate(shop, ORDER, fakes=fakes)  # type: ignore[arg-type]  # that is the point


def named(name: str) -> Graph[Any, Any, Any]:
    @task(name=name)
    def body() -> None: ...

    return body


def test_the_third_write_is_the_third_whichever_task_it_is_of() -> None:
    chain = Workflow("chain", named("one") >> named("two") >> named("three") >> named("four"))
    worlds = [simulate(chain, None, Scenario(store_error(at=number))) for number in (1, 2, 3, 4, 5)]
    lost = [[line.what for line in world.lines if "can't be written" in line.what] for world in worlds]
    assert lost == [[f"*** the store can't be written, at {each}"] for each in ("one", "two", "three", "four")] + [[]]


def test_the_clock_jumps_when_the_run_is_taken_unless_told_when() -> None:
    world = simulate(shop, ORDER, Scenario(clock_jump(timedelta(days=1))))
    what = [line.what for line in world.lines]
    assert what.index("*** every clock jumps by 86400 s") < what.index("runs quote (attempt 1)")
    assert len([each for each in what if "jumps" in each]) == 1


def test_lengths_of_time_are_seconds_or_timedeltas() -> None:
    minute = timedelta(minutes=1)
    assert crash_after_commit("charge", downtime=minute) == crash_after_commit("charge", downtime=60)
    assert leave("charge", downtime=minute) == leave("charge", downtime=60.0)
    assert pause("firing:daily", seconds=minute) == pause("firing:daily", seconds=60)
    assert send(ORDER, after=minute) == send(ORDER, after=60)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Scenario("charge"), "deviations are made by crash_before_commit"),  # type: ignore[arg-type]
        (lambda: Scenario(workers=0), "at least 1"),
        (lambda: fail("charge", times=0), "at least 1"),
        (lambda: crash_before_commit("charge", -1), "counts from 0"),
        (lambda: crash_before_commit("charge", downtime=-1), "no length of time"),
        (lambda: clock_jump(float("nan"), "charge"), "no length of time"),
        (lambda: clock_jump("charge", 3600), "give seconds, or a timedelta"),  # type: ignore[arg-type]
        (lambda: crash_before_commit("charge", downtime=timedelta(seconds=-1)), "no length of time"),
        (lambda: store_error(at=0), "counts commits from 1"),
        (lambda: store_error(3, 1), "counts commits from 1"),
        (lambda: store_error(at=True), "is no task"),
        (lambda: fail(""), "is no task"),
        (lambda: fail(3), "is no task"),  # type: ignore[arg-type]
    ],
)
def test_scenarios_that_are_none(make: object, text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        make()  # type: ignore[operator]


@task(retry=Retry(attempts=5, delay=8))
def pay() -> None: ...


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_parked_run_goes_on_when_its_time_has_come(workers: int) -> None:
    """Two workers have died of it, so it is parked wherever it waits: here for its retries."""
    world = simulate(Workflow("bills", pay), None, Scenario(
        crash_before_commit(pay), crash_before_commit(pay, 1), exhaust(pay), workers=workers,
    ))  # fmt: skip
    assert (world.status, len(world.failures)) == ("failed", 5)
