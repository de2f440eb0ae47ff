"""Arrows between names: their topological order, their cycles, and which of them follow from the others.

It does not know what a name stands for, nor how it is drawn.
"""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Set

__all__ = ["Arrow", "components", "in_order", "natural", "needed", "neighbours"]

Arrow = tuple[str, str]

_DIGITS = re.compile("([0-9]+)")


def natural(name: str) -> tuple[object, ...]:
    """Give the key that sorts names as people count: ``page_2`` before ``page_10``.

    >>> sorted(["page_10", "page_2", "page"], key=natural)
    ['page', 'page_2', 'page_10']
    """
    parts: list[object] = list(_DIGITS.split(name))
    # Digits compare by length and then as text: int() refuses numbers of thousands of digits.
    parts[1::2] = [(len(str(part).lstrip("0")), str(part).lstrip("0")) for part in parts[1::2]]
    return (tuple(parts), name)


def neighbours(names: Iterable[str], arrows: Iterable[Arrow]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Give the predecessors and the successors of every name, each list in natural order.

    >>> neighbours(["a", "b"], [("a", "b")])
    ({'a': [], 'b': ['a']}, {'a': ['b'], 'b': []})
    """
    before: dict[str, list[str]] = {name: [] for name in names}
    after: dict[str, list[str]] = {name: [] for name in before}
    for tail, head in arrows:
        before[head].append(tail)
        after[tail].append(head)
    for ends in (*before.values(), *after.values()):
        ends.sort(key=natural)
    return before, after


def in_order(names: Collection[str], arrows: Collection[Arrow]) -> list[str]:
    """Sort the names topologically, ties in natural order. Costs O((n + m) log n).

    Raises:
        ValueError: the arrows run in a circle; the message spells it out.

    >>> in_order(["ship", "reserve", "charge"], [("reserve", "ship"), ("charge", "ship")])
    ['charge', 'reserve', 'ship']
    """
    before, after = neighbours(names, arrows)
    waiting = {name: len(tails) for name, tails in before.items()}
    ready = [(natural(name), name) for name, count in waiting.items() if not count]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        _, name = heapq.heappop(ready)
        order.append(name)
        for head in after[name]:
            waiting[head] -= 1
            if not waiting[head]:
                heapq.heappush(ready, (natural(head), head))
    if len(order) < len(before):
        raise ValueError(f"the arrows run in a circle: {_circle(before, set(before) - set(order))}")
    return order


def _circle(before: dict[str, list[str]], stuck: Set[str]) -> str:
    """Spell out one circle; every stuck name has a stuck predecessor, so walking back must meet itself."""
    walk = [min(stuck, key=natural)]
    while walk.count(walk[-1]) == 1:
        walk.append(next(name for name in before[walk[-1]] if name in stuck))
    circle = walk[walk.index(walk[-1]) : -1][::-1]
    first = circle.index(min(circle, key=natural))
    return " -> ".join(map(repr, [*circle[first:], *circle[:first], circle[first]]))


def components(names: Iterable[str], arrows: Iterable[Arrow]) -> dict[str, int]:
    """Give each name the index of the first name that it hangs together with, whatever the arrows' directions.

    >>> components("abcd", [("a", "c"), ("d", "c")])
    {'a': 0, 'c': 0, 'd': 0, 'b': 1}
    """
    beside: dict[str, list[str]] = defaultdict(list)
    for tail, head in arrows:
        beside[tail].append(head)
        beside[head].append(tail)
    component: dict[str, int] = {}
    for index, start in enumerate(names):
        open_ends = [start]
        while open_ends:
            name = open_ends.pop()
            if name not in component:
                component[name] = index
                open_ends += beside[name]
    return component


def needed(order: Iterable[str], arrows: Collection[Arrow], telling: Collection[str]) -> frozenset[Arrow]:
    """Leave out each arrow that follows from the others (the transitive reduction).

    An arrow from or to a ``telling`` name, or one that only follows by way of such a name, stays. Reachability is
    kept in the bits of integers: O(n * m / 64).

    Args:
        order: the names in topological order.
        arrows: the arrows between them.
        telling: names whose direct neighbours matter, beyond what comes before what.

    >>> sorted(needed("abc", [("a", "b"), ("b", "c"), ("a", "c")], telling=()))
    [('a', 'b'), ('b', 'c')]
    >>> sorted(needed("abc", [("a", "b"), ("b", "c"), ("a", "c")], telling="b"))
    [('a', 'b'), ('a', 'c'), ('b', 'c')]
    """
    order = list(order)
    place = {name: 1 << index for index, name in enumerate(order)}
    _, after = neighbours(order, arrows)
    beyond = dict.fromkeys(order, 0)
    further = dict.fromkeys(order, 0)
    for name in reversed(order):
        for head in after[name]:
            if head not in telling:
                beyond[name] |= place[head] | beyond[head]
                further[name] |= beyond[head]
    return frozenset(
        (tail, head) for tail, head in arrows if tail in telling or head in telling or not further[tail] & place[head]
    )
