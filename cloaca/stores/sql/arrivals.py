"""Waits, signals and child runs on SQLite: what is written about them, and who is told.

Each function is called inside a transaction that is open. It knows statements, not threads and files.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence

from cloaca.ports import Arrivals, Batch, RunRow, SignalRow
from cloaca.stores.sql.tables import PARKED

BEGIN_WAIT = (
    "INSERT INTO cloaca_wait (run_id, name, began_at, until) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (run_id, name) DO UPDATE SET began_at = excluded.began_at, until = excluded.until"
)
TAKE = "UPDATE cloaca_signal SET taken_by = ? WHERE id = ? AND run_id = ? AND taken_by IS NULL"
# Whoever drives the run is told; one that is parked waits for a worker.
ROUSE = (
    "UPDATE cloaca_run SET roused = owner IS NOT NULL, status = CASE WHEN status = 'running' AND owner IS NULL "
    "THEN 'pending' ELSE status END WHERE id = ? AND finished_at IS NULL"
)
PARK = (
    "UPDATE cloaca_run SET owner = NULL, wake_at = ? WHERE id = ? AND owner = ? AND status = 'running' "
    "AND NOT roused AND NOT cancel_requested AND pausing IS NULL"
)
DESCENDANTS = (
    "WITH RECURSIVE below(id) AS (SELECT id FROM cloaca_run INDEXED BY cloaca_run_children "
    "WHERE parent IN (SELECT value FROM json_each(?)) AND finished_at IS NULL UNION SELECT run.id FROM below "
    "CROSS JOIN cloaca_run AS run INDEXED BY cloaca_run_children ON run.parent = below.id AND run.finished_at IS NULL) "
    "SELECT id FROM below"
)
WANTED = "id IN (SELECT value FROM json_each(?))"
# As with cancelling a single run: one with an epilogue waits for a worker, one whose outcome is known is left alone.
STOP_WAITING = (
    "UPDATE cloaca_run SET status = CASE WHEN epilogue THEN 'pending' ELSE 'cancelled' END, finished_at = CASE "
    "WHEN NOT epilogue THEN ? END, cancel_requested = epilogue, reason = NULL, wake_at = NULL "
    f"WHERE {WANTED} AND owner IS NULL AND closing IS NULL"
)
ASK_TO_STOP = f"UPDATE cloaca_run SET cancel_requested = 1 WHERE {WANTED} AND owner IS NOT NULL AND closing IS NULL"
PARENT = "SELECT parent FROM cloaca_run WHERE id = ?"

FIND_RUN = "SELECT finished_at FROM cloaca_run WHERE id = ?"
ANSWERED = "SELECT count(*) FROM cloaca_task WHERE run_id = ? AND name IN (SELECT value FROM json_each(?))"
UNTAKEN = "SELECT count(*) FROM cloaca_signal WHERE run_id = ? AND name = ? AND taken_by IS NULL"
KEEP = "INSERT INTO cloaca_signal (run_id, name, payload, sent_at) VALUES (?, ?, ?, ?)"

HEARD = f"UPDATE cloaca_run SET roused = 0 WHERE {WANTED} AND owner = ?"
OWNED = f"SELECT id FROM cloaca_run NOT INDEXED WHERE {WANTED} AND owner = ? ORDER BY id"
WAKE = (
    "UPDATE cloaca_run SET status = 'pending' WHERE id IN (SELECT id FROM cloaca_run INDEXED BY cloaca_run_parked "
    f"WHERE {PARKED} AND wake_at <= ? ORDER BY wake_at, id LIMIT ?)"
)


def write(driver: sqlite3.Connection, batch: Batch, foreign: Collection[int]) -> None:
    """Write what a batch says about waits, signals and the families of runs."""
    if batch.waits:
        driver.executemany(BEGIN_WAIT, [wait for wait in batch.waits if wait.run not in foreign])
    if batch.taken:
        driver.executemany(TAKE, [(node, signal, run) for run, signal, node in batch.taken if run not in foreign])
    if batch.roused:
        rouse(driver, batch.roused)
    if forsaken := [run for run in batch.forsaken if run not in foreign]:
        forsake(driver, forsaken, batch.at)


def rouse(driver: sqlite3.Connection, runs: Iterable[int]) -> None:
    """Tell whoever drives these runs that something has come for them."""
    driver.executemany(ROUSE, [(run,) for run in runs])


def forsake(driver: sqlite3.Connection, runs: Sequence[int], at: float) -> None:
    """Cancel what runs that have ended have started, or ask whoever drives it."""
    below = json.dumps([row[0] for row in driver.execute(DESCENDANTS, (json.dumps(runs),))])
    if below != "[]":
        driver.execute(STOP_WAITING, (at, below))
        driver.execute(ASK_TO_STOP, (below,))


def stopped(driver: sqlite3.Connection, run: int, at: float) -> None:
    """See to the family of a run that was just cancelled while nobody drove it."""
    forsake(driver, [run], at)
    if (parent := driver.execute(PARENT, (run,)).fetchone()[0]) is not None:
        rouse(driver, [parent])


def park(driver: sqlite3.Connection, batch: Batch) -> list[int]:
    """Take runs that only wait from their session; return those for which something has come meanwhile."""
    if not batch.parked:
        return []
    driver.executemany(PARK, [(wake_at, run, batch.session) for run, wake_at in batch.parked])
    return [run for run, _ in batch.parked]  # which the session does not own any more, unless something has come


def send(
    driver: sqlite3.Connection, run: int, name: str, payload: str, at: float, *, nodes: Sequence[str]
) -> bool | None:
    """Keep a signal, unless nobody would take it; return whether it was kept, None if the run is unknown."""
    found = driver.execute(FIND_RUN, (run,)).fetchone()
    if found is None or found[0] is not None:
        return None if found is None else False
    answered = driver.execute(ANSWERED, (run, json.dumps(list(nodes)))).fetchone()[0]
    if answered + driver.execute(UNTAKEN, (run, name)).fetchone()[0] >= len(set(nodes)):
        return False
    driver.execute(KEEP, (run, name, payload, at))
    rouse(driver, [run])
    return True


def wake(driver: sqlite3.Connection, at: float, limit: int) -> int:
    """Make parked runs pending whose time has come; return how many."""
    return driver.execute(WAKE, (at, max(0, limit))).rowcount


def owned(driver: sqlite3.Connection, session: int, runs: Sequence[int]) -> list[int]:
    """Return those of ``runs`` that a session owns, by id, and note that it has heard of what has come for them."""
    wanted = json.dumps(list(runs))
    driver.execute(HEARD, (wanted, session))
    return [row[0] for row in driver.execute(OWNED, (wanted, session))]


def gathered(runs: Iterable[int], signals: Iterable[SignalRow], children: Iterable[RunRow]) -> list[Arrivals]:
    """Return what has come, run by run."""
    found = {run: Arrivals(run, [], []) for run in runs}
    for signal in signals:
        if signal.taken_by is None:
            found[signal.run].signals.append(signal)
    for child in children:
        if child.parent is not None:
            found[child.parent].children.append(child)
    return list(found.values())
