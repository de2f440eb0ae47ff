"""Runs that some code can't go on with, on PostgreSQL: who refuses one, who may try it next, and on what it goes on.

A run lists the versions that have refused it, a session the versions that it has: of runs that have been refused, each
version looks at each run once. It knows statements and rows, not connections.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from cloaca.ports import History, NoteRow, PlanRow, RunRow
from cloaca.stores.sql.postgres_controls import FORGET_TASKS, FORGET_WAITS, note
from cloaca.stores.sql.postgres_links import Link, transaction
from cloaca.stores.sql.postgres_ownership import claim_by, claiming
from cloaca.stores.sql.postgres_refused import found, served
from cloaca.stores.sql.postgres_starts import INSERT_PLANS, WAKE, columns, part
from cloaca.stores.sql.tables import REFUSED

SERVE = "UPDATE {schema}.cloaca_session SET serves = ? WHERE id = ?"
CLAIM = claiming(found("ORDER BY priority DESC, id LIMIT ? FOR UPDATE SKIP LOCKED"))
_NOW = "(coalesce(run.refused, '') || ?::text || ',')"
REFUSE = (
    "WITH now AS (SELECT run.id, refused, {is_served} AS served FROM (SELECT id, workflow, "
    + _NOW
    + " AS refused FROM {schema}.cloaca_run AS run WHERE id = ? AND owner = ? FOR UPDATE) AS run), "
    "given AS (UPDATE {schema}.cloaca_run AS run SET owner = NULL, pausing = NULL, refused = now.refused, "
    "status = CASE WHEN now.served THEN 'pending' ELSE 'blocked' END, "
    "reason = CASE WHEN now.served THEN NULL ELSE ? END FROM now WHERE run.id = now.id RETURNING run.id), "
    "hidden AS (DELETE FROM {schema}.cloaca_attempt AS a USING given WHERE a.run_id = given.id) "
    "SELECT count(pg_notify(?, '')) FROM given"
).replace("{is_served}", served("run.refused"))
# In order, since many that start at once do the same.
RECONSIDER = (
    "WITH mine AS (SELECT * FROM unnest(?::text[], ?::text[]) AS t(workflow, version)), "
    "found AS MATERIALIZED (SELECT run.id, mine.version FROM mine, {schema}.cloaca_run AS run "
    f"WHERE {REFUSED} AND run.workflow = mine.workflow AND strpos(run.refused, mine.version) > 0 "
    "ORDER BY run.id FOR UPDATE OF run), "
    "freed AS (UPDATE {schema}.cloaca_run AS run SET refused = replace(run.refused, found.version || ',', '') "
    "FROM found WHERE run.id = found.id RETURNING run.id) SELECT count(*), count(pg_notify(?, '')) FROM freed"
)
UPGRADE = (
    "UPDATE {schema}.cloaca_run SET status = 'pending', reason = NULL, crashes = 0, refused = NULL, plan = ?, "
    "version = ?, epilogue = ?, earlier = ? WHERE id = ? AND status = 'blocked' AND plan = ? RETURNING id"
)


async def serve(link: Link, session: int, serves: Mapping[str, str]) -> None:
    """Say which versions a session has."""
    await link.ask(SERVE, json.dumps(dict(serves)), session)


async def claim(link: Link, session: int, serves: Mapping[str, str], limit: int, at: float) -> list[History]:
    """Make a session the owner of runs that other code has refused, and return all that is stored about them."""
    most = max(0, limit)
    return await claim_by(link, CLAIM, session, list(serves), list(serves.values()), most, most, at)


async def refuse(link: Link, session: int, run: int, reason: str, version: str) -> None:
    """Give an owned run up, blocked unless somebody may go on with it; nothing if it is not this session's any more."""
    await link.ask(REFUSE, version, run, session, reason, link.names.channel)


async def reconsider(link: Link, serves: Mapping[str, str]) -> int:
    """Forget that these versions have refused runs; return how many."""
    [(count, _)] = await link.ask(RECONSIDER, list(serves), list(serves.values()), link.names.channel)
    return int(count)


async def upgrade(
    link: Link,
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
    async with transaction(link):
        if not await link.ask(UPGRADE, plan.digest, plan.version, epilogue, earlier, seen.id, seen.plan):
            return False
        await link.ask(part(INSERT_PLANS), *columns([plan]))
        await link.ask(FORGET_TASKS, seen.id, list(anew))
        await link.ask(FORGET_WAITS, seen.id, list(anew))
        await note(link, NoteRow(seen.id, at, "run_upgraded", None, detail))
        await link.ask(WAKE, link.names.channel)
        return True
