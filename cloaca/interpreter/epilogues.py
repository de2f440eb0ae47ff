"""What is stored about a run's epilogue, and what its nodes are told: the outcome, the failure, keys for their peers.

It reads rows through a plan and writes nothing.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from cloaca.contract.epilogues import EPILOGUE
from cloaca.contract.plans import Plan, PlanNode
from cloaca.machine.epilogues import due
from cloaca.machine.events import OutcomeReached
from cloaca.machine.states import RunState, evolve
from cloaca.machine.statuses import FINAL_RUN, RunStatus, TaskStatus
from cloaca.ports import ClosingRow, RunRow

WORDS = {"succeeded": "the run succeeded", "failed": "the run failed", "cancelled": "the run was cancelled"}


class Closing(NamedTuple):
    """How a run ends whose epilogue has begun: since when that is known, and why, where no task says it.

    ``crashes`` is how many workers had died driving the run by then.
    """

    status: RunStatus
    at: float
    reason: str | None
    crashes: int


def closing_of(row: RunRow) -> Closing | None:
    """Return how a run will end, None if that is open, or it has ended."""
    if row.closing is None:
        return None
    found = json.loads(row.closing)
    return Closing(RunStatus(found["status"]), found["at"], found["reason"], found["crashes"])


def closing_row(run: int, closing: Closing) -> ClosingRow:
    """Return how a run will end as it is stored."""
    return ClosingRow(run, closing.status, json.dumps(closing._asdict(), sort_keys=True))


def reach(plan: Plan, state: RunState, row: RunRow) -> bool:
    """Let a state that was made of rows know the outcome, if it is known; return whether an epilogue is due."""
    closing = closing_of(row)
    status = RunStatus(row.status)
    if closing is None and status not in FINAL_RUN:
        return False
    outcome, at = (status, row.finished_at or 0.0) if closing is None else (closing.status, closing.at)
    if outcome is RunStatus.SUCCEEDED and state.unfinished:  # it has ended under other code
        return False
    if not due(plan, state, outcome):
        return False
    evolve(plan, state, OutcomeReached(outcome, at))
    return True


def shown_status(plan: Plan, state: RunState, node: PlanNode, row: RunRow) -> TaskStatus:
    """Return how a node of the epilogue of a run stands: once the run has ended, it is not pending any more."""
    status = state.tasks[node.index]
    if row.finished_at is None or status not in (TaskStatus.PENDING, TaskStatus.READY, TaskStatus.WAITING):
        return status
    return TaskStatus.CANCELLED if node.index in state.due else TaskStatus.SKIPPED


def not_due(plan: Plan, state: RunState, node: PlanNode, row: RunRow) -> str | None:
    """Return why a node of the epilogue was skipped: the outcome, or that its task has done nothing to undo."""
    outcome = str(state.outcome or row.status)
    if node.undoes is None or outcome == "succeeded":
        return WORDS.get(outcome)
    undone = plan.nodes[node.undoes]
    if state.tasks[undone.index] is TaskStatus.SUCCEEDED:
        return f"{undone.task} was done by another run"
    return f"{undone.task} did not succeed"


def idempotency_key(plan: Plan, state: RunState, run: int, node: int, name: str) -> str:
    """Return what a node tells its peers: the same for each attempt, another once it was undone and is done again.

    ``name`` is that of its rows. A peer that has seen a charge and its refund must not take the next charge for the
    first.
    """
    again = state.earlier.get(plan.undos.get(node, node if plan.nodes[node].kind in EPILOGUE else -1))
    return f"{run}:{name}:{again}" if again else f"{run}:{name}"
