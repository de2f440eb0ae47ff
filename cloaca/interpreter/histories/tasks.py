"""Where each task of a run stands, and why one was skipped.

It knows the state that rows amount to, not what the tasks have returned.
"""

from __future__ import annotations

from cloaca.algebra.signatures import name_of
from cloaca.contract.epilogues import EPILOGUE
from cloaca.contract.plans import Plan, PlanNode
from cloaca.contract.sites import SHOWN
from cloaca.interpreter.epilogues import not_due, shown_status
from cloaca.interpreter.histories.reports import TaskInfo, optional_moment
from cloaca.interpreter.histories.restoring import restored
from cloaca.machine.states import RunState, Skip
from cloaca.machine.statuses import TaskStatus
from cloaca.ports import History

VISIBLE = (*SHOWN, *EPILOGUE)


def task_infos(plan: Plan, history: History) -> list[TaskInfo]:
    """Return every task that users see, in topological order."""
    state = _final_state(plan, history)
    rows = {row.name: row for row in history.tasks}
    shown = {row.name: row for row in history.attempts}
    waits = {row.name: row for row in history.waits}
    children = {row.parent_task: str(row.id) for row in history.children}
    infos = []
    for node in plan.nodes:
        if node.kind not in VISIBLE:
            continue
        row, attempt = rows.get(node.name), shown.get(node.name)
        status = str(state.tasks[node.index])
        started = row.started_at if row else attempt.started_at if attempt else None
        if started is None and node.index in state.waits:
            started = waits[node.name].began_at
        if attempt and status == "ready":
            status = "running"
        if _condition_failed(plan, state, node):
            status = "failed"
        if node.kind in EPILOGUE:
            status = str(shown_status(plan, state, node, history.run))
        number = row.attempt if row else attempt.attempt if attempt else state.attempts.get(node.index, 0)
        number += node.index in state.waits
        because = _because(plan, state, state.skips.get(node.index)) if status == "skipped" else None
        if status == "skipped" and node.kind in EPILOGUE:
            because = not_due(plan, state, node, history.run)
        infos.append(
            TaskInfo(
                node.task,
                status,
                number,
                optional_moment(started),
                optional_moment(row.finished_at if row else None),
                because,
                child=children.get(node.name),
                code=row.code if row else attempt.code if attempt else None,
            )
        )
    return infos


def _condition_failed(plan: Plan, state: RunState, node: PlanNode) -> bool:
    """Whether a task's own condition raised, or the row of a sealed graph could not be read: then it has failed."""
    return any(state.tasks[gate] is TaskStatus.FAILED and plan.nodes[gate].task == node.task for gate in node.gates)


def shows_skip(plan: Plan, state: RunState, node: int) -> bool:
    """Return whether users see that a skipped node is skipped."""
    kind = plan.nodes[node].kind
    return kind in VISIBLE and kind not in EPILOGUE and not _condition_failed(plan, state, plan.nodes[node])


def _final_state(plan: Plan, history: History) -> RunState:
    state = restored(plan, history)
    if history.run.status in ("cancelled", "failed"):
        for index, status in enumerate(state.tasks[: plan.length]):
            if status in (TaskStatus.PENDING, TaskStatus.READY, TaskStatus.WAITING):
                state.tasks[index] = TaskStatus.CANCELLED
    return state


def _because(plan: Plan, state: RunState, skip: Skip | None) -> str | None:
    """Name the root of a skip: the condition or rule that decided, the task that failed."""
    if skip is None:
        return None
    seen = set()
    while skip.because in state.skips and skip.because not in seen:
        seen.add(skip.because)
        if state.skips[skip.because].because == skip.because:
            break
        skip = state.skips[skip.because]
    cause = plan.nodes[skip.because]
    if cause.kind == "branch" and cause.index in state.verdicts:
        return f"{cause.task} said {'yes' if state.verdicts[cause.index] else 'no'}"
    if cause.predicate is not None and state.tasks[cause.index] is TaskStatus.SUCCEEDED:
        return f"when {name_of(cause.predicate)}"
    if state.tasks[cause.index] is TaskStatus.FAILED:
        return f"{cause.task} failed"
    if state.tasks[cause.index] is TaskStatus.SUCCEEDED:  # so that there is nothing to rescue
        return f"{cause.task} succeeded"
    return f"on {cause.rule}"
