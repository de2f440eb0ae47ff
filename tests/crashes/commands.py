"""``cloaca worker`` as a real process: its log as it comes, and the signals that end it.

It knows the command and its log lines, and no test.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cli.conftest import LISTENING
from tests.crashes.processes import PATIENCE_S, until

REPOSITORY = Path(__file__).parents[2]


class Worker:
    """A worker's process. ``log`` is what it has logged so far, a dictionary for each line."""

    def __init__(self, *arguments: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "CLOACA_DATABASE_URL"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", LISTENING, "worker", *arguments, "--json"],
            cwd=REPOSITORY,
            env=environment | {"PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(json.loads(line) if line.startswith("{") else {"message": line})

    def said(self, text: str) -> list[dict[str, Any]]:
        """Return the lines that have a text."""
        return [line for line in list(self.log) if text in line["message"]]

    def wait_for(self, text: str) -> None:
        """Wait for a line that has a text."""
        until(lambda: bool(self.said(text)) or self.process.poll() is not None)
        assert self.said(text), self.log

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for its end; return its exit code."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code

    def close(self) -> None:
        """See to it that it is gone."""
        self.signal(signal.SIGKILL)
        self.end()
        assert self.process.stderr is not None
        self.process.stderr.close()


@contextmanager
def worker(url: str, *options: str, target: str = "tests.crashes.programs") -> Iterator[Worker]:
    """A worker that is at work, and does not outlive the block."""
    started = Worker(target, "--database", url, *options)
    try:
        started.wait_for("Started")
        yield started
    finally:
        started.close()
