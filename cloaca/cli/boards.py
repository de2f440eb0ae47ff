"""A board: where each task of a run stands, as its events tell.

It knows events and no terminal. Cost of an event: constant, however many tasks there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cloaca.algebra.retries import Retry
from cloaca.interpreter.histories import RunEvent, TaskInfo

ENDED = ("succeeded", "failed", "skipped", "cancelled")
ACTIVE = ("running", "waiting", "failed")

# What an event makes of its task. Other events are about the run.
_STATUS = {
    "task_started": "running",
    "attempt_failed": "waiting",
    "task_succeeded": "succeeded",
    "task_failed": "failed",
    "task_skipped": "skipped",
}
_RUN = {"run_succeeded": "succeeded", "run_failed": "failed", "run_cancelled": "cancelled"}


@dataclass(slots=True)
class Line:
    """One task. ``note`` says more: why it was skipped, how it failed."""

    task: str
    retry: Retry
    status: str = "pending"
    attempt: int = 0
    since: datetime | None = None
    until: datetime | None = None
    note: str = ""

    def again_in_s(self, now: datetime) -> float:
        """Return the seconds until the next attempt, jitter aside; only a task that waits has one."""
        assert self.since is not None  # it waits since an attempt failed
        return max(0.0, self.retry.delay_s(self.attempt) - (now - self.since).total_seconds())


class Board:
    """The tasks of a run, in topological order, with their retry policies.

    >>> board = Board("orders", "1", {"fetch": Retry(), "ship": Retry(attempts=3)})
    >>> board.apply(RunEvent("task_started", "fetch", datetime(2026, 1, 1), 1))
    >>> [(line.task, line.status) for line in board.active()], board.counts["pending"]
    ([('fetch', 'running')], 1)
    """

    def __init__(self, workflow: str, run_id: str, retries: Mapping[str, Retry]) -> None:
        self.workflow, self.run_id, self.status = workflow, run_id, "running"
        self.lines = {task: Line(task, retry) for task, retry in retries.items()}
        self.counts = Counter({"pending": len(self.lines)})
        self.since: datetime | None = None
        self.until: datetime | None = None
        self._active: dict[str, Line] = {}

    @property
    def ended(self) -> int:
        """How many tasks are final."""
        return sum(self.counts[status] for status in ENDED)

    def active(self) -> list[Line]:
        """Return the tasks worth a look: those that failed, then those that run or wait, oldest first."""
        return sorted(self._active.values(), key=lambda line: line.status != "failed")

    def apply(self, event: RunEvent) -> None:
        """Note what an event says. Unknown kinds and tasks are passed over."""
        if event.kind == "run_started":
            self.since = event.at
        elif event.kind in _RUN:
            self.status, self.until = _RUN[event.kind], event.at
        elif event.task in self.lines and event.kind in _STATUS:
            self._move(self.lines[event.task], _STATUS[event.kind], event)

    def _move(self, line: Line, status: str, event: RunEvent) -> None:
        self._count(line, status)
        line.attempt = event.attempt or line.attempt
        line.note = event.detail
        if status in ("running", "waiting"):
            line.since, line.until = event.at, None
        else:
            line.until = event.at

    def settle(self, infos: Iterable[TaskInfo]) -> None:
        """Take the tasks as they are stored: what was skipped says why."""
        for info in infos:
            if line := self.lines.get(info.name):
                self._count(line, info.status)
                line.attempt, line.since, line.until = info.attempt, info.started_at, info.finished_at
                line.note = info.skipped_because or line.note

    def leave(self, at: datetime) -> None:
        """Note that nobody drives the run any more: what has not ended will run again."""
        self.status, self.until = "pending", at
        for line in self.lines.values():
            if line.status not in ENDED:
                self._count(line, "pending")
                line.since = line.until = None

    def _count(self, line: Line, status: str) -> None:
        self.counts[line.status] -= 1
        self.counts[status] += 1
        line.status = status
        self._active.pop(line.task, None)
        if status in ACTIVE:
            self._active[line.task] = line
