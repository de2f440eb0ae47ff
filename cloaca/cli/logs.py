"""Log lines on standard error: for people, or one JSON object each.

It knows log records, not what is logged. Where the user's modules have set up logging themselves, what they log goes
where they say, and only cloaca's own lines come here.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum

from cloaca.cli.streams import printable
from cloaca.logs import AttemptFilter

# What every record has; whatever else is there was given by `extra`.
USUAL = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


@contextmanager
def logging_to_stderr(*, as_json: bool) -> Iterator[None]:
    """Write what is logged to standard error: cloaca's lines from INFO on, others from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else Lines())
    handler.addFilter(AttemptFilter())
    ours, root = logging.getLogger("cloaca"), logging.getLogger()
    before = (ours.level, ours.propagate)
    ours.setLevel(ours.level or logging.INFO)
    ours.propagate = not root.handlers
    chosen = root if ours.propagate else ours
    chosen.addHandler(handler)
    try:
        yield
    finally:
        chosen.removeHandler(handler)
        ours.setLevel(before[0])
        ours.propagate = before[1]


class LogFormat(StrEnum):
    """How log records are written."""

    TEXT = "text"
    JSON = "json"


class Lines(logging.Formatter):
    """A line for people: time, level, logger, message; a traceback below it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class JsonLines(logging.Formatter):
    """A line for programs: ``at``, ``level``, ``logger``, ``message``, then what was logged with ``extra``.

    >>> record = logging.makeLogRecord({"msg": "Run 7 has ended", "name": "cloaca.worker", "run": "7", "created": 0.5})
    >>> JsonLines().format(record)
    '{"at": "1970-01-01T00:00:00.500000+00:00", "level": "level none", "logger": "cloaca.worker", "message": ...}'
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in USUAL and name not in line}
        if record.exc_text or record.exc_info:
            line["traceback"] = record.exc_text or self.formatException(record.exc_info)  # type: ignore[arg-type]  # one of them is there
        return json.dumps(line, default=str)
