"""``cloaca run``: what goes to which stream, and the exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import JOBS, Command, Shell, environment_of

GOOD, FAULTY, DECLINED = ('{"order_id": 7}', '{"order_id": 12}', '{"order_id": 13}')
KEYS = ["run_id", "status", "output", "failure"]


def test_success_prints_the_output_and_nothing_else_on_standard_output(shell: Shell) -> None:
    answer = shell("run", "jobs:orders", "--input", GOOD)
    assert (answer.code, answer.out) == (0, '{"tracking": "t-p1"}\n')
    assert answer.err.splitlines() == ["printed by fetch", "printed by a child of fetch"]
    assert (shell.directory / "cloaca.db").exists()


def test_an_exception_is_shown_with_its_task_and_the_users_part_of_the_traceback(shell: Shell) -> None:
    answer = shell("run", "jobs:orders", "--input", FAULTY, "--quiet")
    assert (answer.code, answer.out) == (1, "")
    assert 'failed at task "charge" after 2 attempts: ConnectionError: no route to bank\n' in answer.err
    assert 'raise ConnectionError("no route to bank' in answer.err
    assert "cloaca runs show " in answer.err
    assert "interpreter" not in answer.err


def test_a_typed_failure_is_shown_as_what_it_is(shell: Shell) -> None:
    shell.write("order.json", DECLINED)
    answer = shell("run", "jobs:orders", "--input", "@order.json")
    assert (answer.code, answer.out) == (1, "")
    assert 'failed at task "charge": Declined {"reason":"card expired"}\n' in answer.err
    assert "Traceback" not in answer.err
    assert "\x1b" not in answer.err  # no colour, and no progress, as there is no terminal
    assert "1/3" not in answer.err


def test_json_has_the_same_shape_however_the_run_fails(shell: Shell) -> None:
    answers = [shell("run", "jobs:orders", "-i", text, "--json") for text in (FAULTY, DECLINED)]
    assert [answer.code for answer in answers] == [1, 1]
    faulty, declined = (answer.document for answer in answers)
    assert list(faulty) == list(declined) == KEYS
    assert (faulty["status"], faulty["output"]) == (declined["status"], declined["output"]) == ("failed", None)
    failure = faulty["failure"]
    assert list(failure) == list(declined["failure"])
    assert (failure["task"], failure["error"], failure["exception_type"]) == ("charge", None, "ConnectionError")
    assert [attempt["attempt"] for attempt in failure["failures"]] == [1, 2]
    assert failure["message"] == "no route to bank\nsecond line"
    assert declined["failure"]["error"] == {"reason": "card expired"}


def test_the_context_of_a_workflow_with_several_ends_is_printed_as_an_object(shell: Shell, cloaca: Command) -> None:
    shell.write(
        "ends.py",
        "from decimal import Decimal\n"
        "from pydantic import BaseModel\n"
        "from cloaca import Workflow, task\n"
        "class A(BaseModel):\n    a: Decimal = Decimal('1.50')\n"
        "class B(BaseModel):\n    b: A\n"
        "@task\ndef one(a: A) -> B:\n    return B(b=a)\n"
        "@task\ndef two(a: A) -> None: ...\n"
        "both = Workflow('both', one & two, input=A)\n",
    )
    answer = cloaca("run", "ends.py")
    assert (answer.code, answer.document) == (0, {"a": "1.50", "b": {"a": "1.50"}})


def test_the_same_key_prints_the_outcome_again_and_another_input_is_refused(shell: Shell) -> None:
    database = ("--database", "sqlite:///keys.db")
    first = shell("run", "jobs:orders", "-i", GOOD, "--key", "k", "--json", *database)
    again = shell("run", "jobs:orders", "-i", GOOD, "--key", "k", *database)
    other = shell("run", "jobs:orders", "-i", FAULTY, "--key", "k", *database)
    assert list(first.document) == KEYS
    assert first.document | {"run_id": ""} == {
        "run_id": "", "status": "succeeded", "output": {"tracking": "t-p1"}, "failure": None,
    }  # fmt: skip
    assert again.document == first.document["output"]
    assert "printed by fetch" not in again.err
    assert f"note: run {first.document['run_id']} with this key ended at " in again.err
    assert (other.code, other.out) == (2, "")
    assert other.err.startswith("error: key 'k' ")
    assert "another input" in other.err

    shown = shell("runs", "show", first.document["run_id"], "--target", "jobs", "--json", *database)
    assert shown.document["output"] == first.document["output"]


def test_an_output_that_the_code_can_not_read_any_more_is_said(shell: Shell, cloaca: Command) -> None:
    assert cloaca("run", "jobs", "-i", GOOD, "--key", "k").code == 0
    shell.write("later.py", JOBS.replace("    tracking: str", "    tracking: str\n    weight: float"))
    answer = cloaca("run", "later", "-i", GOOD, "--key", "k", "--json")
    assert answer.code == 1
    assert (answer.document["status"], answer.document["output"]) == ("succeeded", None)
    assert "Field required" in answer.document["failure"]["message"]
    assert " has succeeded, but the output Shipment " in answer.err


def test_a_key_that_is_none_is_usage(cloaca: Command) -> None:
    answer = cloaca("run", "jobs:orders", "-i", GOOD, "--key", "")
    assert answer.code == 2
    assert answer.err.startswith("error: key=''")


@pytest.mark.parametrize(
    ("database", "code", "said"),
    [("nonsense", 2, "'nonsense' is no database"), ("sqlite:////no/such/directory/x.db", 4, "/no/such/directory")],
)
def test_a_database_that_can_not_be_is_said(database: str, code: int, said: str, cloaca: Command) -> None:
    answer = cloaca("run", "jobs:orders", "-i", GOOD, "--database", database)
    assert (answer.code, answer.out) == (code, "")
    assert answer.err.startswith("error: ")
    assert said in answer.err
    assert "--database" in answer.err


def test_a_damaged_database_is_one_readable_block(shell: Shell) -> None:
    answer = shell("run", "jobs:orders", "-i", GOOD, CLOACA_DATABASE_URL="sqlite:///jobs.py")
    assert (answer.code, answer.out) == (4, "")
    assert answer.err.startswith(f"error: {shell.directory}/jobs.py is not a SQLite database")
    assert "Traceback" not in answer.err


def test_an_output_that_nobody_takes_is_said(shell: Shell) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("w") as out:
        done = subprocess.run(
            [sys.executable, "-m", "cloaca.cli", "run", "jobs", "-i", GOOD],
            cwd=shell.directory,
            env=environment_of({}),
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "error: standard output can't be written: No space left" in done.stderr


def test_a_reader_that_leaves_is_no_error_to_talk_about(shell: Shell) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "cloaca.cli", "graph", "jobs", "--json"],
        cwd=shell.directory,
        env=environment_of({}),
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
