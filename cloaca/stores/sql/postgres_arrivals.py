"""Waits, signals and child runs on PostgreSQL: what is written about them, and who is told.

Each function is called inside a transaction that is open, but for ``send`` and ``wake``, which open theirs. It knows
statements and rows, not connections.
"""

from __future__ import annotations

from collections.abc import Sequence

from cloaca.ports import Batch
from cloaca.stores.sql.postgres_links import Link, transaction
from cloaca.stores.sql.postgres_starts import WAKE as NOTIFY
from cloaca.stores.sql.tables import PARKED

# Whoever drives the run is told; one that is parked waits for a worker.
ROUSE = (
    "UPDATE {schema}.cloaca_run SET roused = owner IS NOT NULL, status = CASE WHEN status = 'running' "
    "AND owner IS NULL THEN 'pending' ELSE status END WHERE id = ANY(?::int8[]) AND finished_at IS NULL RETURNING id"
)
PARK = (
    "UPDATE {schema}.cloaca_run AS run SET owner = NULL, wake_at = p.wake_at FROM unnest(?::int8[], ?::float8[]) "
    "AS p(id, wake_at) WHERE run.id = p.id AND run.owner = ? AND run.status = 'running' AND NOT run.roused "
    "AND NOT run.cancel_requested AND run.pausing IS NULL"
)
# As with cancelling a single run: whether somebody drives it is looked at once it is locked; one with an epilogue waits
# for a worker, one whose outcome is known is left alone.
FORSAKE = (
    "WITH RECURSIVE below(id) AS (SELECT id FROM {schema}.cloaca_run WHERE parent = ANY(?::int8[]) "
    "AND finished_at IS NULL UNION SELECT run.id FROM below JOIN {schema}.cloaca_run AS run ON run.parent = below.id "
    "WHERE run.finished_at IS NULL) "
    "UPDATE {schema}.cloaca_run AS run SET status = CASE WHEN run.owner IS NOT NULL THEN run.status "
    "WHEN run.epilogue THEN 'pending' ELSE 'cancelled' END, "
    "finished_at = CASE WHEN run.owner IS NULL AND NOT run.epilogue THEN ?::float8 END, "
    "reason = CASE WHEN run.owner IS NULL THEN NULL ELSE run.reason END, "
    "wake_at = CASE WHEN run.owner IS NULL THEN NULL ELSE run.wake_at END, "
    "cancel_requested = run.owner IS NOT NULL OR run.epilogue FROM below WHERE run.id = below.id "
    "AND run.finished_at IS NULL AND run.closing IS NULL RETURNING run.status"
)
PARENTS = "SELECT parent FROM {schema}.cloaca_run WHERE id = ANY(?::int8[]) AND parent IS NOT NULL"
LOCK = "SELECT finished_at FROM {schema}.cloaca_run WHERE id = ? FOR UPDATE"
# By one statement, which sees a signal that is just being taken on one side or on the other.
PROVIDED = (
    "SELECT (SELECT count(*) FROM {schema}.cloaca_task WHERE run_id = ? AND name = ANY(?::text[])) "
    "+ (SELECT count(*) FROM {schema}.cloaca_signal WHERE run_id = ? AND name = ? AND taken_by IS NULL)"
)
KEEP = "INSERT INTO {schema}.cloaca_signal (run_id, name, payload, sent_at) VALUES (?, ?, ?, ?)"
WAKE = (
    "WITH woken AS (UPDATE {schema}.cloaca_run SET status = 'pending' WHERE id IN (SELECT id FROM {schema}.cloaca_run "
    f"WHERE {PARKED} AND wake_at <= {{now}} ORDER BY wake_at, id LIMIT ? FOR UPDATE SKIP LOCKED) RETURNING id) "
    "SELECT count(*) FROM woken"
)


async def write(link: Link, batch: Batch, foreign: frozenset[int]) -> None:
    """Write what a batch says about the families of runs."""
    if batch.roused:
        await rouse(link, batch.roused)
    if forsaken := [run for run in batch.forsaken if run not in foreign]:
        await forsake(link, forsaken, batch.at)


async def rouse(link: Link, runs: Sequence[int]) -> None:
    """Tell whoever drives these runs that something has come for them."""
    if await link.ask(ROUSE, sorted(set(runs))):
        await link.ask(NOTIFY, link.names.channel)


async def forsake(link: Link, runs: Sequence[int], at: float) -> None:
    """Cancel what runs that have ended have started, or ask whoever drives it."""
    asked = await link.ask(FORSAKE, list(runs), at)
    if any(row[0] != "cancelled" for row in asked):
        await link.ask(NOTIFY, link.names.channel)


async def stopped(link: Link, runs: Sequence[int], at: float) -> None:
    """See to the families of runs that were just cancelled while nobody drove them."""
    await forsake(link, runs, at)
    if parents := [row[0] for row in await link.ask(PARENTS, list(runs))]:
        await rouse(link, parents)


async def park(link: Link, batch: Batch) -> list[int]:
    """Take runs that only wait from their session; return those that may not be its own any more."""
    if not batch.parked:
        return []
    runs, moments = zip(*batch.parked, strict=True)
    await link.ask(PARK, list(runs), list(moments), batch.session)
    return list(runs)


async def send(link: Link, run: int, name: str, payload: str, at: float, *, nodes: Sequence[str]) -> bool | None:
    """Keep a signal, unless nobody would take it; return whether it was kept, None if the run is unknown."""
    async with transaction(link):
        found = await link.ask(LOCK, run)
        if not found or found[0][0] is not None:
            return False if found else None
        [(provided,)] = await link.ask(PROVIDED, run, list(nodes), run, name)
        if provided >= len(set(nodes)):
            return False
        await link.ask(KEEP, run, name, payload, at)
        await rouse(link, [run])
        return True


async def wake(link: Link, limit: int) -> int:
    """Make parked runs pending whose time has come, by the server's clock; return how many."""
    [(count,)] = await link.ask(WAKE, max(0, limit))
    if count:
        await link.ask(NOTIFY, link.names.channel)
    return int(count)
