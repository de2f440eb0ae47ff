"""Cron expressions mean what croniter says that they mean, forwards and backwards; what it can't read is refused."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from cloaca.errors import InvalidCron
from cloaca.schedules.fields import Fields, Walked, matches


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    several = st.lists(number, min_size=1, max_size=3).map(lambda found: ",".join(map(str, found)))
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.integers(1, max(2, (high - low) // 2)).map(lambda step: f"*/{step}")
    return st.just("*") | several | span | stepped


DAYS = numbers(1, 28)
FIVE = st.tuples(numbers(0, 59), numbers(0, 23), DAYS, numbers(1, 12), numbers(0, 7)).map(" ".join)
EXPRESSIONS = FIVE | st.tuples(FIVE, numbers(0, 59)).map(" ".join)
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1))


@given(EXPRESSIONS, TIMES)
def test_what_comes_next_and_before_is_what_croniter_says(expression: str, local: datetime) -> None:
    whole = local.replace(microsecond=0)
    found = matches(expression)
    assert isinstance(found, Fields)
    assert found.after(local) == croniter(expression, whole).get_next(datetime)
    assert found.until(local) == croniter(expression, whole + timedelta(seconds=1)).get_prev(datetime)


WALKED = ["0 0 L * *", "0 9 15W * *", "0 9 1w 1-11/2 *", "0 12 * * 5#2", "30 6 * * L5", "0 0 1 1 * 0 2020-2040"]


@given(st.sampled_from(WALKED), TIMES)
def test_what_only_croniter_can_walk_it_walks(expression: str, local: datetime) -> None:
    found = matches(expression)
    assert isinstance(found, Walked)
    following = found.after(local)
    assert following is not None
    assert following > local
    assert following == croniter(expression, local.replace(microsecond=0)).get_next(datetime)
    assert found.until(following) == following


@pytest.mark.parametrize("alias", ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"])
def test_croniters_aliases_are_known(alias: str) -> None:
    start = datetime(2030, 5, 17, 13, 37)
    assert matches(alias).after(start) == croniter(alias, start).get_next(datetime)


def test_the_weekday_nearest_to_a_day() -> None:
    nearest = matches("0 9 15W * *")  # the 15th of June 2030 is a Saturday, that of September a Sunday
    assert nearest.after(datetime(2030, 6, 1)) == datetime(2030, 6, 14, 9)
    assert nearest.until(datetime(2030, 9, 30)) == datetime(2030, 9, 16, 9)


def test_a_year_may_be_far_away() -> None:
    assert matches("0 0 1 1 * 0 2099").after(datetime(2026, 1, 1)) == datetime(2099, 1, 1)


def test_a_sixth_field_is_seconds_and_comes_last() -> None:
    assert matches("* * * * * 10").after(datetime(2030, 1, 1, 12, 0, 10)) == datetime(2030, 1, 1, 12, 1, 10)


def test_two_kinds_of_day_are_alternatives() -> None:
    found = matches("0 0 13 * FRI").after(datetime(2030, 9, 10))
    assert found == datetime(2030, 9, 13)
    assert matches("0 0 13 * FRI").after(found) == datetime(2030, 9, 20)


def test_a_leap_day_is_found_years_ahead() -> None:
    assert matches("0 0 29 2 *").after(datetime(2096, 3, 1)) == datetime(2104, 2, 29)


@pytest.mark.parametrize(
    "expression",
    ["", "   ", "* * * *", "60 * * * *", "@reboot", "noon", "0 9 * * MON-FRIDAY", "R * * * *", "H * * * *",
     "0 0 30 2 *", "* * * * * * * *", "0 0 1 1 * 0 1999", "* * * * * 61", None, 7],
)  # fmt: skip
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(InvalidCron, match=r"no cron expression|never matches|drawn by lot"):
        matches(expression)
