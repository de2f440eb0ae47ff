"""Text output: what the lines say is what the picture says, and no line is too wide."""

from __future__ import annotations

import re
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca.drawing import Picture, Shape, to_text
from cloaca.drawing.drafts import drafted
from cloaca.drawing.lettering import columns
from tests.drawing.pictures import graphs, nestings, picture, pictures, quickly, stages
from tests.drawing.reader import arrows_in

WIDE = 10_000
ESCAPE = re.compile(r"\x1b\[[0-9]+m")


def listed(text: str) -> set[tuple[str, str]]:
    """Read the arrows of a list."""
    lines = (line.split("←") for line in text.splitlines() if "←" in line)
    return {(tail, head.strip()) for head, tails in lines for tail in tails.strip().split(", ")}


@quickly
@given(pictures(), st.integers(1, 120), st.booleans())
def test_no_line_is_too_wide(drawn: Picture, width: int, color: bool) -> None:
    for line in to_text(drawn, width=width, color=color).split("\n"):
        bare = ESCAPE.sub("", line)
        assert columns(bare) <= width
        assert "\x1b" not in bare


@quickly
@given(pictures())
def test_colour_changes_nothing_else(drawn: Picture) -> None:
    colorful, sober = (to_text(drawn, color=color) for color in (True, False))
    assert [line.rstrip() for line in ESCAPE.sub("", colorful).split("\n")] == sober.split("\n")


@quickly
@given(graphs(), st.sampled_from([1, 20, 40, WIDE]))
def test_the_lines_say_what_the_picture_says(drawn: Picture, width: int) -> None:
    text = to_text(drawn, width=max(width, 40))
    found = listed(text) if "←" in text else arrows_in(text)
    assert found == drafted(drawn, boxed=False).arrows


@quickly
@given(nestings())
def test_what_is_written_with_the_operators_is_drawn(drawn: Picture) -> None:
    text = to_text(drawn, width=WIDE)
    assert "←" not in text
    assert arrows_in(text) == drafted(drawn, boxed=False).arrows


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (picture(), ""),
        (picture(names="only"), "only"),
        (picture(stages("extract", "transform", "load")), "extract ── transform ── load"),
        (
            picture(stages("fetch", "charge reserve", "ship")),
            """
            fetch ─┬─ charge ──┬─ ship
                   └─ reserve ─┘
            """,
        ),
        (
            picture(stages("plan", "page_1 page_2 page_10", "merge")),
            """
            plan ─┬─ page_1 ──┬─ merge
                  ├─ page_2 ──┤
                  └─ page_10 ─┘
            """,
        ),
        (
            picture(stages("a", "b", "c"), stages("download", "x")),
            """
            a ── b ── c
            download ── x
            """,
        ),
        (
            picture(stages("a b", "c d e")),
            """
            a ─┬─ c
            b ─┼─ d
               └─ e
            """,
        ),
        (
            picture(stages("a", "b", "c", "d"), stages("a", "x", "d")),
            """
            a ─┬─ b ── c ─┬─ d
               └─ x ──────┘
            """,
        ),
        (
            picture(stages("a", "c d"), stages("b", "d")),
            """
            a ─┬─── c
               └─┐
            b ───┴─ d
            """,
        ),
        (
            picture(stages("a", "b", "c"), frames={"when is_large": "b c"}),
            "a ── b (when is_large) ── c (when is_large)",
        ),
        (
            picture(stages("a", "b c", "d"), states={"a": "succeeded", "b": "failed", "c": "skipped"}),
            """
            ✔ a ─┬─ ✖ b ─┬─ ○ d
                 └─ ↷ c ─┘
            """,
        ),
        (
            picture(stages("a", "d e f"), stages("b", "d f"), stages("c", "e f")),
            """
            a
            b
              d  ← a, b
            c
              e  ← a, c
              f  ← a, b, c
            """,
        ),
    ],
)
def test_small_pictures_byte_by_byte(drawn: Picture, expected: str) -> None:
    assert to_text(drawn) == dedent(expected).strip("\n")


def test_notes_stand_below_where_there_is_no_room_beside() -> None:
    drawn = picture(stages("fetch_orders", "convert", "ship_orders"), notes={"convert": "when currency_is_foreign"})
    assert to_text(drawn, width=70) == "fetch_orders ── convert (when currency_is_foreign) ── ship_orders"
    assert to_text(drawn, width=50).splitlines() == [
        "fetch_orders ── convert ── ship_orders",
        "convert: when currency_is_foreign",
    ]


def test_names_are_cut_a_little_before_the_list_takes_over() -> None:
    drawn = picture(stages("extract_all_orders", "transform_all_orders"))
    assert to_text(drawn, width=34) == "extract_all_or… ── transform_all_…"
    assert to_text(drawn, width=24).splitlines() == ["extract_all_orders", "  transform_…  ← extrac…"]


def test_predecessors_that_have_no_room_are_counted() -> None:
    drawn = picture(stages("a_first b_second c_third", "x y"), stages("c_third d_fourth e_fifth", "y z"))
    last = [to_text(drawn, width=width).splitlines()[3] for width in (20, 32, 40)]
    assert last == [
        "  x       ← 3 others",
        "  x       ← a_first and 2 more",
        "  x       ← a_first, b_second, c_third",
    ]


def test_a_wide_fan_is_one_line() -> None:
    fan = " ".join(f"fetch_{number}" for number in range(1, 201))
    assert to_text(picture(stages("plan", fan, "merge"))) == "plan ── fetch_1 … and 199 more ── merge"


def test_colours_are_ansi_sequences() -> None:
    drawn = picture(stages("a", "b"), states={"a": "succeeded"})
    assert to_text(drawn, color=True) == "\x1b[32m✔ a\x1b[0m \x1b[90m──\x1b[0m ○ b"


def test_no_width_is_refused() -> None:
    with pytest.raises(ValueError, match="0 columns"):
        to_text(Picture("p", (Shape("a", "a"),), frozenset()), width=0)


def test_a_very_long_chain_is_a_list() -> None:
    lines = to_text(picture(stages(*(f"t{number}" for number in range(500))))).splitlines()
    assert lines[:2] == ["t0", "t1    ← t0"]
    assert len(lines) == 500
