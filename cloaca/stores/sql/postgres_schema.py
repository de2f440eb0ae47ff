"""Whose tables a PostgreSQL schema has, looked at before anything is changed; and having them made.

Where a schema stands is decided in ``standing``, what is done about it in ``migrating``, which is loaded only then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg

from cloaca.errors import StoreUnavailable
from cloaca.stores.sql.postgres_links import Link, Row
from cloaca.stores.sql.standing import Found, Standing, refuse_unless_current, standing

OLDEST = 12
NAMES = (
    "SELECT c.relname FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
    "WHERE n.nspname = ? AND c.relname LIKE 'cloaca\\_%' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"
)
VERSION = "SELECT max(version_num::text) FROM {schema}.cloaca_version"
OLDEST_CODE = "SELECT max(schema_version) FROM {schema}.cloaca_meta WHERE id = 1"
LOOK = f"SELECT ({VERSION}), ({OLDEST_CODE}), ARRAY({NAMES.replace('c.relname FROM', 'c.relname::text FROM')})"
ENCODING = "SELECT current_setting('server_encoding')"
ABSENT = (asyncpg.UndefinedColumnError, asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError)


async def make(link: Link, place: str, connect: Callable[[], Awaitable[Link]]) -> None:
    """Make schema and tables, or bring them to this release's revision: one statement, if they are at it.

    ``connect`` makes a connection on which a statement may take long. Raises if the tables are not ours, not whole, or
    too new.
    """
    refuse_version(link, place)
    where = where_of(link, place)
    if standing(await look(link), where) is Standing.CURRENT:
        return
    from cloaca.stores.sql.postgres_migrating import upgrade  # noqa: PLC0415 - it loads alembic

    await refuse_encoding(link, place)
    await upgrade(connect, where)


async def check(link: Link, place: str) -> None:
    """Refuse a schema whose tables are not those of this release."""
    refuse_version(link, place)
    refuse_unless_current(await look(link), where_of(link, place))


def where_of(link: Link, place: str) -> str:
    """Return how messages name a schema."""
    return f"schema {link.names.schema} of {place}"


async def look(link: Link) -> Found:
    """Return what of ours is in a schema: one statement, if its tables have a revision."""
    whole = await _asked(link, LOOK, link.names.plain)
    if whole is not None:
        return Found(frozenset(whole[2]), whole[0], _number(whole[1]))
    return await look_closely(link)


async def look_closely(link: Link) -> Found:
    """Return the same by three statements, none of which asks for a table that is not there."""
    names = frozenset(row[0] for row in await link.ask(NAMES, link.names.plain))
    revision = await _asked(link, VERSION) if "cloaca_version" in names else None
    oldest = await _asked(link, OLDEST_CODE) if "cloaca_meta" in names else None
    return Found(names, revision[0] if revision else None, _number(oldest[0]) if oldest else None)


async def _asked(link: Link, question: str, *values: object) -> Row | None:
    """Return one row; None where it can't be asked because a table or a column is missing."""
    try:
        return (await link.ask(question, *values))[0]
    except ABSENT:
        return None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def refuse_version(link: Link, place: str) -> None:
    """Refuse a server that is too old."""
    version = link.connection.get_server_version()
    if version.major < OLDEST:
        raise StoreUnavailable(
            f"{place} runs on PostgreSQL {version.major}: cloaca needs PostgreSQL {OLDEST} or a newer one"
        )


async def refuse_encoding(link: Link, place: str) -> None:
    """Refuse a database that can't hold every text."""
    [(encoding,)] = await link.ask(ENCODING)
    if encoding != "UTF8":
        raise StoreUnavailable(
            f"{place} can't hold every text (its encoding is {encoding}): create a database with ENCODING 'UTF8'"
        )
