"""Random programs that are paused, cancelled, retried and forked at random: they end as the specification says.

CLOACA_EXAMPLES=500 tries more of them.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca import BlockingRunHandle, BlockingRunner
from tests.interpreter.programs import Input, Program, blocks, graphs, workflow_of
from tests.interpreter.reference import Reference
from tests.interpreter.test_outcomes import SETTINGS, check_outcome

NUMBERS = count()
FINAL = ("succeeded", "failed", "cancelled")
Handle = BlockingRunHandle[Any, Any]
programs = graphs() | blocks()


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One runner for each store, for all examples."""
    with (
        BlockingRunner("memory://") as memory,
        BlockingRunner(Path(tmp_path_factory.mktemp("controls")) / "runs.db") as file,
    ):
        yield memory, file


def started(program: Program, runner: BlockingRunner) -> tuple[Handle, Any]:
    workflow = workflow_of(program, f"controlled {next(NUMBERS)}")
    return runner.start(workflow, Input(seed=program.seed, trace=("input",))), workflow


def statuses(handle: Handle) -> dict[str, str]:
    return {info.name: info.status for info in handle.tasks()}


def test_pauses_change_nothing(runners: tuple[BlockingRunner, ...]) -> None:
    @given(program=programs, seed=st.integers(0, 999))
    @SETTINGS
    def holds(program: Program, seed: int) -> None:
        expected, random = Reference(program), Random(seed)
        for runner in runners:
            handle, workflow = started(program, runner)
            for _ in range(random.randrange(1, 5)):
                time.sleep(random.choice((0, 0.001, 0.003)))
                handle.pause()
                while (status := handle.status()) == "running" and random.random() < 0.8:
                    time.sleep(0.001)
                if status == "paused":
                    assert "running" not in statuses(handle).values()
                handle.resume()
            outcome = handle.result(timeout=30)
            assert statuses(handle) == expected.statuses()
            assert handle.context() == expected.context()
            check_outcome(outcome, program, expected, workflow)

    holds()


def test_a_fork_before_any_task_ends_as_its_origin_did(runners: tuple[BlockingRunner, ...]) -> None:
    @given(program=programs, pick=st.integers(0, 99))
    @SETTINGS
    def holds(program: Program, pick: int) -> None:
        expected = Reference(program)
        before = program.steps[pick % len(program.steps)].name
        for runner in runners:
            handle, workflow = started(program, runner)
            handle.result(timeout=30)
            other = handle.fork(before=before)
            outcome = other.result(timeout=30)
            assert statuses(other) == expected.statuses()
            assert other.context() == expected.context()
            check_outcome(outcome, program, expected, workflow)
            assert statuses(handle) == expected.statuses()

    holds()


def test_a_run_that_is_cancelled_and_retried_ends_as_if_it_had_not_been(runners: tuple[BlockingRunner, ...]) -> None:
    """Of bodies that do the same at each attempt: else later attempts would go another way."""

    @given(program=programs, seed=st.integers(0, 999))
    @SETTINGS
    def holds(program: Program, seed: int) -> None:
        steady = replace(program, steps=tuple(replace(step, failures=0) for step in program.steps))
        expected, random = Reference(steady), Random(seed)
        for runner in runners:
            handle, _ = started(steady, runner)
            for _ in range(random.randrange(1, 4)):
                time.sleep(random.choice((0, 0.001, 0.003)))
                handle.cancel()
                if handle.status() == "succeeded":
                    break
                made = {info.name: info.attempt for info in handle.tasks()}
                handle.retry()
                assert all(info.attempt >= made[info.name] for info in handle.tasks() if info.status != "pending")
            handle.result(timeout=30)
            assert statuses(handle) == expected.statuses()
            assert handle.status() in FINAL

    holds()
