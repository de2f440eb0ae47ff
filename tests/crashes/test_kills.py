"""Processes killed with SIGKILL: what was committed stays and never runs again, what was not runs again as it was."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from returns.result import Failure, Success

from cloaca import RunFailure, Runner
from cloaca.stores.memory import MemoryStore
from tests.crashes.processes import Life, assert_sound, begun, life, log, rows, until
from tests.crashes.programs import (
    WORKFLOWS,
    Job,
    One,
    Total,
    begin,
    chain,
    delayed,
    innocent,
    killer,
    pipeline,
    start_with_key,
    work,
)
from tests.runner.databases import asynchronous


async def started(database: Path, workflow: Any, *jobs: Job) -> list[str]:
    """Start runs and leave them to whoever works."""
    async with Runner(database, workflows=WORKFLOWS, work=False) as runner:
        return [(await runner.start(workflow, job)).id for job in jobs]


@asynchronous
async def test_a_run_goes_on_where_it_was(database: Path, folder: Path) -> None:
    [run] = await started(database, chain, Job(folder=str(folder), number=7))
    with life(work, database, folder) as worker:
        until(lambda: begun(folder, "waits") and begun(folder, "blocks"))
        worker.kill()
    assert rows(database, "SELECT name, status FROM cloaca_task") == [("first", "succeeded")]
    killed_at = time.time()
    (folder / "go").touch()
    async with Runner(database, workflows=WORKFLOWS) as runner:  # its lease is of 30 seconds, as the dead one's
        handle = await runner.get(run)
        assert await handle.result(timeout=20) == Success(Total(total=17))
        kinds = [event.kind async for event in handle.events()]
        assert kinds.count("run_recovered") == 1
        assert (await handle.failures()) == []
    entries = log(folder)
    assert Counter(entry["task"] for entry in entries) == {"first": 1, "waits": 2, "blocks": 2, "last": 1}
    for name in ("waits", "blocks"):
        before, after = (entry for entry in entries if entry["task"] == name)
        assert (before["attempt"], after["attempt"]) == (1, 1)
        assert before["key"] == after["key"]
        assert before["pid"] != after["pid"]
        assert after["at"] - killed_at < 10  # taken over at once, not when the lease runs out
    assert_sound(database)


@asynchronous
async def test_a_peer_takes_over_from_the_dead(database: Path, folder: Path) -> None:
    """No restart: another process is there already."""
    [run] = await started(database, chain, Job(folder=str(folder), number=1))
    with life(work, database, folder) as worker:
        until(lambda: begun(folder, "waits") and begun(folder, "blocks"))
        with life(work, database, folder) as peer:
            until((folder / f"ready-{peer.pid}").exists)
            worker.kill()
            until(lambda: begun(folder, "waits", 2) and begun(folder, "blocks", 2), within_s=15)
            (folder / "go").touch()
            until(lambda: rows(database, "SELECT status FROM cloaca_run") == [("succeeded",)])
            assert {entry["pid"] for entry in log(folder) if entry["task"] == "last"} == {peer.pid}
    assert run
    assert_sound(database)


@asynchronous
async def test_a_retry_delay_and_the_count_of_attempts_survive(database: Path, folder: Path) -> None:
    [run] = await started(database, delayed, Job(folder=str(folder), number=0))
    with life(work, database, folder) as worker:
        until(lambda: bool(rows(database, "SELECT 1 FROM cloaca_failure")))
        worker.kill()
    [(retry_at,)] = rows(database, "SELECT retry_at FROM cloaca_failure")
    async with Runner(database, workflows=WORKFLOWS) as runner:
        handle = await runner.get(run)
        assert await handle.result() == Success(One(one=2))
        assert [failure.attempt for failure in await handle.failures()] == [1]
    first, second = log(folder)
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert first["key"] == second["key"]
    assert retry_at - 0.001 <= second["at"] < retry_at + 5
    assert_sound(database)


@asynchronous
async def test_a_dead_workers_run_is_cancelled(database: Path, folder: Path) -> None:
    """Nobody else works here: whoever cancels finds out that the worker is dead."""
    [run] = await started(database, chain, Job(folder=str(folder), number=1))
    with life(work, database, folder) as worker:
        until(lambda: begun(folder, "waits") and begun(folder, "blocks"))
        worker.kill()
    async with Runner(database, workflows=WORKFLOWS, work=False) as runner:
        handle = await runner.get(run)
        await asyncio.wait_for(handle.cancel(), 10)
        assert await handle.status() == "cancelled"
    assert_sound(database)


# Kills at random moments

RUNS = 12
KILLS = 4  # a fifth would be one too many: runs that were there at each would be taken for killers


async def undisturbed(folder: Path) -> list[str]:
    """Return the outcomes of all runs in a world without kills."""
    async with Runner("memory://", store=MemoryStore(), workflows=WORKFLOWS) as runner:
        jobs = [Job(folder=str(folder), number=number) for number in range(RUNS)]
        return [brief(outcome) for outcome in await asyncio.gather(*(runner.run(pipeline, job) for job in jobs))]


def brief(outcome: Any) -> str:
    match outcome:
        case Success(value):
            return f"{value}"
        case Failure(RunFailure(task=task, error=error)):
            return f"{task}: {error}"
        case _:
            return f"{outcome}"


@pytest.mark.parametrize("seed", range(8))
def test_random_kills_change_nothing(database: Path, folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    calm = folder / "calm"
    calm.mkdir()
    expected = asyncio.run(undisturbed(calm))
    committed: list[tuple[int, set[tuple[str, str]]]] = []
    worker = Life(begin, database, folder, range(RUNS))
    try:
        for _ in range(KILLS):
            length = len(log(folder)) + chance.randint(1, 45)
            until(lambda length=length: len(log(folder)) >= length or ended(database))  # type: ignore[misc]  # a default
            time.sleep(chance.uniform(0, 0.003))
            worker.kill()
            done = {(str(run), name) for run, name in rows(database, "SELECT run_id, name FROM cloaca_task")}
            committed.append((len(log(folder)), done))
            worker = Life(begin, database, folder, range(RUNS))
        until((folder / f"ready-{worker.pid}").exists)
        until(lambda: ended(database))
        (folder / "leave").touch()
        assert worker.end() == 0
    finally:
        worker.kill()
    assert asyncio.run(outcomes_in(database)) == expected
    assert_sound(database)
    entries = log(folder)
    for length, kept in committed:
        assert [entry for entry in entries[length:] if (entry["run"], entry["task"]) in kept] == []
    # The attempts that failed are those that fail in a calm world, however often they were cut off.
    failed = rows(database, "SELECT name, attempt, count(*) FROM cloaca_failure GROUP BY 1, 2")
    calm_failures = {("joins", 1): RUNS}
    for place in range(6):
        calm_failures.update({(f"w{place}", attempt): RUNS for attempt in range(1, place % 3 + 1)})
    refused = sum("multiple of five" in outcome for outcome in expected)
    assert {(name, attempt): count for name, attempt, count in failed} == calm_failures | {("x1", 1): refused}
    # Whatever was executed twice was cut off by a kill in between.
    seen: dict[tuple[str, str, int], int] = {}
    for entry in entries:
        which = (entry["run"], entry["task"], entry["attempt"])
        assert seen.get(which) != entry["pid"], f"{which} ran twice in one process"
        seen[which] = entry["pid"]


def ended(database: Path) -> bool:
    """Whether every run that was to be started has ended."""
    if not database.exists() or not rows(database, "SELECT 1 FROM sqlite_master WHERE name = 'cloaca_run'"):
        return False
    return rows(database, "SELECT count(*) FROM cloaca_run WHERE finished_at IS NOT NULL") == [(RUNS,)]


async def outcomes_in(database: Path) -> list[str]:
    async with Runner(database, workflows=WORKFLOWS, work=False) as runner:
        runs = await runner.runs(workflow=pipeline, limit=1000)
        assert len(runs) == RUNS
        in_order = sorted(runs, key=lambda info: int((info.key or "").split()[-1]))
        return [brief(await (await runner.get(info.id)).result()) for info in in_order]


# Runs that kill


@asynchronous
async def test_a_run_that_kills_its_workers_ends_and_the_others_finish(database: Path, folder: Path) -> None:
    [bad] = await started(database, killer, Job(folder=str(folder), number=0))
    good = await started(database, innocent, *(Job(folder=str(folder), number=number) for number in range(5)))
    lives = 0
    status = "SELECT status FROM cloaca_run WHERE id = ?"
    while rows(database, status, int(bad)) != [("failed",)]:
        assert lives < 12, "a crash loop"
        with life(work, database, folder) as worker:
            until(lambda: not worker.is_alive() or rows(database, status, int(bad)) == [("failed",)])
        lives += 1
        good += await started(database, innocent, Job(folder=str(folder), number=100 + lives))
    async with Runner(database, workflows=WORKFLOWS) as runner:
        handle = await runner.get(bad)
        match await handle.result():
            case Failure(RunFailure(status="failed", task=None, error=None, failures=(lost,))):
                assert lost.exception_type == "WorkerLost"
                assert "5 workers died while they drove this run; it is not tried again" in lost.message
            case other:
                pytest.fail(f"{other}")
        [info] = await runner.runs(workflow=killer)
        assert info.reason is not None
        assert "5 workers died" in info.reason
        kinds = [event.kind async for event in handle.events()]
        assert kinds.count("run_recovered") == 5
        assert kinds[-1] == "run_failed"
        for run in good:
            assert isinstance(await (await runner.get(run)).result(timeout=20), Success)
    assert lives == 6  # five deaths, and one that lived to say so
    assert_sound(database)


# Keys


@asynchronous
async def test_two_processes_with_one_key(database: Path, folder: Path) -> None:
    names = ["a", "b", "c"]
    lives = [Life(start_with_key, database, folder, name, 7) for name in names]
    try:
        until(lambda: len(list(folder.glob("ready-*"))) == len(names))
        (folder / "all").touch()
        assert [each.end() for each in lives] == [0] * len(names)
    finally:
        for each in lives:
            each.kill()
    results = {(folder / f"{name}.result").read_text() for name in names}
    assert len(results) == 1
    [(count,)] = rows(database, "SELECT count(*) FROM cloaca_run")
    assert count == 1
    assert len(log(folder)) == 1
    assert_sound(database)
