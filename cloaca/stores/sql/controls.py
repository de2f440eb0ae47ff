"""What users do to runs on SQLite: pause, resume, retry, fork.

Each function is called inside a transaction that is open. It knows statements, not threads and files.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from cloaca.ports import NewRun, NoteRow, PlanRow, RunRow, TaskRow
from cloaca.stores.sql import queries
from cloaca.stores.sql.statements import (
    FORGET_TASKS,
    FORGET_WAITS,
    INSERT_NOTE,
    INSERT_PLAN,
    OF_TASKS,
    columns,
    insert_run,
)

PAUSE = "UPDATE cloaca_run SET status = 'paused', reason = NULL WHERE id = ?"
ASK_TO_PAUSE = "UPDATE cloaca_run SET pausing = 'asked' WHERE id = ?"
RESUME = "UPDATE cloaca_run SET status = 'pending' WHERE id = ? AND status = 'paused'"
GO_ON = "UPDATE cloaca_run SET pausing = NULL WHERE id = ? AND pausing IS NOT NULL"
RETRY = (
    "UPDATE cloaca_run SET status = 'pending', finished_at = NULL, reason = NULL, crashes = 0, earlier = ?, "
    "refused = NULL "
    "WHERE id = ? AND status = ? AND finished_at IS ?"
)
COUNT_TASKS = f"SELECT count(*) FROM cloaca_task WHERE {OF_TASKS} AND status = 'succeeded'"
_COPIED = ", ".join(name for name in columns(TaskRow)[1:] if name != "session")
COPY_TASKS = (
    f"INSERT INTO cloaca_task (run_id, session, {_COPIED}) SELECT ?, 0, {_COPIED} FROM cloaca_task "
    f"WHERE {OF_TASKS} ON CONFLICT DO NOTHING"
)


def pause(driver: sqlite3.Connection, run: int, at: float) -> RunRow | None:
    """Pause a run that nobody drives, ask the driver of one that is driven; return its row, None if unknown."""
    row = queries.run(driver, run)
    if row is None or row.status in (*queries.FINAL, "paused") or row.pausing is not None:
        return row
    if row.owner is None:
        driver.execute(PAUSE, (run,))
        _note(driver, NoteRow(run, at, "run_paused", None, ""))
    else:
        driver.execute(ASK_TO_PAUSE, (run,))
    return queries.run(driver, run)


def resume(driver: sqlite3.Connection, run: int, at: float) -> RunRow | None:
    """Make a paused run pending, or take back what its driver was asked; return its row, None if unknown."""
    if driver.execute(RESUME, (run,)).rowcount:
        _note(driver, NoteRow(run, at, "run_resumed", None, ""))
    else:
        driver.execute(GO_ON, (run,))
    return queries.run(driver, run)


def retry(
    driver: sqlite3.Connection, seen: RunRow, at: float, *, anew: Sequence[str], earlier: str | None, detail: str
) -> bool:
    """Make a run pending again unless it has changed, without the tasks that start anew; return whether it was."""
    if not driver.execute(RETRY, (earlier, seen.id, seen.status, seen.finished_at)).rowcount:
        return False
    driver.execute(FORGET_TASKS, (seen.id, json.dumps(list(anew))))
    driver.execute(FORGET_WAITS, (seen.id, json.dumps(list(anew))))
    _note(driver, NoteRow(seen.id, at, "run_retried", None, detail))
    return True


def fork(
    driver: sqlite3.Connection, plan: PlanRow, run: NewRun, *, origin: int, tasks: Sequence[str], detail: str
) -> int | None:
    """Insert a new run with copies of another's tasks; return its id, None if these tasks are not there."""
    names = json.dumps(list(tasks))
    if driver.execute(COUNT_TASKS, (origin, names)).fetchone()[0] < len(tasks):
        return None
    driver.execute(INSERT_PLAN, plan)
    made = insert_run(driver, run).id
    driver.execute(COPY_TASKS, (made, origin, names))
    _note(driver, NoteRow(made, run.created_at, "run_forked", None, detail))
    return made


def _note(driver: sqlite3.Connection, note: NoteRow) -> None:
    driver.execute(INSERT_NOTE, note._asdict())
