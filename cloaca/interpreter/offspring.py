"""Child runs: what starts one, by what it is known again, and what its end means for the node that has started it.

It knows plans, rows and the codec; it writes nothing.
"""

from __future__ import annotations

import json
from hashlib import sha256

from returns.result import Failure

from cloaca.contract.plans import Plan, PlanNode
from cloaca.interpreter.answers import Raised, Report, Returned, raised
from cloaca.interpreter.histories import CHILD_KEY, answer, final_failure
from cloaca.interpreter.inputs import Outputs
from cloaca.ports import Codec, History, NewRun, PlanRow, RunRow

ENDED_BADLY = frozenset({"failed", "cancelled"})


def child_input(node: PlanNode, outputs: Outputs, codec: Codec) -> str | None:
    """Return the input of the child run that ``node`` starts. Raises as ``Codec`` does, and whatever models raise."""
    if node.child.input is None:
        return None
    [model] = outputs.arguments(node.arguments, codec)
    return codec.encode(node.child.input, model)


def child_key(parent: int, name: str, input: str | None) -> str:
    """Return the key of a child run: the same parent, name of the node's rows and input always give the same run."""
    return CHILD_KEY + sha256(json.dumps([parent, name, input]).encode()).hexdigest()[:32]


def new_child(
    parent: RunRow, node: PlanNode, name: str, input: str | None, *, id: int, owner: int | None, at: float
) -> NewRun:
    """Return the child run that ``node`` starts, whose rows are under ``name``; of its parent's priority."""
    workflow, key = node.child, child_key(parent.id, name, input)
    kind = (workflow.name, workflow.version, workflow.plan.digest)
    epilogue = workflow.plan.has_epilogue
    return NewRun(id, *kind, input, key, owner, at, parent.priority, parent.id, name, epilogue)


def plan_row(node: PlanNode) -> PlanRow:
    """Return the row of the plan of the child run that ``node`` starts."""
    plan, workflow = node.child.plan, node.child
    return PlanRow(plan.digest, workflow.name, workflow.version, plan.spec)


def child_report(node: PlanNode, history: History, codec: Codec) -> Report:
    """Return what the end of a child run means for the node that has started it."""
    try:
        outcome = answer(node.child.plan, history, codec)
        if isinstance(outcome, Failure):
            return _failed(node.child.plan, history, str(outcome.failure()))
        value = outcome.unwrap()
        return Returned(None if value is None or node.output is None else codec.encode(node.output, value))
    except Exception as error:  # noqa: BLE001 - a user's validator may raise anything
        return raised(error, retryable=False)


def _failed(plan: Plan, history: History, message: str) -> Raised:
    last = final_failure(plan, history)
    if history.run.status == "cancelled" or last is None or last.error is None:
        kind = "ChildCancelled" if history.run.status == "cancelled" else "ChildFailed"
        return Raised(kind, message, "", retryable=False)
    error = f'{{"name":{json.dumps(last.name)},"error":{last.error}}}'
    return Raised("Failure", message, "", retryable=False, error=error)
