"""What tasks and a run have come to: outputs, failed attempts, the answer, or why there is none.

It knows payloads and the codec that reads them, not what happened when.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json, to_json
from returns.result import Failure, Success

from cloaca.algebra.outcomes import Outcome, RunFailure, TaskFailure
from cloaca.contract.plans import Plan, PlanNode
from cloaca.errors import IncompatibleRun
from cloaca.interpreter.histories.reports import moment
from cloaca.interpreter.histories.restoring import earlier_attempts, restored
from cloaca.interpreter.inputs import Outputs, typed
from cloaca.interpreter.scopes import found, outermost
from cloaca.machine.statuses import FINAL_TASK
from cloaca.ports import Codec, FailureRow, History


def outputs_of(plan: Plan, history: History) -> Outputs:
    """Return the payloads that a run has stored."""
    outputs = Outputs(history.run.input)
    for row in history.tasks:
        index = plan.by_name.get(row.name) if row.status == "succeeded" else None
        if index is not None and has_written(plan.nodes[index], row.output):
            outputs.raw[index] = row.output
    return outputs


def has_written(node: PlanNode, payload: str | None) -> bool:
    """Whether a node that has succeeded counts as a writer: a child run may answer with None instead of its model."""
    return payload is not None or node.output is None or not node.is_wait


def task_failures(plan: Plan | None, history: History, codec: Codec) -> tuple[TaskFailure, ...]:
    """Return every failed attempt, in the order in which they happened."""
    return tuple(task_failure(plan, row, codec) for row in history.failures)


def task_failure(plan: Plan | None, row: FailureRow, codec: Codec) -> TaskFailure:
    """Return a failed attempt for people, and for handlers."""
    node = found(plan, row.name) if plan else None
    error = _typed(node, row.error, codec) if node and row.error is not None else None
    task = node.task if node and plan and row.name in plan.by_name else row.name
    return TaskFailure(task, row.attempt, row.exception_type, row.message, row.traceback, error, moment(row.at))


def _typed(node: PlanNode, payload: str, codec: Codec) -> BaseModel | None:
    """Return a typed error; of a child run, that of the task of it that has failed."""
    if node.child is not None:
        said, plan = from_json(payload), node.child.plan
        index = plan.by_name.get(said["name"])
        return None if index is None else _typed(plan.nodes[index], to_json(said["error"]).decode(), codec)
    model = node.body.signature.error if node.body else None
    return None if model is None else codec.decode(model, payload)


def answer(plan: Plan, history: History, codec: Codec) -> Outcome[Any, Any]:
    """Return what a run that has ended answers with."""
    row = history.run
    if row.status != "succeeded":
        return Failure(run_failure(plan, history, codec))
    if row.plan != plan.digest:
        _check_answer(plan, history)
    return Success(output(plan, outputs_of(plan, history), codec))


def _check_answer(plan: Plan, history: History) -> None:
    """Raise IncompatibleRun if the run ended under code that had no such last task: its output is not None."""
    how = plan.answer.nodes
    if not how:
        return
    state = restored(plan, history)
    if all(state.tasks[node] in FINAL_TASK for node in how):
        return
    names = " or ".join(f'"{plan.nodes[node].task}"' for node in how)
    raise IncompatibleRun(
        f"run {history.run.id} ended under other code: it has no task {names}, whose output this "
        f"workflow answers with; read it with the code of version {history.run.version}"
    )


def output(plan: Plan, outputs: Outputs, codec: Codec) -> Any:
    """Return the output of a run that has succeeded."""
    how = plan.answer
    if how.nothing:
        return None
    if how.argument is not None:
        return outputs.build(how.argument, codec)
    if not how.nodes:
        return outputs.context(plan.context)
    node = next((plan.nodes[node] for node in how.nodes if node in outputs.raw), None)
    if node is None:
        return None
    return outputs.build(node.stands_in, codec) if node.stands_in else decoded(node, outputs, codec)


def decoded(node: PlanNode, outputs: Outputs, codec: Codec) -> Any:
    """Return a node's output, of a fan-out a list; None if it has not written, or writes nothing."""
    raw = outputs.raw.get(node.index)
    if node.fan is not None:
        return None if raw is None else typed(node.fan.type, from_json(raw))
    return None if raw is None or node.output is None else codec.decode(node.output, raw)


def final_failure(plan: Plan, history: History) -> FailureRow | None:
    """Return the failure of the first task that failed for good since the run was last retried, and was not rescued.

    Nothing in the epilogue is why a run fails.
    """
    earlier, handed_over = earlier_attempts(history.run), _handed_over(plan, history)
    handed_over |= {node.name for node in plan.nodes[plan.length :]}
    final = (row for row in history.failures if row.retry_at is None and row.attempt > earlier.get(row.name, 0))
    return next((row for row in final if row.name not in handed_over), None)


def run_failure(plan: Plan, history: History, codec: Codec) -> RunFailure[Any]:
    """Return why a run has no output."""
    failures = task_failures(plan, history, codec)
    last = final_failure(plan, history)
    final = next((f for f, row in zip(failures, history.failures, strict=True) if row is last), None)
    run_id, status = str(history.run.id), history.run.status
    if status == "cancelled":
        return RunFailure(run_id, "cancelled", None, None, failures)
    if history.run.reason is not None:
        at = moment(history.run.finished_at or history.run.created_at)
        suspect = history.attempts[0].name if history.attempts else ""
        lost = TaskFailure(suspect, 0, "WorkerLost", history.run.reason, "", None, at)
        return RunFailure(run_id, "failed", suspect or None, None, (*failures, lost))
    blamed = None if final is None else _blamed(plan, final.task)
    return RunFailure(run_id, "failed", blamed, final.error if final else None, failures)


def _blamed(plan: Plan, task: str) -> str:
    """Return the task of the run that has failed because of one that may be inside a fan-out."""
    name = outermost(plan, task)
    return plan.nodes[plan.by_name[name]].task if name in plan.by_name else task


def _handed_over(plan: Plan, history: History) -> set[str]:
    """The tasks whose handlers have run to their ends: what counts is how those ended."""
    done = [plan.nodes[plan.by_name[row.name]] for row in history.tasks if row.name in plan.by_name]
    return {plan.nodes[node.rescues].name for node in done if node.rescues is not None}


def tells_failure(plan: Plan) -> bool:
    """Return whether a body of a plan asks why its run has failed."""
    return any(node.body and node.body.signature.run_failure for node in plan.nodes[plan.length :])
