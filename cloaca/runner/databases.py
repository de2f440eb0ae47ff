"""Database URLs: which database a program means, and the store that runs on it.

It loads the store of a URL only when it is asked for, so that importing cloaca loads no SQL.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cloaca.errors import InvalidDatabaseUrl, StoreUnavailable
from cloaca.ports import Store, TenantStore
from cloaca.stores.tenant_names import checked_tenant, file_of

if TYPE_CHECKING:
    from cloaca.stores.sql.upkeep import Upkeep

DEFAULT_DATABASE = "sqlite:///cloaca.db"


def url_of(database: str | Path | None) -> str:
    """Return the URL that a program means: as given, a path as a SQLite file, the environment's, or the default."""
    if database is None:
        return os.environ.get("CLOACA_DATABASE_URL") or DEFAULT_DATABASE
    if isinstance(database, Path):
        return f"sqlite:///{database}"
    if not isinstance(database, str):
        raise InvalidDatabaseUrl(f"{database!r} is no database URL and no path; write sqlite:///orders.db")
    return database


class TenantUrl(str):
    """A database's URL, and the tenant in it that is meant: what one string can't say."""

    __slots__ = ("tenant",)
    tenant: str

    @classmethod
    def of(cls, database: str, tenant: str) -> TenantUrl:
        """Return a URL with a tenant. Raises InvalidTenant."""
        made = cls(database)
        made.tenant = checked_tenant(tenant)
        return made


def open_store(database: str, tenant: str | None = None) -> Store:
    """Return the store of a database URL, or of a tenant in that database, not opened yet.

    Raises:
        InvalidDatabaseUrl: it is none of a database that cloaca runs on.
        InvalidTenant: no tenant can have that name.
        StoreUnavailable: it needs a driver that is not installed.
    """
    tenant = tenant_of(database, tenant)
    path = file_at(database)
    if path is not None:
        from cloaca.stores.sql.sqlite import SqliteStore  # noqa: PLC0415 - SQL is loaded when a database is opened

        return SqliteStore(path if tenant is None else file_of(path, tenant))
    if is_postgres(database):
        return _postgres(str(database), tenant)
    if database == "memory://":
        from cloaca.stores.memory import MemoryStore  # noqa: PLC0415 - only tests need it

        return MemoryStore()
    raise not_ours(database)


def tenant_of(database: str, tenant: str | None = None) -> str | None:
    """Return the tenant that is meant, if one is: as given, else that of the URL. Raises InvalidTenant."""
    if tenant is None:
        return database.tenant if isinstance(database, TenantUrl) else None
    return checked_tenant(tenant)


def open_tenants(database: str) -> TenantStore:
    """Return the tenants of a database. Raises InvalidDatabaseUrl, StoreUnavailable as ``open_store``."""
    path = file_at(database)
    if path is not None:
        from cloaca.stores.sql.sqlite_tenants import SqliteTenants  # noqa: PLC0415 - as in open_store

        return SqliteTenants(path)
    if is_postgres(database):
        with driver_wanted():
            from cloaca.stores.sql.postgres_tenants import PostgresTenants  # noqa: PLC0415 - as above
        return PostgresTenants(str(database))
    if database == "memory://":
        raise InvalidDatabaseUrl("memory:// has no tenants to look after: each runner on it has a memory of its own")
    raise not_ours(database)


def file_at(database: str) -> Path | None:
    """Return the SQLite file that a URL names, None if it names none."""
    scheme, separator, rest = str(database).partition("://")
    is_file = rest.startswith("/") and rest[1:] not in ("", ":memory:") and "\0" not in rest
    return Path(rest[1:]) if separator and scheme == "sqlite" and is_file else None


def is_postgres(database: str) -> bool:
    """Whether a URL is one of PostgreSQL's."""
    scheme, separator, _ = database.partition("://")
    return bool(separator) and scheme in ("postgresql", "postgres")


def not_ours(database: str) -> InvalidDatabaseUrl:
    """Return the error for a URL of no database that cloaca runs on."""
    scheme = database.partition("://")[0]
    shown = f"{scheme}://..." if "@" in database else repr(str(database))  # what is before it may be a password
    return InvalidDatabaseUrl(
        f"{shown} is no database that cloaca runs on: write sqlite:///orders.db for a file here, "
        "sqlite:////var/lib/orders.db for an absolute path, postgresql://user:password@host/database, "
        "or memory:// for a test that may lose everything"
    )


def open_upkeep(database: str) -> Upkeep:
    """Return who looks after the tables of a database: all its schemas or files, or those of the tenant that is meant.

    Raises:
        InvalidDatabaseUrl: it is no URL of a database that has tables.
        StoreUnavailable: it needs a driver that is not installed.
    """
    path, tenant = file_at(database), tenant_of(database)
    if path is not None:
        from cloaca.stores.sql.sqlite_upkeep import SqliteUpkeep  # noqa: PLC0415 - it loads alembic

        return SqliteUpkeep(path if tenant is None else file_of(path, tenant))
    if is_postgres(database):
        with driver_wanted():
            from cloaca.stores.sql.postgres_upkeep import PostgresUpkeep  # noqa: PLC0415 - as above
        return PostgresUpkeep(str(database), schema=tenant)
    if database == "memory://":
        raise InvalidDatabaseUrl("memory:// has no tables to look after")
    raise not_ours(database)


def _postgres(database: str, tenant: str | None) -> Store:
    with driver_wanted():
        from cloaca.stores.sql.postgres import PostgresStore  # noqa: PLC0415 - as above; and its driver is an extra
        from cloaca.stores.sql.postgres_pools import pool_of  # noqa: PLC0415 - as above
    if tenant is None:
        return PostgresStore(database)
    return PostgresStore(database, schema=tenant, pool=partial(pool_of, database))


@contextmanager
def driver_wanted() -> Iterator[None]:
    """Import what needs PostgreSQL's driver. Raises StoreUnavailable if it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise StoreUnavailable("PostgreSQL needs a driver: pip install 'cloaca[postgres]'") from None
