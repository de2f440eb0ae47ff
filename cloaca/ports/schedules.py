"""Schedules and the ledger of their firings, and who keeps both.

It knows instants that are given, not how they follow from a cron expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from cloaca.ports.rows import NewRun, PlanRow

MOST_HANDOVERS = 5


class ScheduleRow(NamedTuple):
    """A schedule: one of ``cron`` (in ``timezone``), ``every_s`` and ``at``, between ``start_at`` and ``end_at``.

    ``next_at`` is the first nominal instant that has not been claimed, ``due_at`` when it is to fire, both None while
    the schedule is paused or if there is none; ``last_at`` the last that was claimed or passed over. ``missed`` counts
    those passed over. ``revision`` changes with every change.
    """

    name: str
    workflow: str
    input: str | None
    cron: str | None
    timezone: str
    every_s: float | None
    at: float | None
    start_at: float | None
    end_at: float | None
    catchup: str
    overlap: str
    jitter_s: float
    paused: bool
    next_at: float | None
    due_at: float | None
    last_at: float | None
    missed: int
    revision: int
    created_at: float
    updated_at: float


class FiringRow(NamedTuple):
    """A firing in the ledger: unique by ``schedule`` and nominal instant.

    ``state`` is ``claimed``, ``handed_over`` or ``skipped``; ``kind`` ``schedule``, ``backfill`` or ``now``. ``owner``
    is the session that hands it over, ``attempts`` how many did. No more than ``at_most`` runs of its schedule may go
    on at once, None for any number; one that is ``parked`` waits for that. ``handed_at`` is also when it was skipped.
    """

    schedule: str
    scheduled_for: float
    workflow: str
    state: str
    kind: str
    run: int | None
    owner: int | None
    attempts: int
    overlap: str
    at_most: int | None
    parked: bool
    claimed_at: float
    handed_at: float | None


class Move(NamedTuple):
    """A schedule that moves on from ``revision``: what it fires, what it passes over, when it is due next."""

    schedule: str
    workflow: str
    revision: int
    fired: tuple[float, ...]
    overlap: str
    missed: int
    last_at: float
    next_at: float | None
    due_at: float | None

    @property
    def at_most(self) -> int | None:
        """How many runs of the schedule may go on at once."""
        return 1 if self.overlap == "queue" else None


class Taken(NamedTuple):
    """A claimed firing that a session is to hand over, and the input of its run."""

    schedule: str
    scheduled_for: float
    workflow: str
    input: str | None


class FiringCount(NamedTuple):
    """How many firings of a schedule are in ``state``, their runs in ``status``; ``late`` of them came too late."""

    state: str
    status: str | None
    number: int
    late: int


class ScheduleStore(Protocol):
    """The part of a store that knows schedules and their firings. It promises what a ``Store`` promises."""

    async def put_schedule(self, row: ScheduleRow, seen: int | None) -> bool:
        """Store a new schedule, with ``seen`` None, or change one of which ``seen`` is the revision.

        Nothing is done, and False returned, if it is not as seen.
        """
        ...

    async def drop_schedule(self, name: str) -> bool:
        """Delete a schedule with its firings; its runs stay. Return False if there is none."""
        ...

    async def schedule(self, name: str) -> ScheduleRow | None:
        """Return a schedule."""
        ...

    async def schedules(self, *, after: str | None, limit: int) -> list[ScheduleRow]:
        """Return schedules by name; ``after`` is a name, for the next page."""
        ...

    async def firings(self, schedule: str, *, before: float | None, limit: int) -> list[FiringRow]:
        """Return the firings of a schedule, the latest first; ``before`` is a nominal instant, for the next page."""
        ...

    async def firing_counts(self, schedule: str, late_s: float) -> list[FiringCount]:
        """Count the firings of a schedule, by state and status; late is what was handed over after ``late_s``."""
        ...

    async def due(self, workflows: Sequence[str], at: float, limit: int) -> tuple[float, list[ScheduleRow]]:
        """Return the time, by the clock of the leases, and the schedules of these workflows that were due first."""
        ...

    async def fire(self, session: int, moves: Sequence[Move], at: float) -> list[tuple[str, float]]:
        """Claim firings for a session and move their schedules on, fenced; return the firings that are new.

        A schedule that is not of the revision that was seen does not move, and fires nothing.
        """
        ...

    async def add_firings(
        self, schedule: str, instants: Sequence[float], *, kind: str, at_most: int | None, at: float
    ) -> int | None:
        """Claim firings for whoever hands them over; return how many are new, None if there is no such schedule.

        Those that have been given up after ``MOST_HANDOVERS`` attempts count as new.
        """
        ...

    async def take_firings(self, session: int, workflows: Sequence[str], limit: int) -> list[Taken]:
        """Make a session the owner of claimed firings that no living session has, or that it has itself; fenced.

        The first of each schedule come first. One that is parked is left unless its run may start now, one that has
        cost ``MOST_HANDOVERS`` sessions their lives for good.
        """
        ...

    async def hand_over(
        self, session: int, plans: Sequence[PlanRow], runs: Sequence[NewRun], at: float
    ) -> list[str | None]:
        """Start the runs of claimed firings of a session, fenced; return the state of each firing, None if not its own.

        Those that no other run stops come first. If a run of the schedule goes on, ``skip`` makes the firing
        ``skipped``, and ``cancel`` cancels those runs as ``cancel`` does. One that would be the second, or more than
        ``at_most``, counting earlier firings that are still claimed, is parked: it stays ``claimed``, for anybody.
        """
        ...
