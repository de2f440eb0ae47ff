"""A picture of a graph: shapes, the arrows between them, the frames around them.

It knows neither workflows nor any output format: whoever draws one says what the shapes mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from cloaca.drawing.arrows import Arrow, in_order

__all__ = ["Frame", "Picture", "Shape"]


@dataclass(frozen=True, slots=True)
class Shape:
    """One box of a picture.

    Attributes:
        name: unique in the picture; arrows, frames and states refer to it.
        label: the text shown, usually the name.
        detail: a second, smaller line such as ``OrderRef -> Order``, or nothing.
        kind: ``task``, ``wait``, ``sleep``, ``each``, ``branch``, ``subflow`` or ``sealed``; any other is drawn as a
            task.
        note: a short annotation such as ``when is_large`` or ``on all_done``, or nothing.
    """

    name: str
    label: str
    detail: str = ""
    kind: str = "task"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """A labelled group of shapes, such as the tasks under one ``when``.

    Attributes:
        label: the text shown at the frame.
        members: the names of the shapes inside.
    """

    label: str
    members: frozenset[str]


@dataclass(frozen=True, slots=True)
class Picture:
    """A directed acyclic graph to be drawn; equal pictures are drawn alike, byte by byte.

    Attributes:
        title: what the picture shows.
        shapes: the boxes, in any order.
        arrows: pairs of names, from and to.
        frames: groups of shapes; they may nest.
        labels: what stands at an arrow, such as ``yes`` and ``no`` behind a branch.
        dashed: arrows that are no order between tasks, such as the one to a handler.
        backward: arrows to what may go back on their tails, such as the one to a compensation. They are dashed, and
            point from head to tail.
        states: the status of a shape by its name. Names that are not in the picture and words that are no
            status are passed over: a run may know more than its picture.

    Raises:
        ValueError: two shapes share a name, an arrow or a frame names an unknown shape, or the arrows run in a
            circle. The message says which.

    >>> Picture("orders", (Shape("fetch", "fetch"),), frozenset({("fetch", "ship")}))
    Traceback (most recent call last):
    ...
    ValueError: the arrow 'fetch' -> 'ship' names an unknown shape: 'ship'
    """

    title: str
    shapes: tuple[Shape, ...]
    arrows: frozenset[Arrow]
    frames: tuple[Frame, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict, hash=False)
    labels: Mapping[Arrow, str] = field(default_factory=dict, hash=False)
    dashed: frozenset[Arrow] = frozenset()
    backward: frozenset[Arrow] = frozenset()

    def __post_init__(self) -> None:
        counts = Counter(shape.name for shape in self.shapes)
        for name, count in sorted(counts.items()):
            if count > 1:
                raise ValueError(f"{count} shapes share the name {name!r}")
        for tail, head in sorted(self.arrows):
            for name in (tail, head):
                if name not in counts:
                    raise ValueError(f"the arrow {tail!r} -> {head!r} names an unknown shape: {name!r}")
        for frame in self.frames:
            for name in sorted(frame.members - counts.keys()):
                raise ValueError(f"the frame {frame.label!r} names an unknown shape: {name!r}")
        in_order(counts, self.arrows)

    def sorted_shapes(self) -> list[Shape]:
        """List the shapes in topological order, ties by name.

        >>> picture = Picture("p", (Shape("b", "b"), Shape("a", "a")), frozenset())
        >>> [shape.name for shape in picture.sorted_shapes()]
        ['a', 'b']
        """
        shapes = {shape.name: shape for shape in self.shapes}
        return [shapes[name] for name in in_order(shapes, self.arrows)]
