"""What a time on a wall clock means where clocks are set forward and back.

A time that a gap leaves out is the first instant after the gap; a time that comes twice is its first. So the times of a
clock, in their order, are instants in their order, which is all that schedules need. It knows zones, not schedules.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cloaca.errors import InvalidTimezone

MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@lru_cache(maxsize=1000)
def zone_of(name: str) -> ZoneInfo:
    """Return an IANA time zone. Raises InvalidTimezone."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, TypeError, AttributeError, KeyError):  # of which ZoneInfoNotFoundError is one
        raise InvalidTimezone(
            f'{name!r:.80} is no time zone that this machine knows: write an IANA name such as "Europe/Berlin" or '
            '"UTC"; where a system has no zones at all, `pip install tzdata` brings them'
        ) from None


def wall(instant: float, zone: ZoneInfo) -> datetime:
    """Return what the wall clock shows, without a zone. ``fold`` is 1 if it shows that for the second time."""
    return (EPOCH + timedelta(seconds=instant)).astimezone(zone).replace(tzinfo=None)


def instant_of(local: datetime, zone: ZoneInfo) -> float:
    """Return the instant of a time on the wall clock, in seconds since the epoch.

    >>> berlin = zone_of("Europe/Berlin")
    >>> in_a_gap, after_it = datetime(2030, 3, 31, 2, 30), datetime(2030, 3, 31, 3)
    >>> instant_of(in_a_gap, berlin) == instant_of(after_it, berlin)
    True
    """
    first = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) == local.replace(fold=0):
        return (first - EPOCH).total_seconds()
    before = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return (_change(before, first, zone) - EPOCH).total_seconds()


def last_of_first_pass(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the last second that a wall clock shows before it is set back to where ``local`` is shown again."""
    early, late = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    change = _change(early, late, zone)
    return wall((change - EPOCH).total_seconds() - 1, zone)


def _change(early: datetime, late: datetime, zone: ZoneInfo) -> datetime:
    """Return the first whole second, after ``early`` and not after ``late``, from which another offset holds."""
    early, late = early.replace(microsecond=0), late.replace(microsecond=0)
    offset = early.astimezone(zone).utcoffset()
    while late - early > SECOND:
        middle = early + timedelta(seconds=(late - early) // SECOND // 2)
        if middle.astimezone(zone).utcoffset() == offset:
            early = middle
        else:
            late = middle
    return late
