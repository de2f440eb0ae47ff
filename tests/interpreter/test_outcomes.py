"""Random programs on the real runner, in memory and on SQLite, against an evaluation written from the specification.

CLOACA_EXAMPLES=500 tries more of them.
"""

from __future__ import annotations

import os
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from returns.result import Failure, Success

from cloaca import BlockingRunHandle, BlockingRunner, RunFailure, Workflow
from tests.interpreter.programs import Input, Program, Refused, blocks, graphs, workflow_of
from tests.interpreter.reference import Reference

NUMBERS = count()
EXAMPLES = int(os.environ.get("CLOACA_EXAMPLES", "20"))
ENDS = ("task_succeeded", "task_failed", "task_skipped")
SETTINGS = settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES <= 20,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One runner for each store, for all examples."""
    with (
        BlockingRunner("memory://") as memory,
        BlockingRunner(Path(tmp_path_factory.mktemp("outcomes")) / "runs.db") as file,
    ):
        yield memory, file


def check(program: Program, runners: tuple[BlockingRunner, ...]) -> None:
    workflow = workflow_of(program, f"program {next(NUMBERS)}")
    expected = Reference(program)
    for runner in runners:
        handle = runner.start(workflow, Input(seed=program.seed, trace=("input",)))
        outcome = handle.result(timeout=30)
        assert {info.name: info.status for info in handle.tasks()} == expected.statuses()
        assert handle.context() == expected.context()
        failures = [(failure.task, failure.attempt, failure.exception_type) for failure in handle.failures()]
        assert Counter(failures) == Counter(expected.failures)
        check_outcome(outcome, program, expected, workflow)
        check_order(handle, program, expected)


def check_outcome(outcome: Any, program: Program, expected: Reference, workflow: Workflow[Any, Any]) -> None:
    match outcome:
        case Success(value):
            assert not expected.has_failed
            if len(program.lasts) > 1:
                assert value == expected.context()
            else:
                [last] = program.lasts
                got = None if value is None else getattr(value, f"v_{last}")
                assert got == expected.values.get(last)
        case Failure(RunFailure(task=task, error=error, status="failed")):
            assert task in expected.finally_failed
            assert error == (Refused(by=task) if task in expected.declined else None)
        case other:
            pytest.fail(f"{other}")


def check_order(handle: BlockingRunHandle[Any, Any], program: Program, expected: Reference) -> None:
    """Nothing began before what it waits for was done, and the events say so."""
    events = [(event.kind, event.task) for event in handle.events()]
    assert events[0][0] == "run_started"
    assert events[-1][0] == ("run_failed" if expected.has_failed else "run_succeeded")
    at = {event: place for place, event in enumerate(events)}
    for step in program.steps:
        if ("task_started", step.name) in events:
            begun = events.index(("task_started", step.name))
            for pred in step.preds:
                assert min(at[kind, pred] for kind in ENDS if (kind, pred) in at) < begun
    kinds = Counter(events)
    for name, status in expected.statuses().items():
        assert kinds[f"task_{status}", name] == 1


def test_random_graphs(runners: tuple[BlockingRunner, ...]) -> None:
    @given(program=graphs())
    @SETTINGS
    def holds(program: Program) -> None:
        check(program, runners)

    holds()


def test_random_blocks(runners: tuple[BlockingRunner, ...]) -> None:
    @given(program=blocks())
    @SETTINGS
    def holds(program: Program) -> None:
        check(program, runners)

    holds()
