"""Opening and closing a SQLite file: what is made, what is refused and left as it was, what is given back."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cloaca.errors import (
    CorruptDatabase,
    DatabaseTooNew,
    ForeignDatabase,
    InvalidDatabaseUrl,
    LeaseLost,
    StoreError,
    StoreUnavailable,
)
from cloaca.ports import Batch, Receipt, RunRow
from cloaca.stores.sql import ownership, queries, sqlite, statements
from cloaca.stores.sql.connections import driver_of, keep_log
from cloaca.stores.sql.locks import GATE, LockFile
from cloaca.stores.sql.revisions import FIRST, last
from cloaca.stores.sql.sqlite import SqliteStore
from tests.stores.asynchronous import asynchronous
from tests.stores.processes import Process, as_nobody
from tests.stores.rows import AT, session_of, status_of, waiting


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def given_back(tmp_path: Path) -> Callable[[], None]:
    """What asserts that no thread that has begun since, and no file in this test's directory, is held any more."""
    before = set(threading.enumerate())

    def check() -> None:
        for thread in set(threading.enumerate()) - before:
            if thread.name.startswith("cloaca-"):
                thread.join(10)
                assert not thread.is_alive()
        links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
        assert not [link for link in links if link.is_symlink() and str(tmp_path) in os.readlink(link)]

    return check


@asynchronous
async def test_commits_are_durable(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    await store.open()
    for connection in (store._writing, store._reading):
        assert connection is not None
        driver = driver_of(connection)
        assert driver.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert driver.execute("PRAGMA synchronous").fetchone() == (2,)
    await store.close()


NAMES = (
    "runs.db", "with space.db", "it's \"quoted\".db", "ünï ✓ \U0001f4a9.db", "a?mode=memory&cache=shared.db",
    "100%41.db", "ha#sh.db", "semi;colon.db", "file:name.db", "-dash.db", ":memory:", "new\nline.db",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@asynchronous
async def test_any_name_is_the_name_of_a_file(tmp_path: Path, name: str) -> None:
    for opening in range(2):
        store = SqliteStore(tmp_path / name)
        await store.open()
        await waiting(store, opening)
        await store.close()
    assert files(tmp_path).keys() == {name, f"{name}-lock"}
    with closing(sqlite3.connect(tmp_path / name)) as connection:
        assert connection.execute("SELECT id FROM cloaca_run ORDER BY id").fetchall() == [(0,), (1,)]


@asynchronous
async def test_a_relative_path_is_of_the_directory_of_its_making(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("runs.db")
    monkeypatch.chdir(tmp_path / "elsewhere")
    await store.open()
    await waiting(store, 1)
    await store.close()
    assert (tmp_path / "runs.db").exists()
    assert not files(tmp_path / "elsewhere")


@asynchronous
async def test_a_link_leads_to_the_same_locks(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "link.db").symlink_to(tmp_path / "runs.db")
    store, linked = SqliteStore(tmp_path / "runs.db"), SqliteStore(tmp_path / "links" / "link.db")
    await store.open()
    await linked.open()
    session = await session_of(store)
    assert await linked.reap(AT) == 0
    assert await session_of(linked) == session + 1
    await linked.close()
    await store.close()
    assert files(tmp_path / "links").keys() == {"link.db"}


@asynchronous
async def test_tables_of_the_program_around_it_stay(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE orders (id)")
        connection.execute("INSERT INTO orders VALUES (7)")
    store = SqliteStore(path)
    await store.open()
    await waiting(store, 1)
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id FROM orders").fetchall() == [(7,)]
        assert connection.execute("SELECT id FROM cloaca_run").fetchall() == [(1,)]


# What is refused


def execute(*script: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in script:
                connection.execute(statement)

    return make


def text(path: Path) -> None:
    path.write_text("dear diary, " * 100)


def one_of_ours(*changes: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        async def use() -> None:
            store = SqliteStore(path)
            await store.open()
            await waiting(store, *range(100))
            await store.close()

        asyncio.run(use())
        execute(*changes)(path)
        path.with_name(path.name + "-lock").unlink()

    return make


def damaged(path: Path) -> None:
    one_of_ours()(path)
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\x00" * 4000 + content[4100:])


META = "CREATE TABLE cloaca_meta (id INTEGER, schema_version)"
REFUSED: dict[str, tuple[Callable[[Path], None], type[StoreError], str]] = {
    "no database": (text, CorruptDatabase, "not a database"),
    "damaged": (damaged, CorruptDatabase, "restore it from a backup"),
    "a table with our prefix": (execute("CREATE TABLE cloaca_pipes (x)"), ForeignDatabase, "cloaca_pipes"),
    "our prefix in capitals": (execute("CREATE TABLE Cloaca_Run (x)"), ForeignDatabase, "choose another database"),
    "meta without a row": (execute(META), ForeignDatabase, "cloaca_meta"),
    "meta of another shape": (execute("CREATE TABLE cloaca_meta (x)"), ForeignDatabase, "cloaca_meta"),
    "meta with text": (execute(META, "INSERT INTO cloaca_meta VALUES (1, 'a')"), ForeignDatabase, "cloaca_meta"),
    "a newer release": (
        one_of_ours(f"UPDATE cloaca_meta SET schema_version = {int(last()) + 1}"), DatabaseTooNew, "upgrade cloaca"
    ),
    "a table is missing": (one_of_ours("DROP TABLE cloaca_task"), CorruptDatabase, "cloaca_task"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_left_as_it_was(tmp_path: Path, case: str, given_back: Callable[[], None]) -> None:
    make, error, words = REFUSED[case]
    path = tmp_path / "runs.db"
    make(path)
    before = files(tmp_path)
    refuse(path, error, words)
    after = files(tmp_path)
    assert after["runs.db"] == before["runs.db"]
    assert after.keys() - before.keys() <= {"runs.db-shm", "runs.db-wal"}  # whoever looks at a log makes these
    assert not after.get("runs.db-wal")
    given_back()


def test_a_log_that_another_program_left_is_left_as_it_was(tmp_path: Path) -> None:
    """A program that crashed has left a write-ahead log: looking at the file must not write it back."""
    for name in ("live", "crashed"):
        (tmp_path / name).mkdir()
    with closing(sqlite3.connect(tmp_path / "live" / "runs.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE cloaca_pipes (x)")
        for path in (tmp_path / "live").iterdir():
            if not path.name.endswith("-shm"):
                shutil.copy(path, tmp_path / "crashed")
    before = files(tmp_path / "crashed")
    assert before["runs.db-wal"]
    refuse(tmp_path / "crashed" / "runs.db", ForeignDatabase, "cloaca_pipes")
    after = files(tmp_path / "crashed")
    assert {name: after[name] for name in before} == before
    assert "runs.db-lock" not in after


def refuse(path: Path, error: type[StoreError], words: str) -> None:
    @asynchronous
    async def refused() -> None:
        store = SqliteStore(path)
        with pytest.raises(StoreError) as caught:
            await store.open()
        assert type(caught.value) is error
        assert str(path) in str(caught.value)
        assert words in str(caught.value)
        await store.close()

    refused()


@asynchronous
async def test_a_file_after_a_crash_of_its_program_is_recovered(tmp_path: Path) -> None:
    """A rollback journal was left: the file can't be looked at without writing it, and is ours to use."""
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE orders (id)")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("PRAGMA cache_spill = 1")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO orders VALUES (?)", [("x" * 4000,)] * 50)
        (tmp_path / "crashed").mkdir()
        for name in ("shop.db", "shop.db-journal"):
            shutil.copy(tmp_path / name, tmp_path / "crashed")
    store = SqliteStore(tmp_path / "crashed" / "shop.db")
    await store.open()
    await waiting(store, 1)
    await store.close()
    with closing(sqlite3.connect(tmp_path / "crashed" / "shop.db")) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (0,)


def test_a_path_that_can_not_be_a_file_is_refused(tmp_path: Path, given_back: Callable[[], None]) -> None:
    (tmp_path / "file").write_text("")
    refuse(tmp_path, StoreUnavailable, "is a directory")
    for parent in (tmp_path / "missing", tmp_path / "file"):
        refuse(parent / "runs.db", StoreUnavailable, "is no directory")
    with pytest.raises(InvalidDatabaseUrl):
        asyncio.run(SqliteStore(tmp_path / "nul\0.db").open())
    given_back()


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that every user can reach."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def test_a_file_that_may_not_be_written_is_refused(shared: Path) -> None:
    modes = [(0o777, 0o444), (0o777, 0o000), (0o555, 0o666), (0o000, 0o666), (0o555, None)]
    paths = {}
    for number, (directory_mode, file_mode) in enumerate(modes):
        path = shared / str(number) / "runs.db"
        path.parent.mkdir()
        if file_mode is not None:
            one_of_ours()(path)
            path.chmod(0o666)
        paths[path] = files(path.parent)
        if file_mode is not None:
            path.chmod(file_mode)
        path.parent.chmod(directory_mode)
    allowed = shared / "allowed" / "runs.db"
    allowed.parent.mkdir()
    one_of_ours()(allowed)
    allowed.parent.chmod(0o777)
    allowed.chmod(0o666)
    allowed.with_name("runs.db-lock").touch(mode=0o444)  # then there are no locks, and no need of them
    with Process(as_nobody, *paths, allowed) as process:
        *said, last = process.end().splitlines()
    assert last == "opened"
    for line, (path, before) in zip(said, paths.items(), strict=True):
        assert line.startswith(f"StoreUnavailable {path} can't be opened for writing")
        path.parent.chmod(0o777)
        if before:
            path.chmod(0o666)
        assert before.items() <= files(path.parent).items()


@asynchronous
async def test_who_may_write_the_file_may_write_its_locks(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    sqlite3.connect(path).close()
    path.touch()
    path.chmod(0o666)
    store = SqliteStore(path)
    await store.open()
    await store.close()
    assert (tmp_path / "runs.db-lock").stat().st_mode & 0o777 == 0o666


# What is given back


@asynchronous
async def test_closing_gives_everything_back(tmp_path: Path, given_back: Callable[[], None]) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    await store.close()
    await store.open()
    await session_of(store)
    assert store._writer is not None
    await asyncio.gather(store.close(), store.close())
    await store.close()
    given_back()
    with pytest.raises(StoreUnavailable, match="is not open"):
        await store.run(1)
    with pytest.raises(StoreUnavailable, match="is not open"):
        await store.cancel(1, AT)
    await store.open()
    await store.close()
    given_back()


@pytest.mark.parametrize("step", ["keep_log", "LockFile", "opened", "engine_of"])
@pytest.mark.parametrize("error", [sqlite3.OperationalError("no"), OSError(24, "too many"), KeyboardInterrupt()])
def test_an_opening_that_fails_halfway_gives_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException, given_back: Callable[[], None]
) -> None:
    def fail(*_: object) -> None:
        raise error

    async def opened() -> None:
        await SqliteStore(tmp_path / "runs.db").open()

    with monkeypatch.context() as patched:
        patched.setattr(sqlite, step, fail)
        with pytest.raises((StoreError, KeyboardInterrupt)):
            asyncio.run(opened())
    given_back()
    asyncio.run(opened_and_closed(tmp_path / "runs.db"))


@asynchronous
async def test_an_opening_that_is_cancelled_gives_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given_back: Callable[[], None]
) -> None:
    began, goes_on = threading.Event(), threading.Event()

    def slow(driver: sqlite3.Connection) -> None:
        began.set()
        assert goes_on.wait(10)
        keep_log(driver)

    monkeypatch.setattr(sqlite, "keep_log", slow)
    store = SqliteStore(tmp_path / "runs.db")
    opening = asyncio.create_task(store.open())
    await asyncio.to_thread(began.wait, 10)
    opening.cancel()
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    given_back()


@asynchronous
async def test_closing_lets_what_was_asked_before_be_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, goes_on, find = threading.Event(), threading.Event(), queries.run

    def slow(driver: sqlite3.Connection, run: int) -> RunRow | None:
        began.set()
        assert goes_on.wait(10)
        return find(driver, run)

    monkeypatch.setattr(queries, "run", slow)
    store = SqliteStore(tmp_path / "runs.db")
    await store.open()
    await waiting(store, 1)
    asked = asyncio.create_task(status_of(store, 1))
    await asyncio.to_thread(began.wait, 10)
    written = asyncio.create_task(store.cancel(1, AT))
    await asyncio.sleep(0)
    closing = asyncio.create_task(store.close())
    assert await written == "cancelled"
    goes_on.set()
    assert await asked == "cancelled"
    await closing


# Together


async def opened_and_closed(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.close()


@asynchronous
async def test_many_make_a_new_file_at_once(tmp_path: Path) -> None:
    for attempt in range(10):
        await asyncio.gather(*(opened_and_closed(tmp_path / f"{attempt}.db") for _ in range(6)))
        with closing(sqlite3.connect(tmp_path / f"{attempt}.db")) as connection:
            assert connection.execute("SELECT id, schema_version FROM cloaca_meta").fetchall() == [(1, int(FIRST))]


@asynchronous
async def test_two_stores_of_one_process_share_a_file(tmp_path: Path) -> None:
    first, second = SqliteStore(tmp_path / "runs.db"), SqliteStore(tmp_path / "runs.db")
    await first.open()
    await second.open()
    mine, theirs = await session_of(first), await session_of(second)
    await waiting(first, *range(20))
    claims = await asyncio.gather(
        *(
            store.claim(session, ["orders"], 5, AT, suspects=False)
            for store, session in [(first, mine), (second, theirs)] * 2
        )
    )
    assert sorted(history.run.id for claimed in claims for history in claimed) == list(range(20))
    assert await first.reap(AT) == await second.reap(AT) == 0  # each knows that the other lives
    await first.close()
    assert await second.reap(AT) == 10  # and that it has gone without a word
    assert await status_of(second, 0) in ("pending", "running")
    await second.close()


@asynchronous
async def test_one_writes_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = SqliteStore(tmp_path / "runs.db"), LockFile(tmp_path / "runs.db")
    write, entered = statements.write, []

    def watched(driver: sqlite3.Connection, batch: Batch) -> Receipt:
        entered.append(other._set(GATE, fcntl.F_WRLCK))
        return write(driver, batch)

    await store.open()
    session = await session_of(store)
    monkeypatch.setattr(statements, "write", watched)
    await store.transact(Batch(session))
    assert entered == [False]
    assert other._set(GATE, fcntl.F_WRLCK)
    other.close()
    await store.close()


@asynchronous
async def test_a_session_that_could_not_be_opened_shows_no_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id goes to the next, perhaps in another process, who must be able to show its own."""
    first, second, third = (SqliteStore(tmp_path / "runs.db") for _ in range(3))
    for store in (first, second, third):
        await store.open()

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("no")

    with monkeypatch.context() as patched:
        patched.setattr(ownership, "show_life", fail)
        with pytest.raises(StoreError):
            await session_of(first)
    assert await session_of(second) == 1
    assert await third.reap(AT) == 0
    await second.close()
    await third.reap(AT)
    with pytest.raises(LeaseLost):
        await third.transact(Batch(1))
    await third.close()
    await first.close()
