"""The laws of the algebra on random graphs; and for each of them a broken algebra that it finds out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cloaca.algebra import graphs as algebra
from cloaca.algebra import laws
from cloaca.algebra.graphs import as_graph, graph_of
from cloaca.algebra.structures import Structure, closed, overlay, series
from cloaca.errors import Violation
from tests.algebra.strategies import POOL, AnyGraph, disjoint, graphs, step

Law: TypeAlias = Callable[..., bool]
Parts = Any
Composed = tuple[Structure[Any], tuple[Violation, ...]]

# The last third of the pool is for what comes before or behind: an operand of ``>>`` may not share a task.
FRONT, BACK = POOL[:6], POOL[6:]
Operands = st.SearchStrategy[tuple[AnyGraph, ...]]
anything = graphs()


# Broken algebras


def heads_of_the_first(parts: Parts) -> Composed:
    whole, violations = overlay(parts)
    return replace(whole, heads=parts[0].heads if parts else whole.heads), violations


def common_heads_if_any(parts: Parts) -> Composed:
    whole, violations = overlay(parts)
    common = frozenset.intersection(*(part.heads for part in parts)) if parts else frozenset()
    return replace(whole, heads=common or whole.heads), violations


def common_heads(parts: Parts) -> Composed:
    whole, violations = overlay(parts)
    return replace(whole, heads=frozenset.intersection(*(part.heads for part in parts))), violations


def common_edges_lost(parts: Parts) -> Composed:
    whole, violations = overlay(parts)
    seen: set[tuple[str, str]] = set()
    for part in parts:
        seen ^= part.edges
    return replace(whole, edges=frozenset(seen)), violations


def structural_heads_and_tails(parts: Parts) -> Composed:
    whole, violations = overlay(parts)
    return closed(whole), violations


def tails_of_both(left: Structure[Any], right: Structure[Any]) -> Composed:
    whole, violations = series(left, right)
    return replace(whole, tails=left.tails | right.tails), violations


def empty_is_nothing_special(left: Structure[Any], right: Structure[Any]) -> Composed:
    whole, violations = series(left, right)
    return replace(whole, heads=left.heads, tails=right.tails), violations


def left_operand_is_written_to(left: Structure[Any], right: Structure[Any]) -> Composed:
    whole, violations = series(left, right)
    left.nodes.update(right.nodes)  # type: ignore[attr-defined]  # a mapping is not for writing: that is the fault
    return whole, violations


def lists_are_series(operand: object) -> AnyGraph | None:
    if not isinstance(operand, list):
        return as_graph(operand)
    return graph_of(series(operand[0].structure, operand[1].structure)[0])


# Made anew for each example: what a broken algebra writes to may not be seen by the next test.
FRESH: Operands = st.builds(lambda: (step.named("a") & step.named("b"), step.named("c") & step.named("d")))

# Each law: what it is about, and the broken part of the algebra that must not get past it.
LAWS: dict[Law, tuple[Operands, str, Callable[..., object]]] = {
    laws.overlay_commutes: (st.tuples(anything, anything), "overlay", heads_of_the_first),
    laws.overlay_associates: (st.tuples(anything, anything, anything), "overlay", common_heads_if_any),
    laws.overlay_is_idempotent: (st.tuples(anything), "overlay", common_edges_lost),
    laws.empty_is_overlay_identity: (st.tuples(anything), "overlay", common_heads),
    laws.series_associates: (disjoint(3), "series", tails_of_both),
    laws.empty_is_series_identity: (st.tuples(anything), "series", empty_is_nothing_special),
    laws.series_distributes: (
        st.tuples(graphs(FRONT, empty=False), graphs(FRONT, empty=False), graphs(BACK)),
        "overlay",
        structural_heads_and_tails,
    ),
    laws.lists_are_overlays: (
        st.tuples(graphs(BACK), graphs(FRONT), graphs(FRONT)),
        "as_graph",
        lists_are_series,
    ),
    laws.operands_are_unchanged: (FRESH, "series", left_operand_is_written_to),
}


def check(law: Law, how: settings) -> None:
    @how
    @given(LAWS[law][0])
    def property(operands: tuple[AnyGraph, ...]) -> None:
        assert law(*operands)

    property()


def test_every_law_is_tested() -> None:
    assert set(LAWS) == {law for law in vars(laws).values() if inspect.isfunction(law)}


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(law: Law) -> None:
    check(law, settings(max_examples=60))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_a_broken_algebra_breaks_it(law: Law, monkeypatch: pytest.MonkeyPatch) -> None:
    _, where, broken = LAWS[law]
    monkeypatch.setattr(algebra, where, broken)
    searching = settings(max_examples=500, database=None, phases=[Phase.generate], derandomize=True)
    with pytest.raises((AssertionError, KeyError)):  # a hash changed under a dictionary is a law broken, too
        check(law, searching)


@settings(max_examples=60)
@given(disjoint(2))
def test_random_operands_are_unchanged(operands: tuple[AnyGraph, ...]) -> None:
    assert laws.operands_are_unchanged(*operands)
