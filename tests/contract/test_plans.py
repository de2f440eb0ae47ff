"""Plans: where each field of each input comes from, in which order writes fold, and what a run answers with."""

# mypy: disable-error-code=empty-body

from __future__ import annotations

import json
import operator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, computed_field

from cloaca import Reduce, Workflow, WorkflowBuilder, task
from cloaca.contract.plans import Source
from cloaca.contract.steps import INPUT
from tests.contract.shop import (
    Basket,
    Charge,
    Order,
    OrderRef,
    Parcel,
    Payment,
    Shipment,
    charge,
    close_books,
    count,
    discount,
    fetch,
    file,
    is_large,
    maybe_paid,
    multiply,
    pack,
    ping,
    refund,
    report,
    reserve,
    round_up,
    ship,
    thank,
)

orders = Workflow("orders", fetch >> [charge, reserve] >> ship, input=OrderRef)


def shown(workflow: Workflow[Any, Any], source: Source) -> list[str]:
    """The providers of a source as ``node.field``, ``input.field``, or the node alone for a whole output."""
    nodes = {INPUT: "input", **{node.index: node.name for node in workflow.plan.nodes}}
    names = [(nodes[provider.node], provider.field) for provider in source.providers]
    return [node if field is None else f"{node}.{field}" for node, field in names]


def bound(workflow: Workflow[Any, Any], node: str) -> dict[str, list[str]]:
    arguments = workflow.plan.nodes[workflow.plan.by_name[node]].arguments
    return {name: shown(workflow, source) for argument in arguments for name, source in argument.sources.items()}


# Where fields come from


def test_each_field_comes_from_who_wrote_it() -> None:
    assert bound(orders, "fetch") == {"order_id": ["input.order_id"]}
    assert bound(orders, "charge") == {"order_id": ["fetch.order_id"], "amount": ["fetch.amount"]}
    assert bound(orders, "ship") == {"payment_id": ["charge.payment_id"], "shelf": ["reserve.shelf"]}


@pytest.mark.parametrize(
    ("workflow", "node", "expected"),
    [
        # The latest write
        (Workflow("w", fetch >> discount >> charge), "charge", {"amount": ["discount.amount"]}),
        # What may not have run, and then what surely has
        (
            Workflow("w", fetch >> discount.when(is_large) >> charge),
            "charge",
            {"amount": ["discount.amount", "fetch.amount"]},
        ),
        (
            Workflow("w", discount.when(is_large) >> charge, input=Charge),
            "charge",
            {"amount": ["discount.amount", "input.amount"]},
        ),
        # Nobody is sure: the model's default is the last resort
        (Workflow("w", fetch >> charge.when(is_large) >> thank), "thank", {"payment_id": ["charge.payment_id"]}),
        (Workflow("w", fetch >> thank), "thank", {}),
        # Other keys
        (
            Workflow("w", charge.writing(payment_id="p") >> refund.reading(payment_id="p")),
            "refund",
            {"payment_id": ["charge.payment_id"]},
        ),
        (Workflow("w", charge.into("payment") >> file), "file", {"payment": ["charge"]}),
        # A condition reads like an input
        (
            Workflow("w", fetch >> charge.when(is_large)),
            "when:charge:0",
            {"order_id": ["fetch.order_id"], "amount": ["fetch.amount"]},
        ),
        # A seal passes on what it declares
        (
            Workflow("w", fetch >> charge.sealed(Charge, Payment) >> refund),
            "sealed:charge/charge",
            {"amount": ["entry:sealed:charge.amount"], "order_id": ["entry:sealed:charge.order_id"]},
        ),
        (
            Workflow("w", fetch >> charge.sealed(Charge, Payment) >> refund),
            "refund",
            {"payment_id": ["sealed:charge.payment_id"]},
        ),
    ],
)
def test_bindings(workflow: Workflow[Any, Any], node: str, expected: dict[str, list[str]]) -> None:
    found = bound(workflow, node)
    assert {name: sources for name, sources in found.items() if name in expected or not expected} == expected


def test_two_parameters_are_two_arguments() -> None:
    plan = Workflow("w", fetch >> [charge, reserve] >> pack).plan
    arguments = plan.nodes[plan.by_name["pack"]].arguments
    assert [(argument.model.__name__, list(argument.sources)) for argument in arguments] == [
        ("Payment", ["payment_id"]),
        ("Reservation", ["shelf"]),
    ]


# Folds


def tally(name: str) -> Any:
    return count.named(name)


def test_writes_fold_in_topological_order_ties_by_name() -> None:
    workflow = Workflow("w", fetch >> [tally("b"), tally("a"), tally("c")] >> report)
    assert bound(workflow, "report") == {"total": ["c.total", "b.total", "a.total"]}  # latest first


def test_a_condition_does_not_change_the_order() -> None:
    conditional = tally("b").when(lambda pick: bool(pick.sku))
    workflow = Workflow("w", fetch >> [tally("d"), conditional, tally("c")] >> report)
    assert bound(workflow, "report") == {"total": ["d.total", "c.total", "b.total"]}


def test_a_seal_folds_at_its_name() -> None:
    class Tally(BaseModel):
        total: Annotated[int, Reduce(operator.add)]

    sealed = (ping >> tally("t")).sealed(Order, Tally).named("s")
    workflow = Workflow("w", fetch >> [tally("s-x"), sealed, tally("r")] >> report)
    assert bound(workflow, "report") == {"total": ["s-x.total", "s.total", "r.total"]}


def test_a_fold_begins_with_the_input() -> None:
    workflow = Workflow("w", [tally("a"), tally("b")] >> report, input=Basket)
    assert bound(workflow, "report") == {"total": ["b.total", "a.total", "input.total"]}


def test_a_reducer_is_bound_where_it_is_read() -> None:
    workflow = Workflow("w", fetch >> [count, multiply.writing(total="product")] >> report)
    nodes = workflow.plan.nodes
    (argument,) = nodes[workflow.plan.by_name["report"]].arguments
    assert argument.sources["total"].reduce is operator.add
    assert workflow.plan.context["product"].reduce is operator.mul
    assert workflow.plan.context["sku"].reduce is None


def test_a_plain_write_replaces_what_was_folded() -> None:
    workflow = Workflow("w", fetch >> tally("a") >> close_books >> tally("b") >> report)
    assert bound(workflow, "report") == {"total": ["b.total", "close_books.total"]}
    (argument,) = workflow.plan.nodes[workflow.plan.by_name["report"]].arguments
    assert [provider.replaces for provider in argument.sources["total"].providers] == [False, True]


def test_only_the_ancestors_fold() -> None:
    workflow = Workflow("w", fetch >> [tally("a") >> report, tally("b")])
    assert bound(workflow, "report") == {"total": ["a.total"]}


# The same row


@task
def pay_again(paid: Payment) -> None: ...


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    payment_id: str


class Computed(BaseModel):
    payment_id: str

    @computed_field  # type: ignore[prop-decorator]  # mypy has no decorated properties
    @property
    def short(self) -> str:
        return self.payment_id[:3]


@task
def pay_open(bill: Charge) -> Open: ...
@task
def pay_computed(bill: Charge) -> Computed: ...


@pytest.mark.parametrize(
    ("workflow", "node", "expected"),
    [
        (Workflow("w", charge >> pay_again), "pay_again", "charge"),
        (Workflow("w", fetch), "fetch", "input"),
        (Workflow("w", fetch >> charge), "charge", None),  # fewer fields than fetch writes
        (Workflow("w", fetch >> [charge, reserve] >> ship), "ship", None),  # from two
        (Workflow("w", charge.when(is_large) >> thank), "thank", "charge"),  # if it ran
        (Workflow("w", charge.writing(payment_id="p") >> refund.reading(payment_id="p")), "refund", "charge"),
        (Workflow("w", pay_open >> refund), "refund", None),  # its JSON may have more
        (Workflow("w", pay_computed >> refund), "refund", None),
        (Workflow("w", charge.into("payment") >> file), "file", None),
        (Workflow("w", fetch >> round_up >> round_up.named("r")), "r", "round_up"),
    ],
)
def test_an_input_that_is_an_output_is_taken_as_it_is(
    workflow: Workflow[Any, Any], node: str, expected: str | None
) -> None:
    plan = workflow.plan
    (argument,) = plan.nodes[plan.by_name[node]].arguments
    names: dict[int | None, str | None] = {None: None, INPUT: "input"}
    names.update({each.index: each.name for each in plan.nodes})
    assert names[argument.same_as] == expected


def test_fields_swapped_by_keys_are_not_the_same_row() -> None:
    class Pair(BaseModel):
        x: int
        y: int

    @task
    def first(pair: Pair) -> Pair: ...
    @task
    def second(pair: Pair) -> None: ...

    plan = Workflow("w", first >> second.reading(x="y", y="x")).plan
    (argument,) = plan.nodes[plan.by_name["second"]].arguments
    assert argument.same_as is None


# Answers


@pytest.mark.parametrize(
    ("workflow", "output"),
    [
        (orders, Shipment),
        (Workflow("w", fetch >> charge.into("payment")), Payment),
        (Workflow("w", fetch >> [charge, reserve], output=Parcel), Parcel),
        (Workflow("w", fetch >> charge.sealed(Charge, Payment)), Payment),
        (Workflow("w", fetch >> charge >> refund), None),
        (Workflow("w", fetch >> [charge, reserve]), None),
    ],
)
def test_output(workflow: Workflow[Any, Any], output: type[BaseModel] | None) -> None:
    assert workflow.output is output


def test_answers() -> None:
    assert orders.plan.answer.nodes == (orders.plan.by_name["ship"],)
    assert Workflow("w", ping).plan.answer.nothing
    several = Workflow("w", fetch >> [charge, reserve]).plan.answer
    assert (several.nodes, several.argument, several.nothing) == ((), None, False)
    declared = Workflow("w", fetch >> [charge, reserve], output=Parcel)
    assert declared.plan.answer.argument is not None
    assert shown(declared, declared.plan.answer.argument.sources["shelf"]) == ["reserve.shelf"]


def test_the_context_has_every_key_of_the_outermost_scope() -> None:
    workflow = Workflow("w", fetch >> (discount >> charge).sealed(Charge, Payment) >> reserve.when(lambda p: True))
    context = {key: shown(workflow, source) for key, source in workflow.plan.context.items()}
    assert context == {
        "order_id": ["fetch.order_id", "input.order_id"],
        "sku": ["fetch.sku"],
        "amount": ["fetch.amount"],
        "payment_id": ["sealed:discount.payment_id"],
        "shelf": ["reserve.shelf"],
    }


# Shape


def test_nodes_come_in_topological_order() -> None:
    workflow = Workflow("w", fetch >> (charge >> thank).when(is_large) >> reserve.when(maybe_paid))
    assert [(node.name, node.kind, node.task) for node in workflow.plan.nodes] == [
        ("fetch", "task", "fetch"),
        ("when:charge:0", "gate", "charge"),
        ("charge", "task", "charge"),
        ("thank", "task", "thank"),
        ("when:reserve:0", "gate", "reserve"),
        ("reserve", "task", "reserve"),
    ]
    for node in workflow.plan.nodes:
        assert all(pred < node.index for pred in node.preds)
        assert all(node.index in workflow.plan.nodes[pred].succs for pred in node.preds)


def test_rules_look_at_tasks_and_gates_decide() -> None:
    plan = Workflow("w", fetch >> (charge >> thank).when(is_large)).plan
    gate, first, second = (plan.nodes[plan.by_name[name]] for name in ("when:charge:0", "charge", "thank"))
    assert gate.predicate is is_large
    assert (first.gates, second.gates) == ((gate.index,), (gate.index,))
    assert (first.awaited, second.awaited) == ((plan.by_name["fetch"],), (first.index,))
    assert gate.index in first.preds
    assert gate.index in second.preds


def test_the_tasks_that_a_user_sees() -> None:
    plan = Workflow("w", fetch >> charge.sealed(Charge, Payment).when(is_large)).plan
    assert set(plan.by_task) == {"fetch", "sealed:charge", "sealed:charge/charge"}
    assert plan.nodes[plan.by_task["sealed:charge"]].kind == "exit"


# Digests


def test_the_digest_is_of_the_structure() -> None:
    assert orders.plan.digest == Workflow("other", fetch >> [reserve, charge] >> ship).plan.digest
    builder = WorkflowBuilder("w").add(fetch).add(charge, after=[fetch]).add(reserve, after=[fetch])
    assert builder.add(ship, after=[charge, reserve]).build().plan.digest == orders.plan.digest
    assert len(orders.plan.digest) == 32


def test_the_digest_stays_from_release_to_release() -> None:
    """Stored runs refer to it. A change here needs a migration of the plans that are stored."""
    spec = Workflow("w", fetch >> charge.when(is_large) >> thank).plan.spec
    types = json.loads(spec)["types"]
    assert all(len(id) == 12 for id in types)  # hashes of what this release of pydantic says about each type
    for id, shown in types.items():
        spec = spec.replace(f'"{id}"', f'"<{shown}>"')
    assert spec == (
        '{"answers":[],"context":{"amount":[[0,"amount"]],"order_id":[[0,"order_id"],[-1,"order_id"]],'
        '"payment_id":[[2,"payment_id"]],"sku":[[0,"sku"]]},"given":{"order_id":"<int>"},"input":"OrderRef","nodes":['
        '{"kind":"task","name":"fetch","preds":[],"reads":{"order_id":[[-1,"order_id"]]},'
        '"writes":{"amount":"<Decimal>","order_id":"<int>","sku":"<str>"}},'
        '{"kind":"gate","name":"when:charge:0","predicate":"is_large","preds":[0],"reads":{"amount":[[0,"amount"]],'
        '"order_id":[[0,"order_id"]]}},'
        '{"error":{"reason":"<str>"},"gates":[1],"kind":"task","name":"charge","preds":[0,1],"reads":{"amount":[[0,"amount"]],'
        '"order_id":[[0,"order_id"]]},"writes":{"payment_id":"<str>"}},'
        '{"kind":"task","name":"thank","preds":[2],"reads":{"payment_id":[[2,"payment_id"]]}}],"output":null,'
        '"types":{' + ",".join(f'"<{shown}>":"{shown}"' for shown in types.values()) + "}}"
    )


@pytest.mark.parametrize(
    "other",
    [
        Workflow("w", fetch >> [charge, reserve] >> ship.named("send")),
        Workflow("w", fetch >> [charge, reserve] >> ship.on("all_success")),
        Workflow("w", fetch >> [charge.when(is_large), reserve]),
        Workflow("w", fetch >> charge >> reserve >> ship),
        Workflow("w", fetch >> [charge, reserve] >> ship, output=Parcel),
        Workflow("w", fetch >> [charge, reserve.writing(shelf="x")] >> ship.reading(shelf="x")),
        Workflow("w", fetch >> [charge, reserve] >> ship.into("x")),
    ],
    ids=repr,
)
def test_another_structure_has_another_digest(other: Workflow[Any, Any]) -> None:
    assert other.plan.digest != orders.plan.digest
