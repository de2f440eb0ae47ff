"""JSON on standard output, and the shapes that it has.

It knows values and how they are written; what belongs into a document, the commands decide. Models are written by
field name, never by alias, as they are stored. A document is one line, but indented on a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO, TypeAlias

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from cloaca.algebra.outcomes import RunFailure, TaskFailure
from cloaca.cli.streams import is_terminal

Json: TypeAlias = Any  # what the json module reads and writes


def write_document(out: TextIO, value: Json) -> None:
    """Write one JSON document and a line's end."""
    indent = 2 if is_terminal(out) else None
    unicode = "utf" in (out.encoding or "").lower()
    out.write(json.dumps(value, indent=indent, ensure_ascii=not unicode))
    out.write("\n")


def plain(value: object) -> Json:
    """Return a run's output as JSON values: None, a model, or the context of a workflow with several last tasks.

    >>> plain({"at": datetime(2026, 1, 2)})
    {'at': '2026-01-02T00:00:00'}
    """
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=False, warnings=False)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return to_jsonable_python(value, by_alias=False, fallback=str)


def moment(at: datetime | None) -> str | None:
    """Return a time as ISO 8601 in UTC."""
    return None if at is None else at.isoformat()


def failure_document(failure: RunFailure[Any]) -> Json:
    """Return why a run has no output: the deciding task, its error or exception, and every failed attempt."""
    last = deciding(failure)
    return {
        "task": failure.task,
        "error": plain(failure.error),
        "exception_type": last.exception_type if last else None,
        "message": last.message if last else f"the run was {failure.status}",
        "failures": attempts_document(failure.failures),
    }


def attempts_document(failures: Sequence[TaskFailure]) -> Json:
    """Return failed attempts, in the order in which they happened."""
    return [
        {
            "task": failure.task,
            "attempt": failure.attempt,
            "exception_type": failure.exception_type,
            "message": failure.message,
            "traceback": failure.traceback,
            "error": plain(failure.error),
            "at": moment(failure.at),
        }
        for failure in failures
    ]


def deciding(failure: RunFailure[Any]) -> TaskFailure | None:
    """Return the attempt that made a run fail; None if it was cancelled."""
    return next((last for last in reversed(failure.failures) if last.task == failure.task), None)
