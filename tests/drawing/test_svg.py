"""An SVG is well-formed whatever the names; boxes keep apart, arrows touch them, frames hold what they should."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given

from cloaca.drawing import Picture, Shape, tiers, to_svg
from cloaca.drawing.drafts import drafted
from cloaca.drawing.figures import Figure
from cloaca.drawing.layout import Box, Layout, laid_out
from cloaca.drawing.lettering import legible, pixels, shortened
from tests.drawing.pictures import hostile, picture, pictures, quickly, stages

SVG = "{http://www.w3.org/2000/svg}"


def parsed(drawn: Picture) -> ElementTree.Element:
    return ElementTree.fromstring(to_svg(drawn).encode())


def layout_of(drawn: Picture) -> Layout:
    draft = drafted(drawn, boxed=True)
    sizes = {shape.name: Figure(shape, note=draft.notes[shape.name]).size() for shape in draft.shapes}
    return laid_out(sizes, draft.arrows, draft.frames)


def overlap(one: Box, other: Box) -> bool:
    return one.x < other.right and other.x < one.right and one.y < other.bottom and other.y < one.bottom


def holds(outer: Box, inner: Box) -> bool:
    return outer.x < inner.x and outer.y < inner.y and inner.right < outer.right and inner.bottom < outer.bottom


@quickly
@given(pictures())
def test_is_well_formed_and_says_every_label(drawn: Picture) -> None:
    root = parsed(drawn)
    tooltips = {group.get("data-task"): group.findtext(f"{SVG}title") for group in root.iter(f"{SVG}g")}
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    for shape in drawn.shapes:
        assert legible(shape.label) in (tooltips[legible(shape.name)] or "") or not shape.label
        assert shortened(legible(shape.label), 210, lambda text: pixels(text, 13)) in texts
    assert root.get("role") == "img"
    assert root.get("aria-label") == root.findtext(f"{SVG}title")


@quickly
@given(pictures(max_size=16))
def test_boxes_keep_apart(drawn: Picture) -> None:
    for one, other in combinations(layout_of(drawn).boxes.values(), 2):
        assert not overlap(one, other)


@quickly
@given(pictures(max_size=16))
def test_arrows_touch_their_boxes(drawn: Picture) -> None:
    layout = layout_of(drawn)
    for (tail, head), route in layout.routes.items():
        assert route[0].start == (layout.boxes[tail].right, layout.boxes[tail].middle[1])
        assert route[-1].end == (layout.boxes[head].x, layout.boxes[head].middle[1])
        for hop in route:
            assert hop.start[0] < hop.end[0]


@quickly
@given(pictures(max_size=16))
def test_arrows_pass_boxes_by(drawn: Picture) -> None:
    layout = layout_of(drawn)
    for route in layout.routes.values():
        for before, after in pairwise(route):
            assert before.end[1] == after.start[1]
            passage = Box(before.end[0], before.end[1] - 1, after.start[0] - before.end[0], 2)
            assert not any(overlap(passage, box) for box in layout.boxes.values())


@quickly
@given(pictures(max_size=16))
def test_a_frame_holds_its_members_and_nothing_else(drawn: Picture) -> None:
    layout = layout_of(drawn)
    for frame, outline in layout.frames:
        for name, box in layout.boxes.items():
            assert holds(outline, box) if name in frame.members else not overlap(outline, box)
    for (one, outline), (other, further) in combinations(layout.frames, 2):
        assert holds(outline, further) if other.members <= one.members else not overlap(outline, further)


@quickly
@given(pictures())
def test_everything_is_on_the_canvas(drawn: Picture) -> None:
    layout = layout_of(drawn)
    for box in [*layout.boxes.values(), *(outline for _, outline in layout.frames)]:
        assert box.x >= -1e-6
        assert box.y >= -1e-6
        assert box.right <= layout.width + 1e-6
        assert box.bottom <= layout.height + 1e-6


def test_a_chain_is_straight() -> None:
    layout = layout_of(picture(stages("extract", "transform", "load")))
    assert len({box.middle[1] for box in layout.boxes.values()}) == 1


def test_a_diamond_is_symmetrical() -> None:
    boxes = layout_of(picture(stages("fetch", "charge reserve", "ship"))).boxes
    middle = {name: box.middle[1] for name, box in boxes.items()}
    assert middle["fetch"] == middle["ship"] == (middle["charge"] + middle["reserve"]) / 2
    assert boxes["charge"].x == boxes["reserve"].x


def test_a_long_arrow_is_level_between_its_ends() -> None:
    layout = layout_of(picture(stages("a", "b", "c", "d", "z"), stages("a", "x", "z")))
    inner = [hop.start[1] for hop in layout.routes["x", "z"][1:]]
    assert len(set(inner)) == 1


def test_components_stand_one_below_the_other() -> None:
    boxes = layout_of(picture(stages("a", "b c d"), names="e")).boxes
    assert max(boxes[name].bottom for name in "abcd") < boxes["e"].y


def test_one_box_byte_by_byte() -> None:
    assert to_svg(Picture("", (Shape("a", "fetch & go", "Ref -> Order"),), frozenset())).splitlines() == [
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="1 task" viewBox="0 0 126 80" width="126"'
        " height=\"80\" font-family=\"Inter, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans',"
        ' sans-serif" style="max-width:100%;height:auto">',
        "<title>1 task</title>",
        '<g transform="translate(15 15)">',
        '<g data-task="a">',
        "<title>fetch &amp; go · a · Ref -&gt; Order</title>",
        '<rect x="0" y="0" width="96" height="50" rx="8" fill="#f5f7ff" stroke="#6478d3" stroke-width="1.4"/>',
        '<text x="48" y="22" font-size="13" fill="#1e2a5a" font-weight="600" text-anchor="middle">fetch &amp; go'
        "</text>",
        '<text x="48" y="38" font-size="10.5" fill="#454f72" text-anchor="middle">Ref -&gt; Order</text>',
        "</g>",
        "</g>",
        "</svg>",
    ]


def test_nothing_to_draw_is_drawn_too() -> None:
    assert parsed(picture()).get("aria-label") == "0 tasks"


def test_states_are_told_in_words() -> None:
    root = parsed(picture(stages("a", "b c"), title="orders", states={"a": "succeeded", "b": "failed"}))
    assert root.get("aria-label") == "orders: 3 tasks (1 succeeded, 1 failed)"
    tooltips = [group.findtext(f"{SVG}title") for group in root.iter(f"{SVG}g") if group.get("data-task")]
    assert tooltips == ["a · succeeded", "b · failed", "c"]


def test_a_wide_fan_is_one_stack() -> None:
    fan = " ".join(f"fetch_{number}" for number in range(1, 201))
    root = parsed(picture(stages("plan", fan, "merge"), states={"fetch_7": "failed"}))
    assert [text.text for text in root.iter(f"{SVG}text")] == ["plan", "fetch_1 … and 199 more", "1 failed", "merge"]


def test_a_fan_of_thirty_shares_a_trunk() -> None:
    fan = " ".join(f"fetch_{number}" for number in range(1, 31))
    drawn = picture(stages("plan", fan, "merge"))
    assert len(layout_of(drawn).boxes) == 32
    assert all(hop.trunk for route in layout_of(drawn).routes.values() for hop in route)


def test_fans_that_overlap_have_no_trunk() -> None:
    routes = layout_of(picture(stages("a b", "c d e f g h i j"))).routes
    assert not any(hop.trunk for route in routes.values() for hop in route)


def test_frames_keep_their_order_from_tier_to_tier() -> None:
    drawn = picture(
        stages("d", "in_b"), stages("e", "in_a"), names="a b", frames={"when x": "a in_a", "when y": "b in_b"}
    )
    (_, one), (_, other) = layout_of(drawn).frames
    assert not overlap(one, other)


def test_many_images_can_share_a_page() -> None:
    text = to_svg(picture(stages("a", "b"), states={"a": "running"}, frames={"when x": "b"}))
    assert not re.search(r"\bid=|url\(|<style|<script|class=", text)


def test_a_thousand_shapes_are_laid_out() -> None:
    names = [f"t{tier}_{place}" for tier in range(50) for place in range(20)]
    arrows = {
        (f"t{tier}_{place}", f"t{tier + 1}_{(place * step + tier) % 20}")
        for tier in range(49)
        for place in range(20)
        for step in (1, 7)
    }
    assert len(layout_of(picture(arrows, names=" ".join(names))).boxes) == 1000


def test_arrows_too_long_for_bends_run_across(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "BENDS_AT_MOST", 3)
    routes = layout_of(picture(stages(*"abcdefgh"), stages("a", "x", "d"), stages("b", "y", "g"))).routes
    assert len(routes["x", "d"]) == 2
    assert len(routes["y", "g"]) == 1


@quickly
@given(hostile)
def test_a_shortened_text_fits(text: str) -> None:
    for room in (0, 5, 20, 60):
        assert pixels(shortened(text, room, lambda text: pixels(text, 10)), 10) <= room


def test_an_arrow_that_points_backward_has_its_head_at_its_tail_and_beside_other_arrows() -> None:
    arrows = frozenset({("pay", "ship"), ("pay", "refund")})
    shapes = tuple(Shape(name, name) for name in ("pay", "ship", "refund"))
    undoing = Picture("", shapes, arrows, labels={("pay", "refund"): "undoes"}, backward=frozenset({("pay", "refund")}))
    root, layout = parsed(undoing), layout_of(undoing)
    lines = {
        path.findtext(f"{SVG}title"): path for path in root.iter(f"{SVG}path") if path.find(f"{SVG}title") is not None
    }
    assert lines.keys() == {"pay → ship", "refund → pay"}
    assert lines["pay → ship"].get("stroke-dasharray") is None
    assert lines["refund → pay"].get("stroke-dasharray") is not None
    (heads,) = [path.get("d") or "" for path in root.iter(f"{SVG}path") if (path.get("d") or "").count("Z") == 2]
    tips = [tuple(float(number) for number in re.findall(r"[-\d.]+", head)[:4]) for head in heads.split("Z") if head]
    (ahead_x, _, ahead_back, _), (back_x, back_y, back_back, _) = tips
    assert ahead_back < ahead_x == layout.boxes["ship"].x
    assert back_back > back_x == layout.boxes["pay"].right
    assert 0 < abs(back_y - layout.boxes["pay"].middle[1]) < layout.boxes["pay"].height / 2
    assert "undoes" in [text.text for text in root.iter(f"{SVG}text")]
