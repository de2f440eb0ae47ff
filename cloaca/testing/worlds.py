"""What a simulation has come to: the outcome, what was committed and how often, and a trace that a person can read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from cloaca.algebra.outcomes import TaskFailure
from cloaca.interpreter.firings import Firing
from cloaca.testing.deviations import Scenario, TaskOrName, name_of

START = datetime(2030, 1, 1, tzinfo=UTC)  # when every simulation begins


class Line(NamedTuple):
    """One line of a trace: virtual seconds since the start, who, and what."""

    at_s: float
    who: str
    what: str


@dataclass(slots=True, eq=False)
class World:
    """A simulated execution of one run, at its end; for an invariant, so far.

    Attributes:
        input: what the run was started with.
        scenario: what went wrong.
        outcome: ``Success(output)`` or ``Failure(RunFailure)``; None as long as the run has not ended.
        context: every field that the input and the tasks have written.
        status: the run's status.
        now: virtual time; once the run has ended, when it did.
        statuses: the status of each task at the end, by name.
        failures: every failed attempt, in order.
        signals: the payload, as JSON, that each wait for a signal has taken, by name.
        tables: what tasks with a session have written by the end: the rows of each table, by name.
        ledger: the firings of each schedule, by name.

    >>> from cloaca import Workflow, sleep
    >>> from cloaca.testing import simulate
    >>> world = simulate(Workflow("naps", sleep(timedelta(days=30))))
    >>> isinstance(world, World), world.status, world.now - START
    (True, 'succeeded', datetime.timedelta(days=30))
    """

    input: Any
    scenario: Scenario
    outcome: Any = None
    context: Mapping[str, Any] = field(default_factory=dict)
    status: str = "pending"
    now: datetime = START
    statuses: Mapping[str, str] = field(default_factory=dict)
    failures: tuple[TaskFailure, ...] = ()
    at_work: Counter[str] = field(default_factory=Counter)  # bodies that have begun and not ended, by task
    signals: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    ledger: Mapping[str, tuple[Firing, ...]] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    begun: Counter[str] = field(default_factory=Counter)
    committed: Counter[str] = field(default_factory=Counter)
    sequence: list[str] = field(default_factory=list)  # what was committed, in order
    labels: Counter[str] = field(default_factory=Counter)  # how often each place of a commit was reached
    effects: Counter[str] = field(default_factory=Counter)  # effects by task
    violations: list[str] = field(default_factory=list)
    steps: int = 0

    def attempts(self, task: TaskOrName) -> int:
        """Return how often the body of a task began."""
        return self.begun[name_of(task)]

    def commits(self, task: TaskOrName) -> int:
        """Return how often a success of a task was committed: never more than once, or the engine is broken."""
        return self.committed[name_of(task)]

    def firings(self, name: str) -> list[Firing]:
        """Return the firings of a schedule, by nominal instant. Raises KeyError for one that is unknown."""
        return list(self.ledger[name])

    @property
    def elapsed(self) -> timedelta:
        """Virtual time since the start."""
        return self.now - START

    @property
    def trace(self) -> str:
        """What happened, line by line."""
        rows = [f"{_clock(line.at_s):>12}  {line.who:<8} {line.what}" for line in self.lines]
        return "\n".join([f"{'virtual':>12}  {'who':<8} what", *rows])

    def log(self, at_s: float, who: str, what: str) -> None:
        """Add a line to the trace."""
        self.lines.append(Line(at_s, who, what))


def _clock(seconds: float) -> str:
    """Write seconds as a person does.

    >>> _clock(0.5), _clock(90061.0)
    ('0.5s', '1d 01:01:01')
    """
    if seconds < 3600:  # noqa: PLR2004 - an hour
        return f"{seconds:.1f}s"
    days, rest = divmod(int(seconds), 86_400)
    clock = f"{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"
    return f"{days}d {clock}" if days else clock
