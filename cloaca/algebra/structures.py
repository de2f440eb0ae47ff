"""Named nodes and the order between them: series, overlay, and what is wrong with a composition.

It knows nothing of what a node is: nodes are opaque values that are compared, so that the run-time algebra and a type
checker's plugin decide ``shared-task``, ``task-name`` and ``graph-cycle`` by the same lines.

The first and last nodes are kept as they were written, not recomputed from the edges: ``>>`` joins every last node of
its left side to every first node of its right side, and with that reading it distributes over overlay
(``laws.series_distributes``). Cost: linear in the operands.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from typing import Any, Generic, TypeVar

from cloaca.errors import Violation

N = TypeVar("N", bound=Hashable)
Edge = tuple[str, str]
LONGEST_NAME = 200  # databases look names up by an index, which has room for no more


@dataclass(frozen=True, slots=True)
class Structure(Generic[N]):
    """Nodes by name, edges between names, and the names that come first and last."""

    nodes: Mapping[str, N]
    edges: frozenset[Edge]
    heads: frozenset[str]
    tails: frozenset[str]

    def __hash__(self) -> int:
        return hash((frozenset(self.nodes.items()), self.edges, self.heads, self.tails))


def checked_name(name: object) -> str:
    """Return ``name`` if it can name a task or a workflow: it is stored, shown and typed by people.

    Raises:
        ValueError: it is no string, blank, longer than ``LONGEST_NAME`` characters, or has characters that can't be
            printed (line breaks, NUL, surrogates).
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise ValueError(
            f"{name!r:.80} is no name: a task or workflow is named by printable text that is not blank, "
            f"{LONGEST_NAME} characters at most"
        )
    return name


def leaf(name: str, node: N) -> Structure[N]:
    """Return the structure of one node."""
    only = frozenset((name,))
    return Structure({name: node}, frozenset(), only, only)


def empty() -> Structure[N]:
    """Return the structure without nodes, the identity of ``series`` and ``overlay``."""
    return Structure({}, frozenset(), frozenset(), frozenset())


def closed(structure: Structure[N]) -> Structure[N]:
    """Return the same order with its real first and last nodes: what a graph is once nothing more is composed to it.

    Two expressions for one order then are equal, whichever way they were written.
    """
    heads = structure.nodes.keys() - {target for _, target in structure.edges}
    tails = structure.nodes.keys() - {source for source, _ in structure.edges}
    return replace(structure, heads=frozenset(heads), tails=frozenset(tails))


def series(left: Structure[N], right: Structure[N]) -> tuple[Structure[N], tuple[Violation, ...]]:
    """Return ``left`` before ``right``, and what is wrong with that: operands of ``>>`` may not share a node."""
    if not left.nodes or not right.nodes:
        return (left if left.nodes else right), ()
    edges = left.edges | right.edges | {(a, b) for a in left.tails for b in right.heads}
    joined = Structure({**left.nodes, **right.nodes}, edges, left.heads, right.tails)
    return joined, tuple(_shared(name, left.nodes[name] == right.nodes[name]) for name in _common(left, right))


def overlay(parts: Sequence[Structure[N]]) -> tuple[Structure[N], tuple[Violation, ...]]:
    """Return all ``parts`` laid over each other, nodes shared by name, and what is wrong with that."""
    nodes: dict[str, N] = {}
    clashes: dict[str, Violation] = {}
    for part in parts:
        for name, node in part.nodes.items():
            other = nodes.setdefault(name, node)
            if other is not node and other != node:
                clashes[name] = two_tasks_one_name(name)
    whole = Structure(
        nodes,
        frozenset().union(*(part.edges for part in parts)),
        frozenset().union(*(part.heads for part in parts)),
        frozenset().union(*(part.tails for part in parts)),
    )
    disjoint = len(nodes) == sum(len(part.nodes) for part in parts)
    cycle = () if disjoint else find_cycle(nodes, whole.edges)  # disjoint parts can't close a cycle
    violations = [clashes[name] for name in sorted(clashes)]
    return whole, (*violations, *((cyclic(cycle),) if cycle else ()))


def topological(nodes: Iterable[str], edges: Iterable[Edge], key: Callable[[str], Any] | None = None) -> list[str]:
    """Return the nodes in topological order, ties by ``key`` (their names, if left out).

    Nodes on a cycle, or behind one, are left out. Cost: linear, but for the logarithm of how many are ready at once.
    """
    rank = key or (lambda name: name)
    after, blocked = _adjacency(nodes, edges)
    ready = [(rank(name), name) for name, count in blocked.items() if count == 0]
    heapify(ready)
    order: list[str] = []
    while ready:
        _, name = heappop(ready)
        order.append(name)
        for target in after[name]:
            blocked[target] -= 1
            if blocked[target] == 0:
                heappush(ready, (rank(target), target))
    return order


def find_cycle(nodes: Iterable[str], edges: Iterable[Edge]) -> tuple[str, ...]:
    """Return the nodes of a cycle in order, from the smallest name; ``()`` if there is none."""
    stuck = _behind_cycles(nodes, edges)
    if not stuck:
        return ()
    before: dict[str, str] = {}
    for source, target in sorted(edges):
        if source in stuck and target in stuck:
            before.setdefault(target, source)
    name = min(before)  # walking backwards from any stuck node ends in a cycle
    seen: dict[str, int] = {}
    path: list[str] = []
    while name not in seen:
        seen[name] = len(path)
        path.append(name)
        name = before[name]
    cycle = path[seen[name] :][::-1]
    first = cycle.index(min(cycle))
    return (*cycle[first:], *cycle[:first])


def _behind_cycles(nodes: Iterable[str], edges: Iterable[Edge]) -> set[str]:
    """The nodes on cycles and behind them: those that a topological order never reaches."""
    after, blocked = _adjacency(nodes, edges)
    ready = [name for name, count in blocked.items() if count == 0]
    for name in ready:
        for target in after[name]:
            blocked[target] -= 1
            if blocked[target] == 0:
                ready.append(target)
    return blocked.keys() - set(ready)


def _adjacency(nodes: Iterable[str], edges: Iterable[Edge]) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Each node's direct successors, and how many direct predecessors it has."""
    after: dict[str, list[str]] = {name: [] for name in nodes}
    blocked = dict.fromkeys(after, 0)
    for source, target in edges:
        after[source].append(target)
        blocked[target] += 1
    return after, blocked


def cyclic(cycle: Sequence[str]) -> Violation:
    """Return the violation for a cycle, with its path."""
    path = " >> ".join((*cycle, cycle[0]))
    return Violation("graph-cycle", cycle[0], "", f"Cycle in the graph: {path}")


def two_tasks_one_name(name: str) -> Violation:
    """Return the violation for one name given to two different tasks."""
    return Violation(
        "task-name",
        name,
        "",
        f'Two different tasks are both named "{name}" (another function, other options or another condition); '
        f'give one of them a name of its own: .named("...")',
    )


def nothing_to_seal() -> Violation:
    """Return the violation for an empty graph that is sealed: nothing says what to do between its rows."""
    return Violation("workflow-input", "", "", "An empty graph can't be sealed")


def nothing_to_do() -> Violation:
    """Return the violation for an empty graph: nothing says what to do with an element."""
    return Violation("workflow-input", "", "", "each() of an empty graph: there is nothing to do for an element")


def _common(left: Structure[N], right: Structure[N]) -> list[str]:
    small, large = (left, right) if len(left.nodes) <= len(right.nodes) else (right, left)
    return sorted(name for name in small.nodes if name in large.nodes)


def _shared(name: str, same: bool) -> Violation:
    if not same:
        return two_tasks_one_name(name)
    return Violation(
        "shared-task",
        name,
        "",
        f'Both sides of ">>" contain task "{name}"; to run it twice give one a name of its own, .named("..."); '
        f"to share it, overlay the chains: g1 & g2, or Workflow(name, g1, g2)",
    )
