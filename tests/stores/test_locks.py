"""The locks beside a database: one writer at a time, in line, and signs of life that end with their process."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cloaca.stores.sql import locks
from cloaca.stores.sql.locks import LockFile

pytestmark = pytest.mark.skipif(not locks.AVAILABLE, reason="needs open file description locks")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


def test_one_at_a_time_is_inside(database: Path) -> None:
    inside, most = [], []

    def enter(holder: LockFile) -> None:
        for _ in range(50):
            with holder.gate():
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    holders = [LockFile(database) for _ in range(4)]
    threads = [threading.Thread(target=enter, args=(holder,)) for holder in holders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 200
    for holder in holders:
        holder.close()


def test_nobody_overtakes_the_one_who_is_next(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that commits again and again leaves the gate for moments only: it must stand in line each time."""
    busy, waiting = LockFile(database), LockFile(database)
    entered = threading.Event()

    def enter() -> None:
        with waiting.gate():
            entered.set()

    thread = threading.Thread(target=enter)
    with busy.gate():
        thread.start()
        while waiting._set(locks.NEXT, locks._EXCLUSIVE) and busy._set(locks.NEXT, locks._EXCLUSIVE):
            busy._set(locks.NEXT, locks._UNLOCK)  # until the other has its place in line
    with busy.gate():
        assert entered.is_set()
    thread.join()
    busy.close()
    waiting.close()


def test_a_holder_that_is_stopped_holds_nobody_up(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LONGEST_WAIT_S", 0.01)
    waits: list[float] = []
    monkeypatch.setattr("cloaca.stores.sql.locks.time.sleep", waits.append)
    stopped, holder = LockFile(database), LockFile(database)
    with stopped.gate():
        with holder.gate():
            assert waits
        waits.clear()
        with holder.gate():
            assert not waits  # it has learnt that waiting is in vain
    with holder.gate(), stopped.gate():
        assert waits  # it has the gate again, so that the other one waits
    stopped.close()
    holder.close()


def test_signs_of_life_end_with_their_holder(database: Path) -> None:
    one, other, third = LockFile(database), LockFile(database), LockFile(database)
    assert one.live(7)
    assert one.live(2**40)
    assert other.live(8)
    assert not other.live(7)
    assert not third.is_dead(7)
    assert not third.is_dead(2**40)
    assert third.is_dead(9)
    one.leave(7)
    assert third.is_dead(7)
    assert other.live(7)
    one.close()
    one.close()
    assert third.is_dead(2**40)
    assert not third.is_dead(7)
    other.close()
    assert third.is_dead(7)
    third.close()
    assert not third.is_dead(7)  # who has no locks knows nothing


def test_to_look_is_not_to_touch(database: Path) -> None:
    """Looking whether a worker is dead must not take the lock that it is about to take."""
    worker, looking = LockFile(database), LockFile(database)
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            looking.is_dead(7)

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(300):
        assert worker.live(7)
        worker.leave(7)
    done.set()
    thread.join()
    worker.close()
    looking.close()


def test_a_file_that_was_replaced_is_another_file(database: Path) -> None:
    older = LockFile(database)
    older.path.unlink()
    newer, newest = LockFile(database), LockFile(database)
    assert older.identity != newer.identity
    assert newer.identity == newest.identity
    for holder in (older, newer, newest):
        holder.close()


def test_without_locks_the_gate_is_open_and_nobody_is_dead(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "AVAILABLE", False)
    one, other = LockFile(database), LockFile(database)
    assert one.identity is None
    with one.gate(), other.gate():
        assert not one.live(7)
        assert not other.is_dead(7)
    one.leave(7)
    one.close()
    assert not database.with_name("runs.db-lock").exists()


def test_a_file_system_without_locks_is_no_obstacle(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr("cloaca.stores.sql.locks.fcntl.fcntl", refuse)
    holder = LockFile(database)
    assert holder.identity is None
    with holder.gate():
        assert not holder.live(7)
    holder.close()
