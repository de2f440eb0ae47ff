"""Several processes share the slots of a queue: never more bodies than slots, and the dead leave theirs."""

from __future__ import annotations

from pathlib import Path

import asyncpg
from returns.result import Success

from cloaca import Runner
from tests.crashes.processes import life, rows, until
from tests.crashes.programs import Job, One
from tests.crashes.queue_programs import LIMIT, QUEUES, passing, serve, staying
from tests.runner.databases import asynchronous, eventually

LEASE_S = 1.0


async def slots(url: str) -> int:
    """How many slots are held or waited for."""
    if url.startswith("sqlite"):
        return int(rows(Path(url.removeprefix("sqlite:///")), "SELECT count(*) FROM cloaca_slot")[0][0])
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM cloaca.cloaca_slot"))
    finally:
        await connection.close()


def lines(folder: Path) -> list[tuple[str, int, int]]:
    """What the bodies have noted: what happened, in which process, to which job."""
    file = folder / "log"
    found = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return [(what, int(pid), int(number)) for what, pid, number in found]


def begun(folder: Path) -> list[int]:
    """The processes in which bodies have begun."""
    return [pid for what, pid, _ in lines(folder) if what == "begin"]


def most_at_once(folder: Path, dead: int | None = None) -> int:
    """How many bodies were at work at once at most. What the ``dead`` did ends with its last line."""
    now = most = 0
    theirs = 0
    found = lines(folder)
    last = max((place for place, (_, pid, _) in enumerate(found) if pid == dead), default=-1)
    for place, (what, pid, _) in enumerate(found):
        step = 1 if what == "begin" else -1
        now += step
        theirs += step if pid == dead else 0
        most = max(most, now)
        if place == last:
            now -= theirs
    return most


@asynchronous
async def test_processes_never_run_more_bodies_than_there_are_slots(url: str, folder: Path) -> None:
    with life(serve, url, folder, 30.0) as one, life(serve, url, folder, 30.0) as other:
        for each in (one, other):
            until((folder / f"ready-{each.pid}").exists)
        async with Runner(url, workflows=[passing], queues=QUEUES, work=False) as submitter:
            jobs = [Job(folder=str(folder), number=number) for number in range(60)]
            handles = [await submitter.start(passing, job) for job in jobs]
            assert [await handle.result() for handle in handles] == [Success(One(one=job.number)) for job in jobs]
        await eventually(lambda: is_empty(url))
        (folder / "leave").touch()
        assert [one.end(), other.end()] == [0, 0]
    assert set(begun(folder)) <= {one.pid, other.pid}  # on a busy machine one may have done it all
    assert len(begun(folder)) == 60
    assert most_at_once(folder) <= LIMIT


@asynchronous
async def test_a_worker_that_is_killed_leaves_its_slots_to_the_others(url: str, folder: Path) -> None:
    with life(serve, url, folder, LEASE_S) as victim:
        until((folder / f"ready-{victim.pid}").exists)
        async with Runner(url, workflows=[staying], queues=QUEUES, work=False) as submitter:
            jobs = [Job(folder=str(folder), number=number) for number in range(8)]
            handles = [await submitter.start(staying, job) for job in jobs]
            until(lambda: len(begun(folder)) == LIMIT)
            await eventually(lambda: all_wait(url, 8))
            with life(serve, url, folder, LEASE_S) as heir:
                until((folder / f"ready-{heir.pid}").exists)
                assert begun(folder) == [victim.pid] * LIMIT
                victim.kill()
                until(lambda: begun(folder).count(heir.pid) == LIMIT)
                (folder / "go").touch()
                assert [await handle.result() for handle in handles] == [Success(One(one=job.number)) for job in jobs]
                await eventually(lambda: is_empty(url))
                (folder / "leave").touch()
                assert heir.end() == 0
    assert most_at_once(folder, dead=victim.pid) == LIMIT


@asynchronous
async def test_kills_at_any_moment_lose_no_slot(url: str, folder: Path) -> None:
    async with Runner(url, workflows=[passing], queues=QUEUES, work=False) as submitter:
        jobs = [Job(folder=str(folder), number=number) for number in range(40)]
        handles = [await submitter.start(passing, job) for job in jobs]
        for count in (5, 15, 25):
            with life(serve, url, folder, LEASE_S) as victim:
                until(lambda count=count: len(begun(folder)) >= count)  # type: ignore[misc]  # a default binds it
                victim.kill()
        with life(serve, url, folder, LEASE_S) as last:
            assert [await handle.result() for handle in handles] == [Success(One(one=job.number)) for job in jobs]
            await eventually(lambda: is_empty(url))
            (folder / "leave").touch()
            assert last.end() == 0


async def is_empty(url: str) -> bool:
    return await slots(url) == 0


async def all_wait(url: str, count: int) -> bool:
    return await slots(url) == count
