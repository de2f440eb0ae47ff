"""What is read from SQLite: whole histories, runs that wait, leases, listings.

Partial indexes serve only conditions that are written out, never bound: so ``status = 'pending'`` stands in the text.
Where a plan must not depend on the planner's guess, ``INDEXED BY`` names the index. It knows statements and rows.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Select, select

from cloaca.ports import (
    Arrivals,
    AttemptRow,
    FailureRow,
    History,
    NoteRow,
    PlanRow,
    Poll,
    RunRow,
    SignalRow,
    TaskRow,
    WaitRow,
)
from cloaca.stores.sql import arrivals
from cloaca.stores.sql.refused import WAITS as REFUSALS
from cloaca.stores.sql.schedule_looks import LOOK as SCHEDULED
from cloaca.stores.sql.statements import columns, lost
from cloaca.stores.sql.tables import PARKED, QUEUED, SUSPECT, Table

T = TypeVar("T", TaskRow, FailureRow, AttemptRow, NoteRow, WaitRow, SignalRow)

FINAL = ("succeeded", "failed", "cancelled")

RUN = f"SELECT {', '.join(columns(RunRow))} FROM cloaca_run WHERE id = ?"
PLAN = f"SELECT {', '.join(columns(PlanRow))} FROM cloaca_plan WHERE digest = ?"


def _of_runs(table: str, row: Any, key: str, order: str) -> str:
    names = ", ".join(columns(row))
    return f"SELECT {names} FROM {table} WHERE {key} IN (SELECT value FROM json_each(?)) ORDER BY {order}"


RUNS = _of_runs("cloaca_run", RunRow, "id", "priority DESC, id")
TASKS = _of_runs("cloaca_task", TaskRow, "run_id", "finished_at, name")
FAILURES = _of_runs("cloaca_failure", FailureRow, "run_id", "id")
ATTEMPTS = _of_runs("cloaca_attempt", AttemptRow, "run_id", "name")
NOTES = _of_runs("cloaca_note", NoteRow, "run_id", "id")
WAITS = _of_runs("cloaca_wait", WaitRow, "run_id", "began_at, name")
SIGNALS = _of_runs("cloaca_signal", SignalRow, "run_id", "id")
CHILDREN = _of_runs("cloaca_run INDEXED BY cloaca_run_children", RunRow, "parent", "id")


def _queue(index: str, condition: str) -> str:
    """The first of several workflows: no more than the limit is read of each, however many wait."""
    return (
        "SELECT run.id FROM json_each(?) AS wanted CROSS JOIN cloaca_run AS run WHERE run.id IN "
        f"(SELECT id FROM cloaca_run INDEXED BY {index} WHERE {condition} AND workflow = wanted.value "
        "ORDER BY priority DESC, id LIMIT ?) ORDER BY run.priority DESC, run.id LIMIT ?"
    )


def _any(index: str, condition: str) -> str:
    return (
        f"EXISTS (SELECT 1 FROM json_each(?) AS wanted CROSS JOIN cloaca_run INDEXED BY {index} "
        f"WHERE {condition} AND workflow = wanted.value)"
    )


QUEUE = _queue("cloaca_run_queue", QUEUED)
SUSPECTS = _queue("cloaca_run_suspects", SUSPECT)
LEASES = "SELECT id, expires_at, lock_file FROM cloaca_session"
# All that a look wants to know, as the columns of one row.
FOUND = (
    f"{_any('cloaca_run_queue', QUEUED)}, {_any('cloaca_run_suspects', SUSPECT)}, "
    "(SELECT json_group_array(json_array(id, expires_at, lock_file)) FROM cloaca_session), "
    "(SELECT json_group_array(id) FROM cloaca_run INDEXED BY cloaca_run_cancelling "
    "WHERE owner = ? AND cancel_requested), "
    "(SELECT json_group_array(id) FROM cloaca_run INDEXED BY cloaca_run_pausing "
    "WHERE owner = ? AND pausing IS NOT NULL), "
    "(SELECT json_group_array(id) FROM cloaca_run INDEXED BY cloaca_run_roused WHERE owner = ? AND roused), "
    f"EXISTS (SELECT 1 FROM cloaca_run INDEXED BY cloaca_run_parked WHERE {PARKED} AND wake_at <= ?), {SCHEDULED}, "
    f"{REFUSALS}"
)
LOOK = f"SELECT {FOUND}"
RENEWING_LOOK = f"UPDATE cloaca_session SET expires_at = max(expires_at, ?) WHERE id = ? RETURNING {FOUND}"


class Lease(NamedTuple):
    """A session, until when it is alive without further signs, and the lock file in which it shows its life."""

    session: int
    until: float
    lock_file: int | None


def waiting(driver: sqlite3.Connection, workflows: Sequence[str], limit: int, *, suspects: bool) -> list[int]:
    """Return the runs of these workflows that wait for a worker: by priority, then the oldest first."""
    statement = SUSPECTS if suspects else QUEUE
    return [row[0] for row in driver.execute(statement, (json.dumps(list(set(workflows))), limit, limit))]


def look(
    driver: sqlite3.Connection,
    session: int,
    workflows: Sequence[str],
    at: float,
    *,
    renew_until: float | None,
    serves: Mapping[str, str],
) -> tuple[Poll, list[Lease]]:
    """Return what there is to do, by one statement, and every session; renew the lease if asked. Raises LeaseLost."""
    wanted = json.dumps(list(workflows))
    values = (wanted, wanted, session, session, session, at, session, wanted, wanted, json.dumps(dict(serves)))
    if renew_until is None:
        rows = driver.execute(LOOK, values).fetchall()
    else:  # a statement outside of transactions: a commit of its own, once all rows are fetched
        rows = driver.execute(RENEWING_LOOK, (renew_until, session, *values)).fetchall()
    if not rows:
        lost(session)
    [(runs, suspects, leases, cancelling, pausing, roused, due, firings, due_at, refused)] = rows
    marked = (sorted(json.loads(cancelling)), frozenset(json.loads(pausing)), frozenset(json.loads(roused)))
    due_s = None if due_at is None else due_at - at
    poll = Poll(bool(runs), bool(suspects), False, *marked, due=bool(due), firings=bool(firings), due_s=due_s)
    return replace(poll, refused=bool(refused)), [Lease._make(lease) for lease in json.loads(leases)]


def page_of(driver: sqlite3.Connection, table: str) -> int:
    """Return the first page of a table, which is the only one of a small table."""
    [page] = driver.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return int(page)


def leases(driver: sqlite3.Connection) -> list[Lease]:
    """Return every session."""
    return [Lease._make(row) for row in driver.execute(LEASES)]


def histories(driver: sqlite3.Connection, runs: Sequence[int]) -> list[History]:
    """Return all that is stored about ``runs``, by priority and id: eight statements, however many runs."""
    wanted = (json.dumps(list(runs)),)
    found = [_run_row(row) for row in driver.execute(RUNS, wanted)]
    tasks = _grouped(map(TaskRow._make, driver.execute(TASKS, wanted)))
    failures = _grouped(map(FailureRow._make, driver.execute(FAILURES, wanted)))
    attempts = _grouped(map(AttemptRow._make, driver.execute(ATTEMPTS, wanted)))
    notes = _grouped(map(NoteRow._make, driver.execute(NOTES, wanted)))
    waits = _grouped(map(WaitRow._make, driver.execute(WAITS, wanted)))
    signals = _grouped(map(SignalRow._make, driver.execute(SIGNALS, wanted)))
    children = by_parent(map(_run_row, driver.execute(CHILDREN, wanted)))
    groups: tuple[dict[int, Any], ...] = (tasks, failures, attempts, notes, waits, signals, children)
    return [History(run, *(rows.get(run.id, []) for rows in groups)) for run in found]


def hear(driver: sqlite3.Connection, session: int, runs: Sequence[int]) -> list[Arrivals]:
    """Return what has come for those of ``runs`` that a session owns."""
    owned = arrivals.owned(driver, session, runs)
    wanted = (json.dumps(owned),)
    signals = map(SignalRow._make, driver.execute(SIGNALS, wanted))
    return arrivals.gathered(owned, signals, map(_run_row, driver.execute(CHILDREN, wanted)))


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
    cancel_requested, roused, epilogue = map(bool, (found.cancel_requested, found.roused, found.epilogue))
    return found._replace(cancel_requested=cancel_requested, roused=roused, epilogue=epilogue)


def by_parent(children: Iterable[RunRow]) -> dict[int, list[RunRow]]:
    """Return child runs by their parents."""
    grouped: dict[int, list[RunRow]] = {}
    for child in children:
        if child.parent is not None:
            grouped.setdefault(child.parent, []).append(child)
    return grouped


def _grouped(rows: Iterable[T]) -> dict[int, list[T]]:
    grouped: dict[int, list[T]] = {}
    for row in rows:
        grouped.setdefault(row.run, []).append(row)
    return grouped
