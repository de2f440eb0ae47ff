"""Structures: named nodes, the order between them, and what is wrong with a composition."""

# mypy: disable-error-code=empty-body

from __future__ import annotations

import random

import pytest

from cloaca.algebra.structures import Structure, closed, empty, find_cycle, leaf, overlay, series, topological


def chain(*names: str) -> Structure[str]:
    """Nodes in a row; a node's value is its name."""
    whole: Structure[str] = empty()
    for name in names:
        whole, violations = series(whole, leaf(name, name))
        assert not violations
    return whole


def codes(violations: object) -> list[tuple[str, str]]:
    assert isinstance(violations, tuple)
    return [(violation.code, violation.task) for violation in violations]


def test_series_joins_every_last_node_to_every_first() -> None:
    left, _ = overlay([leaf("a", "a"), leaf("b", "b")])
    right, _ = overlay([leaf("c", "c"), leaf("d", "d")])
    both, violations = series(left, right)
    assert both.edges == {("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")}
    assert (set(both.heads), set(both.tails)) == ({"a", "b"}, {"c", "d"})
    assert not violations


def test_series_reports_every_shared_node() -> None:
    _, violations = series(chain("a", "b", "c"), chain("c", "d", "a"))
    assert codes(violations) == [("shared-task", "a"), ("shared-task", "c")]


def test_one_name_for_two_nodes_is_not_sharing() -> None:
    _, violations = series(leaf("a", "one"), leaf("a", "another"))
    assert codes(violations) == [("task-name", "a")]
    _, violations = overlay([leaf("a", "one"), leaf("a", "another")])
    assert codes(violations) == [("task-name", "a")]


def test_overlay_keeps_first_and_last_nodes_as_written() -> None:
    whole, violations = overlay([chain("a", "b"), chain("b", "c")])
    assert not violations
    assert (set(whole.heads), set(whole.tails)) == ({"a", "b"}, {"b", "c"})
    real = closed(whole)
    assert (set(real.heads), set(real.tails)) == ({"a"}, {"c"})


def test_closing_makes_one_order_one_structure() -> None:
    chains, _ = overlay([chain("a", "b"), chain("b", "c")])
    assert chains != chain("a", "b", "c")
    assert closed(chains) == closed(chain("a", "b", "c"))


def test_a_cycle_has_its_path() -> None:
    _, violations = overlay([chain("a", "b", "c"), chain("c", "a"), chain("x", "y")])
    assert codes(violations) == [("graph-cycle", "a")]
    assert violations[0].message == "Cycle in the graph: a >> b >> c >> a"


@pytest.mark.parametrize(
    ("edges", "cycle"),
    [
        ([], ()),
        (["ab", "bc", "ac"], ()),
        (["ab", "ba"], ("a", "b")),
        (["aa"], ("a",)),
        (["ab", "bc", "cb", "cd"], ("b", "c")),
        (["za", "ab", "bc", "ca", "cy"], ("a", "b", "c")),
    ],
)
def test_find_cycle(edges: list[str], cycle: tuple[str, ...]) -> None:
    pairs = [(edge[0], edge[1]) for edge in edges]
    assert find_cycle({name for edge in edges for name in edge}, pairs) == cycle


def test_topological_order_breaks_ties_by_name() -> None:
    assert topological("dcba", [("d", "a")]) == ["b", "c", "d", "a"]
    assert topological("dcba", [("d", "a")], key=lambda name: -ord(name)) == ["d", "c", "b", "a"]


def test_topological_order_does_not_depend_on_the_order_of_edges() -> None:
    names = [f"n{number:02}" for number in range(30)]
    edges = [(a, b) for a in names for b in names if a < b and (int(a[1:]) * 7 + int(b[1:])) % 5 == 0]
    orders = set()
    for seed in range(5):
        random.Random(seed).shuffle(edges)
        orders.add(tuple(topological(names, edges)))
    assert len(orders) == 1


def test_equal_structures_hash_equal() -> None:
    left, _ = overlay([chain("a", "b"), chain("c")])
    right, _ = overlay([chain("c"), chain("a", "b")])
    assert left == right
    assert hash(left) == hash(right)
