"""The small signs in a picture: one for each kind of shape but the plain task, one for each status.

They are outlines in a square of a few pixels; where they go and what they mean is decided elsewhere.
"""

from __future__ import annotations

__all__ = ["badge", "emblem"]

BADGE_RADIUS = 8

# Strokes in a square of 14 by 14.
_EMBLEMS = {
    "wait": "M2.8 3H11.2A1.3 1.3 0 0 1 12.5 4.3V9.7A1.3 1.3 0 0 1 11.2 11H2.8A1.3 1.3 0 0 1 1.5 9.7V4.3"
    "A1.3 1.3 0 0 1 2.8 3ZM2 4L7 7.8L12 4",
    "sleep": "M12.5 7A5.5 5.5 0 1 1 1.5 7A5.5 5.5 0 1 1 12.5 7ZM7 3.8V7L9.3 8.6",
    "each": "M1.8 3.2H2.2M1.8 7H2.2M1.8 10.8H2.2M5 3.2H12.4M5 7H12.4M5 10.8H12.4",
    "branch": "M1.5 7H3.5C7.5 7 6.5 3 10 3H12M3.5 7C7.5 7 6.5 11 10 11H12M10.3 1.2L12.1 3L10.3 4.8M10.3 9.2L12.1 11"
    "L10.3 12.8",
    "subflow": "M2 4.6H4.6A.8 .8 0 0 1 5.4 5.4V8.6A.8 .8 0 0 1 4.6 9.4H2A.8 .8 0 0 1 1.2 8.6V5.4A.8 .8 0 0 1 2 4.6Z"
    "M9.4 4.6H12A.8 .8 0 0 1 12.8 5.4V8.6A.8 .8 0 0 1 12 9.4H9.4A.8 .8 0 0 1 8.6 8.6V5.4A.8 .8 0 0 1 9.4 4.6Z"
    "M5.4 7H8.6",
    "sealed": "M4 6.2H10A1 1 0 0 1 11 7.2V11.2A1 1 0 0 1 10 12.2H4A1 1 0 0 1 3 11.2V7.2A1 1 0 0 1 4 6.2ZM4.8 6.2V4.4"
    "A2.2 2.2 0 0 1 9.2 4.4V6.2M7 8.6V9.8",
}
# Strokes around the centre of a disc.
_BADGES = {
    "ready": "M-1.6 0A1.6 1.6 0 1 1 1.6 0A1.6 1.6 0 1 1 -1.6 0Z",
    "running": "M-1.6 -2.6L2.8 0L-1.6 2.6Z",
    "waiting": "M-1.7 -2.7V2.7M1.7 -2.7V2.7",
    "succeeded": "M-3.4 .3L-1 2.7L3.4 -2.4",
    "failed": "M-2.5 -2.5L2.5 2.5M2.5 -2.5L-2.5 2.5",
    "skipped": "M-2.9 -2.5L-.4 0L-2.9 2.5M.6 -2.5L3.1 0L.6 2.5",
    "cancelled": "M-2.9 0H2.9",
}
_SOLID = ("ready", "running")


def emblem(kind: str, x: float, y: float, color: str) -> str:
    """Give the SVG of the sign of a kind with its upper left corner at the place, or nothing.

    >>> emblem("task", 0, 0, "#000000")
    ''
    """
    if kind not in _EMBLEMS:
        return ""
    return (
        f'<path transform="translate({x:g} {y:g})" d="{_EMBLEMS[kind]}" fill="none" stroke="{color}"'
        ' stroke-width="1.3" stroke-linecap="round" stroke-linejoin="round"/>'
    )


def badge(state: str, x: float, y: float, color: str) -> str:
    """Give the SVG of the sign of a status, a disc around the place, or nothing.

    >>> badge("pending", 0, 0, "#000000")
    ''
    """
    if state not in _BADGES:
        return ""
    return (
        f'<g transform="translate({x:g} {y:g})"><circle r="{BADGE_RADIUS}" fill="{color}" stroke="#ffffff"'
        f' stroke-width="1.5"/><path d="{_BADGES[state]}" fill="{"#ffffff" if state in _SOLID else "none"}"'
        ' stroke="#ffffff" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round"/></g>'
    )
