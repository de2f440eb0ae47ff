"""Queues as values."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cloaca import Queue


@pytest.mark.parametrize(
    ("rate", "kept"),
    [
        ("100/min", (100, 60.0)),
        ("1/s", (1, 1.0)),
        (" 7 / sec ", (7, 1.0)),
        ("2/second", (2, 1.0)),
        ("3/minute", (3, 60.0)),
        ("4/h", (4, 3_600.0)),
        ("5/hour", (5, 3_600.0)),
        ("6/day", (6, 86_400.0)),
        ((5, 10), (5, 10.0)),
        ((5, 0.5), (5, 0.5)),
        ((5, timedelta(minutes=10)), (5, 600.0)),
    ],
)
def test_a_rate_is_a_number_in_a_window(rate: Any, kept: tuple[int, float]) -> None:
    queue = Queue("mail", rate=rate)
    assert (queue.starts, queue.window_s) == queue.rate == kept
    assert queue == Queue("mail", rate=kept)


def test_limits_are_optional() -> None:
    queue = Queue("mail")
    assert (queue.concurrency, queue.rate, queue.starts, queue.window_s) == (None, None, None, None)


def test_it_is_a_value() -> None:
    assert {Queue("mail", concurrency=4), Queue("mail", concurrency=4)} == {Queue("mail", 4)}
    with pytest.raises(AttributeError):
        Queue("mail").concurrency = 3  # type: ignore[misc]


@pytest.mark.parametrize("name", ["", " ", "a\0b", "x" * 129, None, 7])
def test_a_name_that_no_queue_can_have(name: Any) -> None:
    with pytest.raises(ValueError, match="a queue's name is a printable string"):
        Queue(name)


@pytest.mark.parametrize("concurrency", [0, -1, 1.0, True, "4", 1_000_001])
def test_a_concurrency_that_is_none(concurrency: Any) -> None:
    with pytest.raises(ValueError, match="a whole number from 1 to 1000000, or None"):
        Queue("mail", concurrency=concurrency)


@pytest.mark.parametrize(
    "rate", ["", "fast", "100", "100/fortnight", "1.5/s", "-1/s", "10 per min", "1/MIN", "\u0661/s"]
)
def test_a_text_that_is_no_rate(rate: str) -> None:
    with pytest.raises(ValueError, match=r'write a number and a unit of time, as in "100/min"'):
        Queue("mail", rate=rate)


@pytest.mark.parametrize("rate", ["0/s", "100001/day", (0, 1), (True, 1), (1.5, 1), ("5", 1)])
def test_a_number_of_starts_that_is_none(rate: Any) -> None:
    with pytest.raises(ValueError, match="the number of starts is a whole one from 1 to 100000"):
        Queue("mail", rate=rate)


@pytest.mark.parametrize("window", [0, -1, float("nan"), float("inf"), timedelta(0), timedelta(days=400)])
def test_a_window_that_is_none(window: Any) -> None:
    with pytest.raises(ValueError, match="the window is longer than 0 seconds"):
        Queue("mail", rate=(1, window))


@pytest.mark.parametrize("rate", [5, (5,), (5, 1, 1), [5, 1], (5, "min"), {"per": 5}])
def test_something_that_is_no_rate(rate: Any) -> None:
    with pytest.raises(TypeError, match="or a pair of a number and seconds or a timedelta"):
        Queue("mail", rate=rate)
