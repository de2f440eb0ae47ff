"""What ``--json`` prints is what the help of the command says, name by name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from typer.main import get_command

from cloaca import BlockingRunner, Workflow, task
from cloaca.cli.program import app
from tests.cli.conftest import Answer
from tests.cli.reference import commands

Command = Callable[..., Answer]

JOBS = """
from pydantic import BaseModel
from cloaca import Workflow, task, wait_for

class Day(BaseModel):
    day: int = 1

class Approval(BaseModel):
    by: str

@task
def report(day: Day) -> Day:
    if day.day == 13:
        raise OSError("no paper")
    return day

reports = Workflow("reports", report)
waits = Workflow("waits", wait_for(Approval), input=Day)
"""


class Day(BaseModel):
    day: int = 1


@task
def hold(day: Day) -> None: ...


# What the values of these are is the user's business, or another document's.
OPAQUE = {"input", "output", "error", "edges"}
SAME_AS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("schedules", "add"): ("schedules", "list"),
    ("schedules", "pause"): ("schedules", "list"),
    ("schedules", "resume"): ("schedules", "list"),
    ("schedules", "run"): ("schedules", "history"),
}
# ``runs show`` and ``schedules show`` print what their lists do, and more.
AND_ALSO: dict[tuple[str, ...], tuple[str, ...]] = {
    ("runs", "show"): ("runs", "list"),
    ("schedules", "show"): ("schedules", "list"),
}


def command(words: list[str]) -> Any:
    found: Any = get_command(app)
    for word in words:
        found = found.commands[word]
    return found


def has_json(words: list[str]) -> bool:
    return any("--json" in param.opts for param in command(words).params)


def documented(words: list[str]) -> set[str]:
    """The names of fields in the paragraph about ``--json`` of a command's help."""
    paragraphs = inspect.cleandoc(command(words).callback.__doc__).split("\n\n")
    told = [paragraph for paragraph in paragraphs if paragraph.removeprefix("\b\n").startswith("--json ")]
    assert len(told) == 1, f"the help of cloaca {' '.join(words)} does not say what --json prints"
    without_values = re.sub(r'\[\[.*?\]|: "\w+"', "", told[0])
    return set(re.findall(r'"(\w+)"', without_values))


def names(document: Any) -> Iterator[str]:
    """The names of all fields of a document, at any depth."""
    if isinstance(document, list):
        for each in document:
            yield from names(each)
    if isinstance(document, dict):
        for name, value in document.items():
            yield name
            if name not in OPAQUE:
                yield from names(value)


@pytest.mark.parametrize("words", [each for each in commands() if has_json(each)], ids=" ".join)
def test_the_help_says_what_json_is_printed(words: list[str]) -> None:
    assert documented(words) or tuple(words) in SAME_AS


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_can_print_json(words: list[str]) -> None:
    serves = {("ui",)}
    assert has_json(words) or tuple(words) in serves


@pytest.fixture
def documents(cloaca: Command, here: Path) -> dict[tuple[str, ...], Any]:
    """What each command has printed, on a database with a success, a failure, a wait and a schedule."""
    (here / "jobs.py").write_text(JOBS)
    (here / "wrong.py").write_text(JOBS.replace('Workflow("reports", report)', 'Workflow("reports", report >> report)'))
    target = "jobs.py:reports"
    failed = cloaca("run", target, "--input", '{"day": 13}', "--json").document
    done = cloaca("run", target, "--input", "{}", "--json").document
    add = ("schedules", "add", target, "--name", "daily", "--cron", "0 9 * * *", "--input", "{}", "--json")
    found: dict[tuple[str, ...], Any] = {("schedules", "add"): cloaca(*add).document}
    found[("run",)] = [failed, done]
    (here / "fewer.py").write_text(JOBS.partition("waits =")[0])
    with BlockingRunner("sqlite:///cloaca.db", work=False) as runner:
        runner.start(Workflow("waits", hold), Day())
    checked = [["jobs.py"], ["wrong.py"], ["none.py"], ["fewer.py", "--against", "sqlite:///cloaca.db"]]
    found[("check",)] = [cloaca("check", *each, "--json").document for each in checked]
    found[("graph",)] = cloaca("graph", target, "--json").document
    found[("runs", "list")] = cloaca("runs", "list", "--json").document
    show = ("runs", "show", failed["run_id"], "--json")
    succeeded = ("runs", "show", done["run_id"], "--target", target, "--json")
    found[("runs", "show")] = [cloaca(*show).document, cloaca(*succeeded).document]
    forked = cloaca("runs", "fork", done["run_id"], "--before", "report", "--json").document
    found[("runs", "fork")] = forked
    for action in ("pause", "resume", "cancel", "retry"):
        found[("runs", action)] = cloaca("runs", action, forked["id"], "--json").document
    found[("schedules", "run")] = cloaca("schedules", "run", "daily", "--json").document
    backfill = ("schedules", "backfill", "daily", "2024-01-01", "2024-01-05", "--json")
    found[("schedules", "backfill")] = cloaca(*backfill).document
    found[("schedules", "list")] = cloaca("schedules", "list", "--json").document
    for action in ("show", "history", "pause", "resume", "delete"):
        found[("schedules", action)] = cloaca("schedules", action, "daily", "--json").document
    found[("db", "prune")] = cloaca("db", "prune", "--older-than", "1h", "--json").document
    return found


def test_what_is_printed_is_what_the_help_says(documents: dict[tuple[str, ...], Any]) -> None:
    for words, document in documents.items():
        told = documented(list(SAME_AS.get(words, words)))
        if words in AND_ALSO:
            told |= documented(list(AND_ALSO[words]))
        printed = set(names(document))
        assert printed <= told, f"cloaca {' '.join(words)} prints {printed - told}, which its help does not say"
        top = document[0] if isinstance(document, list) else document
        assert top.keys() <= told
        absent = {"task", "field"} if words == ("runs", "show") else set()  # of ``waiting_for``, where it applies
        assert told - printed - OPAQUE - absent <= WHERE_THEY_APPLY.get(words, set()), words


# What a command prints only of another kind of thing than the documents above have.
WHERE_THEY_APPLY: dict[tuple[str, ...], set[str]] = {}
