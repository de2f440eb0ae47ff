"""A thread that looks for news of other processes on a SQLite file: often after there was some, less often else.

It wakes whoever wants to know, on their event loop. A thread that sleeps costs half of what a timer of the event loop
does. It knows how to ask whether there is news, not what it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from threading import Event, Lock, Thread

Wake = Callable[[], None]

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.06  # so that news is heard after 10 to 30 ms on average
GROWTH = 1.05
DEAD_CHECK_S = 1.0


class Watcher:
    """Asks ``has_news`` as long as somebody watches, and once a second whether a peer ``has_died``.

    Make it, and call its methods, on the event loop; what it is given is asked on the thread.
    """

    def __init__(self, has_news: Callable[[], bool], has_died: Callable[[], bool]) -> None:
        self._has_news, self._has_died = has_news, has_died
        self._loop = asyncio.get_running_loop()
        self._wakes: list[Wake] = []
        self._asking = Lock()
        self._stopped: Event | None = None  # of the thread that looks

    def add(self, wake: Wake) -> None:
        """Call ``wake`` from now on."""
        self._wakes.append(wake)
        if self._stopped is None:
            self._stopped = Event()
            Thread(target=self._watch, args=(self._stopped,), name="cloaca-watcher", daemon=True).start()

    def remove(self, wake: Wake) -> None:
        """Call ``wake`` no more; nothing if it is not called."""
        if wake in self._wakes:
            self._wakes.remove(wake)
        if not self._wakes:
            self.stop()

    def stop(self) -> None:
        """Ask nothing more once this has returned; the thread ends by itself soon. Idempotent."""
        self._wakes.clear()
        if self._stopped is not None:
            with self._asking:
                self._stopped.set()
            self._stopped = None

    def _watch(self, stopped: Event) -> None:
        pause, checked_at = SHORTEST_PAUSE_S, 0.0
        while True:
            time.sleep(pause)
            checks = time.monotonic() >= checked_at + DEAD_CHECK_S
            if checks:
                checked_at = time.monotonic()
            with self._asking:
                if stopped.is_set():
                    return
                news = self._has_news()
                died = checks and self._has_died()
            pause = SHORTEST_PAUSE_S if news else min(pause * GROWTH, LONGEST_PAUSE_S)
            if news or died:
                with contextlib.suppress(RuntimeError):  # a loop that was closed before its stores
                    self._loop.call_soon_threadsafe(self.tell)

    def tell(self) -> None:
        """Wake everybody, now."""
        for wake in list(self._wakes):
            wake()
