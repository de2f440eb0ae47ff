"""The lines between two columns of a drawing in text: where they turn, branch and join, on a grid of characters.

It knows rows and which are linked, no captions. Not every graph can be shown so: where two lines would have to cross,
or could be read as joined though they are not, there are no wires.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["LEFT", "RIGHT", "Wires", "wired"]

Cell = tuple[int, int]  # a row and a column of the gutter

LEFT, RIGHT, UP, DOWN = 1, 2, 4, 8
FIRST_TRACK, TRACK_STEP = 2, 2
STRAIGHT_WIDTH = 4


@dataclass(frozen=True, slots=True)
class Wires:
    """The wires in the gutter between two columns.

    Attributes:
        width: of the gutter.
        cells: for each cell with a line in it the directions in which the line leaves it.
    """

    width: int
    cells: Mapping[Cell, int]


def wired(links: Iterable[tuple[int, int]]) -> Wires | None:
    """Wire rows on the left to rows on the right, or find that it can't be done legibly. Costs O(n**2).

    Rows are even numbers; the odd ones in between are free for lines that need a row of their own.

    >>> sorted(wired([(0, 0)]).cells.items())
    [((0, 1), 3), ((0, 2), 3)]
    >>> wired([(0, 0), (2, 2)]).width, wired([(0, 0), (0, 2)]).width, wired([(0, 2), (2, 0)])
    (4, 5, None)
    """
    nets = _nets(links)
    if nets is None or not _set_tracks(nets):
        return None
    tracks = 1 + max((net.track for net in nets if net.is_vertical), default=-1)
    width = FIRST_TRACK + TRACK_STEP * tracks + 1 if tracks else STRAIGHT_WIDTH
    painter = _Painter(width)
    return Wires(width, painter.cells) if all(painter.paint(net) for net in nets) else None


@dataclass(slots=True, eq=False)
class _Net:
    """Lines that meet: they come from source rows, share one vertical line, the track, and go to target rows.

    A drop is a net that brings one line of another net, its origin, to a row where that line joins the line of a
    third, which is already there: the target.
    """

    sources: list[int]
    targets: list[int]
    origin: _Net | None = None
    host: _Net | None = None
    track: int = 0

    @property
    def is_vertical(self) -> bool:
        return len({*self.sources, *self.targets}) > 1

    def spans(self, row: int) -> bool:
        rows = (*self.sources, *self.targets)
        return self.is_vertical and min(rows) <= row <= max(rows)


def _nets(links: Iterable[tuple[int, int]]) -> list[_Net] | None:
    targets: dict[int, set[int]] = defaultdict(set)
    for source, target in links:
        targets[source].add(target)
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for source in sorted(targets):
        alike[tuple(sorted(targets[source]))].append(source)
    nets = [_Net(sources, list(ends)) for ends, sources in alike.items()]
    drops: list[_Net] = []
    for row in sorted({target for net in nets for target in net.targets}):
        host, *guests = sorted((net for net in nets if row in net.targets), key=lambda net: _distance(net, row))
        for guest in guests:
            drop = _drop(guest, host, row)
            if drop is None or any(drop.sources == other.sources for other in drops):
                return None
            drops.append(drop)
    return nets + drops


def _distance(net: _Net, row: int) -> tuple[int, list[int]]:
    return min(abs(source - row) for source in net.sources), net.sources


def _drop(guest: _Net, host: _Net, row: int) -> _Net | None:
    """Lead a line of the guest along the free row beside its target, and from there onto the line of the host."""
    if max(guest.sources) < row:
        beside = row - 1
    elif min(guest.sources) > row:
        beside = row + 1
    else:
        return None
    guest.targets[guest.targets.index(row)] = beside
    return _Net([beside], [row], origin=guest, host=host)


def _set_tracks(nets: Sequence[_Net]) -> bool:
    """Give each net the first track right of all that must be left of it; tell whether that is possible."""
    vertical = [net for net in nets if net.is_vertical]
    waiting = {net: [other for other in vertical if other is not net and _is_left(other, net)] for net in vertical}
    while waiting:
        free = [net for net, before in waiting.items() if not any(other in waiting for other in before)]
        if not free:
            return False
        for net in free:
            net.track = 1 + max((other.track for other in waiting[net]), default=-1)
        for net in free:
            del waiting[net]
    return True


def _is_left(one: _Net, other: _Net) -> bool:
    """Tell whether one net's track must be left of the other's, so that its lines from the left don't cross that."""
    if one in (other.origin, other.host):
        return True
    if other in (one.origin, one.host):
        return False
    comes_in = not one.origin and any(other.spans(source) for source in one.sources)
    goes_out = not other.origin and any(one.spans(target) for target in other.targets)
    return comes_in or goes_out


class _Painter:
    """Draws nets into cells, and notices when two of them get into each other's way."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.cells: dict[Cell, int] = {}
        self.owner: dict[Cell, _Net] = {}
        self.clean = True

    def paint(self, net: _Net) -> bool:
        """Draw the net; tell whether all its cells were free."""
        track = self._column(net)
        if not net.is_vertical:
            self._run(net, net.sources[0], 1, self.width - 2)
            return self.clean
        for source in () if net.origin else net.sources:
            self._run(net, source, 1, track - 1)
            self._add(net, (source, track), LEFT)
        for target in () if net.origin else net.targets:
            self._add(net, (target, track), RIGHT)
            if target % 2 == 0:
                self._run(net, target, track + 1, self.width - 2)
        if net.origin:
            self._join(net, net.origin, track)
        else:
            self._climb(net, track, [*net.sources, *net.targets])
        return self.clean

    def _join(self, drop: _Net, origin: _Net, track: int) -> None:
        (beside,), (row,) = drop.sources, drop.targets
        self._run(origin, beside, self._column(origin) + 1, track - 1)
        self._add(origin, (beside, track), LEFT | (DOWN if row > beside else UP))
        # The one place where two nets may meet: from here on there is only one way to go.
        self.cells[row, track] = self.cells.get((row, track), 0) | (UP if row > beside else DOWN)

    def _column(self, net: _Net) -> int:
        return FIRST_TRACK + TRACK_STEP * net.track

    def _run(self, net: _Net, row: int, first: int, last: int) -> None:
        for column in range(first, last + 1):
            self._add(net, (row, column), LEFT | RIGHT)

    def _climb(self, net: _Net, track: int, rows: Sequence[int]) -> None:
        top, bottom = min(rows), max(rows)
        for row in range(top, bottom + 1):
            self._add(net, (row, track), (UP if row > top else 0) | (DOWN if row < bottom else 0))

    def _add(self, net: _Net, cell: Cell, directions: int) -> None:
        self.clean = self.clean and self.owner.setdefault(cell, net) is net
        self.cells[cell] = self.cells.get(cell, 0) | directions
