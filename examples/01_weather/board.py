"""The tasks of a run in a terminal, one line each, drawn anew at each event. Needs rich, which cloaca[cli] brings."""

from collections.abc import Iterable
from datetime import datetime

from rich.console import RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cloaca import RunEvent, TaskInfo

MARKS: dict[str, RenderableType] = {
    "pending": Text("·", "dim"),
    "running": Spinner("dots", style="blue"),
    "waiting": Text("↻", "yellow"),
    "succeeded": Text("✓", "green"),
    "failed": Text("✗", "bold red"),
    "skipped": Text("-", "dim"),
}
# What an event says about its task: the status after it, and a remark.
SAID = {
    "task_started": ("running", ""),
    "task_succeeded": ("succeeded", "committed"),
    "attempt_failed": ("waiting", "failed, will be retried"),
    "task_failed": ("failed", "failed for good"),
    "task_skipped": ("skipped", "skipped by its condition"),
}


class Board:
    """Where each task stands. ``began`` is when this process did: what is older was done by another."""

    def __init__(self, tasks: Iterable[TaskInfo], began: datetime) -> None:
        self._began = began
        self._lines: dict[str, tuple[str, str]] = {task.name: ("pending", "") for task in tasks}
        self._live = Live(get_renderable=self._table, refresh_per_second=10)

    def start(self) -> None:
        """Show the board."""
        self._live.start()

    def stop(self) -> None:
        """Leave the last picture on the terminal."""
        self._live.stop()

    def show(self, event: RunEvent) -> None:
        """Change the line of the event's task."""
        if event.task in self._lines and event.kind in SAID:
            status, remark = SAID[event.kind]
            stored = f"{remark} before this process began" if event.at < self._began else remark
            self._lines[event.task] = (status, stored)
            self._live.refresh()

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for task, (status, remark) in self._lines.items():
            faint = "dim" if status in ("pending", "skipped") else ""
            table.add_row("", MARKS[status], Text(task, faint), Text(remark, "dim"))
        return table
