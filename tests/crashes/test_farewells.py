"""Workers killed at any moment of runs that are parked, have child runs, are undone and call back at their end."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from returns.result import Success

from cloaca import Runner
from tests.crashes.farewells import PIECES, Approval, Done, parting, piece, work
from tests.crashes.processes import Life, assert_sound, log
from tests.crashes.programs import Job
from tests.runner.databases import asynchronous

RUNS, KILLS = 6, 2  # a third of the runs succeeds, a third fails, a third is cancelled
FAREWELLS = ("cheers", "mourns", "tells")


class Deaths:
    """A worker that is killed now and then, and replaced; what was committed at each of its deaths."""

    def __init__(self, url: str, folder: Path, runner: Runner, chance: random.Random) -> None:
        self.url, self.folder, self.runner, self.chance = url, folder, runner, chance
        self.life = Life(work, url, folder)
        self.kept: list[tuple[int, set[tuple[str, str]]]] = []

    async def strike(self) -> None:
        """Kill the worker after a few more lines of the ledger, or a moment, and start another."""
        seen, end = len(log(self.folder)) + self.chance.randint(1, 4), time.monotonic() + 0.4
        while len(log(self.folder)) < seen and time.monotonic() < end:
            await asyncio.sleep(0.002)
        await asyncio.sleep(self.chance.uniform(0, 0.03))
        self.life.kill()
        self.kept.append((len(log(self.folder)), await self.committed()))
        self.life = Life(work, self.url, self.folder)

    async def committed(self) -> set[tuple[str, str]]:
        """Return what is done, by run and name."""
        handles = [await self.runner.get(info.id) for info in await self.runner.runs(limit=1000)]
        return {(each.id, info.name) for each in handles for info in await each.tasks() if info.status == "succeeded"}

    def nothing_committed_ran_again(self) -> None:
        entries = log(self.folder)
        for length, done in self.kept:
            assert [entry for entry in entries[length:] if (entry["run"], entry["task"]) in done] == []


async def reaches(runner: Runner, run: str, kind: str) -> None:
    end = time.monotonic() + 30
    handle = await runner.get(run)
    while (await handle.why()).kind != kind:
        assert time.monotonic() < end, (run, await handle.why())
        await asyncio.sleep(0.02)


async def holding(runner: Runner, run: str) -> None:
    """Wait until all child runs of a run have something to undo."""
    end, handle = time.monotonic() + 30, await runner.get(run)
    while True:
        children = [await runner.get(child.id) for child in await handle.children()]
        made = [info for child in children for info in await child.tasks() if info.name == "makes"]
        if [info.status for info in made] == ["succeeded"] * PIECES:
            return
        assert time.monotonic() < end, made
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("seed", range(2))
@asynchronous
async def test_farewells_are_said_once_whatever_is_killed(url: str, folder: Path, seed: int) -> None:
    async with Runner(url, workflows=[parting, piece], work=False) as runner:
        jobs = [Job(folder=str(folder), number=number) for number in range(RUNS)]
        runs = [(await runner.start(parting, job)).id for job in jobs]
        deaths = Deaths(url, folder, runner, random.Random(seed))
        try:
            for _ in range(KILLS):
                await deaths.strike()
            for number, run in enumerate(runs):
                await (holding(runner, run) if number % 3 == 2 else reaches(runner, run, "signal"))
            await deaths.strike()  # while all wait, most of them parked
            for number, run in enumerate(runs):
                handle = await runner.get(run)
                if number % 3 == 2:
                    await handle.cancel()
                else:
                    await handle.send(Approval(by="nobody" if number % 3 else "Ada"))
            for _ in range(KILLS):
                await deaths.strike()
            for number, run in enumerate(runs):
                await ended_well(runner, run, number)
        finally:
            deaths.life.kill()
        deaths.nothing_committed_ran_again()
        for number, run in enumerate(runs):
            await told(runner, run, number, folder)
    if url.startswith("sqlite"):
        assert_sound(url)


async def ended_well(runner: Runner, run: str, number: int) -> None:
    """The outcome is the one that was asked for, and so are those of the child runs."""
    handle = await runner.get(run)
    outcome = await handle.result(timeout=40)
    if number % 3 == 0:
        assert outcome == Success(Done(done=number))
    else:
        failed = outcome.failure()
        assert (failed.status, failed.task) == (("failed", "closes") if number % 3 == 1 else ("cancelled", None))
    children = await handle.children()
    for child in children:
        await (await runner.get(child.id)).result(timeout=40)
    statuses = [child.status for child in await handle.children()]
    assert statuses == ["cancelled" if number % 3 == 2 else "succeeded"] * PIECES


async def told(runner: Runner, run: str, number: int, folder: Path) -> None:
    """Each body of the epilogue has run, under one key, in its order; and none that was not due."""
    mine = [entry for entry in log(folder) if entry["run"] == run]
    order = list(dict.fromkeys(entry["task"] for entry in mine))
    farewell = FAREWELLS[number % 3]
    assert order == (["reserves", farewell] if number % 3 == 0 else ["reserves", "releases", farewell])
    keys = {(entry["task"], entry["key"]) for entry in mine}
    assert len(keys) == len(order)  # attempts that were cut off go on under the same key
    parts = Counter[str]()
    for child in await (await runner.get(run)).children():
        parts.update({entry["task"] for entry in log(folder) if entry["run"] == child.id})
    undone = {"unmakes": PIECES, "child_ends": PIECES} if number % 3 == 2 else {}
    assert parts == {"makes": PIECES, **undone}
