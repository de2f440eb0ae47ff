"""Queues as values: how many attempts of certain tasks may run at once, and how many may start in a span of time.

It knows no worker and no database: who gives slots, and in which order, is decided where runs are stored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cloaca.algebra.retries import Seconds, in_seconds

Rate = str | tuple[int, Seconds]

LONGEST_NAME: Final = 128
MOST_CONCURRENCY: Final = 1_000_000
MOST_STARTS: Final = 100_000  # in a window: each is a row while it counts
LONGEST_WINDOW_S: Final = 366 * 86_400.0
UNITS: Final = {
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("min", "minute"), 60.0),
    **dict.fromkeys(("h", "hour"), 3_600.0),
    "day": 86_400.0,
}
RATE: Final = re.compile(r"\s*(\d+)\s*/\s*([a-z]+)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Queue:
    """A limit that tasks share: those with ``@task(queue=name)``, over all workers and processes of one database.

    Args:
        name: what tasks call it: a printable string.
        concurrency: the most attempts at a time, None for any number.
        rate: the most attempts that start in any window of time: ``"100/min"`` (a number per ``s``, ``sec``,
            ``second``, ``min``, ``minute``, ``h``, ``hour`` or ``day``), or a pair of a number and seconds or a
            ``timedelta``, as in ``(5, timedelta(minutes=10))``. It is kept as a pair of a number and seconds. None for
            no limit. They may all start at once; the next one starts when the first of them is a window ago.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: ``rate`` is neither a string nor such a pair.

    >>> Queue("mail", concurrency=4, rate="100/min")
    Queue(name='mail', concurrency=4, rate=(100, 60.0))
    """

    name: str
    concurrency: int | None = None
    rate: Rate | None = None

    def __post_init__(self) -> None:
        checked_queue(self.name, f"Queue({self.name!r:.80})")
        limit: object = self.concurrency
        if limit is not None and (type(limit) is not int or not 1 <= limit <= MOST_CONCURRENCY):
            raise ValueError(
                f'Queue("{self.name}", concurrency={limit!r}): a whole number from 1 to {MOST_CONCURRENCY}, or None '
                "for no limit"
            )
        if self.rate is not None:
            object.__setattr__(self, "rate", _rate(self.name, self.rate))

    @property
    def starts(self) -> int | None:
        """How many attempts may start in a window, None for any number."""
        return self.rate[0] if isinstance(self.rate, tuple) else None

    @property
    def window_s(self) -> float | None:
        """How long a window is, in seconds, None without a rate."""
        return in_seconds(self.rate[1]) if isinstance(self.rate, tuple) else None


def checked_queue(name: object, who: str) -> str:
    """Return the name of a queue if it can be one. Raises ValueError, which begins with ``who``."""
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(
            f"{who}: a queue's name is a printable string of 1 to {LONGEST_NAME} characters that are not all blank"
        )
    return name


def _rate(name: str, rate: object) -> tuple[int, float]:
    who = f'Queue("{name}", rate={rate!r:.80})'
    if isinstance(rate, str):
        found = RATE.fullmatch(rate)
        if found is None or found[2] not in UNITS:
            raise ValueError(f'{who}: write a number and a unit of time, as in "100/min"; units are {", ".join(UNITS)}')
        starts, window_s = int(found[1]), UNITS[found[2]]
    else:
        if not isinstance(rate, tuple) or len(rate) != 2 or not isinstance(rate[1], int | float | timedelta):  # noqa: PLR2004 - a pair
            raise TypeError(f'{who}: write "100/min", or a pair of a number and seconds or a timedelta')
        starts, window_s = rate[0], in_seconds(rate[1])
    if type(starts) is not int or not 1 <= starts <= MOST_STARTS:
        raise ValueError(f"{who}: the number of starts is a whole one from 1 to {MOST_STARTS}; use a shorter window")
    if not 0 < window_s <= LONGEST_WINDOW_S:
        raise ValueError(f"{who}: the window is longer than 0 seconds, and {LONGEST_WINDOW_S:.0f} at most (a year)")
    return starts, window_s
