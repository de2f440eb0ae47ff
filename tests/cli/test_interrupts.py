"""Ctrl-C: the run stays in order and goes on; and a run that the code does not fit any more is blocked."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.cli.conftest import GATED, Shell, interrupt, wait_for_line

AGAIN = "with --key k, goes on with it"


def test_an_interrupt_lets_running_tasks_end_and_the_same_key_goes_on(gates: Shell) -> None:
    process = gates.start("run", "gates", "--key", "k", "--json")
    wait_for_line(process, "at the gate")
    interrupt(process)
    wait_for_line(process, "note: interrupted")
    gates.open_gate()
    out, err = process.communicate(timeout=30)
    left = json.loads(out)
    assert process.returncode == 130
    assert (left["status"], left["output"], left["failure"]) == ("pending", None, None)
    assert f"error: interrupted: run {left['run_id']} is pending; nothing of it is lost" in err
    assert AGAIN in err
    assert "Traceback" not in err

    ended = gates("run", "gates", "--key", "k", "--json")
    assert (ended.code, ended.document["run_id"], ended.document["status"]) == (0, left["run_id"], "succeeded")
    assert ledger(gates) == ["first", "gated", "last"]


def test_a_second_interrupt_leaves_at_once(gates: Shell) -> None:
    process = gates.start("run", "gates", "--key", "k")
    wait_for_line(process, "at the gate")
    interrupt(process)
    wait_for_line(process, "note: interrupted")
    interrupt(process)
    _, err = process.communicate(timeout=9)  # less than the grace that the first one gives
    assert process.returncode == 130
    assert re.search(r"error: interrupted: run \d+ was left in the middle of its tasks", err)
    assert AGAIN in err

    again = gates.start("run", "gates", "--key", "k")
    wait_for_line(again, "at the gate")
    gates.open_gate()
    again.communicate(timeout=30)
    assert again.returncode == 0
    assert ledger(gates) == ["first", "gated", "last"]


def test_a_run_that_ends_within_its_grace_has_its_outcome(gates: Shell) -> None:
    gates.write("short.py", GATED.replace(" >> last", ""))
    process = gates.start("run", "short")
    wait_for_line(process, "at the gate")
    interrupt(process)
    wait_for_line(process, "note: interrupted")
    gates.open_gate()
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "null\n")


def test_a_run_that_does_not_fit_the_code_is_blocked_with_its_reason(gates: Shell) -> None:
    process = gates.start("run", "gates", "--key", "k")
    wait_for_line(process, "at the gate")
    interrupt(process)
    wait_for_line(process, "note: interrupted")
    gates.open_gate()
    process.communicate(timeout=30)
    gates.write("gates.py", GATED.replace("def first(", "def renamed(").replace("first >>", "renamed >>"))

    answer = gates("run", "gates", "--key", "k", "--json")
    assert answer.code == 3
    assert re.search(r'error: run \d+ is blocked: .*"first"', answer.err)
    assert "another --key" in answer.err
    assert (answer.document["status"], answer.document["failure"]["task"]) == ("blocked", None)
    assert '"first"' in answer.document["failure"]["message"]


def ledger(shell: Shell) -> list[str]:
    """Return what the tasks have done, in order."""
    return Path(shell.directory / "ledger").read_text().split()
