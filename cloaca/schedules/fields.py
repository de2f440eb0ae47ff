"""Cron expressions on a clock that knows no zones: what matches, what comes next, what came before.

croniter reads an expression; what it has read is walked here, forwards and backwards, about ten times as fast. What
only croniter can walk (``L``, ``W``, ``#``, years) it walks. Nothing here knows zones, or what time it is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from functools import lru_cache
from typing import Protocol

from croniter import croniter

from cloaca.errors import InvalidCron

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
MOST_DAYS = 40 * 366  # after that without a match there is none; a 29th of February on a Monday comes within 40 years
MOST_YEARS = 130  # for croniter, whose years are 1970 to 2099
SHORT, LONG = 5, 7  # how many fields an expression has
SUNDAY = 7


class Matches(Protocol):
    """The local times, in whole seconds, that an expression matches."""

    def after(self, local: datetime) -> datetime | None:
        """Return the first match after a time, None if there is none for decades."""
        ...

    def until(self, local: datetime) -> datetime | None:
        """Return the last match that is not after a time, None if there is none for decades."""
        ...


class Fields:
    """An expression without anything special, as sets of numbers."""

    def __init__(self, expanded: Sequence[Sequence[int | str]]) -> None:
        minutes, hours, days, months, weekdays, *seconds = expanded
        self._hours, self._minutes = _numbers(hours, 24), _numbers(minutes, 60)
        self._seconds = _numbers(seconds[0], 60) if seconds else [0]
        self._months = frozenset(_numbers(months, 13))
        self._any_day, self._any_weekday = "*" in days, "*" in weekdays
        self._days = frozenset(_numbers(days, 32))
        self._weekdays = frozenset(number % 7 for number in _numbers(weekdays, 7))
        self._first = time(self._hours[0], self._minutes[0], self._seconds[0])
        self._last = time(self._hours[-1], self._minutes[-1], self._seconds[-1])

    def after(self, local: datetime) -> datetime | None:
        start = local.replace(microsecond=0) + SECOND
        if self._has(start) and (found := self._time_from(start.time())) is not None:
            return datetime.combine(start, found)
        day = self._walk(start, DAY)
        return None if day is None else datetime.combine(day, self._first)

    def until(self, local: datetime) -> datetime | None:
        if self._has(local) and (found := self._time_until(local.time())) is not None:
            return datetime.combine(local, found)
        day = self._walk(local, -DAY)
        return None if day is None else datetime.combine(day, self._last)

    def _walk(self, day: datetime, step: timedelta) -> datetime | None:
        """Return the first day beyond ``day`` that matches."""
        try:
            for _ in range(MOST_DAYS):
                day += step
                if self._has(day):
                    return day
        except OverflowError:
            pass
        return None

    def _has(self, day: datetime) -> bool:
        """Whether a day matches: if both kinds of day are restricted, either will do."""
        if day.month not in self._months:
            return False
        of_month, of_week = day.day in self._days, day.isoweekday() % SUNDAY in self._weekdays
        return (of_month and of_week) if self._any_day or self._any_weekday else (of_month or of_week)

    def _time_from(self, start: time) -> time | None:
        hour, minute, second = start.hour, start.minute, start.second
        if hour in self._hours:
            if minute in self._minutes and (at := bisect_left(self._seconds, second)) < len(self._seconds):
                return time(hour, minute, self._seconds[at])
            if (at := bisect_right(self._minutes, minute)) < len(self._minutes):
                return time(hour, self._minutes[at], self._seconds[0])
        if (at := bisect_right(self._hours, hour)) < len(self._hours):
            return self._first.replace(hour=self._hours[at])
        return None

    def _time_until(self, end: time) -> time | None:
        hour, minute, second = end.hour, end.minute, end.second
        if hour in self._hours:
            if minute in self._minutes and (at := bisect_right(self._seconds, second)) > 0:
                return time(hour, minute, self._seconds[at - 1])
            if (at := bisect_left(self._minutes, minute)) > 0:
                return time(hour, self._minutes[at - 1], self._seconds[-1])
        if (at := bisect_left(self._hours, hour)) > 0:
            return self._last.replace(hour=self._hours[at - 1])
        return None


def _numbers(field: Sequence[int | str], end: int) -> list[int]:
    """Return the numbers of a field, sorted; a star is all below ``end``."""
    return list(range(end)) if "*" in field else sorted({int(number) for number in field})


class Walked:
    """An expression that croniter walks."""

    def __init__(self, expression: str) -> None:
        self._expression = expression

    def after(self, local: datetime) -> datetime | None:
        try:
            found: datetime = self._from(local.replace(microsecond=0)).get_next(datetime)
        except (ValueError, OverflowError):
            return None
        return found

    def until(self, local: datetime) -> datetime | None:
        try:
            found: datetime = self._from(local.replace(microsecond=0) + SECOND).get_prev(datetime)
        except (ValueError, OverflowError):
            return None
        return found

    def _from(self, local: datetime) -> croniter:
        return croniter(self._expression, local, max_years_between_matches=MOST_YEARS)


@lru_cache(maxsize=10_000)
def matches(expression: str) -> Matches:
    """Read a cron expression.

    Raises:
        InvalidCron: croniter can't read it, it matches no time at all, or not the same times whenever it is read.

    >>> matches("0 9 * * MON-FRI").after(datetime(2030, 1, 4, 9))
    datetime.datetime(2030, 1, 7, 9, 0)
    """
    if not isinstance(expression, str):
        raise InvalidCron(f'{expression!r:.80} is no cron expression: write a text such as "0 9 * * MON-FRI"')
    fields = expression.split()
    if len(fields) in range(SHORT, LONG + 1) and any(field[:1] in ("r", "R") for field in fields):
        raise InvalidCron(f'cron expression "{expression}" is drawn by lot each time that it is read; write numbers')
    try:
        expanded, nth = croniter.expand(expression)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InvalidCron(
            f'"{expression:.200}" is no cron expression: {error}; write minute, hour, day of the month, month and day '
            'of the week, as in "0 9 * * MON-FRI", and seconds last if you need them'
        ) from None
    special = len(expanded) == LONG or nth or any("w" in day.lower() for day in fields[2:3])  # expand() hides a W
    plain = not special and all(_is_plain(number) for field in expanded for number in field)
    found = Fields(expanded) if plain else Walked(expression)
    if found.after(datetime(2000, 1, 1)) is None:
        raise InvalidCron(f'cron expression "{expression}" never matches: there is no such day')
    return found


def _is_plain(number: int | str) -> bool:
    return number == "*" or isinstance(number, int)
