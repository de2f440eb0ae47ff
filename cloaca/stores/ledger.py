"""Which claimed firings a session may take: what all stores decide alike. It knows rows, not where they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cloaca.ports import MOST_HANDOVERS, FiringRow, Taken

MOST_OF_ONE = 100  # open firings of one schedule that are looked at


class Open(NamedTuple):
    """A claimed firing, whether its owner lives, how many runs of its schedule go on, and the schedule's input."""

    firing: FiringRow
    lives: bool
    active: int
    input: str | None

    @property
    def taken(self) -> Taken:
        """What its new owner needs to know."""
        return Taken(self.firing.schedule, self.firing.scheduled_for, self.firing.workflow, self.input)


def takeable(found: Sequence[Open], session: int, limit: int) -> list[Open]:
    """Return what a session may take of claimed firings, which are by schedule and in their order.

    A parked one may be taken if its place among those of its schedule leaves it room beside the runs that go on.
    """
    chosen: list[Open] = []
    places: dict[str, int] = {}
    for each in found:
        firing = each.firing
        place = places[firing.schedule] = places.get(firing.schedule, -1) + 1
        if firing.owner != session and (each.lives or firing.attempts >= MOST_HANDOVERS):
            continue
        if firing.parked and firing.at_most is not None and place + each.active >= firing.at_most:
            continue
        chosen.append(each)
    return chosen[: max(0, limit)]


def is_bounded(firing: FiringRow | None) -> bool:
    """Whether other runs of its schedule may stop a firing."""
    return firing is not None and (firing.overlap != "allow" or firing.at_most is not None)
