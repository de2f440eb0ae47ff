"""The page about one run: what ``cloaca runs show`` prints for people, in 80 columns.

It knows a dossier and rich's tables.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TextIO

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cloaca.cli.durations import between, shown_time
from cloaca.cli.signs import sign_of, style_of
from cloaca.cli.streams import in_one_line, print_data, printable, width_of
from cloaca.cli.tracebacks import tail_of
from cloaca.interpreter.histories import TaskInfo, Waiting

if TYPE_CHECKING:
    from cloaca.cli.showing import Attempt, Dossier

LONGEST_PAYLOAD = 200
BESIDE_NAMES = (11, 7, 7, 5 * 2)  # status, attempt, took, and what is between
LEAST_ROOM = 16


def write_page(dossier: Dossier, out: TextIO) -> None:
    """Print a run: how it stands, its tasks, its failures."""
    blocks: list[RenderableType] = [_facts(dossier)]
    if dossier.tasks:
        blocks += [
            "",
            _tasks(dossier.tasks, width_of(out), ascii_only=not (out.encoding or "").lower().startswith("utf")),
        ]
    if dossier.failures:
        number = len(dossier.failures)
        blocks.append(Text(f"\n{number} failed attempts" if number > 1 else "\n1 failed attempt", style="bold"))
    blocks += (_failure(attempt, trace=attempt is dossier.failures[-1]) for attempt in dossier.failures)
    print_data(out, *blocks)


def _facts(dossier: Dossier) -> Table:
    info = dossier.info
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    took = between(info.started_at, info.finished_at)
    table.add_row("run", Text(info.id))
    table.add_row("workflow", Text(printable(info.workflow)))
    table.add_row("version", Text(info.version))
    table.add_row("status", Text(info.status, style=style_of(info.status)))
    facts = {
        "reason": info.reason,
        "waits for": said(dossier.waiting),
        "key": info.key,
        "priority": str(info.priority) if info.priority else None,
        "created": shown_time(info.created_at),
        "started": shown_time(info.started_at),
        "finished": f"{shown_time(info.finished_at)} (took {took})" if took else None,
        "input": _shortened(dossier.input),
        "output": _shortened(json.dumps(dossier.output, ensure_ascii=False)) if dossier.has_output else None,
    }
    for name, value in facts.items():
        if value:
            table.add_row(name, Text(printable(value)))
    return table


def said(waiting: Waiting) -> str | None:
    """Return what a run waits for, in words; None if it has ended or its reason says it all.

    >>> said(Waiting("task", "charge"))
    'task "charge", which runs'
    """
    match waiting.kind:
        case "nothing" | "blocked":
            return None
        case "worker":
            return "a worker that has its workflow"
        case "task":
            return f'task "{waiting.task}", which runs'
        case "retry":
            return f'the next attempt of task "{waiting.task}" at {shown_time(waiting.until)}'
        case "queue":
            until = f" at {shown_time(waiting.until)}" if waiting.until else ""
            return f'a slot of queue "{waiting.field}" for task "{waiting.task}"{until}'
        case "slot":
            return f'a free slot for task "{waiting.task}"'
        case kind:
            return " ".join(filter(None, [kind, waiting.task, waiting.field, shown_time(waiting.until)]))


def _tasks(tasks: list[TaskInfo], width: int, *, ascii_only: bool) -> Table:
    room = max(LEAST_ROOM, width - sum(BESIDE_NAMES))
    notes = any(task.skipped_because for task in tasks)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("TASK", no_wrap=True, overflow="ellipsis", max_width=room // 2 if notes else room)
    table.add_column("STATUS", no_wrap=True)
    table.add_column("ATTEMPT", no_wrap=True, justify="right")
    table.add_column("TOOK", no_wrap=True, justify="right")
    table.add_column("", no_wrap=True, overflow="ellipsis", max_width=room // 2, style="dim")
    for task in tasks:
        status = Text(f"{sign_of(task.status, ascii_only=ascii_only)} {task.status}", style=style_of(task.status))
        attempt = str(task.attempt) if task.attempt else ""
        took = between(task.started_at, task.finished_at)
        table.add_row(
            Text(in_one_line(task.name)), status, attempt, took, Text(in_one_line(task.skipped_because or ""))
        )
    return table


def _failure(attempt: Attempt, *, trace: bool) -> Text:
    row = attempt.row
    what = f"{row.exception_type}: {row.message}" if row.message else row.exception_type
    if row.error is not None:
        what = f"{row.exception_type} {_shortened(row.error)}"
    text = Text.assemble((f"  {printable(attempt.task)}, attempt {row.attempt}: ", "bold"), printable(what))
    if trace and row.traceback:
        lines = printable(tail_of(row.traceback)).splitlines()
        text.append("".join(f"\n    {line}" for line in lines), style="dim")
    return text


def _shortened(payload: str | None) -> str | None:
    if payload is None or len(payload) <= LONGEST_PAYLOAD:
        return payload
    return f"{payload[:LONGEST_PAYLOAD]}... ({len(payload):,} characters; --json has all)"
