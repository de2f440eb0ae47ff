"""How often a task is tried, and how long to wait between attempts, as a value.

It knows no clock and no chance: the caller supplies the random number that jitter needs.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from typing import Literal

Backoff = Literal["exponential", "linear", "fixed"]
Seconds = float | timedelta
Retryable = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]


LONGEST_S = 100 * 365.25 * 86_400.0  # what comes later than that, no calendar can say


def in_seconds(duration: Seconds) -> float:
    """Return ``duration`` in seconds.

    >>> in_seconds(timedelta(minutes=2)), in_seconds(3)
    (120.0, 3.0)

    Raises TypeError for what is no duration.
    """
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, bool | str | bytes):
        raise TypeError(f"{duration!r:.80}: a duration is a timedelta, or a number of seconds")
    try:
        return float(duration)
    except OverflowError:  # an integer that no float holds
        return inf if duration > 0 else -inf


@dataclass(frozen=True, slots=True)
class Retry:
    """A retry policy. ``attempts`` is the total number of executions, the first included.

    Args:
        attempts: at least 1; 1 means no retry.
        backoff: how the delay grows: before the n-th retry it is ``delay`` (fixed), ``delay * n`` (linear) or
            ``delay * 2 ** (n - 1)`` (exponential).
        delay: seconds, or a ``timedelta``.
        max_delay: seconds; no delay is longer, jitter included.
        jitter: a fraction from 0 to 1: each delay is drawn from ``delay * (1 - jitter)`` to ``delay * (1 + jitter)``.
            Take 0.2 or so where many runs hit the same peer, so that they don't come back together.
        on: the exceptions worth another attempt: a class, a tuple of classes, or a predicate. Errors of validation
            and serialization are never retried, whatever stands here.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: ``on`` is neither exceptions nor a predicate.

    >>> tuple(Retry(attempts=5, delay=1).delay_s(n) for n in (1, 2, 3, 4))
    (1.0, 2.0, 4.0, 8.0)
    >>> Retry(attempts=9, delay=10, backoff="linear", max_delay=25).delay_s(3)
    25.0
    """

    attempts: int = 1
    backoff: Backoff = "exponential"
    delay: Seconds = 1.0
    max_delay: Seconds = 60.0
    jitter: float = 0.0
    on: Retryable = (Exception,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "delay", in_seconds(self.delay))
        object.__setattr__(self, "max_delay", in_seconds(self.max_delay))
        on: object = self.on
        if isinstance(on, list):  # not what is asked for, but a natural thing to write; a tuple is hashable
            object.__setattr__(self, "on", tuple(on))
        if type(self.attempts) is not int or self.attempts < 1:
            raise ValueError(
                f"Retry(attempts={self.attempts!r}): attempts counts the first execution too: a whole number from 1"
            )
        if self.backoff not in ("exponential", "linear", "fixed"):
            raise ValueError(f'Retry(backoff={self.backoff!r}): choose "exponential", "linear" or "fixed"')
        if not all(0 <= in_seconds(limit) <= LONGEST_S for limit in (self.delay, self.max_delay)):
            raise ValueError("Retry: delay and max_delay are seconds, not negative, and a hundred years at most")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"Retry(jitter={self.jitter}): jitter is a fraction from 0 to 1")
        if not all(_is_exception(kind) for kind in self.on) if isinstance(self.on, tuple) else not callable(self.on):
            raise TypeError(f"Retry(on={self.on!r}): name exception classes, or give a predicate of an exception")
        if inspect.iscoroutinefunction(self.on):
            raise TypeError(
                f"Retry(on={self.on!r}): a predicate is a plain function, not an async one: it must be quick"
            )

    def retries(self, error: BaseException) -> bool:
        """Return whether ``error`` is worth another attempt."""
        if isinstance(self.on, type | tuple):
            return isinstance(error, self.on)
        return bool(self.on(error))

    def delay_s(self, retry: int, chance: float = 0.5) -> float:
        """Return the seconds to wait before the ``retry``-th retry (from 1).

        ``chance``, from 0 to 1, decides the jitter; 0.5 is the middle, no jitter.
        """
        delay = in_seconds(self.delay)
        if self.backoff == "linear":
            delay *= retry
        elif self.backoff == "exponential":
            delay *= 2.0 ** min(retry - 1, 64)  # beyond 2**64 every delay is max_delay, and floats overflow
        jittered = delay * (1 + self.jitter * (2 * chance - 1))
        return min(jittered, in_seconds(self.max_delay))


def _is_exception(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)


NO_RETRY = Retry()
