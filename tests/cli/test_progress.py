"""Live progress: on a real terminal, and as pictures of a board."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from rich.console import Console

from cloaca import Retry
from cloaca.cli.boards import Board
from cloaca.cli.progress import picture
from cloaca.interpreter.histories import RunEvent, TaskInfo
from tests.cli.conftest import Shell, environment_of

START = datetime(2026, 1, 1, tzinfo=UTC)


class Terminal:
    """A terminal of 80 by 24, with a command in it."""

    def __init__(self, master: int) -> None:
        self._master = master
        self.seen = ""

    def read_until(self, pattern: str) -> None:
        """Read until ``pattern`` was shown."""
        while not re.search(pattern, self.seen):
            assert self._read(), f"the command has ended without {pattern!r}: {self.seen!r}"

    def read_to_the_end(self) -> None:
        """Read until the command has closed the terminal."""
        while self._read():
            pass

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux says so when the other side is closed
            return False
        self.seen += data.decode()
        return bool(data)

    def text(self) -> str:
        """What was shown, without colours and cursor movements."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.seen)


@contextmanager
def in_terminal(
    shell: Shell, *arguments: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], Terminal]]:
    """Run a command in a terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "cloaca.cli", *arguments]
    with subprocess.Popen(
        command, cwd=shell.directory, env=environment_of(environment), stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        try:
            yield process, Terminal(master)
        finally:
            process.kill()
            os.close(master)


def test_progress_is_live_and_what_tasks_print_stands_above_it(gates: Shell) -> None:
    with in_terminal(gates, "run", "gates") as (process, terminal):
        terminal.read_until(r"1/3 tasks, 1 running")
        terminal.read_until("gated .*0\\.[1-9]s")  # time goes on while the task waits
        gates.open_gate()
        terminal.read_to_the_end()
        assert process.wait() == 0
    text = terminal.text()
    assert "✓ gates · 3/3 tasks · " in text
    assert re.search(r"✓ first +0\.0s", text)
    assert "at the gate" in text
    assert text.rstrip().endswith("null")
    assert "\x1b[32m" in terminal.seen  # green, as this is a terminal


def test_no_colour_keeps_the_progress_and_quiet_does_not(shell: Shell) -> None:
    with in_terminal(shell, "run", "jobs", "-i", '{"order_id": 12}', NO_COLOR="1") as (process, terminal):
        terminal.read_to_the_end()
        assert process.wait() == 1
    assert "✗ orders · 3/3 tasks, 1 failed, 1 skipped" in terminal.text()
    assert "printed by a child of fetch" in terminal.text()
    assert re.search(r"ship +skipped: charge failed", terminal.text())
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", terminal.seen)
    with in_terminal(shell, "run", "jobs", "-i", '{"order_id": 7}', "--quiet") as (process, terminal):
        terminal.read_to_the_end()
        assert process.wait() == 0
    assert "tasks" not in terminal.text()
    assert '"tracking": "t-p1"' in terminal.text()


def drawn(
    board: Board, *, lines: int = 20, width: int = 80, after_s: float = 1.0, ascii_only: bool = False
) -> list[str]:
    """Return a board's picture as lines."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    now = START + timedelta(seconds=after_s)
    with console.capture() as capture:
        console.print(picture(board, now, lines, width, ascii_only=ascii_only))
    return [line.rstrip() for line in capture.get().splitlines()]


def happened(board: Board, *events: tuple[str, str | None, int | None]) -> Board:
    """Apply events, a second apart."""
    for second, (kind, task, attempt) in enumerate(events):
        detail = "no route\nto bank" if kind.endswith("failed") else ""
        board.apply(RunEvent(kind, task, START + timedelta(seconds=second), attempt, detail))
    return board


def test_a_small_graph_shows_every_task() -> None:
    board = happened(
        Board("orders", "7", {"fetch": Retry(), "charge": Retry(attempts=3, delay=5), "ship": Retry()}),
        ("run_started", None, None),
        ("task_started", "fetch", 1),
        ("task_succeeded", "fetch", 1),
        ("task_started", "charge", 1),
        ("attempt_failed", "charge", 1),
    )
    assert drawn(board, after_s=6) == [
        "⠋ orders · 1/3 tasks, 1 waiting · 6.0s · run 7",
        " ✓ fetch    1.0s",
        " ↻ charge   2.0s attempt 1 of 3 failed, again in 3.0s: no route",
        " · ship",
    ]
    happened(board, ("task_started", "charge", 2), ("task_failed", "charge", 2), ("task_skipped", "ship", None))
    board.settle([TaskInfo("ship", "skipped", 0, None, None, "charge failed")])
    happened(board, ("run_failed", None, None))
    assert drawn(board, ascii_only=True) == [
        "x orders - 3/3 tasks, 1 failed, 1 skipped - 0.0s - run 7",
        " + fetch    1.0s",
        " x charge   1.0s failed after 2 attempts: no route",
        " - ship          skipped: charge failed",
    ]


def test_a_wide_graph_shows_what_runs_or_failed_and_fits_the_height() -> None:
    board = Board("wide", "7", {f"task-{n}": Retry() for n in range(100)})
    happened(board, *(("task_started", f"task-{n}", 1) for n in range(50)))
    happened(board, *(("task_succeeded", f"task-{n}", 1) for n in range(10)), ("task_failed", "task-49", 1))
    lines = drawn(board, lines=8)
    assert lines[0] == "⠋ wide · 11/100 tasks, 39 running, 1 failed · run 7"
    assert [line.split()[:2] for line in lines[1:4]] == [["✗", "task-49"], ["⠋", "task-10"], ["⠋", "task-11"]]
    assert lines[-1] == "   and 32 more"
    assert len(lines) == 10


def test_long_and_hostile_names_stay_in_their_line() -> None:
    board = Board("w\x1b[2J", "7", {"n" * 200: Retry(), "a\nb": Retry()})
    lines = drawn(board, width=40)
    assert len(lines) == 3
    assert all(len(line) <= 40 and "\x1b" not in line for line in lines)


def test_a_run_that_is_left_shows_what_will_run_again() -> None:
    board = happened(
        Board("w", "7", {"a": Retry(), "b": Retry()}), ("run_started", None, None), ("task_started", "a", 1)
    )
    board.leave(START + timedelta(seconds=3))
    assert drawn(board) == ["· w · 0/2 tasks · 3.0s · run 7", " · a", " · b"]
