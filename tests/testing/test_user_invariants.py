"""Invariants of the user's: asked after every commit, and what one raises reaches the test, with the trace."""

from __future__ import annotations

import pytest

from cloaca.testing import Faults, World, crash_before_commit, simulate, workflow_test
from cloaca.testing.deviations import Scenario
from tests.testing.shop import LEDGER, Order, charge, shop

ORDER = Order(order_id=1, amount=10, gift=False)


def never_shipped(world: World) -> None:
    assert not world.commits("ship"), "it was shipped"


def test_one_is_asked_after_every_commit_of_something() -> None:
    LEDGER.clear()
    seen: list[list[str]] = []
    simulate(shop, ORDER, invariants=[lambda world: seen.append(list(world.sequence))])
    assert seen[0] == ["quote"]
    assert [len(each) for each in seen] == sorted(len(each) for each in seen)
    assert "ship" in seen[-1]


@pytest.mark.parametrize("scenario", [Scenario(), Scenario(crash_before_commit(charge))], ids=["calm", "crash"])
def test_one_that_does_not_hold_is_what_simulate_raises(scenario: Scenario) -> None:
    LEDGER.clear()
    with pytest.raises(AssertionError, match="it was shipped"):
        simulate(shop, ORDER, scenario, invariants=[never_shipped])


def test_the_first_that_does_not_hold_is_the_last_that_is_asked() -> None:
    LEDGER.clear()
    asked: list[str] = []

    def fails(world: World) -> None:
        asked.append("first")
        raise LookupError("not so")

    with pytest.raises(LookupError, match="not so"):
        simulate(shop, ORDER, invariants=[fails, lambda world: asked.append("second")])
    assert asked == ["first"]


def test_a_workflow_test_reports_it_with_its_trace() -> None:
    @workflow_test(shop, reset=LEDGER.clear, faults=Faults.none, examples=20, invariants=[never_shipped])
    def test(world: World) -> None:
        pass

    with pytest.raises(AssertionError, match="it was shipped") as caught:
        test()
    notes = "\n".join(caught.value.__notes__)
    assert "*** never_shipped does not hold" in notes
    assert '@replay("' in notes
