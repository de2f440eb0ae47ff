"""The system's clock. Tests have others."""

import time


class SystemClock:
    """The wall clock."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()
