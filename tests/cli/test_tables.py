"""What people see fits 80 columns, whatever the names are; and it is coloured only where somebody looks at it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.cli.conftest import Answer, Shell

Command = Callable[..., Answer]
NAME = "a schedule with a name that says all about it, in 日本語 too"
ESCAPE = "\x1b["

JOBS = """
from pydantic import BaseModel
from cloaca import Workflow, task

class Day(BaseModel):
    day: int = 1

@task(name="a_very_long_name_of_a_task_that_says_all_that_it_does_and_more_than_fits_on_one_line_of_a_terminal")
def long(day: Day) -> None: ...

@task(name="größe_日本語の名前_🚀_日本語の名前_🚀_日本語の名前_🚀_日本語の名前")
def wide(day: Day) -> None: ...

@task
def last(day: Day) -> None:
    raise ValueError

wf = Workflow("a_workflow_whose_name_is_longer_than_anybody_would_ever_want_to_type_日本語の名前", long >> last >> wide)
"""


@pytest.fixture
def commands(cloaca: Command, here: Path) -> list[tuple[str, ...]]:
    """The commands that print tables, on a database full of names that are long and wide."""
    (here / "jobs.py").write_text(JOBS, encoding="utf-8")
    assert cloaca("run", "jobs.py:wf", "--input", "{}", "-q").code == 1
    [run] = cloaca("runs", "list", "--json").document
    add = ("schedules", "add", "jobs.py:wf", "--name", NAME, "--input", "{}")
    assert cloaca(*add, "--cron", "0 9 * * MON-FRI", "--timezone", "America/Argentina/ComodRivadavia").code == 0
    assert cloaca("schedules", "backfill", NAME, "2024-01-01", "2024-01-05").code == 0
    return [
        ("runs", "list"),
        ("runs", "show", run["id"]),
        ("schedules", "list"),
        ("schedules", "show", NAME),
        ("schedules", "history", NAME),
    ]


@pytest.mark.parametrize("columns", ["20", "80"])
def test_a_table_fits_80_columns(
    columns: str, cloaca: Command, commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal that is narrower breaks the lines: an id that is cut off would be of no use, nor a file in a trace."""
    monkeypatch.setenv("COLUMNS", columns)
    for command in commands:
        answer = cloaca(*command)
        assert answer.code == 0, answer.err
        too_long = [line for line in answer.lines() if cell_len(line) > 80 and " File " not in line]
        assert too_long == [], command


def test_what_is_worth_it_is_not_cut_off(cloaca: Command, commands: list[tuple[str, ...]]) -> None:
    runs, run, listed, shown, _ = (cloaca(*command).out for command in commands)
    assert commands[1][2] in runs
    assert "failed" in runs
    assert "ValueError" in run
    assert "".join(NAME.split()) in "".join(shown.split())
    assert [line.split()[-2:] for line in listed.splitlines()[1:]] != [["MON-FRI", "…"]]
    assert listed.splitlines()[1].split()[-1].count(":") == 2  # the time at which it fires next


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
    ids=["a pipe", "FORCE_COLOR", "both"],
)
def test_colours_are_for_terminals(environment: dict[str, str], coloured: bool, shell: Shell) -> None:
    (shell.directory / "jobs.py").write_text(JOBS, encoding="utf-8")
    assert shell("run", "jobs.py:wf", "--input", "{}", "-q").code == 1
    listed = shell("runs", "list", TERM="xterm-256color", **environment)
    assert "failed" in listed.out
    assert ("31mfailed" in listed.out) is coloured
    refused = shell("runs", "show", "1", TERM="xterm-256color", **environment)
    assert (f"{ESCAPE}1;31m" in refused.err) is coloured


def test_json_is_never_coloured(shell: Shell) -> None:
    (shell.directory / "jobs.py").write_text(JOBS, encoding="utf-8")
    assert shell("run", "jobs.py:wf", "--input", "{}", "-q").code == 1
    answer = shell("runs", "list", "--json", TERM="xterm-256color", FORCE_COLOR="1")
    assert ESCAPE not in answer.out
    assert answer.document[0]["status"] == "failed"
