"""The state of a run, from its rows: starting a run and recovering one are the same call, ``restored``.

It knows events, which it plays to the machine again, and nobody who drives the run.
"""

from __future__ import annotations

import json

from cloaca.contract.plans import Plan, PlanNode
from cloaca.errors import IncompatibleRun
from cloaca.interpreter.epilogues import reach
from cloaca.interpreter.scopes import found
from cloaca.machine.belated import Belated
from cloaca.machine.events import AttemptFailed, AttemptStarted, RunAdopted, TaskFailed, TaskSucceeded, WaitBegun
from cloaca.machine.states import RunState, evolve
from cloaca.machine.statuses import TaskStatus
from cloaca.ports import TAKEN_OVER, FailureRow, History, RunRow, TaskRow, WaitRow


class OutOfOrder(IncompatibleRun):
    """A task has run that would be skipped now; ``name`` is that of its row."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def restored(plan: Plan, history: History) -> RunState:
    """Return the state that the rows of a run amount to. Raises IncompatibleRun if they don't belong to this plan."""
    return placed(plan, history)[1]


def placed(plan: Plan, history: History) -> tuple[Plan, RunState]:
    """Return the state of a run, and the plan by which it goes on: ``plan``, unless it has run in another order.

    Raises IncompatibleRun.
    """
    state = RunState(plan)
    if _is_new(history):
        evolve(plan, state, RunAdopted(0, 0.0))
        state.take_news()
        return plan, state
    belated, earlier = Belated(plan), earlier_attempts(history.run)
    state.recall({plan.by_name[name]: count for name, count in earlier.items() if name in plan.by_name})
    evolve(plan, state, RunAdopted(0, 0.0))
    done = {row.name: row for row in history.tasks}
    waits = {row.name: row for row in history.waits}
    failures: dict[str, list[FailureRow]] = {}
    for row in history.failures:
        if row.attempt > earlier.get(row.name, 0):
            failures.setdefault(row.name, []).append(row)
    unknown = done.keys() - plan.by_name.keys()
    if unknown := {name for name in unknown if found(plan, name) is None}:
        raise IncompatibleRun(f'task "{min(unknown)}" has run, but the workflow no longer has it')
    for node in plan.nodes[: plan.length]:  # in topological order, so that predecessors come first
        if node.name in done or node.name in failures:
            if state.tasks[node.index] is TaskStatus.PENDING:
                if node.name not in done:  # it waits for what is new before it; its attempts count
                    state.recall_attempts(node.index, failures[node.name][-1].attempt)
                    continue
                belated.admit(state, node.index)
            _replay(belated.plan, state, node, done.get(node.name), failures.get(node.name, []))
        elif (wait := waits.get(node.name)) is not None and _still_waits(state, node, wait):
            evolve(belated.plan, state, WaitBegun(node.index, state.attempt(node.index), wait.began_at, wait.until))
    plan = belated.placed()
    order = state.due if reach(plan, state, history.run) else ()
    for node in (*map(plan.nodes.__getitem__, order), *plan.nodes[plan.length :]):  # what is not due has no rows
        if node.name in done or node.name in failures:
            _replay(plan, state, node, done.pop(node.name, None), failures.pop(node.name, []))
    state.take_news()
    return plan, state


def _is_new(history: History) -> bool:
    """Whether nothing has been stored about a run but that it is there, and where its worker is."""
    row = history.run
    rows = history.tasks or history.failures or history.waits or row.earlier or row.closing
    return not rows and row.status in ("pending", "running")


def _still_waits(state: RunState, node: PlanNode, row: WaitRow) -> bool:
    """Whether a wait that has begun goes on: other code may have another node there, or one that is not reached yet."""
    fits = node.is_wait and (row.until is not None or node.kind != "sleep")
    return fits and state.tasks[node.index] is TaskStatus.READY


def earlier_attempts(row: RunRow) -> dict[str, int]:
    """Return how many attempts the nodes had made when a run was last retried, by name, where there were any."""
    return json.loads(row.earlier) if row.earlier else {}


def _replay(plan: Plan, state: RunState, node: PlanNode, done: TaskRow | None, failures: list[FailureRow]) -> None:
    if state.tasks[node.index] is not TaskStatus.READY:
        if done is None:  # a task that would not run any more has failed, and was to be tried again
            return
        raise OutOfOrder(node.name, f'task "{node.task}" has run, but by the workflow\'s order now it could not have')
    for failure in failures:
        if failure.retry_at is not None:
            evolve(plan, state, AttemptStarted(node.index, failure.attempt, failure.started_at))
            evolve(plan, state, AttemptFailed(node.index, failure.attempt, failure.at, failure.retry_at))
    if done is None:
        return
    if node.is_wait:
        evolve(plan, state, WaitBegun(node.index, done.attempt, done.started_at, None))
    else:
        evolve(plan, state, AttemptStarted(node.index, done.attempt, done.started_at))
    if done.status == "failed":
        typed = any(failure.attempt == done.attempt and failure.error is not None for failure in failures)
        evolve(plan, state, TaskFailed(node.index, done.attempt, done.finished_at, typed))
        return
    verdict = done.output == "true" if node.decides else None
    reused = done.session == TAKEN_OVER
    evolve(plan, state, TaskSucceeded(node.index, done.attempt, done.finished_at, verdict, reused))
