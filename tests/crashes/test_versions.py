"""Runs whose code is edited while they are under way: real processes, killed with SIGKILL, and started again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cli.conftest import Shell
from tests.crashes.processes import assert_sound, life, rows, until
from tests.crashes.version_programs import SHOP, edited, start, stay, work, write

NEW_BEHIND = edited(
    "# more tasks", "@task\ndef thank(sent: Sent) -> Order:\n    note('thank')\n    return Order(sku=sent.sent)\n",
    "charge >> ship)", "charge >> ship >> thank.into('thanks'))",
)  # fmt: skip
NEW_BEFORE = edited(
    "# more tasks",
    "class Audit(BaseModel):\n    audit: str\n\n"
    "@task\ndef audit(ref: Ref) -> Audit:\n    note('audit')\n    return Audit(audit=f'a{ref.n}')\n",
    "fetch >> charge >> ship)",
    "audit >> fetch >> charge >> ship)",
    "def ship(pick: Pick, paid: Paid) -> Sent:",
    "def ship(pick: Pick, paid: Paid, seen: 'Audit') -> Sent:",
    'f"{pick.sku}-{paid.paid}"',
    'f"{pick.sku}-{paid.paid}-{seen.audit}"',
)


class Goes(NamedTuple):
    """An edit with which the run goes on: the output, and what of the edited code has run."""

    source: str
    output: dict[str, Any]
    changed: bool = True
    ran: tuple[str, ...] = ("fetch", "charge", "ship")


ON = {
    "nothing": Goes(SHOP, {"sent": "s0-0"}, changed=False),
    "an unrelated workflow": Goes(edited("return None", "note('x')"), {"sent": "s0-0"}, changed=False),
    "a comment": Goes(edited('note("ship")', 'note("ship")  # at last'), {"sent": "s0-0"}, changed=False),
    "a body to come": Goes(edited('f"{pick.sku}-', 'f"new-{pick.sku}-'), {"sent": "new-s0-0"}),
    "a body that has run": Goes(edited('sku=f"s{', 'sku=f"t{'), {"sent": "s0-0"}),
    "a field with a default": Goes(
        edited("    sku: str\n\nclass Pick", "    sku: str\n    gift: bool = False\n\nclass Pick"), {"sent": "s0-0"}
    ),
    "a field that nobody reads is gone": Goes(
        edited("class Pick(BaseModel):\n    sku: str", "class Pick(BaseModel):\n    n: int", "pick.sku", "pick.n",
               "class Order(BaseModel):\n    sku: str", "class Order(BaseModel):\n    weight: int = 1",
               'Order(sku=f"s{ref.n}")', "Order()"),
        {"sent": "0-0"},
    ),
    "a task behind the frontier": Goes(NEW_BEHIND, {"sku": "s0-0"}, ran=("fetch", "charge", "ship", "thank")),
    "a task before the frontier": Goes(NEW_BEFORE, {"sent": "s0-0-a0"}, ran=("fetch", "charge", "audit", "ship")),
}  # fmt: skip

RENAMED_FIELD = edited("    sku: str", "    code: str", "sku=f", "code=f", "pick.sku", "pick.code")
RETYPED_FIELD = edited("    sku: str", "    sku: int", 'sku=f"s{ref.n}"', "sku=ref.n")
WITHOUT_FETCH = edited(
    "def ship(pick: Pick, paid: Paid)", "def ship(paid: Paid)", "{pick.sku}-", "", "fetch >> charge", "charge"
)
BLOCKED = {
    "a renamed field": (RENAMED_FIELD, "fetch", "code"),
    "another type of a field": (RETYPED_FIELD, "fetch", "sku"),
    "a removed task": (WITHOUT_FETCH, "fetch", ""),
    "a pinned workflow": (
        edited("charge >> ship)", 'charge >> ship, versioning="pinned")', 'f"{pick', 'f"new-{pick'), None, "",
    ),
}  # fmt: skip


def begin(folder: Path, url: str, count: int = 1) -> None:
    """Leave runs of which ``fetch`` is committed and ``charge`` is not, by a process that is killed."""
    write(folder, SHOP)
    with life(start, str(folder), url, count) as started:
        until(lambda: notes(folder).count("charge begins") == count)
        until(lambda: rows(url, "SELECT count(*) FROM cloaca_task") == [(count,)])
        started.kill()
    (folder / "open").touch()


def notes(folder: Path) -> list[str]:
    log = folder / "log"
    return log.read_text().splitlines() if log.exists() else []


def deploy(folder: Path, url: str, source: str) -> list[dict[str, Any]]:
    """Work with some code until there is nothing to do; return what became of the runs."""
    write(folder, source)
    seen = folder / "seen"
    seen.unlink(missing_ok=True)
    with life(work, str(folder), url, "seen"):
        until(seen.exists)
    found: list[dict[str, Any]] = json.loads(seen.read_text())
    return found


@pytest.mark.parametrize("edit", ON)
def test_a_run_goes_on_with_code_that_fits(folder: Path, url: str, edit: str) -> None:
    begin(folder, url)
    goes = ON[edit]
    [run] = deploy(folder, url, goes.source)
    assert (run["status"], run["output"]) == ("succeeded", goes.output), run
    assert sorted(set(notes(folder)) - {"charge begins"}) == sorted(goes.ran)
    assert all(notes(folder).count(task) == 1 for task in goes.ran)
    assert ("code_changed" in run["events"]) == goes.changed
    assert_sound(url)


@pytest.mark.parametrize("edit", BLOCKED)
def test_a_run_that_does_not_fit_is_blocked_until_its_code_comes_back(folder: Path, url: str, edit: str) -> None:
    begin(folder, url)
    source, task, field = BLOCKED[edit]
    [run] = deploy(folder, url, source)
    assert run["status"] == "blocked"
    if task is not None:
        assert run["task"] == task
    assert f'"{field}"' in run["why"] or not field
    assert notes(folder) == ["fetch", "charge begins"]
    [run] = deploy(folder, url, source)  # once more: it is asked again, and says the same
    assert run["status"] == "blocked"
    [run] = deploy(folder, url, SHOP)
    assert (run["status"], run["output"]) == ("succeeded", {"sent": "s0-0"})
    assert notes(folder).count("fetch") == 1
    assert_sound(url)


@pytest.mark.parametrize("edit", [*ON, *BLOCKED, "a renamed workflow"])
def test_a_check_says_before_a_deploy_what_it_would_do(folder: Path, url: str, edit: str) -> None:
    begin(folder, url)
    renamed = edited('Workflow("orders"', 'Workflow("purchases"')
    blocked = {name: (source, task, field) for name, (source, task, field) in BLOCKED.items()}
    blocked["a renamed workflow"] = (renamed, None, "")
    write(folder, blocked[edit][0] if edit in blocked else ON[edit].source)
    before = [rows(url, f"SELECT * FROM {table} ORDER BY 1") for table in ("cloaca_session", "cloaca_run")]
    answer = Shell(folder)("check", "shop.py", "--against", url, "--json")
    after = [rows(url, f"SELECT * FROM {table} ORDER BY 1") for table in ("cloaca_session", "cloaca_run")]
    assert after == before
    document = answer.document
    assert document["in_flight"] == 1
    if edit in ON:
        assert (answer.code, document["ok"], document["stranded"]) == (0, True, [])
        return
    _, task, field = blocked[edit]
    assert (answer.code, document["ok"]) == (3, False)
    [stranded] = document["stranded"]
    assert stranded["id"] == (folder / "run-0").read_text()
    assert (stranded["misfits"][0]["task"], stranded["misfits"][0]["field"]) == (task, field or None)


def test_a_renamed_workflow_leaves_its_runs_to_the_old_name(folder: Path, url: str) -> None:
    begin(folder, url)
    write(folder, edited('Workflow("orders"', 'Workflow("purchases"'))
    with life(stay, str(folder), url):
        until((folder / "up").exists)
        show = ("runs", "show", (folder / "run-0").read_text(), "--database", url)
        # Once the lease of the worker that was killed has run out.
        until(lambda: "waits for a worker that has its workflow" in " ".join(Shell(folder)(*show).out.split()))
    [run_] = deploy(folder, url, SHOP)
    assert (run_["status"], run_["output"]) == ("succeeded", {"sent": "s0-0"})


def test_an_upgrade_names_what_it_gives_up_and_is_asked_for(folder: Path, url: str) -> None:
    begin(folder, url)
    [run] = deploy(folder, url, RENAMED_FIELD)
    assert run["status"] == "blocked"
    shell = Shell(folder)
    upgrade = ("runs", "upgrade", run["id"], "--target", "shop.py:orders", "--database", url)
    answer = shell(*upgrade)
    assert answer.code == 3
    assert "--give-up fetch" in answer.err
    assert rows(url, "SELECT name FROM cloaca_task") == [("fetch",)]
    assert shell(*upgrade, "--give-up", "ship", "--give-up", "fetch").code == 2
    answer = shell(*upgrade, "--give-up", "fetch", "--json")
    assert (answer.code, answer.document["given_up"]) == (0, ["fetch"])
    [run] = deploy(folder, url, RENAMED_FIELD)
    assert (run["status"], run["output"]) == ("succeeded", {"sent": "s0-0"})
    assert "run_upgraded" in run["events"]
    assert notes(folder).count("fetch") == 2
    assert shell(*upgrade).code == 1


@pytest.mark.parametrize("order", ["the old first", "the new first"])
def test_two_versions_side_by_side(tmp_path: Path, url: str, order: str) -> None:
    """Each finishes what it can: no run is blocked, none goes back and forth."""
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
    write(old, SHOP)
    write(new, RETYPED_FIELD)
    first, second = (old, new) if order == "the old first" else (new, old)
    runs = 6
    with life(start, str(first), url, runs) as starter:
        until(lambda: notes(first).count("charge begins") == runs)
        until(lambda: rows(url, "SELECT count(*) FROM cloaca_task") == [(runs,)])
        with life(stay, str(second), url), life(stay, str(first), url):
            until(lambda: (first / "up").exists() and (second / "up").exists())
            starter.kill()
            (first / "open").touch()
            until(lambda: rows(url, "SELECT DISTINCT status FROM cloaca_run") == [("succeeded",)])
    refused = {row[0] for row in rows(url, "SELECT coalesce(refused, '') FROM cloaca_run")}
    assert all(versions.count(",") <= 1 for versions in refused)  # each was looked at once by the one it does not fit
    assert notes(first).count("ship") == runs
    assert notes(second) == []
