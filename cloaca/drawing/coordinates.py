"""The place of each node across its tier: apart from its neighbours there, level with those it is linked to.

It knows orders and extents, no shapes and no texts. The method is that of Brandes and Köpf, "Fast and Simple Horizontal
Coordinate Assignment" (2001), with the compaction over a graph of blocks that their erratum (2020) asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cloaca.drawing.tiers import Tiers

__all__ = ["Extents", "balanced", "level"]

Tier = list[int]
Link = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Extents:
    """How far each node reaches up and down from its place, the distance to the next one included."""

    up: Sequence[float]
    down: Sequence[float]


def balanced(graph: Tiers, tiers: Sequence[Tier], extents: Extents) -> list[float]:
    """Place the nodes so that chains are straight and a node stands in the middle of its neighbours.

    Four extreme layouts are made (aligned with the left or the right, upper or lower median neighbour); each node goes
    to the mean of the two middle ones, which keeps distances and straight lines. Costs O(n + m) but for sorting.
    """
    crossing = _crossing(graph, tiers)
    layouts = []
    for rightward in (True, False):
        for upper in (True, False):
            ordered = [tier if upper else tier[::-1] for tier in (tiers if rightward else tiers[::-1])]
            sided = extents if upper else Extents(extents.down, extents.up)
            root = _blocks(graph.left if rightward else graph.right, ordered, crossing, _medians)
            places = _compact(ordered, root, sided, tight=True)
            layouts.append(places if upper else [-place for place in places])
    _align(layouts, extents)
    return [sum(sorted(choices)[1:3]) / 2 for choices in zip(*layouts, strict=True)]


def level(graph: Tiers, tiers: Sequence[Tier]) -> list[int]:
    """Place the nodes in rows, as high as can be, each in the row of its uppermost neighbour if that is free."""
    ones = Extents([0.5] * len(graph), [0.5] * len(graph))
    root = _blocks(graph.left, tiers, _crossing(graph, tiers), range)
    return [round(place) for place in _compact(tiers, root, ones, tight=False)]


def _medians(count: int) -> Iterable[int]:
    return dict.fromkeys(((count - 1) // 2, count // 2)) if count else ()


def _crossing(graph: Tiers, tiers: Sequence[Tier]) -> set[Link]:
    """Find the links that must bend: those that cross a link which comes first in being straight.

    The edges of frames come first, the inner parts of long arrows next. Where an arrow forks off such a part, it is the
    fork that bends.
    """
    edges = {node for border in graph.borders.values() for node in (*border.tops, *border.bottoms)}
    position = [0] * len(graph)
    for tier in tiers:
        for place, node in enumerate(tier):
            position[node] = place
    bent: set[Link] = set()
    for tier in tiers:
        links = [(here, there) for here in tier for there in graph.right[here]]
        urgent = [link for link in links if link[0] in edges]
        bent.update(_across(urgent, links, position))
        inner = [link for link in links if not graph.is_shape(link[0]) and not graph.is_shape(link[1])]
        outer = [link for link in links if graph.is_shape(link[0]) or graph.is_shape(link[1])]
        bent.update(_across([link for link in inner if link not in bent], outer, position))
        goes_on = {here for here, _ in inner}
        bent.update(link for link in outer if link[0] in goes_on)
    return bent


def _across(first: Sequence[Link], others: Sequence[Link], position: Sequence[int]) -> Iterable[Link]:
    """Pick the other links that cross one of the first, which are sorted by their left ends."""
    if not first:
        return
    left_ends = [position[here] for here, _ in first]
    highest = _running(max, [position[there] for _, there in first])
    lowest = _running(min, [position[there] for _, there in reversed(first)])[::-1]
    above = below = 0
    for here, there in others:
        while above < len(first) and left_ends[above] < position[here]:
            above += 1
        while below < len(first) and left_ends[below] <= position[here]:
            below += 1
        if (above and highest[above - 1] > position[there]) or (below < len(first) and lowest[below] < position[there]):
            yield here, there


def _running(choose: Callable[[int, int], int], values: Iterable[int]) -> list[int]:
    result: list[int] = []
    for value in values:
        result.append(choose(result[-1], value) if result else value)
    return result


def _blocks(
    beside: Sequence[Sequence[int]],
    tiers: Sequence[Tier],
    crossing: set[Link],
    choices: Callable[[int], Iterable[int]],
) -> list[int]:
    """Join each node with a chosen neighbour of the tier before; give each node the first node of its block."""
    root = list(range(len(beside)))
    position = [0] * len(beside)
    for tier in tiers:
        for place, node in enumerate(tier):
            position[node] = place
    for tier in tiers:
        barrier = -1
        for node in tier:
            near = sorted(beside[node], key=position.__getitem__)
            for choice in choices(len(near)):
                there = near[choice]
                if position[there] > barrier and (there, node) not in crossing and (node, there) not in crossing:
                    root[node] = root[there]
                    barrier = position[there]
                    break
    return root


def _compact(tiers: Sequence[Tier], root: Sequence[int], extents: Extents, *, tight: bool) -> list[float]:
    """Place the blocks as high as can be; if tight, pull each down again as far as the one below it allows."""
    below: dict[int, dict[int, float]] = {block: {} for block in root}
    waiting = dict.fromkeys(below, 0)
    for tier in tiers:
        for upper, lower in pairwise(tier):
            distance, under = extents.down[upper] + extents.up[lower], below[root[upper]]
            waiting[root[lower]] += root[lower] not in under
            under[root[lower]] = max(distance, under.get(root[lower], 0.0))
    place = dict.fromkeys(below, 0.0)
    order = [block for block, count in waiting.items() if not count]
    for block in order:
        for lower, distance in below[block].items():
            place[lower] = max(place[lower], place[block] + distance)
            waiting[lower] -= 1
            if not waiting[lower]:
                order.append(lower)
    for block in reversed(order) if tight else ():
        if below[block]:
            place[block] = min(place[lower] - distance for lower, distance in below[block].items())
    return [place[block] for block in root]


def _align(layouts: list[list[float]], extents: Extents) -> None:
    """Shift the layouts onto the flattest of them: the upper ones by their upper edge, the lower ones by the lower."""
    spans = [
        (
            min((place - up for place, up in zip(layout, extents.up, strict=True)), default=0.0),
            max((place + down for place, down in zip(layout, extents.down, strict=True)), default=0.0),
        )
        for layout in layouts
    ]
    top, bottom = min(spans, key=lambda span: span[1] - span[0])
    for index, (layout, span) in enumerate(zip(layouts, spans, strict=True)):
        shift = bottom - span[1] if index % 2 else top - span[0]
        layouts[index] = [place + shift for place in layout]
