"""Leases on PostgreSQL run by the server's clock; and whoever commits and whoever reaps never both win."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from cloaca.errors import LeaseLost, StoreUnavailable
from cloaca.ports import Batch, Store
from cloaca.stores.sql import postgres_links
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.postgres_failures import named
from cloaca.stores.sql.postgres_links import Link, connect, hang_up, transaction
from tests.stores.asynchronous import asynchronous
from tests.stores.rows import AT, end, owned, status_of, task, waiting

PAST, FUTURE = -1e9, 1e12


@asynccontextmanager
async def opened(url: str, schema: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(url, schema=schema)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def another(store: PostgresStore) -> AsyncIterator[Link]:
    """Another program's connection to the same schema."""
    link = await connect(store._url, store._names)
    try:
        yield link
    finally:
        await hang_up(link)


async def expires(store: Store, session: int) -> bool:
    return (await store.poll(session, [], AT)).expired


@asynchronous
async def test_a_clock_that_is_wrong_takes_no_lease_away(postgres: str, schema: str) -> None:
    async with opened(postgres, schema) as store:
        slow = await store.open_session("slow", PAST, PAST + 60)
        fast = await store.open_session("fast", FUTURE, FUTURE + 60)
        await owned(store, slow, 1)
        for session, at in ((fast, FUTURE), (slow, PAST)):
            assert not (await store.poll(session, [], at)).expired
            assert await store.reap(at, sparing=session) == 0
        await store.transact(Batch(slow, at=PAST, renew_until=PAST + 90, tasks=[task(1)], ends=[end(1)]))
        assert await status_of(store, 1) == "succeeded"


@asynchronous
async def test_a_lease_is_as_long_as_it_says_and_renewed_from_now_on(postgres: str, schema: str) -> None:
    async with opened(postgres, schema) as store:
        short = await store.open_session("short", PAST, PAST + 0.2)
        renewed = await store.open_session("renewed", FUTURE, FUTURE + 0.2)
        await owned(store, short, 1)
        await store.transact(Batch(renewed, at=PAST, renew_until=PAST + 60))
        async with asyncio.timeout(10):
            while not await expires(store, renewed):
                await asyncio.sleep(0.02)
        assert await store.reap(AT) == 1
        assert not await expires(store, 10**9)
        with pytest.raises(LeaseLost):
            await store.transact(Batch(short))
        await store.transact(Batch(renewed))


async def blocked(store: PostgresStore, times: int = 1) -> None:
    """Wait until so many wait for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with asyncio.timeout(10):
        while (await store._ask(lambda link: link.ask(query)))[0][0] < times:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("renew_until", [None, AT + 60])
@asynchronous
async def test_a_commit_waits_for_who_takes_its_session_for_dead_and_then_writes_nothing(
    postgres: str, schema: str, renew_until: float | None
) -> None:
    async with opened(postgres, schema) as store, another(store) as reaper:
        session = await store.open_session("here", AT, AT + 60)
        await owned(store, session, 1, 2)
        await waiting(store, 3)
        async with reaper.connection.transaction():
            await reaper.ask("DELETE FROM {schema}.cloaca_session WHERE id = ?", session)
            batch = Batch(session, AT, renew_until, tasks=[task(1)], ends=[end(1)])
            commit = asyncio.create_task(store.transact(batch))
            claim = asyncio.create_task(store.claim(session, ["orders"], 5, AT, suspects=False))
            await blocked(store, 2)
        for asked in (commit, claim):
            with pytest.raises(LeaseLost):
                await asked
        assert [await status_of(store, run) for run in (1, 3)] == ["running", "pending"]
        history = await store.history(1)
        assert history is not None
        assert history.tasks == []


@pytest.mark.parametrize("renew_until", [None, AT + 60])
@pytest.mark.parametrize("count", [1, 4, 300])  # PostgreSQL joins them in other ways
@asynchronous
async def test_a_run_that_ends_while_it_is_asked_to_stop_has_ended(
    postgres: str, schema: str, renew_until: float | None, count: int
) -> None:
    async with opened(postgres, schema) as store, another(store) as user:
        session = await store.open_session("here", AT, AT + 60)
        runs = range(1, count + 1)
        await owned(store, session, *runs)
        async with user.connection.transaction():
            await user.ask("UPDATE {schema}.cloaca_run SET cancel_requested = true WHERE id = 1")
            batch = Batch(session, AT, renew_until, tasks=[task(run) for run in runs], ends=[end(run) for run in runs])
            commit = asyncio.create_task(store.transact(batch))
            await blocked(store)
        assert (await commit).disowned == frozenset()
        for run in (1, count):
            history = await store.history(run)
            assert history is not None
            assert (history.run.status, history.run.cancel_requested) == ("succeeded", False)
            assert history.tasks == [task(run)]


@asynchronous
async def test_a_commit_does_not_wait_for_a_renewal(postgres: str, schema: str) -> None:
    async with opened(postgres, schema) as store, another(store) as renewer:
        session = await store.open_session("here", AT, AT + 60)
        await owned(store, session, 1)
        async with renewer.connection.transaction():
            await renewer.ask("UPDATE {schema}.cloaca_session SET expires_at = 0 WHERE id = ?", session)
            await store.transact(Batch(session, tasks=[task(1)], ends=[end(1)]))
        assert await status_of(store, 1) == "succeeded"


@asynchronous
async def test_who_is_just_committing_is_not_taken_for_dead(postgres: str, schema: str) -> None:
    async with opened(postgres, schema) as store, another(store) as worker:
        session = await store.open_session("here", AT, AT - 1)
        await owned(store, session, 1)
        async with worker.connection.transaction():
            await worker.ask("SELECT id FROM {schema}.cloaca_session WHERE id = ? FOR KEY SHARE", session)
            assert await store.reap(AT) == 0
        assert await store.reap(AT) == 1


@asynchronous
async def test_who_is_stopped_in_the_middle_of_a_transaction_is_not_waited_for(
    postgres: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_links, "IDLE_TIMEOUT_S", 0.2)
    async with opened(postgres, schema) as store, another(store) as stopped:
        session = await store.open_session("here", AT, AT - 1)
        await owned(store, session, 1)

        async def stop() -> None:
            async with transaction(stopped):
                await stopped.ask("SELECT id FROM {schema}.cloaca_session WHERE id = ? FOR KEY SHARE", session)
                assert await store.reap(AT) == 0
                async with asyncio.timeout(10):
                    while not await store.reap(AT):
                        await asyncio.sleep(0.02)

        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)) as refused:
            await stop()
        assert type(named("it", refused.value)) is StoreUnavailable
        assert await status_of(store, 1) == "pending"


@asynchronous
async def test_a_run_that_is_claimed_while_its_worker_is_reaped_is_not_lost(postgres: str, schema: str) -> None:
    """A claim that is not committed yet when the reaper begins: its run is released all the same."""
    async with opened(postgres, schema) as store, another(store) as dying:
        session = await store.open_session("dying", AT, AT - 1)
        await waiting(store, 1)
        async with dying.connection.transaction():
            await dying.ask("SELECT id FROM {schema}.cloaca_session WHERE id = ? FOR KEY SHARE", session)
            await dying.ask("UPDATE {schema}.cloaca_run SET status = 'running', owner = ? WHERE id = 1", session)
            closing = asyncio.create_task(store.close_session(session, at=AT))
            await blocked(store)
        await closing
        assert await status_of(store, 1) == "pending"


@asynchronous
async def test_a_request_to_stop_that_comes_with_the_reaper_is_kept(postgres: str, schema: str) -> None:
    async with opened(postgres, schema) as store, another(store) as user:
        session = await store.open_session("dying", AT, AT - 1)
        await owned(store, session, 1)
        async with user.connection.transaction():
            await user.ask("UPDATE {schema}.cloaca_run SET cancel_requested = true WHERE id = 1")
            reaping = asyncio.create_task(store.reap(AT + 3))
            await blocked(store)
        assert await reaping == 0
        row = await store.run(1)
        assert row is not None
        assert (row.status, row.owner, row.finished_at, row.crashes) == ("cancelled", None, AT + 3, 0)
