"""``cloaca graph``: a workflow as a picture, in text, Mermaid, DOT or SVG, or as JSON.

It knows where a picture goes and in which format; the drawing is done elsewhere.
"""

from __future__ import annotations

import os
import shutil
from enum import StrEnum
from pathlib import Path
from typing import TextIO

from cloaca.cli.documents import Json, write_document
from cloaca.cli.refusals import Exit, Refusal
from cloaca.cli.streams import data_stream, is_terminal
from cloaca.cli.targets import AnyWorkflow, load_workflow


class Format(StrEnum):
    """How a graph is drawn."""

    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


SUFFIXES = {".svg": Format.SVG, ".dot": Format.DOT, ".gv": Format.DOT, ".mmd": Format.MERMAID}
LEAST_WIDTH, WIDTH = 20, 80


def graph(target: str, *, format: Format | None, output: Path | None, as_json: bool) -> Exit:
    """Draw a workflow on standard output, or into a file. Raises Refusal and ContractError."""
    if as_json and format is not None:
        raise Refusal("--json and --format exclude each other: JSON is a format of its own")
    with data_stream() as out:
        workflow = load_workflow(target)
        if output is not None:
            _write_file(output, workflow, format or SUFFIXES.get(output.suffix, Format.TEXT), as_json)
        elif as_json:
            write_document(out, document_of(workflow))
        else:
            out.write(_ended(_drawn(workflow, format or Format.TEXT, out)))
    return Exit.DONE


def _write_file(path: Path, workflow: AnyWorkflow, format: Format, as_json: bool) -> None:
    try:
        with path.open("w", encoding="utf-8") as file:
            if as_json:
                write_document(file, document_of(workflow))
            else:
                file.write(_ended(_drawn(workflow, format, file)))
    except OSError as error:
        raise Refusal(f'"{path}" can\'t be written: {error.strerror}') from None


def _drawn(workflow: AnyWorkflow, format: Format, out: TextIO) -> str:
    match format:
        case Format.MERMAID:
            return workflow.to_mermaid()
        case Format.DOT:
            return workflow.to_dot()
        case Format.SVG:
            return workflow.to_svg()
        case Format.TEXT:
            terminal = is_terminal(out)
            width = max(LEAST_WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns) if terminal else WIDTH
            return workflow.to_text(width=width, color=terminal and not os.environ.get("NO_COLOR"))


def _ended(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"


def document_of(workflow: AnyWorkflow) -> Json:
    """Return what ``graph --json`` prints; ``edges`` are order between tasks, ``undoes`` compensations."""
    picture = workflow.picture()
    return {
        "name": workflow.name,
        "version": workflow.version,
        "input": workflow.input.__name__ if workflow.input else None,
        "output": " | ".join(model.__name__ for model in workflow.outputs) or None,
        "tasks": [
            {"name": shape.name, "kind": shape.kind, "detail": shape.detail, "note": shape.note}
            for shape in picture.sorted_shapes()
        ],
        "edges": [list(arrow) for arrow in sorted(picture.arrows - picture.backward)],
        "undoes": [[undo, done] for done, undo in sorted(picture.backward)],
    }
