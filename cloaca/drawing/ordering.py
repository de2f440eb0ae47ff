"""The order of the nodes inside of each tier, chosen so that few links cross.

It knows neither sizes nor coordinates: only who is next to whom. The method is the barycenter heuristic of Sugiyama,
Tagawa and Toda (1981), with groups kept together.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Sequence

from cloaca.drawing.tiers import Tiers

__all__ = ["crossings", "untangled"]

SWEEPS = 24
PATIENCE = 8

Tier = list[int]
Path = tuple[int, ...]


def untangled(graph: Tiers) -> list[Tier]:
    """Order each tier. Costs O(m log n) for each of a fixed number of sweeps.

    Sweeps go left to right and back; in each, a node goes to the mean position of its neighbours in the tier just
    done. The best of the orders seen wins. Members of a component or a frame stay together, components stay in order,
    and two frames are in the same order in every tier that both span: so no frame is ever torn apart.

    >>> from cloaca.drawing.tiers import tiered
    >>> untangled(tiered("abcd", [("a", "d"), ("b", "c"), ("b", "d")]))
    [[0, 1], [3, 2]]
    """
    arrangement = _Arrangement(graph)
    best, fewest, patience = arrangement.copy(), arrangement.crossings(), PATIENCE
    for sweep in range(SWEEPS):
        if not fewest or not patience:
            break
        arrangement.sweep(rightward=sweep % 2 == 0)
        found = arrangement.crossings()
        patience = PATIENCE if found < fewest else patience - 1
        if found < fewest:
            best, fewest = arrangement.copy(), found
    return best


def crossings(graph: Tiers, tiers: Sequence[Sequence[int]]) -> int:
    """Count the pairs of links that cross. Costs O(m log m), and then some for very wide tiers."""
    position = [0] * len(graph)
    for tier in tiers:
        for place, node in enumerate(tier):
            position[node] = place
    return sum(_inversions(graph, tier, position) for tier in tiers)


def _inversions(graph: Tiers, tier: Sequence[int], position: Sequence[int]) -> int:
    count = 0
    seen: list[int] = []
    for node in tier:
        ends = sorted(position[there] for there in graph.right[node])
        count += sum(len(seen) - bisect_right(seen, end) for end in ends)
        for end in ends:
            insort(seen, end)
    return count


class _Arrangement:
    """The tiers in their present order."""

    def __init__(self, graph: Tiers) -> None:
        self.graph = graph
        self.position = [0.0] * len(graph)
        self.edges = {node for border in graph.borders.values() for node in (*border.tops, *border.bottoms)}
        first = _first_visits(graph)
        self.rank = _ranks(graph, first)
        self.tiers = [self._arranged(tier, first.__getitem__, 0) for tier in graph.tiers]
        self._settle(self.tiers)

    def copy(self) -> list[Tier]:
        return [list(tier) for tier in self.tiers]

    def crossings(self) -> int:
        return crossings(self.graph, self.tiers)

    def sweep(self, *, rightward: bool) -> None:
        """Order each tier by the one before it in the given direction."""
        beside = self.graph.left if rightward else self.graph.right
        position = self.position

        def wanted(node: int) -> float:
            near = beside[node]
            return sum(position[there] for there in near) / len(near) if near else position[node]

        for index in range(len(self.tiers)) if rightward else reversed(range(len(self.tiers))):
            self.tiers[index] = self._arranged(self.tiers[index], wanted, 0)
            self._settle([self.tiers[index]])

    def _settle(self, tiers: Sequence[Tier]) -> None:
        for tier in tiers:
            for place, node in enumerate(tier):
                self.position[node] = place

    def _arranged(self, nodes: Sequence[int], wanted: Callable[[int], float], depth: int) -> Tier:
        """Sort by wanted place, groups as a whole; groups take the places they won in their fixed order."""
        groups: dict[Path, Tier] = {}
        items: list[tuple[float, int | None]] = []
        for node in nodes:
            path = self.graph.paths[node]
            if len(path) > depth:
                groups.setdefault(path[: depth + 1], []).append(node)
            else:
                items.append((wanted(node), node))
        items += [(self._centre(inside, wanted), None) for inside in groups.values()]
        items.sort(key=lambda item: item[0])
        ranked = iter(sorted(groups, key=lambda path: (self.rank[path], path)))
        result: Tier = []
        for _, single in items:
            if single is not None:
                result.append(single)
            else:
                group = next(ranked)
                result += self._grouped(group, groups[group], wanted)
        return result

    def _grouped(self, path: Path, nodes: Tier, wanted: Callable[[int], float]) -> Tier:
        border = self.graph.borders.get(path)
        if border is None:
            return self._arranged(nodes, wanted, len(path))
        place = self.graph.tier[nodes[0]] - self.graph.tier[border.tops[0]]
        top, bottom = border.tops[place], border.bottoms[place]
        inside = [node for node in nodes if node not in (top, bottom)]
        return [top, *self._arranged(inside, wanted, len(path)), bottom]

    def _centre(self, nodes: Sequence[int], wanted: Callable[[int], float]) -> float:
        places = [wanted(node) for node in nodes if node not in self.edges] or [wanted(node) for node in nodes]
        return sum(places) / len(places)


def _ranks(graph: Tiers, first: Sequence[int]) -> dict[Path, float]:
    """Give each group its place among its siblings: components as they come, frames by their shapes' first places."""
    places: dict[Path, list[int]] = defaultdict(list)
    for node in range(len(graph.names)):
        path = graph.paths[node]
        places[path[:1]] = [path[0]]
        for depth in range(2, len(path) + 1):
            places[path[:depth]].append(first[node])
    return {path: sum(inside) / len(inside) for path, inside in places.items()}


def _first_visits(graph: Tiers) -> list[int]:
    """Number the nodes depth first, so that what belongs together starts together."""
    visits: dict[int, int] = {}
    for start in range(len(graph)):
        stack = [start]
        while stack:
            node = stack.pop()
            if node not in visits:
                visits[node] = len(visits)
                stack += reversed(graph.right[node])
    return [visits[node] for node in range(len(graph))]
