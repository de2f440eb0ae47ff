"""What stored rows say about a run: its state, its tasks, its failures, its events, what it waits for, its answer.

It reads rows through a plan and writes nothing. Starting a run and recovering one are the same call: ``restored``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json, to_json
from returns.result import Failure, Success

from cloaca.algebra.outcomes import Outcome, RunFailure, TaskFailure
from cloaca.algebra.signatures import name_of
from cloaca.contract.epilogues import EPILOGUE
from cloaca.contract.plans import Plan, PlanNode
from cloaca.contract.sites import SHOWN
from cloaca.errors import IncompatibleRun
from cloaca.interpreter.epilogues import not_due, reach, shown_status
from cloaca.interpreter.inputs import Outputs, typed
from cloaca.interpreter.scopes import found, outermost
from cloaca.machine.belated import Belated
from cloaca.machine.events import AttemptFailed, AttemptStarted, RunAdopted, TaskFailed, TaskSucceeded, WaitBegun
from cloaca.machine.states import RunState, Skip, evolve
from cloaca.machine.statuses import FINAL_TASK, TaskStatus
from cloaca.ports import TAKEN_OVER, Codec, FailureRow, History, RunRow, TaskRow, WaitRow

VISIBLE = (*SHOWN, *EPILOGUE)
CHILD_KEY = "\x1f"  # the keys of child runs begin with it: no user's key has a character that can't be printed


class OutOfOrder(IncompatibleRun):
    """A task has run that would be skipped now; ``name`` is that of its row."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run in a listing. Times are in UTC; ``reason`` says why it failed or is blocked, where no task does.

    ``parent`` is the id of the run that has started this one by a ``subflow``.

    >>> from cloaca import BlockingRunner, Workflow, task
    >>> @task
    ... def greet() -> None: ...
    >>> with BlockingRunner("memory://") as runner:
    ...     _ = runner.run(Workflow("greetings", greet), key="hello")
    ...     [info] = runner.runs()
    >>> isinstance(info, RunInfo), info.workflow, info.status, info.key
    (True, 'greetings', 'succeeded', 'hello')
    """

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
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A task of a run. ``skipped_because`` names the condition, rule or task that made it so. Times are in UTC.

    ``elements`` is for an ``each()``: how many elements there are (``total``), and how many of them are ``running``,
    ``succeeded``, ``failed`` or ``cancelled``, where there are any.
    ``child`` is the id of the run that a ``subflow`` has started. ``code`` is the fingerprint of the code that ran.

    >>> from cloaca import BlockingRunner, Workflow, task
    >>> @task
    ... def greet() -> None: ...
    >>> with BlockingRunner("memory://") as runner:
    ...     handle = runner.start(Workflow("greetings", greet))
    ...     _ = handle.result()
    ...     [info] = handle.tasks()
    >>> isinstance(info, TaskInfo), info.name, info.status, info.attempt
    (True, 'greet', 'succeeded', 1)
    """

    name: str
    status: str
    attempt: int
    started_at: datetime | None
    finished_at: datetime | None
    skipped_because: str | None = None
    elements: Mapping[str, int] | None = None
    child: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Something that happened to a run.

    ``kind`` is ``run_started``, ``task_started``, ``task_succeeded``, ``attempt_failed``, ``task_failed``,
    ``task_skipped``, ``wait_began`` (instead of ``task_started``, of a node that waits), ``signal_received``,
    ``run_succeeded``, ``run_failed``, ``run_cancelled``, or the kind of a note such as ``run_recovered``,
    ``run_paused``, ``run_resumed``, ``run_retried``, ``run_forked``, ``code_changed``,
    ``run_upgraded``, ``cache_hit``, or ``outcome_reached``, from which on compensations and callbacks run (``detail``
    is the outcome), and ``epilogue_abandoned``. ``at`` is in UTC.

    >>> from cloaca import BlockingRunner, Workflow, task
    >>> @task
    ... def greet() -> None: ...
    >>> with BlockingRunner("memory://") as runner:
    ...     events = list(runner.start(Workflow("greetings", greet)).events())
    >>> isinstance(events[0], RunEvent), [event.kind for event in events]
    (True, ['run_started', 'task_started', 'task_succeeded', 'run_succeeded'])
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
    ``slot`` (a task is ready, all slots of the worker are taken), ``timer`` (a ``sleep``, over at ``until``),
    ``signal`` (of the model ``field``, until ``until`` at the latest), ``child`` (the run ``field``), ``resume`` (it is
    paused), ``blocked`` (``field`` says why, ``task`` whom it blames).

    >>> from cloaca import BlockingRunner, Workflow, sleep
    >>> with BlockingRunner("memory://", work=False) as runner:
    ...     handle = runner.start(Workflow("naps", sleep(60)))
    ...     handle.why()
    Waiting(kind='worker', task=None, field=None, until=None)
    """

    kind: str
    task: str | None = None
    field: str | None = None
    until: datetime | None = None


def moment(at: float) -> datetime:
    """Return a time in seconds since the epoch as a datetime in UTC."""
    return datetime.fromtimestamp(at, UTC)


def optional_moment(at: float | None) -> datetime | None:
    """Return a time in seconds since the epoch as a datetime in UTC; None for none."""
    return None if at is None else moment(at)


def run_info(row: RunRow) -> RunInfo:
    """Return a run's row for people."""
    times = (moment(row.created_at), optional_moment(row.started_at), optional_moment(row.finished_at))
    key = None if row.key is not None and row.key.startswith(CHILD_KEY) else row.key
    parent = None if row.parent is None else str(row.parent)
    head = (str(row.id), row.workflow, row.version, row.status, key)
    return RunInfo(*head, *times, row.reason, row.priority, parent)


def restored(plan: Plan, history: History) -> RunState:
    """Return the state that the rows of a run amount to. Raises IncompatibleRun if they don't belong to this plan."""
    return placed(plan, history)[1]


def placed(plan: Plan, history: History) -> tuple[Plan, RunState]:
    """Return the state of a run, and the plan by which it goes on: ``plan``, unless it has run in another order.

    Raises IncompatibleRun.
    """
    state = RunState(plan)
    if _is_new(history):
        evolve(plan, state, RunAdopted(0, 0.0))
        state.take_news()
        return plan, state
    belated, earlier = Belated(plan), earlier_attempts(history.run)
    state.recall({plan.by_name[name]: count for name, count in earlier.items() if name in plan.by_name})
    evolve(plan, state, RunAdopted(0, 0.0))
    done = {row.name: row for row in history.tasks}
    waits = {row.name: row for row in history.waits}
    failures: dict[str, list[FailureRow]] = {}
    for row in history.failures:
        if row.attempt > earlier.get(row.name, 0):
            failures.setdefault(row.name, []).append(row)
    unknown = done.keys() - plan.by_name.keys()
    if unknown := {name for name in unknown if found(plan, name) is None}:
        raise IncompatibleRun(f'task "{min(unknown)}" has run, but the workflow no longer has it')
    for node in plan.nodes[: plan.length]:  # in topological order, so that predecessors come first
        if node.name in done or node.name in failures:
            if state.tasks[node.index] is TaskStatus.PENDING:
                if node.name not in done:  # it waits for what is new before it; its attempts count
                    state.recall_attempts(node.index, failures[node.name][-1].attempt)
                    continue
                belated.admit(state, node.index)
            _replay(belated.plan, state, node, done.get(node.name), failures.get(node.name, []))
        elif (wait := waits.get(node.name)) is not None and _still_waits(state, node, wait):
            evolve(belated.plan, state, WaitBegun(node.index, state.attempt(node.index), wait.began_at, wait.until))
    plan = belated.placed()
    order = state.due if reach(plan, state, history.run) else ()
    for node in (*map(plan.nodes.__getitem__, order), *plan.nodes[plan.length :]):  # what is not due has no rows
        if node.name in done or node.name in failures:
            _replay(plan, state, node, done.pop(node.name, None), failures.pop(node.name, []))
    state.take_news()
    return plan, state


def _is_new(history: History) -> bool:
    """Whether nothing has been stored about a run but that it is there, and where its worker is."""
    row = history.run
    rows = history.tasks or history.failures or history.waits or row.earlier or row.closing
    return not rows and row.status in ("pending", "running")


def _still_waits(state: RunState, node: PlanNode, row: WaitRow) -> bool:
    """Whether a wait that has begun goes on: other code may have another node there, or one that is not reached yet."""
    fits = node.is_wait and (row.until is not None or node.kind != "sleep")
    return fits and state.tasks[node.index] is TaskStatus.READY


def earlier_attempts(row: RunRow) -> dict[str, int]:
    """Return how many attempts the nodes had made when a run was last retried, by name, where there were any."""
    return json.loads(row.earlier) if row.earlier else {}


def _replay(plan: Plan, state: RunState, node: PlanNode, done: TaskRow | None, failures: list[FailureRow]) -> None:
    if state.tasks[node.index] is not TaskStatus.READY:
        if done is None:  # a task that would not run any more has failed, and was to be tried again
            return
        raise OutOfOrder(node.name, f'task "{node.task}" has run, but by the workflow\'s order now it could not have')
    for failure in failures:
        if failure.retry_at is not None:
            evolve(plan, state, AttemptStarted(node.index, failure.attempt, failure.started_at))
            evolve(plan, state, AttemptFailed(node.index, failure.attempt, failure.at, failure.retry_at))
    if done is None:
        return
    if node.is_wait:
        evolve(plan, state, WaitBegun(node.index, done.attempt, done.started_at, None))
    else:
        evolve(plan, state, AttemptStarted(node.index, done.attempt, done.started_at))
    if done.status == "failed":
        typed = any(failure.attempt == done.attempt and failure.error is not None for failure in failures)
        evolve(plan, state, TaskFailed(node.index, done.attempt, done.finished_at, typed))
        return
    verdict = done.output == "true" if node.decides else None
    reused = done.session == TAKEN_OVER
    evolve(plan, state, TaskSucceeded(node.index, done.attempt, done.finished_at, verdict, reused))


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


def run_events(plan: Plan, history: History) -> list[RunEvent]:
    """Return what happened to a run so far, in order of time."""
    row = history.run
    events = [RunEvent("run_started", None, moment(row.started_at or row.created_at)), *_task_events(plan, history)]
    events += [RunEvent("task_skipped", task, moment(at)) for task, at in _skips(plan, history)]
    events += [RunEvent("signal_received", None, moment(row.sent_at), None, row.name) for row in history.signals]
    events += [RunEvent(note.kind, note.task, moment(note.at), None, note.detail) for note in history.notes]
    if row.finished_at is not None:
        events.append(RunEvent(f"run_{row.status}", None, moment(row.finished_at)))
    return sorted(events, key=place_of)


ENDINGS = frozenset({"run_succeeded", "run_failed", "run_cancelled"})
STARTS = frozenset({"task_started", "wait_began"})


def place_of(event: RunEvent) -> tuple[int, datetime, bool]:
    """Return what to sort events by: time, but a run's start comes first and its end last, whatever clocks say."""
    phase = 0 if event.kind == "run_started" else 2 if event.kind in ENDINGS else 1
    return phase, event.at, event.kind not in STARTS


def _task_events(plan: Plan, history: History) -> Iterator[RunEvent]:
    tasks = {node.name: node.task for node in plan.nodes if node.kind in VISIBLE}
    waits = {node.name for node in plan.nodes if node.is_wait}
    messages = {(failure.name, failure.attempt): failure.message for failure in history.failures}
    for done in history.tasks:
        detail = messages.get((done.name, done.attempt), "")
        if task := tasks.get(done.name):
            start = "wait_began" if done.name in waits else "task_started"
            yield RunEvent(start, task, moment(done.started_at), done.attempt)
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
            start = "wait_began" if failure.name in waits else "task_started"
            yield RunEvent(start, task, moment(failure.started_at), failure.attempt)
        yield RunEvent(kind, task, moment(failure.at), failure.attempt, failure.message)
    done_waits, earlier = {done.name for done in history.tasks}, earlier_attempts(history.run)
    for wait in history.waits:
        if wait.name in waits and wait.name not in done_waits:
            yield RunEvent("wait_began", tasks[wait.name], moment(wait.began_at), earlier.get(wait.name, 0) + 1)
    for shown in history.attempts:
        if task := tasks.get(shown.name):
            yield RunEvent("task_started", task, moment(shown.started_at), shown.attempt)


def _skips(plan: Plan, history: History) -> Iterator[tuple[str, float]]:
    """Yield the skipped tasks, each at the time at which the last of its predecessors became final."""
    state = restored(plan, history)
    start = history.run.started_at or history.run.created_at
    finished = {plan.by_name[row.name]: row.finished_at for row in history.tasks if row.name in plan.by_name}
    for node in plan.nodes:
        if node.index in state.skips:
            finished[node.index] = max((finished.get(pred, start) for pred in node.preds), default=start)
            if shows_skip(plan, state, node.index):
                yield node.task, finished[node.index]


def _awaited(plan: Plan, history: History, index: int, until: float | None) -> Waiting:
    node = plan.nodes[index]
    if node.kind == "wait":
        return Waiting("signal", node.task, plan.channels.get(index), optional_moment(until))
    if node.kind == "subflow":
        child = next((str(row.id) for row in reversed(history.children) if row.parent_task == node.name), None)
        return Waiting("child", node.task, child)
    return Waiting("timer" if node.kind == "sleep" else "retry", node.task, None, optional_moment(until))


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
