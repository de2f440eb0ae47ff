"""Tenants of a SQLite database: a file for each, beside the database's own. Whoever may open the file is the tenant.

It knows files of cloaca's and who works on them, not what is in them.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final, TypeAlias

from cloaca.errors import ForeignDatabase, UnknownTenant
from cloaca.stores.sql import queries
from cloaca.stores.sql.connections import connect, transaction
from cloaca.stores.sql.failures import translated
from cloaca.stores.sql.locks import LockFile
from cloaca.stores.sql.sqlite import SqliteStore
from cloaca.stores.tenant_names import file_of, in_use, tenants_beside

Found: TypeAlias = list[tuple[str, str, str | None]]

META: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'cloaca_meta'"
BESIDE: Final = ("-wal", "-shm", "-journal", "-lock", "")  # the database last: while it is there, so is the tenant


class SqliteTenants:
    """The tenants of the SQLite file at ``path``, which need not be there itself."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    async def create(self, tenant: str) -> None:
        """Make a tenant's file with its tables, if they are not there yet."""
        store = SqliteStore(file_of(self.path, tenant))
        try:
            await store.open()
        finally:
            await store.close()

    async def list(self, tenant: str | None = None) -> Found:
        """Return the name and the file of each tenant, or of one: files that have cloaca's tables."""
        return await asyncio.to_thread(self._list, tenant)

    async def drop(self, tenant: str, *, force: bool) -> None:
        """Delete a tenant's file, and those that belong to it."""
        await asyncio.to_thread(self._drop, tenant, force)

    async def credentials(self, tenant: str, *, rotate: bool) -> None:
        """Nobody logs in to a file. Raises UnknownTenant."""
        del rotate
        await asyncio.to_thread(self._known, tenant)

    def _list(self, tenant: str | None) -> Found:
        found = tenants_beside(self.path)
        return [(name, str(path), None) for name, path in found if tenant in (None, name) and _is_ours(path)]

    def _drop(self, tenant: str, force: bool) -> None:
        path = self._known(tenant)
        with translated(path), closing(connect(path)) as driver, transaction(driver, "BEGIN EXCLUSIVE"):
            live = 0 if force else _live(driver, path)
        if live:
            raise in_use(tenant, live)
        with translated(path):
            for ending in BESIDE:
                path.with_name(path.name + ending).unlink(missing_ok=True)

    def _known(self, tenant: str) -> Path:
        path = file_of(self.path, tenant)
        if not path.is_file():
            raise UnknownTenant(f'no tenant is named "{tenant}" here: there is no file {path}')
        if not _is_ours(path, read_only=False):
            raise ForeignDatabase(f"{path} is no database of cloaca's: it is no tenant, and is not deleted")
        return path


def _is_ours(path: Path, *, read_only: bool = True) -> bool:
    try:
        with closing(connect(path, read_only=read_only)) as driver:
            return driver.execute(META).fetchone() is not None
    except sqlite3.DatabaseError:
        return False


def _live(driver: sqlite3.Connection, path: Path) -> int:
    """Count the workers whose lease runs and whose process is not known to be gone."""
    locks = LockFile(path.resolve())
    try:
        return sum(not _is_dead(locks, lease) for lease in queries.leases(driver) if lease.until >= time.time())
    finally:
        locks.close()


def _is_dead(locks: LockFile, lease: queries.Lease) -> bool:
    shows = lease.lock_file is not None and lease.lock_file == locks.identity
    return shows and locks.is_dead(lease.session)
