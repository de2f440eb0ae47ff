"""News of other processes on a SQLite file: whose commit it was, and who is woken, without a statement."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cloaca.ports import Batch
from cloaca.stores.sql import locks, log_index, sqlite_watching
from cloaca.stores.sql.sqlite import SqliteStore
from tests.stores.asynchronous import asynchronous
from tests.stores.processes import Process, live
from tests.stores.rows import AT, FAR, end, new_run, owned, session_of, task, waiting
from tests.stores.test_postgres_listening import Waker
from tests.stores.traces import Trace

pytestmark = pytest.mark.skipif(not log_index.AVAILABLE, reason="needs files that several may have open")


def index_of(store: SqliteStore) -> log_index.LogIndex:
    assert store._index is not None
    return store._index


@asynccontextmanager
async def two(path: Path) -> AsyncIterator[tuple[SqliteStore, SqliteStore]]:
    """Two stores on one file, as two processes have them."""
    store, other = SqliteStore(path), SqliteStore(path)
    try:
        await store.open()
        await other.open()
        index_of(store).take_news()  # the other made its connections
        yield store, other
    finally:
        await other.close()
        await store.close()


@asynchronous
async def test_what_others_commit_is_news_once_and_what_we_commit_is_none(tmp_path: Path) -> None:
    async with two(tmp_path / "runs.db") as (store, other):
        ours, theirs = index_of(store), index_of(other)
        session = await session_of(store)
        assert theirs.take_news()
        await owned(store, session, 1, 2)
        await store.transact(Batch(session, tasks=[task(1)], ends=[end(1)]))
        assert not ours.take_news()
        assert theirs.take_news()
        assert not theirs.take_news()
        await waiting(other, 3)
        await waiting(store, 4)
        assert ours.take_news()  # heard before our own commit was written over it
        assert theirs.take_news()
        assert (await store.run(3), await other.run(4)) != (None, None)
        assert not ours.take_news()
        assert not theirs.take_news()


@asynchronous
async def test_a_commit_that_writes_over_the_log_from_its_start_is_news(tmp_path: Path) -> None:
    """Neither its length nor, within a tick of the kernel's clock, its time would tell."""
    async with two(tmp_path / "runs.db") as (store, other):
        await waiting(other, *range(1, 40))
        with sqlite3.connect(store.path) as connection:
            connection.execute("PRAGMA wal_checkpoint(FULL)")
        connection.close()
        index_of(store).take_news()
        length = store.path.with_name("runs.db-wal").stat().st_size
        for run in range(40, 44):
            await waiting(other, run)
            assert index_of(store).take_news()
        assert store.path.with_name("runs.db-wal").stat().st_size == length


@asynchronous
async def test_the_renewal_of_a_lease_is_no_news(tmp_path: Path) -> None:
    async with two(tmp_path / "runs.db") as (store, other):
        session = await session_of(other)
        assert index_of(store).take_news()
        for until in (FAR, FAR + 1):
            await other.poll(session, ["orders"], AT, renew_until=until)
            await other.transact(Batch(session, renew_until=until))
            assert not index_of(store).take_news()
        await other.transact(Batch(session, renew_until=FAR, runs=[new_run(1)]))
        assert index_of(store).take_news()
        await other.poll(session, ["orders"], AT, renew_until=FAR)
        await waiting(other, 2)
        assert index_of(store).take_news()  # both came between two looks


@asynchronous
async def test_whoever_watches_or_follows_is_woken_and_nothing_is_asked(tmp_path: Path) -> None:
    async with two(tmp_path / "runs.db") as (store, other):
        watching, following = Waker(), Waker()
        assert await store.watch(watching)
        assert await store.follow(7, following)
        assert await store.follow(7, following)  # said again
        trace = Trace(store)
        await waiting(other, 1)
        await watching.wait()
        await following.wait()
        store.unfollow(7, following)
        store.unfollow(7, following)
        await waiting(other, 2)
        await watching.wait()
        assert (watching.calls, following.calls) == (2, 1)
        store.unfollow(0, watching)  # nobody is left: the thread ends, and another begins
        assert await store.follow(8, following)
        await waiting(other, 3)
        await following.wait()
        assert (watching.calls, following.calls) == (2, 2)
        assert trace.statements == []


@pytest.mark.skipif(not locks.AVAILABLE, reason="needs open file description locks")
@asynchronous
async def test_the_death_of_a_peer_wakes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_watching, "DEAD_CHECK_S", 0.0)
    path = tmp_path / "runs.db"
    store = SqliteStore(path)
    await store.open()
    session, waker = await session_of(store), Waker()
    with Process(live, path, 1) as process:
        assert await asyncio.to_thread(process.line) == "ready"
        poll = await store.poll(session, ["orders"], AT)
        assert (poll.expired, poll.lapse_s) == (False, FAR - AT)
        index_of(store).take_news()
        assert await store.watch(waker)
        process.popen.kill()
        await waker.wait()
    assert (await store.poll(session, ["orders"], AT)).expired
    assert await store.reap(AT) == 1
    assert (await store.poll(session, ["orders"], AT)).lapse_s is None
    await store.close()


@asynchronous
async def test_a_file_that_another_connection_may_have_locked_is_not_closed(tmp_path: Path) -> None:
    """With the descriptor, the locks of every connection of this process would go."""
    async with two(tmp_path / "runs.db") as (store, other):
        before = set(log_index._kept)
        await store.close()
        [kept] = set(log_index._kept) - before
        assert os.path.samestat(os.fstat(kept), (tmp_path / "runs.db-shm").stat())
        await store.open()
        assert set(log_index._kept) == before  # taken up again
        await other.close()
        await store.close()
        assert set(log_index._kept) == before
