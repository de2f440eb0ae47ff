"""The rows of the store in memory, and what becomes of a run: who owns it, how it is given back, how it ends.

It knows one run at a time, with its family; which runs, and whether a session may, is said by whoever calls. Nothing
here waits: each of the store's methods is one step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from cloaca.errors import LeaseLost
from cloaca.ports import (
    GIVEN_UP,
    AttemptRow,
    CacheRow,
    EndRow,
    FailureRow,
    History,
    NewRun,
    NoteRow,
    PlanRow,
    RunRow,
    SignalRow,
    Submitted,
    TaskRow,
    WaitRow,
)
from cloaca.stores.memory_slots import MemorySlots

FINAL = frozenset({"succeeded", "failed", "cancelled"})


class MemoryRows:
    """Rows in dictionaries, and what is kept in step with them: which runs wait, are owned, are a schedule's."""

    def __init__(self) -> None:
        self.sessions: dict[int, float] = {}
        self.serves: dict[int, Mapping[str, str]] = {}
        self.plans: dict[str, PlanRow] = {}
        self.rows: dict[int, RunRow] = {}
        self.keys: dict[tuple[str, str], int] = {}
        self.tasks: dict[int, dict[str, TaskRow]] = {}
        self.failures: dict[int, dict[tuple[str, int], FailureRow]] = {}
        self.attempts: dict[tuple[int, str], AttemptRow] = {}
        self.notes: dict[int, dict[NoteRow, None]] = {}
        self.kept: dict[str, tuple[CacheRow, float]] = {}
        self.waits: dict[int, dict[str, WaitRow]] = {}
        self.signals: dict[int, dict[int, SignalRow]] = {}
        self.slots = MemorySlots()
        self._waiting: set[int] = set()  # pending runs
        self._owned: dict[int, set[int]] = {}  # runs by session
        self._active: dict[str, set[int]] = {}  # runs of schedules that have not ended

    # What has been stored

    def _owns(self, session: int, run: int) -> bool:
        return run in self._owned.get(session, ())

    def _history(self, run: int) -> History:
        return History(
            self.rows[run],
            sorted(self.tasks.get(run, {}).values(), key=lambda task: (task.finished_at, task.name)),
            list(self.failures.get(run, {}).values()),
            sorted(attempt for attempt in self.attempts.values() if attempt.run == run),
            list(self.notes.get(run, ())),
            sorted(self.waits.get(run, {}).values(), key=lambda wait: (wait.began_at, wait.name)),
            list(self.signals.get(run, {}).values()),
            self._children(run),
        )

    def _children(self, run: int) -> list[RunRow]:
        return sorted((row for row in self.rows.values() if row.parent == run), key=lambda row: row.id)

    # What refuses

    def _fence(self, session: int) -> None:
        if session not in self.sessions:
            raise LeaseLost(f"session {session} was taken for dead: its runs have gone to other workers")

    # What writes

    def _put(self, row: RunRow) -> None:
        """Store a run's row, and keep in step who waits and who is owned."""
        older = self.rows.get(row.id)
        if older is not None and older.owner is not None:
            self._owned.get(older.owner, set()).discard(row.id)
        if row.owner is not None:
            self._owned.setdefault(row.owner, set()).add(row.id)
        if row.status == "pending":
            self._waiting.add(row.id)
        else:
            self._waiting.discard(row.id)
        self._follow(row)
        self.rows[row.id] = row

    def _follow(self, row: RunRow) -> None:
        """Know which runs of schedules go on."""
        if row.schedule is not None:
            active = self._active.setdefault(row.schedule, set())
            (active.add if row.finished_at is None else active.discard)(row.id)

    def _insert(self, run: NewRun) -> Submitted:
        if run.key is not None and (older := self.keys.get((run.workflow, run.key))) is not None:
            return Submitted(older, created=older == run.id, agrees=self.rows[older].input == run.input)
        taken = self.rows.get(run.id)
        if taken is not None:
            if run.key is None and _same(taken, run):
                return Submitted(run.id, created=True, agrees=True)
            return self._insert(run._replace(id=run.id + 1))
        if run.key is not None:
            self.keys[run.workflow, run.key] = run.id
        status, started_at = ("running", run.created_at) if run.owner is not None else ("pending", None)
        self._put(
            RunRow(
                run.id, run.workflow, run.version, run.plan, status, run.input, run.key, run.owner, 0,
                run.created_at, started_at, None, None, cancel_requested=False, priority=run.priority,
                parent=run.parent, parent_task=run.parent_task, epilogue=run.epilogue,
                schedule=run.schedule, scheduled_for=run.scheduled_for, traceparent=run.traceparent,
            )
        )  # fmt: skip
        return Submitted(run.id, created=True, agrees=True)

    def _undo(self, known: int) -> None:
        """Forget the runs that were inserted last, all but the first ``known``."""
        while len(self.rows) > known:
            run, row = self.rows.popitem()
            self._waiting.discard(run)
            if row.owner is not None:
                self._owned[row.owner].discard(run)
            if row.key is not None:
                del self.keys[row.workflow, row.key]
            if row.schedule is not None:
                self._active[row.schedule].discard(run)

    def _note(self, note: NoteRow) -> None:
        self.notes.setdefault(note.run, {}).setdefault(note)

    def _hide(self, gone: Callable[[AttemptRow], bool]) -> None:
        if any(map(gone, self.attempts.values())):
            self.attempts = {key: attempt for key, attempt in self.attempts.items() if not gone(attempt)}

    def _end(self, end: EndRow) -> None:
        row = self.rows[end.run]._replace(status=end.status, finished_at=end.at, reason=end.reason)
        row = row._replace(owner=None, cancel_requested=False, pausing=None, roused=False, wake_at=None)
        self._put(row._replace(closing=None))
        self._hide(lambda attempt: attempt.run == end.run)

    # Stopping

    def _stop(self, run: int, at: float) -> None:
        row = self.rows.get(run)
        if row is None or row.status in FINAL:
            return
        if row.status == "blocked" and (row.cancel_requested or row.closing is not None):
            outcome = "cancelled" if row.closing is None else str(json.loads(row.closing)["status"])
            self._end(EndRow(run, outcome, at, GIVEN_UP))
            self._stopped(run, at)
        elif row.closing is not None:
            return
        elif row.owner is None and not row.epilogue:
            self._end(EndRow(run, "cancelled", at, None))
            self._stopped(run, at)
        elif row.owner is None:
            self._put(row._replace(cancel_requested=True, status="pending", reason=None, wake_at=None))
        else:
            self._put(row._replace(cancel_requested=True))

    def _stopped(self, run: int, at: float) -> None:
        """See to the family of a run that was just cancelled while nobody drove it."""
        self._forsake(run, at)
        if (parent := self.rows[run].parent) is not None:
            self._rouse(parent)

    def _forsake(self, run: int, at: float) -> None:
        """Cancel what a run that has ended has started, or ask whoever drives it."""
        for child in self._children(run):
            if child.finished_at is not None:
                continue
            if child.closing is not None:  # its outcome is known
                pass
            elif child.owner is not None:
                self._put(child._replace(cancel_requested=True))
            elif child.epilogue:
                self._put(child._replace(status="pending", cancel_requested=True, reason=None, wake_at=None))
            else:
                self._put(child._replace(status="cancelled", finished_at=at, reason=None, wake_at=None))
            self._forsake(child.id, at)

    def _rouse(self, run: int) -> None:
        """Tell whoever drives a run that something has come for it; one that is parked waits for a worker."""
        row = self.rows.get(run)
        if row is not None and row.finished_at is None:
            parked = row.status == "running" and row.owner is None
            self._put(row._replace(roused=row.owner is not None, status="pending" if parked else row.status))

    # Giving back

    def _give_back(self, session: int, at: float, runs: set[int] | None = None, *, crash: int = 0) -> int:
        """Take runs from a session, or all of them, with so many crashes more; return how many wait then."""
        given = sorted(self._owned.get(session, ()) if runs is None else runs)
        kept = self._owned.get(session, set()).difference(given)
        self._hide(lambda attempt: attempt.session == session and attempt.run not in kept)
        for run in given:
            self._release(self.rows[run], at, crash)
        return sum(self.rows[run].status == "pending" for run in given)

    def _release(self, row: RunRow, at: float, crash: int) -> None:
        """Cancel a run that was asked to stop, pause one that was asked to pause; any other waits for a worker."""
        if row.cancel_requested and not row.epilogue:
            self._end(EndRow(row.id, "cancelled", at, None))
            self._stopped(row.id, at)
            return
        if crash:
            self._note(NoteRow(row.id, at, "run_recovered", None, f"the worker of session {row.owner} died"))
        given = row._replace(status="pending", owner=None, crashes=row.crashes + crash)
        if row.pausing is None or row.cancel_requested:
            self._put(given._replace(pausing=None))
        else:
            self._pause(given, at)

    def _pause(self, row: RunRow, at: float) -> None:
        self._put(row._replace(status="paused", pausing=None, reason=None))
        self._note(NoteRow(row.id, at, "run_paused", None, ""))


def _same(row: RunRow, run: NewRun) -> bool:
    """Whether a stored run is this new one, stored before."""
    stored = (row.workflow, row.plan, row.input, row.key, row.created_at)
    return stored == (run.workflow, run.plan, run.input, run.key, run.created_at)
