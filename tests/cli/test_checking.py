"""``cloaca check``: every violation, with its place."""

from __future__ import annotations

from tests.cli.conftest import Command, Shell

BAD = """from jobs import *

class Wrong(BaseModel):
    payment: str

@task
def pay(ref: OrderRef) -> Wrong: ...

def fine() -> Workflow:
    return Workflow("fine", fetch >> charge)

def broken() -> "Workflow[OrderRef, Shipment]":
    return Workflow("broken", pay >> [charge, ship])
"""


def test_modules_in_order_are_counted_once(shell: Shell, cloaca: Command) -> None:
    shell.write("again.py", "from jobs import orders\n")
    answer = cloaca("check", "jobs", "again.py", "jobs:orders")
    assert (answer.code, answer.out, answer.err) == (0, "ok: 1 workflow, no violations\n", "")


def test_violations_are_one_per_line_with_place_and_code(shell: Shell) -> None:
    shell.write("bad.py", BAD)
    shell.write("worse.py", "from jobs import *\nworse = Workflow('worse', fetch >> ship)\n")
    answer = shell("check", "jobs", "bad", "worse.py")
    assert (answer.code, answer.err) == (1, "")
    *violations, summary = answer.lines()
    assert summary == "3 violations, 2 workflows without violations"
    assert [line.partition(": ")[0] for line in violations] == ["bad.py:13", "bad.py:13", "worse.py:2"]
    assert all(line.endswith("[cloaca-missing-field]") for line in violations)


def test_json(shell: Shell, cloaca: Command) -> None:
    shell.write("bad.py", BAD)
    answer = cloaca("check", "bad:broken", "jobs", "--json")
    document = answer.document
    assert answer.code == 1
    assert list(document) == ["ok", "workflows", "violations", "errors"]
    assert document["ok"] is False
    assert [(w["target"], w["name"], len(w["version"])) for w in document["workflows"]] == [("jobs", "orders", 16)]
    assert [(v["target"], v["file"], v["line"], v["code"], v["task"], v["field"]) for v in document["violations"]] == [
        ("bad:broken", "bad.py", 13, "missing-field", "charge", "amount"),
        ("bad:broken", "bad.py", 13, "missing-field", "ship", "payment_id"),
    ]
    assert document["errors"] == []


def test_what_can_not_be_checked_does_not_pass(shell: Shell, cloaca: Command) -> None:
    shell.write("empty.py", "")
    shell.write("crash.py", "1 / 0\n")
    answer = cloaca("check", "jobs", "empty", "crash", "nosuch")
    assert answer.code == 2
    assert answer.out == "3 targets not checked, 1 workflow without violations\n"
    said = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in said] == ["empty", "crash", "nosuch"]
    assert "ZeroDivisionError" in answer.err


def test_a_module_that_crashes_has_failed(shell: Shell, cloaca: Command) -> None:
    shell.write("crash.py", "1 / 0\n")
    answer = cloaca("check", "crash", "--json")
    assert answer.code == 1
    (error,) = answer.document["errors"]
    assert (error["target"], error["code"]) == ("crash", 1)
