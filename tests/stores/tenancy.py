"""A PostgreSQL database of its own for tests of tenants: roles are of the whole server, and are gone after the test."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg

numbers = itertools.count(1)


def named(url: str, database: str) -> str:
    """Return the URL of another database of the same server."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, f"/{database}", parts.query, ""))


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A plain connection, as any program would have it."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def a_database(server: str) -> AsyncIterator[str]:
    """The URL of a new database, dropped afterwards with its tenants and their roles."""
    name = f"tenants_{os.getpid()}_{next(numbers)}"
    async with connected(server) as admin:
        await admin.execute(f"CREATE DATABASE {name}")
        url = named(server, name)
        try:
            yield url
        finally:
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
            roles = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'cloaca\\_%' ESCAPE '\\' AND NOT rolsuper"
            for (role,) in await admin.fetch(roles):
                if await of_nobody(admin, role):
                    await admin.execute(f'DROP ROLE IF EXISTS "{role}"')


async def of_nobody(admin: asyncpg.Connection[asyncpg.Record], role: str) -> bool:
    """Whether no database has anything of a role's."""
    return not await admin.fetch(
        "SELECT 1 FROM pg_shdepend WHERE refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)", role
    )
