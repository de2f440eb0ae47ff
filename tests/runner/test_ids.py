"""Ids of runs: whole numbers of 63 bits, in the order of time."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest

from cloaca.interpreter import ids as making


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at


def instant(year: int) -> float:
    return datetime(year, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("year", [2026, 2039, 2040, 2089])
def test_ids_have_63_bits(year: int) -> None:
    clock = Clock()
    clock.at = instant(year)
    for id in itertools.islice(making.run_ids(clock), 1000):
        assert 0 < id < 2**63


def test_ids_are_in_the_order_of_time_whoever_makes_them() -> None:
    clock, ids = Clock(), []
    makers = [making.run_ids(clock) for _ in range(20)]
    for year in (2026, 2030, 2038, 2039, 2050, 2089):
        for step in range(20):
            clock.at = instant(year) + step / 100
            ids.append(next(makers[step]))
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("at", [0.0, -5.0])
def test_a_clock_that_was_never_set_makes_ids_too(at: float) -> None:
    """A machine without a clock that is supplied in its absence begins in 1970."""
    clock = Clock()
    clock.at = at
    ids = list(itertools.islice(making.run_ids(clock), 1000))
    assert ids == sorted(set(ids))
    assert ids[0] > 0


def test_a_clock_that_is_set_back_does_not_turn_the_order() -> None:
    clock = Clock()
    clock.at = instant(2030)
    ids = making.run_ids(clock)
    first = next(ids)
    clock.at = instant(2029)
    assert next(ids) > first
