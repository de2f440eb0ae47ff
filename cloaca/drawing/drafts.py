"""What of a picture is drawn where room is scarce, as in an image or a terminal: each thing once.

It decides what is shown, not where or how. Mermaid and DOT show the exact structure instead, and have no use for this.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloaca.drawing.arrows import Arrow, needed
from cloaca.drawing.nesting import annotation, nested, widest_first
from cloaca.drawing.pictures import Frame, Picture, Shape
from cloaca.drawing.stacks import folded

__all__ = ["Draft", "drafted"]


@dataclass(frozen=True, slots=True)
class Draft:
    """The parts of a picture that are drawn.

    Attributes:
        title: of the picture.
        shapes: in topological order, wide fans folded.
        arrows: those that say something the others don't.
        frames: those that can be boxes, the outer before the inner.
        notes: the annotation of each shape: its own note, and the frames around it that are not boxes.
        states: by the name of the shape.
        stacks: the names folded into a shape.
        labels: what stands at arrows; in a terminal, where nothing can, the shape at their head says it.
        dashed: the arrows that are dashed and point ahead.
        backward: the arrows that are dashed and point from head to tail.
    """

    title: str
    shapes: Sequence[Shape]
    arrows: frozenset[Arrow]
    frames: Sequence[Frame]
    notes: Mapping[str, str]
    states: Mapping[str, str]
    stacks: Mapping[str, tuple[str, ...]]
    labels: Mapping[Arrow, str]
    dashed: frozenset[Arrow]
    backward: frozenset[Arrow]


def drafted(picture: Picture, *, boxed: bool) -> Draft:
    """Choose what to draw of the picture.

    An arrow that follows from others says nothing new: in ``a -> b -> c``, ``a -> c`` is left out. It does say
    something where direct neighbours matter, so an arrow that ends at or leads past a shape with a note (``on
    any_failed``) or a branch stays, and so does one that points backward.

    Args:
        boxed: whether frames are drawn as boxes; otherwise their members say their labels.

    >>> picture = Picture("p", tuple(Shape(n, n) for n in "abc"), frozenset({("a", "b"), ("b", "c"), ("a", "c")}))
    >>> sorted(drafted(picture, boxed=True).arrows)
    [('a', 'b'), ('b', 'c')]
    """
    small = folded(picture)
    shapes = small.picture.sorted_shapes()
    frames, loose = nested(small.picture.frames) if boxed else ([], widest_first(small.picture.frames))
    said: dict[str, list[str]] = defaultdict(list)
    label_of = {shape.name: shape.label for shape in shapes}
    for (tail, head), label in sorted(small.picture.labels.items()):
        said[head].append(f"{label} {label_of[tail]}" if (tail, head) in small.picture.backward else label)
    telling = {shape.name for shape in shapes if shape.note or shape.kind == "branch"}
    telling |= {head for _, head in small.picture.backward}
    return Draft(
        title=picture.title,
        shapes=shapes,
        arrows=needed([shape.name for shape in shapes], small.picture.arrows, telling),
        frames=frames,
        notes={
            shape.name: ", ".join(filter(None, (*([] if boxed else said[shape.name]), annotation(shape, loose))))
            for shape in shapes
        },
        states=small.picture.states,
        stacks=small.stacks,
        labels=small.picture.labels,
        dashed=small.picture.dashed,
        backward=small.picture.backward,
    )
