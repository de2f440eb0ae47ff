"""Nominal instants: in order, the same forwards and backwards, and once at every change of a clock."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca.errors import InvalidTimezone
from cloaca.schedules.timings import Cron, Every, Once, Timing, Window
from cloaca.schedules.zones import instant_of, wall, zone_of
from tests.schedules.test_fields import EXPRESSIONS
from tests.schedules.transitions import SAMPLE, crossings

ZONES = st.sampled_from(SAMPLE)
INSTANTS = st.floats(1_577_836_800, 1_924_991_999)  # 2020 to 2030
TIMINGS: st.SearchStrategy[Timing] = (
    st.builds(Cron, EXPRESSIONS, ZONES) | st.builds(Every, st.floats(1, 1e6), INSTANTS) | st.builds(Once, INSTANTS)
)


@given(TIMINGS, INSTANTS)
def test_after_and_until_agree(timing: Timing, instant: float) -> None:
    following, last = timing.after(instant), timing.until(instant)
    if following is not None:
        assert following > instant
        assert timing.until(following) == following
        assert timing.until(following - 0.001) == last
    if last is not None:
        assert last <= instant
        assert timing.after(last) == following
        assert timing.after(last - 0.001) == last


@given(TIMINGS, INSTANTS, st.none() | INSTANTS, st.none() | INSTANTS)
def test_a_window_bounds_them(timing: Timing, instant: float, start: float | None, end: float | None) -> None:
    window = Window(timing, start, end)
    for found in (window.after(instant), window.until(instant)):
        assert found is None or (timing.until(found) == found)
        assert found is None or start is None or found >= start
        assert found is None or end is None or found <= end
    first = window.after(0.0)
    assert first is None or window.until(first) == first
    assert first is None or start is None or timing.until(start) in (None, start) or first > start


def utc(*at: int) -> float:
    return datetime(*at, tzinfo=UTC).timestamp()  # type: ignore[misc, arg-type]  # year, month, day and so on


def berlin(expression: str, start: float, count: int) -> list[str]:
    cron, found = Cron(expression, "Europe/Berlin"), []
    for _ in range(count):
        start = cron.after(start)  # type: ignore[assignment]  # there is always another
        found.append(datetime.fromtimestamp(start, UTC).strftime("%d %H:%M"))
    return found


# In 2030 clocks in Berlin go from 02:00 to 03:00 at 01:00 UTC on 31 March, and back at 01:00 UTC on 27 October.


def test_a_gap_runs_once_at_the_first_valid_instant() -> None:
    assert berlin("30 2 * * *", utc(2030, 3, 30), 3) == ["30 01:30", "31 01:00", "01 00:30"]
    assert berlin("*/20 * * * *", utc(2030, 3, 31, 0, 30), 3) == ["31 00:40", "31 01:00", "31 01:20"]
    assert berlin("0 * * * *", utc(2030, 3, 30, 23, 30), 3) == ["31 00:00", "31 01:00", "31 02:00"]


def test_an_overlap_runs_once_at_the_first() -> None:
    assert berlin("30 2 * * *", utc(2030, 10, 26), 3) == ["26 00:30", "27 00:30", "28 01:30"]
    assert berlin("0 * * * *", utc(2030, 10, 26, 23, 30), 3) == ["27 00:00", "27 02:00", "27 03:00"]
    assert berlin("*/20 * * * *", utc(2030, 10, 27, 0, 30), 3) == ["27 00:40", "27 02:00", "27 02:20"]


@pytest.mark.parametrize("hidden", [0, 1, 59 * 60, 3600 - 1])
def test_whoever_asks_during_the_repeated_hour_is_told_what_comes_after(hidden: int) -> None:
    cron = Cron("* * * * *", "Europe/Berlin")
    asked = utc(2030, 10, 27, 1) + hidden
    assert cron.after(asked) == utc(2030, 10, 27, 2)
    assert cron.until(asked) == utc(2030, 10, 27, 0, 59)


def test_intervals_do_not_care_about_clocks() -> None:
    every = Every(3600.0, utc(2030, 10, 26, 23, 30))
    assert every.after(utc(2030, 10, 27, 0, 30)) == utc(2030, 10, 27, 1, 30)
    assert every.until(utc(2030, 10, 26)) is None


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", None, "Europe/Berlin\0"])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(InvalidTimezone, match="IANA name"):
        zone_of(name)


@given(ZONES, st.datetimes(datetime(2020, 1, 1), datetime(2031, 1, 1)), st.timedeltas(timedelta(0), timedelta(hours=3)))
def test_wall_clocks_in_their_order_are_instants_in_their_order(zone: str, local: datetime, ahead: timedelta) -> None:
    local, later = local.replace(microsecond=0), (local + ahead).replace(microsecond=0)
    first, second = instant_of(local, zone_of(zone)), instant_of(later, zone_of(zone))
    assert first <= second
    assert wall(first, zone_of(zone)).replace(fold=0) >= local


DAILY, HOURLY, MINUTELY = "30 2 * * *", "0 * * * *", "* * * * *"


def check_crossing(zone: str, change: float) -> None:
    """Every minute of the wall clock fires once, in order, and nothing else does, on both sides of a change."""
    start, end = change - 3 * 3600, change + 3 * 3600
    for expression, of in ((MINUTELY, lambda _: True), (HOURLY, lambda local: local.minute == 0)):
        fired = list(fires(Cron(expression, zone), start, end))
        assert all(early < late for early, late in pairwise(fired))
        assert fired == wanted(zone, start, end, of)
    days = list(fires(Cron(DAILY, zone), change - 3 * 86400, change + 3 * 86400))
    shown = [wall(at, ZoneInfo(zone)).date() for at in days]
    assert len(set(shown)) == len(shown)
    assert all(abs((late - early).days) == 1 for early, late in pairwise(shown))


def fires(cron: Cron, start: float, end: float) -> list[float]:
    found = []
    at = cron.after(start)
    while at is not None and at <= end:
        found.append(at)
        at = cron.after(at)
    return found


def wanted(zone: str, start: float, end: float, of: object) -> list[float]:
    """The same found by walking real time: a minute that is shown first, or the end of a gap that hides one."""
    known, found, before = ZoneInfo(zone), [], None
    seen: set[datetime] = set()
    for second in range(int(start) - 4 * 3600, int(end) + 1, 30):
        local = wall(second, known).replace(fold=0)
        minutes = [] if local.second else [local]
        if before is not None and local - before > timedelta(seconds=30):  # a gap
            hidden = before.replace(second=0) + timedelta(minutes=1)
            while hidden < local:
                minutes.append(hidden)
                hidden += timedelta(minutes=1)
        fresh = [minute for minute in minutes if minute not in seen and of(minute)]  # type: ignore[operator]
        seen.update(minutes)
        if fresh and second > start:
            found.append(float(second))
        before = local
    return found


@pytest.mark.parametrize("zone", SAMPLE)
def test_clocks_are_crossed_in_a_sample_of_zones(zone: str) -> None:
    for change in crossings(zone, 2024, 2026):
        check_crossing(zone, change)


@pytest.mark.skipif("CLOACA_EVERY_ZONE" not in os.environ, reason="takes minutes: set CLOACA_EVERY_ZONE=1")
@pytest.mark.timeout(3600)
def test_every_change_of_every_zone_is_crossed() -> None:
    crossed = 0
    for zone in sorted(available_timezones() - {"localtime", "Factory"}):
        for change in crossings(zone, 2020, 2031):
            check_crossing(zone, change)
            crossed += 1
    assert crossed > 3000
