"""Whether a transaction may be made on the event loop: as long as that takes no longer than handing it to a thread.

A thread that commits competes with the event loop for the interpreter and for a processor while it keeps other
processes from writing; on a fast disk that costs more than the commit. On a slow one the event loop must not wait for
the disk. So what transactions have taken decides. It knows times, not databases.
"""

from __future__ import annotations

import time
from collections.abc import Callable

ALLOWED_S, ALLOWED_S_PER_ROW = 0.006, 0.00002
MOST_SLOW = 3  # in a row: one may have brought a checkpoint of the log with it, or waited for a processor
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 64.0


class Promptness:
    """Remembers how long transactions have taken. After slow ones comes a pause, which doubles as long as they stay so.

    >>> now = 0.0
    >>> disk = Promptness(lambda: now)
    >>> for _ in range(3):
    ...     disk.took(0.02, rows=1)
    >>> disk.is_prompt
    False
    >>> now = 1.0
    >>> disk.is_prompt
    True
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slow = 0
        self._pause_s = SHORTEST_PAUSE_S
        self._resumed_at = clock()

    @property
    def is_prompt(self) -> bool:
        """Whether the next transaction may be made on the event loop."""
        return self._slow < MOST_SLOW or self._clock() >= self._resumed_at

    def took(self, seconds: float, rows: int) -> None:
        """A transaction on the event loop that wrote or read so many rows has taken so long."""
        if seconds <= ALLOWED_S + rows * ALLOWED_S_PER_ROW:
            self._slow, self._pause_s = 0, SHORTEST_PAUSE_S
            return
        self._slow += 1
        if self._slow >= MOST_SLOW:
            self._resumed_at = self._clock() + self._pause_s
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
