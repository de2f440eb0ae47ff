"""``cloaca runs cancel``, ``pause``, ``resume``, ``retry``, ``fork``: what they do, what they print, how they exit."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloaca import Runner
from tests.cli.conftest import Command, Shell, environment_of, wait_for_line

URL = "sqlite:///runs.db"

STEPS = """
from pathlib import Path

from pydantic import BaseModel

from cloaca import Workflow, task


class Start(BaseModel):
    n: int

class Half(BaseModel):
    half: int

class Whole(BaseModel):
    whole: int


@task
def halve(start: Start) -> Half:
    with Path("ledger").open("a") as ledger:
        ledger.write("halve\\n")
    return Half(half=start.n // 2)

@task
def double(half: Half) -> Whole:
    with Path("ledger").open("a") as ledger:
        ledger.write("double\\n")
    if Path("broken").exists():
        raise ValueError("broken")
    return Whole(whole=half.half * 2)


steps = Workflow("steps", halve >> double, input=Start)
"""


@pytest.fixture
def run(cloaca: Command, here: Path) -> str:
    """The id of a run that has failed in its second task; what broke it is mended."""
    (here / "steps.py").write_text(STEPS)
    (here / "broken").touch()
    answer = cloaca("run", "steps", "--input", '{"n": 7}', "--database", URL, "--json")
    (here / "broken").unlink()
    assert answer.code == 1
    return str(answer.document["run_id"])


@pytest.fixture
def pending(cloaca: Command, here: Path) -> str:
    """The id of a run that nobody drives yet."""
    from steps import Start, steps  # type: ignore[import-not-found]  # noqa: PLC0415 - a module of the test's own

    async def start() -> str:
        async with Runner(URL, work=False) as runner:
            return (await runner.start(steps, Start(n=2))).id

    return asyncio.run(start())


def ledger(here: Path) -> list[str]:
    return (here / "ledger").read_text().split()


@pytest.mark.parametrize("target", [[], ["--target", "steps"]])
def test_a_retry_goes_on_from_what_failed(cloaca: Command, here: Path, run: str, target: list[str]) -> None:
    answer = cloaca("runs", "retry", run, "--database", URL, "--json", *target)
    assert (answer.code, answer.document) == (0, {"id": run, "status": "pending"})
    assert finished(here, run) == "succeeded"
    assert ledger(here) == ["halve", "double", "double"]


@pytest.mark.parametrize("target", [[], ["--target", "steps"]])
def test_a_fork_has_what_was_done_before(cloaca: Command, here: Path, run: str, target: list[str]) -> None:
    answer = cloaca("runs", "fork", run, "--before", "double", "--database", URL, "--json", *target)
    assert (answer.code, answer.document["status"]) == (0, "pending")
    other = answer.document["id"]
    assert other != run
    assert finished(here, other) == "succeeded"
    assert ledger(here) == ["halve", "double", "double"]
    assert finished(here, run) == "failed"


def test_a_fork_before_no_task_is_usage(cloaca: Command, run: str) -> None:
    answer = cloaca("runs", "fork", run, "--before", "nosuch", "--database", URL)
    assert (answer.code, answer.out) == (2, "")
    assert 'has no task "nosuch"; it has halve, double' in answer.err


@pytest.mark.usefixtures("run")
def test_a_run_that_nobody_drives(cloaca: Command, pending: str) -> None:
    said = {
        "pause": "is paused",
        "resume": "is pending: a worker that has its workflow goes on with it",
        "cancel": "is cancelled",
    }
    for action, text in said.items():
        for _ in range(2):  # once more changes nothing
            answer = cloaca("runs", action, pending, "--database", URL)
            assert (answer.code, answer.out, answer.err) == (0, f"run {pending} {text}\n", "")
    assert cloaca("runs", "retry", pending, "--database", URL, "--json").document["status"] == "pending"


@pytest.mark.usefixtures("run")
def test_a_paused_run_is_not_retried(cloaca: Command, pending: str) -> None:
    assert cloaca("runs", "pause", pending, "--database", URL, "--json").document["status"] == "paused"
    answer = cloaca("runs", "retry", pending, "--database", URL)
    assert (answer.code, answer.out) == (1, "")
    assert "resume it instead" in answer.err


@pytest.mark.parametrize("action", ["cancel", "pause", "resume"])
def test_a_run_that_has_ended_stays_as_it_is(cloaca: Command, run: str, action: str) -> None:
    answer = cloaca("runs", action, run, "--database", URL)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"error: run {run} stays as it is: it is failed\n"


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("action", [["cancel"], ["pause"], ["resume"], ["retry"], ["fork", "--before", "double"]])
def test_an_unknown_run_is_usage(cloaca: Command, action: list[str]) -> None:
    for unknown in ("12", "abc"):
        answer = cloaca("runs", *action, unknown, "--database", URL)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith("error: ")


def test_the_target_of_another_workflow_is_usage(cloaca: Command, run: str) -> None:
    answer = cloaca("runs", "retry", run, "--target", "jobs:orders", "--database", URL)
    assert answer.code == 2
    assert 'is one of workflow "steps"' in answer.err


def finished(here: Path, run: str) -> str:
    """Work until a run has ended; return its status."""
    from steps import steps  # noqa: PLC0415 - a module of the test's own

    async def work() -> str:
        async with Runner(URL, workflows=[steps]) as runner:
            handle = await runner.get(run)
            await handle.result(timeout=20)
            return await handle.status()

    return asyncio.run(work())


def test_the_worker_that_drives_a_run_heeds_what_is_asked(gates: Shell) -> None:
    process = gates.start("worker", "gates", "--database", URL, "--grace", "0")
    assert process.stdout is not None
    wait_for_line(process, "Started")
    run = submitted(gates)
    assert process.stdout.readline() == "at the gate\n"
    paused = gates("runs", "pause", run, "--database", URL)
    assert (paused.code, paused.err) == (0, "")
    assert "will be paused once the tasks that run have ended" in paused.out
    gates.open_gate()
    assert gates("runs", "resume", run, "--database", URL).code == 0
    wait_for_line(process, "has ended: succeeded")
    other = submitted(gates)
    assert process.stdout.readline() == "at the gate\n"
    cancelled = gates("runs", "cancel", other, "--database", URL, "--json")
    assert (cancelled.code, cancelled.document) == (0, {"id": other, "status": "cancelled"})
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert (gates.directory / "ledger").read_text().split() == ["first", "gated", "last", "first"]


def submitted(gates: Shell) -> str:
    """Start a run in another process, and leave it to the workers; return its id."""
    program = (
        "import asyncio; from gates import *; from cloaca import Runner\n"
        "async def main():\n"
        f"    async with Runner({URL!r}, work=False) as runner: print((await runner.start(gates, Start())).id)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=gates.directory, env=environment_of({}), stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


# Signals

CLAIMS = """
from pydantic import BaseModel

from cloaca import Workflow, task, wait_for


class Approval(BaseModel):
    by: str


@task
def note(approval: Approval) -> None: ...


claims = Workflow("claims", wait_for(Approval) >> note)
"""


def test_a_signal_is_sent(cloaca: Command, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(here)
    (here / "claims.py").write_text(CLAIMS)
    from claims import claims  # type: ignore[import-not-found]  # noqa: PLC0415 - a module of the test's own

    async def start() -> str:
        async with Runner(URL, work=False) as runner:
            return (await runner.start(claims)).id

    run, common = asyncio.run(start()), ("--target", "claims:claims", "--database", URL)
    unfit = cloaca("runs", "send", run, "Approval", *common, "--input", '{"byy": 1}')
    assert (unfit.code, "the signal does not fit Approval" in unfit.err) == (2, True)
    unknown = cloaca("runs", "send", run, "Denial", *common)
    assert (unknown.code, "It waits for Approval." in unknown.err) == (2, True)
    sent = cloaca("runs", "send", run, "Approval", *common, "--input", '{"by": "me"}')
    assert (sent.code, sent.out) == (0, f"run {run} has the signal, and is pending\n")
    twice = cloaca("runs", "send", run, "wait_for:Approval", *common, "--input", '{"by": "me"}')
    assert (twice.code, "waits for no other Approval" in twice.err) == (1, True)
