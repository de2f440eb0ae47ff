"""What fires now, and when the schedule is due next: a pure function of the schedule, the time, and what has fired.

It decides; who records that and makes runs of it is the interpreter's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, TypeAlias

from cloaca.schedules.timings import Window

Catchup: TypeAlias = Literal["latest", "none", "all"] | int
Overlap: TypeAlias = Literal["allow", "skip", "queue", "cancel"]

CATCHUPS = ("latest", "none", "all")
OVERLAPS = ("allow", "skip", "queue", "cancel")
ON_TIME_S = 10.0  # what is noticed within so many seconds has not been missed
MOST_AT_ONCE = 100  # firings of one schedule in one transaction
MOST_CATCHUP = 10_000  # what a number may be, and how far missed firings are counted
FINEST = 2**64


@dataclass(frozen=True, slots=True)
class Policy:
    """What a schedule does beside its timing. ``name`` is what its jitter is drawn from."""

    name: str
    catchup: Catchup = "latest"
    jitter_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to a schedule that is due.

    ``fired`` are the nominal instants that fire, in order; ``missed`` is how many are passed over, counted up to
    ``MOST_CATCHUP``. ``next_at`` is the nominal instant to come, None if there is none, ``due_at`` when it is to fire.
    """

    fired: tuple[float, ...]
    missed: int
    next_at: float | None
    due_at: float | None


def due_at(window: Window, policy: Policy, nominal: float | None) -> float | None:
    """Return when a nominal instant is to fire: later by jitter, but before the one that follows it.

    The jitter follows from the schedule's name and the instant, so that all runners find the same.
    """
    if nominal is None or not policy.jitter_s:
        return nominal
    following = window.after(nominal)
    most = policy.jitter_s if following is None else min(policy.jitter_s, following - nominal)
    drawn = int.from_bytes(blake2b(f"{policy.name} {nominal!r}".encode(), digest_size=8).digest(), "big")
    return nominal + most * (drawn / FINEST)


def step(window: Window, policy: Policy, next_at: float, now: float) -> Step | None:
    """Decide what a schedule does at ``now`` of which ``next_at`` is the first instant that has not fired.

    Return None if it is not due yet.
    """
    newest = _newest(window, policy, now)
    if newest is None or newest < next_at:
        return None
    if policy.catchup == "all":
        fired = _forward(window, next_at, newest, MOST_AT_ONCE)
        missed = 0
    else:
        fired = _backward(window, next_at, newest, _wanted(window, policy, newest, now))
        missed = _count(window, next_at, fired[0] if fired else newest, include_last=not fired)
        fired = fired[:MOST_AT_ONCE]
    following = window.after(fired[-1] if fired else newest)
    return Step(tuple(fired), missed, following, due_at(window, policy, following))


def begin(window: Window, policy: Policy, after: float) -> tuple[float | None, float | None]:
    """Return the first nominal instant after ``after``, and when it is to fire."""
    found = window.after(after)
    return found, due_at(window, policy, found)


def instants(window: Window, start: float, end: float, most: int) -> list[float]:
    """Return the nominal instants from ``start`` to ``end``, both included, but not more than ``most``.

    >>> from cloaca.schedules.timings import Every
    >>> instants(Window(Every(60.0, 0.0)), 60.0, 200.0, 10)
    [60.0, 120.0, 180.0]
    """
    first = start if window.until(start) == start else window.after(start)
    return [] if first is None or first > end else _forward(window, first, end, most)


def _newest(window: Window, policy: Policy, now: float) -> float | None:
    """Return the last nominal instant that is to have fired by ``now``."""
    found = window.until(now)
    if found is not None and (due_at(window, policy, found) or found) > now:
        return window.until(_before(found))
    return found


def _wanted(window: Window, policy: Policy, newest: float, now: float) -> int:
    if policy.catchup == "latest":
        return 1
    if isinstance(policy.catchup, int):
        return policy.catchup
    return int(now - (due_at(window, policy, newest) or newest) <= ON_TIME_S)


def _forward(window: Window, first: float, last: float, most: int) -> list[float]:
    found: list[float] = []
    nominal: float | None = first
    while nominal is not None and nominal <= last and len(found) < most:
        found.append(nominal)
        nominal = window.after(nominal)
    return found


def _backward(window: Window, first: float, last: float, most: int) -> list[float]:
    """Return the last ``most`` nominal instants, in order."""
    found: list[float] = []
    nominal: float | None = last
    while nominal is not None and nominal >= first and len(found) < most:
        found.append(nominal)
        nominal = window.until(_before(nominal))
    return found[::-1]


def _count(window: Window, first: float, last: float, *, include_last: bool) -> int:
    """Count nominal instants from ``first`` to ``last``."""
    count = 0
    nominal: float | None = first
    while nominal is not None and count < MOST_CATCHUP and (nominal < last or (include_last and nominal == last)):
        count += 1
        nominal = window.after(nominal)
    return count


def _before(nominal: float) -> float:
    """Return an instant before a nominal one and after the one before that: they are whole microseconds apart."""
    return nominal - 0.001
