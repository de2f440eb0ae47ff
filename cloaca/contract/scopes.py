"""A graph with what surrounds it while its sites are made: gates, the entry of a seal, handlers.

It knows names and what comes before what, neither models nor sites.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from cloaca.algebra.guards import Guard
from cloaca.algebra.structures import Structure


def first_of(structure: Structure[Any]) -> list[str]:
    """Return the names of the nodes that no node comes before, sorted."""
    return sorted(structure.nodes.keys() - {target for _, target in structure.edges})


def last_of(structure: Structure[Any]) -> list[str]:
    """Return the names of the nodes that no node comes after, sorted."""
    return sorted(structure.nodes.keys() - {source for source, _ in structure.edges})


class Around(NamedTuple):
    """The gates around something, outermost first, and those among them that must say no."""

    guards: tuple[str, ...] = ()
    otherwise: frozenset[str] = frozenset()


class Scope:
    """A graph with what surrounds it: nothing, or the entry of a seal, which comes before its first nodes.

    ``before`` has what is directly before each node; who waits for a task waits for its handler, too.
    """

    def __init__(
        self,
        structure: Structure[Any],
        place: tuple[str, ...] = (),
        around: Around = Around(),  # noqa: B008 - a value
        entry: str | None = None,
    ) -> None:
        self.structure, self.place, self.around, self.entry = structure, place, around, entry
        self.prefix = "".join(f"{name}/" for name in place)
        handlers = ((name, getattr(node, "handler", None)) for name, node in structure.nodes.items())
        self.handlers = {self.prefix + name: self.prefix + handler.name for name, handler in handlers if handler}
        self.before: dict[str, list[str]] = {name: [] for name in structure.nodes}
        for source, target in structure.edges:
            self.before[target].append(self.prefix + source)
        self.gates: dict[tuple[int, Guard], str] = {}

    def behind(self, name: str) -> list[str]:
        """What a node waits for."""
        before = self.before[name]
        if before:
            return self.with_handlers(before) if self.handlers else before
        return before if self.entry is None else [self.entry]

    def with_handlers(self, ids: Collection[str]) -> list[str]:
        """Nodes, and the handlers that stand in for them."""
        return [*ids, *(self.handlers[id] for id in ids if id in self.handlers)]

    def heads_of(self, guard: Guard) -> list[str]:
        """The nodes before which ``guard`` decides. A graph put together node by node may lack the written ones."""
        present = guard.members & self.structure.nodes.keys()
        inside = {self.prefix + name for name in present}
        return sorted(guard.heads & present) or sorted(name for name in present if inside.isdisjoint(self.before[name]))
