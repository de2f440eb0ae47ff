"""What a look at a store finds: a run's history, what has come for it, kept results, whether there is work.

It knows rows, not how they are looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cloaca.ports.rows import AttemptRow, FailureRow, NoteRow, RunRow, SignalRow, TaskRow, WaitRow


class History(NamedTuple):
    """All that is stored about one run."""

    run: RunRow
    tasks: list[TaskRow]
    failures: list[FailureRow]
    attempts: list[AttemptRow]
    notes: list[NoteRow]
    waits: Sequence[WaitRow] = ()
    signals: Sequence[SignalRow] = ()
    children: Sequence[RunRow] = ()


class Arrivals(NamedTuple):
    """What has come for a run from outside: the signals that nobody has taken, oldest first, and its child runs."""

    run: int
    signals: list[SignalRow]
    children: list[RunRow]


class Cached(NamedTuple):
    """A result that was kept: by which run, for which task, and how many seconds ago."""

    key: str
    output: str
    run: int
    task: str
    age_s: float


@dataclass(frozen=True, slots=True)
class Poll:
    """What a look at the store found: whether runs wait to be claimed, and whether leases have run out.

    ``cancelling`` are the runs of the session that should stop, ``pausing`` those that should pause, known or not,
    ``roused`` those for which something has come from outside. ``due``: the time of some parked runs has come.
    ``refused``: runs that other code could not go on with wait for the session to try, see ``claim_refused``.
    ``lapse_s`` is in how many seconds the first lease of another session runs out, unless it is renewed; None if there
    is no other. ``firings`` says that claimed firings wait for somebody to hand them over, ``due_s`` in how many
    seconds the first schedule is due, None if there is none.
    """

    claimable: bool
    suspects: bool
    expired: bool
    cancelling: list[int]
    pausing: frozenset[int] = frozenset()
    roused: frozenset[int] = frozenset()
    due: bool = False
    lapse_s: float | None = field(default=None, compare=False)
    firings: bool = False
    due_s: float | None = field(default=None, compare=False)
    refused: bool = False
