"""What a run waits for: one thing, even where there are several. It knows rows, not what a worker has in memory."""

from __future__ import annotations

import re
from math import inf

from cloaca.contract.plans import Plan
from cloaca.errors import IncompatibleRun
from cloaca.interpreter.histories.reports import Waiting, optional_moment
from cloaca.interpreter.histories.restoring import restored
from cloaca.ports import History


def why(plan: Plan | None, history: History) -> Waiting:
    """Return the one thing that a run waits for."""
    row = history.run
    if row.status == "blocked":
        blamed = re.search(r'"([^"]+)"', row.reason or "")
        return Waiting("blocked", blamed[1] if blamed else None, row.reason)
    if row.status == "paused":
        return Waiting("resume")
    if row.finished_at is not None:
        return Waiting("nothing")
    if row.status == "pending" or plan is None:
        return Waiting("worker")
    try:
        state = restored(plan, history)
    except IncompatibleRun:  # a worker with other code drives it, or one is about to see that it does not fit
        return Waiting("worker")
    shown = {attempt.name for attempt in history.attempts}
    for node in plan.nodes:
        if node.name in shown:
            return Waiting("task", node.task)
    if not state.ready and (waits := [*state.retry_at.items(), *state.waits.items()]):
        index, until = min(waits, key=lambda wait: inf if wait[1] is None else wait[1])  # what may come first
        return _awaited(plan, history, index, until)
    ready = next(iter(state.ready), None)
    if ready is None:
        return Waiting("worker")
    if (queue := plan.queues.get(ready)) is not None:
        return Waiting("queue", plan.nodes[ready].task, queue)
    return Waiting("task", plan.nodes[ready].task)


def _awaited(plan: Plan, history: History, index: int, until: float | None) -> Waiting:
    node = plan.nodes[index]
    if node.kind == "wait":
        return Waiting("signal", node.task, plan.channels.get(index), optional_moment(until))
    if node.kind == "subflow":
        child = next((str(row.id) for row in reversed(history.children) if row.parent_task == node.name), None)
        return Waiting("child", node.task, child)
    return Waiting("timer" if node.kind == "sleep" else "retry", node.task, None, optional_moment(until))
