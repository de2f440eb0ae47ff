"""How graphs draw themselves: from a structure to a picture, and from a picture to Mermaid, DOT, SVG and text.

It knows names, order and conditions; how a picture is laid out is ``cloaca.drawing``'s business.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloaca.algebra.graphs import Node
    from cloaca.algebra.guards import Guard
    from cloaca.algebra.structures import Structure
    from cloaca.drawing import Picture

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

    A compensation is a note at its task, each of ``callbacks`` a shape of its own, with its arguments' names as a note.
    """
    from cloaca.drawing import Frame, Picture, Shape  # noqa: PLC0415

    guards = {guard for node in structure.nodes.values() for guard in node.guards}
    frames = [Frame(f"when {guard.predicate.name}", guard.members) for guard in guards if len(guard.members) > 1]
    return Picture(
        title=title,
        shapes=tuple(
            Shape(name, name, node.detail, node.kind, _note(node.rule, node.guards, getattr(node, "undo", None)))
            for name, node in sorted(structure.nodes.items())
        )
        + tuple(Shape(task.name, task.name, task.detail, "callback", ", ".join(names)) for names, task in callbacks),
        arrows=structure.edges,
        frames=tuple(sorted(frames, key=lambda frame: (-len(frame.members), frame.label, sorted(frame.members)))),
        states=states or {},
    )


def _note(rule: str, guards: tuple[Guard, ...], undo: Node[Any, Any, Any] | None) -> str:
    own = [f"when {guard.predicate.name}" for guard in guards if len(guard.members) == 1]
    ruled = [f"on {rule}"] if rule != "none_failed" else []
    return ", ".join([*own, *ruled, *([f"undone by {undo.name}"] if undo is not None else [])])
