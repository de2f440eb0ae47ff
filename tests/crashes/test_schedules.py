"""Processes that fire schedules are killed at every statement, and others go on: one run for each nominal instant."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cloaca import Runner
from cloaca.interpreter.firings import key_of
from tests.crashes.processes import Life, assert_sound, life, rows
from tests.crashes.schedule_programs import Report, reports, serve
from tests.torture import journal
from tests.torture.boundaries import Fault

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
INSTANTS = 3  # of each schedule
STRIDE = 1 if "CLOACA_EVERY_BOUNDARY" in os.environ else 6  # of all statements, every so manieth


async def prepare(url: str, number: int) -> list[str]:
    """Store two schedules of which some firings are due, and nothing comes after; return their names."""
    names = [f"all {number}", f"queued {number}"]
    async with Runner(url, workflows=[reports], work=False) as runner:
        for name, overlap in zip(names, ("allow", "queue"), strict=True):
            given: dict[str, Any] = {"overlap": overlap, "input": Report(schedule=name)}
            await runner.schedule(reports, cron="0 0 * * *", name=name, **given)
            store = runner._engine.store
            row = await store.schedule(name)
            assert row is not None
            begun = row._replace(
                catchup="all", start_at=FIRST.timestamp(), end_at=FIRST.timestamp() + 86_400.0 * (INSTANTS - 1),
                next_at=FIRST.timestamp(), due_at=FIRST.timestamp(), revision=row.revision + 1,
            )  # fmt: skip
            assert await store.put_schedule(begun, row.revision)
    return names


def assert_done(url: str, names: list[str]) -> None:
    """Each instant has one run, under its key, which has succeeded; nothing else has run."""
    wanted = sorted((name, FIRST.timestamp() + 86_400.0 * day) for name in names for day in range(INSTANTS))
    firings = sorted(rows(url, "SELECT schedule, scheduled_for, state, run_id FROM cloaca_firing"))
    assert [(name, at) for name, at, _, _ in firings] == wanted
    assert {state for _, _, state, _ in firings} == {"handed_over"}
    found = sorted(rows(url, "SELECT schedule, scheduled_for, id, key, status FROM cloaca_run"))
    assert [(name, at, run) for name, at, run, _, _ in found] == [(name, at, run) for name, at, _, run in firings]
    assert [key for _, _, _, key, _ in found] == [key_of(*each) for each in wanted]
    assert {status for *_, status in found} == {"succeeded"}
    assert_sound(url)


def wanted_of(names: list[str]) -> dict[str, int]:
    return dict.fromkeys(names, INSTANTS)


@pytest.mark.timeout(1800 if STRIDE == 1 else 120)
@pytest.mark.parametrize("part", [0, 1])
def test_processes_die_at_every_statement_and_every_instant_runs_once(url: str, folder: Path, part: int) -> None:
    """Each that comes finds what the one before has left, has schedules of its own, and dies one statement later."""
    names = asyncio.run(prepare(url, 0))
    finish(url, folder, names)
    statements = int(journal.lines(folder / "journal", "left")[-1]["statements"])
    assert statements > 10
    sides = ("before", "after") if url.startswith("sqlite") else ("before", "amid", "after")
    for place, number in enumerate(range(1 + part * STRIDE // 2, statements + 1, STRIDE)):
        new = asyncio.run(prepare(url, number))
        names += new
        fault = Fault(number, sides[(place + part) % len(sides)])  # type: ignore[arg-type]  # a side
        with life(serve, url, folder, fault, wanted_of(new)) as mortal:
            mortal.end()
        if place % 3 == 2:  # before anything has killed so many that it is given up
            finish(url, folder, names)
    died = journal.lines(folder / "journal", "died")
    assert len(died) > statements / STRIDE / 2  # others are done before: what is left for them varies
    finish(url, folder, names)
    assert_done(url, names)


def finish(url: str, folder: Path, names: list[str]) -> None:
    """Do all that is left, in a process that nothing befalls."""
    with life(serve, url, folder, Fault(), wanted_of(names)) as calm:
        ended = calm.end()
    left = "SELECT schedule, scheduled_for, state, attempts FROM cloaca_firing WHERE state = 'claimed'"
    assert ended == 0, (rows(url, left), rows(url, "SELECT id, status, crashes, reason FROM cloaca_run"))


def test_several_processes_fire_once_though_some_are_killed(url: str, folder: Path) -> None:
    names = [name for number in range(8) for name in asyncio.run(prepare(url, number))]
    for number in (5, 9, 14):
        faults = [Fault(), Fault(number, "after"), Fault(number + 1, "after")]
        crew = [Life(serve, url, folder, fault, wanted_of(names)) for fault in faults]
        for each in crew[1:]:
            each.end()
        crew[0].kill()
    finish(url, folder, names)
    assert_done(url, names)
