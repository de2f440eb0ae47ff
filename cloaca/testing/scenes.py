"""What the parts of one simulation share: the scenario, the world that comes of it, virtual time and the store.

It knows what is there, not what happens.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from cloaca.codecs import JsonCodec
from cloaca.contract.workflows import Workflow
from cloaca.testing.backends import Backend
from cloaca.testing.deviations import FAILURES, Deviation, Scenario
from cloaca.testing.loops import VirtualLoop
from cloaca.testing.processes import Process
from cloaca.testing.worlds import START, World

LEASE_S: Final = 30.0
CLIENT: Final = "client"


@dataclass(slots=True)
class SimulatedClock:
    """The clock of all simulated processes: virtual time since ``start``, and how far it was made to jump.

    ``steady`` is whether it never has, not even there and back.
    """

    loop: VirtualLoop
    jumped_s: float = 0.0
    start: float = START.timestamp()
    steady: bool = True

    def jump(self, seconds: float) -> None:
        """Be set forward or back."""
        self.jumped_s += seconds
        self.steady = False

    def now(self) -> float:
        return self.start + self.loop.now + self.jumped_s


@dataclass(slots=True, eq=False)
class Scene:
    """One simulation, for its parts: when its run has ended; ``over`` once nothing happens any more."""

    workflow: Workflow[Any, Any, Any, Any]
    scenario: Scenario
    world: World
    loop: VirtualLoop
    clock: SimulatedClock
    backend: Backend
    codec: JsonCodec
    chance: Random | None
    run_id: int = 1
    ended_at: float | None = None
    over: bool = False
    due: dict[tuple[str, int], list[Deviation]] = field(default_factory=dict)
    places: set[str] = field(default_factory=set)  # of what is due

    def __post_init__(self) -> None:
        for each in self.scenario.deviations:
            if each.kind not in FAILURES:
                self.due.setdefault((each.kind, each.nth), []).append(each)
                self.places.add(each.at)

    def taken(self, kind: str, at: str, nth: int) -> list[Deviation]:
        """Return what is to go wrong at a place, the ``nth`` time it is reached."""
        return [each for each in self.due.get((kind, nth), ()) if each.at == at] if at in self.places else []

    def log(self, who: Process, what: str) -> None:
        """Write a line of the trace."""
        self.world.log(self.loop.now, who.name, what)


@contextmanager
def quiet() -> Iterator[None]:
    """No log record of the engine while it is simulated: what goes wrong there is wanted, and is in the trace."""
    logger = logging.getLogger("cloaca")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
