"""Durations and times as people read and write them: two numbers at most, local time; one number and a unit."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

MINUTE, HOUR, DAY = 60, 3600, 86400
UNITS = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
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


def read_duration(text: str) -> timedelta:
    """Return the duration that ``text`` says: a number and s, m, h, d or w. Raises ValueError.

    >>> read_duration("30d"), read_duration("1.5h")
    (datetime.timedelta(days=30), datetime.timedelta(seconds=5400))
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", text.strip(), re.ASCII)
    if match is None:
        raise ValueError(f'"{text}" is no duration: write a number and s, m, h, d or w, for instance 30d')
    try:
        return timedelta(seconds=float(match[1]) * UNITS[match[2]])
    except OverflowError:
        raise ValueError(f'"{text}" is longer than any calendar') from None
