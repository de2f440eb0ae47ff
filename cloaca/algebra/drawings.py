"""How graphs draw themselves: from a structure to a picture, and from a picture to Mermaid, DOT, SVG and text.

It knows names, order and conditions; how a picture is laid out is ``cloaca.drawing``'s business.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from cloaca.algebra.guards import Arm, Guard

if TYPE_CHECKING:
    from cloaca.algebra.graphs import Node
    from cloaca.algebra.structures import Structure
    from cloaca.drawing import Frame, Picture, Shape

# ``cloaca.drawing`` is imported where something is drawn: most programs draw nothing, and it is a sixth of the import.


class Drawable:
    """Whatever has a picture can be drawn in each format. ``states`` maps node names to task statuses."""

    @abstractmethod
    def picture(self, states: Mapping[str, str] | None = None) -> Picture:
        """Return the picture to draw."""

    def to_mermaid(self, states: Mapping[str, str] | None = None) -> str:
        """Return a Mermaid flowchart."""
        from cloaca.drawing import to_mermaid  # noqa: PLC0415

        return to_mermaid(self.picture(states))

    def to_dot(self, states: Mapping[str, str] | None = None) -> str:
        """Return a Graphviz digraph."""
        from cloaca.drawing import to_dot  # noqa: PLC0415

        return to_dot(self.picture(states))

    def to_svg(self, states: Mapping[str, str] | None = None) -> str:
        """Return an SVG image as text; no external program takes part."""
        from cloaca.drawing import to_svg  # noqa: PLC0415

        return to_svg(self.picture(states))

    def to_text(self, states: Mapping[str, str] | None = None, *, width: int = 80, color: bool = False) -> str:
        """Return lines for a terminal, none wider than ``width`` columns."""
        from cloaca.drawing import to_text  # noqa: PLC0415

        return to_text(self.picture(states), width=width, color=color)

    def _repr_svg_(self) -> str:
        return self.to_svg()


def picture_of(
    title: str,
    structure: Structure[Node[Any, Any, Any]],
    states: Mapping[str, str] | None = None,
    callbacks: Iterable[tuple[tuple[str, ...], Node[Any, Any, Any]]] = (),
) -> Picture:
    """Return the picture of a structure: a shape for each node, a frame for each condition over several nodes.

    A compensation is a shape, from which an arrow points back to its task; each of ``callbacks`` is one with the names
    of its arguments as a note.
    """
    from cloaca.drawing import Picture, Shape  # noqa: PLC0415

    drawn = _Drawn(states or {})
    drawn.add(structure, "")
    drawn.shapes += [
        Shape(task.name, task.name, task.detail, "callback", ", ".join(names)) for names, task in callbacks
    ]
    drawn.undo()
    return Picture(
        title=title,
        shapes=tuple(drawn.shapes),
        arrows=frozenset(drawn.arrows),
        frames=tuple(sorted(drawn.frames, key=lambda frame: (-len(frame.members), frame.label, sorted(frame.members)))),
        states=drawn.states,
        labels=drawn.labels,
        dashed=frozenset(drawn.dashed),
        backward=frozenset(drawn.backward),
    )


class _Drawn:
    """Shapes, arrows and frames of a structure; a node that shows what is inside it is a frame around that."""

    def __init__(self, states: Mapping[str, str]) -> None:
        self.states = dict(states)
        self.shapes: list[Shape] = []
        self.arrows: set[tuple[str, str]] = set()
        self.frames: list[Frame] = []
        self.labels: dict[tuple[str, str], str] = {}
        self.dashed: set[tuple[str, str]] = set()
        self.backward: set[tuple[str, str]] = set()
        self.undoing: list[tuple[str, str, Node[Any, Any, Any]]] = []

    def add(self, structure: Structure[Node[Any, Any, Any]], prefix: str) -> dict[str, _Place]:
        """Draw a structure; return where each of its nodes is."""
        from cloaca.drawing import Frame  # noqa: PLC0415

        places = {name: self.place(node, prefix) for name, node in sorted(structure.nodes.items())}
        for tail, head in structure.edges:
            self.arrows |= {(last, first) for last in places[tail].last for first in places[head].first}
        for name, node in structure.nodes.items():
            self.rescue(node, prefix, structure)
            for decision, word in _arms(node):
                first = places[name].first if (decision, name) in structure.edges else set()
                self.labels |= {(prefix + decision, each): word for each in first}
        for guard in {guard for node in structure.nodes.values() for guard in node.guards}:
            if len(guard.members) > 1 and not isinstance(guard.predicate, Arm):
                members = (places[name].members for name in guard.members if name in places)
                self.frames.append(Frame(f"when {guard.predicate.name}", frozenset().union(*members)))
        return places

    def rescue(self, node: Node[Any, Any, Any], prefix: str, structure: Structure[Node[Any, Any, Any]]) -> None:
        """Draw the handler of a task beside it."""
        from cloaca.drawing import Shape  # noqa: PLC0415

        handler = node.stand_in
        if handler is None:
            return
        name, arrow = prefix + handler.name, (prefix + node.name, prefix + handler.name)
        if handler.name not in structure.nodes:
            self.shapes.append(Shape(name, name, handler.detail, note=_note(handler.rule, handler.guards)))
            self.remember_undo(handler, prefix)
        self.arrows.add(arrow)
        self.dashed.add(arrow)
        self.labels[arrow] = "rescue"

    def remember_undo(self, node: Node[Any, Any, Any], prefix: str) -> None:
        """Keep what undoes a node for when all else is drawn."""
        undo = getattr(node, "undo", None)
        if undo is not None:
            self.undoing.append((prefix + node.name, prefix + undo.name, undo))

    def undo(self) -> None:
        """Draw the compensations. One whose name something else has, which no workflow may have, is a note."""
        from cloaca.drawing import Shape  # noqa: PLC0415

        taken = {shape.name for shape in self.shapes}
        made: set[str] = set()
        for done, name, undo in self.undoing:
            if name in taken:
                self.note(done, f"undone by {name}")
                continue
            if name not in made:
                self.shapes.append(Shape(name, name, undo.detail, "undo"))
                made.add(name)
            self.arrows.add((done, name))
            self.backward.add((done, name))
            self.labels[done, name] = "undoes"

    def note(self, name: str, text: str) -> None:
        """Add to the note of a shape."""
        self.shapes = [
            replace(shape, note=", ".join(filter(None, (shape.note, text)))) if shape.name == name else shape
            for shape in self.shapes
        ]

    def place(self, node: Node[Any, Any, Any], prefix: str) -> _Place:
        """Draw a node."""
        from cloaca.drawing import Frame, Shape  # noqa: PLC0415

        name = prefix + node.name
        note = _note(node.rule, node.guards)
        self.remember_undo(node, prefix)
        inside = node.shown_inside
        if inside is None:
            self.shapes.append(Shape(name, name, node.detail, node.kind, note))
            return _Place({name}, {name}, {name})
        places = self.add(inside, f"{name}/")
        members = set().union(*(place.members for place in places.values()))
        label = f"{name}: {node.detail}" + (f", {note}" if note else "")
        self.frames.append(Frame(label, frozenset(members)))
        if name in self.states:
            self.states |= {member: self.states[name] for member in members if member not in self.states}
        firsts = [places[head].first for head in inside.heads]
        lasts = [places[tail].last for tail in inside.tails]
        return _Place(members, set().union(*firsts), set().union(*lasts))


class _Place(NamedTuple):
    """Where a node is in a picture: its shapes, those to which arrows lead, and those from which they come."""

    members: set[str]
    first: set[str]
    last: set[str]


def _arms(node: Node[Any, Any, Any]) -> list[tuple[str, str]]:
    """The decisions in whose arms a node is, and what they say then."""
    arms = (guard.predicate for guard in node.guards)
    return [(arm.decision, "yes" if arm.taken else "no") for arm in arms if isinstance(arm, Arm)]


def _asked(guard: Guard) -> str | None:
    """Return the name of the condition, None for an arm of a branch."""
    return None if isinstance(guard.predicate, Arm) else guard.predicate.name


def _alone(guard: Guard) -> bool:
    """Return whether a condition is about one node."""
    return len(guard.members) == 1


def _note(rule: str, guards: tuple[Guard, ...]) -> str:
    own = [f"when {name}" for guard in guards if (name := _asked(guard)) and _alone(guard)]
    ruled = [f"on {rule}"] if rule != "none_failed" else []
    return ", ".join([*own, *ruled])
