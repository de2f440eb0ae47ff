"""When a schedule fires, as a value: by a cron expression, at fixed intervals, or once.

Each has nominal instants, in seconds since the epoch, in an order: what a firing is known by. They follow from the
value alone, so that all runners find the same ones. It does not know what time it is, nor what has fired.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import TypeAlias

from cloaca.schedules.fields import matches
from cloaca.schedules.zones import instant_of, last_of_first_pass, wall, zone_of

FIRST, LAST = -60_000_000_000.0, 250_000_000_000.0  # from year 68 to year 9892: what a calendar can add days to


@dataclass(frozen=True, slots=True)
class Cron:
    """At the times on a zone's wall clock that a cron expression matches.

    A time that a gap leaves out is its first valid instant, with all others of that gap; a time that comes twice counts
    once, at first. So an hourly expression skips the repeated hour, and a minutely one is silent during it.

    >>> from datetime import UTC, datetime
    >>> nightly = Cron("30 2 * * *", "Europe/Berlin")
    >>> at = nightly.after(datetime(2030, 3, 30, 12, tzinfo=UTC).timestamp())
    >>> datetime.fromtimestamp(at, UTC).isoformat()
    '2030-03-31T01:00:00+00:00'
    """

    expression: str
    timezone: str = "UTC"

    def after(self, instant: float) -> float | None:
        """Return the first nominal instant after another."""
        if not FIRST < instant < LAST:
            return None
        zone, found = zone_of(self.timezone), matches(self.expression)
        local = wall(instant, zone)
        if local.fold:  # all that is shown again has been shown before
            local = last_of_first_pass(local, zone)
        while True:
            following = found.after(local)
            if following is None:
                return None
            if (nominal := instant_of(following, zone)) > instant:
                return nominal
            local = following

    def until(self, instant: float) -> float | None:
        """Return the last nominal instant that is not after another."""
        if not FIRST < instant < LAST:
            return None
        zone = zone_of(self.timezone)
        local = wall(instant, zone)
        if local.fold:
            local = last_of_first_pass(local, zone)
        preceding = matches(self.expression).until(local.replace(fold=0))
        return None if preceding is None else instant_of(preceding, zone)


@dataclass(frozen=True, slots=True)
class Every:
    """Every ``seconds`` from ``anchor`` on, however clocks are set."""

    seconds: float
    anchor: float

    def after(self, instant: float) -> float | None:
        """Return the first nominal instant after another."""
        number = max(0, floor((instant - self.anchor) / self.seconds))
        while self._nth(number) <= instant:
            number += 1
        return self._nth(number)

    def until(self, instant: float) -> float | None:
        """Return the last nominal instant that is not after another."""
        number = floor((instant - self.anchor) / self.seconds) + 1
        while number >= 0 and self._nth(number) > instant:
            number -= 1
        return self._nth(number) if number >= 0 else None

    def _nth(self, number: int) -> float:
        return round(self.anchor + number * self.seconds, 6)


@dataclass(frozen=True, slots=True)
class Once:
    """At one instant."""

    at: float

    def after(self, instant: float) -> float | None:
        """Return the instant, if it is after another."""
        return self.at if self.at > instant else None

    def until(self, instant: float) -> float | None:
        """Return the instant, if it is not after another."""
        return self.at if self.at <= instant else None


Timing: TypeAlias = Cron | Every | Once


@dataclass(frozen=True, slots=True)
class Window:
    """A timing between two instants, both included; None for no end on that side."""

    timing: Timing
    start: float | None = None
    end: float | None = None

    def after(self, instant: float) -> float | None:
        """Return the first nominal instant after another."""
        if self.start is not None and instant < self.start:
            found = self.start if self.timing.until(self.start) == self.start else self.timing.after(self.start)
        else:
            found = self.timing.after(instant)
        return None if found is None or (self.end is not None and found > self.end) else found

    def until(self, instant: float) -> float | None:
        """Return the last nominal instant that is not after another."""
        found = self.timing.until(instant if self.end is None else min(instant, self.end))
        return None if found is None or (self.start is not None and found < self.start) else found
