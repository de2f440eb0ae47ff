"""What a command does to a run: refuse it, or the events that it causes. Pure; it changes nothing.

``decide`` proposes, ``evolve`` asserts; ``step`` does both and adds the run's end once every task is final.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from cloaca.contract.plans import Plan
from cloaca.machine.commands import Abandon, Adopt, Begin, Cancel, Command, Complete, Fail
from cloaca.machine.events import (
    AttemptFailed,
    AttemptStarted,
    Event,
    RunAdopted,
    RunCancelled,
    RunFailed,
    RunSucceeded,
    TaskFailed,
    TaskSucceeded,
)
from cloaca.machine.states import NO_LEASE, RunState, evolve
from cloaca.machine.statuses import RunStatus, TaskStatus


@dataclass(frozen=True, slots=True)
class Rejected:
    """The command does not apply; nothing has changed. ``reason`` is for logs."""

    reason: str


Decision = tuple[Event, ...] | Rejected


def decide(plan: Plan, state: RunState, command: Command) -> Decision:
    """Return the events that ``command`` causes in ``state``, or why it is refused."""
    if state.over:
        return Rejected(f"the run is {state.status}")
    match command:
        case Complete():
            return _completion(state, command)
        case Begin():
            return _beginning(state, command)
        case Fail():
            return _failure(plan, state, command)
        case Adopt(lease, at):
            return (RunAdopted(lease, at),) if lease > state.lease else Rejected("a stale lease")
        case Cancel(at):
            return (RunCancelled(at),)
        case Abandon(at):
            return (RunFailed(at),)
        case _:
            assert_never(command)


def step(plan: Plan, state: RunState, command: Command) -> Decision:
    """Decide and evolve: return what happened, the run's end included, with ``state`` changed accordingly.

    Any command may end a run, ``Adopt`` too: one whose rules skip all its tasks ends as soon as somebody has it.
    """
    decision = decide(plan, state, command)
    if isinstance(decision, Rejected):
        return decision
    for event in decision:
        evolve(plan, state, event)
    end = conclusion(state, command.at)
    if end is None:
        return decision
    evolve(plan, state, end)
    return (*decision, end)


def conclusion(state: RunState, at: float) -> RunSucceeded | RunFailed | None:
    """Return the end of a run whose tasks are all final; None while any is not, or once it has ended."""
    if state.unfinished or state.status is not RunStatus.RUNNING:
        return None
    return RunFailed(at) if state.failed else RunSucceeded(at)


def _stale(state: RunState, lease: int) -> Rejected | None:
    return Rejected("a stale lease") if lease != state.lease or lease == NO_LEASE else None


def _late(state: RunState, node: int, attempt: int, lease: int) -> Rejected | None:
    if stale := _stale(state, lease):
        return stale
    if state.tasks[node] is not TaskStatus.RUNNING:
        return Rejected(f"the task is {state.tasks[node]}")
    if attempt != state.attempt(node):
        return Rejected("another attempt")
    return None


def _beginning(state: RunState, command: Begin) -> Decision:
    if stale := _stale(state, command.lease):
        return stale
    status = state.tasks[command.node]
    due = status is TaskStatus.WAITING and state.retry_at[command.node] <= command.at
    if status is not TaskStatus.READY and not due:
        return Rejected(f"the task is {status}")
    return (AttemptStarted(command.node, state.attempt(command.node), command.at),)


def _completion(state: RunState, command: Complete) -> Decision:
    if late := _late(state, command.node, command.attempt, command.lease):
        return late
    return (TaskSucceeded(command.node, command.attempt, command.at, command.verdict),)


def _failure(plan: Plan, state: RunState, command: Fail) -> Decision:
    if late := _late(state, command.node, command.attempt, command.lease):
        return late
    retry = plan.nodes[command.node].retry
    if command.retryable and command.attempt < retry.attempts:
        retry_at = command.at + retry.delay_s(command.attempt, command.chance)
        return (AttemptFailed(command.node, command.attempt, command.at, retry_at),)
    return (TaskFailed(command.node, command.attempt, command.at),)
