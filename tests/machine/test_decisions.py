"""Commands one by one: what each causes, and when it is refused. A refused command changes nothing."""

from collections.abc import Sequence

import pytest

from cloaca.algebra.retries import Backoff, Retry
from cloaca.contract.plans import Plan
from cloaca.machine import commands
from cloaca.machine.commands import Abandon, Adopt, Begin, Cancel, Command, Complete, Fail, Pause, Resume
from cloaca.machine.decisions import Rejected, conclusion, step
from cloaca.machine.events import (
    AttemptFailed,
    AttemptStarted,
    PauseAsked,
    PauseWithdrawn,
    RunAdopted,
    RunCancelled,
    RunFailed,
    RunPaused,
    RunResumed,
    RunRetried,
    RunSucceeded,
    TaskFailed,
    TaskSucceeded,
)
from cloaca.machine.states import NO_LEASE, RunState, enabled, evolve
from cloaca.machine.statuses import RunStatus, TaskStatus
from tests.machine.plays import AT, LEASE, adopted, do, ends, play
from tests.machine.programs import Item, plan_of, scope
from tests.machine.trials import picture

TWO = plan_of(scope(Item("a", retry=Retry(3, delay=2)), Item("b", (0,))))
A, B = 0, 1


def refused(plan: Plan, state: RunState, command: Command) -> str:
    """Put a command through that must be refused and change nothing; return the reason."""
    before = picture(state.copy())
    decision = step(plan, state, command)
    assert isinstance(decision, Rejected), decision
    assert picture(state) == before
    return decision.reason


def begun(plan: Plan = TWO) -> RunState:
    state = adopted(plan)
    do(plan, state, Begin(A, LEASE, AT))
    return state


def test_a_run_from_its_first_command_to_its_last() -> None:
    state = RunState(TWO)
    assert do(TWO, state, Adopt(LEASE, 1.0)) == (RunAdopted(LEASE, 1.0),)
    assert do(TWO, state, Begin(A, LEASE, 2.0)) == (AttemptStarted(A, 1, 2.0),)
    assert do(TWO, state, Complete(A, 1, LEASE, 3.0)) == (TaskSucceeded(A, 1, 3.0),)
    assert do(TWO, state, Begin(B, LEASE, 4.0)) == (AttemptStarted(B, 1, 4.0),)
    assert do(TWO, state, Complete(B, 1, LEASE, 5.0)) == (TaskSucceeded(B, 1, 5.0), RunSucceeded(5.0))
    assert ends(TWO, state) == {"a": "succeeded", "b": "succeeded"}


def test_evolve_hands_back_the_state_that_it_has_changed() -> None:
    state = RunState(TWO)
    assert evolve(TWO, state, RunAdopted(LEASE, AT)) is state


def test_a_copy_is_independent() -> None:
    state = begun()
    copy = state.copy()
    do(TWO, state, Complete(A, 1, LEASE, AT))
    assert ends(TWO, copy) == {"a": "running", "b": "pending"}
    assert copy.news == [A]


# Attempts


@pytest.mark.parametrize(
    ("state", "command", "reason"),
    [
        (RunState(TWO), Begin(A, NO_LEASE, AT), "a stale lease"),
        (adopted(TWO), Begin(A, LEASE + 1, AT), "a stale lease"),
        (adopted(TWO), Begin(B, LEASE, AT), "the task is pending"),
        (begun(), Begin(A, LEASE, AT), "the task is running"),
        (adopted(TWO), Complete(A, 1, LEASE, AT), "the task is ready"),
        (begun(), Complete(A, 1, LEASE - 1, AT), "a stale lease"),
        (begun(), Complete(A, 2, LEASE, AT), "another attempt"),
        (begun(), Complete(A, 0, LEASE, AT), "another attempt"),
        (begun(), Fail(A, 1, LEASE + 1, AT, retryable=True), "a stale lease"),
        (begun(), Fail(A, 2, LEASE, AT, retryable=True), "another attempt"),
        (begun(), Adopt(LEASE, AT), "a stale lease"),
    ],
)
def test_what_is_refused(state: RunState, command: Command, reason: str) -> None:
    assert refused(TWO, state, command) == reason


def test_a_dead_worker_reports_late() -> None:
    state = begun()
    do(TWO, state, Adopt(LEASE + 1, AT))
    assert refused(TWO, state, Complete(A, 1, LEASE, AT)) == "a stale lease"
    do(TWO, state, Begin(A, LEASE + 1, AT))
    assert refused(TWO, state, Complete(A, 1, LEASE, AT)) == "a stale lease"  # the same attempt, but another's
    do(TWO, state, Complete(A, 1, LEASE + 1, AT))
    assert refused(TWO, state, Complete(A, 1, LEASE + 1, AT)) == "the task is succeeded"
    assert refused(TWO, state, Fail(A, 1, LEASE, AT, retryable=True)) == "a stale lease"


def test_an_attempt_that_its_workers_death_cut_off_is_not_counted() -> None:
    state = begun()
    do(TWO, state, Adopt(LEASE + 1, AT))
    assert enabled(state, AT) == [A]
    assert do(TWO, state, Begin(A, LEASE + 1, AT)) == (AttemptStarted(A, 1, AT),)


def test_failed_attempts_and_delays_survive_a_worker() -> None:
    state = begun()
    do(TWO, state, Fail(A, 1, LEASE, AT, retryable=True))
    do(TWO, state, Adopt(LEASE + 1, AT + 1))
    assert enabled(state, AT + 1) == []
    assert refused(TWO, state, Begin(A, LEASE + 1, AT + 1.9)) == "the task is waiting"
    assert do(TWO, state, Begin(A, LEASE + 1, AT + 2)) == (AttemptStarted(A, 2, AT + 2),)


def test_exactly_gates_have_a_verdict() -> None:
    plan = plan_of(scope(Item("a"), groups=((0, 1),)))
    gate, task = plan.by_name["when:a:0"], plan.by_name["a"]
    state = adopted(plan)
    do(plan, state, Begin(gate, LEASE, AT))
    with pytest.raises(AssertionError, match="verdict None"):
        step(plan, state, Complete(gate, 1, LEASE, AT))
    do(plan, state, Complete(gate, 1, LEASE, AT, verdict=True))
    do(plan, state, Begin(task, LEASE, AT))
    with pytest.raises(AssertionError, match="verdict False"):
        step(plan, state, Complete(task, 1, LEASE, AT, verdict=False))


# Retries

DELAYS: Sequence[tuple[Backoff, list[float]]] = [
    ("fixed", [3, 3, 3, 3]),
    ("linear", [3, 6, 9, 10]),
    ("exponential", [3, 6, 10, 10]),
]


@pytest.mark.parametrize(("backoff", "delays"), DELAYS)
def test_delays_grow_as_the_policy_says_up_to_the_longest(backoff: Backoff, delays: list[float]) -> None:
    plan = plan_of(scope(Item("a", retry=Retry(5, backoff, delay=3, max_delay=10))))
    state, at = adopted(plan), AT
    for attempt, delay in enumerate(delays, start=1):
        do(plan, state, Begin(A, LEASE, at))
        assert do(plan, state, Fail(A, attempt, LEASE, at, True)) == (AttemptFailed(A, attempt, at, at + delay),)
        at += delay
    do(plan, state, Begin(A, LEASE, at))
    assert do(plan, state, Fail(A, 5, LEASE, at, True)) == (TaskFailed(A, 5, at), RunFailed(at))
    assert state.attempts == {A: 5}


@pytest.mark.parametrize(("chance", "delay"), [(0.0, 4.0), (0.25, 6.0), (0.5, 8.0), (0.75, 10.0), (1.0, 10.0)])
def test_jitter_is_a_fraction_and_no_delay_is_longer_than_the_longest(chance: float, delay: float) -> None:
    plan = plan_of(scope(Item("a", retry=Retry(2, delay=8, max_delay=10, jitter=0.5))))
    state = begun(plan)
    assert do(plan, state, Fail(A, 1, LEASE, AT, True, chance)) == (AttemptFailed(A, 1, AT, AT + delay),)


def test_an_answer_is_never_retried() -> None:
    assert do(TWO, begun(), Fail(A, 1, LEASE, AT, retryable=False)) == (TaskFailed(A, 1, AT), RunFailed(AT))


# Ends


def test_cancelling_ends_the_run_now() -> None:
    plan = plan_of(scope(Item("a"), Item("b"), Item("c", retry=Retry(2)), Item("d", (0,)), Item("e")))
    state = adopted(plan)
    for node in (0, 2, 4):
        do(plan, state, Begin(node, LEASE, AT))
    do(plan, state, Fail(2, 1, LEASE, AT, retryable=True))
    do(plan, state, Complete(4, 1, LEASE, AT))
    assert list(ends(plan, state).values()) == ["running", "ready", "waiting", "pending", "succeeded"]
    assert do(plan, state, Cancel(AT)) == (RunCancelled(AT),)
    assert list(ends(plan, state).values()) == [*["cancelled"] * 4, "succeeded"]
    assert (state.unfinished, state.ready, state.retry_at) == (0, {}, {})
    for late in (Complete(0, 1, LEASE, AT), Begin(1, LEASE, AT), Cancel(AT), Abandon(AT), Adopt(LEASE + 1, AT)):
        assert refused(plan, state, late) == "the run is cancelled"


def test_a_run_that_nobody_has_can_be_cancelled_and_abandoned() -> None:
    for command, status in ((Cancel(AT), RunStatus.CANCELLED), (Abandon(AT), RunStatus.FAILED)):
        state = RunState(TWO)
        do(TWO, state, command)
        assert state.status is status
        assert ends(TWO, state) == {"a": "cancelled", "b": "cancelled"}


def test_an_abandoned_run_has_failed() -> None:
    state = begun()
    assert do(TWO, state, Abandon(AT)) == (RunFailed(AT),)
    assert ends(TWO, state) == {"a": "cancelled", "b": "cancelled"}


def test_adopting_can_end_a_run() -> None:
    plan = plan_of(scope(Item("a", rule="any_failed")))
    state = RunState(plan)
    assert conclusion(plan, state, AT) is None
    assert do(plan, state, Adopt(LEASE, AT)) == (RunAdopted(LEASE, AT), RunSucceeded(AT))


# What may start now, and what is new


def test_enabled_gives_ready_nodes_as_they_became_so_then_those_due_by_time() -> None:
    slow, quick = Retry(2, delay=5), Retry(2, delay=3)
    plan = plan_of(scope(Item("a", retry=slow), Item("b", retry=quick), Item("c"), Item("d"), Item("e", (2,))))
    state = adopted(plan)
    assert enabled(RunState(plan), AT) == []
    for node in (0, 1, 2):
        do(plan, state, Begin(node, LEASE, AT))
    do(plan, state, Fail(0, 1, LEASE, AT, retryable=True))
    do(plan, state, Fail(1, 1, LEASE, AT, retryable=True))
    do(plan, state, Complete(2, 1, LEASE, AT))
    assert enabled(state, AT + 2) == [3, 4]
    assert enabled(state, AT + 3) == [3, 4, 1]
    assert enabled(state, AT + 5) == [3, 4, 1, 0]


def test_attempts_may_begin_while_one_goes_through_what_is_enabled() -> None:
    plan = plan_of(scope(Item("a"), Item("b"), Item("c")))
    state = adopted(plan)
    for node in enabled(state, AT):
        do(plan, state, Begin(node, LEASE, AT))
    assert state.tasks == [TaskStatus.RUNNING] * 3


def test_news_are_what_became_ready_or_was_skipped_since_the_last_look() -> None:
    program = scope(
        Item("a"), Item("b", (0,)), Item("c", (1,)), Item("d", (0,), "all_done"), Item("e", (3, 2), "any_failed")
    )
    plan = plan_of(program)
    state = adopted(plan)
    assert state.take_news() == [0]
    do(plan, state, Begin(0, LEASE, AT))
    do(plan, state, Fail(0, 1, LEASE, AT, retryable=False))
    assert state.take_news() == [1, 3, 2]
    assert state.take_news() == []
    do(plan, state, Begin(3, LEASE, AT))
    do(plan, state, Adopt(LEASE + 1, AT))
    assert state.take_news() == [3]


# Pauses and retries


def test_a_run_with_nothing_in_flight_is_paused_at_once() -> None:
    for state in (RunState(TWO), adopted(TWO)):
        assert do(TWO, state, Pause(AT)) == (PauseAsked(AT), RunPaused(AT))
        assert state.status.value == "paused"
        assert enabled(state, AT) == []
        assert refused(TWO, state, Pause(AT)) == "the run was asked to pause already"
        assert refused(TWO, state, Adopt(LEASE + 1, AT)) == "the run is paused"
        assert refused(TWO, state, Abandon(AT)) == "the run is paused"
        assert do(TWO, state, Resume(AT)) == (RunResumed(AT),)
        assert state.status is RunStatus.PENDING
        assert refused(TWO, state, Resume(AT)) == "nobody asked the run to pause"
        do(TWO, state, Adopt(LEASE + 1, AT))
        assert enabled(state, AT) == [A]


def test_a_run_is_paused_once_nothing_is_in_flight() -> None:
    state = begun()
    assert do(TWO, state, Pause(AT)) == (PauseAsked(AT),)
    assert (state.status, state.pausing) == (RunStatus.RUNNING, True)
    assert do(TWO, state, Complete(A, 1, LEASE, AT)) == (TaskSucceeded(A, 1, AT), RunPaused(AT))
    assert ends(TWO, state) == {"a": "succeeded", "b": "ready"}


def test_a_pause_is_taken_back_in_time() -> None:
    state = begun()
    do(TWO, state, Pause(AT))
    assert do(TWO, state, Resume(AT)) == (PauseWithdrawn(AT),)
    assert do(TWO, state, Complete(A, 1, LEASE, AT)) == (TaskSucceeded(A, 1, AT),)
    assert enabled(state, AT) == [B]


def test_a_run_that_ends_is_not_paused() -> None:
    plan = plan_of(scope(Item("a")))
    state = begun(plan)
    do(plan, state, Pause(AT))
    assert do(plan, state, Complete(A, 1, LEASE, AT)) == (TaskSucceeded(A, 1, AT), RunSucceeded(AT))
    assert not state.pausing


def test_a_retry_policy_begins_anew_and_attempts_are_counted_on() -> None:
    state = begun()
    do(TWO, state, Fail(A, 1, LEASE, AT, retryable=False))
    assert do(TWO, state, commands.Retry(AT)) == (RunRetried((A, B), AT),)
    assert (state.status, ends(TWO, state)) == (RunStatus.PENDING, {"a": "ready", "b": "pending"})
    assert refused(TWO, state, commands.Retry(AT)) == "the run is pending"
    do(TWO, state, Adopt(LEASE + 1, AT))
    for attempt, delay in ((2, 2), (3, 4)):
        do(TWO, state, Begin(A, LEASE + 1, AT + 9 * attempt))
        at = AT + 9 * attempt
        failed = do(TWO, state, Fail(A, attempt, LEASE + 1, at, retryable=True))
        assert failed == (AttemptFailed(A, attempt, at, at + delay),)
    do(TWO, state, Begin(A, LEASE + 1, AT + 99))
    assert do(TWO, state, Fail(A, 4, LEASE + 1, AT + 99, retryable=True))[0] == TaskFailed(A, 4, AT + 99)


def test_a_report_from_before_a_retry_is_refused() -> None:
    state = begun()
    do(TWO, state, Cancel(AT))
    assert do(TWO, state, commands.Retry(AT)) == (RunRetried((A, B), AT),)
    assert refused(TWO, state, Complete(A, 1, LEASE, AT)) == "the task is ready"
    assert refused(TWO, state, Begin(A, LEASE, AT)) == "the run is pending"
    assert refused(TWO, state, Adopt(LEASE, AT)) == "a stale lease"
    do(TWO, state, Adopt(LEASE + 1, AT))
    do(TWO, state, Begin(A, LEASE + 1, AT))
    assert refused(TWO, state, Complete(A, 1, LEASE, AT)) == "a stale lease"
    assert do(TWO, state, Complete(A, 1, LEASE + 1, AT)) == (TaskSucceeded(A, 1, AT),)


def test_a_task_that_ran_behind_a_failure_starts_anew() -> None:
    plan = plan_of(scope(Item("a"), Item("b", (0,), "all_done"), Item("c"), Item("d", (2,))))
    state = play(plan, failing={"a"})
    assert ends(plan, state) == {"a": "failed", "b": "succeeded", "c": "succeeded", "d": "succeeded"}
    by_name = plan.by_name
    assert do(plan, state, commands.Retry(AT)) == (RunRetried(tuple(sorted((by_name["a"], by_name["b"]))), AT),)
    assert ends(plan, state) == {"a": "ready", "b": "pending", "c": "succeeded", "d": "succeeded"}
    assert state.attempt(by_name["b"]) == 2


def test_a_blocked_run_is_retried_as_it_is() -> None:
    state = RunState(TWO)
    state.status = RunStatus.BLOCKED
    assert do(TWO, state, commands.Retry(AT)) == (RunRetried((), AT),)
    assert state.status is RunStatus.PENDING


def test_a_run_that_has_succeeded_is_not_retried() -> None:
    assert refused(TWO, play(TWO), commands.Retry(AT)) == "the run is succeeded"
