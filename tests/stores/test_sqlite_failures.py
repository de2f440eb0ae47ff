"""What goes wrong while a SQLite file is open: it has a name, leaves nothing behind, and does not last."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cloaca.errors import CorruptDatabase, StoreError, StoreUnavailable
from cloaca.ports import Batch, Receipt
from cloaca.stores.sql import connections, failures, sqlite, statements
from cloaca.stores.sql.connections import HandHeld, driver_of, transaction
from cloaca.stores.sql.sqlite import SqliteStore
from tests.stores.asynchronous import asynchronous
from tests.stores.processes import Process, fill
from tests.stores.rows import AT, PLAN, end, new_run, owned, session_of, status_of, task, waiting


@contextlib.asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path / "runs.db")
    await store.open()
    yield store
    await store.close()


def writing(store: SqliteStore) -> sqlite3.Connection:
    assert store._writing is not None
    return driver_of(store._writing)


@asynchronous
async def test_a_full_disk_takes_nothing_until_there_is_room(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        session = await session_of(store)
        await owned(store, session, *range(50))
        batch = Batch(session, tasks=[task(run, output="x" * 3000) for run in range(50)], ends=[end(0)])
        [pages] = writing(store).execute("PRAGMA page_count").fetchone()
        writing(store).execute(f"PRAGMA max_page_count = {pages + 10}")
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="make room on the disk"):
                await store.transact(batch)
        history = await store.history(0)
        assert history is not None
        assert (history.run.status, history.tasks) == ("running", [])
        writing(store).execute("PRAGMA max_page_count = 1000000")
        batch.replay = True
        assert (await store.transact(batch)).disowned == frozenset()
        assert await status_of(store, 0) == "succeeded"


def test_a_system_that_refuses_to_write_loses_nothing(tmp_path: Path) -> None:
    with Process(fill, tmp_path / "runs.db", 2_000_000) as process:
        refused, done = process.end().splitlines()
    assert refused.startswith("StoreUnavailable")
    assert "check the disk" in refused or "make room" in refused
    assert done == "done"


@asynchronous
async def test_a_lock_that_stays_is_named_and_reading_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (connections, sqlite):
        monkeypatch.setattr(module, "BUSY_TIMEOUT_S", 0.01)
    async with opened(tmp_path) as store:
        session = await session_of(store)
        await owned(store, session, 1)
        with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as foreign:
            foreign.execute("BEGIN EXCLUSIVE")
            for asked in (store.cancel(1, AT), store.submit(PLAN, new_run(2)), store.transact(Batch(session))):
                with pytest.raises(StoreUnavailable, match="locked by another program"):
                    await asked
            assert await status_of(store, 1) == "running"
            assert (await store.poll(session, [], AT)).cancelling == []
        assert await store.cancel(1, AT) == "running"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), MemoryError(), ValueError("a bug")])
def test_a_write_that_is_interrupted_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    write = statements.write

    def interrupted(driver: sqlite3.Connection, batch: Batch) -> Receipt:
        write(driver, batch)
        raise error

    async def scenario() -> None:
        async with opened(tmp_path) as store:
            session = await session_of(store)
            await owned(store, session, 1)
            batch = Batch(session, tasks=[task(1)], ends=[end(1)])
            monkeypatch.setattr(statements, "write", interrupted)
            with pytest.raises(type(error)):
                await asyncio.wrap_future(writer(store).submit(outcome, store, batch))
            monkeypatch.setattr(statements, "write", write)
            assert await status_of(store, 1) == "running"
            assert (await store.transact(batch)).disowned == frozenset()

    def outcome(store: SqliteStore, batch: Batch) -> None:
        # On the writer's thread, but past asyncio: an event loop ends where it meets a KeyboardInterrupt.
        with store._transaction() as driver:
            statements.write(driver, batch)

    def writer(store: SqliteStore) -> Any:
        return store._writer

    asyncio.run(scenario())


@pytest.mark.parametrize("word", ["BEGIN", "COMMIT"])
def test_an_interrupt_at_any_moment_leaves_no_transaction_open(tmp_path: Path, word: str) -> None:
    class Interrupted(HandHeld):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            done = super().execute(sql, *parameters) if not sql.startswith("COMMIT") else None
            if sql.startswith(word):
                raise KeyboardInterrupt
            return done or super().execute(sql, *parameters)

    with contextlib.closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None, factory=Interrupted)) as driver:
        driver.execute("CREATE TABLE x (y)")
        with pytest.raises(KeyboardInterrupt), transaction(driver):
            driver.execute("INSERT INTO x VALUES (1)")
        assert not driver.in_transaction
        assert driver.execute("SELECT count(*) FROM x").fetchone() == (0,)


@asynchronous
async def test_a_damaged_page_is_named_when_it_is_read(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await waiting(store, 1)
        [root] = writing(store).execute("SELECT rootpage FROM sqlite_master WHERE name = 'cloaca_run'").fetchone()
    content = bytearray(store.path.read_bytes())
    content[(root - 1) * 4096 : root * 4096] = b"\xab" * 4096
    store.path.write_bytes(content)
    async with opened(tmp_path) as store:
        for asked in (store.run(1), store.history(1), store.cancel(1, AT), store.submit(PLAN, new_run(2))):
            with pytest.raises(CorruptDatabase, match="restore it from a backup"):
                await asked


BAD: dict[str, dict[str, Any]] = {
    "no number": {"created_at": float("nan")},
    "half a character": {"input": "\ud800"},
    "a huge number": {"id": 2**63},
    "no text": {"workflow": object()},
    "nothing": {"version": None},
}


@pytest.mark.parametrize("case", BAD)
@asynchronous
async def test_a_value_that_can_not_be_stored_is_refused(tmp_path: Path, case: str) -> None:
    async with opened(tmp_path) as store:
        session = await session_of(store)
        await owned(store, session, 1)
        batch = Batch(session, tasks=[task(1)], runs=[new_run(2)._replace(**BAD[case])], ends=[end(1)])
        with pytest.raises(StoreError) as refused:
            await store.transact(batch)
        assert not isinstance(refused.value, StoreUnavailable)  # to try again would be in vain
        assert str(store.path) in str(refused.value)
        with pytest.raises(StoreError):
            await store.submit(PLAN, batch.runs[0])
        assert await status_of(store, 1) == "running"
        assert len(await store.runs(workflow=None, status=None, before=None, limit=5)) == 1


@asynchronous
async def test_tables_that_vanish_are_no_reason_to_hang(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        with contextlib.closing(sqlite3.connect(store.path)) as foreign, foreign:
            foreign.execute("DROP TABLE cloaca_run")
        for asked in (store.run(1), store.cancel(1, AT)):
            with pytest.raises(StoreError, match="no such table"):
                await asked


def of_code(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("said the driver")
    error.sqlite_errorcode = code
    return error


NAMED = {
    sqlite3.SQLITE_NOTADB: CorruptDatabase,
    sqlite3.SQLITE_CORRUPT_VTAB: CorruptDatabase,
    sqlite3.SQLITE_READONLY_DBMOVED: StoreUnavailable,
    sqlite3.SQLITE_CANTOPEN_ISDIR: StoreUnavailable,
    sqlite3.SQLITE_IOERR_FSYNC: StoreUnavailable,
    sqlite3.SQLITE_FULL: StoreUnavailable,
    sqlite3.SQLITE_BUSY_SNAPSHOT: StoreUnavailable,
    sqlite3.SQLITE_PROTOCOL: StoreUnavailable,
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: StoreError,
    sqlite3.SQLITE_ERROR: StoreError,
}


@pytest.mark.parametrize("code", NAMED)
def test_every_code_has_a_name(code: int) -> None:
    named = failures.named(Path("/runs.db"), of_code(code))
    assert type(named) is NAMED[code]
    assert "/runs.db" in str(named)
    assert "said the driver" in str(named)


@asynchronous
async def test_a_file_that_is_gone_or_another_is_noticed(tmp_path: Path) -> None:
    """What would be written to it now nobody would ever find; once it is back, everything goes on."""
    async with opened(tmp_path) as store:
        session = await session_of(store)
        await owned(store, session, 1)
        away = store.path.with_name("away.db")
        store.path.rename(away)
        for asked in (store.transact(Batch(session)), store.poll(session, [], AT), store.run(1)):
            with pytest.raises(StoreUnavailable, match=r"runs\.db is gone.*put it back, or leave the runner"):
                await asked
        store.path.write_bytes(b"")
        for asked in (store.transact(Batch(session)), store.poll(session, [], AT), store.run(1)):
            with pytest.raises(StoreUnavailable, match=r"runs\.db is another file than the one that was opened"):
                await asked
        assert store.path.stat().st_size == 0
        away.replace(store.path)
        await store.transact(Batch(session, tasks=[task(1)], ends=[end(1)]))
        assert await status_of(store, 1) == "succeeded"
