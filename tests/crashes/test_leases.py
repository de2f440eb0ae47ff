"""A worker that is stopped past its lease: another takes its runs over, and what it reports later is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from returns.result import Success

from cloaca import Runner
from tests.crashes.processes import assert_sound, begun, life, log, rows, until
from tests.crashes.programs import WORKFLOWS, Job, One, Total, chain, innocent, work
from tests.runner.databases import asynchronous, eventually

LEASE_S = 1.0


@asynchronous
async def test_a_worker_that_wakes_up_late_commits_nothing(database: Path, folder: Path) -> None:
    with life(work, database, folder, LEASE_S) as worker:
        until((folder / f"ready-{worker.pid}").exists)
        async with Runner(database, workflows=WORKFLOWS, work=False) as submitter:
            handle = await submitter.start(chain, Job(folder=str(folder), number=1))
            await eventually(lambda: both_begun(folder, 1))
            worker.freeze(database)
            async with Runner(database, workflows=WORKFLOWS, lease_s=LEASE_S):
                await eventually(lambda: both_begun(folder, 2))  # the lease has run out: the peer has the run
                (folder / "go").touch()
                assert await handle.result() == Success(Total(total=5))
                before = stored(database)
                worker.thaw()  # its bodies return, and it reports them
                late = await submitter.start(innocent, Job(folder=str(folder), number=3))
                await late.result()
                assert sessions(database, handle.id) == 1
            # The peer is gone: whatever runs now, the late worker does, under a new session.
            after = await submitter.start(innocent, Job(folder=str(folder), number=4))
            assert await after.result() == Success(One(one=4))
            assert {entry["pid"] for entry in log(folder) if entry["run"] == after.id} == {worker.pid}
            assert stored(database)[: len(before)] == before
    first, second = ([entry for entry in log(folder) if entry["task"] == name] for name in ("waits", "blocks"))
    for entries in (first, second):
        assert [entry["attempt"] for entry in entries] == [1, 1]
        assert entries[0]["key"] == entries[1]["key"]
        assert entries[0]["pid"] == worker.pid != entries[1]["pid"]
    assert [entry["task"] for entry in log(folder)].count("last") == 1
    assert_sound(database)


async def both_begun(folder: Path, times: int) -> bool:
    return begun(folder, "waits", times) and begun(folder, "blocks", times)


def stored(database: Path) -> list[tuple[Any, ...]]:
    return rows(database, "SELECT * FROM cloaca_task ORDER BY rowid")


def sessions(database: Path, run: str) -> int:
    """How many workers have committed the tasks of a run behind its first."""
    found = "SELECT count(DISTINCT session) FROM cloaca_task WHERE run_id = ? AND name <> 'first'"
    [(count,)] = rows(database, found, int(run))
    return int(count)


@asynchronous
async def test_a_worker_that_nobody_missed_goes_on(database: Path, folder: Path) -> None:
    """It was stopped for longer than its lease, but no other was there: nothing is lost, nothing runs twice."""
    with life(work, database, folder, LEASE_S) as worker:
        until((folder / f"ready-{worker.pid}").exists)
        async with Runner(database, workflows=WORKFLOWS, work=False) as submitter:
            handle = await submitter.start(chain, Job(folder=str(folder), number=1))
            await eventually(lambda: both_begun(folder, 1))
            worker.freeze(database)
            await asyncio.sleep(LEASE_S * 1.5)
            worker.thaw()
            (folder / "go").touch()
            assert await handle.result() == Success(Total(total=5))
    assert sorted(entry["task"] for entry in log(folder)) == ["blocks", "first", "last", "waits"]
    assert rows(database, "SELECT crashes FROM cloaca_run") == [(0,)]
    assert_sound(database)


@asynchronous
async def test_a_frozen_worker_is_killed(database: Path, folder: Path) -> None:
    """Stopped, then gone for good: its lock vanishes with it, and nobody waits for the lease."""
    with life(work, database, folder) as worker:  # a lease of 30 seconds
        until((folder / f"ready-{worker.pid}").exists)
        async with Runner(database, workflows=WORKFLOWS) as peer:
            async with Runner(database, workflows=WORKFLOWS, work=False) as submitter:
                handles = [await submitter.start(chain, Job(folder=str(folder), number=n)) for n in range(4)]
            await eventually(lambda: both_begun(folder, 4))
            worker.freeze(database)
            worker.kill()
            (folder / "go").touch()
            for number, handle in enumerate(handles):
                taken = await peer.get(handle.id)
                assert await taken.result(timeout=15) == Success(Total(total=2 * number + 3))
    assert_sound(database)
