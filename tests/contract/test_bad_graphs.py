"""Graphs that the contract refuses: every code of the specification's table, with the task and the field it names."""

# mypy: disable-error-code=empty-body

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from pydantic import BaseModel, SecretStr

from cloaca import ContractError, Graph, Workflow, WorkflowBuilder, task
from tests.contract.shop import (
    Charge,
    MaybePaid,
    MaybeRef,
    Order,
    OrderRef,
    Parcel,
    Payment,
    Pick,
    Price,
    Reservation,
    Shipment,
    Tally,
    Text,
    Weight,
    charge,
    count,
    discount,
    fetch,
    file,
    hello,
    in_stock,
    is_large,
    is_paid,
    multiply,
    pack,
    ping,
    refund,
    report,
    reprice,
    reserve,
    round_up,
    ship,
    stamp,
    weigh,
)

Expected = set[tuple[str, str, str]]


def built(*steps: Any, **declared: Any) -> Callable[[], object]:
    def build() -> object:
        builder = WorkflowBuilder("w", **declared)
        for step, *after in steps:
            builder.add(step, after=after)
        return builder.build()

    return build


class Login(BaseModel):
    token: SecretStr


class PickAmount(BaseModel):
    amount: str


@task
def pick_amount(wrong: PickAmount) -> None: ...
@task
def forgetful(pick: Pick) -> MaybePaid: ...


def wrong_predicate(sku: str) -> bool:
    return bool(sku)


def two_models(pick: Pick, bill: Charge) -> bool:
    return bool(pick and bill)


async def slow_predicate(pick: Pick) -> bool:
    return bool(pick)


def has_shelf(place: Reservation) -> bool:
    return bool(place)


NO_GRAPHS: list[Any] = []

MISSING: dict[str, tuple[Callable[[], object], Expected]] = {
    "nobody provides it": (
        lambda: Workflow("w", fetch >> ship),
        {("missing-field", "ship", f) for f in ("payment_id", "shelf")},
    ),
    "the input lacks it": (lambda: Workflow("w", reserve, input=OrderRef), {("missing-field", "reserve", "sku")}),
    "a sibling provides it": (
        lambda: Workflow("w", fetch >> [charge, refund]),
        {("missing-field", "refund", "payment_id")},
    ),
    "a successor provides it": (
        lambda: Workflow("w", fetch >> refund >> charge),
        {("missing-field", "refund", "payment_id")},
    ),
    "there is no input": (lambda: Workflow("w", ping >> reserve), {("missing-field", "reserve", "sku")}),
    "it is under another key": (
        lambda: Workflow("w", fetch >> charge.writing(payment_id="p") >> refund),
        {("missing-field", "refund", "payment_id")},
    ),
    "it is read under another key": (
        lambda: Workflow("w", fetch >> charge >> refund.reading(payment_id="p")),
        {("missing-field", "refund", "p")},
    ),
    "the whole model is one field": (
        lambda: Workflow("w", fetch >> charge.into("payment") >> refund),
        {("missing-field", "refund", "payment_id")},
    ),
    "the model is not one field": (
        lambda: Workflow("w", fetch >> charge >> file),
        {("missing-field", "file", "payment")},
    ),
    "only one of two parameters": (
        lambda: Workflow("w", fetch >> charge >> pack),
        {("missing-field", "pack", "shelf")},
    ),
    "each task that lacks it": (
        lambda: Workflow("w", fetch >> [refund, refund.named("again")]),
        {("missing-field", "refund", "payment_id"), ("missing-field", "again", "payment_id")},
    ),
    "a condition that nobody provides": (
        lambda: Workflow("w", fetch >> charge.when(has_shelf)),
        {("missing-field", "charge", "shelf")},
    ),
    "a condition over a graph that nobody provides": (
        lambda: Workflow("w", fetch >> (reserve >> charge).when(is_paid)),
        {("missing-field", "reserve", "payment_id")},
    ),
    "the condition is decided before the graph": (
        lambda: Workflow("w", fetch >> (charge >> reserve).when(is_paid)),
        {("missing-field", "charge", "payment_id")},
    ),
    "a sealed graph sees only its input": (
        lambda: Workflow("w", fetch >> (charge >> reserve).sealed(Charge, None)),
        {("missing-field", "sealed:charge/reserve", "sku")},
    ),
    "a sealed graph shows only its output": (
        lambda: Workflow("w", fetch >> (charge >> reserve).sealed(Order, Payment) >> ship),
        {("missing-field", "ship", "shelf")},
    ),
    "what a sealed graph reads": (
        lambda: Workflow("w", fetch >> refund.sealed(Payment, None)),
        {("missing-field", "sealed:refund", "payment_id")},
    ),
    "built in a loop": (
        built((fetch,), (charge, fetch), (ship, charge), input=OrderRef),
        {("missing-field", "ship", "shelf")},
    ),
}

TYPES: dict[str, tuple[Callable[[], object], Expected]] = {
    "a string is read, an int is there": (
        lambda: Workflow("w", hello >> weigh >> stamp),
        {("field-type", "stamp", "kilos")},
    ),
    "a string is read, a decimal is there": (
        lambda: Workflow("w", fetch >> pick_amount),
        {("field-type", "pick_amount", "amount")},
    ),
    "the input's type": (lambda: Workflow("w", stamp, input=Weight), {("field-type", "stamp", "kilos")}),
    "another model than the whole one": (
        lambda: Workflow("w", charge.into("sku") >> reserve),
        {("field-type", "reserve", "sku")},
    ),
    "under another key": (
        lambda: Workflow("w", fetch >> reserve.reading(sku="order_id")),
        {("field-type", "reserve", "order_id")},
    ),
    "a condition's model": (
        lambda: Workflow("w", fetch >> weigh.writing(kilos="payment_id") >> reserve.when(is_paid)),
        {("field-type", "reserve", "payment_id")},
    ),
    "a task and what may replace it": (
        lambda: Workflow("w", fetch >> weigh.writing(kilos="amount").reading(sku="sku").when(in_stock) >> charge),
        {("unread-rewrite", "weigh", "amount"), ("field-type", "charge", "amount")},
    ),
    "only one of the writes that fold": (
        lambda: Workflow("w", fetch >> [count, count.named("more")] >> reserve.reading(sku="total")),
        {("field-type", "reserve", "total")},
    ),
}

MAYBE: dict[str, tuple[Callable[[], object], Expected]] = {
    "after a condition": (
        lambda: Workflow("w", fetch >> charge.when(is_large) >> refund),
        {("maybe-missing", "refund", "payment_id")},
    ),
    "after a condition over a graph": (
        lambda: Workflow("w", fetch >> (charge >> reserve).when(is_large) >> ship),
        {("maybe-missing", "ship", f) for f in ("payment_id", "shelf")},
    ),
    "one of two conditions is another's": (
        lambda: Workflow("w", fetch >> charge.when(is_large) >> refund.when(in_stock)),
        {("maybe-missing", "refund", "payment_id")},
    ),
    "the condition itself": (
        lambda: Workflow("w", fetch >> charge.when(is_large) >> reserve.when(is_paid)),
        {("maybe-missing", "reserve", "payment_id")},
    ),
    "a condition inside of a condition": (
        lambda: Workflow("w", fetch >> (charge.when(in_stock) >> refund).when(is_large)),
        {("maybe-missing", "refund", "payment_id")},
    ),
    "far behind a condition": (
        lambda: Workflow("w", fetch >> charge.when(is_large) >> reserve >> weigh >> ship),
        {("maybe-missing", "ship", "payment_id")},
    ),
    "the skipped task was to wait for success": (
        lambda: Workflow("w", fetch >> charge.when(is_large) >> reserve.on("all_success") >> ship),
        {("maybe-missing", "ship", f) for f in ("payment_id", "shelf")},
    ),
    "a condition behind a condition, for success": (
        lambda: Workflow("w", fetch >> charge.when(is_large) >> reserve.on("all_success").when(in_stock) >> refund),
        {("maybe-missing", "refund", "payment_id")},
    ),
    "after anything": (lambda: Workflow("w", fetch >> charge.on("all_done")), {("maybe-missing", "charge", "amount")}),
    "after one of several": (
        lambda: Workflow("w", fetch >> [charge, reserve] >> refund.on("any_success")),
        {("maybe-missing", "refund", "payment_id")},
    ),
    "a task that waits for a failure": (
        lambda: Workflow(
            "w", fetch >> charge >> hello.on("any_failed").writing(sku="notice") >> reserve.reading(sku="notice")
        ),
        {("maybe-missing", "reserve", "notice")},
    ),
    "behind a task that runs after anything": (
        lambda: Workflow("w", fetch >> ping.on("all_done") >> charge),
        {("maybe-missing", "charge", "amount")},
    ),
    "an optional field of the input": (
        lambda: Workflow("w", fetch, input=MaybeRef),
        {("maybe-missing", "fetch", "order_id")},
    ),
    "an optional field of a sealed input": (
        lambda: Workflow("w", refund.sealed(MaybePaid, None)),
        {("maybe-missing", "sealed:refund/refund", "payment_id")},
    ),
    "a sealed graph that may be skipped": (
        lambda: Workflow("w", fetch >> charge.sealed(Charge, Payment).when(is_large) >> refund),
        {("maybe-missing", "refund", "payment_id")},
    ),
    "what a sealed graph reads may be missing": (
        lambda: Workflow("w", fetch >> charge.when(is_large) >> refund.sealed(Payment, None)),
        {("maybe-missing", "sealed:refund", "payment_id")},
    ),
    "a fold of nothing that is sure": (
        lambda: Workflow("w", fetch >> [count.when(in_stock), count.named("more").when(in_stock)] >> report),
        {("maybe-missing", "report", "total")},
    ),
}

CONFLICTS: dict[str, tuple[Callable[[], object], Expected]] = {
    "two tasks in parallel": (
        lambda: Workflow("w", fetch >> [charge, charge.named("again")]),
        {("write-conflict", "charge", "payment_id")},
    ),
    "three tasks in parallel": (
        lambda: Workflow("w", fetch >> [charge, charge.named("b"), charge.named("a")]),
        {("write-conflict", "b", "payment_id"), ("write-conflict", "charge", "payment_id")},
    ),
    "two chains": (
        lambda: Workflow("w", fetch >> [discount >> charge, round_up]),
        {("write-conflict", "round_up", "amount")},
    ),
    "both conditional": (
        lambda: Workflow("w", fetch >> [charge.when(is_large), charge.named("again").when(in_stock)]),
        {("write-conflict", "charge", "payment_id")},
    ),
    "the same key by renaming": (
        lambda: Workflow("w", fetch >> [reserve.writing(shelf="payment_id"), charge]),
        {("write-conflict", "reserve", "payment_id")},
    ),
    "the same key by into": (
        lambda: Workflow("w", fetch >> [charge.into("x"), reserve.into("x")]),
        {("write-conflict", "reserve", "x")},
    ),
    "reducers that differ": (
        lambda: Workflow("w", fetch >> [count, multiply]),
        {("write-conflict", "multiply", "total")},
    ),
    "a reducer in one of them only": (
        lambda: Workflow("w", fetch >> [count, weigh.writing(kilos="total")]),
        {("write-conflict", "weigh", "total")},
    ),
    "sealed graphs": (
        lambda: Workflow("w", fetch >> [charge, charge.named("again").sealed(Charge, Payment)]),
        {("write-conflict", "sealed:again", "payment_id")},
    ),
}

REWRITES: dict[str, tuple[Callable[[], object], Expected]] = {
    "an update that does not read": (
        lambda: Workflow("w", fetch >> reprice),
        {("unread-rewrite", "reprice", "amount")},
    ),
    "an update of the input": (lambda: Workflow("w", reprice, input=Order), {("unread-rewrite", "reprice", "amount")}),
    "the same task again": (
        lambda: Workflow("w", fetch >> charge >> charge.named("again")),
        {("unread-rewrite", "again", "payment_id")},
    ),
    "into a field that is there": (
        lambda: Workflow("w", fetch >> reserve.into("amount")),
        {("unread-rewrite", "reserve", "amount")},
    ),
    "by another key": (
        lambda: Workflow("w", fetch >> reserve.writing(shelf="order_id")),
        {("unread-rewrite", "reserve", "order_id")},
    ),
    "it reads another key": (
        lambda: Workflow("w", fetch >> discount.reading(amount="order_id")),
        {("unread-rewrite", "discount", "amount"), ("field-type", "discount", "order_id")},
    ),
    "a conditional update": (
        lambda: Workflow("w", fetch >> reprice.when(in_stock) >> charge),
        {("unread-rewrite", "reprice", "amount")},
    ),
    "a sealed graph": (
        lambda: Workflow("w", fetch >> reprice.sealed(Pick, Price)),
        {("unread-rewrite", "sealed:reprice", "amount")},
    ),
    "inside of a sealed graph": (
        lambda: Workflow("w", fetch >> reprice.sealed(Order, None)),
        {("unread-rewrite", "sealed:reprice/reprice", "amount")},
    ),
    "a plain write over a fold": (
        lambda: Workflow("w", fetch >> count >> weigh.writing(kilos="total")),
        {("unread-rewrite", "weigh", "total")},
    ),
}

GRAPHS: dict[str, tuple[Callable[[], object], Expected]] = {
    "a cycle by overlay": (lambda: Workflow("w", fetch >> charge, charge >> fetch), {("graph-cycle", "charge", "")}),
    "a cycle by the builder": (
        built((fetch,), (charge, fetch), (fetch, charge)),
        {("graph-cycle", "charge", "")},
    ),
    "a task behind itself": (built((ping,), (ping, "ping")), {("graph-cycle", "ping", "")}),
    "a task on both sides": (lambda: fetch >> fetch, {("shared-task", "fetch", "")}),
    "a chain back to a task": (lambda: fetch >> charge >> fetch, {("shared-task", "fetch", "")}),
    "two tasks on both sides": (
        lambda: (fetch >> charge) >> [charge, fetch],
        {("shared-task", "fetch", ""), ("shared-task", "charge", "")},
    ),
    "one name for two functions": (
        lambda: Workflow("w", fetch >> [charge, reserve.named("charge")]),
        {("task-name", "charge", "")},
    ),
    "one name for two options": (lambda: charge >> charge.with_options(timeout=3), {("task-name", "charge", "")}),
    "one name for two conditions": (
        lambda: Workflow("w", fetch >> charge, fetch >> charge.when(is_large)),
        {("task-name", "charge", "")},
    ),
    "one name for two keys": (lambda: Workflow("w", charge, charge.into("x")), {("task-name", "charge", "")}),
    "one name in the builder": (built((charge,), (reserve.named("charge"),)), {("task-name", "charge", "")}),
    "another task than the one that was added": (
        built((charge,), (reserve, charge.when(is_large))),
        {("task-name", "charge", "")},
    ),
    "a name that cloaca uses itself": (
        lambda: Workflow("w", fetch >> charge.when(is_large) >> ping.named("when:charge:0")),
        {("task-name", "when:charge:0", "")},
    ),
}

MODELS: dict[str, tuple[Callable[[], object], Expected]] = {
    "a condition that reads no model": (
        lambda: Workflow("w", fetch >> charge.when(wrong_predicate)),
        {("task-model", "charge", "")},
    ),
    "a condition of two models": (
        lambda: Workflow("w", fetch >> charge.when(cast("Any", two_models))),
        {("task-model", "charge", "")},
    ),
    "a condition that is slow": (
        lambda: Workflow("w", fetch >> charge.when(cast("Any", slow_predicate))),
        {("task-model", "charge", "")},
    ),
    "a lambda without a model to read": (
        lambda: Workflow("w", ping.when(lambda _: True)),
        {("task-model", "ping", "")},
    ),
    "each condition": (
        lambda: Workflow("w", fetch >> [charge.when(wrong_predicate), reserve.when(cast("Any", two_models))]),
        {("task-model", "charge", ""), ("task-model", "reserve", "")},
    ),
    "a secret in the input": (lambda: Workflow("w", ping, input=Login), {("task-model", "w", "token")}),
    "a secret in the output": (lambda: Workflow("w", ping, output=Login), {("task-model", "w", "token")}),
    "a secret in a sealed row": (
        lambda: Workflow("w", ping.sealed(Login, None)),
        {("task-model", "sealed:ping", "token")},
    ),
    "two fields for one key": (
        lambda: fetch.writing(sku="order_id"),
        {("task-model", "fetch", "order_id")},
    ),
}

INPUTS: dict[str, tuple[Callable[[], object], Expected]] = {
    "several first models": (lambda: Workflow("w", charge & reserve), {("workflow-input", "w", "")}),
    "several first parameters": (lambda: Workflow("w", pack), {("workflow-input", "w", "")}),
    "no model as input": (lambda: Workflow("w", fetch, input=cast("Any", dict)), {("workflow-input", "w", "")}),
    "no model as output": (lambda: Workflow("w", fetch, output=cast("Any", 3)), {("workflow-input", "w", "")}),
    "neither of them a model": (
        lambda: Workflow("w", fetch, input=cast("Any", int), output=cast("Any", str)),
        {("workflow-input", "w", "")},
    ),
    "no task": (lambda: Workflow("w", Graph()), {("workflow-input", "w", "")}),
    "no graph": (lambda: Workflow("w", *NO_GRAPHS), {("workflow-input", "w", "")}),
    "an output that nobody writes": (
        lambda: Workflow("w", fetch, output=Parcel),
        {("workflow-input", "w", f) for f in ("payment_id", "shelf")},
    ),
    "an output of another type": (
        lambda: Workflow("w", hello >> weigh, output=Text),
        {("workflow-input", "w", "kilos")},
    ),
    "an output that may be missing": (
        lambda: Workflow("w", fetch >> charge.when(is_large), output=Payment),
        {("workflow-input", "w", "payment_id")},
    ),
    "a sealed output that nobody writes": (
        lambda: Workflow("w", fetch >> charge.sealed(Charge, Shipment)),
        {("workflow-input", "sealed:charge", "tracking")},
    ),
    "a sealed output that may be missing": (
        lambda: Workflow("w", fetch >> charge.when(is_large).sealed(Charge, Payment)),
        {("workflow-input", "sealed:charge", "payment_id")},
    ),
}

TOGETHER: dict[str, tuple[Callable[[], object], Expected]] = {
    "all at once": (
        lambda: Workflow("w", fetch >> [charge.when(is_large), reprice, stamp] >> ship, input=OrderRef, output=Tally),
        {
            ("missing-field", "stamp", "kilos"),
            ("unread-rewrite", "reprice", "amount"),
            ("maybe-missing", "ship", "payment_id"),
            ("missing-field", "ship", "shelf"),
            ("workflow-input", "w", "total"),
        },
    ),
}

BAD = {
    f"{code}: {name}": case
    for code, cases in {
        "missing-field": MISSING,
        "field-type": TYPES,
        "maybe-missing": MAYBE,
        "write-conflict": CONFLICTS,
        "unread-rewrite": REWRITES,
        "graph": GRAPHS,
        "task-model": MODELS,
        "workflow-input": INPUTS,
        "together": TOGETHER,
    }.items()
    for name, case in cases.items()
}


@pytest.mark.parametrize(("build", "expected"), BAD.values(), ids=BAD)
def test_bad(build: Callable[[], object], expected: Expected) -> None:
    with pytest.raises(ContractError) as error:
        build()
    assert {(found.code, found.task, found.field) for found in error.value.violations} == expected


def test_there_are_enough() -> None:
    assert len(BAD) >= 60


def test_violations_come_in_topological_order_then_by_field() -> None:
    with pytest.raises(ContractError) as error:
        TOGETHER["all at once"][0]()
    found = [(violation.task, violation.field) for violation in error.value.violations]
    assert found == [
        ("reprice", "amount"),
        ("stamp", "kilos"),
        ("ship", "payment_id"),
        ("ship", "shelf"),
        ("w", "total"),
    ]
    assert str(error.value).count("\n") == len(found) - 1


def test_a_condition_over_what_surrounds_others_is_a_cycle() -> None:
    guarded = (fetch & charge).when(is_large)
    nodes = {node.name: node for node in guarded}
    with pytest.raises(ContractError) as error:
        Workflow("w", guarded, nodes["fetch"] >> ping >> nodes["charge"])
    assert [violation.code for violation in error.value.violations] == ["graph-cycle"]
