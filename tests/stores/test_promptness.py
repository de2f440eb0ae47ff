"""Transactions on the event loop: when they are made there, and that nobody who is in the way is waited for there."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from cloaca.errors import LeaseLost, StoreError, StoreUnavailable
from cloaca.ports import Batch, TaskRow
from cloaca.stores.sql.locks import AVAILABLE, LockFile
from cloaca.stores.sql.promptness import ALLOWED_S, LONGEST_PAUSE_S, MOST_SLOW, Promptness
from cloaca.stores.sql.sqlite import SqliteStore
from tests.stores.asynchronous import asynchronous
from tests.stores.rows import AT, owned, session_of, task
from tests.stores.traces import driver

needs_locks = pytest.mark.skipif(not AVAILABLE, reason="needs open file description locks")


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[tuple[SqliteStore, int]]:
    """A store with a session that owns the runs 0 to 9."""
    store = SqliteStore(path / "runs.db")
    await store.open()
    session = await session_of(store)
    await owned(store, session, *range(10))
    try:
        yield store, session
    finally:
        await store.close()


@contextmanager
def threads_of(store: SqliteStore) -> Iterator[list[str]]:
    """The names of the threads on which transactions are committed."""
    threads: list[str] = []

    def note(statement: str) -> None:
        if statement == "COMMIT":
            threads.append(threading.current_thread().name)

    driver(store._writing).set_trace_callback(note)
    yield threads
    driver(store._writing).set_trace_callback(None)


HERE, THREAD = threading.main_thread().name, "cloaca-writer_0"


async def passes(event: asyncio.Task[object]) -> None:
    """Fail unless the event loop goes on while ``event`` is not done."""
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not event.done()


@asynchronous
async def test_a_batch_is_written_on_the_event_loop_without_giving_it_away(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, session):
        with threads_of(store) as threads:
            writing = store.transact(Batch(session, tasks=[task(1)]))
            with pytest.raises(StopIteration):  # it is over before it has suspended
                writing.send(None)
        assert threads == [HERE]
        assert [row.name for row in (await history(store, 1))] == ["charge"]


@asynchronous
async def test_while_the_thread_writes_so_does_a_batch(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, session):
        with threads_of(store) as threads:
            await asyncio.gather(store.cancel(2, AT), store.transact(Batch(session, tasks=[task(1)])))
        assert threads == [THREAD, THREAD]


@needs_locks
@asynchronous
async def test_who_is_in_the_gate_is_waited_for_on_the_thread(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, session):
        other = LockFile(store.path)
        with threads_of(store) as threads:
            with other.gate():
                writing = asyncio.create_task(store.transact(Batch(session, tasks=[task(1)])))
                await passes(writing)
            await writing
            await store.transact(Batch(session, tasks=[task(2)]))
        other.close()
        assert threads == [THREAD, HERE]


@asynchronous
async def test_a_foreign_transaction_is_waited_for_on_the_thread(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, session):
        with (
            threads_of(store) as threads,
            contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as foreign,
        ):
            foreign.execute("BEGIN IMMEDIATE")
            writing = asyncio.create_task(store.transact(Batch(session, tasks=[task(1)])))
            await passes(writing)
            foreign.execute("ROLLBACK")
            await writing
            await store.transact(Batch(session, tasks=[task(2)]))
        assert threads == [THREAD, HERE]


@asynchronous
async def test_a_body_that_has_the_turn_is_waited_for_on_the_thread(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, session):
        with threads_of(store) as threads:
            assert store._bodies.turns.take()
            writing = asyncio.create_task(store.transact(Batch(session, tasks=[task(1)])))
            await passes(writing)
            store._bodies.turns.leave()
            await writing
        assert threads == [THREAD]


@asynchronous
async def test_on_a_slow_disk_the_thread_writes(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, session):
        for _ in range(MOST_SLOW):
            store._promptness.took(1.0, rows=1)
        with threads_of(store) as threads:
            await store.transact(Batch(session, tasks=[task(1)]))
        assert threads == [THREAD]


@asynchronous
async def test_what_fails_on_the_event_loop_is_undone_and_in_nobodys_way(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, session):
        with pytest.raises(LeaseLost):
            await store.transact(Batch(session + 1, tasks=[task(1)]))
        with pytest.raises(StoreError, match="refused"):
            await store.transact(Batch(session, tasks=[task(1, started_at=object())]))  # the driver can't write that
        assert await history(store, 1) == []
        other = SqliteStore(store.path)
        await other.open()
        async with asyncio.timeout(5):
            await other.cancel(3, AT)
            await store.transact(Batch(session, tasks=[task(1)]))
        await other.close()


@asynchronous
async def test_a_file_that_is_gone_is_noticed_on_the_event_loop(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, session):
        store.path.rename(tmp_path / "elsewhere.db")
        with pytest.raises(StoreUnavailable, match="is gone"):
            await store.transact(Batch(session, tasks=[task(1)]))
        (tmp_path / "elsewhere.db").rename(store.path)
        await store.transact(Batch(session, tasks=[task(1)]))


@asynchronous
async def test_a_store_that_is_closed_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, session):
        pass
    with pytest.raises(StoreUnavailable, match="is not open"):
        await store.transact(Batch(session, tasks=[task(1)]))


async def history(store: SqliteStore, run: int) -> list[TaskRow]:
    """The tasks of a run that are done."""
    found = await store.history(run)
    assert found is not None
    return list(found.tasks)


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_one_that_is_slow_means_nothing_and_pauses_double_until_one_is_prompt() -> None:
    clock = Clock()
    disk = Promptness(clock)
    took(disk, 1.0, ALLOWED_S, *[1.0] * (MOST_SLOW - 1))
    assert waits(disk, clock) == 0
    pauses = []
    for _ in range(10):
        took(disk, 1.0)
        pauses.append(waits(disk, clock))
    assert pauses == [1, 2, 4, 8, 16, 32, *[LONGEST_PAUSE_S] * 4]
    took(disk, 0.0, *[1.0] * (MOST_SLOW - 1))
    assert waits(disk, clock) == 0
    took(disk, 1.0)
    assert waits(disk, clock) == 1


def took(disk: Promptness, *seconds: float) -> None:
    for each in seconds:
        disk.took(each, rows=0)


def waits(disk: Promptness, clock: Clock) -> float:
    """How long it takes until the next may be made on the event loop."""
    since = clock.now
    while not disk.is_prompt:
        clock.now += 0.5
    return clock.now - since


def test_many_rows_may_take_longer() -> None:
    disk = Promptness(Clock())
    for _ in range(5):
        disk.took(0.008, rows=500)
    few = Promptness(Clock())
    for _ in range(MOST_SLOW):
        few.took(0.008, rows=1)
    assert (disk.is_prompt, few.is_prompt) == (True, False)
