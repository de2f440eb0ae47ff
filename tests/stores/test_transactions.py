"""What the transactions of attempts need of one database: SQLite's lock and leases, PostgreSQL's connections."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from cloaca.errors import StoreUnavailable
from cloaca.ports import Batch, Transaction
from cloaca.stores.sql import postgres_transactions, sqlite_transactions
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.sqlite import SqliteStore
from cloaca.stores.sql.turns import Turns
from tests.stores.asynchronous import asynchronous
from tests.stores.conformance.transacting import done, own_table, words, written
from tests.stores.poolers import pooler
from tests.stores.rows import AT, PLAN, new_run, session_of, task

# Turns


def test_turns_come_in_order_and_a_cancelled_one_is_passed_over() -> None:
    turns = Turns()
    first, second, third = turns.ask(), turns.ask(), turns.ask()
    assert [turn.done() for turn in (first, second, third)] == [True, False, False]
    assert second.cancel()
    turns.leave()
    assert third.done()
    turns.leave()
    assert turns.ask().done()


def test_who_gives_up_a_turn_leaves_it_to_the_next() -> None:
    turns = Turns()
    first, second = turns.ask(), turns.ask()
    turns.give_up(second)
    turns.give_up(first)
    assert turns.ask().done()


# SQLite


class Clock:
    """Stands for the module ``time``."""

    def __init__(self) -> None:
        self.at = 10.0

    def monotonic(self) -> float:
        return self.at

    def time(self) -> float:
        return AT + self.at


@asynccontextmanager
async def on_a_clock(path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[SqliteStore, int, Clock]]:
    """A store with a session and the table, whose bodies' time a test moves on."""
    clock = Clock()
    monkeypatch.setattr("cloaca.stores.sql.sqlite_transactions.time", clock)
    store = SqliteStore(path / "runs.db")
    await store.open()
    try:
        yield store, await own_table(store), clock
    finally:
        await store.close()


@asynchronous
async def test_leases_do_not_run_while_a_body_holds_the_lock(quick_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can renew one meanwhile: so the time does not count, whether the body's writes are kept or not."""
    async with on_a_clock(quick_path, monkeypatch) as (store, session, clock):
        lapsed = await store.open_session("gone:1", AT, AT + 5)
        running = await store.open_session("peer:1", AT, AT + 15)
        kept = await written(store, "kept")
        clock.at += 50
        await kept.commit(Batch(session, AT))
        await kept.end()
        assert expiries(store.path)[running] == AT + 15 + 50
        undone = await written(store, "undone", is_async=True)
        clock.at += 40
        await undone.end()
        assert expiries(store.path)[running] == AT + 15 + 50 + 40
        short = await written(store, "short")
        clock.at += sqlite_transactions.LONG_S
        await short.end()
        assert expiries(store.path)[running] == AT + 15 + 50 + 40
        assert expiries(store.path)[lapsed] == AT + 5
        assert await words(store) == ["kept"]


@asynchronous
async def test_a_renewal_that_has_waited_for_a_body_does_not_shorten_the_lease(
    quick_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says until when by the time at which it was sent: that is over by now, and the lease is not."""
    async with on_a_clock(quick_path, monkeypatch) as (store, session, clock):
        polls, commits = [await store.open_session(f"peer:{n}", AT, AT + 15) for n in (1, 2)]
        body = await written(store, "slow")
        waiting = asyncio.gather(
            store.poll(polls, ["orders"], AT + 3, renew_until=AT + 18),
            store.transact(Batch(commits, AT + 3, renew_until=AT + 18)),
        )
        clock.at += 50
        await body.commit(Batch(session, AT))
        await body.end()
        await waiting
        left = expiries(store.path)
        assert (left[polls], left[commits]) == (AT + 15 + 50, AT + 15 + 50)


def expiries(path: Path) -> dict[int, float]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT id, expires_at FROM cloaca_session").fetchall())


@asynchronous
async def test_a_lock_that_does_not_come_is_the_database_s_fault(
    quick_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(quick_path / "runs.db")
    await store.open()
    try:
        await own_table(store)
        real = sqlite_transactions.BodyConnection.__init__

        def impatient(self: sqlite3.Connection, *args: object, **options: object) -> None:
            real(self, *args, **{**options, "timeout": 0.01})  # type: ignore[arg-type]  # as the driver passes them

        monkeypatch.setattr(sqlite_transactions.BodyConnection, "__init__", impatient)
        with closing(sqlite3.connect(store.path, isolation_level=None)) as another:
            another.execute("BEGIN IMMEDIATE")
            transaction = store.transaction(is_async=False)
            with pytest.raises(StoreUnavailable, match="has been locked by another program"):
                await done(transaction, lambda: transaction.session.execute(text("SELECT 1")))
            assert isinstance(transaction.broken, StoreUnavailable)
            assert transaction.refused
            await transaction.end()
        assert await words(store) == []
    finally:
        await store.close()


@asynchronous
async def test_the_store_waits_for_a_body_but_not_for_ever(quick_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that starts a run after its first statement would wait for itself."""
    monkeypatch.setattr("cloaca.stores.sql.sqlite_bodies.BUSY_TIMEOUT_S", 0.05)
    store = SqliteStore(quick_path / "runs.db")
    await store.open()
    try:
        session = await own_table(store)
        transaction = await written(store, "kept")
        with pytest.raises(StoreUnavailable, match="locked by a task's session for more than 0"):
            await store.submit(PLAN, new_run(7))
        await transaction.commit(Batch(session, AT))
        await transaction.end()
        assert (await store.submit(PLAN, new_run(7))).created
        assert await words(store) == ["kept"]
    finally:
        await store.close()


# PostgreSQL


@asynchronous
async def test_transactions_pass_a_pooler_that_shares_servers(postgres: str, schema: str) -> None:
    """No statement has a name, nothing is set, and a transaction stays on its server: also that of a first question."""
    async with pooler(postgres, size=3) as between:
        store = PostgresStore(between.url, schema=schema)
        await store.open()
        try:
            session = await own_table(store)
            for number in range(6):
                transaction = await written(store, f"word {number}", is_async=bool(number % 2))
                await transaction.commit(Batch(session, AT, tasks=[task(1, f"task {number}", session=session)]))
                await transaction.end()
            assert await words(store) == [f"word {number}" for number in range(6)]
        finally:
            await store.close()


@asynchronous
async def test_a_commit_whose_answer_a_pooler_loses_is_there(postgres: str, schema: str) -> None:
    async with pooler(postgres) as between:
        store = PostgresStore(between.url, schema=schema)
        await store.open()
        try:
            session = await own_table(store)
            transaction = await written(store, "kept")
            between.loses = b"COMMIT"
            with pytest.raises(StoreUnavailable):
                await transaction.commit(Batch(session, AT, tasks=[task(1, session=session)]))
            await transaction.end()
            history = await store.history(1)
            assert history is not None
            assert [row.name for row in history.tasks] == ["charge"]
            assert await words(store) == ["kept"]
        finally:
            await store.close()


@asynchronous
async def test_a_connection_that_dies_under_a_body_is_the_database_s_fault(postgres: str, schema: str) -> None:
    store = PostgresStore(postgres, schema=schema)
    await store.open()
    try:
        await own_table(store)
        for is_async in (False, True):
            transaction = await written(store, "lost", is_async=is_async)
            await terminate(store, await pid_of(transaction, is_async=is_async))
            with pytest.raises(DBAPIError):
                await pid_of(transaction, is_async=is_async)
            assert isinstance(transaction.broken, StoreUnavailable)
            await transaction.end()
        assert await words(store) == []
    finally:
        await store.close()


@pytest.mark.parametrize("is_noticed", [True, False])
@asynchronous
async def test_connections_that_were_cut_while_nobody_used_them_cost_no_body_a_try(
    postgres: str, schema: str, is_noticed: bool
) -> None:
    """A server that is started again cuts all of them: more than an attempt has tries."""
    store = PostgresStore(postgres, schema=schema)
    await store.open()
    try:
        session = await own_table(store)
        kept = [await written(store, "never") for _ in range(postgres_transactions.MOST_TRANSACTIONS)]
        pids = [await pid_of(transaction, is_async=False) for transaction in kept]
        for transaction in kept:
            await transaction.end()
        if is_noticed:
            await cut(postgres, pids)
        else:  # the event loop can't hear of it meanwhile
            with ThreadPoolExecutor() as elsewhere:
                elsewhere.submit(asyncio.run, cut(postgres, pids)).result()
        transactions = [
            await written(store, f"kept {number}", is_async=not number % 2) for number, _ in enumerate(pids)
        ]
        for number, transaction in enumerate(transactions):
            await transaction.commit(Batch(session, AT, tasks=[task(1, f"task {number}", session=session)]))
            await transaction.end()
        assert await words(store) == [f"kept {number}" for number, _ in enumerate(pids)]
    finally:
        await store.close()


@asynchronous
async def test_a_server_without_a_connection_to_spare_has_refused_the_transaction(
    postgres: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresStore(postgres, schema=schema)
    await store.open()
    try:
        await session_of(store)

        async def none_left(*_: object, **__: object) -> None:
            raise asyncpg.TooManyConnectionsError("sorry, too many clients already")

        with monkeypatch.context() as patched:
            patched.setattr(asyncpg, "connect", none_left)
            transaction = store.transaction(is_async=True)
            with pytest.raises(StoreUnavailable, match="too many clients"):
                await pid_of(transaction, is_async=True)
        assert (transaction.refused, isinstance(transaction.broken, StoreUnavailable)) == (True, True)
        await transaction.end()
        transaction = store.transaction(is_async=True)
        await pid_of(transaction, is_async=True)
        assert not transaction.refused
        await transaction.end()
    finally:
        await store.close()


async def cut(url: str, pids: list[int]) -> None:
    """Let the server end processes."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    for pid in pids:
        await connection.execute(f"SELECT pg_terminate_backend({pid}, 5000)")
    await connection.close()


async def pid_of(transaction: Transaction, *, is_async: bool) -> int:
    """Return the server process of a transaction."""
    asking, session = text("SELECT pg_backend_pid()"), transaction.session
    if is_async:
        return int((await session.execute(asking)).scalar_one())
    return int(await done(transaction, lambda: session.execute(asking).scalar_one()))


async def terminate(store: PostgresStore, number: int) -> None:
    """Let the server end a process."""
    transaction = store.transaction(is_async=True)
    await transaction.session.execute(text("SELECT pg_terminate_backend(:number)"), {"number": number})
    await transaction.end()


@asynchronous
async def test_no_more_connections_than_there_may_be(
    postgres: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_transactions, "MOST_TRANSACTIONS", 2)
    store = PostgresStore(postgres, schema=schema)
    await store.open()
    try:
        session = await own_table(store)
        first, second = await written(store, "a"), await written(store, "b")
        third = asyncio.ensure_future(written(store, "c", is_async=True))
        await asyncio.sleep(0.05)
        assert not third.done()
        await first.commit(Batch(session, AT))
        await first.end()
        await (await third).end()
        await second.end()
        assert await words(store) == ["a"]
    finally:
        await store.close()


@asynchronous
async def test_a_commit_waits_for_who_is_just_ending_the_run(postgres: str, schema: str) -> None:
    """Else a task would be committed, with its effect, after its run was cancelled."""
    store = PostgresStore(postgres, schema=schema)
    await store.open()
    try:
        session = await own_table(store)
        transaction, ending = await written(store, "never"), store.transaction(is_async=True)
        name = schema.replace('"', '""').replace(":", r"\:")
        cancel = f"UPDATE \"{name}\".cloaca_run SET status = 'cancelled', owner = NULL WHERE id = 1"
        await ending.session.execute(text(cancel))
        committing = asyncio.ensure_future(transaction.commit(Batch(session, AT, tasks=[task(1, session=session)])))
        await asyncio.sleep(0.1)
        assert not committing.done()
        await ending.commit(Batch(session, AT))
        await ending.end()
        assert (await committing).disowned == {1}
        await transaction.end()
        assert await words(store) == []
    finally:
        await store.close()
