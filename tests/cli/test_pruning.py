"""``cloaca db prune``: what ended long ago goes, what has not ended stays."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from tests.cli.conftest import Command

URL = ["--database", "sqlite:///runs.db"]


@pytest.fixture
def three(cloaca: Command, here: Path) -> list[str]:
    """The ids of three runs: one ended forty days ago, one forty hours, one just now."""
    runs = []
    for number, age_h in enumerate((40 * 24, 40, 0)):
        answer = cloaca("run", "jobs", "--input", f'{{"order_id": {number}}}', "--key", f"k{number}", "--json", *URL)
        runs.append(answer.document["run_id"])
        with closing(sqlite3.connect(here / "runs.db")) as connection, connection:
            connection.execute(
                "UPDATE cloaca_run SET finished_at = finished_at - ? WHERE id = ?", (age_h * 3600, runs[-1])
            )
    return runs


def test_what_is_older_is_deleted(cloaca: Command, three: list[str]) -> None:
    answer = cloaca("db", "prune", "--older-than", "30d", *URL)
    assert (answer.code, answer.out, answer.err) == (0, "deleted 1 run\n", "")
    assert [run["id"] for run in cloaca("runs", "list", "--json", *URL).document] == [three[2], three[1]]
    answer = cloaca("db", "prune", "--older-than", "1d", "--json", *URL)
    assert answer.document["deleted"] == 1
    assert abs(datetime.fromisoformat(answer.document["ended_before"]).timestamp() - (time.time() - 86_400)) < 60
    assert cloaca("db", "prune", "--older-than", "0s", *URL).out == "deleted 1 run\n"
    assert cloaca("db", "prune", "--older-than", "0s", *URL).out == "deleted 0 runs\n"
    again = cloaca("run", "jobs", "--input", '{"order_id": 9}', "--key", "k0", "--json", *URL)
    assert (again.code, again.document["run_id"] in three) == (0, False)


@pytest.mark.parametrize("age", ["", "30", "d", "-1d", "30 days", "1e3d", "999999999w", "٣d"])
def test_what_is_no_age_is_usage(cloaca: Command, age: str) -> None:
    answer = cloaca("db", "prune", "--older-than", age, *URL)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: --older-than: ")


def test_there_is_no_default_age(cloaca: Command) -> None:
    answer = cloaca("db", "prune", *URL)
    assert answer.code == 2
    assert "Missing option '--older-than'" in answer.err


def test_nothing_is_made_of_a_mistyped_path(cloaca: Command, here: Path) -> None:
    assert cloaca("db", "prune", "--older-than", "30d", "--database", "sqlite:///nosuch.db").code == 4
    assert not (here / "nosuch.db").exists()
