"""What a terminal shows for a shape: a sign for its status, its label, its annotation, and in which colour.

It does not know where in the text that goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cloaca.drawing.drafts import Draft
from cloaca.drawing.lettering import columns, legible, shortened
from cloaca.drawing.pictures import Shape
from cloaca.drawing.stacks import STACK

__all__ = ["FAINT", "Caption", "Piece", "captioned", "joined"]

FAINT = "90"
NAMELESS = "?"  # for a label of blanks

# Signs that are one column wide in every terminal: ⏭ and its like are two in some, one in others.
_SIGNS = {
    "pending": ("○", ""),
    "ready": ("◎", "36"),
    "running": ("●", "34"),
    "waiting": ("◔", "33"),
    "succeeded": ("✔", "32"),
    "failed": ("✖", "31"),
    "skipped": ("↷", FAINT),
    "cancelled": ("⊘", "35"),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a line and its colour, an SGR parameter or nothing."""

    text: str
    color: str = ""

    @property
    def width(self) -> int:
        """The columns it takes."""
        return columns(self.text)

    def within(self, room: int) -> Piece:
        """Shorten it to the room there is."""
        return replace(self, text=shortened(self.text, room))

    def painted(self, *, color: bool) -> str:
        """Write it, in its colour if that is wanted."""
        return f"\x1b[{self.color}m{self.text}\x1b[0m" if color and self.color and self.text.strip() else self.text


@dataclass(frozen=True, slots=True)
class Caption:
    """What stands for a shape: the sign of its status, its label, what is to be noted about it, and a colour.

    Sign, note and colour may be empty.
    """

    sign: str
    label: str
    note: str
    color: str = ""

    @property
    def bare(self) -> Piece:
        """The caption without the note."""
        return Piece(f"{self.sign} {self.label}" if self.sign else self.label, self.color)

    @property
    def noted(self) -> Piece:
        """The caption with the note."""
        return Piece(f"{self.bare.text} ({self.note})", self.color) if self.note else self.bare


def captioned(shape: Shape, draft: Draft) -> Caption:
    """Compose the caption of a shape; in a picture with states, a shape without one is pending.

    >>> from cloaca.drawing.drafts import drafted
    >>> from cloaca.drawing.pictures import Picture
    >>> shape = Shape("pack", "pack", note="when is_large")
    >>> caption = captioned(shape, drafted(Picture("p", (shape,), frozenset(), states={"pack": "failed"}), boxed=False))
    >>> caption.noted.text
    '✖ pack (when is_large)'
    """
    sign, color = _SIGNS.get(draft.states.get(shape.name, ""), _SIGNS["pending"]) if draft.states else ("", "")
    tally = shape.detail if shape.kind == STACK and draft.states else ""
    note = legible(", ".join(filter(None, (draft.notes[shape.name], tally))))
    return Caption(sign, legible(shape.label).strip() or NAMELESS, note, color)


def joined(pieces: Sequence[Piece], width: int, *, color: bool) -> str:
    """Write the pieces as one line that is no wider than allowed.

    >>> joined([Piece("ship"), Piece("  "), Piece("← charge", FAINT)], 9, color=False)
    'ship  ←…'
    """
    shown: list[str] = []
    room = width
    for piece in pieces:
        fitting = piece.within(room)
        shown.append(fitting.painted(color=color))
        if fitting != piece:
            break
        room -= piece.width
    return "".join(shown).rstrip()
