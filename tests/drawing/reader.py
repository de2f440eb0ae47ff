"""Reads a drawing in text as a person does: along the lines, never back to the left, and so finds the arrows.

It knows box-drawing characters and nothing of how they came to be where they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Arrow = tuple[str, str]
Place = tuple[int, int]

LEFT, RIGHT, UP, DOWN = (0, -1), (0, 1), (-1, 0), (1, 0)
WAYS = {
    "─": (LEFT, RIGHT), "│": (UP, DOWN), "┐": (LEFT, DOWN), "┘": (LEFT, UP), "┌": (RIGHT, DOWN), "└": (RIGHT, UP),
    "┬": (LEFT, RIGHT, DOWN), "┴": (LEFT, RIGHT, UP), "┤": (LEFT, UP, DOWN), "├": (RIGHT, UP, DOWN),
    "┼": (LEFT, RIGHT, UP, DOWN),
}  # fmt: skip


def arrows_in(drawing: str) -> set[Arrow]:
    """Find the arrows of a drawing whose names are words."""
    lines = drawing.splitlines()
    names = {(row, found.start()): found[0] for row, line in enumerate(lines) for found in re.finditer(r"\w+", line)}
    arrows: set[Arrow] = set()
    for (row, column), name in names.items():
        arrows.update(
            (name, names[place]) for place in _reached(lines, (row, column + len(name) + 1)) if place in names
        )
    return arrows


def _reached(lines: list[str], start: Place) -> Iterator[Place]:
    """Follow the line that begins at the place, to wherever it leads: a place one blank after its end."""
    ahead = [(start, RIGHT)]
    seen = set()
    while ahead:
        place, way = ahead.pop()
        if (place, way) in seen:
            continue
        seen.add((place, way))
        row, column = place
        sign = lines[row][column : column + 1]
        if sign == " " and way == RIGHT:
            yield row, column + 1
        for onward in WAYS.get(sign, ()):
            if onward not in (LEFT, (-way[0], -way[1])):
                ahead.append(((row + onward[0], column + onward[1]), onward))
