"""What closing a graph costs, counted: twice the tasks are twice the work."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop
from typing import Any

import pytest
from pydantic import BaseModel

from cloaca import Task, WorkflowBuilder, task
from cloaca.algebra.graphs import Graph, graph_of
from cloaca.algebra.models import row_of
from cloaca.algebra.structures import Structure, closed
from cloaca.contract.checker import Checker
from cloaca.contract.elaboration import elaborate
from cloaca.contract.nodes import NODES
from cloaca.contract.steps import Elaborated
from cloaca.errors import ContractError


class Seed(BaseModel):
    x: int
    y: int
    z: int


class Value(BaseModel):
    v: int


@task
def step() -> None: ...
@task
def seed(row: Seed) -> Value:
    return Value(v=row.x)


@task
def update(row: Value) -> Value:
    return row


def holds(row: Value) -> bool:
    return bool(row)


def layers(count: int, width: int, node: Callable[[int, int], Task[Any, Any]]) -> Graph[Any, Any]:
    """A graph of ``count`` tasks in layers, each behind three of the layer before."""
    names = [[f"t{layer}_{place}" for place in range(width)] for layer in range(count // width)]
    nodes = {name: node(layer, place).named(name) for layer, row in enumerate(names) for place, name in enumerate(row)}
    edges = {
        (names[layer - 1][(place + offset) % width], names[layer][place])
        for layer in range(1, len(names))
        for place in range(width)
        for offset in range(min(3, width))
    }
    return graph_of(closed(Structure(nodes, frozenset(edges), frozenset(), frozenset())))


def plain(layer: int, place: int) -> Task[Any, Any]:
    return step


def with_keys(layer: int, place: int) -> Task[Any, Any]:
    """Reads what the three before it have written."""
    if layer == 0:
        return seed.writing(v=f"v0_{place}")
    keys = {field: f"v{layer - 1}_{(place + offset) % 10}" for offset, field in enumerate("xyz")}
    return seed.reading(**keys).writing(v=f"v{layer}_{place}")


def updating(layer: int, place: int) -> Task[Any, Any]:
    return update


def conditional(layer: int, place: int) -> Task[Any, Any]:
    return update.when(holds) if layer % 10 == 5 else update.on("all_success") if layer % 10 == 7 else update


def visits(graph: Graph[Any, Any], keys: str = "") -> int:
    """How many steps the checker looks at, over all keys."""
    made = elaborate(graph.structure, None, "w", NODES)
    fields = {read.key: read for step in made.steps for read in step.reads}
    given = {key: read for key, read in fields.items() if key in keys}
    rows = {key: next(w for s in made.steps for w in s.writes if w.key == key) for key in given}
    checker = Checker(Elaborated(made.steps, rows, "", made.key_names), NODES.types)
    checker.run()
    return checker.visits


@pytest.mark.parametrize(
    ("node", "width", "per_task"),
    [(plain, 10, 0), (with_keys, 10, 4.2), (updating, 1, 1), (conditional, 1, 1.2)],
    ids=["nothing", "a key for each", "one key for all", "one key, under conditions"],
)
def test_checking_is_linear(node: Callable[[int, int], Task[Any, Any]], width: int, per_task: float) -> None:
    small, large = (visits(layers(count, width, node), "v") for count in (100, 400))
    assert small <= 100 * per_task
    assert large <= 400 * per_task


def test_a_field_that_nobody_reads_is_not_carried() -> None:
    chain = layers(100, 1, lambda layer, place: seed.into(f"v{layer}") if layer % 2 else step)
    assert visits(chain) == 50  # the writers themselves


def test_tasks_of_one_kind_share_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def counted(model: Any) -> Any:
        asked.append(model)
        return row_of(model)

    monkeypatch.setattr("cloaca.contract.nodes.row_of", counted)
    elaborate(layers(200, 1, updating).structure, None, "w", NODES)
    assert len(asked) == 2  # once for what they read, once for what they write


def test_many_violations_cost_no_more_than_a_look_around_each(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0

    def counted(heap: list[int]) -> int:
        nonlocal looked
        looked += 1
        return heappop(heap)

    monkeypatch.setattr("cloaca.contract.messages.heappop", counted)
    monkeypatch.setattr("cloaca.contract.messages.SEARCHED", 20)
    builder = WorkflowBuilder("w")
    last: list[Task[Any, Any]] = []
    for number in range(300):
        node = seed.into(f"v{number}").named(f"t{number:03}").reading(x=f"missing{number}")
        builder.add(node, after=last)
        last = [node]
    with pytest.raises(ContractError) as error:
        builder.build()
    assert len(error.value.violations) == 300
    assert looked <= len(error.value.violations) * (20 + 1)


def test_a_condition_over_many_first_tasks_is_elaborated_once() -> None:
    group = layers(50, 50, lambda layer, place: update.into(f"v{place}")).when(holds)
    made = elaborate(group.structure, None, "w", NODES)
    gates = [site for site in made.sites if site.kind == "gate"]
    assert len(gates) == 1
    assert len(made.sites) == 51
