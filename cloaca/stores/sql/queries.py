"""What is read from SQLite: whole histories, runs that wait, leases, listings.

Partial indexes serve only conditions that are written out, never bound: so ``status = 'pending'`` stands in the text.
Where a plan must not depend on the planner's guess, ``INDEXED BY`` names the index. It knows statements and rows.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Select, select

from cloaca.ports import AttemptRow, FailureRow, History, NoteRow, PlanRow, RunRow, TaskRow
from cloaca.stores.sql.statements import columns
from cloaca.stores.sql.tables import QUEUED, SUSPECT, Table

T = TypeVar("T", TaskRow, FailureRow, AttemptRow, NoteRow)

FINAL = ("succeeded", "failed", "cancelled")

RUN = f"SELECT {', '.join(columns(RunRow))} FROM cloaca_run WHERE id = ?"
PLAN = f"SELECT {', '.join(columns(PlanRow))} FROM cloaca_plan WHERE digest = ?"


def _of_runs(table: str, row: Any, key: str, order: str) -> str:
    names = ", ".join(columns(row))
    return f"SELECT {names} FROM {table} WHERE {key} IN (SELECT value FROM json_each(?)) ORDER BY {order}"


RUNS = _of_runs("cloaca_run", RunRow, "id", "id")
TASKS = _of_runs("cloaca_task", TaskRow, "run_id", "finished_at, name")
FAILURES = _of_runs("cloaca_failure", FailureRow, "run_id", "id")
ATTEMPTS = _of_runs("cloaca_attempt", AttemptRow, "run_id", "name")
NOTES = _of_runs("cloaca_note", NoteRow, "run_id", "id")


def _queue(index: str, condition: str) -> str:
    """The oldest of several workflows: no more than the limit is read of each, however many wait."""
    return (
        "SELECT run.id FROM json_each(?) AS wanted CROSS JOIN cloaca_run AS run WHERE run.id IN "
        f"(SELECT id FROM cloaca_run INDEXED BY {index} WHERE {condition} AND workflow = wanted.value "
        "ORDER BY id LIMIT ?) ORDER BY run.id LIMIT ?"
    )


def _any(index: str, condition: str) -> str:
    return (
        f"EXISTS (SELECT 1 FROM json_each(?) AS wanted CROSS JOIN cloaca_run INDEXED BY {index} "
        f"WHERE {condition} AND workflow = wanted.value)"
    )


QUEUE = _queue("cloaca_run_queue", QUEUED)
SUSPECTS = _queue("cloaca_run_suspects", SUSPECT)
WAITING = f"SELECT {_any('cloaca_run_queue', QUEUED)}, {_any('cloaca_run_suspects', SUSPECT)}"
CANCELLING = (
    "SELECT id FROM cloaca_run INDEXED BY cloaca_run_cancelling WHERE owner = ? AND cancel_requested ORDER BY id"
)
PAUSING = "SELECT id FROM cloaca_run INDEXED BY cloaca_run_pausing WHERE owner = ? AND pausing IS NOT NULL"
LEASES = "SELECT id, expires_at, lock_file FROM cloaca_session"


class Lease(NamedTuple):
    """A session, until when it is alive without further signs, and the lock file in which it shows its life."""

    session: int
    until: float
    lock_file: int | None


def waiting(driver: sqlite3.Connection, workflows: Sequence[str], limit: int, *, suspects: bool) -> list[int]:
    """Return the runs of these workflows that wait for a worker, oldest first."""
    statement = SUSPECTS if suspects else QUEUE
    return [row[0] for row in driver.execute(statement, (json.dumps(list(set(workflows))), limit, limit))]


def any_waiting(driver: sqlite3.Connection, workflows: Sequence[str]) -> tuple[bool, bool]:
    """Return whether runs of these workflows wait, and whether suspects do."""
    wanted = json.dumps(list(workflows))
    runs, suspects = driver.execute(WAITING, (wanted, wanted)).fetchone()
    return bool(runs), bool(suspects)


def cancelling(driver: sqlite3.Connection, session: int) -> list[int]:
    """Return the runs of a session that were asked to stop."""
    return [row[0] for row in driver.execute(CANCELLING, (session,))]


def pausing(driver: sqlite3.Connection, session: int) -> frozenset[int]:
    """Return the runs of a session that were asked to pause."""
    return frozenset(row[0] for row in driver.execute(PAUSING, (session,)))


def leases(driver: sqlite3.Connection) -> list[Lease]:
    """Return every session."""
    return [Lease._make(row) for row in driver.execute(LEASES)]


def histories(driver: sqlite3.Connection, runs: Sequence[int]) -> list[History]:
    """Return all that is stored about ``runs``, by id: five statements, however many runs."""
    wanted = (json.dumps(list(runs)),)
    found = [_run_row(row) for row in driver.execute(RUNS, wanted)]
    tasks = _grouped(map(TaskRow._make, driver.execute(TASKS, wanted)))
    failures = _grouped(map(FailureRow._make, driver.execute(FAILURES, wanted)))
    attempts = _grouped(map(AttemptRow._make, driver.execute(ATTEMPTS, wanted)))
    notes = _grouped(map(NoteRow._make, driver.execute(NOTES, wanted)))
    return [
        History(run, tasks.get(run.id, []), failures.get(run.id, []), attempts.get(run.id, []), notes.get(run.id, []))
        for run in found
    ]


def run(driver: sqlite3.Connection, id: int) -> RunRow | None:
    """Return a run's row."""
    row = driver.execute(RUN, (id,)).fetchone()
    return _run_row(row) if row else None


def plan(driver: sqlite3.Connection, digest: str) -> PlanRow | None:
    """Return a stored plan."""
    row = driver.execute(PLAN, (digest,)).fetchone()
    return PlanRow._make(row) if row else None


def listed(
    connection: Connection, *, workflow: str | None, status: str | None, before: int | None, limit: int
) -> list[RunRow]:
    """Return runs, newest first."""
    statement = listing(workflow=workflow, status=status, before=before, limit=limit)
    return [RunRow._make(row) for row in connection.execute(statement)]


def listing(*, workflow: str | None, status: str | None, before: int | None, limit: int) -> Select[Any]:
    """Return the statement of a listing."""
    runs = Table.metadata.tables["cloaca_run"].c
    statement = select(*(runs[name] for name in columns(RunRow))).order_by(runs.id.desc()).limit(max(0, limit))
    for column, value in ((runs.workflow, workflow), (runs.status, status)):
        if value is not None:
            statement = statement.where(column == value)
    return statement if before is None else statement.where(runs.id < before)


def _run_row(row: tuple[Any, ...]) -> RunRow:
    found = RunRow._make(row)
    return found._replace(cancel_requested=bool(found.cancel_requested), epilogue=bool(found.epilogue))


def _grouped(rows: Iterable[T]) -> dict[int, list[T]]:
    grouped: dict[int, list[T]] = {}
    for row in rows:
        grouped.setdefault(row.run, []).append(row)
    return grouped
