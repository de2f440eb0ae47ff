"""What stored rows say about a run: its state, its tasks, its failures, its events, what it waits for, its answer.

It reads rows through a plan and writes nothing.
"""

from cloaca.interpreter.histories.outcomes import (
    answer,
    decoded,
    final_failure,
    has_written,
    output,
    outputs_of,
    run_failure,
    task_failure,
    task_failures,
    tells_failure,
)
from cloaca.interpreter.histories.reports import (
    CHILD_KEY,
    RunEvent,
    RunInfo,
    TaskInfo,
    Waiting,
    moment,
    optional_moment,
    run_info,
)
from cloaca.interpreter.histories.restoring import OutOfOrder, earlier_attempts, placed, restored
from cloaca.interpreter.histories.tasks import VISIBLE, shows_skip, task_infos
from cloaca.interpreter.histories.timelines import ENDINGS, STARTS, place_of, run_events
from cloaca.interpreter.histories.waits import why

__all__ = [
    "CHILD_KEY",
    "ENDINGS",
    "STARTS",
    "VISIBLE",
    "OutOfOrder",
    "RunEvent",
    "RunInfo",
    "TaskInfo",
    "Waiting",
    "answer",
    "decoded",
    "earlier_attempts",
    "final_failure",
    "has_written",
    "moment",
    "optional_moment",
    "output",
    "outputs_of",
    "place_of",
    "placed",
    "restored",
    "run_events",
    "run_failure",
    "run_info",
    "shows_skip",
    "task_failure",
    "task_failures",
    "task_infos",
    "tells_failure",
    "why",
]
