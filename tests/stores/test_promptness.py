"""Transactions on the event loop: when they are made there, and that nobody who is in the way is waited for there."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cloaca.errors import LeaseLost, StoreError, StoreUnavailable
from cloaca.ports import Batch, CacheRow, TaskRow
from cloaca.stores.sql import connections, locks, weights
from cloaca.stores.sql.connections import HandHeld
from cloaca.stores.sql.locks import AVAILABLE, LockFile
from cloaca.stores.sql.promptness import ALLOWED_S, LONGEST_PAUSE_S, MOST_OWED_S, Promptness
from cloaca.stores.sql.sqlite import SqliteStore
from tests.stores.asynchronous import asynchronous
from tests.stores.rows import AT, PLAN, failure, new_run, owned, session_of, task
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
            assert store._bodies.turns.take(driver)
            writing = asyncio.create_task(store.transact(Batch(session, tasks=[task(1)])))
            await passes(writing)
            store._bodies.turns.leave()
            await writing
        assert threads == [THREAD]


@asynchronous
async def test_on_a_slow_disk_the_thread_writes(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, session):
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


@asynchronous
async def test_a_batch_that_comes_while_the_store_is_closed_is_refused(tmp_path: Path) -> None:
    """Its connection is being closed on another thread."""
    async with opened(tmp_path) as (store, session):
        leave = threading.Event()
        assert store._writer is not None
        store._writer.submit(leave.wait)  # closing comes after it
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        assert store._writing is not None
        with pytest.raises(StoreUnavailable, match="is not open"):
            await store.transact(Batch(session, tasks=[task(1)]))
        leave.set()
        await closing


@asynchronous
async def test_a_call_that_was_cancelled_does_not_hide_the_one_before_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, session):
        leave = threading.Event()
        before = asyncio.create_task(store._call(store._writer, leave.wait))
        cancelled = asyncio.create_task(store.cancel(2, AT))
        await asyncio.sleep(0)
        cancelled.cancel()
        with threads_of(store) as threads:
            writing = asyncio.create_task(store.transact(Batch(session, tasks=[task(1)])))
            try:
                await passes(writing)
            finally:
                leave.set()
            await asyncio.gather(before, writing)
        assert threads == [THREAD]


@asynchronous
@pytest.mark.parametrize("rows", [Batch(0, tasks=[task(1)]), Batch(0, tasks=[task(1, output="x" * 1_000_000)])])
async def test_long_payloads_are_written_on_the_thread(tmp_path: Path, rows: Batch) -> None:
    async with opened(tmp_path) as (store, session):
        with threads_of(store) as threads:
            await store.transact(replace(rows, session=session))
        assert threads == [THREAD if weights.is_heavy(rows) else HERE]


LONG = "x" * weights.MOST_CHARACTERS


@pytest.mark.parametrize(
    ("long", "short"),
    [
        (Batch(1, tasks=[task(1, output=LONG), task(2)]), Batch(1, tasks=[task(1, output=None)])),
        (Batch(1, runs=[new_run(1, input=LONG + "x")]), Batch(1, runs=[new_run(1, input=None)])),
        (Batch(1, children=[new_run(1, input=LONG + "x")]), Batch(1, children=[new_run(1)])),
        (Batch(1, failures=[failure(1, message=LONG)]), Batch(1, failures=[failure(1)])),
        (Batch(1, failures=[failure(1, traceback=LONG)]), Batch(1, failures=[failure(1)])),
        (Batch(1, failures=[failure(1, error=LONG)]), Batch(1, failures=[failure(1, error="{}")])),
        (
            Batch(1, cached=[CacheRow(1, "key", LONG + "x", "charge")]),
            Batch(1, cached=[CacheRow(1, "k", "1", "charge")]),
        ),
        (Batch(1, plans=[PLAN._replace(spec=LONG + "x")]), Batch(1, plans=[PLAN])),
    ],
    ids=["output", "input", "child", "message", "traceback", "error", "cached", "plan"],
)
def test_a_batch_is_heavy_by_what_may_be_long(long: Batch, short: Batch) -> None:
    assert (weights.is_heavy(long), weights.is_heavy(short)) == (True, False)


@needs_locks
@asynchronous
async def test_who_is_in_the_gate_for_too_long_is_not_waited_for_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process would else cost the event loop its patience with every batch."""
    monkeypatch.setattr(locks, "LONGEST_WAIT_S", 0.0)
    naps: list[str] = []
    async with opened(tmp_path) as (store, session):
        other = LockFile(store.path)
        with other.gate():
            await store.transact(Batch(session, tasks=[task(1)]))
            monkeypatch.setattr(time, "sleep", lambda _: naps.append(threading.current_thread().name))
            for run in range(2, 5):
                await store.transact(Batch(session, tasks=[task(run)]))
        assert naps == []
        assert store._locks is not None
        with threads_of(store) as threads:
            await store.transact(Batch(session, tasks=[task(5)]))
        assert threads == [HERE]
        with other.gate():
            await store.transact(Batch(session, tasks=[task(6)]))
        assert HERE in naps  # it is patient again
        other.close()


@pytest.mark.parametrize("word", ["BEGIN", "INSERT", "COMMIT"])
@asynchronous
async def test_an_interrupt_at_any_moment_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    """Signals are delivered on the event loop's thread, in the midst of a transaction too."""

    armed: list[str] = []

    class Interrupted(HandHeld):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            done = super().execute(sql, *parameters)
            interrupt(sql)
            return done

        def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            done = super().executemany(sql, *parameters)
            interrupt(sql)
            return done

    def interrupt(sql: str) -> None:
        if armed and sql.lstrip().startswith(word):
            armed.clear()
            raise KeyboardInterrupt

    monkeypatch.setattr(connections, "connect", partial(connections.connect, factory=Interrupted))
    async with opened(tmp_path) as (store, session):
        armed.append(word)
        with pytest.raises(KeyboardInterrupt):
            store.transact(Batch(session, tasks=[task(1)])).send(None)
        assert not driver(store._writing).in_transaction
        assert len(await history(store, 1)) == (1 if word == "COMMIT" else 0)
        other = SqliteStore(store.path)
        await other.open()
        async with asyncio.timeout(5):
            await other.cancel(3, AT)
            await store.cancel(4, AT)
        await other.close()


@pytest.mark.parametrize("next", ["a commit", "another's statement", "closing"])
@asynchronous
async def test_what_an_interrupt_keeps_from_being_undone_is_undone_later(tmp_path: Path, next: str) -> None:
    """It may come between any two steps: here it has come after all of them, and nobody has left anything."""
    other = SqliteStore(tmp_path / "runs.db")
    async with opened(tmp_path) as (store, session):
        await other.open()
        assert store._bodies.turns.take(store)
        assert store._locks is not None
        assert store._locks.enter(1)
        assert store._locks._set(locks.NEXT, locks._EXCLUSIVE) or not AVAILABLE
        store._wait_for_others(0.0)
        driver(store._writing).execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(5):  # who waits for a transaction waits for longer
            if next == "a commit":
                with threads_of(store) as threads:
                    await store.transact(Batch(session, tasks=[task(1)]))
                assert threads == [HERE]
            elif next == "closing":
                await store.close()
            else:
                await store.cancel(1, AT)
            await other.cancel(3, AT)
        await other.close()


@asynchronous
async def test_how_long_it_took_to_fail_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path) as (store, session):
        taken: list[int] = []
        monkeypatch.setattr(store._promptness, "took", lambda _, rows: taken.append(rows))
        with pytest.raises(LeaseLost):
            await store.transact(Batch(session + 1, tasks=[task(1)]))
        assert taken == [1]


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


SLOW = ALLOWED_S + MOST_OWED_S * 0.4  # three in a row are too much


def test_a_few_that_are_slow_mean_nothing_and_pauses_double_until_what_is_owed_is_paid_back() -> None:
    clock = Clock()
    disk = Promptness(clock)
    took(disk, SLOW, SLOW)
    assert waits(disk, clock) == 0
    pauses = []
    for _ in range(10):
        took(disk, SLOW)
        pauses.append(waits(disk, clock))
    assert pauses == [1, 2, 4, 8, 16, 32, *[LONGEST_PAUSE_S] * 4]
    took(disk, 0.0)
    assert waits(disk, clock) == 0
    took(disk, SLOW)
    assert waits(disk, clock) == LONGEST_PAUSE_S
    took(disk, *[0.0] * 10, SLOW, SLOW)
    assert waits(disk, clock) == 0
    took(disk, SLOW)
    assert waits(disk, clock) == 1


def test_one_that_is_very_slow_is_enough() -> None:
    disk = Promptness(Clock())
    took(disk, 1.0)
    assert not disk.is_prompt


def test_every_other_one_may_not_be_slow_for_ever() -> None:
    disk = Promptness(Clock())
    took(disk, *[SLOW, 0.0] * 10, SLOW)
    assert not disk.is_prompt


def test_one_in_ten_may_be_slow() -> None:
    disk = Promptness(Clock())
    for _ in range(100):
        took(disk, SLOW, *[0.0] * 9)
        assert disk.is_prompt


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
    for _ in range(50):
        disk.took(0.008, rows=500)
    few = Promptness(Clock())
    for _ in range(50):
        few.took(0.008, rows=1)
    assert (disk.is_prompt, few.is_prompt) == (True, False)
