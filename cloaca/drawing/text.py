"""A picture as lines of text, for a terminal.

It does not know how lines are drawn or lists are laid out; it chooses between the two.
"""

from __future__ import annotations

from cloaca.drawing.captions import captioned, joined
from cloaca.drawing.drafts import drafted
from cloaca.drawing.drawings import drawn
from cloaca.drawing.listing import listed
from cloaca.drawing.pictures import Picture

__all__ = ["to_text"]


def to_text(picture: Picture, *, width: int = 80, color: bool = False) -> str:
    """Draw the picture in lines of text, read from left to right.

    If it is too wide, or some lines would have to cross, it is listed instead: one line for each shape, with what comes
    directly before it. Either way arrows that follow from others are left out and wide fans are folded, see
    :mod:`cloaca.drawing.drafts` and :mod:`cloaca.drawing.stacks`; the title and the details are not shown.

    Args:
        picture: what to draw. With states, a sign before each name tells its status.
        width: how many columns there are, at least 1. No line is wider; names are cut to fit.
        color: whether to write colours, as ANSI escape sequences.

    Raises:
        ValueError: the width is less than 1.

    >>> from cloaca.drawing.pictures import Shape
    >>> names = "fetch", "charge", "reserve", "ship"
    >>> arrows = {("fetch", "charge"), ("fetch", "reserve"), ("charge", "ship"), ("reserve", "ship")}
    >>> print(to_text(Picture("orders", tuple(Shape(name, name) for name in names), frozenset(arrows))))
    fetch ─┬─ charge ──┬─ ship
           └─ reserve ─┘
    """
    if width < 1:
        raise ValueError(f"a text can't be {width} columns wide")
    draft = drafted(picture, boxed=False)
    captions = {shape.name: captioned(shape, draft) for shape in draft.shapes}
    lines = drawn(list(captions), draft.arrows, captions, width)
    if lines is None:
        lines = listed(draft, captions, width)
    return "\n".join(joined(line, width, color=color) for line in lines)
