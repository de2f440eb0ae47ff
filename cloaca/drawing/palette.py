"""The colours of a picture: for each status and each kind a fill, a line and a text that can be read on the fill.

It does not know formats or geometry. A text has a contrast of at least 7:1 to its fill (WCAG AAA), a line or a mark of
at least 3:1 to the fill and to white, and what stands on the page itself one of 4:1 to white and to dark themes.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KINDS", "PAGE", "STATES", "TAG", "Ink", "ink_of"]


@dataclass(frozen=True, slots=True)
class Ink:
    """The colours of one box: its inside, its outline and marks, its text, the smaller text."""

    fill: str
    line: str
    text: str
    small: str


PAGE = "#75808f"  # arrows and whatever else stands on the page, light or dark

TAG = Ink("#fef3c7", "#c56a05", "#78350f", "#78350f")

KINDS = {
    "task": Ink("#f5f7ff", "#6478d3", "#1e2a5a", "#454f72"),
    "wait": Ink("#fff7e6", "#c97c12", "#5f370e", "#6b4a1f"),
    "sleep": Ink("#f1f5f9", "#64748b", "#1e293b", "#435067"),
    "each": Ink("#ecfbf7", "#1c9280", "#0d4a42", "#285a53"),
    "branch": Ink("#fdf2fa", "#c0508f", "#6b1a4a", "#7a3a5f"),
    "subflow": Ink("#f5f0ff", "#8257d6", "#3f1d85", "#5a4288"),
    "sealed": Ink("#f1f5f9", "#475569", "#1e293b", "#435067"),
}
STATES = {
    "pending": Ink("#f8fafc", "#7f8ea5", "#334155", "#475569"),
    "ready": Ink("#eff8ff", "#3388c4", "#12486e", "#265474"),
    "running": Ink("#dbeafe", "#2563eb", "#1a3277", "#27417f"),
    "waiting": Ink("#fef6dc", "#b97a08", "#5c3a06", "#6a4a16"),
    "succeeded": Ink("#e6f8ec", "#22924e", "#0f4526", "#285a3b"),
    "failed": Ink("#fdeaea", "#d33131", "#7a1515", "#7f2a2a"),
    "skipped": Ink("#f6f7f9", "#848f9f", "#475059", "#4b5563"),
    "cancelled": Ink("#f3eef3", "#8d7590", "#4b3a4e", "#54435a"),
}


def ink_of(kind: str, state: str, *, stateful: bool) -> Ink:
    """Choose the ink of a shape; in a picture with states, a shape that has none is pending.

    >>> ink_of("task", "failed", stateful=True) is STATES["failed"]
    True
    """
    if stateful:
        return STATES.get(state, STATES["pending"])
    return KINDS.get(kind, KINDS["each" if kind == "stack" else "task"])
