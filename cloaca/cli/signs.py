"""How a status looks in a terminal: a sign and a colour.

It knows the words of statuses. A terminal that can't show the signs gets letters.
"""

from __future__ import annotations

from typing import NamedTuple


class Sign(NamedTuple):
    """A status in one column: a sign, the same in ASCII, and a style of rich's."""

    sign: str
    letter: str
    style: str


SIGNS = {
    "pending": Sign("·", ".", "dim"),
    "ready": Sign("·", ".", "cyan"),
    "running": Sign("▶", ">", "blue"),
    "waiting": Sign("↻", "~", "yellow"),
    "paused": Sign("‖", "=", "yellow"),
    "blocked": Sign("■", "#", "magenta"),
    "succeeded": Sign("✓", "+", "green"),
    "failed": Sign("✗", "x", "bold red"),
    "skipped": Sign("-", "-", "dim"),
    "cancelled": Sign("⊘", "0", "magenta"),
}
_FRAMES, _LETTERS = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"
FRAME_S = 0.1


def sign_of(status: str, *, ascii_only: bool = False) -> str:
    """Return the sign of a status.

    >>> sign_of("succeeded"), sign_of("succeeded", ascii_only=True)
    ('✓', '+')
    """
    sign = SIGNS.get(status, SIGNS["pending"])
    return sign.letter if ascii_only else sign.sign


def style_of(status: str) -> str:
    """Return the style of a status."""
    return SIGNS.get(status, SIGNS["pending"]).style


def spinner_at(seconds: float, *, ascii_only: bool = False) -> str:
    """Return the sign of something that goes on, at a time."""
    frames = _LETTERS if ascii_only else _FRAMES
    return frames[int(seconds / FRAME_S) % len(frames)]
