"""Who drives which run on SQLite: sessions and their leases, claiming runs, giving them back, stopping them.

Each function is called inside a transaction that is open. It knows statements, not threads and files.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence

from cloaca.ports import GIVEN_UP, History
from cloaca.stores.sql import arrivals, revisions
from cloaca.stores.sql.queries import FINAL, histories, waiting
from cloaca.stores.sql.releases import release
from cloaca.stores.sql.statements import fence

OPEN_SESSION = "INSERT INTO cloaca_session (name, started_at, expires_at, serves, revision) VALUES (?, ?, ?, ?, ?)"
SHOW_LIFE = "UPDATE cloaca_session SET lock_file = ? WHERE id = ?"
CLOSE_SESSION = "DELETE FROM cloaca_session WHERE id = ?"
FREE_SLOTS = "DELETE FROM cloaca_slot WHERE session = ?"
CLAIM = (
    "UPDATE cloaca_run SET status = 'running', owner = ?, started_at = coalesce(started_at, ?), roused = 0, "
    "wake_at = NULL, reason = NULL "
    "WHERE id IN (SELECT value FROM json_each(?))"
)
STATUS = (
    "SELECT status, owner, epilogue, closing IS NOT NULL, status = 'blocked' AND (cancel_requested OR closing IS NOT "
    "NULL), coalesce(json_extract(closing, '$.status'), 'cancelled') FROM cloaca_run WHERE id = ?"
)
STOP = (
    "UPDATE cloaca_run SET status = ?, finished_at = ?, reason = ?, cancel_requested = 0, closing = NULL, "
    "wake_at = NULL WHERE id = ?"
)
MARK = "UPDATE cloaca_run SET status = 'pending', reason = NULL, cancel_requested = 1, wake_at = NULL WHERE id = ?"
ASK_TO_STOP = "UPDATE cloaca_run SET cancel_requested = 1 WHERE id = ?"


def open_session(driver: sqlite3.Connection, name: str, at: float, until: float, serves: Mapping[str, str]) -> int:
    """Insert a session and return its id."""
    values = (name, at, until, json.dumps(dict(serves)), revisions.last())
    session = driver.execute(OPEN_SESSION, values).lastrowid
    assert session is not None
    return session


def show_life(driver: sqlite3.Connection, session: int, lock_file: int | None) -> None:
    """Say in which lock file a session shows that its process is alive."""
    driver.execute(SHOW_LIFE, (lock_file, session))


def close_session(driver: sqlite3.Connection, session: int, at: float) -> None:
    """Remove a session in order: its runs wait for other workers again."""
    _remove(driver, session)
    release(driver, session, at)


def reap(driver: sqlite3.Connection, session: int, at: float) -> int:
    """Remove a session whose worker is dead: its runs wait again, with one crash more. Return how many."""
    _remove(driver, session)
    return release(driver, session, at, crash=1)


def _remove(driver: sqlite3.Connection, session: int) -> None:
    driver.execute(CLOSE_SESSION, (session,))
    driver.execute(FREE_SLOTS, (session,))


def claim(
    driver: sqlite3.Connection, session: int, workflows: Sequence[str], limit: int, *, at: float, suspects: bool
) -> list[History]:
    """Make a session the owner of runs that wait, and return all that is stored about them."""
    fence(driver, session)
    return take(driver, session, waiting(driver, workflows, limit, suspects=suspects), at)


def take(driver: sqlite3.Connection, session: int, found: Sequence[int], at: float) -> list[History]:
    """Make a session the owner of runs, and return all that is stored about them."""
    if not found:
        return []
    driver.execute(CLAIM, (session, at, json.dumps(list(found))))
    return histories(driver, found)


def cancel(driver: sqlite3.Connection, run: int, at: float) -> str | None:
    """Cancel a run that nobody drives, ask the driver of one that is driven; return its status, None if unknown."""
    found = driver.execute(STATUS, (run,)).fetchone()
    if found is None or found[0] in FINAL:
        return found[0] if found else None
    status, owner, epilogue, closing, stuck, outcome = found
    if stuck:
        driver.execute(STOP, (outcome, at, GIVEN_UP, run))
        arrivals.stopped(driver, run, at)
        return str(outcome)
    if closing:
        return str(status)
    if owner is None and not epilogue:
        driver.execute(STOP, ("cancelled", at, None, run))
        arrivals.stopped(driver, run, at)
        return "cancelled"
    driver.execute(MARK if owner is None else ASK_TO_STOP, (run,))
    return "pending" if owner is None else str(status)
