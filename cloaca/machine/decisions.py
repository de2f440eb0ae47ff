"""What a command does to a run: refuse it, or the events that it causes. Pure; it changes nothing.

``decide`` proposes, ``evolve`` asserts; ``step`` does both and adds the run's outcome and its end once they are due.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from cloaca.contract.plans import Plan
from cloaca.machine.commands import (
    Abandon,
    Adopt,
    Begin,
    Cancel,
    Command,
    Complete,
    Fail,
    Pause,
    PutBack,
    Resume,
    Retry,
)
from cloaca.machine.epilogues import due, undone
from cloaca.machine.events import (
    AttemptFailed,
    AttemptPutBack,
    AttemptStarted,
    Event,
    OutcomeReached,
    PauseAsked,
    PauseWithdrawn,
    RunAdopted,
    RunCancelled,
    RunEnded,
    RunFailed,
    RunPaused,
    RunResumed,
    RunRetried,
    RunSucceeded,
    TaskFailed,
    TaskSucceeded,
    WaitBegun,
)
from cloaca.machine.states import NO_LEASE, READY, RUN_RUNNING, RUNNING, RunState, evolve, onward
from cloaca.machine.statuses import RunStatus, TaskStatus


@dataclass(frozen=True, slots=True)
class Rejected:
    """The command does not apply; nothing has changed. ``reason`` is for logs."""

    reason: str


Decision = tuple[Event, ...] | Rejected

RETRYABLE = frozenset({RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.BLOCKED})


def decide(plan: Plan, state: RunState, command: Command) -> Decision:
    """Return the events that ``command`` causes in ``state``, or why it is refused."""
    if state.status is RUN_RUNNING:  # nothing of what follows is about these two then, which nearly all commands are
        if isinstance(command, Complete):
            return _completion(plan, state, command)
        if isinstance(command, Begin):
            return _beginning(plan, state, command)
    if isinstance(command, Retry):
        return _retry(plan, state, command)
    if state.over:
        return Rejected(f"the run is {state.status}")
    if state.outcome is not None and isinstance(command, Cancel):
        return Rejected(f"the run is about to be {state.outcome}")
    match command:
        case Complete():
            return _completion(plan, state, command)
        case Begin():
            return _beginning(plan, state, command)
        case Fail():
            return _failure(plan, state, command)
        case PutBack():
            return _putting_back(state, command)
        case Adopt():
            return _adoption(state, command)
        case Cancel(at):
            return _outcome(plan, state, RunStatus.CANCELLED, at)
        case Abandon():
            return _abandonment(plan, state, command)
        case Pause():
            return _pause(state, command)
        case Resume():
            return _resumption(state, command)
        case _:
            assert_never(command)


def step(plan: Plan, state: RunState, command: Command) -> Decision:
    """Decide and evolve: return what happened, the run's outcome, end or pause included; ``state`` is changed.

    Any command may end a run, ``Adopt`` too: one whose rules skip all its tasks ends as soon as somebody has it.
    """
    decision = decide(plan, state, command)
    if isinstance(decision, Rejected):
        return decision
    for event in decision:
        evolve(plan, state, event)
    if state.unfinished and not state.pausing:  # nothing follows, as after nearly every command
        return decision
    while (then := conclusion(plan, state, command.at)) is not None:
        evolve(plan, state, then)
        decision = (*decision, then)
    return decision


def conclusion(plan: Plan, state: RunState, at: float) -> OutcomeReached | RunEnded | RunPaused | None:
    """Return what follows without anybody's doing.

    That is: the outcome of a run whose tasks are all final, its end once the epilogue is done too, or the pause of one
    that pauses and has nothing in flight.
    """
    if state.unfinished == 0 and state.status is RUN_RUNNING:
        if state.outcome is None:
            return _outcome(plan, state, RunStatus.FAILED if state.failed else RunStatus.SUCCEEDED, at)[0]
        if state.settled == len(state.due):
            return ENDS[state.outcome](at)
    return RunPaused(at) if state.pausing and state.in_flight == 0 else None


ENDS: Mapping[RunStatus, type[RunEnded]] = {
    RunStatus.SUCCEEDED: RunSucceeded,
    RunStatus.FAILED: RunFailed,
    RunStatus.CANCELLED: RunCancelled,
}


def _outcome(plan: Plan, state: RunState, outcome: RunStatus, at: float) -> tuple[OutcomeReached | RunEnded]:
    """The end of a run, or if something is due before, its outcome."""
    return (OutcomeReached(outcome, at) if due(plan, state, outcome) else ENDS[outcome](at),)


def _abandonment(plan: Plan, state: RunState, command: Abandon) -> Decision:
    if state.status is RunStatus.PAUSED:
        return Rejected("the run is paused")
    if state.outcome is not None:
        return (ENDS[state.outcome](command.at),)
    return _outcome(plan, state, RunStatus.FAILED, command.at)


def _stale(state: RunState, lease: int) -> Rejected | None:
    return Rejected("a stale lease") if lease != state.lease or lease == NO_LEASE else None


def _late(state: RunState, node: int, attempt: int, lease: int) -> Rejected | None:
    if stale := _stale(state, lease):
        return stale
    if node in state.waits:
        if state.pausing or state.status is not RUN_RUNNING:
            return Rejected("the run was asked to pause" if state.pausing else f"the run is {state.status}")
    elif state.tasks[node] is not RUNNING:
        return Rejected(f"the task is {state.tasks[node]}")
    if attempt != state.attempt(node):
        return Rejected("another attempt")
    return None


def _early(state: RunState, command: Complete | Fail) -> Rejected | None:
    """Refuse what ends a wait by time before its time: a timer that is over, a signal that will not come."""
    until = state.waits.get(command.node)
    return None if until is not None and until <= command.at else Rejected("its time has not come")


def _adoption(state: RunState, command: Adopt) -> Decision:
    if state.status is RunStatus.PAUSED:
        return Rejected("the run is paused")
    return (RunAdopted(command.lease, command.at),) if command.lease > state.lease else Rejected("a stale lease")


def _pause(state: RunState, command: Pause) -> Decision:
    if state.pausing or state.status is RunStatus.PAUSED:
        return Rejected("the run was asked to pause already")
    return (PauseAsked(command.at),)


def _resumption(state: RunState, command: Resume) -> Decision:
    if state.pausing:
        return (PauseWithdrawn(command.at),)
    if state.status is RunStatus.PAUSED:
        return (RunResumed(command.at),)
    return Rejected("nobody asked the run to pause")


def _retry(plan: Plan, state: RunState, command: Retry) -> Decision:
    """What has failed or was cancelled starts anew, and whatever comes after it.

    A task behind one that has failed, which ran all the same because its rule allowed it, starts anew too: what it read
    and why it ran is no longer so. So does a task that was undone. The epilogue starts anew as a whole.
    """
    if state.status not in RETRYABLE:
        return Rejected(f"the run is {state.status}")
    proper = range(plan.length)
    cancelled = [node for node in proper if state.tasks[node] is TaskStatus.CANCELLED]
    again = onward(plan, [*state.failed, *cancelled, *undone(plan, state)])
    return (RunRetried((*again, *range(plan.length, len(plan.nodes))), command.at),)


def _beginning(plan: Plan, state: RunState, command: Begin) -> Decision:
    if stale := _stale(state, command.lease):
        return stale
    if state.pausing or state.status is not RUN_RUNNING:
        return Rejected("the run was asked to pause" if state.pausing else f"the run is {state.status}")
    status = state.tasks[command.node]
    due = command.node in state.retry_at and state.retry_at[command.node] <= command.at
    if status is not READY and not due:
        return Rejected(f"the task is {status}")
    if (wait := plan.nodes[command.node].wait) is not None:
        until = None if wait.seconds is None else command.at + wait.seconds
        return (WaitBegun(command.node, state.attempt(command.node), command.at, until),)
    return (AttemptStarted(command.node, state.attempt(command.node), command.at),)


def _completion(plan: Plan, state: RunState, command: Complete) -> Decision:
    if late := _late(state, command.node, command.attempt, command.lease):
        return late
    if early := _early(state, command) if plan.nodes[command.node].kind == "sleep" else None:
        return early
    return (TaskSucceeded(command.node, command.attempt, command.at, command.verdict),)


def _putting_back(state: RunState, command: PutBack) -> Decision:
    if late := _late(state, command.node, command.attempt, command.lease):
        return late
    return (AttemptPutBack(command.node, command.attempt, command.at),)


def _failure(plan: Plan, state: RunState, command: Fail) -> Decision:
    if late := _late(state, command.node, command.attempt, command.lease):
        return late
    kind = plan.nodes[command.node].kind
    if kind == "sleep":
        return Rejected("a timer can't fail")
    if early := _early(state, command) if kind == "wait" else None:
        return early
    retry = plan.nodes[command.node].retry
    tried = command.attempt - state.earlier.get(command.node, 0)  # since the run was last retried
    if command.retryable and tried < retry.attempts:
        retry_at = command.at + retry.delay_s(tried, command.chance)
        return (AttemptFailed(command.node, command.attempt, command.at, retry_at),)
    return (TaskFailed(command.node, command.attempt, command.at, command.typed),)
