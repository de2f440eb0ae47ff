"""Databases to look at: opened only if they are there, as they are; nothing is made of a mistyped path.

It knows URLs and that SQLite's are files; what is in a database, the store knows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Protocol, runtime_checkable

from cloaca.encryption import Encryption
from cloaca.errors import RunNotFound, StoreUnavailable, UnknownTenant
from cloaca.ports import Store
from cloaca.runner import open_store, url_of
from cloaca.runner.databases import TenantUrl, is_postgres, open_tenants
from cloaca.runner.sealing import sealing

LARGEST_ID = 2**63 - 1


@runtime_checkable
class Upgrading(Protocol):
    """A store that makes or upgrades its tables when it is opened, if ``upgrades`` says so."""

    upgrades: bool


@asynccontextmanager
async def opened(database: str | None) -> AsyncIterator[Store]:
    """Yield the store of a database that exists and is up to date: no table is made or changed.

    Raises:
        InvalidDatabaseUrl: ``database`` is no URL that cloaca runs on.
        StoreUnavailable: there is no such file, or nothing of cloaca's in it.
        DatabaseTooOld: nobody has upgraded it to this release yet.
        StoreError: it can't be opened.
    """
    url = url_of(database)
    store = open_store(url)
    if isinstance(store, Upgrading):
        store.upgrades = False
    path = getattr(store, "path", None)
    if isinstance(path, Path):
        _check_file(path)
    await _check_tenant(url)
    await store.open()
    try:
        yield sealing(store, Encryption.from_environment())
    finally:
        await store.close()


async def _check_tenant(url: str) -> None:
    """Refuse a tenant that is not there: opening its store would make its tables."""
    if isinstance(url, TenantUrl) and is_postgres(url) and not await open_tenants(url).list(url.tenant):
        raise UnknownTenant(f'no tenant is named "{url.tenant}" in {shown_database(str(url))}')


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
    tenant = f", tenant {url.tenant}" if isinstance(url, TenantUrl) else ""
    if not is_postgres(url):
        return f"{url}{tenant}"
    from cloaca.stores.sql.postgres_failures import shown  # noqa: PLC0415 - its driver is an extra

    return f"{shown(url)}{tenant}"


def run_number(run_id: str) -> int:
    """Return a run's id as the store knows it. Raises RunNotFound.

    >>> run_number("7530131589642765745")
    7530131589642765745
    """
    digits = run_id.isascii() and run_id.isdigit() and len(run_id) <= len(str(LARGEST_ID))
    if not digits or int(run_id) > LARGEST_ID:
        raise RunNotFound(f'"{run_id:.40}" is no run\'s id: an id is a number')
    return int(run_id)
