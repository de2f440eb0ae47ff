"""What is known once the dust has settled: the database, the journal, what was seen on the way, and what was to come.

A snapshot is taken right after something has happened to a process: first the journal is read, then the database, so
that whatever the one knows of must be in the other. It knows tables and lines, not what must be true of them.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from tests.torture import journal
from tests.torture.journal import Line
from tests.torture.places import Place, Rows

FINAL = "('succeeded', 'failed', 'cancelled')"
RUNS = "SELECT id, workflow, input, status, plan FROM cloaca_run"
COMMITS = "SELECT run_id, name, status, attempt, session, output FROM cloaca_task"
UNFINISHED = f"SELECT id, workflow, status, owner, crashes FROM cloaca_run WHERE status NOT IN {FINAL}"
TO_COME = (
    "SELECT name, next_at FROM cloaca_schedule WHERE next_at IS NOT NULL "
    "UNION ALL SELECT schedule, scheduled_for FROM cloaca_firing WHERE state = 'claimed'"
)
FAILURES = "SELECT run_id, name, attempt, exception_type, message, error FROM cloaca_failure"

Known = tuple[str, str]  # a run by what decides how it goes: its workflow and its input


class Story(NamedTuple):
    """How a run went: its status, its tasks with status, attempt and output, its failures."""

    status: str
    commits: frozenset[tuple[Any, ...]]
    failures: frozenset[tuple[Any, ...]]


@dataclass(frozen=True)
class Snapshot:
    """What could be seen, all of it before ``at``. ``length`` is that of the journal, ``runs`` are by id."""

    length: int
    at: float
    runs: Mapping[int, Known]
    commits: frozenset[tuple[Any, ...]]


def snapshot(place: Place, path: Path) -> Snapshot:
    """Look at the journal, then at the database."""
    length = len(journal.lines(path))
    commits = frozenset(place.ask(COMMITS))
    runs = {run: (workflow, text) for run, workflow, text, *_ in place.ask(RUNS)}
    return Snapshot(length, time.time(), runs, commits)


def stories(place: Place) -> dict[int, tuple[Known, Story]]:
    """Tell how each run went."""
    commits, failures = defaultdict(set), defaultdict(set)
    for run, name, status, attempt, _, output in place.ask(COMMITS):
        commits[run].add((name, status, attempt, output))
    for run, *rest in place.ask(FAILURES):
        failures[run].add(tuple(rest))
    return {
        run: ((workflow, text), Story(status, frozenset(commits[run]), frozenset(failures[run])))
        for run, workflow, text, status, _ in place.ask(RUNS)
    }


def unfinished(place: Place) -> Rows:
    """Return the runs that have not ended."""
    return place.ask(UNFINISHED)


def to_come(place: Place) -> Rows:
    """Return what schedules are still to fire, and firings that nobody has handed over."""
    return place.ask(TO_COME)


def has_work(place: Place) -> bool:
    """Whether a run has not ended, or one is still to be started by a schedule.

    One statement asks for both: asked one after the other, a schedule may fire for the last time in between, and its
    run is in neither answer.
    """
    [(is_there,)] = place.ask(f"SELECT EXISTS ({UNFINISHED}) OR EXISTS ({TO_COME})")
    return bool(is_there)


def leases_of_the_dead(place: Place) -> Rows:
    """Return the sessions whose process is gone."""
    return [row for row in place.ask("SELECT id, name FROM cloaca_session") if not _lives(int(row[1].split(":")[-1]))]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@dataclass
class Evidence:
    """Everything that the invariants look at.

    ``expected`` is how each run goes in a calm world, ``exits`` how processes ended that nobody has killed.
    """

    place: Place
    lines: list[Line]
    expected: Mapping[Known, Story]
    snapshots: list[Snapshot] = field(default_factory=list)
    exits: list[tuple[int, int | None]] = field(default_factory=list)

    def ask(self, statement: str) -> Rows:
        return self.place.ask(statement)

    def of(self, kind: str) -> list[Line]:
        """Return the lines of a kind."""
        return [line for line in self.lines if line["kind"] == kind]

    @cached_property
    def predecessors(self) -> dict[int, dict[str, list[str]]]:
        """For each run, by name, the names of a node's predecessors."""
        plans = {digest: _edges(json.loads(spec)) for digest, spec in self.ask("SELECT digest, spec FROM cloaca_plan")}
        return {run: plans.get(plan, {}) for run, _, _, _, plan in self.ask(RUNS)}

    def runs_calmly(self, known: Known, name: str) -> bool:
        """Whether a task has a row in a calm world: it is neither skipped nor cancelled."""
        return known in self.expected and any(name == commit[0] for commit in self.expected[known].commits)


def _edges(spec: dict[str, Any]) -> dict[str, list[str]]:
    names = [node["name"] for node in spec["nodes"]]
    return {node["name"]: [names[pred] for pred in node["preds"]] for node in spec["nodes"]}
