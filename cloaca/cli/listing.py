"""``cloaca runs list``: the runs of a database, newest first, without the user's code.

It reads rows and prints a table of 80 columns, or JSON.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from rich.table import Table
from rich.text import Text

from cloaca.cli.databases import opened, run_number
from cloaca.cli.documents import Json, moment
from cloaca.cli.durations import between, shown_time
from cloaca.cli.lists import Form, print_list
from cloaca.cli.refusals import Exit
from cloaca.cli.signs import style_of
from cloaca.cli.streams import in_one_line, print_data, remark, width_of
from cloaca.interpreter.histories import RunInfo, run_info

BESIDE_WORKFLOW = (19, 9, 19, 7, 4 * 2)  # the other columns, and what is between
LEAST_ROOM = 8


@dataclass(frozen=True, slots=True)
class Query:
    """Which runs to list: of a workflow, in a status, older than ``before``, and how many at most."""

    workflow: str | None
    status: str | None
    before: str | None
    limit: int


def list_runs(query: Query, database: str | None, *, as_json: bool) -> Exit:
    """Print runs. Raises CloacaError."""
    return print_list(
        Form(document_of, _write_table, "no such runs", lambda info: f"--before {info.id}"),
        lambda limit: asyncio.run(_infos(query, database, limit)),
        limit=query.limit,
        as_json=as_json,
    )


async def _infos(query: Query, database: str | None, limit: int) -> list[RunInfo]:
    before = None if query.before is None else run_number(query.before)
    async with opened(database) as store:
        rows = await store.runs(workflow=query.workflow, status=query.status, before=before, limit=limit)
    return [run_info(row) for row in rows]


def document_of(info: RunInfo) -> Json:
    """Return a run as ``runs list --json`` has it: the fields of RunInfo, times in ISO 8601."""
    return {
        "id": info.id,
        "workflow": info.workflow,
        "version": info.version,
        "status": info.status,
        "key": info.key,
        "created_at": moment(info.created_at),
        "started_at": moment(info.started_at),
        "finished_at": moment(info.finished_at),
        "reason": info.reason,
        "priority": info.priority,
    }


def _write_table(infos: list[RunInfo], out: TextIO) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("ID", no_wrap=True)
    room = width_of(out) - sum(BESIDE_WORKFLOW)
    table.add_column("WORKFLOW", no_wrap=True, overflow="ellipsis", max_width=max(LEAST_ROOM, room))
    table.add_column("STATUS", no_wrap=True)
    table.add_column("CREATED", no_wrap=True)
    table.add_column("TOOK", no_wrap=True, justify="right")
    now = datetime.now(UTC)
    for info in infos:
        status = Text(info.status, style=style_of(info.status))
        took = between(info.started_at, info.finished_at or (now if info.status == "running" else None))
        table.add_row(info.id, Text(in_one_line(info.workflow)), status, shown_time(info.created_at), took)
    print_data(out, table)
    for info in infos:
        if info.status == "blocked":
            remark(f"run {info.id} is blocked: {in_one_line(info.reason or '')}")
