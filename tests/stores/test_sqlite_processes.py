"""Several processes on one SQLite file: nobody sees an error, and it is known who lives and who is dead."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from cloaca.stores.sql import locks
from cloaca.stores.sql.sqlite import SqliteStore
from tests.stores.asynchronous import asynchronous
from tests.stores.processes import Process, count, fork, live
from tests.stores.rows import AT, FAR, status_of

PROCESSES, RUNS = 8, 50
HELD_S = 2.0


def test_many_processes_and_a_foreign_writer_share_a_file(tmp_path: Path) -> None:
    """They make the file at once, and another program holds the write lock for seconds: no error reaches anyone."""
    path = tmp_path / "runs.db"
    with Process(count, path, PROCESSES, RUNS) as processes:
        assert processes.line() == "ready"
        processes.go_on()
        asyncio.run(opened_and_closed(path))
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as foreign:
            foreign.execute("PRAGMA busy_timeout = 10000")
            foreign.execute("BEGIN IMMEDIATE")
            time.sleep(HELD_S)
            foreign.execute("COMMIT")
        assert processes.end() == f"{PROCESSES} done"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        ended = connection.execute("SELECT status, count(*) FROM cloaca_run GROUP BY status").fetchall()
        tasks = connection.execute("SELECT count(*), count(DISTINCT session) FROM cloaca_task").fetchall()
    assert ended == [("succeeded", PROCESSES * RUNS)]
    assert tasks == [(2 * PROCESSES * RUNS, PROCESSES)]


async def opened_and_closed(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.close()


@pytest.mark.skipif(not locks.AVAILABLE, reason="needs open file description locks")
@asynchronous
async def test_a_stopped_process_lives_and_a_killed_one_is_dead_at_once(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    store = SqliteStore(path)
    await store.open()
    session = await store.open_session("here", AT, FAR)
    with Process(live, path, 1) as process, Process(fork, path, 2) as parent:
        assert process.line() == "ready"
        child = int(parent.line().removeprefix("ready "))
        process.popen.send_signal(signal.SIGSTOP)
        assert not (await store.poll(session, [], AT)).expired
        assert await store.reap(AT) == 0
        kill(process)
        assert (await store.poll(session, [], AT)).expired
        assert await store.reap(AT) == 1
        assert [await status_of(store, run) for run in (1, 2)] == ["pending", "running"]
        kill(parent)
        os.kill(child, 0)  # its child lives, and shows nobody's life
        assert await store.reap(AT) == 1
        os.kill(child, signal.SIGKILL)
    await store.close()


def kill(process: Process) -> None:
    """Kill a process, and wait until it is gone."""
    process.popen.kill()
    process.popen.wait()


@asynchronous
async def test_a_sign_of_life_in_a_file_that_is_gone_says_nothing(tmp_path: Path) -> None:
    """Somebody has removed the lock file under a live worker: only its lease says that it is dead."""
    store, other = SqliteStore(tmp_path / "runs.db"), SqliteStore(tmp_path / "runs.db")
    await store.open()
    await store.open_session("here", AT, FAR)
    (tmp_path / "runs.db-lock").unlink()
    await other.open()
    assert await other.reap(FAR) == 0
    session = await other.open_session("there", AT, FAR * 2)
    assert not (await other.poll(session, [], FAR)).expired
    assert (await other.poll(session, [], FAR + 1)).expired
    await other.close()
    await store.close()
