"""The structure of a branch: a node that decides, and two graphs of which one runs.

Like ``structures`` it knows nothing of what a node is but that it can be put under guards, so that the run-time algebra
and a type checker's plugin make branches by the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, Protocol, Self, TypeVar

from cloaca.algebra.guards import Arm, Guard
from cloaca.algebra.structures import Structure, leaf, overlay, two_tasks_one_name
from cloaca.errors import Violation


class Guarded(Hashable, Protocol):
    """A node that can be put under conditions."""

    @property
    def guards(self) -> tuple[Guard[Any], ...]:
        """The conditions around it, outermost first."""
        ...

    def under(self, guards: tuple[Guard[Any], ...]) -> Self:
        """Return the same node under these conditions alone."""
        ...

    def named(self, name: str, /) -> Self:
        """Return the same node under another name."""
        ...


N = TypeVar("N", bound=Guarded)


def branched(
    name: str, decision: N, then: Structure[N], otherwise: Structure[N]
) -> tuple[Structure[N], tuple[Violation, ...]]:
    """Return the branch in which ``decision``, called ``name``, chooses an arm, and what is wrong with that.

    The decision comes first; last come the last nodes of both arms, or the decision itself for an arm that is empty.
    """
    arms = [_arm(then, Arm(name, taken=True)), _arm(otherwise, Arm(name, taken=False))]
    whole, violations = overlay([leaf(name, decision), *arms])
    chosen = {(name, head) for arm in arms for head in arm.heads}
    tails = frozenset().union(*(arm.tails or {name} for arm in arms))
    return replace(whole, edges=whole.edges | chosen, heads=frozenset((name,)), tails=tails), violations


def _arm(structure: Structure[N], arm: Arm) -> Structure[N]:
    guard: Guard[Any] = Guard(arm, frozenset(structure.nodes), structure.heads)
    return replace(structure, nodes={name: node.under((guard, *node.guards)) for name, node in structure.nodes.items()})


def renamed(structure: Structure[N], new: str) -> tuple[Structure[N], tuple[Violation, ...]]:
    """Return a branch whose decision goes by another name, as both arms know, and whether that name is taken."""
    (old,) = structure.heads
    if new != old and new in structure.nodes:
        return structure, (two_tasks_one_name(new),)
    nodes: dict[str, N] = {}
    for name, node in structure.nodes.items():
        changed = node.under(tuple(guard.renamed(old, new) for guard in node.guards))
        nodes[new if name == old else name] = changed.named(new) if name == old else changed
    whole = Structure(
        nodes,
        frozenset((_other(a, old, new), _other(b, old, new)) for a, b in structure.edges),
        frozenset((new,)),
        frozenset(_other(name, old, new) for name in structure.tails),
    )
    return whole, ()


def _other(name: str, old: str, new: str) -> str:
    return new if name == old else name


def ruled(structure: Structure[N], change: Callable[[N], N]) -> Structure[N]:
    """Return a branch whose decision is changed, but not its name: it waits under another rule."""
    (name,) = structure.heads
    return replace(structure, nodes={**structure.nodes, name: change(structure.nodes[name])})
