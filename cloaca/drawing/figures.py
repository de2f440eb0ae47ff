"""One shape of a picture as SVG: its box, its texts, the tag for its note, the badge for its status.

It does not know the other shapes, nor how a place was found for this one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil

from cloaca.drawing.emblems import BADGE_RADIUS, badge, emblem
from cloaca.drawing.layout import Box
from cloaca.drawing.lettering import legible, pixels, shortened
from cloaca.drawing.markup import Attributes, element, path, written
from cloaca.drawing.palette import TAG, Ink, ink_of
from cloaca.drawing.pictures import Shape
from cloaca.drawing.stacks import STACK

__all__ = ["Figure", "tag"]

LABEL_SIZE, DETAIL_SIZE, TAG_SIZE = 13.0, 10.5, 10.5
LABEL_ROOM, DETAIL_ROOM, TAG_ROOM = 210.0, 220.0, 200.0
WIDTH_MIN, HEIGHT, HEIGHT_DETAILED = 84.0, 38.0, 50.0
PADDING = 16.0  # between a text and the side of its box
EMBLEM_SIZE, EMBLEM_LEFT = 14.0, 12.0
TAG_HEIGHT, TAG_LEFT, TAG_PADDING, TAG_LIFT = 16.0, 10.0, 7.0, 3.0
STACK_STEP = 4.0
CORNER, SLANT, BAR, LINE = 8.0, 11.0, 6.0, 1.4
NAMES_IN_TOOLTIP = 40

_label_width = partial(pixels, size=LABEL_SIZE)
_detail_width = partial(pixels, size=DETAIL_SIZE)
_tag_width = partial(pixels, size=TAG_SIZE)


@dataclass(frozen=True, slots=True)
class Figure:
    """A shape and what else is said about it.

    Attributes:
        shape: what is drawn.
        note: its annotation, or nothing.
        state: its status, or nothing.
        stateful: whether the picture shows statuses.
        inside: the names of the shapes, if this is a stack of them.
    """

    shape: Shape
    note: str = ""
    state: str = ""
    stateful: bool = False
    inside: Sequence[str] = ()

    @property
    def label(self) -> str:
        """The label as far as there is room for it."""
        return shortened(legible(self.shape.label), LABEL_ROOM, _label_width)

    @property
    def detail(self) -> str:
        """The detail as far as there is room for it."""
        return shortened(legible(self.shape.detail), DETAIL_ROOM, _detail_width)

    def size(self) -> tuple[float, float]:
        """Measure the box that the texts need: width and height."""
        text = max(_label_width(self.label), _detail_width(self.detail)) + 2 * PADDING + self._indent()
        tagged = tag_width(self.note, TAG_ROOM) + 2 * TAG_LEFT + BADGE_RADIUS if self.note else 0.0
        return ceil(max(WIDTH_MIN, text, tagged)), HEIGHT_DETAILED if self.shape.detail else HEIGHT

    def lines(self, box: Box) -> Iterator[str]:
        """Write the shape at its place, as the lines of one group."""
        ink = ink_of(self.shape.kind, self.state, stateful=self.stateful)
        yield f'<g data-task="{written(self.shape.name)}">'
        yield element("title", written(self._tooltip()))
        yield from self._outlines(box, ink)
        yield emblem(self.shape.kind, box.x + EMBLEM_LEFT, box.middle[1] - EMBLEM_SIZE / 2, ink.line)
        yield from self._texts(box, ink)
        if self.note:
            yield from tag(self.note, box.x + TAG_LEFT, box.y - TAG_LIFT, box.width - 2 * TAG_LEFT - BADGE_RADIUS)
        yield badge(self.state, box.right - 3, box.y + 2, ink.line)
        yield "</g>"

    def _indent(self) -> float:
        return EMBLEM_SIZE + 4 if emblem(self.shape.kind, 0, 0, "") else 0.0

    def _tooltip(self) -> str:
        shown = list(self.inside[:NAMES_IN_TOOLTIP])
        if len(self.inside) > len(shown):
            shown.append(f"and {len(self.inside) - len(shown):,} more")
        head = ", ".join(shown) or self.shape.label
        parts = [self.shape.name] if self.shape.name not in (head, *shown) else []
        return " · ".join(filter(None, [head, *parts, self.shape.detail, self.note, self.state]))

    def _outlines(self, box: Box, ink: Ink) -> Iterator[str]:
        for step in range({STACK: 2, "each": 1}.get(self.shape.kind, 0), 0, -1):
            shift = STACK_STEP * step
            yield _rectangle(Box(box.x + shift, box.y + shift, box.width, box.height), ink)
        dash: Attributes = {"stroke_dasharray": "4 3"} if self.state == "skipped" else {}
        if self.shape.kind == "branch":
            yield _hexagon(box, ink, **dash)
        else:
            yield _rectangle(box, ink, box.height / 2 if self.shape.kind in ("wait", "sleep") else CORNER, **dash)
        if self.shape.kind == "subflow":
            sides = path("M", (box.x + BAR, box.y), "V", box.bottom, "M", (box.right - BAR, box.y), "V", box.bottom)
            yield element("path", d=sides, stroke=ink.line, fill="none")
        if self.shape.kind == "sealed":
            inner = Box(box.x + 3, box.y + 3, box.width - 6, box.height - 6)
            yield _rectangle(inner, ink, CORNER - 3)

    def _texts(self, box: Box, ink: Ink) -> Iterator[str]:
        x, y = box.middle
        x += self._indent() / 2
        bold: Attributes = {"font_weight": 600, "text_anchor": "middle"}
        low = y - 3 if self.shape.detail else y + 4.5
        yield element("text", written(self.label), x=x, y=low, font_size=LABEL_SIZE, fill=ink.text, **bold)
        if self.shape.detail:
            thin: Attributes = {"font_size": DETAIL_SIZE, "fill": ink.small, "text_anchor": "middle"}
            yield element("text", written(self.detail), x=x, y=y + 13, **thin)


def _rectangle(box: Box, ink: Ink, corner: float = CORNER, **more: str | float) -> str:
    place: Attributes = {"x": box.x, "y": box.y, "width": box.width, "height": box.height, "rx": corner}
    return element("rect", **place, fill=ink.fill, stroke=ink.line, stroke_width=LINE, **more)


def _hexagon(box: Box, ink: Ink, **more: str | float) -> str:
    middle, left, right = box.middle[1], box.x + SLANT, box.right - SLANT
    upper = path("M", (box.x, middle), "L", (left, box.y), "H", right)
    lower = path("L", (box.right, middle), "L", (right, box.bottom), "H", left, "Z")
    look: Attributes = {"fill": ink.fill, "stroke": ink.line, "stroke_width": LINE, "stroke_linejoin": "round"}
    return element("path", d=upper + lower, **look, **more)


def tag_width(text: str, room: float) -> float:
    """Measure the tag that shows as much of the text as there is room for."""
    return _tag_width(shortened(legible(text), room - 2 * TAG_PADDING, _tag_width)) + 2 * TAG_PADDING


def tag(text: str, x: float, y: float, room: float) -> Iterator[str]:
    """Write a small label that sits astride a line: its left end and its middle at the place."""
    shown = shortened(legible(text), room - 2 * TAG_PADDING, _tag_width)
    width = _tag_width(shown) + 2 * TAG_PADDING
    place: Attributes = {"x": x, "y": y - TAG_HEIGHT / 2, "width": width, "height": TAG_HEIGHT, "rx": TAG_HEIGHT / 2}
    yield element("rect", **place, fill=TAG.fill, stroke=TAG.line)
    middle: Attributes = {"x": x + width / 2, "y": y + 3.6, "text_anchor": "middle"}
    yield element("text", written(shown), **middle, font_size=TAG_SIZE, fill=TAG.text)
