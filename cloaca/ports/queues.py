"""Queues: their limits, the slots that sessions want or hold in them, and who gives slots out.

It knows no attempt: what a slot is used for is the affair of the session that holds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class QueueRow(NamedTuple):
    """The limits of a queue: ``concurrency`` attempts at a time, ``starts`` in any ``window_s``; None for no limit."""

    name: str
    concurrency: int | None
    starts: int | None
    window_s: float | None


class SlotRow(NamedTuple):
    """A place that a session wants, or holds, in a queue, for an attempt of ``task`` in ``run``.

    ``ticket`` is a number by which the session knows it, never used again. The row is the slot: there is no counter.
    """

    ticket: int
    queue: str
    priority: int
    run: int
    task: str


class Granted(NamedTuple):
    """What a session has come to: the tickets that hold a slot, and in how many seconds a queue's rate allows a start.

    ``due_s`` has the queues in which the session still waits and of which the rate is used up.
    """

    held: frozenset[int]
    due_s: dict[str, float]


class QueueStore(Protocol):
    """The part of a store that knows queues. It promises what a ``Store`` promises."""

    async def declare(self, queues: Sequence[QueueRow]) -> list[QueueRow]:
        """Set the limits of queues, which differ by name; return those that had other limits, as they were."""
        ...

    async def queues(self) -> list[QueueRow]:
        """Return every queue that was ever declared, by name."""
        ...

    async def acquire(self, session: int, wanted: Sequence[SlotRow], at: float) -> Granted:
        """Want slots for a session, beside those that it waits for already, and give those out that are free.

        In each queue in which the session waits, free slots are given to whoever waits first, in any session whose
        lease runs: to runs of the highest priority, and of them to the oldest. A queue that was never declared has no
        limits. A rate counts what is given: of ``starts`` + 1 in a row, the last is at least ``window_s`` after the
        first. A ticket that is known already is not wanted again. Slots are given out atomically.
        """
        ...
