"""Cached results on SQLite: looking them up, keeping them, forgetting those that are old.

Each function is called inside a transaction that is open, or needs none. It knows statements, not threads and files.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

from cloaca.ports import Cached, CacheRow

FIND = (
    "SELECT key, output, origin, task, ? - created_at FROM cloaca_cache WHERE key IN (SELECT value FROM json_each(?))"
)
KEEP = (
    "INSERT INTO cloaca_cache (key, output, origin, task, created_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) "
    "DO UPDATE SET output = excluded.output, origin = excluded.origin, task = excluded.task, "
    "created_at = excluded.created_at"
)
FORGET = (
    "DELETE FROM cloaca_cache WHERE key IN (SELECT key FROM cloaca_cache INDEXED BY cloaca_cache_by_age "
    "WHERE created_at < ? ORDER BY created_at LIMIT ?)"
)


def find(driver: sqlite3.Connection, keys: Sequence[str], at: float) -> list[Cached]:
    """Return what is kept under ``keys``."""
    return [Cached._make(row) for row in driver.execute(FIND, (at, json.dumps(list(keys))))]


def keep(driver: sqlite3.Connection, rows: Iterable[CacheRow], at: float) -> None:
    """Keep results, in place of older ones."""
    driver.executemany(KEEP, [(row.key, row.output, row.run, row.task, at) for row in rows])


def forget(driver: sqlite3.Connection, before: float, limit: int) -> int:
    """Delete the results that are older than a time, the oldest first; return how many."""
    return driver.execute(FORGET, (before, max(0, limit))).rowcount
