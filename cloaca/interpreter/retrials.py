"""What a run keeps when it is retried, and what a fork takes over from it.

It reads rows through a plan and writes nothing: it says what is to be written.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from cloaca.contract.epilogues import EPILOGUE
from cloaca.contract.plans import Plan, PlanNode
from cloaca.errors import UnknownTask
from cloaca.interpreter.histories import VISIBLE, earlier_attempts, placed, restored
from cloaca.interpreter.scopes import Rows, elements_in, fan_of, place_of, prefix_of
from cloaca.machine.commands import Retry
from cloaca.machine.decisions import Rejected, step
from cloaca.machine.epilogues import undone
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
    state, nodes = _again(plan, history, at)
    inside = _inside(plan, history, nodes, at)
    done = {task.name for task in history.tasks} | {wait.name for wait in history.waits}
    told = _listed([node.task for node in nodes if node.kind in VISIBLE and node.kind not in EPILOGUE])
    reason = f" ({row.reason})" if row.reason else ""
    return Retrial(
        [*(node.name for node in nodes if node.name in done), *inside.anew],
        _earlier(plan, state, row, inside),
        f"was {row.status}{reason}{told}",
    )


def _again(plan: Plan, history: History, at: float) -> tuple[RunState, list[PlanNode]]:
    """Put a retry through the machine: return the state after it, and the nodes that start anew."""
    plan, state = placed(plan, history)
    evolve(plan, state, RunCancelled(at) if history.run.status == "cancelled" else RunFailed(at))
    decision = step(plan, state, Retry(at))
    assert not isinstance(decision, Rejected), decision
    assert isinstance(decision[0], RunRetried)
    return state, [plan.nodes[node] for node in decision[0].nodes]


@dataclass(slots=True)
class _Inside:
    """What a retry does inside fan-outs: whose rows to delete, and how many attempts they had made."""

    anew: list[str] = field(default_factory=list)
    earlier: dict[str, int] = field(default_factory=dict)

    def take(self, prefix: str, other: _Inside) -> None:
        """Take over what happens inside an element."""
        self.anew += [prefix + name for name in other.anew]
        self.earlier |= {prefix + name: count for name, count in other.earlier.items()}


def _inside(plan: Plan, history: History, again: Sequence[PlanNode], at: float) -> _Inside:
    """Say what a retry does to the elements of the fan-outs that start anew.

    What has succeeded for an element is kept, unless the list itself may be another: then all elements start anew.
    """
    anew, whole = {node.index for node in again}, _Inside()
    for fan, elements in elements_in(plan, history, earlier_attempts(history.run)).items():
        node = plan.nodes[plan.by_name[fan]]
        if node.index not in anew:
            continue
        for index, rows in elements.items():
            begun_anew = not anew.isdisjoint(node.preds)
            inner = _all_of(rows) if begun_anew else _of_element(fan_of(plan, fan).plan, rows, history.run, at)
            whole.take(prefix_of(fan, index), inner)
    return whole


def _all_of(rows: Rows) -> _Inside:
    made = dict(rows.earlier)
    attempts = [(row.name, row.attempt) for row in rows.tasks]
    for name, attempt in (*attempts, *((row.name, row.attempt) for row in rows.failures)):
        made[name] = max(made.get(name, 0), attempt)
    return _Inside(sorted(rows.begun), made)


def _of_element(plan: Plan, rows: Rows, run: RunRow, at: float) -> _Inside:
    """Retry an element as if it were a run: one that has succeeded is left alone."""
    if rows.all_succeeded(plan):
        return _Inside(earlier=rows.earlier)
    history = rows.history(run)
    if restored(plan, history).unfinished == 0 and not any(row.status == "failed" for row in rows.tasks):
        return _Inside(earlier=rows.earlier)
    state, again = _again(plan, history, at)
    inside = _inside(plan, history, again, at)
    done = rows.begun
    counts = {plan.nodes[node].name: count for node, count in state.earlier.items()}
    return _Inside(
        [*(node.name for node in again if node.name in done), *inside.anew],
        rows.earlier | counts | inside.earlier,
    )


def _earlier(plan: Plan, state: RunState, row: RunRow, inside: _Inside) -> str | None:
    counts = {plan.nodes[node].name: count for node, count in state.earlier.items()}
    counts = earlier_attempts(row) | counts | inside.earlier
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
    epilogue, spent = plan.nodes[plan.length :], undone(plan, restored(plan, history))
    proper = plan.nodes[: plan.length]
    first = [n.index for n in proper if n.task == before or n.name in failed or n.index in spent]
    names = {plan.nodes[node].name for node in onward(plan, first)} | failed | {node.name for node in epilogue}
    spoilt = {place[:2] for name in failed if (place := place_of(plan, name)) is not None}
    kept = [row for row in history.tasks if row.name not in names and _may_stay(plan, row.name, names, spoilt)]
    going = history.run._replace(earlier=None, status="running", closing=None)
    restored(plan, History(going, kept, [], [], []))
    return [row.name for row in kept]


def _may_stay(plan: Plan, name: str, again: Collection[str], spoilt: Collection[tuple[str, int]]) -> bool:
    """Whether a fork may keep a row: not inside a fan-out that runs again, nor of an element in which a task failed."""
    place = place_of(plan, name)
    return place is None or (place.fan not in again and place[:2] not in spoilt)
