"""Targets: how a workflow is found, and what is said where none is."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloaca.cli.refusals import Exit, Refusal
from cloaca.cli.targets import load_workflow
from cloaca.errors import ContractError
from tests.cli.conftest import JOBS, Command, Shell


def refused(target: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        load_workflow(target)
    return caught.value


@pytest.mark.parametrize("target", ["jobs:orders", "jobs", "jobs.py", "jobs.py:orders", "./jobs.py:orders"])
def test_a_workflow_is_found_by_module_and_by_file(here: Path, target: str) -> None:
    assert load_workflow(target).name == "orders"


def test_a_variable_goes_before_a_name(here: Path) -> None:
    text = JOBS.replace("orders = Workflow(", "wf = Workflow(") + '\norders = Workflow("other", fetch)\n'
    (here / "jobs.py").write_text(text)
    assert load_workflow("jobs:orders").name == "other"
    assert load_workflow("jobs:wf").name == "orders"
    assert load_workflow("jobs:other").name == "other"


def test_a_file_of_a_package_is_imported_as_part_of_it(here: Path) -> None:
    (here / "shop" / "flows").mkdir(parents=True)
    for directory in ("shop", "shop/flows"):
        (here / directory / "__init__.py").touch()
    (here / "shop" / "models.py").write_text("from pydantic import BaseModel\nclass A(BaseModel):\n    a: int = 1\n")
    (here / "shop" / "flows" / "jobs.py").write_text(
        "from cloaca import Workflow, task\nfrom ..models import A\n"
        "@task\ndef step(a: A) -> None: ...\nsteps = Workflow('steps', step)\n"
    )
    assert load_workflow("shop/flows/jobs.py").name == "steps"
    assert load_workflow("shop.flows.jobs:steps").name == "steps"


@pytest.mark.parametrize("name", ["json.py", "my-jobs.py"])
def test_a_file_whose_name_is_taken_or_none_is_found_all_the_same(here: Path, name: str) -> None:
    (here / name).write_text(JOBS)
    assert load_workflow(f"{name}:orders").name == "orders"


def test_a_function_that_returns_a_workflow_will_do(here: Path) -> None:
    (here / "made.py").write_text(f"{JOBS}\ndef make(n: int = 1) -> Workflow:\n    return orders\n")
    assert load_workflow("made:make").name == "orders"


@pytest.mark.parametrize(
    ("target", "said", "code"),
    [
        ("jbos:orders", 'no module "jbos"', Exit.USAGE),
        ("jbos:orders", 'did you mean "jobs"?', Exit.USAGE),
        ("job.py", 'there is no file "job.py"; did you mean "jobs.py"?', Exit.USAGE),
        ("jobs:order", '"jobs" has no workflow "order"; did you mean "orders"?', Exit.USAGE),
        ("jobs:fetch", '"jobs:fetch" is a Task, not a workflow: close it with Workflow("fetch", fetch)', Exit.USAGE),
        ("jobs:done", '"jobs:done" is a function that needs arguments', Exit.USAGE),
        ("jobs:", '"jobs:" is no target', Exit.USAGE),
        ("a b:c", "is no module's name", Exit.USAGE),
        ("two", '"two" has 2 workflows; say which', Exit.USAGE),
        ("empty", '"empty" has no workflow', Exit.USAGE),
        ("crash", 'importing "crash" failed', Exit.FAILED),
        ("lacks", 'importing "lacks" failed', Exit.FAILED),
        ("leaves.py", 'importing "leaves.py" ended the program: sys.exit(3)', Exit.FAILED),
    ],
)
def test_what_can_not_be_found_is_said_with_near_misses(here: Path, target: str, said: str, code: Exit) -> None:
    (here / "jobs.py").write_text(f"{JOBS}\ndef done(name: str) -> None: ...\n")
    (here / "two.py").write_text("from jobs import *\nsecond = Workflow('second', fetch)\n")
    (here / "empty.py").touch()
    (here / "crash.py").write_text("1 / 0\n")
    (here / "lacks.py").write_text("import no_such_library\n")
    (here / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    refusal = refused(target)
    assert said in refusal.message
    assert refusal.code is code


def test_an_import_that_fails_shows_the_users_lines_only(here: Path) -> None:
    (here / "crash.py").write_text("1 / 0\n")
    (trace,) = refused("crash").details
    assert trace.splitlines()[1] == f'  File "{here}/crash.py", line 1, in <module>'
    assert trace.endswith("ZeroDivisionError: division by zero")


def test_a_contract_error_passes(here: Path) -> None:
    (here / "bad.py").write_text("from jobs import *\nbad = Workflow('bad', fetch >> ship)\n")
    with pytest.raises(ContractError):
        load_workflow("bad")


def test_the_command_says_where_a_contract_is_broken(shell: Shell, cloaca: Command) -> None:
    shell.write("bad.py", "from jobs import *\nbad = Workflow('bad', fetch >> ship)\n")
    answer = cloaca("run", "bad")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith('error: bad.py:2: Task "ship" requires field "payment_id"')
    assert answer.err.endswith("[cloaca-missing-field]\n")


def test_the_command_says_what_is_missing(shell: Shell) -> None:
    answer = shell("run", "jbos:orders")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.splitlines()[0].endswith('did you mean "jobs"?')
