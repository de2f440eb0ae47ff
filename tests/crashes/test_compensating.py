"""Workers killed in the middle of undoing, again and again: each step is undone, in order, and no undo is lost."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from cloaca import RunFailure, Runner
from tests.crashes.processes import Life, log, until
from tests.crashes.programs import Job
from tests.crashes.undoing import STEPS, undone, work

RUNS, KILLS = 4, 4


async def started(url: str, folder: Path) -> list[str]:
    async with Runner(url, workflows=[undone], work=False) as runner:
        jobs = [Job(folder=str(folder), number=number) for number in range(RUNS)]
        return [(await runner.start(undone, job)).id for job in jobs]


async def cancelled(url: str, runs: list[str]) -> None:
    async with Runner(url, workflows=[undone], work=False) as runner:
        for run in runs:
            await (await runner.get(run)).cancel()


async def committed(url: str, runs: list[str]) -> set[tuple[str, str]]:
    """Return what is done, by run and name."""
    async with Runner(url, workflows=[undone], work=False) as runner:
        handles = [await runner.get(run) for run in runs]
        return {(each.id, info.name) for each in handles for info in await each.tasks() if info.status == "succeeded"}


def undos(folder: Path) -> int:
    return sum(entry["task"].startswith("undo") for entry in log(folder))


def told(folder: Path) -> int:
    """Return how many runs are at their callbacks, so that there is nothing more to undo."""
    return len({entry["run"] for entry in log(folder) if entry["task"] == "tells"})


@pytest.mark.parametrize("seed", range(2))
def test_kills_while_undoing_lose_nothing(url: str, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    runs = asyncio.run(started(url, tmp_path))
    kept: list[tuple[int, set[tuple[str, str]]]] = []
    worker = Life(work, url, tmp_path)
    try:
        until(lambda: sum(entry["task"] == "breaks" for entry in log(tmp_path)) >= RUNS)
        asyncio.run(cancelled(url, runs[1::2]))
        for _ in range(KILLS):
            enough = undos(tmp_path) + chance.randint(1, 4)
            until(lambda enough=enough: undos(tmp_path) >= enough or told(tmp_path) == RUNS)  # type: ignore[misc]  # a default binds it
            time.sleep(chance.uniform(0, 0.01))
            worker.kill()
            kept.append((len(log(tmp_path)), asyncio.run(committed(url, runs))))
            worker = Life(work, url, tmp_path)
        asyncio.run(check(url, runs))
    finally:
        worker.kill()
    entries = log(tmp_path)
    for length, done in kept:  # what was committed never ran again
        assert [entry for entry in entries[length:] if (entry["run"], entry["task"]) in done] == []
    for run in runs:
        mine = [entry for entry in entries if entry["run"] == run]
        order = list(dict.fromkeys(entry["task"] for entry in mine))
        wanted = [*(f"do{n}" for n in range(STEPS)), "breaks", *(f"undo{n}" for n in reversed(range(STEPS))), "tells"]
        assert order == wanted
        for name in wanted:  # attempts that were cut off go on under the same key
            assert len({entry["key"] for entry in mine if entry["task"] == name}) == 1


async def check(url: str, runs: list[str]) -> None:
    async with Runner(url, workflows=[undone], work=False) as runner:
        for place, run in enumerate(runs):
            handle = await runner.get(run)
            failed = (await handle.result(timeout=30)).failure()
            assert isinstance(failed, RunFailure)
            assert failed.status == ("cancelled" if place % 2 else "failed")
            assert failed.task == (None if place % 2 else "breaks")
            infos = {info.name: (info.status, info.attempt) for info in await handle.tasks()}
            assert all(infos[f"undo{n}"] == ("succeeded", 1) for n in range(STEPS))
            assert infos["tells"] == ("succeeded", 1)
