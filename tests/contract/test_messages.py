"""The words of violations, to the letter: a person reads them, and a type checker's plugin prints the same."""

# mypy: disable-error-code=empty-body

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from cloaca import ContractError, Task, Workflow, task
from tests.contract.shop import (
    Charge,
    MaybePaid,
    MaybeRef,
    OrderRef,
    Parcel,
    Payment,
    Shipment,
    charge,
    count,
    discount,
    fetch,
    hello,
    is_large,
    is_paid,
    maybe_paid,
    multiply,
    pack,
    ping,
    refund,
    reprice,
    reserve,
    round_up,
    ship,
    stamp,
    thank,
    weigh,
)


class Misspelt(BaseModel):
    skus: str


class Late(BaseModel):
    payment: int


@task
def fetch_misspelt(ref: OrderRef) -> Misspelt: ...
@task
def late(late: Late) -> None: ...


@task
def pay(paid: MaybePaid) -> Payment: ...


rounded = round_up.when(lambda price: price.amount > 1)


MESSAGES: dict[str, tuple[Callable[[], object], list[str]]] = {
    "a near miss": (
        lambda: Workflow("orders", fetch_misspelt.named("fetch") >> reserve, input=OrderRef),
        [
            'Task "reserve" requires field "sku" (str), which neither the workflow input OrderRef nor its ancestor '
            '"fetch" provides; did you mean "skus" (from "fetch")?  [cloaca-missing-field]'
        ],
    ),
    "a near miss in the input": (
        lambda: Workflow("orders", reserve, input=Misspelt),
        [
            'Task "reserve" requires field "sku" (str), which neither the workflow input Misspelt nor any task before '
            'it provides; did you mean "skus" (from the workflow input Misspelt)?  [cloaca-missing-field]'
        ],
    ),
    "provided too late": (
        lambda: Workflow("orders", fetch >> stamp >> weigh, input=OrderRef),
        [
            'Task "stamp" requires field "kilos" (str), which neither the workflow input OrderRef nor its ancestor '
            '"fetch" provides; "weigh" provides it, but not before "stamp"  [cloaca-missing-field]'
        ],
    ),
    "several ancestors": (
        lambda: Workflow("orders", fetch >> charge >> reserve >> stamp),
        [
            'Task "stamp" requires field "kilos" (str), which neither the workflow input OrderRef nor its ancestors '
            '"reserve", "charge" and "fetch" provide  [cloaca-missing-field]'
        ],
    ),
    "many ancestors": (
        lambda: Workflow("orders", fetch >> charge >> reserve >> ship >> late.reading(payment="x")),
        [
            'Task "late" requires field "x" (int) for Late.payment, which neither the workflow input OrderRef nor its '
            'ancestors "ship", "reserve", "charge" and 1 more provide  [cloaca-missing-field]'
        ],
    ),
    "nothing before": (
        lambda: Workflow("orders", ping >> stamp),
        ['Task "stamp" requires field "kilos" (str), which nothing before it provides  [cloaca-missing-field]'],
    ),
    "an ancestor, and no input": (
        lambda: Workflow("orders", hello >> stamp),
        ['Task "stamp" requires field "kilos" (str), which its ancestor "hello" lacks  [cloaca-missing-field]'],
    ),
    "inside of a seal": (
        lambda: Workflow("orders", fetch >> (charge >> reserve).sealed(Charge, None)),
        [
            'Task "sealed:charge/reserve" requires field "sku" (str), which neither the sealed input Charge nor its '
            'ancestor "sealed:charge/charge" provides  [cloaca-missing-field]'
        ],
    ),
    "a condition": (
        lambda: Workflow("orders", fetch >> charge.when(is_paid)),
        [
            'The condition is_paid of task "charge" requires field "payment_id" (str), which neither the workflow '
            'input OrderRef nor its ancestor "fetch" provides; "charge" provides it, but not before "charge"  '
            "[cloaca-missing-field]"
        ],
    ),
    "a type": (
        lambda: Workflow("orders", fetch >> weigh >> stamp),
        ['Task "stamp" reads field "kilos" as str, but "weigh" provides it as int  [cloaca-field-type]'],
    ),
    "a type of the input, under another key": (
        lambda: Workflow("orders", reserve.reading(sku="order_id"), input=OrderRef),
        [
            'Task "reserve" reads field "order_id" as str for Pick.sku, but the workflow input OrderRef provides it as '
            "int  [cloaca-field-type]"
        ],
    ),
    "maybe": (
        lambda: Workflow("orders", fetch >> charge.when(is_large) >> refund),
        [
            'Task "refund" requires field "payment_id" (str), but it may be absent: only "charge" provides it, and it '
            "may not have run; give Payment.payment_id a default, or provide it another way  [cloaca-maybe-missing]"
        ],
    ),
    "maybe, from two": (
        lambda: Workflow("orders", rounded >> rounded.named("more") >> charge, input=OrderRef),
        [
            'Task "charge" requires field "amount" (Decimal), but it may be absent: only "more" and "round_up" provide '
            "it, and they may not have run; give Charge.amount a default, or provide it another way  "
            "[cloaca-maybe-missing]"
        ],
    ),
    "maybe, from a task or the input": (
        lambda: Workflow("orders", thank >> pay.when(maybe_paid) >> refund, input=MaybePaid),
        [
            'Task "refund" requires field "payment_id" (str), but it may be absent: "pay" may not have run, and it is '
            "optional in the workflow input MaybePaid; give Payment.payment_id a default, or provide it another way  "
            "[cloaca-maybe-missing]"
        ],
    ),
    "maybe, in the input": (
        lambda: Workflow("orders", fetch, input=MaybeRef),
        [
            'Task "fetch" requires field "order_id" (int), but it may be absent: it is optional in the workflow input '
            "MaybeRef, and nothing else writes it; give OrderRef.order_id a default, or provide it another way  "
            "[cloaca-maybe-missing]"
        ],
    ),
    "maybe, in a sealed input": (
        lambda: Workflow("orders", refund.sealed(MaybePaid, None)),
        [
            'Task "sealed:refund/refund" requires field "payment_id" (str), but it may be absent: it is optional in '
            "the sealed input MaybePaid, and nothing else writes it; give Payment.payment_id a default, or provide it "
            "another way  [cloaca-maybe-missing]"
        ],
    ),
    "a conflict": (
        lambda: Workflow("orders", fetch >> [charge, charge.named("again")]),
        [
            'Tasks "again" and "charge" are not ordered (they may run in parallel) but both write field "payment_id" '
            "(str and str); order them with >>, rename the field in one of them with "
            '.writing(payment_id="...") or .into("..."), or give it a reducer  [cloaca-write-conflict]'
        ],
    ),
    "a conflict of reducers": (
        lambda: Workflow("orders", fetch >> [count, multiply]),
        [
            'Tasks "count" and "multiply" are not ordered (they may run in parallel) but both write field "total" '
            "(int and int); order them with >>, rename the field in one of them with "
            '.writing(total="...") or .into("..."), or give it the same reducer in both  [cloaca-write-conflict]'
        ],
    ),
    "an unread rewrite": (
        lambda: Workflow("orders", fetch >> reprice),
        [
            'Task "reprice" writes field "amount" (Decimal), which "fetch" has written (Decimal), without reading it; '
            'read it (a field with a default will do), or write elsewhere with .writing(amount="...") or .into("...")'
            "  [cloaca-unread-rewrite]"
        ],
    ),
    "a cycle": (
        lambda: Workflow("orders", fetch >> charge >> refund, refund >> fetch),
        ["Cycle in the graph: charge >> refund >> fetch >> charge  [cloaca-graph-cycle]"],
    ),
    "a shared task": (
        lambda: fetch >> charge >> fetch,
        [
            'Both sides of ">>" contain task "fetch"; to run it twice give one a name of its own, .named("..."); to '
            "share it, overlay the chains: g1 & g2, or Workflow(name, g1, g2)  [cloaca-shared-task]"
        ],
    ),
    "a name": (
        lambda: discount >> discount.with_options(timeout=1),
        [
            'Two different tasks are both named "discount" (another function, other options or another condition); '
            'give one of them a name of its own: .named("...")  [cloaca-task-name]'
        ],
    ),
    "an input": (
        lambda: Workflow("orders", charge & reserve),
        [
            'Workflow "orders": its first tasks read several models: Charge (charge), Pick (reserve); say which input '
            "it takes: input=Model  [cloaca-workflow-input]"
        ],
    ),
    "several parameters": (
        lambda: Workflow("orders", pack),
        [
            'Workflow "orders": its first task "pack" has several inputs; say which input it takes: input=Model  '
            "[cloaca-workflow-input]"
        ],
    ),
    "an output": (
        lambda: Workflow("orders", fetch >> charge, output=Parcel),
        [
            'The output Parcel of workflow "orders" requires field "shelf" (str), which neither the workflow input '
            'OrderRef nor its ancestors "charge" and "fetch" provide  [cloaca-workflow-input]'
        ],
    ),
    "a sealed output": (
        lambda: Workflow("orders", fetch >> charge.sealed(Charge, Shipment)),
        [
            'The output Shipment of "sealed:charge" requires field "tracking" (str), which neither the sealed input '
            'Charge nor its ancestor "sealed:charge/charge" provides  [cloaca-workflow-input]'
        ],
    ),
    "an undefined model": (
        lambda: Workflow("orders", far_away()),
        [
            "Task \"read\": name 'Far' is not defined; define it before the workflow, and import it when the program "
            "runs, too  [cloaca-task-model]"
        ],
    ),
}


def far_away() -> Task[Any, Any]:
    @task
    def read(order: Far) -> Payment: ...

    class Far(BaseModel):
        x: int

    return read


@pytest.mark.parametrize(("build", "expected"), MESSAGES.values(), ids=MESSAGES)
def test_message(build: Callable[[], object], expected: list[str]) -> None:
    with pytest.raises(ContractError) as error:
        build()
    assert str(error.value).splitlines() == expected


def test_every_code_has_a_sample() -> None:
    shown = {line.rpartition("[cloaca-")[2] for _, lines in MESSAGES.values() for line in lines}
    codes = (
        "missing-field field-type maybe-missing write-conflict unread-rewrite graph-cycle shared-task task-name "
        "task-model workflow-input"
    )
    assert {code + "]" for code in codes.split()} == shown
