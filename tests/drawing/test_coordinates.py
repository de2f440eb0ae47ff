"""Nodes keep their distance and their order; the edges of frames are straight, whatever crosses them."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given

from cloaca.drawing import Picture
from cloaca.drawing.coordinates import Extents, balanced, level
from cloaca.drawing.nesting import nested
from cloaca.drawing.ordering import crossings, untangled
from cloaca.drawing.tiers import Tiers, tiered
from tests.drawing.pictures import nestings, picture, pictures, plain, quickly, stages


def tiers_of(drawn: Picture) -> Tiers:
    return tiered([shape.name for shape in drawn.sorted_shapes()], drawn.arrows, nested(drawn.frames)[0])


def places_of(graph: Tiers, tiers: list[list[int]]) -> list[float]:
    return balanced(graph, tiers, Extents([0.5] * len(graph), [1.0] * len(graph)))


@quickly
@given(pictures(plain))
def test_nodes_keep_order_and_distance(drawn: Picture) -> None:
    graph = tiers_of(drawn)
    tiers = untangled(graph)
    places, rows = places_of(graph, tiers), level(graph, tiers)
    assert [sorted(tier) for tier in tiers] == [sorted(tier) for tier in graph.tiers]
    for tier in tiers:
        for upper, lower in pairwise(tier):
            assert places[lower] - places[upper] >= 1.5
            assert rows[lower] > rows[upper]


@quickly
@given(pictures(plain, max_size=16))
def test_edges_of_frames_are_straight(drawn: Picture) -> None:
    graph = tiers_of(drawn)
    places = places_of(graph, untangled(graph))
    for border in graph.borders.values():
        assert len({places[node] for node in border.tops}) == 1
        assert len({places[node] for node in border.bottoms}) == 1


TANGLE = stages("a", "b e"), stages("b", "c f"), stages("c", "d e"), stages("e", "f")


def test_the_edges_of_a_frame_are_straight_where_arrows_come_in() -> None:
    graph = tiers_of(picture(*TANGLE, frames={"when p": "a c f"}))
    places = places_of(graph, untangled(graph))
    (border,) = graph.borders.values()
    assert len({places[node] for node in border.tops}) == len({places[node] for node in border.bottoms}) == 1


def test_long_arrows_are_straight_where_others_cross_them() -> None:
    graph = tiers_of(picture(*TANGLE))
    places = places_of(graph, untangled(graph))
    assert max(map(len, graph.routes.values())) == 4
    for route in graph.routes.values():
        assert len({places[node] for node in route[1:-1]}) <= 1


def test_a_long_arrow_is_straight_where_others_fork_off_it() -> None:
    graph = tiers_of(
        picture(stages(*"abcdefg"), stages("a", "v", "x"), stages("c", "x"), stages("v", "y"), stages("e", "y"))
    )
    places = places_of(graph, untangled(graph))
    bends = graph.routes["v", "y"][1:-1]
    assert len(bends) == 3
    assert len({places[node] for node in bends}) == 1


@quickly
@given(nestings())
def test_nothing_crosses_but_in_a_join_of_several_with_several(drawn: Picture) -> None:
    heads = [{head for here, head in drawn.arrows if here == tail} for tail, _ in drawn.arrows]
    if all(len(ends) == 1 or all(sum(end in other for other in heads) == len(ends) for end in ends) for ends in heads):
        graph = tiers_of(drawn)
        assert crossings(graph, untangled(graph)) == 0
