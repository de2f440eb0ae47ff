"""A picture cut into tiers: every shape in a tier after its predecessors, every arrow from one tier to the next.

It knows nodes as numbers and has no idea of sizes, nor of the order inside of a tier.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cloaca.drawing.arrows import Arrow, components, neighbours
from cloaca.drawing.nesting import frame_paths
from cloaca.drawing.pictures import Frame

__all__ = ["Border", "Tiers", "tier_of", "tiered"]

# Arrows past this many bends together, the longest of them, run straight across the picture instead.
BENDS_AT_MOST = 20_000


@dataclass(frozen=True, slots=True)
class Border:
    """The upper and the lower edge of a group, as one node each in every tier that the group spans."""

    tops: tuple[int, ...]
    bottoms: tuple[int, ...]


@dataclass(slots=True)
class Tiers:
    """A graph whose links all go from one tier to the next.

    The first ``len(names)`` nodes are the shapes; the others are bends of arrows that are longer than one tier, and
    edges of frames.

    Attributes:
        names: the names of the shapes, in topological order.
        tiers: the nodes of each tier, in no order that matters.
        tier: the tier of each node.
        left: for each node its neighbours in the tier before.
        right: for each node its neighbours in the tier after.
        paths: for each node the groups around it, outermost first: its component, then frames.
        routes: for each arrow the nodes it runs through, ends included.
        borders: the edges of each group that has some, by its path: those of frames, and of components if there are
            several.
    """

    names: Sequence[str]
    tiers: list[list[int]] = field(default_factory=list)
    tier: list[int] = field(default_factory=list)
    left: list[list[int]] = field(default_factory=list)
    right: list[list[int]] = field(default_factory=list)
    paths: list[tuple[int, ...]] = field(default_factory=list)
    routes: dict[Arrow, tuple[int, ...]] = field(default_factory=dict)
    borders: dict[tuple[int, ...], Border] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tier)

    def is_shape(self, node: int) -> bool:
        """Tell whether the node is a shape of the picture."""
        return node < len(self.names)

    def add(self, tier: int, path: tuple[int, ...]) -> int:
        """Add a node and return it."""
        while len(self.tiers) <= tier:
            self.tiers.append([])
        self.tiers[tier].append(len(self.tier))
        self.tier.append(tier)
        self.paths.append(path)
        self.left.append([])
        self.right.append([])
        return len(self.tier) - 1

    def link(self, here: int, there: int) -> None:
        """Link a node to one in the following tier."""
        self.right[here].append(there)
        self.left[there].append(here)


def tier_of(order: Sequence[str], arrows: Collection[Arrow]) -> dict[str, int]:
    """Give each name its tier, as early as its predecessors allow: the length of the longest path to it.

    A name without predecessors then moves right, next to the first of its successors, as that makes arrows shorter and
    none longer. For others it would not: they leave on one line however many they are, see ``tiered``.

    >>> tier_of("abxc", [("a", "b"), ("b", "c"), ("x", "c")])
    {'a': 0, 'b': 1, 'x': 1, 'c': 2}
    """
    before, after = neighbours(order, arrows)
    tier: dict[str, int] = {}
    for name in order:
        tier[name] = 1 + max((tier[tail] for tail in before[name]), default=-1)
    for name in reversed(order):
        if after[name] and not before[name]:
            tier[name] = min(tier[head] for head in after[name]) - 1
    return tier


def tiered(order: Sequence[str], arrows: Collection[Arrow], frames: Sequence[Frame] = ()) -> Tiers:
    """Cut a graph into tiers. Costs time in the number of bends, which is capped.

    Long arrows from the same shape share their bends as far as they run side by side: they leave on one line, which
    forks later. Lines that only meet at their ends would say the same with more ink.

    Args:
        order: the names, in topological order.
        arrows: the arrows between them.
        frames: frames that nest, the outer before the inner.

    >>> graph = tiered("abc", [("a", "b"), ("b", "c"), ("a", "c")])
    >>> graph.tiers, graph.routes["a", "c"]
    ([[0], [1, 3], [2]], (0, 3, 2))
    """
    tier, paths = tier_of(order, arrows), _paths(order, arrows, frames)
    graph = Tiers(order)
    node = {name: graph.add(tier[name], paths[name]) for name in order}
    lanes: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for tail, head in sorted(arrows, key=lambda ends: (tier[ends[1]] - tier[ends[0]], node[ends[0]], node[ends[1]])):
        around = _common(paths[tail], paths[head])
        lane = lanes.setdefault((tail, around), [node[tail]])
        bends = tier[head] - tier[tail] - len(lane)
        if len(graph) + bends > len(order) + BENDS_AT_MOST:
            graph.routes[tail, head] = (node[tail], node[head])
            continue
        while graph.tier[lane[-1]] < tier[head] - 1:
            lane.append(graph.add(graph.tier[lane[-1]] + 1, around))
            graph.link(*lane[-2:])
        last = lane[tier[head] - tier[tail] - 1]
        graph.link(last, node[head])
        graph.routes[tail, head] = (*lane[: tier[head] - tier[tail]], node[head])
    _add_borders(graph)
    return graph


def _add_borders(graph: Tiers) -> None:
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for node in range(len(graph.names)):
        for depth in range(len(graph.paths[node])):
            groups[graph.paths[node][: depth + 1]].append(graph.tier[node])
    components = sum(len(path) == 1 for path in groups)
    for path, spanned in groups.items():
        if len(path) > 1 or components > 1:
            span = range(min(spanned), max(spanned) + 1)
            graph.borders[path] = Border(_edge(graph, path, span), _edge(graph, path, span))


def _edge(graph: Tiers, path: tuple[int, ...], span: Iterable[int]) -> tuple[int, ...]:
    nodes = tuple(graph.add(at, path) for at in span)
    for here, there in pairwise(nodes):
        graph.link(here, there)
    return nodes


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(here for here, there in zip(one, other, strict=False) if here == there)


def _paths(order: Sequence[str], arrows: Iterable[Arrow], frames: Sequence[Frame]) -> dict[str, tuple[int, ...]]:
    """Give each name its component, which never mixes with another, and the frames around it."""
    bonds = [(min(frame.members), name) for frame in frames for name in frame.members]
    component = components(order, [*arrows, *bonds])
    return {name: (component[name], *path) for name, path in frame_paths(order, frames).items()}
