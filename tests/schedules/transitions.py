"""When the clocks of a zone are set: found by looking, since zoneinfo does not say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

# One hour, half an hour, at midnight, twice a year around Ramadan, never, 45 minutes off, a day's name that changes.
SAMPLE = [
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Africa/Casablanca", "Asia/Kathmandu",
    "America/Scoresbysund", "Pacific/Chatham", "Asia/Beirut", "America/Santiago", "UTC", "Antarctica/Troll",
]  # fmt: skip
DAY = 86_400


def crossings(zone: str, first_year: int, end_year: int) -> Iterator[float]:
    """Yield the instants of these years, ``end_year`` not included, at which another offset begins."""
    known = ZoneInfo(zone)
    start = int(datetime(first_year, 1, 1, tzinfo=UTC).timestamp())
    end = int(datetime(end_year, 1, 1, tzinfo=UTC).timestamp())
    for day in range(start, end, DAY):
        if _offset(day, known) != _offset(day + DAY, known):
            early, late = day, day + DAY
            while late - early > 1:
                middle = (early + late) // 2
                early, late = (middle, late) if _offset(middle, known) == _offset(day, known) else (early, middle)
            yield float(late)


def _offset(instant: int, zone: ZoneInfo) -> object:
    return datetime.fromtimestamp(instant, zone).utcoffset()
