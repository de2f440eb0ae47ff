"""How a run goes, live: in a terminal a board of its tasks, elsewhere one line for each event.

It knows events and where they are shown; it knows nothing of weather.
"""

import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec

from cloaca import RunEvent, TaskInfo

BEGAN = datetime.now(UTC)
SAID = {
    "task_started": "started",
    "task_succeeded": "committed",
    "attempt_failed": "failed, will be retried",
    "task_failed": "failed for good",
    "task_skipped": "skipped by its condition",
}


@contextmanager
def shown(tasks: Iterable[TaskInfo]) -> Generator[Callable[[RunEvent], None], None, None]:
    """Show how a run goes, for as long as the block lasts: hand each of its events to what is yielded."""
    if not sys.stdout.isatty() or find_spec("rich") is None:
        yield print_line
        return
    from board import Board  # noqa: PLC0415 - it needs rich; the example runs without it too

    board = Board(tasks, BEGAN)
    board.start()
    try:
        yield board.show
    finally:
        board.stop()


def print_line(event: RunEvent) -> None:
    """Print an event; the margin says whether it was done by this process. Of what is older, only how it ended."""
    margin = "stored" if event.at < BEGAN else "  live"
    if margin == "stored" and event.kind == "task_started":
        return
    at = f"{event.at:%H:%M:%S}.{event.at.microsecond // 1000:03}"
    said = SAID.get(event.kind, event.kind.replace("_", " "))
    attempt = f", attempt {event.attempt}" if (event.attempt or 1) > 1 else ""
    detail = f" ({event.detail})" if event.detail else ""
    print(f"  {margin}  {at}  {event.task or 'the run':20} {said}{attempt}{detail}", flush=True)
