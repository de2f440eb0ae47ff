"""``cloaca graph``: formats, and where they go. How a picture looks is the drawing's business."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Command, Shell

SIGNS = {"mermaid": "flowchart", "dot": "digraph", "svg": "<svg", "text": "charge"}


@pytest.mark.parametrize("format", SIGNS)
def test_formats(format: str, cloaca: Command) -> None:
    answer = cloaca("graph", "jobs.py:orders", "--format", format)
    assert (answer.code, answer.err) == (0, "")
    assert SIGNS[format] in answer.out
    assert "fetch" in answer.out
    assert "\x1b" not in answer.out


def test_a_file_is_written_in_the_format_of_its_suffix(shell: Shell) -> None:
    answer = shell("graph", "jobs:orders", "--output", "orders.svg")
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    assert "<svg" in (shell.directory / "orders.svg").read_text()


def test_json(cloaca: Command) -> None:
    answer = cloaca("graph", "jobs", "--json")
    document = answer.document
    assert list(document) == ["name", "version", "input", "output", "tasks", "edges", "undoes"]
    assert (document["name"], document["input"], document["output"]) == ("orders", "OrderRef", "Shipment")
    assert [task["name"] for task in document["tasks"]] == ["fetch", "charge", "ship"]
    assert list(document["tasks"][0]) == ["name", "kind", "detail", "note"]
    assert document["edges"] == [["charge", "ship"], ["fetch", "charge"]]
    assert document["undoes"] == []


UNDONE = """
from cloaca import Workflow, task

@task
def pay() -> None: ...

@task
def refund() -> None: ...

paying = Workflow("paying", pay.compensate(refund))
"""


def test_what_undoes_a_task_does_not_follow_on_it(cloaca: Command, here: Path) -> None:
    (here / "undone.py").write_text(UNDONE, encoding="utf-8")
    document = cloaca("graph", "undone.py:paying", "--json").document
    assert [(task["name"], task["kind"]) for task in document["tasks"]] == [("pay", "task"), ("refund", "undo")]
    assert (document["edges"], document["undoes"]) == ([], [["refund", "pay"]])


def test_a_file_that_can_not_be_written_is_usage(cloaca: Command) -> None:
    answer = cloaca("graph", "jobs", "--output", "no/such/directory.svg")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == 'error: "no/such/directory.svg" can\'t be written: No such file or directory\n'
