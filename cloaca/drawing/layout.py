"""Where everything in a picture stands, in pixels: boxes, frames, and the points that arrows run through.

It knows sizes and places; colours, texts and formats are somebody else's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise

from cloaca.drawing.arrows import Arrow
from cloaca.drawing.coordinates import Extents, balanced
from cloaca.drawing.ordering import untangled
from cloaca.drawing.pictures import Frame
from cloaca.drawing.tiers import Border, Tiers, tiered
from cloaca.drawing.trunks import trunked

__all__ = ["Box", "Hop", "Layout", "Point", "Route", "laid_out"]

Point = tuple[float, float]
Link = tuple[int, int]
Column = tuple[float, float]  # its left side and its width

GAP_MIN = 44.0  # between two columns of boxes
GAP_MAX = 150.0
GAP_TRUNK = 64.0
GAP_ARROW = 30.0  # of a gap, between the frames that end and those that begin in it
STEEPNESS = 0.16  # how much wider a gap gets for each pixel that an arrow climbs in it
BOX_MARGIN = 11.0  # above and below a box, room for its tag and badge; two boxes are twice as far apart
BEND_MARGIN = 9.0  # above and below an arrow that passes through a column
FRAME_SIDE = 14.0  # from the boxes to the frame around them
FRAME_HEAD = 16.0  # more above the boxes, where the frame's label is
FRAME_OUTSIDE = 14.0  # above the upper and below the lower edge of a frame


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle by its upper left corner and its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> Point:
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of an arrow, from the right side of a column to the left side of a later one.

    Attributes:
        start: where it begins.
        end: where it ends.
        trunk: whether it runs along the trunk of a fan, half way between the two.
    """

    start: Point
    end: Point
    trunk: bool = False


Route = tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of a picture's parts.

    Attributes:
        boxes: by the name of the shape.
        frames: the frames with their boxes, the outer before the inner.
        routes: the hops of each arrow, the first from the box it leaves, the last to the box it reaches. From one hop
            to the next it runs level, across a column.
        width: of everything.
        height: of everything.
    """

    boxes: Mapping[str, Box]
    frames: Sequence[tuple[Frame, Box]]
    routes: Mapping[Arrow, Route]
    width: float
    height: float


def laid_out(
    sizes: Mapping[str, tuple[float, float]], arrows: Collection[Arrow], frames: Sequence[Frame] = ()
) -> Layout:
    """Lay a graph out from left to right, in columns of equally wide boxes.

    Args:
        sizes: width and height of each box, by name, in topological order.
        arrows: the arrows between the names.
        frames: frames that nest, the outer before the inner.

    >>> layout = laid_out({"a": (80, 36), "b": (80, 36)}, [("a", "b")])
    >>> layout.routes["a", "b"]
    (Hop(start=(80.0, 18.0), end=(124.0, 18.0), trunk=False),)
    """
    graph = tiered(list(sizes), arrows, frames)
    height = [size[1] for size in sizes.values()]
    tiers = untangled(graph)
    middle = balanced(graph, tiers, _extents(graph, height))
    levels = _levels(frames)
    gap = max(GAP_MIN, GAP_ARROW + 2 * FRAME_SIDE * max(levels, default=0))
    trunks = trunked(graph, middle)
    columns = _columns(graph, middle, trunks, [size[0] for size in sizes.values()], gap)
    boxes: dict[str, Box] = {}
    for node, name in enumerate(graph.names):
        left, wide = columns[graph.tier[node]]
        boxes[name] = Box(left, middle[node] - height[node] / 2, wide, height[node])
    framed = [
        (frames[path[-1]], _framed(border, levels[path[-1]], graph, middle, columns))
        for path, border in sorted(graph.borders.items(), key=lambda entry: entry[0][-1])
        if len(path) > 1
    ]
    routes = {arrow: _route(graph, nodes, middle, columns, trunks) for arrow, nodes in graph.routes.items()}
    return _moved(boxes, framed, routes)


def _extents(graph: Tiers, height: Sequence[float]) -> Extents:
    up = [tall / 2 + BOX_MARGIN for tall in height] + [BEND_MARGIN] * (len(graph) - len(height))
    down = list(up)
    for path, border in graph.borders.items():
        is_frame = len(path) > 1
        for node in border.tops:
            up[node], down[node] = (FRAME_OUTSIDE, FRAME_HEAD) if is_frame else (0.0, 0.0)
        for node in border.bottoms:
            up[node], down[node] = (FRAME_SIDE - BOX_MARGIN, FRAME_OUTSIDE) if is_frame else (0.0, 0.0)
    return Extents(up, down)


def _columns(
    graph: Tiers, middle: Sequence[float], trunks: Set[Link], width: Sequence[float], gap: float
) -> list[Column]:
    columns: list[Column] = []
    x = 0.0
    for tier in graph.tiers:
        wide = max((width[node] for node in tier if graph.is_shape(node)), default=0.0)
        links = [(here, there) for here in tier for there in graph.right[here]]
        climb = max((abs(middle[a] - middle[b]) for a, b in links if (a, b) not in trunks), default=0.0)
        columns.append((x, wide))
        needed = GAP_TRUNK if not trunks.isdisjoint(links) else GAP_MIN
        x += wide + round(max(gap, needed, min(GAP_MIN + STEEPNESS * climb, GAP_MAX)))
    return columns


def _levels(frames: Sequence[Frame]) -> list[int]:
    """Say for each frame how many frames deep its inside is, itself included."""
    levels = [1] * len(frames)
    for index, frame in reversed(list(enumerate(frames))):
        inner = (later for later in range(index + 1, len(frames)) if frames[later].members <= frame.members)
        levels[index] = 1 + max((levels[later] for later in inner), default=0)
    return levels


def _framed(border: Border, level: int, graph: Tiers, middle: Sequence[float], columns: Sequence[Column]) -> Box:
    first, last = (columns[graph.tier[border.tops[end]]] for end in (0, -1))
    top, bottom = middle[border.tops[0]], middle[border.bottoms[0]]
    side = FRAME_SIDE * level
    return Box(first[0] - side, top, last[0] + last[1] - first[0] + 2 * side, bottom - top)


def _route(
    graph: Tiers, nodes: Sequence[int], middle: Sequence[float], columns: Sequence[Column], trunks: Set[Link]
) -> Route:
    hops: list[Hop] = []
    for here, there in pairwise(nodes):
        left, wide = columns[graph.tier[here]]
        start, end = (left + wide, middle[here]), (columns[graph.tier[there]][0], middle[there])
        hops.append(Hop(start, end, (here, there) in trunks))
    return tuple(hops)


def _moved(boxes: Mapping[str, Box], frames: Sequence[tuple[Frame, Box]], routes: Mapping[Arrow, Route]) -> Layout:
    """Move everything so that the upper left corner is at zero."""
    everything = [*boxes.values(), *(box for _, box in frames)]
    ys = [y for route in routes.values() for hop in route for _, y in (hop.start, hop.end)]
    left = min((box.x for box in everything), default=0.0)
    top = min([*(box.y for box in everything), *ys], default=0.0)

    def moved(box: Box) -> Box:
        return Box(box.x - left, box.y - top, box.width, box.height)

    def shifted(point: Point) -> Point:
        return point[0] - left, point[1] - top

    return Layout(
        boxes={name: moved(box) for name, box in boxes.items()},
        frames=[(frame, moved(box)) for frame, box in frames],
        routes={
            arrow: tuple(Hop(shifted(hop.start), shifted(hop.end), hop.trunk) for hop in route)
            for arrow, route in routes.items()
        },
        width=max((box.right for box in everything), default=0.0) - left,
        height=max([*(box.bottom for box in everything), *ys], default=0.0) - top,
    )
