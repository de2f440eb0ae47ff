"""What an event costs, in looks at the state's lists: it doesn't grow with the size of the DAG."""

from collections.abc import Iterator
from typing import Any, SupportsIndex, TypeVar, overload

import pytest

from cloaca.algebra.graphs import Rule
from cloaca.contract.plans import Answer, Plan, PlanNode
from cloaca.machine.commands import Begin, Complete, Fail
from cloaca.machine.states import RunState
from cloaca.machine.statuses import RunStatus, TaskStatus
from tests.machine.plays import AT, LEASE, adopted, do

T = TypeVar("T")


class Counted(list[T]):
    """A list that counts how often it is looked at; going through it counts as many looks as it is long."""

    looks = 0

    @overload
    def __getitem__(self, index: SupportsIndex) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: Any) -> Any:
        self.looks += 1
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[T]:
        self.looks += len(self)
        return super().__iter__()

    def __contains__(self, item: object) -> bool:
        self.looks += len(self)
        return super().__contains__(item)


def plan(preds: list[tuple[int, ...]], rules: dict[int, Rule] | None = None) -> Plan:
    """Return a plan with these predecessors, and nothing to read or write."""
    succs: list[list[int]] = [[] for _ in preds]
    for node, before in enumerate(preds):
        for pred in before:
            succs[pred].append(node)
    nodes = tuple(
        PlanNode(
            node,
            f"t{node}",
            "task",
            f"t{node}",
            before,
            tuple(succs[node]),
            before,
            (),
            (rules or {}).get(node, "none_failed"),
        )
        for node, before in enumerate(preds)
    )
    return Plan(nodes, None, Answer(nothing=True), {})


def fan(width: int, rule: Rule = "none_failed") -> Plan:
    """Return 1 -> width -> 1."""
    middle = tuple(range(1, width + 1))
    return plan([(), *[(0,)] * width, middle], {width + 1: rule})


def chain(length: int) -> Plan:
    return plan([(node - 1,) if node else () for node in range(length)])


def counted(of: Plan) -> tuple[RunState, Counted[TaskStatus], Counted[int]]:
    state = adopted(of)
    tasks, open_ = Counted(state.tasks), Counted(state.open)
    state.tasks, state.open = tasks, open_
    return state, tasks, open_


def looks(of: Plan, failing: frozenset[int] = frozenset()) -> list[int]:
    """Run a plan to its end; return for each completion how often the state's lists were looked at."""
    state, tasks, open_ = counted(of)
    costs = []
    while state.ready:
        node = next(iter(state.ready))
        do(of, state, Begin(node, LEASE, AT))
        before = tasks.looks + open_.looks
        do(of, state, Fail(node, 1, LEASE, AT, False) if node in failing else Complete(node, 1, LEASE, AT))
        costs.append(tasks.looks + open_.looks - before)
    assert state.over
    return costs


def test_a_completion_costs_the_same_in_a_narrow_and_in_a_wide_dag() -> None:
    narrow, wide = looks(fan(10)), looks(fan(200))
    assert set(narrow[1:]) == set(wide[1:])
    assert max(wide[1:]) <= 8
    assert wide[0] <= 4 * 200 + 8  # the first has 200 successors


@pytest.mark.parametrize("rule", ["none_failed", "all_success", "any_success", "all_done", "all_failed"])
@pytest.mark.parametrize("failing", [frozenset(), frozenset({3}), frozenset(range(1, 201))])
def test_predecessors_are_looked_at_once(rule: Rule, failing: frozenset[int]) -> None:
    costs = looks(fan(200, rule), failing)
    assert max(costs[1:200]) <= 8
    assert costs[200] <= 3 * 200 + 8  # the last of them resolves the join


@pytest.mark.parametrize("length", [1_000, 3_000, 10_000])
def test_the_work_of_a_chain_is_linear_in_its_length(length: int) -> None:
    costs = looks(chain(length))
    assert len(costs) == length
    assert max(costs) <= 8


@pytest.mark.parametrize("length", [1_000, 10_000])
def test_a_cascade_of_skips_is_linear_and_needs_no_stack(length: int) -> None:
    (cost,) = looks(chain(length), failing=frozenset({0}))
    assert cost <= 8 * length


def test_a_run_that_is_skipped_before_it_begins_costs_its_length() -> None:
    length = 10_000
    skipped = plan(
        [(node - 1,) if node else () for node in range(length)],
        {0: "any_success", **dict.fromkeys(range(1, length), "all_success")},
    )
    assert RunState(skipped).unfinished == 0
    assert adopted(skipped).status is RunStatus.SUCCEEDED
