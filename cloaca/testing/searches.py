"""The search for scenarios that break something: every single deviation, then several at once, and the smallest that
still does.

The kit owns the scenario, Hypothesis the input: a scenario's places depend on the workflow, so that a general shrinker
would fight it, while dropping deviations one by one takes a dozen executions. It knows worlds, not how they are run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Final

from cloaca.testing import deviations as d
from cloaca.testing.deviations import SUBMIT, Deviation, Scenario
from cloaca.testing.worlds import World

Fails = Callable[[Scenario], bool]


@dataclass(frozen=True, slots=True)
class Faults:
    """What may go wrong in a search. ``Faults.none`` is an engine that nothing disturbs and bodies that never fail.

    Attributes:
        crashes: workers and clients are killed, before and after commits and between the effects of a body.
        stalls: workers are silent past their lease and report later, or are taken for dead though they live.
        store_errors: the store can't be written, or its answer is lost.
        failures: bodies fail once, always, or hang past their timeout.
        leaving: workers leave in order.
        clocks: clocks jump, forward and back.
        interleavings: who goes first is left to chance, and how long bodies take.
        at_most: the most deviations at once.

    >>> Faults.none.crashes, Faults(clocks=False).crashes
    (False, True)
    """

    crashes: bool = True
    stalls: bool = True
    store_errors: bool = True
    failures: bool = True
    leaving: bool = True
    clocks: bool = True
    interleavings: bool = True
    at_most: int = 3

    none: ClassVar[Faults]

    def singles(self, world: World, timeouts: frozenset[str] = frozenset()) -> Iterator[Deviation]:
        """Yield every single deviation at each place that an undisturbed execution has reached.

        ``timeouts`` are the tasks that have one.
        """
        for at, count in world.labels.items():
            for nth in range(count):
                yield from self._at_commit(at, nth)
        for task, count in world.begun.items():
            for nth in range(count):
                yield from self._while_running(task, nth)
            for nth in range(world.effects[task] if self.crashes else 0):
                yield d.crash_in_body(task, nth)
            if self.failures:
                yield d.fail(task)
                yield d.exhaust(task)
                if task in timeouts:
                    yield d.time_out(task)

    def _at_commit(self, at: str, nth: int) -> Iterator[Deviation]:
        if self.crashes:
            yield d.crash_before_commit(at, nth)
            yield d.crash_after_commit(at, nth)
        if self.store_errors:
            yield d.store_error(at, nth)
            yield d.store_error(at, nth, lost=True)

    def _while_running(self, task: str, nth: int) -> Iterator[Deviation]:
        if self.stalls:
            yield d.zombie(task, nth)
            yield d.lose_lease(task, nth)
        if self.leaving:
            yield d.leave(task, nth)
        if self.clocks:
            yield d.clock_jump(3600.0, task, nth)
            yield d.clock_jump(-3600.0, task, nth)


Faults.none = Faults(
    crashes=False, stalls=False, store_errors=False, failures=False, leaving=False, clocks=False, interleavings=False,
    at_most=0,
)  # fmt: skip


def workers_for(deviation: Deviation) -> int:
    """Return how many workers show the most of a deviation: a run must go to another while the first still lives."""
    return 2 if deviation.kind in ("zombie", "lose_lease") else 1


def sweep(faults: Faults, world: World, timeouts: frozenset[str]) -> Iterator[Scenario]:
    """Yield every single deviation, alone."""
    for each in faults.singles(world, timeouts):
        yield Scenario(each, workers=workers_for(each))


def several(
    faults: Faults, world: World, timeouts: frozenset[str], chance: Random, workers: tuple[int, int]
) -> Iterator[Scenario]:
    """Yield scenarios of several deviations, for ever: the kinds are drawn first, so that none drowns another.

    A third of them are at one place again and again, as when a worker dies twice at the same task; some are of one
    kind alone.
    """
    by_kind: dict[str, list[Deviation]] = {}
    for each in faults.singles(world, timeouts):
        by_kind.setdefault(each.kind, []).append(each)
    kinds = sorted(by_kind)
    while True:
        drawn = [_drawn(by_kind, kinds, chance) for _ in range(chance.randint(1, faults.at_most))] if kinds else []
        if drawn and chance.random() < REPEATED:
            drawn.append(d.moved(drawn[0], nth=drawn[0].nth + 1))
        seed = chance.randrange(1 << 16) if faults.interleavings and chance.random() < BY_CHANCE else None
        yield Scenario(*dict.fromkeys(drawn), workers=_workers(drawn, chance, workers), seed=seed)


def _drawn(by_kind: dict[str, list[Deviation]], kinds: list[str], chance: Random) -> Deviation:
    return chance.choice(by_kind[chance.choice(kinds)])


def _workers(drawn: list[Deviation], chance: Random, limits: tuple[int, int]) -> int:
    least = max([limits[0], *(min(workers_for(each), limits[1]) for each in drawn)])
    return chance.randint(least, limits[1])


REPEATED: Final = 0.3
BY_CHANCE: Final = 0.6


def smallest(scenario: Scenario, fails: Fails) -> Scenario:
    """Return the smallest scenario that still fails: fewer deviations, then fewer workers, then no chance.

    ``fails`` runs a scenario. Cost: a run for each thing left out, about ten.
    """
    found = scenario
    again = True
    while again:
        again = False
        for candidate in _smaller(found):
            if fails(candidate):
                found, again = candidate, True
                break
    return found


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    for each in scenario.deviations:
        yield scenario.without(each)
    if scenario.seed is not None:
        yield scenario.with_(seed=None)
    if scenario.workers > 1:
        yield scenario.with_(workers=scenario.workers - 1, seed=scenario.seed)
    for place, each in enumerate(scenario.deviations):
        for simpler in _simpler(each):
            changed = (*scenario.deviations[:place], simpler, *scenario.deviations[place + 1 :])
            yield Scenario(*changed, workers=scenario.workers, seed=scenario.seed)


def _simpler(deviation: Deviation) -> Iterator[Deviation]:
    if deviation.nth > 0:
        yield d.moved(deviation, nth=0)
    if deviation.times > 1:
        yield d.moved(deviation, times=deviation.times - 1)
    if deviation.kind == "exhaust":
        yield d.fail(deviation.at)
    if deviation.kind in ("zombie", "lose_lease") and deviation.at != SUBMIT:
        yield d.crash_before_commit(deviation.at, deviation.nth)
