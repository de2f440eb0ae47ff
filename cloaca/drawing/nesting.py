"""Which frames of a picture can be drawn around their shapes, and which shape is in which of them.

It does not know where anything stands: it only looks at who is a member of what.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cloaca.drawing.arrows import natural
from cloaca.drawing.pictures import Frame, Shape

__all__ = ["Level", "annotation", "frame_paths", "nested", "outlined", "widest_first"]


def nested(frames: Iterable[Frame]) -> tuple[list[Frame], list[Frame]]:
    """Choose frames that nest, so that no two of them overlap in part; give them and the others, the widest first.

    Boxes that overlap in part can't be told apart, so of such a pair the smaller one is not drawn; its members say its
    label themselves (see ``annotation``). Costs O(f**2) set comparisons.

    >>> frames = [Frame("inner", frozenset("b")), Frame("outer", frozenset("ab")), Frame("askew", frozenset("bc"))]
    >>> [[frame.label for frame in part] for part in nested(frames)]
    [['askew', 'inner'], ['outer']]
    """
    chosen: list[Frame] = []
    others: list[Frame] = []
    for frame in widest_first(frames):
        fits = frame.members and all(_fits(frame.members, other.members) for other in chosen)
        (chosen if fits else others).append(frame)
    return chosen, others


def widest_first(frames: Iterable[Frame]) -> list[Frame]:
    """Sort frames by size, equal ones once, so that the order they are given in does not matter."""
    return sorted(set(frames), key=lambda frame: (-len(frame.members), natural(frame.label), sorted(frame.members)))


def _fits(inner: frozenset[str], outer: frozenset[str]) -> bool:
    return inner <= outer or inner.isdisjoint(outer)


def frame_paths(names: Iterable[str], frames: Sequence[Frame]) -> dict[str, tuple[int, ...]]:
    """Give for each name the indices of the frames around it, outermost first.

    >>> frame_paths("abc", [Frame("outer", frozenset("ab")), Frame("inner", frozenset("b"))])
    {'a': (0,), 'b': (0, 1), 'c': ()}
    """
    paths: dict[str, tuple[int, ...]] = dict.fromkeys(names, ())
    for index, frame in enumerate(frames):
        for name in frame.members:
            paths[name] += (index,)
    return paths


@dataclass(slots=True)
class Level:
    """What stands directly inside of a frame, or of the picture: names, and further frames."""

    names: list[str] = field(default_factory=list)
    frames: list[tuple[int, Level]] = field(default_factory=list)


def outlined(names: Iterable[str], frames: Sequence[Frame]) -> Level:
    """Arrange names and frames that nest into the tree that they are.

    >>> outlined("ab", [Frame("f", frozenset("b"))])
    Level(names=['a'], frames=[(0, Level(names=['b'], frames=[]))])
    """
    levels: dict[tuple[int, ...], Level] = {(): Level()}
    for name, path in frame_paths(names, frames).items():
        for depth in range(1, len(path) + 1):
            if path[:depth] not in levels:
                levels[path[:depth]] = Level()
                levels[path[: depth - 1]].frames.append((path[depth - 1], levels[path[:depth]]))
        levels[path].names.append(name)
    return levels[()]


def annotation(shape: Shape, unframed: Iterable[Frame]) -> str:
    """Give the note of the shape together with the labels of those of its frames that are not drawn.

    >>> annotation(Shape("b", "b", note="on all_done"), [Frame("when is_large", frozenset("bc"))])
    'on all_done, when is_large'
    """
    notes = [shape.note, *(frame.label for frame in unframed if shape.name in frame.members)]
    return ", ".join(dict.fromkeys(filter(None, notes)))
