"""``cloaca worker``: what it serves, what it refuses, and the lines that it logs. Signals are in ``tests/crashes``."""

from __future__ import annotations

import gc
import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from unittest.mock import patch

import pytest

from cloaca.cli.logs import logging_to_stderr
from cloaca.cli.refusals import Exit, Refusal
from cloaca.cli.working import seldom_collected, triggers_at, workflows_at
from tests.cli.conftest import Command, Shell

TWO = "from jobs import *\nsecond = Workflow('second', fetch)\nthird = Workflow('third', fetch)\n"


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        (["jobs"], ["orders"]),
        (["two"], ["orders", "second", "third"]),
        (["two:second"], ["second"]),
        (["jobs.py", "two", "two:orders", "jobs:orders"], ["orders", "second", "third"]),
        (["makes:make"], ["made"]),
    ],
)
def test_what_it_serves(here: Path, targets: list[str], names: list[str]) -> None:
    (here / "two.py").write_text(TWO)
    (here / "makes.py").write_text("from jobs import *\ndef make() -> Workflow:\n    return Workflow('made', fetch)\n")
    assert [workflow.name for workflow in workflows_at(targets)] == names


def test_two_workflows_of_one_name_are_refused(here: Path) -> None:
    (here / "other.py").write_text("from jobs import *\norders = Workflow('orders', fetch)\n")
    with pytest.raises(
        Refusal, match='two different workflows are both named "orders": one in jobs, one in other'
    ) as e:
        workflows_at(["jobs", "other"])
    assert e.value.code is Exit.USAGE


ASKS = """
from jobs import *
from cloaca import Trigger
new = again = Trigger(orders, lambda: None)
other = Trigger(Workflow("hidden", fetch), lambda: None, every=60)
"""


@pytest.mark.parametrize(
    ("targets", "names", "asked"),
    [
        (["asks"], ["orders", "hidden"], ["orders", "hidden"]),
        (["asks:orders"], ["orders"], []),
        (["asks:other"], ["hidden"], ["hidden"]),
        (["asks", "asks:new", "jobs"], ["orders", "hidden"], ["orders", "hidden"]),
        (["jobs"], ["orders"], []),
    ],
)
def test_the_triggers_that_it_asks(here: Path, targets: list[str], names: list[str], asked: list[str]) -> None:
    (here / "asks.py").write_text(ASKS)
    assert [workflow.name for workflow in workflows_at(targets)] == names
    assert [trigger.name for trigger in triggers_at(targets)] == asked


def test_two_triggers_of_one_name_are_refused(here: Path) -> None:
    (here / "asks.py").write_text(ASKS + "third = Trigger(orders, lambda: None)\n")
    with pytest.raises(Refusal, match='two different triggers are both named "orders"') as refused:
        triggers_at(["asks"])
    assert refused.value.code is Exit.USAGE


def test_a_worker_starts_what_its_triggers_find(shell: Shell) -> None:
    (shell.directory / "asks.py").write_text(WATCHER)
    answer = shell("worker", "asks", "--database", "sqlite:///runs.db")
    assert (answer.code, answer.out) == (0, "loaded a.csv\n")
    assert "Asks what there is to do for loading every 0.1 seconds" in answer.err


WATCHER = """
import os, signal
from pydantic import BaseModel
from cloaca import Trigger, Workflow, task

class File(BaseModel):
    path: str

@task
def load(file: File) -> None:
    print("loaded", file.path, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

loading = Workflow("loading", load)
inbox = Trigger(loading, lambda: [File(path="a.csv")], every=0.1)
"""


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        ([], "Missing argument 'MODULE", 2),
        (["empty"], '"empty" has no workflow to work for', 2),
        (["makes"], "Name a function that returns one: makes:make", 2),
        (["jbos"], 'no module "jbos"', 2),
        (["jobs:order"], 'did you mean "orders"?', 2),
        (["crash"], 'importing "crash" failed', 1),
        (["bad"], "[cloaca-missing-field]", 1),
        (["jobs", "--queue", "mail"], "--queue 'mail' is not understood", 2),
        (["jobs", "--queue", "mail=4,5/s,6"], "is not understood", 2),
        (["jobs", "--queue", "mail=5/s,6/s"], "is not understood", 2),
        (["jobs", "--queue", "mail=0"], "a whole number from 1", 2),
        (["jobs", "--queue", "mail=4,5/fortnight"], "write a number and a unit of time", 2),
        (["jobs", "--concurrency", "0"], "Invalid value for '--concurrency'", 2),
        (["jobs", "--lease", "0"], "Invalid value for '--lease'", 2),
        (["jobs", "--retention", "soon"], '--retention: "soon" is no duration', 2),
        (["jobs", "--retention", "0d"], "--retention: runs are kept for a while at least", 2),
        (["jobs", "--database", "mysql://host/name"], "is no database that cloaca runs on", 2),
        (["jobs", "--database", "sqlite:///nosuch/runs.db"], "nosuch is no directory", 4),
        (["jobs", "--database", "postgresql://nobody:secret@127.0.0.1:1/none"], "can't be reached", 4),
    ],
)
def test_what_it_refuses(cloaca: Command, here: Path, arguments: list[str], said: str, code: int) -> None:
    (here / "empty.py").touch()
    (here / "makes.py").write_text(
        "from jobs import *\ndel orders\ndef make() -> Workflow:\n    return Workflow('m', fetch)\n"
    )
    (here / "crash.py").write_text("1 / 0\n")
    (here / "bad.py").write_text("from jobs import *\nbad = Workflow('bad', fetch >> ship)\n")
    answer = cloaca("worker", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err
    assert "secret" not in answer.err


def test_an_exception_while_it_is_made_ready_shows_no_traceback_of_ours(shell: Shell) -> None:
    (shell.directory / "runs.db").mkdir()
    answer = shell("worker", "jobs", "--database", "sqlite:///runs.db")
    assert (answer.code, answer.out) == (4, "")
    assert "is a directory" in answer.err
    assert "Traceback" not in answer.err


# Its log


@contextmanager
def alone() -> Iterator[io.StringIO]:
    """Standard error of a process that has not set up logging: pytest has, just before the test begins."""
    root, stream = logging.getLogger(), io.StringIO()
    with patch.object(root, "handlers", []), patch.object(sys, "stderr", stream):
        yield stream


def test_lines_for_people() -> None:
    with alone() as stderr, logging_to_stderr(as_json=False):
        logging.getLogger("cloaca.worker").info("Run %d has ended", 7)
        logging.getLogger("cloaca.worker").debug("not this")
        logging.getLogger("mine").info("nor this")
        logging.getLogger("mine").warning("but \x1b[31mthis")
    logging.getLogger("cloaca.worker").info("nor after it")
    first, second = (line.split(" ", 2)[2] for line in stderr.getvalue().splitlines())
    assert first == "INFO    cloaca.worker: Run 7 has ended"
    assert second == r"WARNING mine: but \x1b[31mthis"


def test_lines_for_programs() -> None:
    with alone() as stderr, logging_to_stderr(as_json=True):
        logging.getLogger("cloaca.task.charge").info(
            "two\nlines", extra={"run": "7", "task": "charge", "message_id": {1}}
        )
        try:
            raise ValueError("no")
        except ValueError:
            logging.getLogger("mine").exception("it failed")
    first, second = map(json.loads, stderr.getvalue().splitlines())
    assert datetime.fromisoformat(first.pop("at")).tzinfo is not None
    assert first == {
        "level": "info", "logger": "cloaca.task.charge", "message": "two\nlines",
        "run": "7", "task": "charge", "message_id": "{1}",
    }  # fmt: skip
    assert second["traceback"].endswith("ValueError: no")


def test_logging_that_the_users_modules_have_set_up_stays_theirs() -> None:
    theirs = io.StringIO()
    with alone() as stderr:
        logging.getLogger().addHandler(logging.StreamHandler(theirs))
        with logging_to_stderr(as_json=True):
            logging.getLogger("cloaca.worker").info("ours")
            logging.getLogger("mine").warning("theirs")
    assert theirs.getvalue() == "theirs\n"
    assert [json.loads(line)["message"] for line in stderr.getvalue().splitlines()] == ["ours"]


def test_the_collector_spares_what_is_imported_only_while_a_worker_works() -> None:
    before = gc.get_freeze_count()
    with seldom_collected():
        assert gc.get_freeze_count() > before
    assert gc.get_freeze_count() == 0
