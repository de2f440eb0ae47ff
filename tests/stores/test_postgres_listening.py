"""News of other processes: who listens is woken at once, and listens again when the connection was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from cloaca.ports import Batch
from cloaca.stores.sql import postgres_listening
from cloaca.stores.sql.postgres import PostgresStore
from tests.stores.asynchronous import asynchronous
from tests.stores.rows import AT, PLAN, end, new_run, owned, session_of, task, waiting

LISTENERS = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN %' AND pid <> pg_backend_pid()"


class Waker:
    """Counts how often it was called."""

    def __init__(self) -> None:
        self.calls = 0
        self.called = asyncio.Event()

    def __call__(self) -> None:
        self.calls += 1
        self.called.set()

    async def wait(self) -> None:
        """Wait for a call, and forget it."""
        async with asyncio.timeout(10):
            await self.called.wait()
        self.called.clear()


@asynccontextmanager
async def watched(url: str, schema: str) -> AsyncIterator[tuple[PostgresStore, Waker]]:
    """A store, and what another store on the same schema wakes."""
    store, listener = PostgresStore(url, schema=schema), PostgresStore(url, schema=schema)
    waker = Waker()
    try:
        await store.open()
        await listener.open()
        await listener.watch(waker)
        await waker.wait()  # what happened before somebody listened
        yield store, waker
    finally:
        await listener.close()
        await store.close()


@asynchronous
async def test_whoever_could_do_something_is_woken(postgres: str, schema: str) -> None:
    async with watched(postgres, schema) as (store, waker):
        session, other = await session_of(store), await session_of(store)
        await owned(store, session, 10, 11)
        await owned(store, other, 12)

        async def cancel() -> None:
            await store.cancel(10, AT)

        async def reconsider() -> None:
            assert await store.reconsider({"orders": "v1"}) == 1

        reasons: list[Callable[[], Awaitable[object]]] = [
            lambda: waiting(store, 1),
            lambda: store.submit(PLAN, new_run(1, input="other")),  # its id is taken
            lambda: store.transact(Batch(session, runs=[new_run(3), new_run(4)])),
            lambda: store.transact(Batch(session, runs=[new_run(5), new_run(5, input="x")])),
            cancel,
            lambda: store.block(session, 11, "unfit", "v1"),
            reconsider,
            lambda: store.close_session(other, at=AT),
        ]
        for number, reason in enumerate(reasons, 2):
            await reason()
            await waker.wait()
            assert waker.calls == number  # once for each transaction


@asynchronous
async def test_nobody_is_woken_for_nothing(postgres: str, schema: str) -> None:
    async with watched(postgres, schema) as (store, waker):
        session = await session_of(store)
        await owned(store, session, 1, key="k")
        await store.transact(Batch(session, tasks=[task(1)], ends=[end(1)]))
        await store.submit(PLAN, new_run(2, key="k"))
        await store.cancel(1, AT)
        await store.reconsider({"orders": "v1"})
        await store.reap(AT)
        await store.close_session(session, at=AT)
        calls = waker.calls
        await waiting(store, 9)
        await waker.wait()
        assert waker.calls == calls + 1 == 2


@asynchronous
async def test_other_schemas_wake_nobody(postgres: str, schema: str) -> None:
    async with watched(postgres, schema) as (store, waker), watched(postgres, schema + "x") as (other, _):
        await waiting(other, 1)
        await waiting(store, 1)
        await waker.wait()
        assert waker.calls == 2
        await store._ask(lambda link: link.connection.execute(f"DROP SCHEMA {other._names.schema} CASCADE"))


@asynchronous
async def test_a_lost_connection_comes_back(postgres: str, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_listening, "FIRST_PAUSE_S", 0.01)
    async with watched(postgres, schema) as (store, waker):
        for _ in range(3):
            [(pid,)] = await store._ask(lambda link: link.ask(LISTENERS))
            await store._ask(lambda link, pid=pid: link.ask("SELECT pg_terminate_backend(?)", pid))  # type: ignore[misc]  # binds it
            await waker.wait()  # it listens again, and may have missed something
            calls = waker.calls
            await waiting(store, calls)
            await waker.wait()
            assert waker.calls == calls + 1


@asynchronous
async def test_a_listener_that_finds_no_server_keeps_trying(
    postgres: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_listening, "FIRST_PAUSE_S", 0.01)
    store = PostgresStore(postgres, schema=schema)
    await store.open()
    waker, right = Waker(), store._url
    store._url = "postgresql://localhost:1/nowhere"
    await store.watch(waker)
    assert waker.calls == 0
    store._url = right
    await waker.wait()
    await store.close()
    await store.close()
