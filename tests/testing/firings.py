"""The search for planted bugs of schedules: simulated weeks in which something goes wrong at the commits of firings.

It knows what can go wrong, not which bug is planted.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random
from typing import Final

from cloaca.schedules.decisions import Catchup
from cloaca.testing import (
    Cron,
    Deviation,
    Scenario,
    clock_jump,
    crash_after_commit,
    crash_before_commit,
    leave,
    pause,
    simulate_schedules,
    store_error,
    zombie,
)
from tests.schedules.shop import REPORT, reports

START: Final = datetime(2030, 3, 25, tzinfo=UTC)  # in that week a night of Berlin has no 02:30
UNTIL: Final = START + timedelta(days=10)
CATCHUPS: Final[tuple[Catchup, ...]] = ("latest", "none", "all", 2)
FIRING: Final = "firing:daily"
COMMITS: Final = 8  # of firings: each has two
DAY: Final = 86_400.0
OUTAGES: Final = (1.0, 3.2 * DAY)


def singles() -> list[Deviation]:
    """Return every single deviation at each of the first commits."""
    found: list[Deviation] = []
    for nth in range(COMMITS):
        for downtime in OUTAGES:
            found.append(crash_before_commit(FIRING, nth, downtime=downtime))
            found.append(crash_after_commit(FIRING, nth, downtime=downtime))
        found += [store_error(FIRING, nth), store_error(FIRING, nth, lost=True)]
        found += [zombie(FIRING, nth), leave(FIRING, nth), pause(FIRING, nth, seconds=2.5 * DAY)]
        found += [clock_jump(jump, FIRING, nth) for jump in (-2.5 * DAY, 2.5 * DAY)]
    return found


def scenarios(chance: Random) -> Iterator[Scenario]:
    """Yield scenarios, for ever: nothing goes wrong, then one or two things."""
    yield Scenario(workers=2)
    known = singles()
    kinds = sorted({each.kind for each in known})
    while True:
        drawn = [
            chance.choice([each for each in known if each.kind == kind])
            for kind in chance.choices(kinds, k=chance.randint(1, 2))
        ]
        seed = chance.randrange(1 << 16) if chance.random() < 0.5 else None
        yield Scenario(*dict.fromkeys(drawn), workers=chance.randint(1, 3), seed=seed)


def search(chance: Random, most: int) -> tuple[int, str] | None:
    """Return after how many simulations something is wrong, and what; None if ``most`` are not enough."""
    for count, scenario in enumerate(islice(scenarios(chance), most), start=1):
        cron = Cron(
            reports, "30 2 * * *", timezone="Europe/Berlin", input=REPORT, name="daily", catchup=chance.choice(CATCHUPS)
        )
        try:
            simulate_schedules([cron], start=START, until=UNTIL, scenario=scenario)
        except Exception as error:  # noqa: BLE001 - whatever a bug breaks counts
            return count, str(error).splitlines()[0]
    return None
