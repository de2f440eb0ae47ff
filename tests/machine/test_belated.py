"""Tasks that have run before something that comes before them now: the plan by which such a run goes on."""

from __future__ import annotations

import dataclasses
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloaca import Workflow, WorkflowBuilder, task
from cloaca.contract.plans import Plan
from cloaca.machine import belated as module
from cloaca.machine.belated import Belated
from cloaca.machine.commands import Adopt, Begin, Complete, Fail
from cloaca.machine.decisions import Rejected, step
from cloaca.machine.events import AttemptStarted, RunAdopted, TaskSucceeded
from cloaca.machine.invariants import violated
from cloaca.machine.states import RunState, enabled, evolve
from cloaca.machine.statuses import RunStatus, TaskStatus


@task
def work() -> None: ...


def random_dag(random: Random, size: int) -> Plan:
    builder: WorkflowBuilder[Any, Any] = WorkflowBuilder("dag")
    nodes = [work.named(f"t{number}") for number in range(size)]
    for number, node in enumerate(nodes):
        builder.add(node, after=[other for other in nodes[:number] if random.random() < 0.4])
    plan: Plan = builder.build().plan
    return plan


def restored(plan: Plan, done: set[int]) -> tuple[Plan, RunState]:
    """Restore a run by which ``done`` have succeeded, whatever comes before them."""
    belated, state = Belated(plan), RunState(plan)
    evolve(plan, state, RunAdopted(0, 0.0))
    for node in sorted(done):
        if state.tasks[node] is TaskStatus.PENDING:
            belated.admit(state, node)
        evolve(belated.plan, state, AttemptStarted(node, 1, 0.0))
        evolve(belated.plan, state, TaskSucceeded(node, 1, 0.0, None))
    return belated.placed(), state


def finish(plan: Plan, state: RunState, failing: int | None = None) -> list[int]:
    """Run what is left; return the nodes in the order in which they began."""
    order = []
    assert not isinstance(step(plan, state, Adopt(1, 1.0)), Rejected)
    while ready := enabled(state, 1.0):
        node = ready[0]
        order.append(node)
        assert not isinstance(step(plan, state, Begin(node, 1, 1.0)), Rejected)
        end = Fail(node, 1, 1, 1.0, False, 0.0) if node == failing else Complete(node, 1, 1, 1.0)
        assert not isinstance(step(plan, state, end), Rejected)
        assert violated(plan, state) == []
    return order


def ancestors(plan: Plan, node: int) -> set[int]:
    found = set(plan.nodes[node].preds)
    for pred in plan.nodes[node].preds:
        found |= ancestors(plan, pred)
    return found


def goes_on_lawfully(seed: int) -> bool:
    """Whether each task that is left runs once, behind all that comes before it, and none runs again."""
    random = Random(seed)
    plan = random_dag(random, random.randrange(1, 9))
    done = {node.index for node in plan.nodes if random.random() < 0.5}
    placed, state = restored(plan, done)
    if len(done) < len(plan.nodes) and violated(placed, state):  # else it ends as soon as somebody has it
        return False
    order = finish(placed, state)
    left = [node.index for node in plan.nodes if node.index not in done]
    behind = all(ancestors(plan, node) - done <= set(order[: order.index(node)]) for node in order)
    return sorted(order) == left and behind and state.status is RunStatus.SUCCEEDED


@given(st.integers(0, 2**32))
@settings(max_examples=200, derandomize=True)
def test_what_is_left_runs_once_behind_all_that_comes_before_it(seed: int) -> None:
    assert goes_on_lawfully(seed)


def test_nothing_changes_where_the_order_is_kept() -> None:
    plan = Workflow("w", work.named("a") >> work.named("b")).plan
    placed, state = restored(plan, {0})
    assert placed is plan
    assert finish(placed, state) == [1]


def test_what_comes_after_is_skipped_if_the_new_task_fails() -> None:
    plan = Workflow("w", work.named("new") >> work.named("old") >> work.named("last")).plan
    placed, state = restored(plan, {1})
    assert finish(placed, state, failing=0) == [0]
    assert [str(status) for status in state.tasks] == ["failed", "succeeded", "skipped"]
    assert state.status is RunStatus.FAILED


@pytest.mark.parametrize("mutant", ["successors don't wait", "it is not admitted", "the new task forgets who waits"])
def test_mutants_are_killed(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mutant == "successors don't wait":
        monkeypatch.setattr(module, "_waiting", lambda node, held: node)
    elif mutant == "it is not admitted":
        monkeypatch.setattr(module, "admit", lambda state, node: None)
    else:
        given_replace = dataclasses.replace
        monkeypatch.setattr(
            "cloaca.machine.belated.replace",
            lambda node, **how: node if how.keys() == {"succs"} else given_replace(node, **how),
        )

    def survives(seed: int) -> bool:
        try:
            return goes_on_lawfully(seed)
        except AssertionError:
            return False

    assert not all(survives(seed) for seed in range(60))
