"""``cloaca graph``: formats, and where they go. How a picture looks is the drawing's business."""

from __future__ import annotations

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
    assert list(document) == ["name", "version", "input", "output", "tasks", "edges"]
    assert (document["name"], document["input"], document["output"]) == ("orders", "OrderRef", "Shipment")
    assert [task["name"] for task in document["tasks"]] == ["fetch", "charge", "ship"]
    assert list(document["tasks"][0]) == ["name", "kind", "detail", "note"]
    assert document["edges"] == [["charge", "ship"], ["fetch", "charge"]]


def test_a_file_that_can_not_be_written_is_usage(cloaca: Command) -> None:
    answer = cloaca("graph", "jobs", "--output", "no/such/directory.svg")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == 'error: "no/such/directory.svg" can\'t be written: No such file or directory\n'
