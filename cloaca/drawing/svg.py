"""A picture as an SVG image, to be looked at in a notebook, a README or a browser.

It does not know how a layout is found, nor what the shapes stand for. The image needs no scripts, styles or ids, so any
number of them can share a page; its background is transparent, and its colours are for light and dark pages alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from cloaca.drawing.drafts import Draft, drafted
from cloaca.drawing.figures import Figure, tag
from cloaca.drawing.layout import Hop, Layout, Point, Route, laid_out
from cloaca.drawing.lettering import legible, pixels, shortened
from cloaca.drawing.markup import Attributes, element, number, path, written
from cloaca.drawing.palette import PAGE, STATES, TAG
from cloaca.drawing.pictures import Picture

__all__ = ["to_svg"]

FONT = "Inter, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
EDGE = 15.0  # around everything: badges, tags and the lower boxes of a stack reach out
TITLE_SIZE, TITLE_ROOM, TITLE_HEIGHT = 14.0, 420.0, 30.0
FRAME_CORNER, FRAME_TAG_LEFT = 12.0, 14.0
HEAD_LENGTH, HEAD_WIDTH = 8.0, 7.0
ASIDE = 11.0  # from the middle of a box to where an arrow that points backward ends
LABEL_SIZE = 10.0
TRUNK_BEND = 14.0
BEND_MIN = 0.25  # an arrow that climbs less than this is straight


def to_svg(picture: Picture) -> str:
    """Draw the picture as SVG, left to right.

    Arrows that follow from others are left out and wide fans are folded into one stacked box, see
    :mod:`cloaca.drawing.drafts` and :mod:`cloaca.drawing.stacks`. Labels are shortened to fit; the tooltip of a box
    has all of it. The cost is near linear for usual graphs.

    >>> from cloaca.drawing.pictures import Shape
    >>> to_svg(Picture("orders", (Shape("fetch", "fetch"),), frozenset())).split(" viewBox")[0]
    '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="orders: 1 task"'
    """
    draft = drafted(picture, boxed=True)
    figures = {shape.name: _figure(draft, shape.name, index) for index, shape in enumerate(draft.shapes)}
    layout = laid_out({name: figure.size() for name, figure in figures.items()}, draft.arrows, draft.frames)
    head = TITLE_HEIGHT if picture.title else 0.0
    width = max(layout.width, pixels(_title(picture), TITLE_SIZE)) + 2 * EDGE
    lines = [_opening(picture, width, layout.height + 2 * EDGE + head)]
    if picture.title:
        lines.append(_titled(picture))
    lines.append(f'<g transform="translate({number(EDGE)} {number(EDGE + head)})">')
    lines += [*_framed(layout), *_arrows(draft, layout)]
    for name, figure in figures.items():
        lines += figure.lines(layout.boxes[name])
    return "\n".join([*filter(None, lines), "</g>", "</svg>"])


def _figure(draft: Draft, name: str, index: int) -> Figure:
    return Figure(
        shape=draft.shapes[index],
        note=draft.notes[name],
        state=draft.states.get(name, ""),
        stateful=bool(draft.states),
        inside=draft.stacks.get(name, ()),
    )


def _opening(picture: Picture, width: float, height: float) -> str:
    description = written(_described(picture))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{description}"'
        f' viewBox="0 0 {number(width)} {number(height)}" width="{number(width)}" height="{number(height)}"'
        f' font-family="{FONT}" style="max-width:100%;height:auto">\n<title>{description}</title>'
    )


def _described(picture: Picture) -> str:
    """Say in words what the picture shows: for those who can't see it."""
    count = len(picture.shapes)
    counts = Counter(picture.states.get(shape.name, "") for shape in picture.shapes)
    tally = ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state])
    summary = f"{count:,} task{'s' * (count != 1)}" + (f" ({tally})" if tally else "")
    return f"{picture.title}: {summary}" if picture.title else summary


def _title(picture: Picture) -> str:
    return shortened(legible(picture.title), TITLE_ROOM, lambda text: pixels(text, TITLE_SIZE))


def _titled(picture: Picture) -> str:
    style: Attributes = {"font_size": TITLE_SIZE, "font_weight": 600, "fill": PAGE}
    return element("text", written(_title(picture)), x=EDGE, y=EDGE + TITLE_SIZE - 1, **style)


def _framed(layout: Layout) -> Iterator[str]:
    for frame, box in layout.frames:
        place: Attributes = {"x": box.x, "y": box.y, "width": box.width, "height": box.height, "rx": FRAME_CORNER}
        look: Attributes = {"fill": TAG.line, "fill_opacity": 0.1, "stroke": TAG.line, "stroke_dasharray": "5 4"}
        yield "<g>" + element("title", written(frame.label))
        yield element("rect", **place, **look)
        yield from tag(frame.label, box.x + FRAME_TAG_LEFT, box.y, box.width - 2 * FRAME_TAG_LEFT)
        yield "</g>"


def _arrows(draft: Draft, layout: Layout) -> Iterator[str]:
    """Write all arrows; those that end at the same box share their head, unless they point backward."""
    if not layout.routes:
        return
    routes = {arrow: _aside(route) if arrow in draft.backward else route for arrow, route in layout.routes.items()}
    yield f'<g fill="none" stroke="{PAGE}" stroke-width="1.5">'
    for (tail, head), route in sorted(routes.items()):
        is_backward = (tail, head) in draft.backward
        is_dashed = is_backward or draft.states.get(head) == "skipped" or (tail, head) in draft.dashed
        dash: Attributes = {"stroke_dasharray": "4 4"} if is_dashed else {}
        start, end = (head, tail) if is_backward else (tail, head)
        yield element("path", element("title", f"{written(start)} → {written(end)}"), d=_curve(route), **dash)
    yield "</g>"
    heads = sorted({(route[-1].end, 1) for arrow, route in routes.items() if arrow not in draft.backward})
    heads += sorted((routes[arrow][0].start, -1) for arrow in draft.backward & routes.keys())
    yield element("path", d="".join(_head(tip, way) for tip, way in heads), fill=PAGE)
    for arrow, label in sorted(draft.labels.items()):
        if arrow in routes:
            x, y = _label_place(routes[arrow][-1], is_backward=arrow in draft.backward)
            place: Attributes = {"x": x, "y": y, "text_anchor": "end"}
            yield element("text", written(legible(label)), **place, font_size=LABEL_SIZE, fill=PAGE)


def _label_place(last: Hop, *, is_backward: bool) -> Point:
    """Where a label ends: before the head; where there is none, on the side from which the line does not come."""
    (_, from_y), (x, y) = last.start, last.end
    return (x - 3, y + (LABEL_SIZE + 1 if from_y < y else -5)) if is_backward else (x - HEAD_LENGTH - 2, y - 5)


def _aside(route: Route) -> Route:
    """Begin beside the middle of the box, where other arrows leave it: so its head is on no other's line."""
    (x, y), (_, to_y) = route[0].start, route[0].end
    return (replace(route[0], start=(x, y + (ASIDE if to_y >= y else -ASIDE))), *route[1:])


def _curve(route: Route) -> str:
    """Run through the hops: in a smooth curve or along a trunk from column to column, level across each."""
    steps: list[str | float | Point] = []
    for hop in route:
        (x, y), (to_x, to_y) = hop.start, hop.end
        steps += ["L" if steps else "M", hop.start]
        middle, climb = (x + to_x) / 2, to_y - y
        if abs(climb) < BEND_MIN:
            steps += ["L", hop.end]
        elif hop.trunk:
            bend = min(TRUNK_BEND, abs(climb) / 2)
            turn = bend if climb > 0 else -bend
            steps += ["H", middle - bend, "Q", (middle, y), " ", (middle, y + turn)]
            steps += ["V", to_y - turn, "Q", (middle, to_y), " ", (middle + bend, to_y), "H", to_x]
        else:
            steps += ["C", (middle, y), " ", (middle, to_y), " ", hop.end]
    return path(*steps)


def _head(tip: Point, way: int) -> str:
    """Draw a head that points to the right, or with a ``way`` of -1 to the left."""
    x, y = tip
    back, half = x - way * HEAD_LENGTH, HEAD_WIDTH / 2
    return path("M", tip, "L", (back, y - half), "L", (back + way * 1.6, y), "L", (back, y + half), "Z")
