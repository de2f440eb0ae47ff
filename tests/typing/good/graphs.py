"""Every way to compose graphs."""

import functools
import operator
from typing import Any

from cloaca import Graph, Retry, Task, Workflow, WorkflowBuilder
from tests.typing.shop import (
    Charge,
    Order,
    OrderRef,
    Parcel,
    Payment,
    Reservation,
    Shipment,
    audit,
    charge,
    fetch,
    first_order,
    pack,
    ping,
    refund,
    reserve,
    ship,
)

# Lists, tuples, &, and what is made of them
chain = fetch >> charge >> refund
listed = fetch >> [charge, reserve] >> ship >> audit
tupled = fetch >> (charge, reserve) >> ship
nested = fetch >> [charge >> refund, [reserve, ping]]
joined = [fetch, ping] >> charge
joined_tuple = (fetch, ping) >> charge
parallel = charge & reserve
side_by_side = fetch >> charge & first_order >> reserve
between = fetch >> (charge & reserve) >> ship
empty = Graph() >> fetch >> []
nothing: Graph[Any, Any] = Graph()

# Variables, loops and functions keep what they are declared to be
branches: list[Task[Any, Any]] = [charge, reserve]
from_variable = fetch >> branches >> ship
unpacked = fetch >> [*branches, ping]
tasks = [ping.named(f"ping-{number}") for number in range(3)]
folded = functools.reduce(operator.rshift, tasks)
growing: Graph[None, Any] = ping
for number in range(3):
    growing = growing >> ping.named(f"again-{number}")


def payments() -> Graph[OrderRef, Payment]:
    return fetch >> charge


def shipments(fast: bool) -> Graph[Order, Shipment]:
    if fast:
        return [charge, reserve] >> ship.with_options(timeout=1)
    return [charge, reserve] >> ship


def after(graph: Graph[OrderRef, Any], last: Task[Any, Shipment]) -> Workflow[OrderRef, Shipment]:
    return Workflow("composed", graph >> last)


declared = Workflow("declared", payments() >> refund)
composed: Workflow[OrderRef, Shipment] = after(fetch >> [charge, reserve], ship)
closed: Workflow[Order, Shipment] = Workflow("closed", shipments(fast=True), input=Order)


# What a task may be told at its place
def is_large(bill: Charge) -> bool:
    return bill.amount > 100


class Flows:
    paying = charge.named("paying").when(is_large)
    orders = Workflow("orders", fetch >> paying)


conditional = fetch >> charge.when(is_large) >> reserve
with_lambda = fetch >> charge.when(lambda bill: bill.amount > 100)
whole = (fetch >> charge).when(lambda ref: ref.order_id > 7)
typed_whole = ([charge, reserve] >> ship).when(is_large)
sealed = (fetch >> [charge, reserve] >> ship).sealed(OrderRef, Shipment).named("shipping") >> audit
no_rows = ping.sealed(None, None) >> first_order.sealed(None, OrderRef) >> audit.sealed(Shipment, None)
renamed = charge.named("again").reading(amount="total").writing(payment_id="receipt")
as_one_field = charge.into("payment")
options = charge.with_options(retry=Retry(attempts=3, on=lambda error: "busy" in str(error)), timeout=5, tags=["slow"])
ruled = fetch >> charge >> reserve.on("all_done").when(lambda pick: bool(pick.sku))

# Closing
one: Workflow[OrderRef, Payment] = Workflow("one", fetch >> charge)
with_input: Workflow[OrderRef, Shipment] = Workflow("w", fetch >> [charge, reserve] >> ship, input=OrderRef)
with_output: Workflow[OrderRef, Parcel] = Workflow("w", fetch >> [charge, reserve], input=OrderRef, output=Parcel)
overlaid: Workflow[OrderRef, Shipment] = Workflow(
    "w", fetch >> charge >> ship, fetch >> reserve >> ship, input=OrderRef, output=Shipment
)
loose: Workflow[OrderRef, Any] = Workflow("w", fetch >> charge, fetch >> reserve, input=OrderRef)
no_input: Workflow[None, OrderRef] = Workflow("w", first_order)
two: Workflow[Parcel, Shipment] = Workflow("w", pack, input=Parcel)

builder = WorkflowBuilder("built", input=OrderRef)
builder.add(fetch)
for task in (charge, reserve):
    builder.add(task, after=[fetch])
builder.add(ship, after=["charge", reserve])
built: Workflow[OrderRef, Any] = builder.build()
built_with_output: Workflow[OrderRef, Reservation] = (
    WorkflowBuilder("built", input=OrderRef, output=Reservation).add(fetch).add(reserve, after=[fetch]).build()
)

# Looking at it
print(listed.to_mermaid(), listed.to_dot(), listed.to_svg(), listed.to_text(width=60), one.name, one.version)
print(Flows.orders.to_mermaid({"fetch": "running"}), [node.name for node in chain], {one, declared}, chain == listed)
