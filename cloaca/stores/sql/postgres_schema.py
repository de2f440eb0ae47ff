"""Whose tables a PostgreSQL schema has: none, ours, somebody else's, or those of a newer release; and making them.

Those who open a new database at once stand in line by a lock that ends with the transaction. What the tables are is
said in ``tables``.
"""

from __future__ import annotations

import time

import asyncpg
from sqlalchemy import MetaData
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.schema import CreateIndex, CreateTable

from cloaca.errors import CorruptDatabase, DatabaseTooNew, ForeignDatabase, StoreUnavailable
from cloaca.stores.sql import views
from cloaca.stores.sql.postgres_links import Link, transaction
from cloaca.stores.sql.tables import SCHEMA, Table

OLDEST = 12
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))"
HAS_SCHEMA = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = ?"
NAMES = (
    "SELECT c.relname FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
    "WHERE n.nspname = ? AND c.relname LIKE 'cloaca\\_%' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"
)
ENCODING = "SELECT current_setting('server_encoding')"
VERSION = "SELECT schema_version FROM {schema}.cloaca_meta WHERE id = 1"
NEW_META = "INSERT INTO {schema}.cloaca_meta (id, schema_version, created_at) VALUES (1, ?, ?)"


async def create(link: Link, place: str) -> None:
    """Make schema and tables if they are not there yet. Raises if they are not ours, not whole, or too new."""
    _refuse_version(link, place)
    if await has_tables(link, place):
        return
    await _refuse_encoding(link, place)
    async with transaction(link):
        await link.ask(LOCK, link.names.channel)
        if not await has_tables(link, place):
            await _make(link)


async def has_tables(link: Link, place: str) -> bool:
    """Return whether our tables are there. Raises if they are not ours, not whole, or newer than this code."""
    found = {row[0] for row in await link.ask(NAMES, link.names.plain)}
    if not found:
        return False
    version = await _version(link) if "cloaca_meta" in found else None
    where = f"schema {link.names.schema} of {place}"
    if version is None:
        raise ForeignDatabase(
            f"{where} has tables that cloaca did not make ({', '.join(sorted(found))}): choose another database"
        )
    if version > SCHEMA:
        raise DatabaseTooNew(
            f"{where} was written by a newer release of cloaca (schema {version}, this one knows {SCHEMA}): "
            "upgrade cloaca here; the database was not changed"
        )
    absent = sorted(Table.metadata.tables.keys() - found)
    if version == SCHEMA and absent:
        raise CorruptDatabase(f"{where} lacks the table {absent[0]}: restore it from a backup")
    return True


async def _version(link: Link) -> int | None:
    """Return the schema's number as the database has it, None if it has none."""
    try:
        rows = await link.ask(VERSION)
    except (asyncpg.UndefinedColumnError, asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError):
        return None
    return rows[0][0] if rows and isinstance(rows[0][0], int) else None


def _refuse_version(link: Link, place: str) -> None:
    version = link.connection.get_server_version()
    if version.major < OLDEST:
        raise StoreUnavailable(
            f"{place} runs on PostgreSQL {version.major}: cloaca needs PostgreSQL {OLDEST} or a newer one"
        )


async def _refuse_encoding(link: Link, place: str) -> None:
    [(encoding,)] = await link.ask(ENCODING)
    if encoding != "UTF8":
        raise StoreUnavailable(
            f"{place} can't hold every text (its encoding is {encoding}): create a database with ENCODING 'UTF8'"
        )


async def _make(link: Link) -> None:
    if not await link.ask(HAS_SCHEMA, link.names.plain):  # even IF NOT EXISTS needs the right to create one
        await link.ask("CREATE SCHEMA {schema}")
    for statement in [*statements(link.names.plain), *views.statements(views.postgres(link.names.plain))]:
        await link.connection.execute(statement)
    await link.ask(NEW_META, SCHEMA, time.time())


def statements(schema: str) -> list[str]:
    """Return the statements that make the tables and their indexes."""
    dialect = PGDialect()  # type: ignore[no-untyped-call]  # SQLAlchemy says no types here
    metadata = MetaData()
    tables = [table.to_metadata(metadata, schema=schema) for table in Table.metadata.sorted_tables]
    made = [str(CreateTable(table).compile(dialect=dialect)) for table in tables]
    return made + [str(CreateIndex(index).compile(dialect=dialect)) for table in tables for index in table.indexes]
