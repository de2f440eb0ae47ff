"""The laws of the algebra, as functions of graphs: each returns whether it holds for its arguments.

Tests check them on random graphs, the documentation quotes them. They know only the operators.
"""

from typing import Any, TypeAlias

from cloaca.algebra.graphs import Graph

AnyGraph: TypeAlias = Graph[Any, Any, Any]


def overlay_commutes(a: AnyGraph, b: AnyGraph) -> bool:
    """``a & b == b & a``."""
    return (a & b) == (b & a)


def overlay_associates(a: AnyGraph, b: AnyGraph, c: AnyGraph) -> bool:
    """``(a & b) & c == a & (b & c)``."""
    return ((a & b) & c) == (a & (b & c))


def overlay_is_idempotent(a: AnyGraph) -> bool:
    """``a & a == a``."""
    return (a & a) == a


def empty_is_overlay_identity(a: AnyGraph) -> bool:
    """``a & Graph() == a``."""
    return (a & Graph()) == a == (Graph() & a)


def series_associates(a: AnyGraph, b: AnyGraph, c: AnyGraph) -> bool:
    """``(a >> b) >> c == a >> (b >> c)``, for disjoint operands."""
    return ((a >> b) >> c) == (a >> (b >> c))


def empty_is_series_identity(a: AnyGraph) -> bool:
    """``Graph() >> a == a == a >> Graph()``."""
    return (Graph() >> a) == a == (a >> Graph())


def series_distributes(a: AnyGraph, b: AnyGraph, c: AnyGraph) -> bool:
    """``(a & b) >> c == (a >> c) & (b >> c)``, and from the left, for graphs that are not empty."""
    return ((a & b) >> c) == ((a >> c) & (b >> c)) and (c >> (a & b)) == ((c >> a) & (c >> b))


def lists_are_overlays(a: AnyGraph, b: AnyGraph, c: AnyGraph) -> bool:
    """``a >> [b, c] == a >> (b & c)``, and a tuple is a list."""
    return (a >> [b, c]) == (a >> (b & c)) == (a >> (b, c)) and ([b, c] >> a) == ((b & c) >> a)


def operands_are_unchanged(a: AnyGraph, b: AnyGraph) -> bool:
    """Composing changes no operand."""
    before = (hash(a), repr(a), hash(b), repr(b))
    _ = (a >> b, a & b, [a, b] >> Graph())
    return before == (hash(a), repr(a), hash(b), repr(b))
