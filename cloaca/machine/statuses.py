"""The states of runs and of tasks, and the legal transitions between them, as tables.

``evolve`` asserts these tables, and the diagrams in the documentation are generated from them.
"""

from collections.abc import Mapping
from enum import StrEnum


class RunStatus(StrEnum):
    """Where a run stands. ``succeeded``, ``failed`` and ``cancelled`` are final, unless somebody retries the run."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    BLOCKED = "blocked"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskStatus(StrEnum):
    """Where a task of a run stands. ``succeeded``, ``failed``, ``skipped`` and ``cancelled`` are final, as for runs."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


_T, _R = TaskStatus, RunStatus

TASK_TRANSITIONS: Mapping[TaskStatus, frozenset[TaskStatus]] = {
    _T.PENDING: frozenset({_T.READY, _T.SKIPPED, _T.CANCELLED}),
    # At once to waiting: a timer, a signal, a child run, which no attempt is in flight for.
    _T.READY: frozenset({_T.RUNNING, _T.WAITING, _T.CANCELLED}),
    # Back to ready: its worker died, and another adopted the run.
    _T.RUNNING: frozenset({_T.SUCCEEDED, _T.FAILED, _T.WAITING, _T.READY, _T.CANCELLED}),
    _T.WAITING: frozenset({_T.RUNNING, _T.SUCCEEDED, _T.FAILED, _T.CANCELLED}),
    # Back to pending: the run is retried. A task that has succeeded is concerned only behind one that has failed.
    _T.SUCCEEDED: frozenset({_T.PENDING}),
    _T.FAILED: frozenset({_T.PENDING}),
    _T.SKIPPED: frozenset({_T.PENDING}),
    _T.CANCELLED: frozenset({_T.PENDING}),
}

RUN_TRANSITIONS: Mapping[RunStatus, frozenset[RunStatus]] = {
    # Back to pending: its worker left in order, or died.
    _R.PENDING: frozenset({_R.RUNNING, _R.PAUSED, _R.FAILED, _R.BLOCKED, _R.CANCELLED}),
    _R.RUNNING: frozenset({_R.PENDING, _R.SUCCEEDED, _R.FAILED, _R.CANCELLED, _R.BLOCKED, _R.PAUSED}),
    _R.PAUSED: frozenset({_R.PENDING, _R.CANCELLED}),
    _R.BLOCKED: frozenset({_R.PENDING, _R.RUNNING, _R.PAUSED, _R.CANCELLED}),
    _R.SUCCEEDED: frozenset(),
    # Back to pending: somebody retries the run.
    _R.FAILED: frozenset({_R.PENDING}),
    _R.CANCELLED: frozenset({_R.PENDING}),
}

# Where a task or a run stays, unless somebody retries the run.
FINAL_TASK = frozenset({_T.SUCCEEDED, _T.FAILED, _T.SKIPPED, _T.CANCELLED})
FINAL_RUN = frozenset({_R.SUCCEEDED, _R.FAILED, _R.CANCELLED})
