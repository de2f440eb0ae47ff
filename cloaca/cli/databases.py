"""Databases to look at: opened only if they are there, and nothing is made of a mistyped path.

It knows URLs and that SQLite's are files; what is in a database, the store knows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from cloaca.errors import RunNotFound, StoreUnavailable
from cloaca.ports import Store
from cloaca.runner import open_store, url_of

LARGEST_ID = 2**63 - 1


@asynccontextmanager
async def opened(database: str | None, *, read_only: bool = False) -> AsyncIterator[Store]:
    """Yield the store of a database that exists; with ``read_only`` nothing at all is written to open it.

    Raises:
        InvalidDatabaseUrl: ``database`` is no URL that cloaca runs on.
        StoreUnavailable: there is no such file, or nothing of cloaca's in it.
        StoreError: it can't be opened.
    """
    url = url_of(database)
    store = open_store(url)
    path = getattr(store, "path", None)
    if isinstance(path, Path):
        _check_file(path)
    elif read_only and not await store.is_made():  # type: ignore[attr-defined]  # PostgreSQL's
        raise StoreUnavailable("the database has no tables of cloaca's: choose another")
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def _check_file(path: Path) -> None:
    if not path.exists():
        raise StoreUnavailable(f"there is no database {path}: choose another path; a run that is started makes it")
    if _has_no_runs(path):
        raise StoreUnavailable(f"{path} has no tables of cloaca's: choose another file")


def _has_no_runs(path: Path) -> bool:
    """Whether a readable SQLite file lacks cloaca's tables; False in doubt, for the store to say what is wrong."""
    query = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'cloaca\\_%' ESCAPE '\\'"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return not connection.execute(query).fetchone()[0]
    except sqlite3.Error:
        return False


def shown_database(database: str | None) -> str:
    """Return the URL of a database that is open, without what nobody should see of it.

    >>> shown_database("sqlite:///orders.db")
    'sqlite:///orders.db'
    """
    url = url_of(database)
    if not url.startswith("postgres"):
        return url
    from cloaca.stores.sql.postgres_failures import shown  # noqa: PLC0415 - its driver is an extra

    return shown(url)


def run_number(run_id: str) -> int:
    """Return a run's id as the store knows it. Raises RunNotFound.

    >>> run_number("7530131589642765745")
    7530131589642765745
    """
    digits = run_id.isascii() and run_id.isdigit() and len(run_id) <= len(str(LARGEST_ID))
    if not digits or int(run_id) > LARGEST_ID:
        raise RunNotFound(f'"{run_id:.40}" is no run\'s id: an id is a number')
    return int(run_id)
