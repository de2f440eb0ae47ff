"""Catch-up: what fires is within its limit, in order, and nothing comes back; jitter moves nothing past the next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca.schedules.decisions import MOST_AT_ONCE, ON_TIME_S, Catchup, Policy, begin, due_at, instants, step
from cloaca.schedules.timings import Cron, Every, Once, Window
from tests.schedules.test_timings import INSTANTS, TIMINGS

HOURLY = Window(Every(3600.0, 0.0))
CATCHUPS: st.SearchStrategy[Catchup] = st.sampled_from(["latest", "none", "all", 1, 3])
JITTERS = st.sampled_from([0.0, 0.5, 90.0, 1e5])


def fired(catchup: Catchup, next_at: float, now: float) -> tuple[tuple[float, ...], int]:
    found = step(HOURLY, Policy("h", catchup), next_at, now)
    assert found is not None
    assert found.next_at == 3600.0 * (now // 3600 + 1)
    return found.fired, found.missed


def test_catch_up_says_what_becomes_of_missed_firings() -> None:
    missed_three, late = 3600.0, 3 * 3600.0 + 60
    assert fired("latest", missed_three, late) == ((3 * 3600.0,), 2)
    assert fired("all", missed_three, late) == ((3600.0, 7200.0, 10800.0), 0)
    assert fired("none", missed_three, late) == ((), 3)
    assert fired(2, missed_three, late) == ((7200.0, 10800.0), 1)
    assert fired(9, missed_three, late) == ((3600.0, 7200.0, 10800.0), 0)


def test_what_is_noticed_in_time_was_not_missed() -> None:
    assert fired("none", 3600.0, 3 * 3600.0 + ON_TIME_S) == ((10800.0,), 2)
    assert fired("none", 3600.0, 3 * 3600.0 + ON_TIME_S + 1) == ((), 3)


def test_nothing_fires_before_it_is_due() -> None:
    assert step(HOURLY, Policy("h"), 7200.0, 7199.9) is None
    assert step(HOURLY, Policy("h"), 7200.0, 3600.0) is None  # the clock was set back


def test_many_that_were_missed_fire_in_portions() -> None:
    minutely, at, got = Window(Every(60.0, 0.0)), 60.0, 0
    while (found := step(minutely, Policy("m", "all"), at, 60.0 * 250)) is not None:
        assert len(found.fired) <= MOST_AT_ONCE
        got += len(found.fired)
        assert found.next_at is not None
        at = found.next_at
    assert got == 250


def test_a_schedule_that_is_over_fires_its_last_and_no_more() -> None:
    once = Window(Once(500.0))
    assert begin(once, Policy("o"), 0.0) == (500.0, 500.0)
    found = step(once, Policy("o"), 500.0, 501.0)
    assert found is not None
    assert (found.fired, found.next_at, found.due_at) == ((500.0,), None, None)
    assert begin(once, Policy("o"), 500.0) == (None, None)


@given(TIMINGS, CATCHUPS, JITTERS, INSTANTS, st.lists(st.floats(-9e4, 9e5), min_size=1, max_size=6))
def test_steps_go_forward_and_stay_within_catch_up(
    timing: Cron, catchup: Catchup, jitter_s: float, start: float, waits: list[float]
) -> None:
    """Stops, jumps and sleeps are all the same: the time at which somebody looks."""
    if isinstance(timing, Cron) and len(timing.expression.split()) > 5:
        waits = [wait / 1000 for wait in waits]  # thousands of seconds would take long to count
    window, policy, now = Window(timing), Policy("s", catchup, jitter_s), start
    next_at, last = begin(window, policy, start)[0], start
    for wait in waits:
        now += wait
        while next_at is not None and (found := step(window, policy, next_at, now)) is not None:
            allowed = {"latest": 1, "none": 1, "all": MOST_AT_ONCE}.get(str(catchup)) or int(catchup)
            assert len(found.fired) <= allowed
            assert len(found.fired) + found.missed > 0
            assert all(late > early for early, late in zip((last, *found.fired), found.fired, strict=False))
            assert all((due_at(window, policy, each) or each) <= now for each in found.fired)
            assert all(window.until(each) == each for each in found.fired)
            last = found.fired[-1] if found.fired else next_at
            if found.missed + len(found.fired) < 1000:
                assert found.missed + len(found.fired) == len(instants(window, next_at, last_of(found, window), 2000))
            assert found.next_at is None or found.next_at > last
            assert (found.next_at is None) == (found.due_at is None)
            next_at = found.next_at


def last_of(found: object, window: Window) -> float:
    """Return the last instant that a step has dealt with."""
    if found.fired:  # type: ignore[attr-defined]  # a step
        return float(found.fired[-1])  # type: ignore[attr-defined]
    following = found.next_at  # type: ignore[attr-defined]
    last = window.until(following - 0.001 if following is not None else 4e9)
    assert last is not None
    return last


@given(TIMINGS, JITTERS, INSTANTS)
def test_jitter_is_the_same_for_all_and_never_reaches_the_next(timing: Cron, jitter_s: float, at: float) -> None:
    window = Window(timing)
    nominal = window.after(at)
    if nominal is None:
        return
    policy, following = Policy("s", "latest", jitter_s), window.after(nominal)
    due = due_at(window, policy, nominal)
    assert due == due_at(window, Policy("s", "all", jitter_s), nominal)
    assert due is not None
    assert nominal <= due <= nominal + jitter_s
    assert following is None or due <= following


@pytest.mark.parametrize(("most", "count"), [(3, 3), (10, 4)])
def test_instants_of_a_range_include_both_ends(most: int, count: int) -> None:
    assert len(instants(HOURLY, 3600.0, 4 * 3600.0, most)) == count
    assert instants(HOURLY, 3601.0, 7199.0, 10) == []
