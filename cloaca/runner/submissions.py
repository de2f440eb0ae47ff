"""Starting a run: what is checked of the arguments, and how the run is stored, by the worker if there is one here.

It knows plans, rows and the codec, not which workflows there are.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from cloaca.contract.plans import Plan
from cloaca.contract.workflows import Workflow
from cloaca.errors import ContractError, LeaseLost, Violation
from cloaca.interpreter.drives import Drive
from cloaca.ports import Codec, NewRun, PlanRow, Submitted
from cloaca.runner.engines import Engine

LONGEST_KEY = 512
HIGHEST_PRIORITY = 100


def check_key(key: object) -> None:
    """Raise ValueError for what is no idempotency key."""
    if key is None:
        return
    if not isinstance(key, str) or not key or len(key) > LONGEST_KEY or not key.isprintable():
        raise ValueError(f"key={key!r:.80}: an idempotency key is a printable string of 1 to {LONGEST_KEY} characters")


def check_priority(priority: object) -> None:
    """Raise ValueError for what is no priority."""
    if type(priority) is not int or abs(priority) > HIGHEST_PRIORITY:
        raise ValueError(
            f"priority={priority!r:.80}: a whole number from -{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}; "
            "the higher goes first"
        )


def checked_input(codec: Codec, workflow: Workflow[Any, Any, Any, Any], input: object) -> str | None:
    """Return the payload of a workflow's input. Raises ContractError, PayloadError."""
    model = workflow.input
    if model is None and input is None:
        return None
    if model is None or not isinstance(input, model):
        wanted = model.__name__ if model else "no input"
        remedy = f"; pass {wanted}(...)" if model else ""
        text = f'Workflow "{workflow.name}" takes {wanted}, but was given {_described(input)}{remedy}'
        raise ContractError([Violation("workflow-input", workflow.name, "", text)])
    return codec.encode(model, input)


async def same_input(engine: Engine, workflow: Workflow[Any, Any, Any, Any], payload: str | None, run: int) -> bool:
    """Whether an older run's input is equal, though its JSON is not: a set's order, a field that is new."""
    row = await engine.store.run(run)
    if workflow.input is None or payload is None or row is None or row.input is None:
        return False
    try:
        older = engine.codec.decode(workflow.input, row.input)
    except ValidationError:
        return False
    return older == engine.codec.decode(workflow.input, payload)


async def submit(engine: Engine, plan: Plan, row: PlanRow, run: NewRun) -> tuple[Submitted, Drive | None]:
    """Store a run, with the trace context in which it is started, if somebody traces that."""
    telemetry = engine.telemetry
    if telemetry is None:
        return await _submit(engine, plan, row, run)
    span, traceparent = telemetry.starting(run.workflow)
    stored = None
    try:
        stored = await _submit(engine, plan, row, run._replace(traceparent=traceparent))
        return stored
    finally:
        telemetry.started(span, None if stored is None else str(stored[0].id))


async def _submit(engine: Engine, plan: Plan, row: PlanRow, run: NewRun) -> tuple[Submitted, Drive | None]:
    worker = engine.worker
    if worker is not None and not worker.commits.closed:
        try:
            return await worker.submit(plan, row, run)
        except LeaseLost:  # just now: the run is for whoever claims it, most likely this worker's next session
            pass
    return await engine.store.submit(row, run._replace(owner=None)), None


def _described(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
