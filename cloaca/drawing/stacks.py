"""Wide fans folded into one box: ``fetch_1 … and 199 more`` instead of two hundred boxes that say the same.

It makes a smaller picture out of a picture, and does not know how either is drawn.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cloaca.drawing.arrows import natural, neighbours
from cloaca.drawing.pictures import Frame, Picture, Shape

__all__ = ["FOLD_ABOVE", "STACK", "Folded", "folded"]

FOLD_ABOVE = 40
STACK = "stack"

# A stack shows the most urgent of the statuses in it: what failed must not hide behind what succeeded.
_URGENCY = ("failed", "running", "waiting", "ready", "pending", "cancelled", "skipped", "succeeded")


@dataclass(frozen=True, slots=True)
class Folded:
    """A picture in which wide fans are stacks, and the names of the shapes inside each stack."""

    picture: Picture
    stacks: dict[str, tuple[str, ...]]


def folded(picture: Picture, above: int = FOLD_ABOVE) -> Folded:
    """Fold shapes into a stack if there are more than ``above`` of them that only differ in their labels.

    They have the same predecessors, the same successors, the same kind, note, frames and labels at their arrows. The
    stack has the name of the first, the kind ``stack``, and the most urgent of the statuses inside.

    >>> fan = tuple(Shape(f"f_{i}", f"f_{i}") for i in range(1, 51))
    >>> folded(Picture("p", fan, frozenset())).picture.shapes
    (Shape(name='f_1', label='f_1 … and 49 more', detail='', kind='stack', note=''),)
    """
    groups = [group for group in _alike(picture) if len(group) > above]
    if not groups:
        return Folded(picture, {})
    first = {shape.name: group[0].name for group in groups for shape in group}
    gone = {name for name, kept in first.items() if name != kept}
    tops = {group[0].name: _stack(group, picture) for group in groups}
    states = {name: state for name, state in picture.states.items() if name not in first}
    smaller = Picture(
        title=picture.title,
        shapes=tuple(tops.get(shape.name, shape) for shape in picture.shapes if shape.name not in gone),
        arrows=frozenset((first.get(tail, tail), first.get(head, head)) for tail, head in picture.arrows),
        frames=tuple(Frame(frame.label, frame.members - gone) for frame in picture.frames),
        labels={(first.get(tail, tail), first.get(head, head)): text for (tail, head), text in picture.labels.items()},
        dashed=frozenset((first.get(tail, tail), first.get(head, head)) for tail, head in picture.dashed),
        backward=frozenset((first.get(tail, tail), first.get(head, head)) for tail, head in picture.backward),
        states=states | {group[0].name: state for group in groups if (state := _most_urgent(group, picture))},
    )
    return Folded(smaller, {group[0].name: tuple(shape.name for shape in group) for group in groups})


def _alike(picture: Picture) -> Iterable[Sequence[Shape]]:
    before, after = neighbours((shape.name for shape in picture.shapes), picture.arrows)
    around: dict[str, list[int]] = defaultdict(list)
    for index, frame in enumerate(picture.frames):
        for name in frame.members:
            around[name].append(index)
    said: dict[str, list[str]] = defaultdict(list)
    for arrow, label in sorted(picture.labels.items()):
        said[arrow[1]].append(label)
    groups: dict[tuple[object, ...], list[Shape]] = defaultdict(list)
    for shape in sorted(picture.shapes, key=lambda shape: natural(shape.name)):
        where = (tuple(before[shape.name]), tuple(after[shape.name]), tuple(around[shape.name]))
        groups[(where, shape.kind, shape.note, tuple(said[shape.name]))].append(shape)
    return groups.values()


def _stack(group: Sequence[Shape], picture: Picture) -> Shape:
    details = {shape.detail for shape in group}
    counts = Counter(picture.states.get(shape.name, "") for shape in group)
    tally = ", ".join(f"{counts[state]} {state}" for state in _URGENCY if counts[state])
    return replace(
        group[0],
        label=f"{group[0].label} … and {len(group) - 1:,} more",
        detail=tally or (group[0].detail if len(details) == 1 else ""),
        kind=STACK,
    )


def _most_urgent(group: Sequence[Shape], picture: Picture) -> str:
    present = {picture.states.get(shape.name, "") for shape in group}
    return next((state for state in _URGENCY if state in present), "")
