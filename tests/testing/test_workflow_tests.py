"""``workflow_test`` passes on what is right; what is wrong it makes small, and says so that a person can read it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import strategies as st

from cloaca import Workflow, task
from cloaca.testing import (
    BrokenPromise,
    Faults,
    Ledger,
    Scenario,
    World,
    crash_after_commit,
    crash_before_commit,
    exhaust,
    fail,
    replay,
    simulate,
    workflow_test,
    zombie,
)
from cloaca.testing.efforts import EFFORT
from cloaca.testing.replays import blob_of, read_blob
from cloaca.testing.searches import several, smallest, sweep
from tests.testing.bodies import A, B, C, Start, add_up
from tests.testing.shop import LEDGER, Bill, Order, Payment, charge, shop

ledger = Ledger()


@pytest.fixture(autouse=True)
def _seeded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave nothing to chance, and count from 0."""
    monkeypatch.setattr(EFFORT, "seed", 11)
    monkeypatch.setattr(EFFORT, "driver", "step")
    monkeypatch.setattr(EFFORT, "executions", 0)
    yield
    ledger.clear()
    LEDGER.clear()


def failing(test: Callable[[], None]) -> tuple[BaseException, str]:
    """Return the error of a test that fails, and all that a person reads of it."""
    try:
        test()
    except AssertionError as error:
        return error, "\n".join([str(error), *getattr(error, "__notes__", ())])
    pytest.fail("it passes")


@workflow_test(shop, reset=LEDGER.clear, examples=15)
def test_nobody_is_charged_twice(w: World) -> None:
    assert LEDGER.count("card") <= 1
    assert w.status != "succeeded" or LEDGER.balance() == 0


@workflow_test(shop, reset=LEDGER.clear, examples=4, faults=Faults.none)
def test_it_may_leave_the_engine_alone(w: World) -> None:
    assert w.scenario == Scenario()
    assert w.attempts("quote") == 1


@pytest.mark.parametrize("number", [1, 2])
@workflow_test(shop, reset=LEDGER.clear, examples=3, scenarios=1, sweep=False)
def test_it_takes_fixtures_and_parameters(w: World, tmp_path: Any, number: int) -> None:
    assert tmp_path.exists()
    assert number in (1, 2)
    assert w.status in ("succeeded", "failed")


def forgetful(bill: Bill) -> Any:
    from returns.result import Success  # noqa: PLC0415

    ledger.post("card", bill.price)  # without a key
    return Success(Payment(payment_id="p"))


def test_what_is_wrong_is_made_small() -> None:
    @workflow_test(shop, fakes={charge: forgetful}, reset=ledger.clear)
    def charged_once(w: World) -> None:
        assert ledger.count("card") <= 1, f"charged {ledger.count('card')} times"

    _, text = failing(charged_once)
    assert text.startswith("charged 2 times")
    assert "input       Order(order_id=1, amount=1, gift=False)" in text
    [scenario] = text.split("  scenario    ")[1:]
    workers, deviation, end = scenario.splitlines()[:3]
    assert (workers, end) == ("1 worker, in turns", "")
    assert deviation.strip().startswith("crash ")
    assert "runs charge (attempt" in text
    assert '  replay      @replay("' in text
    assert EFFORT.executions < 200


def test_a_replay_fails_again_at_once() -> None:
    def property_(w: World) -> None:
        assert ledger.count("card") <= 1, f"charged {ledger.count('card')} times"

    checked = workflow_test(shop, fakes={charge: forgetful}, reset=ledger.clear)
    _, text = failing(checked(property_))
    blob = text.split('@replay("')[1].split('"')[0]
    for test in (replay(blob)(checked(property_)), checked(replay(blob)(property_))):
        EFFORT.executions = 0
        _, again = failing(test)
        assert again.splitlines()[0] == text.splitlines()[0]
        assert EFFORT.executions <= 2


def test_a_replay_that_passes_goes_first() -> None:
    scenarios = []
    blob = blob_of(Order(order_id=3, amount=4, gift=True).model_dump_json(), Scenario(zombie("charge"), workers=2))

    @replay(blob)
    @workflow_test(shop, reset=LEDGER.clear, examples=1, faults=Faults.none)
    def noted(w: World) -> None:
        scenarios.append((w.input.order_id, w.scenario))

    noted()
    assert scenarios[0] == (3, Scenario(zombie("charge"), workers=2))
    assert scenarios[1][1] == Scenario()


@pytest.mark.parametrize("blob", ["", "nonsense", "eJyLjgUAARUAuQ", 'x"', "éé"])
def test_a_replay_that_is_none(blob: str) -> None:
    with pytest.raises(ValueError, match="is not what a failing workflow_test prints"):
        replay(blob)


def test_a_blob_says_it_all() -> None:
    scenario = Scenario(crash_after_commit("a", 2, downtime=3.5), fail("b", times=2), exhaust("c"), workers=3, seed=9)
    assert read_blob(blob_of('{"a": 1}', scenario)) == ('{"a": 1}', scenario)
    assert read_blob(blob_of(None, Scenario())) == (None, Scenario())


# A failing property of ten tasks


def ten() -> tuple[Workflow[Any, Any, Any, Any], Any]:
    @task
    def first(start: Start) -> A:
        return A(a=start.n)

    @task
    def last(b: B) -> C:
        ledger.post("last", 1)
        return C(c=b.b)

    @task
    def middle(a: A) -> B:
        return B(b=a.a)

    @task
    def step(seen: Start) -> None:
        return None

    graph: Any = first >> middle
    for number in range(7):
        graph = graph >> step.named(f"s{number}")
    return Workflow("ten", graph >> last, input=Start), last


def test_ten_tasks_shrink_in_a_few_executions() -> None:
    """The cost is a number of executions, each about two milliseconds: well under a second."""
    workflow, _ = ten()
    assert len(workflow.plan.nodes) == 10

    @workflow_test(workflow, reset=ledger.clear, input=st.builds(Start, n=st.integers()), sweep=False, scenarios=40)
    def once(w: World) -> None:
        assert w.input.n < 100 or ledger.count("last") <= 1, "twice"

    _, text = failing(once)
    assert "input       Start(n=100)" in text
    assert text.split("  scenario    ")[1].startswith(
        "1 worker, in turns\n              crash before commit 1st of last, back after 1 s\n\n"
    )
    assert EFFORT.executions < 400


def test_an_execution_takes_a_few_steps() -> None:
    """What 200 examples cost follows from it: 15 callbacks for a task, and half a dozen executions for an example."""
    workflow, _ = ten()
    assert simulate(workflow, Start(n=1)).steps <= 170
    assert simulate(workflow, Start(n=1), Scenario(crash_after_commit("s3"), workers=3)).steps <= 400

    @workflow_test(workflow, reset=ledger.clear, input=st.builds(Start, n=st.integers()), sweep=False, examples=20)
    def anything(w: World) -> None:
        """Nothing is wrong."""

    EFFORT.executions = 0
    anything()
    assert EFFORT.executions <= 20 * 10


# Searches


def test_the_sweep_is_every_single_deviation() -> None:
    world = simulate(shop, Order(order_id=1, amount=5, gift=False))
    scenarios = list(sweep(Faults(), world, frozenset({"charge"})))
    assert len({str(each) for each in scenarios}) == len(scenarios)
    assert all(len(each.deviations) == 1 for each in scenarios)
    kinds = {(each.deviations[0].kind, each.deviations[0].at) for each in scenarios}
    assert {("time_out", "charge"), ("crash_in_body", "charge"), ("crash_before_commit", "submit")} <= kinds
    assert ("time_out", "ship") not in kinds
    assert {kind for kind, at in kinds if at == "ship"} == {
        "crash_before_commit", "crash_after_commit", "store_error", "lost_answer", "zombie", "lose_lease", "leave",
        "clock_jump", "fail", "exhaust",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("faults", "gone"),
    [
        (Faults(crashes=False), {"crash_before_commit", "crash_after_commit", "crash_in_body"}),
        (Faults(stalls=False), {"zombie", "lose_lease"}),
        (Faults(store_errors=False), {"store_error", "lost_answer"}),
        (Faults(failures=False), {"fail", "exhaust", "time_out"}),
        (Faults(leaving=False), {"leave"}),
        (Faults(clocks=False), {"clock_jump"}),
    ],
    ids=["crashes", "stalls", "store_errors", "failures", "leaving", "clocks"],
)
def test_faults_that_may_not_be(faults: Faults, gone: set[str]) -> None:
    world = simulate(shop, Order(order_id=1, amount=5, gift=False))
    every = {each.kind for each in Faults().singles(world, frozenset({"charge"}))}
    assert gone <= every
    assert {each.kind for each in faults.singles(world, frozenset({"charge"}))} == every - gone
    drawn = several(faults, world, frozenset({"charge"}), random.Random(1), (1, 3))
    kinds = {each.kind for _ in range(300) for each in next(drawn).deviations}
    assert kinds == every - gone


def test_no_interleavings_means_no_chance() -> None:
    world = simulate(shop, Order(order_id=1, amount=5, gift=False))
    drawn = several(Faults(interleavings=False), world, frozenset(), random.Random(1), (1, 3))
    assert {next(drawn).seed for _ in range(50)} == {None}


def test_the_smallest_scenario() -> None:
    big = Scenario(zombie("a"), crash_before_commit("b", 2), fail("c", times=3), exhaust("d"), workers=3, seed=4)

    def fails(scenario: Scenario) -> bool:
        tried.append(scenario)
        return any(each.at == "b" for each in scenario.deviations) and scenario.workers > 1

    tried: list[Scenario] = []
    assert smallest(big, fails) == Scenario(crash_before_commit("b"), workers=2)
    assert len(tried) < 30


# What an execution breaks


def test_an_outcome_that_depends_on_the_engine_is_found() -> None:
    """A body that counts how often it was called in all: an attempt after a crash writes something else."""
    calls: list[int] = []

    def counting(start: Start) -> A:
        calls.append(start.n)
        return A(a=len(calls))

    @task
    def first(start: Start) -> A:
        return A(a=1)

    @workflow_test(Workflow("counting", first), fakes={first: counting}, reset=calls.clear, examples=1)
    def anything(w: World) -> None:
        """Nothing of the user's is wrong."""

    error, text = failing(anything)
    assert isinstance(error, BrokenPromise)
    assert text.startswith("same-outcome: context differs from the undisturbed run's: a is 2, not 1")


def test_an_error_of_the_check_is_the_users_own() -> None:
    @workflow_test(shop, reset=LEDGER.clear, examples=1, faults=Faults.none)
    def wrong(w: World) -> None:
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing") as caught:
        wrong()
    assert any("@replay" in note for note in caught.value.__notes__)


def test_an_invariant_of_the_users_is_shrunk_too() -> None:
    def once(world: World) -> None:
        assert world.attempts("charge") <= 1, "charge began twice"

    @workflow_test(shop, reset=LEDGER.clear, invariants=[once])
    def holds(w: World) -> None:
        """It is broken before."""

    _, text = failing(holds)
    assert text.startswith("charge began twice")
    assert '@replay("' in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"workers": (0, 1)}, "the fewest and the most"),
        ({"workers": (3, 1)}, "the fewest and the most"),
        ({"input": Start(n=1)}, "give a Hypothesis strategy"),
        ({"faults": "none"}, "give Faults"),
        ({"examples": 0}, "a whole number"),
        ({"scenarios": -1}, "a whole number"),
        ({"fakes": {"chrage": forgetful}}, "has no such task"),
    ],
)
def test_arguments_that_are_none(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        workflow_test(shop, **arguments)(lambda w: None)


def test_what_is_no_workflow_and_no_test() -> None:
    with pytest.raises(TypeError, match="give the workflow"):
        workflow_test(charge)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(TypeError, match="takes the finished World"):
        workflow_test(shop)(lambda: None)
    assert add_up.name == "add_up"
