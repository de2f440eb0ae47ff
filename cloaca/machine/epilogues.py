"""The epilogue of a run: what is due once its outcome is known, in which order, and how far it has come.

First what undoes the tasks that succeeded, if the run has failed or was cancelled, the last completed first; then the
callback for the outcome. It refuses to know how an outcome came about, and how one node follows another in time: they
run one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING

from cloaca.contract.plans import Plan
from cloaca.machine.statuses import RunStatus

if TYPE_CHECKING:
    from cloaca.machine.states import RunState

UNDONE = frozenset({RunStatus.FAILED, RunStatus.CANCELLED})  # outcomes after which tasks are undone


def due(plan: Plan, state: RunState, outcome: RunStatus) -> tuple[int, ...]:
    """Return the nodes of the epilogue that are due after an outcome, in their order. Cost: the edges, if any is."""
    if not plan.has_epilogue:
        return ()
    undone = reversed(completion_order(plan, state.completed)) if outcome in UNDONE else ()
    callback = plan.callbacks.get(outcome)
    return (*(plan.undos[node] for node in undone), *(() if callback is None else (callback,)))


def completion_order(plan: Plan, completed: Mapping[int, float]) -> list[int]:
    """Return nodes by the time at which they were completed; but a node comes behind what it has waited for.

    Clocks are set back, and the clocks of two workers differ: so a node counts as completed no earlier than any of
    those before it. Ties are in the order of the plan. It depends on nothing but ``completed``, which is stored.
    """
    if len(completed) <= 1:
        return list(completed)
    latest: list[float] = []
    for node in plan.nodes[: plan.length]:
        before = max((latest[pred] for pred in node.preds), default=-inf)
        latest.append(max(before, completed.get(node.index, -inf)))
    return sorted(completed, key=lambda node: (latest[node], node))


def begun(state: RunState, undo: int) -> bool:
    """Whether a compensation may have done something: it has ended, or made an attempt, or was next when the run ended.

    Nobody knows of an attempt that was in flight when its worker died.
    """
    if state.outcome is None or undo not in state.due:
        return False
    return state.due.index(undo) <= state.settled


def undone(plan: Plan, state: RunState) -> list[int]:
    """Return the nodes that must start anew because what undoes them has begun; a handler with the task it rescued."""
    nodes = [node for node, undo in plan.undos.items() if begun(state, undo)]
    return [*nodes, *(task for node in nodes if (task := plan.nodes[node].rescues) is not None)]
