"""How graphs draw themselves: from a structure to a picture, and from a picture to Mermaid, DOT, SVG and text.

It knows names, order and conditions; how a picture is laid out is ``cloaca.drawing``'s business.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cloaca.algebra.guards import Arm, Guard

if TYPE_CHECKING:
    from cloaca.algebra.graphs import Node
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
    title: str, structure: Structure[Node[Any, Any, Any]], states: Mapping[str, str] | None = None
) -> Picture:
    """Return the picture of a structure: a shape for each node, a frame for each condition over several nodes."""
    from cloaca.drawing import Frame, Picture, Shape  # noqa: PLC0415

    guards = {guard for node in structure.nodes.values() for guard in node.guards}
    frames = [Frame(f"when {name}", guard.members) for guard in guards if (name := _asked(guard)) and not _alone(guard)]
    shapes = [
        Shape(name, name, node.detail, node.kind, _note(node.rule, node.guards))
        for name, node in sorted(structure.nodes.items())
    ]
    handlers = {(name, h.name): h for name, node in structure.nodes.items() if (h := node.stand_in) is not None}
    drawn = {handler.name: Shape(handler.name, handler.name, handler.detail) for handler in handlers.values()}
    more = [shape for name, shape in sorted(drawn.items()) if name not in structure.nodes]
    return Picture(
        title=title,
        shapes=(*shapes, *more),
        arrows=structure.edges | handlers.keys(),
        frames=tuple(sorted(frames, key=lambda frame: (-len(frame.members), frame.label, sorted(frame.members)))),
        states=states or {},
        labels={**_arms(structure), **dict.fromkeys(handlers, "rescue")},
        dashed=frozenset(handlers),
    )


def _arms(structure: Structure[Node[Any, Any, Any]]) -> dict[tuple[str, str], str]:
    """What stands at the arrows from decisions to the first nodes of their arms."""
    labels = {}
    for name, node in structure.nodes.items():
        for guard in node.guards:
            arm = guard.predicate
            if isinstance(arm, Arm) and (arm.decision, name) in structure.edges:
                labels[arm.decision, name] = "yes" if arm.taken else "no"
    return labels


def _asked(guard: Guard) -> str | None:
    """Return the name of the condition, None for an arm of a branch."""
    return None if isinstance(guard.predicate, Arm) else guard.predicate.name


def _alone(guard: Guard) -> bool:
    """Return whether a condition is about one node."""
    return len(guard.members) == 1


def _note(rule: str, guards: tuple[Guard, ...]) -> str:
    own = [f"when {name}" for guard in guards if (name := _asked(guard)) and _alone(guard)]
    return ", ".join([*own, *([f"on {rule}"] if rule != "none_failed" else [])])
