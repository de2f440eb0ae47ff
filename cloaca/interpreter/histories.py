"""What stored rows say about a run: its state, its tasks, its failures, its events, what it waits for, its answer.

It reads rows through a plan and writes nothing. Starting a run and recovering one are the same call: ``restored``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from returns.result import Failure, Success

from cloaca.algebra.outcomes import Outcome, RunFailure, TaskFailure
from cloaca.contract.epilogues import EPILOGUE
from cloaca.contract.plans import Plan, PlanNode
from cloaca.errors import IncompatibleRun
from cloaca.interpreter.epilogues import not_due, reach, shown_status
from cloaca.interpreter.inputs import Outputs
from cloaca.machine.events import AttemptFailed, AttemptStarted, RunAdopted, TaskFailed, TaskSucceeded
from cloaca.machine.states import RunState, Skip, evolve
from cloaca.machine.statuses import FINAL_TASK, TaskStatus
from cloaca.ports import TAKEN_OVER, Codec, FailureRow, History, RunRow, TaskRow

VISIBLE = ("task", "exit", *EPILOGUE)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run in a listing. Times are in UTC; ``reason`` says why it failed or is blocked, where no task does."""

    id: str
    workflow: str
    version: str
    status: str
    key: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    reason: str | None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A task of a run. ``skipped_because`` names the condition, rule or task that made it so. Times are in UTC."""

    name: str
    status: str
    attempt: int
    started_at: datetime | None
    finished_at: datetime | None
    skipped_because: str | None = None


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Something that happened to a run.

    ``kind`` is ``run_started``, ``task_started``, ``task_succeeded``, ``attempt_failed``, ``task_failed``,
    ``task_skipped``, ``run_succeeded``, ``run_failed``, ``run_cancelled``, or the kind of a note such as
    ``run_recovered``, ``run_paused``, ``run_resumed``, ``run_retried``, ``run_forked``, ``cache_hit``, or
    ``outcome_reached``, from which on compensations and callbacks run (``detail`` is the outcome), and
    ``epilogue_abandoned``. ``at`` is in UTC.
    """

    kind: str
    task: str | None
    at: datetime
    attempt: int | None = None
    detail: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The one thing that a run waits for.

    ``kind`` is ``nothing`` (it has ended), ``worker`` (nobody drives it), ``task`` (an attempt runs), ``retry`` (a
    delay, over at ``until``), ``queue`` (a slot of the queue ``field``; ``until`` if its rate is used up till then),
    ``slot`` (a task is ready, all slots of the worker are taken), ``resume`` (it is paused), ``blocked``
    (``field`` says why).
    """

    kind: str
    task: str | None = None
    field: str | None = None
    until: datetime | None = None


def moment(at: float) -> datetime:
    """Return a time in seconds since the epoch as a datetime in UTC."""
    return datetime.fromtimestamp(at, UTC)


def _moment(at: float | None) -> datetime | None:
    return None if at is None else moment(at)


def run_info(row: RunRow) -> RunInfo:
    """Return a run's row for people."""
    times = (moment(row.created_at), _moment(row.started_at), _moment(row.finished_at))
    return RunInfo(str(row.id), row.workflow, row.version, row.status, row.key, *times, row.reason, row.priority)


def restored(plan: Plan, history: History) -> RunState:
    """Return the state that the rows of a run amount to. Raises IncompatibleRun if they don't belong to this plan."""
    state, earlier = RunState(plan), earlier_attempts(history.run)
    state.recall({plan.by_name[name]: count for name, count in earlier.items() if name in plan.by_name})
    evolve(plan, state, RunAdopted(0, 0.0))
    done = {row.name: row for row in history.tasks}
    failures: dict[str, list[FailureRow]] = {}
    for row in history.failures:
        if row.attempt > earlier.get(row.name, 0):
            failures.setdefault(row.name, []).append(row)
    if unknown := sorted((done.keys() | failures.keys()) - plan.by_name.keys()):
        raise IncompatibleRun(f'task "{unknown[0]}" has run, but the workflow no longer has it')
    for node in plan.nodes[: plan.length]:  # in topological order, so that predecessors come first
        if node.name in done or node.name in failures:
            _replay(plan, state, node, done.get(node.name), failures.get(node.name, []))
    order = state.due if reach(plan, state, history.run) else ()
    for node in (*map(plan.nodes.__getitem__, order), *plan.nodes[plan.length :]):  # what is not due has no rows
        if node.name in done or node.name in failures:
            _replay(plan, state, node, done.pop(node.name, None), failures.pop(node.name, []))
    state.take_news()
    return state


def earlier_attempts(row: RunRow) -> dict[str, int]:
    """Return how many attempts the nodes had made when a run was last retried, by name, where there were any."""
    return json.loads(row.earlier) if row.earlier else {}


def _replay(plan: Plan, state: RunState, node: PlanNode, done: TaskRow | None, failures: list[FailureRow]) -> None:
    if state.tasks[node.index] is not TaskStatus.READY:
        raise IncompatibleRun(f'task "{node.task}" has run, but by the workflow\'s order now it could not have')
    for failure in failures:
        if failure.retry_at is not None:
            evolve(plan, state, AttemptStarted(node.index, failure.attempt, failure.started_at))
            evolve(plan, state, AttemptFailed(node.index, failure.attempt, failure.at, failure.retry_at))
    if done is None:
        return
    evolve(plan, state, AttemptStarted(node.index, done.attempt, done.started_at))
    if done.status == "failed":
        evolve(plan, state, TaskFailed(node.index, done.attempt, done.finished_at))
        return
    verdict = done.output == "true" if node.kind == "gate" else None
    reused = done.session == TAKEN_OVER
    evolve(plan, state, TaskSucceeded(node.index, done.attempt, done.finished_at, verdict, reused))


def outputs_of(plan: Plan, history: History) -> Outputs:
    """Return the payloads that a run has stored."""
    outputs = Outputs(history.run.input)
    for row in history.tasks:
        if row.status == "succeeded" and row.name in plan.by_name:
            outputs.raw[plan.by_name[row.name]] = row.output
    return outputs


def task_infos(plan: Plan, history: History) -> list[TaskInfo]:
    """Return every task that users see, in topological order."""
    state = _final_state(plan, history)
    rows = {row.name: row for row in history.tasks}
    shown = {row.name: row for row in history.attempts}
    infos = []
    for node in plan.nodes:
        if node.kind not in VISIBLE:
            continue
        row, attempt = rows.get(node.name), shown.get(node.name)
        status = str(state.tasks[node.index])
        started = row.started_at if row else attempt.started_at if attempt else None
        if attempt and status == "ready":
            status = "running"
        if _condition_failed(plan, state, node):
            status = "failed"
        if node.kind in EPILOGUE:
            status = str(shown_status(plan, state, node, history.run))
        number = row.attempt if row else attempt.attempt if attempt else state.attempts.get(node.index, 0)
        because = _because(plan, state, state.skips.get(node.index)) if status == "skipped" else None
        if status == "skipped" and node.kind in EPILOGUE:
            because = not_due(plan, state, node, history.run)
        infos.append(
            TaskInfo(node.task, status, number, _moment(started), _moment(row.finished_at if row else None), because)
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
    if cause.predicate is not None and state.tasks[cause.index] is TaskStatus.SUCCEEDED:
        name = getattr(cause.predicate, "__name__", "condition")
        return f"when {'condition' if name == '<lambda>' else name}"
    if state.tasks[cause.index] is TaskStatus.FAILED:
        return f"{cause.task} failed"
    return f"on {cause.rule}"


def task_failures(plan: Plan | None, history: History, codec: Codec) -> tuple[TaskFailure, ...]:
    """Return every failed attempt, in the order in which they happened."""
    return tuple(_task_failure(plan, row, codec) for row in history.failures)


def _task_failure(plan: Plan | None, row: FailureRow, codec: Codec) -> TaskFailure:
    node = plan.nodes[plan.by_name[row.name]] if plan and row.name in plan.by_name else None
    error: BaseModel | None = None
    model = node.body.signature.error if node and node.body else None
    if row.error is not None and model is not None:
        error = codec.decode(model, row.error)
    task = node.task if node else row.name
    return TaskFailure(task, row.attempt, row.exception_type, row.message, row.traceback, error, moment(row.at))


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
    how = plan.answer.node
    if how is None or restored(plan, history).tasks[how] in FINAL_TASK:
        return
    raise IncompatibleRun(
        f'run {history.run.id} ended under other code: it has no task "{plan.nodes[how].task}", whose output this '
        f"workflow answers with; read it with the code of version {history.run.version}"
    )


def output(plan: Plan, outputs: Outputs, codec: Codec) -> Any:
    """Return the output of a run that has succeeded."""
    how = plan.answer
    if how.nothing:
        return None
    if how.argument is not None:
        return outputs.build(how.argument, codec)
    if how.node is None:
        return outputs.context(plan.context)
    return decoded(plan.nodes[how.node], outputs, codec)


def decoded(node: PlanNode, outputs: Outputs, codec: Codec) -> BaseModel | None:
    """Return a node's output; None if it has not written, or writes nothing."""
    raw = outputs.raw.get(node.index)
    return None if raw is None or node.output is None else codec.decode(node.output, raw)


def run_failure(plan: Plan, history: History, codec: Codec) -> RunFailure[Any]:
    """Return why a run has no output."""
    failures = task_failures(plan, history, codec)
    earlier = earlier_attempts(history.run)
    epilogue = {node.name for node in plan.nodes[plan.length :]}
    rows = zip(failures, history.failures, strict=True)
    latest = ((f, row) for f, row in rows if row.retry_at is None and row.name not in epilogue)
    final = next((f for f, row in latest if row.attempt > earlier.get(row.name, 0)), None)
    run_id, status = str(history.run.id), history.run.status
    if status == "cancelled":
        return RunFailure(run_id, "cancelled", None, None, failures)
    if history.run.reason is not None:
        at = moment(history.run.finished_at or history.run.created_at)
        suspect = history.attempts[0].name if history.attempts else ""
        lost = TaskFailure(suspect, 0, "WorkerLost", history.run.reason, "", None, at)
        return RunFailure(run_id, "failed", suspect or None, None, (*failures, lost))
    return RunFailure(run_id, "failed", final.task if final else None, final.error if final else None, failures)


def tells_failure(plan: Plan) -> bool:
    """Return whether a body of a plan asks why its run has failed."""
    return any(node.body and node.body.signature.run_failure for node in plan.nodes[plan.length :])


def run_events(plan: Plan, history: History) -> list[RunEvent]:
    """Return what happened to a run so far, in order of time."""
    row = history.run
    events = [RunEvent("run_started", None, moment(row.started_at or row.created_at)), *_task_events(plan, history)]
    events += [RunEvent("task_skipped", task, moment(at)) for task, at in _skips(plan, history)]
    events += [RunEvent(note.kind, note.task, moment(note.at), None, note.detail) for note in history.notes]
    if row.finished_at is not None:
        events.append(RunEvent(f"run_{row.status}", None, moment(row.finished_at)))
    return sorted(events, key=place_of)


ENDINGS = frozenset({"run_succeeded", "run_failed", "run_cancelled"})


def place_of(event: RunEvent) -> tuple[int, datetime, bool]:
    """Return what to sort events by: time, but a run's start comes first and its end last, whatever clocks say."""
    phase = 0 if event.kind == "run_started" else 2 if event.kind in ENDINGS else 1
    return phase, event.at, event.kind != "task_started"


def _task_events(plan: Plan, history: History) -> Iterator[RunEvent]:
    tasks = {node.name: node.task for node in plan.nodes if node.kind in VISIBLE}
    messages = {(failure.name, failure.attempt): failure.message for failure in history.failures}
    for done in history.tasks:
        detail = messages.get((done.name, done.attempt), "")
        if task := tasks.get(done.name):
            yield RunEvent("task_started", task, moment(done.started_at), done.attempt)
            yield RunEvent(f"task_{done.status}", task, moment(done.finished_at), done.attempt, detail)
        elif done.status == "failed" and done.name in plan.by_name:  # a condition that raised
            task = plan.nodes[plan.by_name[done.name]].task
            yield RunEvent("task_failed", task, moment(done.finished_at), done.attempt, detail)
    last = {(done.name, done.attempt) for done in history.tasks}
    for failure in history.failures:
        if (failure.name, failure.attempt) in last or failure.name not in plan.by_name:
            continue
        kind = "attempt_failed" if failure.retry_at is not None else "task_failed"  # which was retried since
        task = plan.nodes[plan.by_name[failure.name]].task
        if failure.name in tasks:
            yield RunEvent("task_started", task, moment(failure.started_at), failure.attempt)
        yield RunEvent(kind, task, moment(failure.at), failure.attempt, failure.message)
    for shown in history.attempts:
        if task := tasks.get(shown.name):
            yield RunEvent("task_started", task, moment(shown.started_at), shown.attempt)


def _skips(plan: Plan, history: History) -> Iterator[tuple[str, float]]:
    """Yield the skipped tasks, each at the time at which the last of its predecessors became final."""
    state = restored(plan, history)
    start = history.run.started_at or history.run.created_at
    finished = {plan.by_name[row.name]: row.finished_at for row in history.tasks}
    for node in plan.nodes:
        if node.index in state.skips:
            finished[node.index] = max((finished.get(pred, start) for pred in node.preds), default=start)
            if shows_skip(plan, state, node.index):
                yield node.task, finished[node.index]


def why(plan: Plan | None, history: History) -> Waiting:
    """Return the one thing that a run waits for."""
    row = history.run
    if row.status == "blocked":
        return Waiting("blocked", None, row.reason)
    if row.status == "paused":
        return Waiting("resume")
    if row.finished_at is not None:
        return Waiting("nothing")
    if row.status == "pending" or plan is None:
        return Waiting("worker")
    state = restored(plan, history)
    shown = {attempt.name for attempt in history.attempts}
    for node in plan.nodes:
        if node.name in shown:
            return Waiting("task", node.task)
    if state.retry_at and not state.ready:
        node_index, due = min(state.retry_at.items(), key=lambda item: item[1])
        return Waiting("retry", plan.nodes[node_index].task, None, moment(due))
    ready = next(iter(state.ready), None)
    if ready is None:
        return Waiting("worker")
    if (queue := plan.queues.get(ready)) is not None:
        return Waiting("queue", plan.nodes[ready].task, queue)
    return Waiting("task", plan.nodes[ready].task)
