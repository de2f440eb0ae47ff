"""A round: runs of every kind on a new database, disturbances drawn from a seed, and the invariants at the end.

What is disturbed, in which order and by how much follows from the seed; when exactly, from the machine.
"""

from __future__ import annotations

import functools
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.crashes.processes import Life
from tests.torture.crews import Crew, crew
from tests.torture.disturbances import DEADLY, Disturbance
from tests.torture.evidence import Evidence, Known, Story, stories
from tests.torture.grounds import Ground
from tests.torture.invariants import report
from tests.torture.places import File, copy
from tests.torture.programs import Orders, Start, Ticks, serve
from tests.torture.workflows import WORKFLOWS

NUMBERS = 6  # inputs of each workflow
WORKERS = 3
MOST_DEADLY = 3  # so that the innocent are never taken for killers, which end after five
ROOM_S = 60.0
SCHEDULES, EVERY_S, FIRING_S = 4, 1.0, 8.0  # how many, how often each fires, and for how long
KEPT = "kept.db"  # a copy of all rows, where something is wrong


@functools.cache
def calm_world() -> dict[Known, Story]:
    """Run everything once, and let nothing befall it."""
    with tempfile.TemporaryDirectory(prefix="cloaca-calm-") as name:
        folder = Path(name)
        everything = tuple(Start(workflow.name, number, None) for workflow in WORKFLOWS for number in range(NUMBERS))
        place = File(folder / "runs.db")
        life = Life(serve, Orders(place, folder, everything, ends=True))
        try:
            assert life.end() == 0, (folder / f"log-{life.pid}").read_text()
        finally:
            life.kill()
        return dict(stories(place).values())


@dataclass
class Telling:
    """What has happened in a round. ``wrong`` is empty if every invariant holds."""

    seed: int
    happened: list[str] = field(default_factory=list)
    wrong: str = ""
    counts: Counter[str] = field(default_factory=Counter)


def shares(chance: random.Random, runs: int) -> list[tuple[Start, ...]]:
    """Give each process runs to start, two in three of them with a key; the last share is for who only starts."""
    drawn: list[list[Start]] = [[] for _ in range(WORKERS + 1)]
    for number in range(runs):
        workflow = WORKFLOWS[number % len(WORKFLOWS)].name
        key = f"run {number}" if number % 3 else None
        drawn[number % len(drawn)].append(Start(workflow, chance.randrange(NUMBERS), key))
    return [tuple(share) for share in drawn]


def play(
    seed: int,
    folder: Path,
    ground: Ground,
    *,
    disturbances: Sequence[Disturbance] | None = None,
    runs: int = 60,
    times: int = 4,
    lease_s: float = 1.5,
    watch: Callable[[str], None] = lambda _: None,
) -> Telling:
    """Play a round on a new database."""
    chance, telling, expected = random.Random(seed), Telling(seed), calm_world()
    place = ground.place()
    ticks = Ticks(SCHEDULES, "diamond", chance.randrange(NUMBERS), EVERY_S, time.time() + FIRING_S)
    with crew(place, folder, shares(chance, runs), lease_s=lease_s, ticks=ticks) as working:
        working.await_ready()
        around = ground.scene(working, chance)
        for disturbance in drawn(chance, disturbances or ground.disturbances, times):
            _wait_for_work(working, chance)
            said = disturbance(around)
            telling.counts[disturbance.__name__] += 1
            telling.happened.append(said)
            watch(said)
        working.until(working.has_ended, ROOM_S)
        working.look()
        working.leave()
        seen = working.evidence(expected)
    telling.wrong = report(seen)
    if telling.wrong:
        copy(place, folder / KEPT)
    telling.counts += _counted(seen)
    return telling


def drawn(chance: random.Random, disturbances: Sequence[Disturbance], times: int) -> list[Disturbance]:
    """Draw disturbances, among them few that are deadly. Where there is a choice, all are as likely."""
    chosen: list[Disturbance] = []
    while len(chosen) < times:
        one = chance.choice(disturbances)
        if one not in DEADLY or sum(each in DEADLY for each in chosen) < MOST_DEADLY:
            chosen.append(one)
        elif all(each in DEADLY for each in disturbances):
            break
    return chosen


def _wait_for_work(working: Crew, chance: random.Random) -> None:
    """Wait until the crew has done something more, so that a disturbance meets it at work."""
    length = len(working.lines()) + chance.randint(1, 60)
    working.until(lambda: len(working.lines()) >= length, within_s=0.5)


def _counted(seen: Evidence) -> Counter[str]:
    began = Counter((line["run"], line["task"], line["attempt"]) for line in seen.of("began"))
    return Counter(
        {
            "rounds": 1,
            "runs": len(seen.ask("SELECT id FROM cloaca_run")),
            "firings": len(seen.ask("SELECT schedule FROM cloaca_firing")),
            "tasks committed": len(seen.ask("SELECT name FROM cloaca_task")),
            "attempts executed": len(seen.of("began")),
            "attempts cut off and made again": sum(count - 1 for count in began.values()),
            "snapshots": len(seen.snapshots),
        }
    )
