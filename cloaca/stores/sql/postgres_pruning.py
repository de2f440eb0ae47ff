"""What is deleted from PostgreSQL: runs that ended long ago, with all their rows, and plans that no run has any more.

Those who prune at once take different runs. A plan is deleted under a lock that whoever inserts one waits for, so that
no run is left without its plan. It knows statements and rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import asyncpg

from cloaca.stores.sql.postgres_links import Link, transaction
from cloaca.stores.sql.postgres_schedules import FORGET_SKIPPED
from cloaca.stores.sql.pruning import ENDED, OF_RUNS, affordable, childless, rows_of_run

LOCK_TIMEOUT_MS = 200  # so long do those who start runs wait at most for one who can't get the lock

# Locked, so that none of them is started again meanwhile; what another is just deleting is skipped.
OLDEST = (
    f"SELECT id, {rows_of_run('{schema}.')} FROM {{schema}}.cloaca_run AS run WHERE {ENDED} "
    f"AND {childless(prefix='{schema}.')} "
    "ORDER BY finished_at, id LIMIT ? FOR UPDATE SKIP LOCKED"
)
WANTED = "(SELECT ids FROM gone)::int8[]"  # an array of unknown length: always by an index
DELETE = (
    "WITH gone AS MATERIALIZED (SELECT ?::int8[] AS ids), "
    + ", ".join(f"of_{table} AS (DELETE FROM {{schema}}.{table} WHERE run_id = ANY({WANTED}))" for table in OF_RUNS)
    + f", orphans AS (UPDATE {{schema}}.cloaca_run SET parent = NULL WHERE parent = ANY({WANTED}))"
    + f" DELETE FROM {{schema}}.cloaca_run WHERE id = ANY({WANTED})"
)
UNUSED = "NOT EXISTS (SELECT 1 FROM {schema}.cloaca_run AS run WHERE run.plan = p.digest)"
FIND_PLANS = f"SELECT digest FROM {{schema}}.cloaca_plan AS p WHERE {UNUSED}"
LOCK_PLANS = (
    f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}; LOCK TABLE {{schema}}.cloaca_plan IN SHARE ROW EXCLUSIVE MODE"
)
DELETE_PLANS = f"DELETE FROM {{schema}}.cloaca_plan AS p WHERE digest = ANY(?::text[]) AND {UNUSED}"


async def prune(link: Link, ended_before: float, limit: int) -> int:
    """Delete the runs that ended first, if before a time; if there are none, the plans that no run has."""
    async with transaction(link):
        found = await link.ask(OLDEST, ended_before, max(0, limit))
        runs = affordable((row[0], row[1]) for row in found)
        if runs:
            await link.ask(DELETE, runs)
    if not runs:
        await link.ask(FORGET_SKIPPED, ended_before)
        await _prune_plans(link, [row[0] for row in await link.ask(FIND_PLANS)])
    return len(runs)


async def _prune_plans(link: Link, digests: Sequence[str]) -> None:
    """Delete plans that no run has, unless others keep the table busy: then another time will do."""
    if not digests:
        return
    with contextlib.suppress(asyncpg.LockNotAvailableError):
        async with transaction(link):
            await link.connection.execute(link.names.of(LOCK_PLANS))
            await link.ask(DELETE_PLANS, digests)
