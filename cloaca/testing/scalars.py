"""Strategies for scalars: numbers, text, times, ids, within their constraints by construction where that can be."""

from __future__ import annotations

import datetime as dt
import ipaddress
import pathlib
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Any, Final, cast

import pydantic
from hypothesis import strategies as st

from cloaca.secrets import Secret
from cloaca.testing.constraints import Constraints

Strategy = st.SearchStrategy[Any]

_WIDE: Final = 10**12
TEXT: Final = st.characters(exclude_categories=["Cs", "Cc"])
_DAYS: Final = (dt.date(1970, 1, 1), dt.date(2100, 1, 1))


def _text(wanted: Constraints) -> Strategy:
    most = wanted.max_length if wanted.max_length is not None else wanted.min_length + 12
    if wanted.pattern is not None:
        strategy: Strategy = st.from_regex(wanted.pattern).filter(lambda text: "\0" not in text and _utf8(text))
        strategy = strategy.filter(lambda text: wanted.min_length <= len(text))
        strategy = strategy.filter(lambda text: wanted.max_length is None or len(text) <= wanted.max_length)
    else:
        strategy = st.text(TEXT, min_size=wanted.min_length, max_size=max(most, wanted.min_length))
    if wanted.strip_whitespace:
        strategy = strategy.filter(lambda text: len(text.strip()) >= wanted.min_length)
    if wanted.to_upper or wanted.to_lower:
        changed = str.upper if wanted.to_upper else str.lower
        strategy = strategy.filter(lambda text: _still_fits(changed(text), wanted))
    return strategy


def _still_fits(text: str, wanted: Constraints) -> bool:
    """Whether text fits after its case was changed, which makes a ``ß`` two letters."""
    fits = wanted.min_length <= len(text) and (wanted.max_length is None or len(text) <= wanted.max_length)
    return fits and (wanted.pattern is None or re.search(wanted.pattern, text) is not None)


def _utf8(text: str) -> bool:
    return text.encode("utf-8", "ignore").decode() == text


def _bounds(wanted: Constraints, step: Fraction, widest: Fraction) -> tuple[int, int]:
    """Return the least and the greatest number of steps that the constraints allow."""
    lows = [Fraction(each) / step for each in (wanted.ge,) if each is not None]
    least = max([ceil(each) for each in lows], default=None)
    if wanted.gt is not None:
        above = floor(Fraction(wanted.gt) / step) + 1
        least = above if least is None else max(least, above)
    highs = [floor(Fraction(each) / step) for each in (wanted.le,) if each is not None]
    if wanted.lt is not None:
        highs.append(ceil(Fraction(wanted.lt) / step) - 1)
    most = min(highs, default=None)
    reach = floor(widest / step)
    if least is None:
        least = -reach if most is None else min(most, -reach) if most >= -reach else most - reach
    if most is None:
        most = max(least, reach) if least <= reach else least + reach
    if least > most:
        raise TypeError(f"inputs: no value satisfies {wanted}")
    return least, most


def _integer(wanted: Constraints) -> Strategy:
    step = wanted.multiple_of or 1
    least, most = _bounds(wanted, Fraction(step), Fraction(2**53))
    return st.integers(least, most).map(lambda count: count * step)


def _float(wanted: Constraints) -> Strategy:
    if wanted.multiple_of is not None:
        step = wanted.multiple_of
        least, most = _bounds(wanted, Fraction(step), Fraction(step) * 10**6)
        return st.integers(least, most).map(lambda count: float(count * step))
    low = wanted.ge if wanted.gt is None else wanted.gt
    high = wanted.le if wanted.lt is None else wanted.lt
    if low is None and high is None:
        return st.floats(allow_nan=False, allow_infinity=False)
    return st.floats(
        None if low is None else float(low), None if high is None else float(high), allow_nan=False,
        allow_infinity=False, exclude_min=wanted.gt is not None and low == wanted.gt,
        exclude_max=wanted.lt is not None and high == wanted.lt,
    )  # fmt: skip


def _decimal(wanted: Constraints) -> Strategy:
    places = min(2 if wanted.decimal_places is None else wanted.decimal_places, wanted.max_digits or _WIDE)
    step = Fraction(1, 10**places)
    if wanted.multiple_of is not None:
        step = Fraction(wanted.multiple_of)
    widest = Fraction(_WIDE)
    if wanted.max_digits is not None:
        widest = min(widest, Fraction(10 ** (wanted.max_digits - places)) - Fraction(1, 10**places))
    least, most = _bounds(wanted, step, widest)
    if wanted.max_digits is not None:
        least, most = max(least, -floor(widest / step)), min(most, floor(widest / step))
    unit = Decimal(step.numerator) / Decimal(step.denominator)
    return st.integers(least, most).map(lambda count: count * unit)


def _days(least: dt.date, most: dt.date) -> Callable[[Constraints], Strategy]:
    def make(wanted: Constraints) -> Strategy:
        low = max([least, *([_day(wanted.ge)] if wanted.ge else []), *([_day(wanted.gt, 1)] if wanted.gt else [])])
        high = min([most, *([_day(wanted.le)] if wanted.le else []), *([_day(wanted.lt, -1)] if wanted.lt else [])])
        return st.dates(low, max(low, high))

    return make


def _day(given: Any, shift: int = 0) -> dt.date:
    return dt.date(given.year, given.month, given.day) + dt.timedelta(days=shift)


def _moments(
    zones: Sequence[dt.tzinfo | None], least: dt.date = _DAYS[0], most: dt.date = _DAYS[1]
) -> Callable[[Constraints], Strategy]:
    def make(wanted: Constraints) -> Strategy:
        bounds = [each for each in (wanted.ge, wanted.gt, wanted.le, wanted.lt) if each is not None]
        usable = [zone for zone in zones if not bounds or (zone is None) == (bounds[0].tzinfo is None)]
        if wanted.zone is not None:
            usable = [dt.UTC]
        tick = dt.timedelta(microseconds=1)
        lows = [_naive(wanted.ge)] if wanted.ge else []
        lows += [_naive(wanted.gt, tick)] if wanted.gt else []
        highs = [_naive(wanted.le)] if wanted.le else []
        highs += [_naive(wanted.lt, -tick)] if wanted.lt else []
        low, high = max([_midnight(least), *lows]), min([_midnight(most), *highs])
        return st.one_of([_in_zone(low, max(low, high), zone) for zone in usable or zones])

    return make


def _in_zone(low: dt.datetime, high: dt.datetime, zone: dt.tzinfo | None) -> Strategy:
    return st.datetimes(low, high).map(lambda moment: moment.replace(tzinfo=zone))


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time())


def _naive(moment: dt.datetime, shift: dt.timedelta | None = None) -> dt.datetime:
    plain = moment if moment.tzinfo is None else moment.astimezone(dt.UTC).replace(tzinfo=None)
    return plain + (shift or dt.timedelta())


def _durations(wanted: Constraints) -> Strategy:
    tick = dt.timedelta(microseconds=1)
    low = wanted.ge or (wanted.gt + tick if wanted.gt is not None else None) or dt.timedelta(days=-3650)
    high = wanted.le or (wanted.lt - tick if wanted.lt is not None else None) or dt.timedelta(days=3650)
    return st.timedeltas(low, max(low, high))


def _bytes(wanted: Constraints) -> Strategy:
    most = wanted.max_length if wanted.max_length is not None else wanted.min_length + 12
    # What is stored is JSON: bytes are UTF-8 text there, unless the model says otherwise.
    ascii_only = st.integers(32, 126)
    return st.lists(ascii_only, min_size=wanted.min_length, max_size=max(most, wanted.min_length)).map(bytes)


def _uuids(wanted: Constraints) -> Strategy:
    version = wanted.uuid_version
    return st.uuids() if version is None else st.uuids().map(lambda drawn: _of_version(drawn, version))


def _of_version(drawn: uuid.UUID, version: int) -> uuid.UUID:
    """Return it with its version and variant set, as RFC 9562 places them: Python 3.11 knows versions up to 5."""
    number = drawn.int & ~(0xF << 76) & ~(0b11 << 62)
    return uuid.UUID(int=number | version << 76 | 0b10 << 62)


def _fixed(strategy: Strategy) -> Callable[[Constraints], Strategy]:
    return lambda _: strategy


_HOSTS: Final = st.from_regex(r"\A[a-z][a-z0-9]{0,8}\.(example|test)\Z")
_URLS: Final = st.builds("https://{}/{}".format, _HOSTS, st.from_regex(r"\A[a-z0-9]{0,8}\Z"))
ANYTHING: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(TEXT, max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(TEXT, max_size=4), inner, max_size=3),
    max_leaves=5,
)
_PAST, _FUTURE = (_DAYS[0], dt.date(2000, 1, 1)), (dt.date(2200, 1, 1), dt.date(2300, 1, 1))

SCALARS: Final[Mapping[type, Callable[[Constraints], Strategy]]] = {
    bool: _fixed(st.booleans()),
    str: _text,
    int: _integer,
    float: _float,
    Decimal: _decimal,
    bytes: _bytes,
    pydantic.PastDatetime: _moments([None, dt.UTC], *_PAST),
    pydantic.FutureDatetime: _moments([None, dt.UTC], *_FUTURE),
    pydantic.AwareDatetime: _moments([dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=30))]),
    pydantic.NaiveDatetime: _moments([None]),
    dt.datetime: _moments([None, dt.UTC]),
    pydantic.PastDate: _days(*_PAST),
    pydantic.FutureDate: _days(*_FUTURE),
    dt.date: _days(*_DAYS),
    dt.time: _fixed(st.times()),
    dt.timedelta: _durations,
    uuid.UUID: _uuids,
    ipaddress.IPv4Address: _fixed(st.ip_addresses(v=4)),
    ipaddress.IPv6Address: _fixed(st.ip_addresses(v=6)),
    ipaddress.IPv4Network: _fixed(st.ip_addresses(v=4).map(ipaddress.IPv4Network)),
    ipaddress.IPv6Network: _fixed(st.ip_addresses(v=6).map(ipaddress.IPv6Network)),
    cast("type", pydantic.IPvAnyAddress): _fixed(st.ip_addresses()),
    pathlib.Path: _fixed(st.from_regex(r"\A[a-z]{1,8}(/[a-z]{1,8}){0,2}\Z").map(pathlib.Path)),
    pydantic.ByteSize: _fixed(st.integers(0, 2**40)),
    pydantic.AnyUrl: _fixed(_URLS),
    Secret: _fixed(st.from_regex(r"\A[A-Z][A-Z_]{0,12}\Z").map(Secret)),
    complex: _fixed(st.complex_numbers(allow_nan=False, allow_infinity=False)),
}
