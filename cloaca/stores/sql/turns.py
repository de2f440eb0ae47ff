"""Whose turn it is to write, among the threads and coroutines of one process: first come, first served.

It knows futures, not what is written.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from threading import Lock

Turn = Future[None]


class Turns:
    """One turn at a time. A turn that is cancelled before it came is passed over."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: deque[Turn] = deque()
        self._holder: object = None

    def ask(self) -> Turn:
        """Return a turn: it is done once it has come. Whoever had it must ``leave``."""
        turn: Turn = Future()
        with self._lock:
            if self._holder is not None:
                self._waiting.append(turn)
                return turn
            self._holder = turn
        turn.set_result(None)
        return turn

    def take(self, holder: object) -> bool:
        """Take the turn if nobody has it, and nobody waits; return whether that worked: then ``is_held_by`` says so."""
        with self._lock:
            if self._holder is not None:
                return False
            self._holder = holder
        return True

    def is_held_by(self, holder: object) -> bool:
        """Whether ``holder`` has taken the turn and not left it."""
        return self._holder is holder

    def leave(self) -> None:
        """Give the turn to who has waited longest."""
        while True:
            with self._lock:
                turn = self._waiting.popleft() if self._waiting else None
                self._holder = turn
            if turn is None:
                return
            if turn.set_running_or_notify_cancel():
                turn.set_result(None)
                return

    def give_up(self, turn: Turn) -> None:
        """Be done with a turn, whether it has come or not."""
        if not turn.cancel():
            self.leave()
