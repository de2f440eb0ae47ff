"""Live progress in a terminal: one line for each task, and of a wide graph only those worth a look.

It draws a board on rich's live display, ten times a second; it knows no database. Whatever the tasks print appears
above it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cloaca.cli.boards import Board, Line
from cloaca.cli.captures import Capture
from cloaca.cli.durations import between, shown_duration
from cloaca.cli.signs import FRAME_S, sign_of, spinner_at, style_of
from cloaca.cli.streams import in_one_line, remark
from cloaca.errors import CloacaError
from cloaca.interpreter.histories import VISIBLE
from cloaca.runner import RunHandle

NEWLINE = "\n"
BESIDE_NAMES = (2, 6, 3)  # the sign, the time, what is between
BESIDE_LINES = 3  # the header, the line that counts what is left out, and the cursor's


def board_of(handle: RunHandle[Any, Any]) -> Board:
    """Return a board of a run's tasks, none of them started."""
    nodes = [node for node in handle.workflow.plan.nodes if node.kind in VISIBLE]
    return Board(handle.workflow.name, handle.id, {node.task: node.retry for node in nodes})


class Screen:
    """Shows a run's progress on the terminal, if it is to be visible."""

    def __init__(self, *, visible: bool) -> None:
        self._visible = visible
        self._board: Board | None = None
        self._live: Live | None = None
        self._capture: Capture | None = None
        self._work: list[asyncio.Task[None]] = []

    def follow(self, handle: RunHandle[Any, Any]) -> None:
        """Show a run from now on."""
        if not self._visible:
            return
        board = board_of(handle)
        capture = Capture(self._printed)
        console = Console(file=capture.terminal, highlight=False)
        picture = BoardPicture(board)
        live = Live(
            get_renderable=lambda: picture,
            console=console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._board, self._capture, self._live = board, capture, live
        live.start()
        self._work = [asyncio.create_task(_follow(handle, board)), asyncio.create_task(_paint(live))]

    def _printed(self, line: str) -> None:
        """Show above the progress what a task has printed, its colours too."""
        if self._live is not None:
            self._live.console.print(Text.from_ansi(line))

    def note(self, text: str) -> None:
        """Print a note, above the progress."""
        remark(text, self._live.console if self._live else None)

    async def settle(self, handle: RunHandle[Any, Any], status: str) -> None:
        """Show where the run stands now, for the last time."""
        if self._board is None:
            return
        self._board.status = status
        with suppress(CloacaError):  # the code has changed: what the events told will do
            self._board.settle(await handle.tasks())

    async def close(self) -> None:
        """Leave the last picture on the terminal."""
        if self._board is None or self._live is None or self._capture is None:
            return
        for task in self._work:
            task.cancel()
        if self._board.status == "running":
            self._board.leave(datetime.now(UTC))
        self._capture.close()
        self._live.stop()
        self._capture.terminal.close()
        await asyncio.gather(*self._work, return_exceptions=True)


async def _follow(handle: RunHandle[Any, Any], board: Board) -> None:
    with suppress(CloacaError):  # the command itself says what is wrong; progress only stops
        async for event in handle.events():
            board.apply(event)


async def _paint(live: Live) -> None:
    while True:
        live.refresh()
        await asyncio.sleep(FRAME_S)


class BoardPicture:
    """A board as rich renders it, at the time and in the size of the rendering."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = datetime.now(UTC)
        height = options.height or console.height
        yield picture(self._board, now, height - BESIDE_LINES, options.max_width, ascii_only=options.ascii_only)


def picture(board: Board, now: datetime, lines: int, width: int, *, ascii_only: bool = False) -> RenderableType:
    """Return a board for people: at most ``lines`` tasks, those that failed, run or wait before all others."""
    every = list(board.lines.values()) if len(board.lines) <= lines else board.active()
    parts: list[RenderableType] = [_header(board, now, ascii_only), _table(every[:lines], now, width, ascii_only)]
    if len(every) > lines:
        parts.append(Text(f"   and {len(every) - lines} more", style="dim"))
    return Group(*parts)


def _table(lines: list[Line], now: datetime, width: int, ascii_only: bool) -> Table:
    """Return the lines of a board. Where it is narrow, names and notes give way, the signs and times never."""
    rows = [_cells(line, now, ascii_only) for line in lines]
    room = max(0, width - sum(BESIDE_NAMES))
    noted = any(note.plain for *_, note in rows)
    longest = max((name.cell_len for _, name, *_ in rows), default=0)
    names = min(longest, room * 3 // 5 if noted else room)
    table = Table.grid(padding=(0, 1))
    table.add_column(width=2, justify="right")
    table.add_column(width=names, no_wrap=True, overflow="ellipsis")
    table.add_column(width=6, no_wrap=True, justify="right", style="dim")
    table.add_column(max_width=max(1, room - names), no_wrap=True, overflow="ellipsis", style="dim")
    for row in rows:
        table.add_row(*row)
    return table


def _header(board: Board, now: datetime, ascii_only: bool) -> Text:
    counts = [f"{board.ended}/{len(board.lines)} tasks"]
    counts += [f"{board.counts[status]} {status}" for status in _COUNTED if board.counts[status]]
    took = between(board.since, board.until or now)
    dot = " - " if ascii_only else " · "
    rest = dot.join(["", ", ".join(counts), *([took] if took else []), f"run {board.run_id}"])
    sign = _sign(board.status, now, ascii_only)
    return Text.assemble(
        (sign, style_of(board.status)), " ", (in_one_line(board.workflow), "bold"), (rest, "dim"),
        no_wrap=True, overflow="ellipsis",
    )  # fmt: skip


_COUNTED = ("running", "waiting", "failed", "skipped", "cancelled")


def _cells(line: Line, now: datetime, ascii_only: bool) -> tuple[Text, Text, Text, Text]:
    lasting = line.status in ("running", "waiting")
    return (
        Text(_sign(line.status, now, ascii_only), style=style_of(line.status)),
        Text(in_one_line(line.task), style="dim" if line.status in ("pending", "skipped") else ""),
        Text(between(line.since, now if lasting else line.until)),
        Text(in_one_line(_said(line, now))),
    )


def _sign(status: str, now: datetime, ascii_only: bool) -> str:
    if status == "running":
        return spinner_at(now.timestamp(), ascii_only=ascii_only)
    return sign_of(status, ascii_only=ascii_only)


def _said(line: Line, now: datetime) -> str:
    tries = f"attempt {line.attempt} of {line.retry.attempts}"
    why = f": {line.note.partition(NEWLINE)[0]}" if line.note else ""
    match line.status:
        case "running" if line.attempt > 1:
            return tries
        case "waiting":
            left_s = line.again_in_s(now)
            return f"{tries} failed, again {f'in {shown_duration(left_s)}' if left_s else 'soon'}{why}"
        case "succeeded" if line.attempt > 1:
            return f"after {line.attempt} attempts"
        case "failed":
            return f"failed{f' after {line.attempt} attempts' if line.attempt > 1 else ''}{why}"
        case "skipped":
            return f"skipped{why}"
        case "cancelled":
            return "cancelled"
        case _:
            return ""
