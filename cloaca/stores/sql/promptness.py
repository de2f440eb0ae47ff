"""Whether a transaction may be made on the event loop: as long as that takes no longer than handing it to a thread.

A thread that commits competes with the event loop for the interpreter and for a processor while it keeps other
processes from writing; on a fast disk that costs more than the commit. On a slow one the event loop must not wait for
the disk. So what transactions have taken decides. It knows times, not databases.
"""

from __future__ import annotations

import time
from collections.abc import Callable

ALLOWED_S, ALLOWED_S_PER_ROW = 0.006, 0.00002
MOST_OWED_S = 0.05  # one may have brought a checkpoint of the log with it, or waited for a processor
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 64.0


class Promptness:
    """Remembers how long transactions have taken. After slow ones comes a pause, which doubles as long as they stay so.

    What one takes beyond what it may is owed, and paid back by those that take less: so a disk that is slow now and
    then is as slow as it is on average. One that is very slow owes enough by itself.

    >>> now = 0.0
    >>> disk = Promptness(lambda: now)
    >>> disk.took(0.02, rows=1)
    >>> disk.is_prompt
    True
    >>> disk.took(0.2, rows=1)
    >>> disk.is_prompt
    False
    >>> now = 1.0
    >>> disk.is_prompt
    True
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._owed_s = 0.0
        self._pause_s = SHORTEST_PAUSE_S
        self._resumed_at = clock()

    @property
    def is_prompt(self) -> bool:
        """Whether the next transaction may be made on the event loop."""
        return self._owed_s < MOST_OWED_S or self._clock() >= self._resumed_at

    def took(self, seconds: float, rows: int) -> None:
        """A transaction on the event loop that wrote or read so many rows has taken so long, whatever came of it."""
        beyond_s = seconds - ALLOWED_S - rows * ALLOWED_S_PER_ROW
        self._owed_s = min(max(self._owed_s + beyond_s, 0.0), MOST_OWED_S)
        if self._owed_s == 0.0:
            self._pause_s = SHORTEST_PAUSE_S
        elif self._owed_s == MOST_OWED_S:
            self._resumed_at = self._clock() + self._pause_s
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
