"""Database URLs: which database a program means, and the store that runs on it.

It loads the store of a URL only when it is asked for, so that importing cloaca loads no SQL.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cloaca.errors import InvalidDatabaseUrl, StoreUnavailable
from cloaca.ports import Store

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


def open_store(database: str) -> Store:
    """Return the store of a database URL, not opened yet.

    Raises:
        InvalidDatabaseUrl: it is none of a database that cloaca runs on.
        StoreUnavailable: it needs a driver that is not installed.
    """
    scheme, separator, rest = database.partition("://")
    is_file = rest.startswith("/") and rest[1:] not in ("", ":memory:") and "\0" not in rest
    if separator and scheme == "sqlite" and is_file:
        from cloaca.stores.sql.sqlite import SqliteStore  # noqa: PLC0415 - SQL is loaded when a database is opened

        return SqliteStore(rest[1:])
    if separator and scheme in ("postgresql", "postgres"):
        return _postgres(database)
    if database == "memory://":
        from cloaca.stores.memory import MemoryStore  # noqa: PLC0415 - only tests need it

        return MemoryStore()
    shown = f"{scheme}://..." if "@" in database else repr(database)  # what is before it may be a password
    raise InvalidDatabaseUrl(
        f"{shown} is no database that cloaca runs on: write sqlite:///orders.db for a file here, "
        "sqlite:////var/lib/orders.db for an absolute path, postgresql://user:password@host/database, "
        "or memory:// for a test that may lose everything"
    )


def open_upkeep(database: str) -> Upkeep:
    """Return who looks after the tables of a database: all its schemas, or the file and those of tenants beside it.

    Raises:
        InvalidDatabaseUrl: it is no URL of a database that has tables.
        StoreUnavailable: it needs a driver that is not installed.
    """
    store = open_store(database)
    path = getattr(store, "path", None)
    if isinstance(path, Path):
        from cloaca.stores.sql.sqlite_upkeep import SqliteUpkeep  # noqa: PLC0415 - it loads alembic

        return SqliteUpkeep(path)
    if database == "memory://":
        raise InvalidDatabaseUrl("memory:// has no tables to look after")
    from cloaca.stores.sql.postgres_upkeep import PostgresUpkeep  # noqa: PLC0415 - as above

    return PostgresUpkeep(database)


def _postgres(database: str) -> Store:
    try:
        from cloaca.stores.sql.postgres import PostgresStore  # noqa: PLC0415 - as above; and its driver is an extra
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise StoreUnavailable("PostgreSQL needs a driver: pip install 'cloaca[postgres]'") from None
    return PostgresStore(database)
