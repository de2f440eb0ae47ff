"""What one transaction writes for many runs at once, and what became of it.

It knows rows and whose they must be, not in which order a store writes them, nor who shares the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from cloaca.ports.rows import (
    AttemptRow,
    CacheRow,
    ClosingRow,
    EndRow,
    FailureRow,
    MoveRow,
    NewRun,
    NoteRow,
    PlanRow,
    TaskRow,
    WaitRow,
)


@dataclass(slots=True)
class Batch:
    """Everything that one transaction writes, for many runs at once.

    ``session`` fences: if it is gone, nothing is written. ``replay`` says that the same rows may have been committed
    already, by a try whose answer was lost: a row that is there is left as it is.

    ``renew_until`` renews the session's lease, and makes it no shorter than it is: the batch may have waited for its
    turn while leases were lengthened. A time before ``at`` ends the lease.

    ``held``, if given, are all runs that the session drives. Whatever else it owns before ``runs`` are added, it owns
    without knowing it, because the answer to a commit or a claim was lost: such a run is given back as by
    ``close_session``, before anything else is written.

    ``absolved`` are runs of an earlier session that was taken for dead though its worker lived: each one's ``crashes``
    is one less, unless it is 0 or the run has ended. A run counts as often as it is named, whoever drives it now.

    ``settled`` are shown attempts that have ended, ``freed`` the tickets of slots that are held or wanted no more.

    ``heard`` are runs that the session knows it should pause. ``released`` are runs of which no attempt is in flight:
    they are given back as by ``close_session``, at ``at``, after everything else is written.

    ``waits`` have begun. ``taken`` are signals that a node of their run has taken: run, signal, node. ``children`` are
    new runs like ``runs``, left out if their parent is not this session's. ``roused`` are runs of which a child run
    ends in this batch: whoever drives them is told, parked ones wait for a worker. ``forsaken`` are runs that end in
    this batch and may have child runs: those that have not ended, and theirs, are cancelled, or asked to stop.
    ``parked`` are runs that only wait, each with its ``wake_at``: they have no owner from then on. One for which
    something has come meanwhile is given back as if it were ``released``.

    ``cached`` are kept from ``at`` on, each in place of what its key had before.

    ``moved`` are runs that go on with other code, whose plans are in ``plans``.
    """

    session: int
    at: float = 0.0
    renew_until: float | None = None
    replay: bool = False
    held: list[int] | None = None
    absolved: list[int] = field(default_factory=list)
    plans: list[PlanRow] = field(default_factory=list)
    runs: list[NewRun] = field(default_factory=list)
    tasks: list[TaskRow] = field(default_factory=list)
    failures: list[FailureRow] = field(default_factory=list)
    attempts: list[AttemptRow] = field(default_factory=list)
    settled: list[tuple[int, str]] = field(default_factory=list)
    freed: list[int] = field(default_factory=list)
    notes: list[NoteRow] = field(default_factory=list)
    closings: list[ClosingRow] = field(default_factory=list)
    cached: list[CacheRow] = field(default_factory=list)
    ends: list[EndRow] = field(default_factory=list)
    heard: list[int] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    waits: list[WaitRow] = field(default_factory=list)
    taken: list[tuple[int, int, str]] = field(default_factory=list)
    children: list[NewRun] = field(default_factory=list)
    roused: list[int] = field(default_factory=list)
    forsaken: list[int] = field(default_factory=list)
    parked: list[tuple[int, float | None]] = field(default_factory=list)
    moved: list[MoveRow] = field(default_factory=list)

    @property
    def ends_lease(self) -> bool:
        """Whether the batch ends the lease of its session, where it says anything of it."""
        return self.renew_until is not None and self.renew_until < self.at

    def renewed(self, until: float) -> float:
        """Return until when the lease runs once the batch is written, if it ran ``until`` then."""
        if self.renew_until is None:
            return until
        return self.renew_until if self.ends_lease else max(until, self.renew_until)

    def touched(self) -> set[int]:
        """Return the runs that must still be this session's for their rows to count."""
        groups: tuple[Sequence[tuple[Any, ...]], ...] = (
            self.tasks, self.failures, self.attempts, self.closings, self.cached, self.ends, self.waits, self.taken,
            self.moved,
        )  # fmt: skip
        parents = {child.parent for child in self.children if child.parent is not None}
        return parents.union(row[0] for rows in groups for row in rows)  # the first column is the run's id

    def size(self) -> int:
        """Return how many rows the batch has."""
        return sum(
            len(rows)
            for rows in (getattr(self, each.name) for each in fields(self) if each.name != "held")
            if isinstance(rows, list)
        )

    def concerned(self) -> set[int]:
        """Return the stored runs of which the batch writes something that others can see."""
        return self.touched().union((note.run for note in self.notes), self.heard, self.released)


class Submitted(NamedTuple):
    """What became of a new run: ``id`` is an older one's if the key was taken; ``agrees``: its input is equal."""

    id: int
    created: bool
    agrees: bool


class Receipt(NamedTuple):
    """A committed batch: an answer for each new run, then each child run; and the runs that were not this session's.

    Rows of the latter were left out; of a child run that was left out, neither ``created`` nor ``agrees`` holds.
    """

    submitted: list[Submitted]
    disowned: frozenset[int]
