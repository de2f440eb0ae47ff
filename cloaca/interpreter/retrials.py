"""What a run keeps when it is retried, and what a fork takes over from it.

It reads rows through a plan and writes nothing: it says what is to be written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from cloaca.contract.epilogues import EPILOGUE
from cloaca.contract.plans import Plan
from cloaca.errors import UnknownTask
from cloaca.interpreter.histories import VISIBLE, earlier_attempts, restored
from cloaca.machine.commands import Retry
from cloaca.machine.decisions import Rejected, step
from cloaca.machine.epilogues import begun
from cloaca.machine.events import RunCancelled, RunFailed, RunRetried
from cloaca.machine.states import RunState, evolve, onward
from cloaca.ports import History, RunRow

MOST_NAMES = 10  # that a note lists


@dataclass(frozen=True, slots=True)
class Retrial:
    """What a retry writes: whose rows to delete, what ``RunRow.earlier`` becomes, and the text of its note."""

    anew: list[str]
    earlier: str | None
    detail: str


def retrial(plan: Plan, history: History, at: float) -> Retrial:
    """Return what the retry of a run writes that has failed, was cancelled or is blocked.

    Raises IncompatibleRun if its rows don't belong to this plan, unless it is blocked: then nothing starts anew.
    """
    row = history.run
    if row.status == "blocked":
        return Retrial([], row.earlier, f"was blocked: {row.reason}")
    state = restored(plan, history)
    evolve(plan, state, RunCancelled(at) if row.status == "cancelled" else RunFailed(at))
    decision = step(plan, state, Retry(at))
    assert not isinstance(decision, Rejected), decision
    assert isinstance(decision[0], RunRetried)
    nodes = [plan.nodes[node] for node in decision[0].nodes]
    done = {task.name for task in history.tasks}
    told = _listed([node.task for node in nodes if node.kind in VISIBLE and node.kind not in EPILOGUE])
    reason = f" ({row.reason})" if row.reason else ""
    return Retrial(
        [node.name for node in nodes if node.name in done],
        _earlier(plan, state, row),
        f"was {row.status}{reason}{told}",
    )


def _earlier(plan: Plan, state: RunState, row: RunRow) -> str | None:
    counts = earlier_attempts(row) | {plan.nodes[node].name: count for node, count in state.earlier.items()}
    return json.dumps(counts, sort_keys=True) if counts else None


def _listed(names: Sequence[str]) -> str:
    """Return the tasks that run again, as a note lists them.

    >>> _listed(["charge", "ship"]), _listed([])
    ('; again: charge, ship', '')
    """
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"; again: {', '.join(names[:MOST_NAMES])}{more}" if names else ""


def reused(plan: Plan, history: History, before: str) -> list[str]:
    """Return the names of the nodes whose outputs a fork takes over: what succeeded, but nothing from ``before`` on.

    What failed or was undone runs again, too, and whatever comes after it. A task's own condition is asked again with
    the task. Nothing of the epilogue is reused.
    Raises UnknownTask, or IncompatibleRun if what would be reused does not fit this plan.
    """
    if plan.by_task.get(before, plan.length) >= plan.length:
        known = ", ".join(task for task, node in plan.by_task.items() if node < plan.length)
        raise UnknownTask(f'workflow "{history.run.workflow}" has no task "{before}"; it has {known}')
    failed = {row.name for row in history.tasks if row.status != "succeeded"}
    state, epilogue = restored(plan, history), plan.nodes[plan.length :]
    undone = {node for node, undo in plan.undos.items() if begun(state, undo)}
    proper = plan.nodes[: plan.length]
    first = [n.index for n in proper if n.task == before or n.name in failed or n.index in undone]
    names = {plan.nodes[node].name for node in onward(plan, first)} | failed | {node.name for node in epilogue}
    kept = [row for row in history.tasks if row.name not in names]
    going = history.run._replace(earlier=None, status="running", closing=None)
    restored(plan, History(going, kept, [], [], []))
    return [row.name for row in kept]
