"""What the tasks print while progress is drawn: taken at the level of file descriptors, and handed on line by line.

It knows descriptors 1 and 2 and nothing of what is drawn. Replacing ``sys.stdout`` would miss log handlers that hold
the old one, and child processes; they would print into the picture. A thread reads, because a body that prints much
on the event loop would wait for its own reader otherwise.
"""

from __future__ import annotations

import codecs
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

CHUNK = 65536
DRAIN_S = 0.5  # a child process that goes on may keep the pipe open


class Capture:
    """Hands every printed line to ``show``, on a thread of its own, until it is closed.

    ``terminal`` is where standard error went before, for whoever draws.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._flush()
        self._saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
        self.terminal: TextIO = os.fdopen(os.dup(2), "w", encoding=sys.stderr.encoding, errors="backslashreplace")
        self._source, sink = os.pipe()
        for descriptor in self._saved:
            os.dup2(sink, descriptor)
        os.close(sink)
        self._reader = threading.Thread(target=self._read, name="cloaca-printed", daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Give the descriptors back, and hand on what was printed last."""
        self._flush()
        for descriptor, saved in self._saved.items():
            os.dup2(saved, descriptor)
            os.close(saved)
        self._saved.clear()
        self._reader.join(DRAIN_S)

    @staticmethod
    def _flush() -> None:
        sys.stdout.flush()
        sys.stderr.flush()

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        while chunk := os.read(self._source, CHUNK):
            *lines, rest = (rest + decoder.decode(chunk)).split("\n")
            self._hand_on(lines)
        self._hand_on([rest] if rest else [])
        os.close(self._source)

    def _hand_on(self, lines: list[str]) -> None:
        for line in lines:
            with suppress(OSError):  # the terminal is gone; the tasks must not wait for it
                self._show(line)
