"""A graph as an indented list: one line for each shape, with the names of what comes before it.

It does not know when a drawing would be clearer; it can show any graph in any width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cloaca.drawing.arrows import neighbours
from cloaca.drawing.captions import FAINT, Caption, Piece
from cloaca.drawing.drafts import Draft
from cloaca.drawing.lettering import columns

__all__ = ["listed"]

INDENT = 2
INDENT_SHARE = 5  # indents take at most a fifth of the width
CAPTION_SHARE = 0.55  # captions take at most this share

Line = list[Piece]


def listed(draft: Draft, captions: Mapping[str, Caption], width: int) -> list[Line]:
    """Give the lines of the list, each as its pieces.

    The order is topological, and depth first: what follows on a shape comes as soon after it as can be. A shape is
    indented by the longest way to it; where that would take too much of the width, none is.
    """
    names = [shape.name for shape in draft.shapes]
    before, after = neighbours(names, draft.arrows)
    depth: dict[str, int] = {}
    for name in names:
        depth[name] = 1 + max((depth[tail] for tail in before[name]), default=-1)
    step = INDENT if max(depth.values(), default=0) * INDENT * INDENT_SHARE <= width else 0
    heads = {name: _indented(captions[name].noted, step * depth[name]) for name in names}
    column = min(max((head.width for head in heads.values()), default=0), int(width * CAPTION_SHARE))
    lines: list[Line] = []
    for name in _depth_first(names, before, after):
        tails = [captions[tail].label for tail in before[name]]
        head = heads[name].within(column if tails else width)
        lines.append([head, *_sources(tails, column - head.width, width - column)])
    return lines


def _indented(caption: Piece, indent: int) -> Piece:
    return Piece(" " * indent + caption.text, caption.color)


def _depth_first(
    order: Sequence[str], before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    waiting = {name: len(before[name]) for name in order}
    ready = [name for name in reversed(order) if not before[name]]
    while ready:
        name = ready.pop()
        yield name
        for head in reversed(after[name]):
            waiting[head] -= 1
            if not waiting[head]:
                ready.append(head)


def _sources(tails: Sequence[str], gap: int, room: int) -> Iterator[Piece]:
    if tails:
        yield Piece(" " * gap)
        yield Piece(f"  ← {_enumerated(tails, room - 4)}", FAINT)


def _enumerated(names: Sequence[str], room: int) -> str:
    """Name as many as fit, and say how many don't.

    >>> _enumerated(["charge", "reserve", "pack"], 20)
    'charge and 2 more'
    """
    for shown in range(len(names), 0, -1):
        rest = f" and {len(names) - shown} more" if shown < len(names) else ""
        text = ", ".join(names[:shown]) + rest
        if columns(text) <= room:
            return text
    return names[0] if len(names) == 1 else f"{len(names)} others"
