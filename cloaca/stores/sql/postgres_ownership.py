"""Who drives which run on PostgreSQL: sessions and their leases, claiming runs, giving them back, stopping them.

Leases run by the server's clock alone, so that clocks of workers may be wrong. A session is removed by a statement of
its own, before the one that releases its runs: that one then sees all that was committed under it.
It knows statements and rows, not connections.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from cloaca.ports import GIVEN_UP, History, Poll, RunRow
from cloaca.stores.sql.postgres_arrivals import stopped
from cloaca.stores.sql.postgres_batches import release
from cloaca.stores.sql.postgres_links import Link, transaction
from cloaca.stores.sql.postgres_news import ABOUT
from cloaca.stores.sql.postgres_queries import RUN_COLUMNS, histories
from cloaca.stores.sql.postgres_refused import WAITS
from cloaca.stores.sql.postgres_starts import ids
from cloaca.stores.sql.queries import FINAL
from cloaca.stores.sql.revisions import last
from cloaca.stores.sql.schedule_looks import POSTGRES_LOOK
from cloaca.stores.sql.statements import lost
from cloaca.stores.sql.tables import PARKED, QUEUED, SUSPECT

OPEN_SESSION = (
    "INSERT INTO {schema}.cloaca_session (name, started_at, expires_at, serves, revision) "
    "VALUES (?, ?, {now} + ?, ?, ?) "
    "RETURNING id"
)
FREE_SLOTS = (
    "WITH gone AS (DELETE FROM {schema}.cloaca_slot WHERE session = ANY(?::int8[]) RETURNING session) "
    "SELECT count(pg_notify(?, '')) FROM gone"
)
CLOSE_SESSION = "DELETE FROM {schema}.cloaca_session WHERE id = ? RETURNING id"
# Whoever is just committing or renewing is alive.
CLOSE_EXPIRED = (
    "DELETE FROM {schema}.cloaca_session WHERE id IN (SELECT id FROM {schema}.cloaca_session "
    "WHERE expires_at < {now} AND id IS DISTINCT FROM ? FOR UPDATE SKIP LOCKED) RETURNING id"
)


def _waiting(condition: str, rest: str) -> str:
    """Runs of several workflows that wait: an index has them in order, so no more than the limit is read of each."""
    return (
        "unnest(?::text[]) AS wanted(workflow), LATERAL (SELECT id, priority FROM {schema}.cloaca_run "
        f"WHERE {condition} AND workflow = wanted.workflow {rest}) AS waiting"
    )


def _claim(condition: str) -> str:
    # What others are just claiming is skipped. Of several workflows more may be locked than are taken, for a moment.
    return claiming(_waiting(condition, "ORDER BY priority DESC, id LIMIT ? FOR UPDATE SKIP LOCKED"))


def claiming(found: str) -> str:
    """Return the statement that takes some of what ``found`` finds, of which the columns are those of ``waiting``."""
    return (
        "WITH s AS MATERIALIZED (SELECT id FROM {schema}.cloaca_session WHERE id = ? FOR KEY SHARE), "
        f"found AS MATERIALIZED (SELECT waiting.id FROM {found} WHERE EXISTS (SELECT 1 FROM s) "
        "ORDER BY waiting.priority DESC, waiting.id LIMIT ?), "
        "taken AS (UPDATE {schema}.cloaca_run AS run SET status = 'running', owner = s.id, "
        "started_at = coalesce(run.started_at, ?::float8), roused = false, wake_at = NULL, reason = NULL "
        "FROM s, found WHERE run.id = found.id RETURNING run.*) "
        f"SELECT s.id AS session, {', '.join('taken.' + name for name in RUN_COLUMNS.split(', '))} "
        "FROM s LEFT JOIN taken ON true ORDER BY taken.priority DESC, taken.id"
    )


CLAIM = _claim(QUEUED)
CLAIM_SUSPECTS = _claim(SUSPECT)
FOUND = (
    f"EXISTS (SELECT 1 FROM {_waiting(QUEUED, 'LIMIT 1')}), "
    f"EXISTS (SELECT 1 FROM {_waiting(SUSPECT, 'LIMIT 1')}), "
    "(SELECT min(expires_at) - {now} FROM {schema}.cloaca_session WHERE id <> ?), "
    "(SELECT string_agg(id::text, ' ') FROM {schema}.cloaca_run WHERE owner = ? AND cancel_requested), "
    "(SELECT string_agg(id::text, ' ') FROM {schema}.cloaca_run WHERE owner = ? AND pausing IS NOT NULL), "
    "(SELECT string_agg(id::text, ' ') FROM {schema}.cloaca_run WHERE owner = ? AND roused), "
    f"EXISTS (SELECT 1 FROM {{schema}}.cloaca_run WHERE {PARKED} AND wake_at <= {{now}}), "
    f"{POSTGRES_LOOK}, {WAITS}"
)
POLL = f"SELECT {FOUND}"
RENEWING_POLL = (
    "UPDATE {schema}.cloaca_session SET expires_at = greatest(expires_at, {now} + ?) "
    f"WHERE id = ? RETURNING {FOUND}"
)
CANCEL = (
    "WITH found AS MATERIALIZED (SELECT id, owner, status, status = 'blocked' AND (cancel_requested OR closing IS NOT "
    "NULL) AS stuck, owner IS NULL AND NOT epilogue AS free, coalesce(closing::json ->> 'status', 'cancelled') AS "
    "outcome FROM {schema}.cloaca_run WHERE id = ? AND status NOT IN ('succeeded', 'failed', 'cancelled') "
    "AND (closing IS NULL OR status = 'blocked') FOR UPDATE), "
    "stopped AS (UPDATE {schema}.cloaca_run AS run SET "
    "status = CASE WHEN f.stuck THEN f.outcome WHEN f.free THEN 'cancelled' WHEN f.owner IS NULL THEN 'pending' "
    "ELSE run.status END, finished_at = CASE WHEN f.stuck OR f.free THEN ?::float8 ELSE run.finished_at END, "
    "reason = CASE WHEN f.stuck THEN ? WHEN f.owner IS NULL THEN NULL ELSE run.reason END, "
    "wake_at = CASE WHEN f.owner IS NULL THEN NULL ELSE run.wake_at END, "
    "cancel_requested = NOT (f.stuck OR f.free), closing = CASE WHEN f.stuck THEN NULL ELSE run.closing END "
    "FROM found AS f WHERE run.id = f.id RETURNING run.status, run.cancel_requested) "
    "SELECT status, (SELECT count(pg_notify(?, CASE WHEN cancel_requested THEN '' ELSE ?::text END)) FROM stopped) "
    "FROM stopped"
)
STATUS = "SELECT status FROM {schema}.cloaca_run WHERE id = ?"


async def open_session(link: Link, name: str, at: float, lease_s: float, serves: Mapping[str, str]) -> int:
    """Insert a session whose lease begins now, and return its id."""
    [(session,)] = await link.ask(OPEN_SESSION, name, at, lease_s, json.dumps(dict(serves)), last())
    return int(session)


async def close_session(link: Link, session: int, at: float) -> None:
    """Remove a session in order: its runs wait for other workers again."""
    async with transaction(link):
        if await link.ask(CLOSE_SESSION, session):
            await link.ask(FREE_SLOTS, [session], link.names.channel)
            await release(link, [session], at, crash=0)


async def reap(link: Link, at: float, sparing: int | None) -> int:
    """Remove the sessions whose lease has run out: their runs wait again, with one crash more. Return how many."""
    async with transaction(link):
        dead = [row[0] for row in await link.ask(CLOSE_EXPIRED, sparing)]
        if not dead:
            return 0
        await link.ask(FREE_SLOTS, dead, link.names.channel)
        return await release(link, dead, at, crash=1)


async def claim(
    link: Link, session: int, workflows: Sequence[str], limit: int, *, at: float, suspects: bool
) -> list[History]:
    """Make a session the owner of runs that wait, and return all that is stored about them."""
    wanted = sorted(set(workflows))
    return await claim_by(link, CLAIM_SUSPECTS if suspects else CLAIM, session, wanted, limit, limit, at)


async def claim_by(link: Link, statement: str, session: int, *values: object) -> list[History]:
    """Take runs by a statement that ``claiming`` has made, and return all that is stored about them."""
    async with transaction(link):
        rows = await link.ask(statement, session, *values)
        if not rows:
            lost(session)
        runs = [RunRow._make(row[1:]) for row in rows if row["id"] is not None]
        return await histories(link, runs) if runs else []


async def poll(
    link: Link, session: int, workflows: Sequence[str], lease_s: float | None, serves: Mapping[str, str]
) -> Poll:
    """Look for work; renew the lease of the session for so many seconds if asked. Raises LeaseLost."""
    wanted = list(workflows)
    own = (list(serves), list(serves.values()))
    values = (wanted, wanted, session, session, session, session, session, wanted, wanted, *own)
    if lease_s is None:
        rows = await link.ask(POLL, *values)
    else:
        rows = await link.ask(RENEWING_POLL, lease_s, session, *values)
    if not rows:
        lost(session)
    [(claimable, waits, lapse_s, cancelling, pausing, roused, due, firings, due_s, refused)] = rows
    expired = lapse_s is not None and lapse_s < 0
    marked = (sorted(ids(cancelling)), ids(pausing), ids(roused))
    return Poll(claimable, waits, expired, *marked, due, lapse_s, firings, due_s, refused)


async def cancel(link: Link, run: int, at: float) -> str | None:
    """Cancel a run that nobody drives, ask the driver of one that is driven; return its status, None if unknown."""
    async with transaction(link):
        return await cancel_within(link, run, at)


async def cancel_within(link: Link, run: int, at: float) -> str | None:
    """Cancel a run, as ``cancel`` does, in the transaction that is open."""
    if found := await link.ask(CANCEL, run, at, GIVEN_UP, link.names.channel, f"{ABOUT} {run}"):
        if found[0]["status"] in FINAL:
            await stopped(link, [run], at)
    else:
        found = await link.ask(STATUS, run)
    return str(found[0]["status"]) if found else None
