"""Runs that some code can't go on with, on SQLite: who refuses one, who may try it next, and on what it goes on.

A run lists the versions that have refused it, a session the versions that it has: of runs that have been refused, each
version looks at each run once. Each function is called inside a transaction that is open.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence

from cloaca.ports import History, NoteRow, PlanRow, RunRow
from cloaca.stores.sql import ownership
from cloaca.stores.sql.refused import FIND, served
from cloaca.stores.sql.statements import FORGET_TASKS, FORGET_WAITS, HIDE_ATTEMPTS, INSERT_NOTE, INSERT_PLAN, fence
from cloaca.stores.sql.tables import REFUSED

SERVE = "UPDATE cloaca_session SET serves = ? WHERE id = ?"
_NOW = "coalesce(run.refused, '') || :version || ','"
REFUSE = (
    f"UPDATE cloaca_run AS run SET owner = NULL, pausing = NULL, refused = {_NOW}, "
    f"status = CASE WHEN {served(_NOW)} THEN 'pending' ELSE 'blocked' END, "
    f"reason = CASE WHEN {served(_NOW)} THEN NULL ELSE :reason END WHERE run.id = :run AND run.owner = :session"
)
RECONSIDER = (
    "UPDATE cloaca_run AS run SET refused = replace(run.refused, mine.value || ',', '') FROM json_each(?) AS mine "
    f"WHERE {REFUSED} AND run.workflow = mine.key AND instr(run.refused, mine.value) > 0"
)
UPGRADE = (
    "UPDATE cloaca_run SET status = 'pending', reason = NULL, crashes = 0, refused = NULL, plan = ?, version = ?, "
    "epilogue = ?, earlier = ? WHERE id = ? AND status = 'blocked' AND plan = ?"
)


def serve(driver: sqlite3.Connection, session: int, serves: Mapping[str, str]) -> None:
    """Say which versions a session has."""
    driver.execute(SERVE, (json.dumps(dict(serves)), session))


def claim(driver: sqlite3.Connection, session: int, serves: Mapping[str, str], limit: int, at: float) -> list[History]:
    """Make a session the owner of runs that other code has refused, and return all that is stored about them."""
    fence(driver, session)
    found = [row[0] for row in driver.execute(FIND, (json.dumps(dict(serves)), max(0, limit)))]
    return ownership.take(driver, session, found, at)


def refuse(driver: sqlite3.Connection, session: int, run: int, reason: str, version: str) -> None:
    """Give an owned run up, blocked unless somebody may go on with it; nothing if it is not this session's any more."""
    values = {"version": version, "reason": reason, "run": run, "session": session}
    if driver.execute(REFUSE, values).rowcount:
        driver.execute(HIDE_ATTEMPTS, (json.dumps([run]),))


def reconsider(driver: sqlite3.Connection, serves: Mapping[str, str]) -> int:
    """Forget that these versions have refused runs; return how many."""
    return driver.execute(RECONSIDER, (json.dumps(dict(serves)),)).rowcount


def upgrade(
    driver: sqlite3.Connection,
    seen: RunRow,
    plan: PlanRow,
    at: float,
    *,
    anew: Sequence[str],
    earlier: str | None,
    epilogue: bool,
    detail: str,
) -> bool:
    """Let a blocked run go on by another plan unless it has changed; return whether it does."""
    values = (plan.digest, plan.version, epilogue, earlier, seen.id, seen.plan)
    if not driver.execute(UPGRADE, values).rowcount:
        return False
    driver.execute(INSERT_PLAN, plan)
    driver.execute(FORGET_TASKS, (seen.id, json.dumps(list(anew))))
    driver.execute(FORGET_WAITS, (seen.id, json.dumps(list(anew))))
    driver.execute(INSERT_NOTE, NoteRow(seen.id, at, "run_upgraded", None, detail)._asdict())
    return True
