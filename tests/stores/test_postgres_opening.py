"""Opening a PostgreSQL database: it is made once, and what is not ours, too new or wrong is refused with its reason."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from cloaca.errors import CorruptDatabase, DatabaseTooNew, ForeignDatabase, InvalidDatabaseUrl, StoreUnavailable
from cloaca.runner.databases import open_store
from cloaca.stores.sql import postgres_schema
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.postgres_failures import shown
from cloaca.stores.sql.revisions import last
from cloaca.stores.sql.tables import Table
from tests.stores.asynchronous import asynchronous
from tests.stores.rows import status_of, waiting


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close()


async def run(url: str, statement: str, schema: str) -> None:
    """Execute a statement, in which ``{schema}`` is a schema's name."""
    quoted = '"' + schema.replace('"', '""') + '"'
    async with connected(url) as connection:
        await connection.execute(statement.replace("{schema}", quoted))


@asynchronous
async def test_many_that_open_a_new_database_at_once_make_it_once(postgres: str, schema: str) -> None:
    stores = [PostgresStore(postgres, schema=schema) for _ in range(16)]
    await asyncio.gather(*(store.open() for store in stores))
    await waiting(stores[0], 1)
    assert {await status_of(store, 1) for store in stores} == {"pending"}
    await asyncio.gather(*(store.close() for store in stores))


@asynchronous
async def test_schemas_know_nothing_of_each_other(postgres: str, schema: str) -> None:
    first, second = PostgresStore(postgres, schema=schema), PostgresStore(postgres, schema=schema.upper())
    for store in (first, second):
        await store.open()
    await waiting(first, 1)
    session = await second.open_session("here", 0.0, 60.0)
    assert not (await second.poll(session, ["orders"], 0.0)).claimable
    assert await status_of(second, 1) is None
    for store in (first, second):
        await store.close()
    await run(postgres, "DROP SCHEMA {schema} CASCADE", schema.upper())


@pytest.mark.parametrize("name", ["", "pg_mine", "x" * 51, "a\0b"])
def test_a_name_that_can_be_no_schemas_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="can't be a schema's name"):
        PostgresStore("postgresql://localhost/db", schema=name)


FOREIGN = [
    "CREATE SCHEMA {schema}; CREATE TABLE {schema}.cloaca_run (x int)",
    "CREATE SCHEMA {schema}; CREATE VIEW {schema}.cloaca_meta AS SELECT 1 AS one",
    "CREATE SCHEMA {schema}; CREATE TABLE {schema}.cloaca_meta (id int, schema_version text)",
    "CREATE SCHEMA {schema}; CREATE TABLE {schema}.cloaca_meta (id text, schema_version int)",
]


@pytest.mark.parametrize("statement", FOREIGN)
@asynchronous
async def test_tables_of_others_are_left_alone(postgres: str, schema: str, statement: str) -> None:
    await run(postgres, statement, schema)
    store = PostgresStore(postgres, schema=schema)
    with pytest.raises(ForeignDatabase, match="cloaca did not make"):
        await store.open()
    async with connected(postgres) as connection:
        count = "SELECT count(*) FROM pg_tables WHERE schemaname = $1"
        assert await connection.fetchval(count, schema) <= 1
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.run(1)


@asynchronous
async def test_other_tables_in_the_schema_are_no_reason_to_refuse(postgres: str, schema: str) -> None:
    await run(postgres, "CREATE SCHEMA {schema}; CREATE TABLE {schema}.orders (x int)", schema)
    store = PostgresStore(postgres, schema=schema)
    await store.open()
    await store.close()


@asynchronous
async def test_a_database_that_is_too_new_or_not_whole_is_refused(postgres: str, schema: str) -> None:
    store = PostgresStore(postgres, schema=schema)
    await store.open()
    await store.close()
    await run(postgres, f"UPDATE {{schema}}.cloaca_meta SET schema_version = {int(last()) + 1}", schema)
    with pytest.raises(DatabaseTooNew, match="upgrade cloaca here"):
        await store.open()
    await run(postgres, f"UPDATE {{schema}}.cloaca_meta SET schema_version = {int(last())}", schema)
    await run(postgres, "DROP TABLE {schema}.cloaca_note", schema)
    with pytest.raises(CorruptDatabase, match="lacks the table cloaca_note"):
        await store.open()


@asynchronous
async def test_the_tables_are_those_of_sqlite(postgres: str, schema: str) -> None:
    store = PostgresStore(postgres, schema=schema)
    await store.open()
    await store.close()
    query = "SELECT table_name, column_name FROM information_schema.columns NATURAL JOIN information_schema.tables "
    query += "WHERE table_schema = $1 AND table_type = 'BASE TABLE'"
    async with connected(postgres) as connection:
        found = {tuple(row) for row in await connection.fetch(query, schema)}
    wanted = {(table.name, column.name) for table in Table.metadata.sorted_tables for column in table.columns}
    assert found == wanted | {("cloaca_version", "version_num")}


def with_database(url: str, name: str) -> str:
    return url.replace("/postgres?", f"/{name}?") if "/postgres?" in url else f"{url.rpartition('/')[0]}/{name}"


@asynchronous
async def test_a_database_that_is_not_there_is_named(postgres: str) -> None:
    with pytest.raises(StoreUnavailable, match="create it first"):
        await PostgresStore(with_database(postgres, "nowhere")).open()


@asynchronous
async def test_an_encoding_that_lacks_characters_is_refused(postgres: str) -> None:
    name = "cloaca_test_latin"
    made = f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'"
    async with connected(postgres) as connection:
        await connection.execute(made)
        with pytest.raises(StoreUnavailable, match="ENCODING 'UTF8'"):
            await PostgresStore(with_database(postgres, name)).open()
        await connection.execute(f"DROP DATABASE {name}")


@asynchronous
async def test_a_server_that_is_too_old_is_refused(postgres: str, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_schema, "OLDEST", 99)
    with pytest.raises(StoreUnavailable, match="needs PostgreSQL 99"):
        await PostgresStore(postgres, schema=schema).open()


@asynchronous
async def test_a_role_needs_no_more_rights_than_its_schema(postgres: str, schema: str) -> None:
    if "cloaca@" not in postgres:
        pytest.skip("the roles of a server that is given are not touched")
    url = postgres.replace("cloaca@", "limited@")
    await run(postgres, "CREATE ROLE limited LOGIN", schema)
    with pytest.raises(StoreUnavailable, match="grant this role the right"):
        await PostgresStore(url, schema=schema).open()
    await run(postgres, "CREATE SCHEMA {schema} AUTHORIZATION limited", schema)
    store = PostgresStore(url, schema=schema)
    await store.open()
    await waiting(store, 1)
    await store.close()
    await run(postgres, "DROP SCHEMA {schema} CASCADE; DROP ROLE limited", schema)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:s3cret@localhost:1/db",
        "postgresql://user:s3cret@localhost:port/db",
        "postgres://user:s3cret#x@localhost:1/db",
        "postgresql://user:s3cret?x@localhost/db",
        "postgresql://user:x/s3cret@localhost:1/db",
        "postgresql://user:s3cret@@localhost:1/db",
        "postgresql://localhost:1/db?password=s3cret",
        "postgresql://localhost:1/db?password=s3cret@x",
        "postgresql://user:s3cret",
        "postgresql://user:s3cret@[::1/db",
        "postgresql://user:s3cret@localhost:1/db?sslmode=s3cret",
    ],
)
@asynchronous
async def test_no_message_shows_a_password(url: str) -> None:
    store = open_store(url)
    assert "s3cret" not in repr(store)
    with pytest.raises((StoreUnavailable, InvalidDatabaseUrl)) as refused:
        await store.open()
    told = "".join(traceback.format_exception_only(refused.value)) + str(refused.value.__cause__ or "")
    assert "s3cret" not in told
    assert "s3cret" not in shown(url)


@pytest.mark.parametrize("url", ["postgresql+psycopg://u:s3cret@h/d", "mysql://u:s3cret@h/d"])
def test_other_databases_are_refused_without_their_password(url: str) -> None:
    with pytest.raises(InvalidDatabaseUrl, match="postgresql://user:password@host/database") as refused:
        open_store(url)
    assert "s3cret" not in str(refused.value)


def test_without_its_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("cloaca.stores.sql.postgres")]:
        monkeypatch.delitem(sys.modules, module)
    for module in [name for name in sys.modules if name.startswith("asyncpg")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    monkeypatch.delattr("cloaca.stores.sql.postgres", raising=False)
    with pytest.raises(StoreUnavailable, match=r"pip install 'cloaca\[postgres\]'"):
        open_store("postgresql://localhost/db")
