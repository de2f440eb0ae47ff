"""What people get to see of a run, as values: a run in a listing, its tasks, its events, what it waits for.

It knows how they look, not how they follow from rows, but for a run's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cloaca.ports import RunRow

CHILD_KEY = "\x1f"  # the keys of child runs begin with it: no user's key has a character that can't be printed


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
