"""Durations and times as people read them: two numbers at most, local time."""

from __future__ import annotations

from datetime import datetime

MINUTE, HOUR, DAY = 60, 3600, 86400
TENTHS_BELOW_S = 60


def shown_duration(seconds: float) -> str:
    """Return a duration, never longer than seven characters below 100 days.

    >>> [shown_duration(s) for s in (0.04, 59.94, 61, 7325, 90000)]
    ['0.0s', '59.9s', '1m 01s', '2h 02m', '1d 01h']
    """
    seconds = max(0.0, seconds)
    if round(seconds, 1) < TENTHS_BELOW_S:
        return f"{seconds:.1f}s"
    whole = int(seconds + 0.5)
    if whole < HOUR:
        return f"{whole // MINUTE}m {whole % MINUTE:02}s"
    if whole < DAY:
        return f"{whole // HOUR}h {whole % HOUR // MINUTE:02}m"
    return f"{whole // DAY}d {whole % DAY // HOUR:02}h"


def between(start: datetime | None, end: datetime | None) -> str:
    """Return the time from ``start`` to ``end``; nothing if one of them is not known."""
    return "" if start is None or end is None else shown_duration((end - start).total_seconds())


def shown_time(at: datetime | None) -> str:
    """Return a time in the local time zone, to the second."""
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
