"""Through a pooler that gives each transaction another server, all is as without one; and lost answers lose nothing."""

from __future__ import annotations

import asyncio
import os

import pytest

from cloaca.errors import StoreUnavailable
from cloaca.ports import Batch, Submitted
from cloaca.stores.sql.postgres import PostgresStore
from tests.stores.asynchronous import asynchronous
from tests.stores.clocked import ClockedStore, drop, new_schema
from tests.stores.conformance import CHECKS
from tests.stores.poolers import pooler
from tests.stores.rows import AT, FAR, PLAN, end, new_run, owned, session_of, status_of, task, waiting
from tests.thoroughness import some

pytestmark = pytest.mark.skipif(
    "CLOACA_TEST_POSTGRES" in os.environ, reason="the pooler stands only before a server that lets anyone in"
)


@pytest.mark.parametrize("check", some(CHECKS, 2))
@asynchronous
async def test_a_store_keeps_its_word_through_a_pooler(postgres: str, schema: str, check: str) -> None:
    async with pooler(postgres) as between:
        store = ClockedStore(between.url, schema=schema)
        await store.open()
        try:
            await CHECKS[check](store)
        finally:
            await store.close()
        assert between.questions == 0


@asynchronous
async def test_nothing_is_left_on_a_server(postgres: str, schema: str) -> None:
    async with pooler(postgres, size=1) as between:
        store, probe = (PostgresStore(between.url, schema=name) for name in (schema, new_schema()))
        await store.open()
        await store.watch(lambda: None)
        session = await store.open_session("here", AT, FAR)
        await owned(store, session, 1)
        await waiting(store, 2)
        await store.transact(Batch(session, AT, FAR, tasks=[task(1)], ends=[end(1)]))
        assert len(await store.claim(session, ["orders"], 5, AT, suspects=False)) == 1
        await store.history(1)
        await probe.open()  # the only server there is
        left = await probe._ask(
            lambda link: link.ask(
                "SELECT (SELECT count(*) FROM pg_prepared_statements WHERE name <> ''), "
                "(SELECT count(*) FROM pg_listening_channels()), current_setting('search_path'), "
                "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')"
            )
        )
        assert [tuple(row) for row in left] == [(0, 0, '"$user", public', 0)]
        await store.close()
        await probe.close()
    await drop(postgres, probe._names.plain)


@asynchronous
async def test_each_batch_is_one_exchange(postgres: str, schema: str) -> None:
    async with pooler(postgres) as between:
        store = PostgresStore(between.url, schema=schema)
        await store.open()
        session = await session_of(store)
        await owned(store, session, *range(100))
        for round in range(2):  # the first time, the driver asks what a statement takes and gives
            batches = [
                Batch(session, AT, FAR, tasks=[task(run, f"t{round}") for run in range(100)]),
                Batch(session, plans=[PLAN], runs=[new_run(1000 + round, owner=session)]),
                Batch(session, tasks=[task(50, f"u{round}")], ends=[end(round)]),
            ]
            before = between.exchanges
            for batch in batches:
                disowned = (await store.transact(batch)).disowned
                assert disowned == (frozenset({0}) if round and len(batch.tasks) == 100 else frozenset())
        assert between.exchanges - before == len(batches)
        before = between.exchanges
        await store.poll(session, ["orders"], AT)
        await store.poll(session, ["orders"], AT)
        assert between.exchanges - before == 3
        await store.close()


@asynchronous
async def test_a_commit_whose_answer_is_lost_can_be_replayed(postgres: str, schema: str) -> None:
    async with pooler(postgres) as between:
        store = PostgresStore(between.url, schema=schema)
        await store.open()
        session = await session_of(store)
        await owned(store, session, 1, 2)
        batch = Batch(session, runs=[new_run(3, owner=session)], tasks=[task(1), task(2)], ends=[end(2)])
        await store.transact(Batch(session, tasks=[task(1, "warm")], ends=[end(7)], runs=[new_run(8, owner=session)]))
        between.loses = b"paid"
        with pytest.raises(StoreUnavailable, match="check that the server runs"):
            await store.transact(batch)
        history = await store.history(2)
        assert history is not None
        assert (history.run.status, history.tasks) == ("succeeded", [task(2)])  # it was committed
        batch.replay = True
        again = Submitted(3, created=True, agrees=True)
        assert await store.transact(batch) == ([again], frozenset())
        assert await store.history(2) == history
        await store.close()


@asynchronous
async def test_a_read_whose_answer_is_lost_is_asked_again(postgres: str, schema: str) -> None:
    async with pooler(postgres) as between:
        store = PostgresStore(between.url, schema=schema)
        await store.open()
        await waiting(store, 1)
        between.loses = b"cloaca_run"
        assert await status_of(store, 1) == "pending"
        await store.close()


@asynchronous
async def test_who_can_not_listen_is_told_nothing(postgres: str, schema: str) -> None:
    async with pooler(postgres) as between:
        store = PostgresStore(between.url, schema=schema)
        await store.open()
        woken = asyncio.Event()
        await store.watch(woken.set)
        await waiting(store, 1)
        await status_of(store, 1)
        assert not woken.is_set()
        await store.close()
