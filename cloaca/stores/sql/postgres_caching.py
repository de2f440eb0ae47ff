"""Cached results on PostgreSQL: looking them up, keeping them as a part of a batch, forgetting those that are old.

Their age is by the server's clock alone. It knows statements and rows, not connections.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cloaca.ports import Cached, CacheRow
from cloaca.stores.sql.postgres_links import Link

FIND = "SELECT key, output, origin, task, {now} - created_at FROM {schema}.cloaca_cache WHERE key = ANY(?::text[])"
# In the order of the keys, so that of those who keep the same at once none waits for one that waits for it.
KEEP = (
    "kept AS (INSERT INTO {schema}.cloaca_cache (origin, key, output, task, created_at) "
    "SELECT c.origin, c.key, c.output, c.task, {now} FROM unnest(?::int8[], ?::text[], ?::text[], ?::text[]) "
    'AS c(origin, key, output, task) WHERE c.origin IN (SELECT id FROM own) ORDER BY c.key COLLATE "C" '
    "ON CONFLICT (key) DO UPDATE SET output = excluded.output, origin = excluded.origin, task = excluded.task, "
    "created_at = excluded.created_at)"
)
FORGET = (
    "WITH gone AS (DELETE FROM {schema}.cloaca_cache WHERE key IN (SELECT key FROM {schema}.cloaca_cache "
    "WHERE created_at < ? ORDER BY created_at LIMIT ? FOR UPDATE SKIP LOCKED) RETURNING 1) SELECT count(*) FROM gone"
)


async def find(link: Link, keys: Sequence[str]) -> list[Cached]:
    """Return what is kept under ``keys``."""
    return [Cached._make(row) for row in await link.ask(FIND, list(keys))]


def distinct(rows: Iterable[CacheRow]) -> list[CacheRow]:
    """Return of rows with one key the last: a statement can't write a row twice."""
    return list({row.key: row for row in rows}.values())


async def forget(link: Link, before: float, limit: int) -> int:
    """Delete the results that are older than a time, the oldest first; return how many."""
    [(count,)] = await link.ask(FORGET, before, max(0, limit))
    return int(count)
