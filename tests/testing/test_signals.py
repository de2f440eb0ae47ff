"""Signals in simulated runs: before, during and after a wait, at its edge, twice; and what is not to happen to them."""

from __future__ import annotations

import pytest
from hypothesis import find
from hypothesis import strategies as st

from cloaca import Workflow, task, wait_for
from cloaca.testing import (
    BrokenPromise,
    Deviation,
    Scenario,
    World,
    crash_after_commit,
    crash_before_commit,
    send,
    signals,
    simulate,
    store_error,
    workflow_test,
)
from tests.testing.bodies import A, Approval, Start, Veto, approved, asking, make

WAIT = "wait_for:Approval"
START = Start(n=1)


@task
def after(approval: Approval) -> A:
    return A(a=approval.by)


slow = Workflow("slow", make >> wait_for(Approval, timeout=60) >> after.writing(a="by_whom"), input=Start)


class Urgent(Approval):
    until: int


@pytest.mark.parametrize(
    ("sent", "status", "seconds"),
    [
        (send(Approval(by=7)), "succeeded", 0.0),
        (send(Approval(by=7), "make"), "succeeded", 0.0),
        (send(Approval(by=7), WAIT, after=5), "succeeded", 5.0),
        (send(Approval(by=7), WAIT, after=59.99), "succeeded", 59.99),
        (send(Approval(by=7), WAIT, after=60.01), "failed", 60.0),
        (send(Urgent(by=7, until=3), WAIT), "succeeded", 0.0),
    ],
    ids=["before", "at a task", "during", "in time", "too late", "of a subclass"],
)
def test_a_signal_comes_when_it_is_said_to(sent: Deviation, status: str, seconds: float) -> None:
    world = simulate(slow, START, Scenario(sent))
    assert world.status == status
    assert world.elapsed.total_seconds() == pytest.approx(seconds)
    if status == "succeeded":
        assert world.context["by"] == 7
        assert world.signals == {WAIT: '{"by":7}'}


@pytest.mark.parametrize(
    "disturbance",
    [crash_before_commit(WAIT), crash_after_commit(WAIT), crash_before_commit(WAIT, 1), store_error(WAIT, lost=True)],
    ids=str,
)
def test_a_signal_survives_what_happens_to_the_worker(disturbance: Deviation) -> None:
    """Also a wait's beginning is a commit: the signal comes after the one that worked."""
    world = simulate(slow, START, Scenario(send(Approval(by=7), WAIT), disturbance, workers=2))
    assert world.status == "succeeded"
    assert world.context["by_whom"] == 7


def test_two_signals_go_to_two_waits_in_order_and_a_third_is_refused() -> None:
    sent = [send(Approval(by=number)) for number in (1, 2, 3)]
    world = simulate(approved, START, Scenario(*sent, send(Veto(reason=0))))
    assert (world.context["by"], world.context["also_by"]) == (1, 2)
    assert sorted(line.what for line in world.lines if line.who == "outside") == [
        "*** sends Approval(by=3), which nobody waits for any more",
        "sends Approval(by=1)",
        "sends Approval(by=2)",
        "sends Veto(reason=0)",
    ]


def test_a_child_run_is_sent_what_it_waits_for() -> None:
    world = simulate(asking, START, Scenario(send(Approval(by=3), WAIT, after=1)))
    assert world.status == "succeeded"


def test_who_waits_for_what_nobody_sends_is_named() -> None:
    with pytest.raises(BrokenPromise, match='"wait_for:Approval" waits for Approval, which nobody sends: see send'):
        simulate(approved, START, Scenario(send(Veto(reason=1))))


@workflow_test(approved)
def test_signals_are_drawn_by_themselves(world: World) -> None:
    assert world.status in ("succeeded", "failed")
    assert len(world.signals) >= 2 * (world.status == "succeeded")


def test_a_run_under_suspicion_is_not_parked_while_the_end_of_its_child_run_is_read() -> None:
    twice = [crash_before_commit("subflow:asked"), crash_before_commit("subflow:asked", 2)]
    world = simulate(asking, START, Scenario(*twice, send(Approval(by=3), WAIT)))
    assert world.status == "succeeded"


@workflow_test(asking, examples=10)
def test_also_those_of_child_runs(world: World) -> None:
    assert world.status in ("succeeded", "failed")


@workflow_test(slow, signals=st.just((send(Approval(by=5)),)), examples=10)
def test_or_they_are_given(world: World) -> None:
    assert world.status == "failed" or world.context["by"] == 5


def test_a_replay_has_what_was_sent() -> None:
    @workflow_test(slow, examples=20)
    def test_nobody_is_the_ninth(world: World) -> None:
        assert world.context.get("by", 0) < 9

    with pytest.raises(AssertionError) as caught:
        test_nobody_is_the_ninth()
    notes = "".join(caught.value.__notes__)
    assert 'Approval {"by":9} is sent' in notes
    blob = notes.split('@replay("')[1].split('"')[0]
    from cloaca.testing.replays import read_blob  # noqa: PLC0415 - what a user does by pasting

    _, scenario = read_blob(blob)
    assert [each.payload for each in scenario.deviations] == ['{"by":9}']


def test_what_can_not_be_sent_is_refused() -> None:
    with pytest.raises(TypeError, match="a signal is an instance of the model"):
        send("yes")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ValueError, match='workflow "slow" waits for no such signal: it waits for Approval'):
        simulate(slow, START, Scenario(send(Veto(reason=1))))
    with pytest.raises(TypeError, match="give a Hypothesis strategy"):
        workflow_test(slow, signals=[send(Approval(by=1))])  # type: ignore[arg-type]  # the same
    assert find(signals(Workflow("none", make)), lambda drawn: True) == ()
