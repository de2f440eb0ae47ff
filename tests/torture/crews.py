"""The processes of one round: each works and starts its share of the runs, and is replaced when it dies.

A crew takes a snapshot whenever one has died, and remembers how those ended that nobody has killed.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.crashes.processes import Life
from tests.crashes.processes import life as living
from tests.torture import journal
from tests.torture.evidence import Evidence, Known, Snapshot, Story, has_work, leases_of_the_dead, snapshot
from tests.torture.places import Place
from tests.torture.programs import Orders, Start, Ticks, hold_up, let_go, serve

PATIENCE_S = 60.0
PAUSE_S = 0.01
GLANCE_S = 0.2
PACE_S = 0.1  # so that there is work while things happen

Shares = Sequence[tuple[Start, ...]]


class Crew:
    """Processes on one database, whose journal and logs are in ``folder``."""

    def __init__(
        self, place: Place, folder: Path, shares: Shares, *, lease_s: float, pace_s: float, ticks: Ticks | None = None
    ) -> None:
        self.place = place
        self.orders = Orders(place, folder, lease_s=lease_s, pace_s=pace_s, ticks=ticks)
        self.shares = shares
        self.lives: list[Life] = [self._born(number) for number in range(len(shares))]
        self.snapshots: list[Snapshot] = []
        self.exits: list[tuple[int, int | None]] = []
        self.kills = 0

    def _born(self, number: int) -> Life:
        """Start a process."""
        work = number in self.workers
        return Life(serve, dataclasses.replace(self.orders, share=self.shares[number], work=work))

    @property
    def workers(self) -> range:
        """Those that work. The last only submits, unless it is alone."""
        return range(max(1, len(self.shares) - 1))

    def await_ready(self) -> None:
        """Wait until everybody has opened the database."""
        self.until(lambda: {life.pid for life in self.lives} <= {line["pid"] for line in self.lines("ready")})
        self.look()

    def lines(self, kind: str | None = None) -> list[journal.Line]:
        return journal.lines(self.orders.journal, kind)

    def kill(self, number: int) -> int:
        """Kill a process, look at what it leaves behind, and start another in its place; return its id."""
        pid = self.lives[number].pid
        self._has_gone(number)
        self.lives[number].kill()
        self.kills += 1
        self.look()
        self.lives[number] = self._born(number)
        return pid

    def freeze(self, number: int) -> int:
        """Stop a process wherever it is; return its id. One that has ended by itself is replaced before."""
        if self._has_gone(number):
            self.lives[number] = self._born(number)
        os.kill(self.lives[number].pid, signal.SIGSTOP)
        return self.lives[number].pid

    def thaw(self, number: int) -> None:
        self.lives[number].thaw()

    def hold_up(self, for_s: float) -> bool:
        """Have another process pause every run and let it go on, but kill it after a while; say if it was.

        Whatever it has left paused is let go.
        """
        orders = dataclasses.replace(self.orders, work=False)
        with living(hold_up, orders) as holding:
            was_killed = not self.until(lambda: not holding.is_alive(), within_s=for_s)
        with living(let_go, orders) as letting_go:
            letting_go.end()
        return was_killed

    def look(self) -> None:
        """Take a snapshot."""
        self.snapshots.append(snapshot(self.place, self.orders.journal))

    def _has_gone(self, number: int) -> bool:
        """Remember a process that has ended by itself, which none should; return whether it has."""
        life = self.lives[number]
        if life.is_alive():
            return False
        self._ended(life)
        return True

    def _ended(self, life: Life) -> None:
        """Remember how one has ended. What it says itself counts: the system gives its exit code to one thread only."""
        code = life.end()
        has_left = any(line["pid"] == life.pid for line in self.lines("left"))
        self.exits.append((life.pid, 0 if has_left else code))

    def until(self, holds: Callable[[], bool], within_s: float = PATIENCE_S) -> bool:
        """Wait until something holds, but not for ever; return whether it does."""
        end = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > end:
                return False
            time.sleep(PAUSE_S)
            self.glance()
        return True

    def glance(self) -> None:
        """Take a snapshot if the last is not of just now."""
        if self.snapshots and self.snapshots[-1].at < time.time() - GLANCE_S:
            self.look()

    def has_ended(self) -> bool:
        """Whether every run was started and has ended, nothing is to fire, and no lease is left of the dead."""
        if not {life.pid for life in self.lives} <= {line["pid"] for line in self.lines("started")}:
            return False
        return not has_work(self.place) and not leases_of_the_dead(self.place)

    def leave(self) -> None:
        """Have everybody leave in order, and remember who did not."""
        self.orders.leave.touch()
        for life in self.lives:
            self._ended(life)

    def close(self) -> None:
        """See to it that all are gone."""
        for life in self.lives:
            life.kill()

    def evidence(self, expected: dict[Known, Story]) -> Evidence:
        """Return all that is known now."""
        return Evidence(self.place, self.lines(), expected, self.snapshots, self.exits)


@contextmanager
def crew(
    place: Place, folder: Path, shares: Shares, *, lease_s: float, pace_s: float = PACE_S, ticks: Ticks | None = None
) -> Iterator[Crew]:
    """A crew that does not outlive the block."""
    started = Crew(place, folder, shares, lease_s=lease_s, pace_s=pace_s, ticks=ticks)
    try:
        yield started
    finally:
        started.close()
