"""``cloaca runs show``: all about one run, without the user's code if need be.

It reads the run's rows through the plan that is stored beside them, or through the workflow's own plan, which also
knows the models: then the output and the conditions' names are shown too.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from cloaca.cli.databases import opened, run_number
from cloaca.cli.documents import Json, moment, plain, write_document
from cloaca.cli.pages import write_page
from cloaca.cli.refusals import Exit, Refusal
from cloaca.cli.stored_plans import plan_of
from cloaca.cli.streams import data_stream
from cloaca.cli.targets import AnyWorkflow, load_workflow
from cloaca.codecs import JsonCodec
from cloaca.contract.plans import Plan
from cloaca.errors import IncompatibleRun, RunNotFound
from cloaca.interpreter import histories
from cloaca.interpreter.histories import RunInfo, TaskInfo, Waiting
from cloaca.ports import FailureRow, History, TaskRow


@dataclass(frozen=True, slots=True)
class Attempt:
    """A failed attempt as it is stored. ``error`` is the JSON of a typed error."""

    task: str
    row: FailureRow


@dataclass(frozen=True, slots=True)
class Dossier:
    """All that is shown of a run. ``output`` is known only with the workflow's models, as JSON values.

    ``has_output`` tells an output that is null from one that is not known.
    """

    info: RunInfo
    input: str | None
    tasks: list[TaskInfo]
    waiting: Waiting
    failures: list[Attempt]
    output: Json = None
    has_output: bool = False


def show_run(run_id: str, database: str | None, *, target: str | None, as_json: bool) -> Exit:
    """Print a run. Raises Refusal and CloacaError."""
    with data_stream() as out:
        workflow = load_workflow(target) if target else None
        history, spec = asyncio.run(_stored(run_id, database))
        dossier = dossier_of(history, spec, workflow)
        if as_json:
            write_document(out, document_of(dossier))
        else:
            write_page(dossier, out)
    return Exit.DONE


async def _stored(run_id: str, database: str | None) -> tuple[History, str | None]:
    number = run_number(run_id)
    async with opened(database) as store:
        history = await store.history(number)
        if history is None:
            raise RunNotFound(
                f"no run {run_id} in this database: check the URL; ended runs are deleted after `retention=`"
            )
        plan = await store.plan(history.run.plan)
    return history, plan.spec if plan else None


def dossier_of(history: History, spec: str | None, workflow: AnyWorkflow | None) -> Dossier:
    """Return what rows say, read through the workflow's plan, else the stored one, else as they are."""
    row = history.run
    if workflow is not None and workflow.name != row.workflow:
        raise Refusal(f'run {row.id} is one of workflow "{row.workflow}", not "{workflow.name}"', "Name its --target.")
    failures = [Attempt(failure.name, failure) for failure in history.failures]
    tasks, waiting = _read(history, spec, workflow)
    known = workflow is not None and row.status == "succeeded"
    output = _output(workflow.plan, history) if workflow and known else None
    return Dossier(histories.run_info(row), row.input, tasks, waiting, failures, output, known)


def _read(history: History, spec: str | None, workflow: AnyWorkflow | None) -> tuple[list[TaskInfo], Waiting]:
    plans = [workflow.plan] if workflow else []
    with suppress(ValueError):  # if it can't be read, the rows themselves will do
        plans += [plan_of(spec)] if spec else []
    for plan in plans:
        try:
            return histories.task_infos(plan, history), histories.why(plan, history)
        except IncompatibleRun:
            pass  # the code has changed since; the next plan may fit
    return [_bare(row) for row in history.tasks], histories.why(None, history)


def _bare(row: TaskRow) -> TaskInfo:
    times = histories.moment(row.started_at), histories.moment(row.finished_at)
    return TaskInfo(row.name, row.status, row.attempt, *times, code=row.code)


def _output(plan: Plan, history: History) -> Json:
    try:
        return plain(histories.output(plan, histories.outputs_of(plan, history), JsonCodec()))
    except ValidationError as error:
        told = f"the output of run {history.run.id} does not fit the models of the code any more"
        raise Refusal(told, str(error), "Without --target the run can still be shown.", code=Exit.FAILED) from None


def document_of(dossier: Dossier) -> Json:
    """Return what ``runs show --json`` prints."""
    info, waiting = dossier.info, dossier.waiting
    return {
        "id": info.id,
        "workflow": info.workflow,
        "version": info.version,
        "status": info.status,
        "key": info.key,
        "created_at": moment(info.created_at),
        "started_at": moment(info.started_at),
        "finished_at": moment(info.finished_at),
        "reason": info.reason,
        "priority": info.priority,
        "input": _parsed(dossier.input),
        "output": dossier.output,
        "waiting_for": {
            "kind": waiting.kind,
            "task": waiting.task,
            "field": waiting.field,
            "until": moment(waiting.until),
        },
        "tasks": [_task_document(task) for task in dossier.tasks],
        "failures": [_failure_document(attempt) for attempt in dossier.failures],
    }


def _task_document(task: TaskInfo) -> Json:
    return {
        "name": task.name,
        "status": task.status,
        "attempt": task.attempt,
        "started_at": moment(task.started_at),
        "finished_at": moment(task.finished_at),
        "skipped_because": task.skipped_because,
        "code": task.code,
    }


def _failure_document(attempt: Attempt) -> Json:
    row = attempt.row
    return {
        "task": attempt.task,
        "attempt": row.attempt,
        "exception_type": row.exception_type,
        "message": row.message,
        "traceback": row.traceback,
        "error": _parsed(row.error),
        "at": moment(histories.moment(row.at)),
    }


def _parsed(payload: str | None) -> Any:
    return None if payload is None else json.loads(payload)
