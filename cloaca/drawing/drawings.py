"""A graph drawn with lines on a grid of characters: captions in columns, wires in the gutters between them.

It does not know how to show what can't be drawn so; it says that it can't.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from cloaca.drawing.arrows import Arrow, components
from cloaca.drawing.captions import FAINT, Caption, Piece
from cloaca.drawing.coordinates import level
from cloaca.drawing.ordering import untangled
from cloaca.drawing.tiers import Tiers, tiered
from cloaca.drawing.wires import LEFT, RIGHT, STRAIGHT_WIDTH, Wires, wired

__all__ = ["drawn"]

CAPTION_MIN = 12  # captions are not cut shorter than this
SHAPES_MAX = 300  # more that hang together are no drawing for a terminal

_LINES = " ───│┘└┴│┐┌┬│┤├┼"  # by the sum of the directions, see wires

Line = list[Piece]


def drawn(
    order: Sequence[str], arrows: Collection[Arrow], captions: Mapping[str, Caption], width: int
) -> list[Line] | None:
    """Draw a graph in at most the given width, one component below the other; give each line as its pieces.

    Notes stand beside the names if there is room for that, else below the drawing. There is no drawing if names would
    have to be cut too short, or lines would have to cross.
    """
    graphs = list(_components(order, arrows))
    noted = _stacked(graphs, {name: caption.noted for name, caption in captions.items()}, width, cut=False)
    if noted is not None:
        return noted
    bare = _stacked(graphs, {name: caption.bare for name, caption in captions.items()}, width, cut=True)
    notes = [[Piece(f"{captions[name].label}: {captions[name].note}", FAINT)] for name in order if captions[name].note]
    return None if bare is None else bare + notes


def _stacked(graphs: Sequence[Tiers], captions: Mapping[str, Piece], width: int, *, cut: bool) -> list[Line] | None:
    lines: list[Line] = []
    for graph in graphs:
        part = _drawn(graph, captions, width, cut=cut)
        if part is None:
            return None
        lines += part
    return lines


def _components(order: Sequence[str], arrows: Collection[Arrow]) -> Iterator[Tiers]:
    home = components(order, arrows)
    names: dict[int, list[str]] = defaultdict(list)
    inside: dict[int, list[Arrow]] = defaultdict(list)
    for name in order:
        names[home[name]].append(name)
    for arrow in arrows:
        inside[home[arrow[0]]].append(arrow)
    return (tiered(names[index], inside[index]) for index in names)


def _drawn(graph: Tiers, captions: Mapping[str, Piece], width: int, *, cut: bool) -> Iterator[Line] | None:
    if len(graph.names) > SHAPES_MAX or len(graph.tiers) * STRAIGHT_WIDTH > width:
        return None
    # Every other row stays free for lines that have to turn between two rows.
    rows = [2 * row for row in level(graph, untangled(graph))]
    gutters: list[Wires] = []
    for tier in graph.tiers[:-1]:
        gutter = wired((rows[here], rows[there]) for here in tier for there in graph.right[here])
        if gutter is None:
            return None
        gutters.append(gutter)
    columns = _columns(graph, captions, width - sum(gutter.width for gutter in gutters), cut=cut)
    return None if columns is None else _Grid(graph, captions, rows, gutters, columns).lines()


def _columns(graph: Tiers, captions: Mapping[str, Piece], room: int, *, cut: bool) -> list[int] | None:
    """Give each tier a width, the widest ones as much less than they want as it takes to fit and as they may be cut."""
    wanted = [
        max((captions[graph.names[node]].width for node in tier if graph.is_shape(node)), default=1)
        for tier in graph.tiers
    ]
    most = max(wanted)
    for cap in range(most, (min(CAPTION_MIN, most) if cut else most) - 1, -1):
        widths = [min(wide, cap) for wide in wanted]
        if sum(widths) <= room:
            return widths
    return None


class _Grid:
    """Lines and captions, each at its row and column."""

    def __init__(
        self,
        graph: Tiers,
        captions: Mapping[str, Piece],
        rows: Sequence[int],
        gutters: Sequence[Wires],
        columns: Sequence[int],
    ) -> None:
        self.cells: dict[int, dict[int, int]] = defaultdict(dict)
        self.pieces: dict[int, list[tuple[int, Piece]]] = defaultdict(list)
        left = 0
        for tier, gutter, wide in zip(graph.tiers, [*gutters, Wires(0, {})], columns, strict=True):
            for node in tier:
                name = graph.names[node] if graph.is_shape(node) else None
                piece = captions[name].within(wide) if name is not None else None
                self._put(rows[node], left, piece, left + wide if graph.right[node] else left)
            for (row, column), directions in gutter.cells.items():
                self.cells[row][left + wide + column] = directions
            left += wide + gutter.width

    def _put(self, row: int, left: int, piece: Piece | None, end: int) -> None:
        """Put a caption, or where there is none the line that passes, and lead a line from it to the end."""
        if piece:
            self.pieces[row].append((left, piece))
        start = left + piece.width + 1 if piece else left - 1
        self.cells[row].update(dict.fromkeys(range(start, end + 1), LEFT | RIGHT))

    def lines(self) -> Iterator[Line]:
        """Give the lines, leaving out the rows in which no line turns."""
        for row in sorted({*self.cells, *self.pieces}):
            if row in self.pieces or any(directions & (LEFT | RIGHT) for directions in self.cells[row].values()):
                yield self._line(row)

    def _line(self, row: int) -> Line:
        wires = [(column, Piece(_LINES[directions], FAINT)) for column, directions in self.cells[row].items()]
        line: Line = []
        reached = 0
        for column, piece in sorted([*wires, *self.pieces[row]], key=lambda entry: entry[0]):
            if column > reached:
                line.append(Piece(" " * (column - reached)))
            if line and line[-1].color == piece.color == FAINT and column == reached:
                line[-1] = Piece(line[-1].text + piece.text, FAINT)
            else:
                line.append(piece)
            reached = column + piece.width
        return line
