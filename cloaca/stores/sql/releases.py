"""How a session gives runs back on SQLite, whichever way it comes to that: cancelled, paused, or for other workers.

Each function is called inside a transaction that is open. It knows statements, not threads and files.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from cloaca.stores.sql import arrivals

# Runs that were asked to stop are cancelled when their worker lets go of them; those with an epilogue wait for another.
STOP = (
    "UPDATE cloaca_run INDEXED BY cloaca_run_cancelling SET status = 'cancelled', owner = NULL, cancel_requested = 0, "
    "pausing = NULL, finished_at = ? WHERE owner = ? AND cancel_requested AND NOT epilogue"
)
STOPPING = (
    "SELECT id FROM cloaca_run INDEXED BY cloaca_run_cancelling WHERE owner = ? AND cancel_requested AND NOT epilogue"
)
HIDE = "DELETE FROM cloaca_attempt WHERE session = ?"
NOTE_CRASH = (
    "INSERT INTO cloaca_note (run_id, at, kind, task, detail) SELECT id, ?, 'run_recovered', NULL, ? "
    "FROM cloaca_run INDEXED BY cloaca_run_owned WHERE owner = ? AND status = 'running'"
)
NOTE_PAUSE = (
    "INSERT INTO cloaca_note (run_id, at, kind, task, detail) SELECT id, ?1, 'run_paused', NULL, '' "
    "FROM cloaca_run INDEXED BY cloaca_run_pausing WHERE owner = ?2 AND pausing IS NOT NULL AND NOT cancel_requested "
    "AND NOT EXISTS "
    "(SELECT 1 FROM cloaca_note AS known WHERE known.run_id = cloaca_run.id AND at = ?1 AND kind = 'run_paused')"
)
PAUSE = (
    "UPDATE cloaca_run INDEXED BY cloaca_run_pausing SET status = 'paused', owner = NULL, pausing = NULL, "
    "crashes = crashes + ? WHERE owner = ? AND pausing IS NOT NULL AND NOT cancel_requested"
)
RELEASE = (
    "UPDATE cloaca_run INDEXED BY cloaca_run_owned SET status = 'pending', owner = NULL, pausing = NULL, "
    "crashes = crashes + ? WHERE owner = ? AND status = 'running'"
)


def release(
    driver: sqlite3.Connection,
    session: int,
    at: float,
    *,
    crash: int = 0,
    only: Sequence[int] | None = None,
    but: Sequence[int] | None = None,
) -> int:
    """Take runs from a session, all or ``only`` some or all ``but`` some, with so many crashes more.

    Return how many wait for a worker then.
    """
    if only is None:
        runs, listed = json.dumps(list(but or ())), "NOT IN (SELECT value FROM json_each(?))"
    else:
        runs, listed = json.dumps(list(only)), "IN (SELECT value FROM json_each(?))"
    if stopping := driver.execute(f"{STOPPING} AND id {listed}", (session, runs)).fetchall():
        driver.execute(f"{STOP} AND id {listed}", (at, session, runs))
        for (run,) in stopping:
            arrivals.stopped(driver, run, at)
    driver.execute(f"{HIDE} AND run_id {listed}", (session, runs))
    if crash:
        driver.execute(f"{NOTE_CRASH} AND id {listed}", (at, f"the worker of session {session} died", session, runs))
    driver.execute(f"{NOTE_PAUSE} AND id {listed}", (at, session, runs))
    driver.execute(f"{PAUSE} AND id {listed}", (crash, session, runs))
    return driver.execute(f"{RELEASE} AND id {listed}", (crash, session, runs)).rowcount
