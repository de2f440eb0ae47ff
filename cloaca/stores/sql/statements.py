"""The one write path on SQLite: what a transaction sends to the driver for a batch, and nothing else.

``executemany`` is used for rows: it holds the interpreter's lock for the shortest stretches, so that the event loop
goes on during a commit. It knows rows, not threads and files.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NoReturn

from cloaca.errors import LeaseLost
from cloaca.ports import AttemptRow, Batch, EndRow, FailureRow, NewRun, PlanRow, Receipt, Submitted, TaskRow
from cloaca.stores.sql import arrivals, caching
from cloaca.stores.sql.releases import release


def columns(row: Any) -> list[str]:
    """Return the columns of a row's type, in its order: its fields, of which ``run`` is the column ``run_id``."""
    return ["run_id" if name == "run" else name for name in row._fields]


def insert(table: str, names: Sequence[str]) -> str:
    """Return the statement that inserts a row of these columns."""
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"


# Not shorter than it is: what renews may have waited for a body's lock, for whose time leases were lengthened since.
RENEW = "UPDATE cloaca_session SET expires_at = max(expires_at, ?) WHERE id = ?"
END_LEASE = "UPDATE cloaca_session SET expires_at = ? WHERE id = ?"
LENGTHEN = "UPDATE cloaca_session SET expires_at = expires_at + ? WHERE expires_at > ?"
FENCE = "SELECT 1 FROM cloaca_session WHERE id = ?"
ABSOLVE = "UPDATE cloaca_run SET crashes = crashes - 1 WHERE id = ? AND crashes > 0 AND finished_at IS NULL"
INSERT_PLAN = insert("cloaca_plan", columns(PlanRow)) + " ON CONFLICT (digest) DO NOTHING"
INSERT_RUN = insert("cloaca_run", [*columns(NewRun), "status", "started_at"]) + " ON CONFLICT DO NOTHING"
FIND_KEY = "SELECT id, input FROM cloaca_run WHERE workflow = ? AND key = ?"
SAME_RUN = (
    "SELECT 1 FROM cloaca_run WHERE id = ? AND workflow = ? AND plan = ? AND input IS ? AND key IS ? AND created_at = ?"
)
# By their ids: the planner would rather look through all runs that are running.
OWNED = "SELECT id FROM cloaca_run NOT INDEXED WHERE id IN (SELECT value FROM json_each(?)) AND owner = ?"
ENDED = "SELECT 1 FROM cloaca_run WHERE id = ? AND status = ? AND finished_at = ? AND reason IS ? AND owner IS NULL"
INSERT_TASK = insert("cloaca_task", columns(TaskRow))
INSERT_FAILURE = insert("cloaca_failure", columns(FailureRow))
# The same rows may have been committed by a try whose answer was lost; within one session they are then equal.
REPLAYED = " ON CONFLICT DO NOTHING"
SHOW_ATTEMPT = (
    insert("cloaca_attempt", columns(AttemptRow)) + " ON CONFLICT (run_id, name) DO UPDATE SET "
    "attempt = excluded.attempt, session = excluded.session, started_at = excluded.started_at, "
    "beat_at = excluded.beat_at, code = excluded.code"
)
HIDE_ATTEMPT = "DELETE FROM cloaca_attempt WHERE run_id = ? AND name = ? AND session = ?"
FREE_SLOT = "DELETE FROM cloaca_slot WHERE session = ? AND ticket = ?"
HIDE_ATTEMPTS = "DELETE FROM cloaca_attempt WHERE run_id IN (SELECT value FROM json_each(?))"
# A note about a run that is gone is left out, and so is one that is there already.
INSERT_NOTE = (
    "INSERT INTO cloaca_note (run_id, at, kind, task, detail) SELECT :run, :at, :kind, :task, :detail "
    "WHERE EXISTS (SELECT 1 FROM cloaca_run WHERE id = :run) AND NOT EXISTS (SELECT 1 FROM cloaca_note "
    "WHERE run_id = :run AND at = :at AND kind = :kind AND task IS :task AND detail = :detail)"
)
END_RUN = (
    "UPDATE cloaca_run SET status = ?, finished_at = ?, reason = ?, owner = NULL, cancel_requested = 0, "
    "pausing = NULL, closing = NULL, roused = 0, wake_at = NULL WHERE id = ?"
)
CLOSE_RUN = (
    "UPDATE cloaca_run SET closing = ?, cancel_requested = 0, pausing = CASE WHEN ? = 'cancelled' THEN NULL "
    "ELSE pausing END WHERE id = ?"
)
OF_TASKS = "run_id = ? AND name IN (SELECT value FROM json_each(?))"
FORGET_TASKS = f"DELETE FROM cloaca_task WHERE {OF_TASKS}"
FORGET_WAITS = f"DELETE FROM cloaca_wait WHERE {OF_TASKS}"
MOVE_RUN = "UPDATE cloaca_run SET plan = ?, version = ?, epilogue = ? WHERE id = ?"
HEAR = "UPDATE cloaca_run SET pausing = 'heard' WHERE id = ? AND owner = ? AND pausing IS NOT NULL"


def write(driver: sqlite3.Connection, batch: Batch) -> Receipt:
    """Write a batch inside the transaction that is open. Raises LeaseLost, before anything is written."""
    fence(driver, batch.session, batch.renew_until, END_LEASE if batch.ends_lease else RENEW)
    if batch.held is not None:
        release(driver, batch.session, batch.at, but=batch.held)
    if batch.plans:
        driver.executemany(INSERT_PLAN, batch.plans)
    submitted = [insert_run(driver, run) for run in batch.runs]
    foreign = _not_owned(driver, batch)
    submitted += [_insert_child(driver, child, foreign) for child in batch.children]
    again = REPLAYED if batch.replay else ""
    _insert(driver, INSERT_TASK + again, batch.tasks, foreign)
    _insert(driver, INSERT_FAILURE + again, batch.failures, foreign)
    _insert(driver, SHOW_ATTEMPT, batch.attempts, foreign)
    _insert(driver, HIDE_ATTEMPT, [(run, name, batch.session) for run, name in batch.settled], frozenset())
    if batch.freed:
        driver.executemany(FREE_SLOT, [(batch.session, ticket) for ticket in batch.freed])
    if batch.notes:
        driver.executemany(INSERT_NOTE, [note._asdict() for note in batch.notes])
    if batch.absolved:
        driver.executemany(ABSOLVE, [(run,) for run in batch.absolved])
    if batch.moved:
        moved = [(row.plan, row.version, row.epilogue, row.run) for row in batch.moved if row.run not in foreign]
        driver.executemany(MOVE_RUN, moved)
    if batch.closings:
        closings = [(row.closing, row.status, row.run) for row in batch.closings if row.run not in foreign]
        driver.executemany(CLOSE_RUN, closings)
    if batch.cached:
        caching.keep(driver, [row for row in batch.cached if row.run not in foreign], batch.at)
    if batch.ends:
        _end(driver, [end for end in batch.ends if end.run not in foreign])
    arrivals.write(driver, batch, foreign)
    if batch.heard:
        driver.executemany(HEAR, [(run, batch.session) for run in batch.heard])
    given = [*arrivals.park(driver, batch), *batch.released]
    if given:
        release(driver, batch.session, batch.at, only=given)
    return Receipt(submitted, foreign - _ended_already(driver, batch, foreign))


def fence(driver: sqlite3.Connection, session: int, renew_until: float | None = None, renewing: str = RENEW) -> None:
    """Refuse to go on for a session that is gone; renew its lease if asked, by the statement ``renewing``."""
    if renew_until is None:
        alive = driver.execute(FENCE, (session,)).fetchone() is not None
    else:
        alive = driver.execute(renewing, (renew_until, session)).rowcount == 1
    if not alive:
        lost(session)


def lost(session: int) -> NoReturn:
    """Refuse to go on for a session that is gone."""
    raise LeaseLost(f"session {session} was taken for dead: its runs have gone to other workers")


def insert_run(driver: sqlite3.Connection, run: NewRun) -> Submitted:
    """Insert a new run; if its key is taken nothing is inserted, and the older run is the answer.

    An id that another run has is replaced by the next free one: ids are made by chance, in many processes.
    """
    status, started_at = ("running", run.created_at) if run.owner is not None else ("pending", None)
    if driver.execute(INSERT_RUN, (*run, status, started_at)).rowcount == 1:
        return Submitted(run.id, created=True, agrees=True)
    if run.key is not None and (older := driver.execute(FIND_KEY, (run.workflow, run.key)).fetchone()):
        return Submitted(older[0], created=older[0] == run.id, agrees=older[1] == run.input)
    if driver.execute(SAME_RUN, (run.id, run.workflow, run.plan, run.input, run.key, run.created_at)).fetchone():
        return Submitted(run.id, created=True, agrees=True)
    return insert_run(driver, run._replace(id=run.id + 1))


def _insert_child(driver: sqlite3.Connection, child: NewRun, foreign: Collection[int | None]) -> Submitted:
    if child.parent in foreign:
        return Submitted(child.id, created=False, agrees=False)
    return insert_run(driver, child)


def _not_owned(driver: sqlite3.Connection, batch: Batch) -> frozenset[int]:
    touched = batch.touched()
    if not touched:
        return frozenset()
    owned = driver.execute(OWNED, (json.dumps(list(touched)), batch.session))
    return frozenset(touched.difference(row[0] for row in owned))


def _ended_already(driver: sqlite3.Connection, batch: Batch, foreign: frozenset[int]) -> set[int]:
    """The runs that are not owned any more because this very batch has ended them, in a try whose answer was lost."""
    if not batch.replay:
        return set()
    ends = [end for end in batch.ends if end.run in foreign]
    return {end.run for end in ends if driver.execute(ENDED, end).fetchone() is not None}


def _insert(
    driver: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, ...]], without: Collection[int]
) -> None:
    kept: Iterable[tuple[object, ...]] = [row for row in rows if row[0] not in without] if without else rows
    if kept:
        driver.executemany(statement, kept)


def _end(driver: sqlite3.Connection, ends: Sequence[EndRow]) -> None:
    driver.executemany(END_RUN, [(end.status, end.at, end.reason, end.run) for end in ends])
    driver.execute(HIDE_ATTEMPTS, (json.dumps([end.run for end in ends]),))
