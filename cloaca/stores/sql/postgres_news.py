"""What the processes on one schema of PostgreSQL tell each other, and who is woken by it.

"" is news for all: runs wait, or users want something of runs. "follow 7" is said by who follows run 7; from then on,
for a while, whoever writes about this run says "about 7". So nothing is announced that nobody wants to know: every
announcement takes a lock that all commits of the database share. It knows words, not connections.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeAlias

from cloaca.ports import FOLLOWED_S

Wake: TypeAlias = Callable[[], None]

FOLLOW, ABOUT = "follow", "about"
MOST_RUNS = 300  # in one announcement, of 8,000 bytes at most
# Whoever may connect to the database may announce whatever they like: so nothing that is heard may cost much.
NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
MOST_FOLLOWED = 10_000


class News:
    """Who is to be woken by what. ``now`` is a clock that is never set back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._watching: list[Wake] = []
        self._following: dict[int, list[Wake]] = {}
        self._asked_at: dict[int, float] = {}  # when this process last said that it follows a run
        self._followed: dict[int, float] = {}  # until when others follow a run

    def watch(self, wake: Wake) -> None:
        """Call ``wake`` when there is something to do."""
        self._watching.append(wake)

    def follow(self, run: int, wake: Wake) -> str | None:
        """Call ``wake`` when something is said about a run; return what to announce, if it is time to."""
        wakes = self._following.setdefault(run, [])
        if wake not in wakes:
            wakes.append(wake)
        if self._now() < self._asked_at.get(run, -FOLLOWED_S) + FOLLOWED_S / 2:
            return None
        self._asked_at[run] = self._now()
        return f"{FOLLOW} {run}"

    def unfollow(self, run: int, wake: Wake) -> None:
        """Call ``wake`` no more."""
        wakes = self._following.get(run, [])
        if wake in wakes:
            wakes.remove(wake)
        if not wakes:
            self._following.pop(run, None)
            self._asked_at.pop(run, None)

    def hear(self, said: str) -> None:
        """Wake whom it concerns."""
        word, _, rest = said.partition(" ")
        runs = [int(run) for run in rest.split()[:MOST_RUNS] if NUMBER.fullmatch(run)]
        if word == FOLLOW:
            self._followed.update((run, self._now() + FOLLOWED_S) for run in runs)
            while len(self._followed) > MOST_FOLLOWED:
                del self._followed[next(iter(self._followed))]
        elif word == ABOUT:
            self._wake(wake for run in runs for wake in self._following.get(run, ()))
        else:
            self._wake([*self._watching, *(wake for wakes in self._following.values() for wake in wakes)])

    @property
    def is_followed(self) -> bool:
        """Whether others follow any run."""
        return bool(self._followed)

    def about(self, runs: Iterable[int]) -> str | None:
        """Return what to announce with a commit about ``runs``, None if nobody follows any of them."""
        now = self._now()
        self._followed = {run: until for run, until in self._followed.items() if until > now}
        told = [str(run) for run in runs if run in self._followed][:MOST_RUNS]
        return f"{ABOUT} {' '.join(told)}" if told else None

    def _wake(self, wakes: Iterable[Wake]) -> None:
        for wake in list(wakes):
            wake()
