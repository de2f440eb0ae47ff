"""What the tests of the command line share: a directory with a user's modules, and the command as a real process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloaca.cli import main

REPOSITORY = Path(__file__).parents[2]

# A shell's background job ignores SIGINT and hands that on; a terminal's command does not.
LISTENING = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from cloaca.cli import main; sys.exit(main())"
)

JOBS = """
import subprocess
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel
from returns.result import Failure, Result, Success

from cloaca import Retry, Workflow, task


class OrderRef(BaseModel):
    order_id: int

class Order(BaseModel):
    order_id: int
    amount: Decimal

class Payment(BaseModel):
    payment_id: str

class Declined(BaseModel):
    reason: str

class Shipment(BaseModel):
    tracking: str


@task
def fetch(ref: OrderRef) -> Order:
    print("printed by fetch")
    subprocess.run(["echo", "printed by a child of fetch"])
    return Order(order_id=ref.order_id, amount=Decimal("12.50"))

@task(retry=Retry(attempts=2, delay=0.01))
def charge(order: Order) -> Result[Payment, Declined]:
    if order.order_id == 13:
        return Failure(Declined(reason="card expired"))
    if order.order_id == 12:
        raise ConnectionError("no route to bank\\nsecond line")
    return Success(Payment(payment_id="p1"))

@task
def ship(payment: Payment) -> Shipment:
    return Shipment(tracking=f"t-{payment.payment_id}")


orders = Workflow("orders", fetch >> charge >> ship, input=OrderRef)
"""

# The second task waits at a named pipe, so that a test can do something in the middle of the run.
GATED = """
from pathlib import Path

from pydantic import BaseModel

from cloaca import Workflow, task


class Start(BaseModel):
    n: int = 1


def done(name: str) -> None:
    with Path("ledger").open("a") as ledger:
        ledger.write(f"{name}\\n")

@task
def first(start: Start) -> None:
    done("first")

@task
def gated(start: Start) -> None:
    print("at the gate", flush=True)
    Path("gate").read_text()
    done("gated")

@task
def last(start: Start) -> None:
    done("last")


gates = Workflow("gates", first >> gated >> last)
"""


@dataclass(frozen=True)
class Answer:
    """What a command has answered."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Its standard output as JSON."""
        return json.loads(self.out)

    def lines(self) -> list[str]:
        """Its standard output as lines."""
        return self.out.splitlines()


@dataclass(frozen=True)
class Shell:
    """Runs commands in a directory of their own."""

    directory: Path

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "cloaca.cli", *arguments],
            cwd=self.directory,
            env=environment_of(environment),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert 'Traceback (most recent call last):\n  File "<frozen' not in done.stderr, done.stderr
        return Answer(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that can be interrupted."""
        return subprocess.Popen(
            [sys.executable, "-c", LISTENING, *arguments],
            cwd=self.directory,
            env=environment_of({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def open_gate(self) -> None:
        """Let the task at the gate go on; waits until it is there."""
        (self.directory / "gate").write_text("open")


def environment_of(more: dict[str, str]) -> dict[str, str]:
    """Return the environment of a command: nothing in it but ``more`` decides on databases and colours."""
    ours = {"CLOACA_DATABASE_URL", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {"PYTHONPATH": str(REPOSITORY), "TERM": "xterm-256color"} | more


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A directory with ``jobs.py``."""
    shell = Shell(tmp_path)
    shell.write("jobs.py", JOBS)
    return shell


@pytest.fixture
def gates(shell: Shell) -> Shell:
    """The same with ``gates.py`` and its gate."""
    shell.write("gates.py", GATED)
    os.mkfifo(shell.directory / "gate")
    return shell


@pytest.fixture
def here(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of ``jobs.py`` is the current one; what this process imports there is forgotten afterwards."""
    monkeypatch.chdir(shell.directory)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield shell.directory
    for name in set(sys.modules) - before:
        if str(shell.directory) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


Command = Callable[..., Answer]


@pytest.fixture
def cloaca(here: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process, in the directory of ``jobs.py``: what a process would show again, only cheaper."""

    def command(*arguments: str) -> Answer:
        code = main(arguments)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return command


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    """Read a process's standard error up to a line that has ``text``."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if text in line:
            return
    raise AssertionError(f"{text!r} did not come, but {''.join(seen)!r}")


def interrupt(process: subprocess.Popen[str]) -> None:
    """Do what Ctrl-C does."""
    process.send_signal(signal.SIGINT)
