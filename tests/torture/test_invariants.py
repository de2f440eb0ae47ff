"""Each invariant finds what it is there to find, and no other finds it; each is on the guarantees page."""

from __future__ import annotations

import dataclasses
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.crashes.processes import Life
from tests.torture import journal
from tests.torture.evidence import COMMITS, Evidence, has_work, snapshot, stories
from tests.torture.invariants import INVARIANTS, violated
from tests.torture.places import File, Rows, copy
from tests.torture.programs import Orders, Start, Ticks, serve
from tests.torture.rounds import calm_world
from tests.torture.workflows import WORKFLOWS

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "guarantees.md"
PARTS = "FROM cloaca_task WHERE name = 'p4'"  # the fan's: it fails once
BIG = 2**62
TICKING_S = 8.0


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """What a process leaves behind that nothing has befallen."""
    folder = tmp_path_factory.mktemp("calm")
    share = tuple(Start(workflow.name, place, f"key {place}") for place, workflow in enumerate(WORKFLOWS))
    ticks = Ticks(1, "diamond", 1, 1.0, time.time() + TICKING_S)
    orders = Orders(File(folder / "runs.db"), folder, share, ends=True, ticks=ticks)
    life = Life(serve, orders)
    try:
        exits = [(life.pid, life.end())]
    finally:
        life.kill()
    moment = snapshot(orders.place, orders.journal)
    return Evidence(orders.place, journal.lines(orders.journal), calm_world(), [moment], exits)


@pytest.fixture
def seen(calm: Evidence, tmp_path: Path) -> Evidence:
    """The same, to be spoilt: its tables have no constraints."""
    place = copy(calm.place, tmp_path / "copy.db")
    lines = [dict(line) for line in calm.lines]
    return Evidence(place, lines, dict(calm.expected), list(calm.snapshots), list(calm.exits))


def change(seen: Evidence, *statements: str) -> None:
    assert isinstance(seen.place, File)
    with closing(sqlite3.connect(seen.place.path)) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement


def again(seen: Evidence, kind: str, **changes: Any) -> None:
    """Append a line like one that is there."""
    line = next(line for line in seen.of(kind) if line.get("task") in (None, "p4"))
    seen.lines.append({**line, **changes})


def spoil_snapshot(seen: Evidence, **changes: Any) -> None:
    seen.snapshots[-1] = dataclasses.replace(seen.snapshots[-1], **changes)


def a_run_is_lost(seen: Evidence) -> None:
    again(seen, "acknowledged", run="17")


def an_end_without_a_time(seen: Evidence) -> None:
    change(seen, "UPDATE cloaca_run SET finished_at = NULL WHERE workflow = 'fan'")


def a_failure_is_forgotten(seen: Evidence) -> None:
    """In the calm world, too: its story is no less odd."""
    for table in ("task", "failure"):
        change(seen, f"UPDATE cloaca_{table} SET attempt = attempt + 1 WHERE name = 'p4'")
    for line in seen.lines:
        if line.get("task") == "p4":
            line["attempt"] += 1
    _believe(seen)


def a_commit_has_vanished(seen: Evidence) -> None:
    spoil_snapshot(seen, commits=seen.snapshots[-1].commits | {(BIG, "p4", "succeeded", 1, 1, "{}")})


def a_commit_out_of_nothing(seen: Evidence) -> None:
    seen.lines[:] = [line for line in seen.lines if (line["kind"], line.get("task")) != ("done", "p4")]


def a_firing_is_left_out(seen: Evidence) -> None:
    second = "SELECT scheduled_for FROM cloaca_firing ORDER BY scheduled_for LIMIT 1 OFFSET 1"
    change(seen, f"DELETE FROM cloaca_firing WHERE scheduled_for IN ({second})")


def a_run_is_stuck(seen: Evidence) -> None:
    change(seen, "UPDATE cloaca_run SET status = 'blocked', finished_at = NULL WHERE workflow = 'fan'")
    _believe(seen)


def another_key(seen: Evidence) -> None:
    again(seen, "done", key="another")


def a_dead_worker_keeps_its_lease(seen: Evidence) -> None:
    change(seen, f"INSERT INTO cloaca_session (id, name) VALUES (7, 'here:{2**22 + 1}')")


def an_attempt_is_still_shown(seen: Evidence) -> None:
    change(seen, f"INSERT INTO cloaca_attempt (run_id, name) SELECT run_id, name {PARTS}")


def a_process_has_given_up(seen: Evidence) -> None:
    seen.exits.append((1, 1))


def a_successor_was_too_early(seen: Evidence) -> None:
    late = {row for row in seen.snapshots[-1].commits if row[1] == "opens"}
    spoil_snapshot(seen, commits=seen.snapshots[-1].commits - late)


def a_paused_run_goes_on(seen: Evidence) -> None:
    place, line = next((place, line) for place, line in enumerate(seen.lines) if line["kind"] == "began")
    seen.lines.insert(place, {"kind": "paused", "run": line["run"]})


def a_committed_task_runs_again(seen: Evidence) -> None:
    again(seen, "began", since=seen.snapshots[-1].at + 1, session=2)


def a_task_is_committed_twice(seen: Evidence) -> None:
    change(seen, f"INSERT INTO cloaca_task SELECT * {PARTS}")


def a_body_begins_twice(seen: Evidence) -> None:
    again(seen, "began")


def an_attempt_fails_twice(seen: Evidence) -> None:
    change(seen, "INSERT INTO cloaca_failure SELECT * FROM cloaca_failure WHERE name = 'p4'")


def a_key_has_two_runs(seen: Evidence) -> None:
    change(seen, "UPDATE cloaca_run SET key = 'key', workflow = 'fan'")
    _believe(seen)


def an_owner_without_a_lease(seen: Evidence) -> None:
    change(seen, "UPDATE cloaca_run SET owner = 99 WHERE workflow = 'fan'")


def a_predecessor_ends_late(seen: Evidence) -> None:
    change(seen, "UPDATE cloaca_task SET finished_at = finished_at + 1000 WHERE name = 'opens'")


def another_result(seen: Evidence) -> None:
    change(seen, "UPDATE cloaca_failure SET message = 'another' WHERE name = 'p4'")


def a_row_without_a_run(seen: Evidence) -> None:
    change(seen, f"INSERT INTO cloaca_note VALUES (1, {BIG}, 0, 'run_recovered', NULL, '')")


def a_page_is_torn(seen: Evidence) -> None:
    """A table that is not null where it must not be: SQLite's own check finds it."""
    assert isinstance(seen.place, File)
    with closing(sqlite3.connect(seen.place.path)) as connection, connection:
        connection.execute("CREATE TABLE torn (a)")
        connection.execute("INSERT INTO torn VALUES (NULL)")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = 'CREATE TABLE torn (a NOT NULL)' WHERE name = 'torn'")


def _believe(seen: Evidence) -> None:
    """Take the database as it is for what was to be expected, and for what was seen."""
    seen.expected = dict(stories(seen.place).values())
    spoil_snapshot(seen, commits=frozenset(seen.ask(COMMITS)))


SPOILT: dict[str, Callable[[Evidence], None]] = {
    "acknowledged-runs-kept": a_run_is_lost,
    "an-end-has-a-time": an_end_without_a_time,
    "attempts-go-up": a_failure_is_forgotten,
    "commits-are-kept": a_commit_has_vanished,
    "every-commit-was-executed": a_commit_out_of_nothing,
    "every-firing-runs-once": a_firing_is_left_out,
    "every-run-ends": a_run_is_stuck,
    "idempotency-keys-are-stable": another_key,
    "leases-belong-to-the-living": a_dead_worker_keeps_its_lease,
    "no-attempt-is-left-over": an_attempt_is_still_shown,
    "no-process-gives-up": a_process_has_given_up,
    "nothing-begins-before-its-commit": a_successor_was_too_early,
    "nothing-begins-while-paused": a_paused_run_goes_on,
    "nothing-runs-after-its-commit": a_committed_task_runs_again,
    "one-commit-per-task": a_task_is_committed_twice,
    "one-execution-per-claim": a_body_begins_twice,
    "one-failure-per-attempt": an_attempt_fails_twice,
    "one-run-per-key": a_key_has_two_runs,
    "owners-hold-a-lease": an_owner_without_a_lease,
    "predecessors-come-first": a_predecessor_ends_late,
    "results-are-undisturbed": another_result,
    "rows-belong-to-runs": a_row_without_a_run,
    "the-database-is-sound": a_page_is_torn,
}


def test_a_calm_world_keeps_them_all(seen: Evidence) -> None:
    assert violated(seen) == {}


def test_each_has_something_that_spoils_it() -> None:
    assert SPOILT.keys() == INVARIANTS.keys()


@pytest.mark.parametrize("name", SPOILT)
def test_each_finds_what_it_is_for_and_only_that(seen: Evidence, name: str) -> None:
    SPOILT[name](seen)
    assert list(violated(seen)) == [name]


def test_the_guarantees_page_has_them_all() -> None:
    """Each with the first sentence that it has in the code; and no other."""
    told = dict(re.findall(r"^\| `([a-z-]+)` \| (.+?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    said = {
        name: (holds.__doc__ or "").strip().splitlines()[0].replace("``", "`") for name, holds in INVARIANTS.items()
    }
    assert told == said


def test_the_tests_that_the_guarantees_page_names_are_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE.read_text(encoding="utf-8"))
    assert named
    for file, test in named:
        path = PAGE.parents[2] / file
        assert path.exists(), file
        assert not test or f"def {test}(" in path.read_text(encoding="utf-8"), (file, test)


class FiresNext(File):
    """A database where a schedule fires for the last time, and starts its run, once anything was asked."""

    def ask(self, statement: str) -> Rows:
        found = super().ask(statement)
        with closing(sqlite3.connect(self.path)) as connection, connection:
            if connection.execute("UPDATE cloaca_schedule SET next_at = NULL WHERE next_at IS NOT NULL").rowcount:
                connection.execute("UPDATE cloaca_run SET status = 'pending' WHERE schedule IS NOT NULL")
        return found


def test_a_run_that_is_just_being_started_is_work_to_do(seen: Evidence) -> None:
    assert isinstance(seen.place, File)
    assert not has_work(seen.place)
    change(seen, "UPDATE cloaca_schedule SET next_at = 1.0")
    moving = FiresNext(seen.place.path)
    assert has_work(moving)
    assert has_work(moving)
