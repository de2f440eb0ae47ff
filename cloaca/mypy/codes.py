"""The error codes that mypy knows of us, one for each code of the contract, and ``cloaca-unchecked``.

``# type: ignore[cloaca-missing-field]`` silences one of them on its line, ``disable_error_code = cloaca`` all of them.
"""

from __future__ import annotations

from typing import Final

from mypy.errorcodes import ErrorCode

CLOACA: Final = ErrorCode("cloaca", "Check that workflows keep the context contract", "cloaca")

_DESCRIPTIONS: Final = {
    "missing-field": "Check that each field that a task reads is written before it",
    "field-type": "Check that each field is read with a type that fits",
    "maybe-missing": "Check that what writes a required field surely runs",
    "write-conflict": "Check that tasks without an order don't write one field",
    "unread-rewrite": "Check that a task reads what it replaces",
    "graph-cycle": "Check that graphs have no cycle",
    "shared-task": "Check that the operands of >> share no task",
    "task-name": "Check that one name stands for one task",
    "task-model": "Check that tasks read and write models that survive JSON",
    "workflow-input": "Check inputs, outputs and sealed rows",
}

CODES: Final = {
    code: ErrorCode(f"cloaca-{code}", description, "cloaca", sub_code_of=CLOACA)
    for code, description in _DESCRIPTIONS.items()
}

UNCHECKED: Final = ErrorCode(
    "cloaca-unchecked",
    "Say where a graph's structure can't be known",
    "cloaca",
    default_enabled=False,
    sub_code_of=CLOACA,
)
