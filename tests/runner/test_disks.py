"""A disk that fills up under running work, and is freed again; a disk that can't be written at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from returns.result import Success

from cloaca import BlockingRunner, RunHandle, Runner, StoreUnavailable, Workflow, task
from tests.runner.databases import asynchronous
from tests.runner.shop import A, B, C, Item, Order, shop


def mounted(directory: Path, options: str) -> bool:
    call = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "cloaca-test", str(directory)], capture_output=True, check=False
    )
    return call.returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes. Needs the right to mount."""
    directory = tmp_path / "disk"
    directory.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0 or not mounted(directory, "size=2m"):
        pytest.skip("only root can mount a small disk")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room that is left."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


BULK = 100_000


@asynchronous
async def test_a_disk_that_fills_up_and_is_freed_again(disk: Path) -> None:
    path = disk / "runs.db"
    release = asyncio.Event()
    ran: list[str] = []

    @task
    async def hold(order: Order) -> Item:
        ran.append(f"hold {order.order}")
        await release.wait()
        return Item(sku=f"{order.order}" * BULK)

    @task
    async def end(item: Item) -> B:
        ran.append(f"end {item.sku[0]}")
        return B(b=len(item.sku))

    @task
    async def measure(item: Item) -> C:
        return C(c=len(item.sku))

    held, bulky = Workflow("held", hold >> end), Workflow("bulky", measure)
    async with Runner(path, workflows=[held, bulky]) as runner:
        handles = [await runner.start(held, Order(order=order)) for order in range(1, 9)]
        filler = fill(disk)
        release.set()
        started: list[RunHandle[C, object]] = []
        with pytest.raises(StoreUnavailable, match=r"runs\.db can't be written .*disk"):
            await start_until_refused(runner, bulky, started)
        assert await handles[-1].status() == "running"  # what is stored can be read
        assert "end 8" not in ran
        with pytest.raises(StoreUnavailable, match="can't be written"):
            await runner.start(bulky, Item(sku="x" * BULK))
        filler.unlink()
        assert [await handle.result() for handle in handles] == [Success(B(b=BULK))] * 8
        assert [await handle.result() for handle in started] == [Success(C(c=BULK))] * len(started)
        assert await runner.run(bulky, Item(sku="x")) == Success(C(c=1))
        assert len(await runner.runs()) == 9 + len(started)
    assert sorted(ran) == sorted([f"hold {n}" for n in range(1, 9)] + [f"end {n}" for n in range(1, 9)])
    assert_sound(path)


async def start_until_refused(runner: Runner, workflow: Workflow[Item, C], started: list[RunHandle[C, object]]) -> None:
    for _ in range(20):  # the log may have room for a few
        started.append(await runner.start(workflow, Item(sku="x" * BULK)))


@asynchronous
async def test_a_runner_on_a_full_disk(disk: Path) -> None:
    filler = fill(disk)
    with pytest.raises(StoreUnavailable, match="can't be written"):
        async with Runner(disk / "runs.db", workflows=[shop]):
            pytest.fail("opened")
    filler.unlink()
    async with Runner(disk / "runs.db", workflows=[shop]) as runner:
        assert isinstance(await runner.run(shop, Order(order=1)), Success)


@asynchronous
async def test_a_disk_that_becomes_read_only(disk: Path) -> None:
    path = disk / "runs.db"
    async with Runner(path, workflows=[shop]) as runner:
        await runner.run(shop, Order(order=1))
    assert mounted(disk, "remount,ro")
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="can't be opened for writing"):
        async with Runner(path, workflows=[shop]):
            pytest.fail("opened")
    assert path.read_bytes() == before
    assert mounted(disk, "remount,rw")
    async with Runner(path, workflows=[shop]) as runner:
        assert len(await runner.runs()) == 1


def assert_sound(path: Path) -> None:
    """SQLite finds nothing wrong with the file; each task has one row."""
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        twice = "SELECT run_id, name FROM cloaca_task GROUP BY 1, 2 HAVING count(*) > 1"
        assert connection.execute(twice).fetchall() == []
        assert connection.execute("SELECT DISTINCT status FROM cloaca_run").fetchall() == [("succeeded",)]
    connection.close()


# The same without root: a limit on the size of files, in a process of its own


def limited(path: str) -> None:
    """Run under a limit that is in the way, and then is lifted; print what became of it."""
    import resource  # noqa: PLC0415 - absent on Windows, and needed in the child alone

    ran: list[int] = []

    @task
    def work(item: Item) -> A:
        ran.append(len(item.sku))
        return A(a=len(item.sku))

    workflow = Workflow("limited", work >> seed_of)
    unavailable = 0
    with BlockingRunner(Path(path), workflows=[workflow]) as runner:
        runner.run(workflow, Item(sku="x"))
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        handles = []
        for _ in range(30):
            try:
                handles.append(runner.start(workflow, Item(sku="x" * BULK)))
            except StoreUnavailable:
                unavailable += 1
                break
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        outcomes = [handle.result(timeout=20).unwrap().b for handle in handles]
        runner.run(workflow, Item(sku="x"))
        listed = len(runner.runs())
    print(json.dumps({"unavailable": unavailable, "outcomes": outcomes, "listed": listed, "ran": len(ran)}))


@task
def seed_of(a: A) -> B:
    return B(b=a.a)


@pytest.mark.skipif(sys.platform == "win32", reason="limits on the size of files")
def test_a_limit_that_is_hit_and_lifted(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    program = f"from tests.runner.test_disks import limited; limited({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    count = len(found["outcomes"])
    assert found["unavailable"] == 1
    assert 0 < count < 30
    assert found["outcomes"] == [BULK] * count
    assert found["listed"] == found["ran"] == count + 2
    assert_sound(path)
