"""Dying at each boundary of a statement: count them in a calm process, then die at one, and let a fresh process go on.

Each crossing has a new database and runs nearly every workflow once.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tests.crashes.processes import Life
from tests.torture import journal
from tests.torture.boundaries import Fault, Side
from tests.torture.crews import crew
from tests.torture.evidence import Evidence, snapshot
from tests.torture.invariants import report
from tests.torture.places import Place, copy
from tests.torture.programs import Orders, Start, serve
from tests.torture.rounds import KEPT, calm_world
from tests.torture.workflows import WORKFLOWS, crunching

LEASE_S = 0.6  # a server does not see that a process is dead: its lease has to run out
AT_A_TIME = 3

# Child processes ask nothing of a database, and take long to start.
QUICK = [workflow for workflow in WORKFLOWS if workflow is not crunching]
SHARE = tuple(Start(each.name, place, f"key {place}" if place % 2 else None) for place, each in enumerate(QUICK))


class Crossing(NamedTuple):
    """What came of dying at one boundary. ``died`` is the statement, None if the process came to its end before."""

    fault: Fault
    died: str | None
    wrong: str


def count(place: Place, folder: Path) -> int:
    """Return how many statements write while nearly every workflow runs once."""
    orders = _orders(place, folder, Fault())
    with closing(_Mortal(orders)) as mortal:
        mortal.life.end()
    [left] = journal.lines(orders.journal, "left")
    return int(left["statements"])


def cross(place: Place, folder: Path, fault: Fault) -> Crossing:
    """Die at a boundary, go on in another process, and look whether every invariant holds."""
    expected = calm_world()
    orders = _orders(place, folder, fault)
    with closing(_Mortal(orders)) as mortal:
        mortal.life.end()
    died = journal.lines(orders.journal, "died")
    seen = Evidence(place, [], expected)
    if _has_tables(place):
        seen.snapshots.append(snapshot(place, orders.journal))
    with crew(place, folder, [SHARE], lease_s=LEASE_S, pace_s=0) as others:
        others.await_ready()
        others.until(others.has_ended)
        others.look()
        others.leave()
        seen.snapshots += others.snapshots
        seen.exits += others.exits
        seen.lines = others.lines()
    wrong = report(seen)
    if wrong:
        copy(place, folder / KEPT)
    return Crossing(fault, died[0]["statement"] if died else None, wrong)


def cross_all(
    faults: Sequence[Fault],
    place: Callable[[], Place],
    folder: Path,
    watch: Callable[[Crossing], None] = lambda _: None,
) -> Iterator[Crossing]:
    """Cross several boundaries, a few at a time, each with a database of its own."""

    def one(numbered: tuple[int, Fault]) -> Crossing:
        number, fault = numbered
        own = folder / f"crossing-{number}"
        own.mkdir()
        crossing = cross(place(), own, fault)
        watch(crossing)
        return crossing

    calm_world()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield from pool.map(one, enumerate(faults))


def faults(statements: int, sides: Sequence[Side]) -> list[Fault]:
    """Return all there are."""
    return [Fault(number, side) for number in range(1, statements + 1) for side in sides]


def sample(chance: random.Random, statements: int, sides: Sequence[Side], size: int) -> list[Fault]:
    """Return some of them, spread over the whole: one from each stretch of equal length."""
    everywhere = faults(statements, sides)
    edges = [len(everywhere) * part // size for part in range(size + 1)]
    return [everywhere[chance.randrange(low, high)] for low, high in itertools.pairwise(edges) if low < high]


class _Mortal:
    """A process that is gone at the end, whatever happens."""

    def __init__(self, orders: Orders) -> None:
        self.life = Life(serve, orders)

    def close(self) -> None:
        self.life.kill()


def _orders(place: Place, folder: Path, fault: Fault | None) -> Orders:
    return Orders(place, folder, SHARE, lease_s=LEASE_S, ends=True, fault=fault)


def _has_tables(place: Place) -> bool:
    """Whether the process has come so far."""
    try:
        return bool(place.ask("SELECT count(*) FROM cloaca_note"))
    except Exception as error:  # each driver has its own
        if "cloaca_note" in str(error):
            return False
        raise
