"""What is deleted: runs that ended long ago, with all their rows, and plans that no run has any more.

The statements for SQLite, and what holds for PostgreSQL too: which tables have rows of runs, and how much is deleted at
a time. Each function is called inside a transaction that is open. It knows statements, not threads and files.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from cloaca.stores.sql.schedules import FORGET_SKIPPED
from cloaca.stores.sql.tables import Table

MOST_ROWS = 10_000  # of a transaction, unless a single run has more: whoever commits meanwhile waits for it

# Whatever table says whose run its rows are of, they go with the run.
OF_RUNS = tuple(sorted(name for name, table in Table.metadata.tables.items() if "run_id" in table.c))
ENDED = "finished_at < ? AND status IN ('succeeded', 'failed', 'cancelled') AND parent IS NULL"


def rows_of_run(prefix: str = "") -> str:
    """Return the expression for how many rows other tables have of ``run``."""
    return " + ".join(f"(SELECT count(*) FROM {prefix}{table} WHERE run_id = run.id)" for table in OF_RUNS)


def childless(index: str = "", prefix: str = "") -> str:
    """Return the condition that no child run of ``run`` goes on, as one that still undoes what it did."""
    return (
        f"NOT EXISTS (SELECT 1 FROM {prefix}cloaca_run AS child {index} WHERE child.parent = run.id "
        "AND child.finished_at IS NULL)"
    )


OLDEST = (
    f"SELECT id, {rows_of_run()} FROM cloaca_run AS run INDEXED BY cloaca_run_ended WHERE {ENDED} "
    f"AND {childless('INDEXED BY cloaca_run_children')} "
    "ORDER BY finished_at, id LIMIT ?"
)
WANTED = "IN (SELECT value FROM json_each(?))"
DELETE_ROWS = tuple(f"DELETE FROM {table} WHERE run_id {WANTED}" for table in OF_RUNS)
DELETE_RUNS = f"DELETE FROM cloaca_run WHERE id {WANTED}"
ORPHAN = f"UPDATE cloaca_run INDEXED BY cloaca_run_children SET parent = NULL WHERE parent {WANTED}"
DELETE_PLANS = (
    "DELETE FROM cloaca_plan WHERE NOT EXISTS "
    "(SELECT 1 FROM cloaca_run INDEXED BY cloaca_run_by_plan WHERE plan = cloaca_plan.digest)"
)


def prune(driver: sqlite3.Connection, ended_before: float, limit: int) -> int:
    """Delete the runs that ended first, if before a time; if there are none, the plans that no run has."""
    runs = affordable(driver.execute(OLDEST, (ended_before, max(0, limit))))
    if not runs:
        driver.execute(FORGET_SKIPPED, (ended_before,))
        driver.execute(DELETE_PLANS)
        return 0
    wanted = (json.dumps(runs),)
    for statement in (*DELETE_ROWS, ORPHAN, DELETE_RUNS):
        driver.execute(statement, wanted)
    return len(runs)


def affordable(weighed: Iterable[tuple[int, int]]) -> list[int]:
    """Return the first runs, as many as have ``MOST_ROWS`` rows together; one at least, if there is one.

    >>> affordable([(1, 6_000), (2, 3_999), (3, 1), (4, 1)])
    [1, 2, 3]
    """
    runs: list[int] = []
    rows = 0
    for run, weight in weighed:
        rows += weight
        if runs and rows > MOST_ROWS:
            break
        runs.append(run)
    return runs
