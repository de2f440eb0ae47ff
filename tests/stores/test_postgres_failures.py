"""What goes wrong while a PostgreSQL database is open: it has a name, leaves nothing behind, and does not last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from cloaca.errors import CorruptDatabase, StoreError, StoreUnavailable
from cloaca.ports import Batch
from cloaca.stores.sql import postgres_links
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.postgres_failures import named
from cloaca.stores.sql.postgres_links import Link, Links, transaction
from tests.stores.asynchronous import asynchronous
from tests.stores.rows import AT, FAR, PLAN, end, failure, new_run, owned, session_of, status_of, task, waiting


@asynccontextmanager
async def opened(url: str, schema: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(url, schema=schema)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def end_connections(store: PostgresStore, url: str) -> None:
    """Have the server end all connections of a store, as when it is started again."""
    pids = [
        link.connection.get_server_pid()
        for links in (store._commits, store._requests)
        for link in (links._idle if isinstance(links, Links) else [])
    ]
    connection = await asyncpg.connect(url, statement_cache_size=0)
    for pid in pids:
        await connection.execute(f"SELECT pg_terminate_backend({pid}, 5000)")
    await connection.close()


@asynchronous
async def test_connections_that_the_server_ends_are_replaced(postgres: str, schema: str) -> None:
    async with opened(postgres, schema) as store:
        session = await session_of(store)
        await owned(store, session, 1)
        for run in range(2, 5):
            await end_connections(store, postgres)
            await asyncio.sleep(0)  # the news is on its way
            assert await status_of(store, 1) == "running"
            batch = Batch(session, runs=[new_run(run, owner=session)])
            try:
                await store.transact(batch)
            except StoreUnavailable:
                batch.replay = True
                await store.transact(batch)
            assert await status_of(store, run) == "running"


@asynchronous
async def test_a_lock_that_stays_is_named_and_what_comes_later_works(
    postgres: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_links, "STATEMENT_TIMEOUT_S", 0.2)
    async with opened(postgres, schema) as store:
        session = await session_of(store)
        await owned(store, session, 1)
        batch = Batch(session, AT, FAR, tasks=[task(1)], ends=[end(1)])
        foreign = await asyncpg.connect(postgres, statement_cache_size=0)
        async with foreign.transaction():
            await foreign.execute(f"LOCK TABLE {store._names.schema}.cloaca_task")
            with pytest.raises(StoreUnavailable):
                await store.transact(batch)
            assert await status_of(store, 1) == "running"
        await foreign.close()
        batch.replay = True
        assert (await store.transact(batch)).disowned == frozenset()
        assert await status_of(store, 1) == "succeeded"


@asynchronous
async def test_a_call_that_is_given_up_leaves_nothing_behind(postgres: str, schema: str) -> None:
    async with opened(postgres, schema) as store:
        session = await session_of(store)
        await waiting(store, *range(1, 30))
        for run in range(1, 30):
            claim = asyncio.create_task(store.claim(session, ["orders"], 1, AT, suspects=False))
            await asyncio.sleep(run * 0.0002)
            claim.cancel()
            await asyncio.wait([claim])
        rows = await store.runs(workflow=None, status=None, before=None, limit=50)
        assert {(row.status, row.owner) for row in rows} <= {("running", session), ("pending", None)}
        await store.close_session(session, at=AT)
        other = await session_of(store)
        assert len(await store.claim(other, ["orders"], 50, AT, suspects=False)) == 29
        await store.transact(Batch(other, ends=[end(run) for run in range(1, 30)]))


@asynchronous
async def test_a_store_can_be_closed_while_it_is_asked(postgres: str, schema: str) -> None:
    async with opened(postgres, schema) as store:
        asked = [asyncio.create_task(store.run(1)) for _ in range(10)]
        await asyncio.sleep(0.001)
        await store.close()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert all(answer is None or isinstance(answer, StoreUnavailable) for answer in answers)


BAD: dict[str, dict[str, Any]] = {
    "half a character": {"input": '"\ud800"'},
    "NUL": {"input": "a\0b"},
    "a key with NUL": {"key": "a\0b"},
    "a huge number": {"id": 2**63},
    "no text": {"workflow": object()},
    "no number": {"created_at": "soon"},
    "nothing": {"version": None},
}


@pytest.mark.parametrize("case", BAD)
@asynchronous
async def test_a_value_that_can_not_be_stored_is_refused(postgres: str, schema: str, case: str) -> None:
    async with opened(postgres, schema) as store:
        session = await session_of(store)
        await owned(store, session, 1)
        batch = Batch(session, tasks=[task(1)], runs=[new_run(2)._replace(**BAD[case])], ends=[end(1)])
        for asked in (store.transact(batch), store.submit(PLAN, batch.runs[0])):
            with pytest.raises(StoreError) as refused:
                await asked
            assert not isinstance(refused.value, StoreUnavailable)  # to try again would be in vain
            assert ("NUL character" in str(refused.value)) == ("NUL" in case)
        assert await status_of(store, 1) == "running"
        assert len(await store.runs(workflow=None, status=None, before=None, limit=5)) == 1


@asynchronous
async def test_nul_in_json_is_text_like_any_other(postgres: str, schema: str) -> None:
    payload = '{"text":"\\u0000 \\ud800"}'
    async with opened(postgres, schema) as store:
        session = await session_of(store)
        await owned(store, session, 1, input=payload)
        batch = Batch(session, tasks=[task(1, output=payload)], failures=[failure(1, error=payload)])
        await store.transact(batch)
        history = await store.history(1)
        assert history is not None
        assert (history.run.input, history.tasks, history.failures) == (payload, batch.tasks, batch.failures)


@asynchronous
async def test_tables_that_vanish_are_no_reason_to_hang(postgres: str, schema: str) -> None:
    async with opened(postgres, schema) as store:
        await store._ask(lambda link: link.ask("DROP TABLE {schema}.cloaca_run CASCADE"))
        for asked in (store.run(1), store.cancel(1, AT)):
            with pytest.raises(StoreError, match="does not exist"):
                await asked


DEADLOCKS = """
CREATE SEQUENCE {schema}.tries;
CREATE FUNCTION {schema}.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF nextval(TG_ARGV[0]) <= TG_ARGV[1]::int THEN RAISE 'deadlock detected' USING ERRCODE = 'deadlock_detected'; END IF;
RETURN NEW; END $$;
CREATE TRIGGER fail BEFORE INSERT ON {schema}.cloaca_run FOR EACH ROW EXECUTE FUNCTION {schema}.fail
"""


async def end_in_deadlocks(store: PostgresStore, times: int) -> None:
    """Have the next insertions of runs, so many, be victims of a deadlock; a sequence counts what is undone, too."""

    async def make(link: Link) -> None:
        made = f"{DEADLOCKS.strip()}('{{schema}}.tries', {times})".replace("{schema}", link.names.schema)
        await link.connection.execute(made)

    await store._ask(make)


async def tries(store: PostgresStore) -> int:
    [(count,)] = await store._ask(lambda link: link.ask("SELECT last_value FROM {schema}.tries"))
    return int(count)


@asynchronous
async def test_the_victim_of_a_deadlock_is_sent_again(postgres: str, schema: str) -> None:
    """An upgrade that holds one table and waits for the next may have a worker's commit for its victim."""
    async with opened(postgres, schema) as store:
        session = await session_of(store)
        await end_in_deadlocks(store, 2)
        receipt = await store.transact(Batch(session, plans=[PLAN], runs=[new_run(1, owner=session)]))
        assert receipt.submitted[0].created
        assert await tries(store) == 3
        assert await status_of(store, 1) == "running"


@asynchronous
async def test_deadlocks_without_end_are_told(postgres: str, schema: str) -> None:
    async with opened(postgres, schema) as store:
        session = await session_of(store)
        await end_in_deadlocks(store, 99)
        with pytest.raises(StoreUnavailable, match="another transaction was in the way"):
            await store.transact(Batch(session, plans=[PLAN], runs=[new_run(1, owner=session)]))
        assert await tries(store) == postgres_links.DEADLOCK_TRIES


@asynchronous
async def test_in_a_longer_transaction_the_victim_of_a_deadlock_is_not_sent_alone(postgres: str, schema: str) -> None:
    async with opened(postgres, schema) as store:
        await waiting(store, 1)
        await end_in_deadlocks(store, 1)

        async def copy(link: Link) -> None:
            async with transaction(link, ""):
                await link.ask("INSERT INTO {schema}.cloaca_run SELECT * FROM {schema}.cloaca_run")

        with pytest.raises(StoreUnavailable, match="another transaction was in the way"):
            await store._ask(copy)
        assert await tries(store) == 1


NAMED = {
    asyncpg.AdminShutdownError: StoreUnavailable,
    asyncpg.CannotConnectNowError: StoreUnavailable,
    asyncpg.ConnectionDoesNotExistError: StoreUnavailable,
    asyncpg.DataCorruptedError: CorruptDatabase,
    asyncpg.DeadlockDetectedError: StoreUnavailable,
    asyncpg.DiskFullError: StoreUnavailable,
    asyncpg.InvalidPasswordError: StoreUnavailable,
    asyncpg.QueryCanceledError: StoreUnavailable,
    asyncpg.ReadOnlySQLTransactionError: StoreUnavailable,
    asyncpg.TooManyConnectionsError: StoreUnavailable,
    asyncpg.UniqueViolationError: StoreError,
    asyncpg.PostgresSyntaxError: StoreError,
    asyncpg.InterfaceError: StoreUnavailable,
    ConnectionRefusedError: StoreUnavailable,
    TimeoutError: StoreUnavailable,
}


@pytest.mark.parametrize("kind", NAMED)
def test_every_error_has_a_name(kind: type[Exception]) -> None:
    error = named("postgresql://host/db", kind("said the driver"))
    assert type(error) is NAMED[kind]
    assert "postgresql://host/db" in str(error)
    assert "said the driver" in str(error)
