"""Retry policies: how often, when, and after what."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca.algebra.retries import Retry


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (Retry(backoff="exponential", delay=1), [1, 2, 4, 8, 16, 32, 60, 60]),
        (Retry(backoff="linear", delay=10, max_delay=45), [10, 20, 30, 40, 45, 45]),
        (Retry(backoff="fixed", delay=timedelta(milliseconds=500)), [0.5, 0.5, 0.5]),
        (Retry(delay=100, max_delay=timedelta(seconds=7)), [7, 7]),
        (Retry(delay=0), [0, 0, 0]),
    ],
)
def test_delays(policy: Retry, delays: list[float]) -> None:
    assert [policy.delay_s(retry) for retry in range(1, len(delays) + 1)] == delays


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0, 1))
def test_no_delay_is_longer_than_the_longest(retry: int, chance: float, jitter: float) -> None:
    policy = Retry(delay=1, max_delay=60, jitter=jitter)
    assert 0 <= policy.delay_s(retry, chance) <= 60


@given(st.floats(0, 1))
def test_jitter_is_a_fraction_of_the_delay(chance: float) -> None:
    assert 8 <= Retry(delay=10, jitter=0.2).delay_s(1, chance) <= 12


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        ((Exception,), [True, True]),
        (OSError, [True, False]),
        ((OSError, KeyError), [True, False]),
        ([OSError], [True, False]),
        (lambda error: "x" in str(error), [False, True]),
        ((), [False, False]),
    ],
)
def test_what_is_retried(on: Any, expected: list[bool]) -> None:
    policy = Retry(attempts=2, on=on)
    assert [policy.retries(error) for error in (ConnectionError("refused"), ValueError("x"))] == expected
    hash(policy)


async def ask(error: BaseException) -> bool:
    return True


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"backoff": "random"},
        {"delay": -1},
        {"max_delay": -1},
        {"jitter": 1.5},
        {"jitter": -0.1},
        {"on": "ValueError"},
        {"on": ("ValueError",)},
        {"on": (int,)},
        {"on": ask},
        {"delay": "3"},
        {"delay": True},
        {"max_delay": 10**400},
    ],
    ids=lambda wrong: " ".join(f"{key} {getattr(value, '__name__', value)}"[:40] for key, value in wrong.items()),
)
def test_wrong_policies(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Retry(**wrong)
