"""Wide fans of arrows joined into a trunk, off which each of them branches, where curves would be a dark bundle.

It knows who is linked to whom and at what height; how a trunk is drawn is not its business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from cloaca.drawing.tiers import Tiers

__all__ = ["trunked"]

FAN_MIN = 8

Link = tuple[int, int]


def trunked(graph: Tiers, middle: Sequence[float]) -> set[Link]:
    """Choose the links that run along a trunk: those of a shape with many neighbours on that side.

    Two trunks between the same tiers stand one above the other. Where they would overlap, nobody could tell their
    arrows apart, so the fans that overlap, or that share a link, stay curves.

    >>> from cloaca.drawing.tiers import tiered
    >>> graph = tiered("abcdefghi", [("a", head) for head in "bcdefghi"])
    >>> len(trunked(graph, range(9)))
    8
    """
    chosen: set[Link] = set()
    for tier, following in pairwise(graph.tiers):
        fans = [[(hub, there) for there in graph.right[hub]] for hub in tier]
        fans += [[(there, hub) for there in graph.left[hub]] for hub in following]
        wide = sorted(((_span(fan, middle), fan) for fan in fans if len(fan) >= FAN_MIN), key=lambda entry: entry[0])
        reach = float("-inf")
        for index, ((top, bottom), fan) in enumerate(wide):
            if top > reach and (index + 1 == len(wide) or wide[index + 1][0][0] > bottom):
                chosen.update(fan)
            reach = max(reach, bottom)
    return chosen


def _span(fan: Iterable[Link], middle: Sequence[float]) -> tuple[float, float]:
    heights = [middle[node] for link in fan for node in link]
    return min(heights), max(heights)
