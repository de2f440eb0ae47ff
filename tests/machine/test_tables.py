"""The tables of transitions: ``evolve`` does what they say and nothing else, and each arrow is really taken."""

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import product

import pytest

from cloaca.algebra.retries import Retry
from cloaca.machine.diagrams import to_state_diagram
from cloaca.machine.events import (
    AttemptFailed,
    AttemptStarted,
    Event,
    RunAdopted,
    RunCancelled,
    RunFailed,
    RunPaused,
    RunResumed,
    RunRetried,
    RunSucceeded,
    TaskFailed,
    TaskSucceeded,
)
from cloaca.machine.states import RunState, evolve
from cloaca.machine.statuses import (
    FINAL_RUN,
    FINAL_TASK,
    RUN_TRANSITIONS,
    TASK_TRANSITIONS,
    RunStatus,
    TaskStatus,
)
from tests.machine.programs import Item, plan_of, scope
from tests.machine.trials import walk

ONE = plan_of(scope(Item("a", retry=Retry(2))))

TASK_EVENTS: dict[Event, TaskStatus] = {
    AttemptStarted(0, 1, 0.0): TaskStatus.RUNNING,
    TaskSucceeded(0, 1, 0.0): TaskStatus.SUCCEEDED,
    AttemptFailed(0, 1, 0.0, 1.0): TaskStatus.WAITING,
    TaskFailed(0, 1, 0.0): TaskStatus.FAILED,
}
RUN_EVENTS: dict[Event, RunStatus] = {
    RunAdopted(1, 0.0): RunStatus.RUNNING,
    RunSucceeded(0.0): RunStatus.SUCCEEDED,
    RunFailed(0.0): RunStatus.FAILED,
    RunCancelled(0.0): RunStatus.CANCELLED,
    RunPaused(0.0): RunStatus.PAUSED,
    RunResumed(0.0): RunStatus.PENDING,
    RunRetried((), 0.0): RunStatus.PENDING,
}


@pytest.mark.parametrize(("event", "after"), list(TASK_EVENTS.items()), ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("before", TaskStatus)
def test_an_event_moves_a_task_as_the_table_says_or_not_at_all(
    before: TaskStatus, event: Event, after: TaskStatus
) -> None:
    state = RunState(ONE)
    state.tasks[0] = before
    if after in TASK_TRANSITIONS[before]:
        evolve(ONE, state, event)
        assert state.tasks == [after]
    else:
        with pytest.raises(AssertionError, match=f"{before} -> {after} is no transition"):
            evolve(ONE, state, event)
        assert state.tasks == [before]
        assert (state.attempts, state.failed, state.retry_at) == ({}, [], {})


@pytest.mark.parametrize(("event", "after"), list(RUN_EVENTS.items()), ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("before", RunStatus)
def test_an_event_moves_a_run_as_the_table_says_or_not_at_all(
    before: RunStatus, event: Event, after: RunStatus
) -> None:
    state = RunState(ONE)
    state.status = before
    if after in RUN_TRANSITIONS[before] or before is after is RunStatus.RUNNING:  # another worker adopts
        evolve(ONE, state, event)
        assert state.status is after
    else:
        with pytest.raises(AssertionError, match=f"{before} -> {after} is no transition"):
            evolve(ONE, state, event)
        assert state.status is before


@pytest.mark.parametrize("table", [TASK_TRANSITIONS, RUN_TRANSITIONS])
def test_a_table_is_total_and_each_status_is_reached_from_the_first(
    table: Mapping[StrEnum, frozenset[StrEnum]],
) -> None:
    statuses = set(type(next(iter(table))))
    assert set(table) == statuses
    reached: set[StrEnum] = set()
    stack = [next(iter(table))]
    while stack:
        status = stack.pop()
        reached.add(status)
        stack.extend(table[status] - reached)
    assert reached == statuses


def test_what_is_final() -> None:
    assert set(FINAL_TASK) == {"succeeded", "failed", "skipped", "cancelled"}
    assert set(FINAL_RUN) == {"succeeded", "failed", "cancelled"}


@pytest.fixture(scope="module")
def marks() -> Counter[object]:
    """What happens in some hundred random trials."""
    total: Counter[object] = Counter()
    for seed in range(300):
        total += walk(seed).marks
    return total


def arrows() -> Iterator[tuple[TaskStatus, TaskStatus]]:
    return ((was, now) for was, now in product(TaskStatus, TaskStatus) if now in TASK_TRANSITIONS[was])


@pytest.mark.parametrize(("was", "now"), list(arrows()))
def test_each_arrow_of_the_task_table_is_taken(was: TaskStatus, now: TaskStatus, marks: Counter[object]) -> None:
    assert marks[was, now] >= 3


RARE = [
    "a cascade of three",
    "adopted with attempts in flight",
    "gate raised",
    "paused with attempts in flight",
    "refused: Abandon",
    "refused: Adopt",
    "refused: Begin",
    "refused: Cancel",
    "refused: Pause",
    "refused: Resume",
    "refused: Retry",
    "refused: from before a retry",
    "refused: not running",
    "refused: other attempt",
    "refused: stale lease",
    "restarted",
    "restarted after a retry",
    "restarted with a delay",
    "restarted with a wait",
    "refused: before its time",
    "waited",
    "resumed",
    "resumed in time",
    "retried",
    "retried on demand",
    "success made void",
]


@pytest.mark.parametrize("mark", RARE)
def test_what_is_rare_happens_too(mark: str, marks: Counter[object]) -> None:
    assert marks[mark] >= 3


def test_the_lifecycle_of_a_task_as_a_diagram() -> None:
    assert to_state_diagram(TASK_TRANSITIONS, FINAL_TASK).splitlines() == [
        "stateDiagram-v2",
        "    [*] --> pending",
        "    pending --> ready",
        "    pending --> skipped",
        "    pending --> cancelled",
        "    ready --> running",
        "    ready --> waiting",
        "    ready --> cancelled",
        "    running --> ready",
        "    running --> waiting",
        "    running --> succeeded",
        "    running --> failed",
        "    running --> cancelled",
        "    waiting --> running",
        "    waiting --> succeeded",
        "    waiting --> failed",
        "    waiting --> cancelled",
        "    succeeded --> pending",
        "    succeeded --> [*]",
        "    failed --> pending",
        "    failed --> [*]",
        "    skipped --> pending",
        "    skipped --> [*]",
        "    cancelled --> pending",
        "    cancelled --> [*]",
    ]


def test_the_diagram_of_runs_has_an_arrow_for_each_entry() -> None:
    diagram = to_state_diagram(RUN_TRANSITIONS, FINAL_RUN)
    for was, now in product(RunStatus, RunStatus):
        assert (f"    {was} --> {now}\n" in f"{diagram}\n") is (now in RUN_TRANSITIONS[was])
