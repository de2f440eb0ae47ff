"""What bodies and submitters have left behind outside of the database: a line for each thing, synced before it counts.

Every line is appended with a single call, between two line ends: one that a kill has torn is alone, and has not counted
yet. It knows files, not workflows.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

VARIABLE = "CLOACA_TORTURE_JOURNAL"  # the file; child processes inherit it

Line = dict[str, Any]


def note(kind: str, **facts: object) -> None:
    """Append a line and have it on the disk."""
    entry = {"kind": kind, "pid": os.getpid(), "at": time.time(), **facts}
    file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(file, b"\n" + json.dumps(entry).encode() + b"\n")
        os.fdatasync(file)
    finally:
        os.close(file)


def lines(path: Path, kind: str | None = None) -> list[Line]:
    """Return the lines so far, in order, all or those of one kind."""
    return [line for line in _read(path) if kind is None or line["kind"] == kind]


def _read(path: Path) -> Iterator[Line]:
    if path.exists():
        for line in path.read_text().splitlines():
            with suppress(ValueError):  # an empty one, one that is being written, one that was torn
                yield json.loads(line)
