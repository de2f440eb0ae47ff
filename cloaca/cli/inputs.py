"""The input of a run: from ``--input`` to the workflow's model.

It knows pydantic's errors and says them by field path. ``--input`` is JSON, ``@file`` or ``-`` for standard input;
fields go by name, their aliases will do.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cloaca.algebra.models import row_of
from cloaca.cli.imports import user_code
from cloaca.cli.refusals import Refusal
from cloaca.cli.targets import AnyWorkflow
from cloaca.contract.notation import show

LONGEST_VALUE, LONGEST_PATH = 60, 200


def read_input(workflow: AnyWorkflow, source: str | None) -> BaseModel | None:
    """Return the input of a run as the workflow's model; None for a workflow without input.

    Without a source, a model whose fields all have defaults is made of them. Raises Refusal.
    """
    model = workflow.input
    if model is None:
        if source is not None:
            raise Refusal(f'workflow "{workflow.name}" takes no input', "Leave --input out.")
        return None
    try:
        return _validated(model, "{}" if source is None else _text_of(source))
    except ValidationError as error:
        raise _refused("input", f'workflow "{workflow.name}" takes', model, source, error) from None


def read_signal(workflow: AnyWorkflow, name: str, source: str | None) -> BaseModel:
    """Return the signal for the wait that ``name`` means, by its own name or by its model's. Raises Refusal."""
    plan = workflow.plan
    waits = [plan.nodes[node] for node in plan.channels]
    found = next((wait for wait in waits if name in (wait.signal, wait.task)), None)
    if found is None or found.output is None:
        known = ", ".join(dict.fromkeys(str(wait.signal) for wait in waits)) or "no signal at all"
        raise Refusal(f'workflow "{workflow.name}" waits for no {name}', f"It waits for {known}.")
    try:
        return _validated(found.output, "{}" if source is None else _text_of(source))
    except ValidationError as error:
        raise _refused("signal", f'workflow "{workflow.name}" waits for', found.output, source, error) from None


def _validated(model: type[BaseModel], text: str) -> BaseModel:
    with user_code(f"validating {model.__name__}", ValidationError):
        return model.model_validate_json(text, by_alias=True, by_name=True)


def _refused(what: str, who: str, model: type[BaseModel], source: str | None, error: ValidationError) -> Refusal:
    """Say what is wrong with an input or a signal; ``who`` is who wants it, and how, as in ``workflow "x" takes``."""
    errors = error.errors(include_url=False)
    if source is None:
        return Refusal(f"{who} {model.__name__}: give it with --input", *_taken(model))
    if errors[0]["type"] == "json_invalid":
        return _no_json(source, errors[0])
    message = f"the {what} does not fit {model.__name__}, which {who}"
    return Refusal(message, *(_problem(details) for details in errors), *_taken(model))


def _text_of(source: str) -> str:
    where = "--input"
    if source in ("-", "@-"):
        where, raw = "standard input", sys.stdin.buffer.read()
    elif source.startswith("@"):
        where, raw = source[1:], _content(Path(source[1:]))
    else:
        raw = os.fsencode(source)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refusal(f"{where} is not UTF-8: {error.reason} at byte {error.start}") from None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refusal(f'the input file "{path}" can\'t be read: {error.strerror}') from None


def _no_json(source: str, error: ErrorDetails) -> Refusal:
    hint = "Quote it for the shell, for instance --input '{\"order_id\": 7}'."
    if source.isprintable() and len(source) < LONGEST_PATH and Path(source).is_file():
        hint = f"For the content of the file write --input @{source}"
    return Refusal(f"the input is no JSON: {error['ctx']['error']}", hint)


def _problem(error: ErrorDetails) -> str:
    value = error["input"]
    if error["type"] == "missing":
        return f"{path_of(error['loc'])}: {error['msg']}{_misspelt(error['loc'], value)}"
    shown = json.dumps(value, ensure_ascii=False, default=repr)
    if len(shown) > LONGEST_VALUE:
        shown = f"{shown[: LONGEST_VALUE - 3]}..."
    return f"{path_of(error['loc'])}: {error['msg']}, not {shown}"


def _misspelt(loc: tuple[int | str, ...], given: object) -> str:
    if not loc or not isinstance(given, dict):
        return ""
    close = get_close_matches(str(loc[-1]), [str(key) for key in given], n=1)
    return f'; the input has "{close[0]}"' if close else ""


def path_of(loc: Iterable[int | str]) -> str:
    """Return where an error is, as one would write it in Python.

    >>> path_of(("items", 0, "price")), path_of(())
    ('items[0].price', 'the input')
    """
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or "the input"


def _taken(model: type[Any]) -> list[str]:
    row = row_of(model)
    fields = [f"{name} ({show(field.type)}{'' if field.required else ', optional'})" for name, field in row.items()]
    return [f"{model.__name__} has {', '.join(fields)}."] if fields else []
