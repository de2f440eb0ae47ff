"""Workflows as values, how they are closed, and how a builder makes the same."""

# mypy: disable-error-code=empty-body

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cloaca import ContractError, Task, Workflow, WorkflowBuilder, task
from tests.contract.shop import (
    Charge,
    Order,
    OrderRef,
    Parcel,
    Payment,
    charge,
    fetch,
    hello,
    is_large,
    ping,
    refund,
    reserve,
    ship,
)

orders = Workflow("orders", fetch >> [charge, reserve] >> ship, input=OrderRef)


# Values


@pytest.mark.parametrize(
    "other",
    [
        Workflow("orders", fetch >> [reserve, charge] >> ship, input=OrderRef),
        Workflow("orders", fetch >> [charge, reserve] >> ship),
        Workflow("orders", fetch >> charge >> ship, fetch >> reserve >> ship),
        Workflow("orders", fetch >> charge, fetch >> reserve, charge >> ship, reserve >> ship),
        WorkflowBuilder("orders")
        .add(fetch)
        .add(charge, after=fetch)
        .add(reserve, after="fetch")
        .add(ship, after=(charge, "reserve"))
        .build(),
    ],
    ids=["another order", "an inferred input", "two chains", "edge by edge", "a builder"],
)
def test_one_dag_is_one_workflow_however_it_is_written(other: Workflow[Any, Any]) -> None:
    assert other == orders
    assert hash(other) == hash(orders)
    assert other.version == orders.version


@pytest.mark.parametrize(
    "other",
    [
        Workflow("other", fetch >> [charge, reserve] >> ship),
        Workflow("orders", fetch >> [charge, reserve] >> ship, output=Parcel),
        Workflow("orders", fetch >> [charge, reserve] >> ship.with_options(timeout=1)),
        Workflow("orders", fetch >> charge),
        "orders",
    ],
    ids=str,
)
def test_others_differ(other: object) -> None:
    assert other != orders


def test_workflows_are_immutable() -> None:
    for name in ("name", "graph", "plan", "input", "version", "anything"):
        with pytest.raises(AttributeError, match="workflows are values"):
            setattr(orders, name, "x")


def test_repr() -> None:
    assert repr(orders) == "<workflow orders: OrderRef -> Shipment>"
    assert repr(Workflow("w", fetch >> [charge, reserve])) == "<workflow w: OrderRef -> dict>"
    assert repr(Workflow("w", ping)) == "<workflow w: None -> None>"


def test_the_public_facts() -> None:
    assert (orders.name, orders.input, orders.output) == ("orders", OrderRef, orders.plan.nodes[-1].output)
    assert len(orders.version) == 16
    assert orders.picture().title == "orders"


# What it takes


@pytest.mark.parametrize("name", ["", "  ", None, 3, fetch])
def test_a_name_is_a_string(name: Any) -> None:
    with pytest.raises(ValueError, match="is no name"):
        Workflow(name, fetch)


@pytest.mark.parametrize("graph", [3, "fetch", lambda: None, [fetch, 3]])
def test_only_graphs_are_closed(graph: Any) -> None:
    with pytest.raises(TypeError, match="with @task"):
        Workflow("w", graph)


def test_the_input_is_inferred() -> None:
    assert Workflow("w", fetch >> charge).input is OrderRef
    assert Workflow("w", hello >> reserve).input is None
    assert Workflow("w", [ping, charge]).input is Charge  # type: ignore[call-overload]  # a list is taken, too
    assert Workflow("w", refund.sealed(Payment, None)).input is Payment
    assert Workflow("w", charge.when(is_large), input=Order).input is Order


# The builder


def test_a_builder_is_not_the_workflow() -> None:
    builder = WorkflowBuilder("w").add(fetch)
    first = builder.build()
    second = builder.add(charge, after=[fetch]).build()
    assert list(first.graph.structure.nodes) == ["fetch"]
    assert second == Workflow("w", fetch >> charge)


def test_a_task_may_be_added_again_with_more_before_it() -> None:
    builder = WorkflowBuilder("w").add(fetch).add(hello.writing(sku="other"))
    builder.add(charge, after=[fetch]).add(charge, after=[hello.writing(sku="other")])
    assert builder.build().graph.structure.edges == {("fetch", "charge"), ("hello", "charge")}


@pytest.mark.parametrize("wrong", [fetch >> charge, 3, "fetch"], ids=str)
def test_a_builder_takes_one_task_at_a_time(wrong: Any) -> None:
    with pytest.raises(TypeError, match="add one task at a time"):
        WorkflowBuilder("w").add(wrong)


@pytest.mark.parametrize("after", ["charge", charge, [charge], fetch >> charge], ids=str)
def test_what_comes_before_is_added_before(after: Any) -> None:
    with pytest.raises(ValueError, match="has not been added; add it first"):
        WorkflowBuilder("w").add(fetch).add(ship, after=after)


def test_a_builder_without_tasks() -> None:
    with pytest.raises(ContractError, match='Workflow "w" has no task'):
        WorkflowBuilder("w").build()


# Models defined after the tasks

LATER = """
{future}
from pydantic import BaseModel
from returns.result import Result, Success
from cloaca import Workflow, task

@task
def first(row: {q}In{q}) -> {q}Result[Middle, Error]{q}:
    return Success(Middle(y=row.x))

@task
def second(row: {q}Middle{q}) -> {q}Out{q}:
    return Out(z=row.y, more=[Item(n=1)])

chain = first >> second

class In(BaseModel):
    x: int

class Middle(BaseModel):
    y: int

class Error(BaseModel):
    reason: str

class Out(BaseModel):
    z: int
    more: list[{q}Item{q}]

class Item(BaseModel):
    n: int

workflow = Workflow("w", chain)
"""


@pytest.mark.parametrize(
    ("future", "quote"), [("from __future__ import annotations", ""), ("", '"')], ids=["the future", "strings"]
)
def test_models_defined_after_their_tasks(future: str, quote: str, tmp_path: Path) -> None:
    path = tmp_path / "later.py"
    path.write_text(LATER.format(future=future, q=quote))
    spec = importlib.util.spec_from_file_location("later", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["later"] = module
    spec.loader.exec_module(module)
    assert repr(module.workflow) == "<workflow w: In -> Out>"


def test_everything_local_to_a_function() -> None:
    @task
    def first(row: In) -> Out: ...

    def holds(row: In) -> bool:
        return bool(row.x)

    conditional = first.when(holds)

    class In(BaseModel):
        x: int

    class Out(BaseModel):
        y: int

    assert repr(Workflow("w", conditional)) == "<workflow w: In -> Out>"


def broken() -> Task[Any, Any]:
    @task
    def broken(row: Missing) -> Payment: ...

    class Missing(BaseModel): ...

    return broken


def test_all_undefined_models_are_named_at_once() -> None:
    with pytest.raises(ContractError) as error:
        Workflow("w", fetch >> [broken().named("one"), broken().named("two")])
    assert [(violation.code, violation.task) for violation in error.value.violations] == [
        ("task-model", "one"),
        ("task-model", "two"),
    ]
    assert "name 'Missing' is not defined" in error.value.violations[0].message


def test_wrong_models_defined_later_are_reported_with_the_rest_of_their_kind() -> None:
    @task
    def one(row: Later) -> Payment: ...

    class Later:
        pass

    with pytest.raises(ContractError) as error:
        Workflow("w", one)
    assert [violation.code for violation in error.value.violations] == ["task-model"]
    assert error.value.violations[0].message.startswith('Task "one": input "row" must be a pydantic model')
