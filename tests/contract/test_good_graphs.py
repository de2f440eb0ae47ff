"""Graphs that the contract accepts, in the order of the specification: there is to be no false alarm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cloaca import Graph, Retry, Workflow, WorkflowBuilder
from tests.contract.shop import (
    Basket,
    Charge,
    Order,
    OrderRef,
    Parcel,
    Payment,
    Pick,
    Price,
    Reservation,
    Shipment,
    audit,
    charge,
    close_books,
    count,
    discount,
    fetch,
    file,
    hello,
    in_stock,
    is_large,
    load,
    maybe_paid,
    multiply,
    pack,
    ping,
    refund,
    report,
    reprice,
    reserve,
    round_up,
    ship,
    thank,
    weigh,
)

AnyWorkflow = Workflow[Any, Any]


def built(*steps: Any, **declared: Any) -> Callable[[], AnyWorkflow]:
    def build() -> AnyWorkflow:
        builder = WorkflowBuilder("w", **declared)
        for step, *after in steps:
            builder.add(step, after=after)
        return builder.build()

    return build


orders = fetch >> [charge, reserve] >> ship

GOOD: dict[str, Callable[[], AnyWorkflow]] = {
    # Series and parallel
    "the first page": lambda: Workflow("w", orders, input=OrderRef),
    "the input is the first task's": lambda: Workflow("w", orders),
    "one task": lambda: Workflow("w", fetch),
    "a task that reads and writes nothing": lambda: Workflow("w", ping),
    "a run without input": lambda: Workflow("w", hello >> reserve),
    "a chain": lambda: Workflow("w", fetch >> charge >> refund),
    "an ancestor's ancestor provides": lambda: Workflow("w", fetch >> charge >> reserve),
    "an asynchronous task with a typed error": lambda: Workflow("w", charge),
    "a task that asks for its context": lambda: Workflow("w", orders >> audit),
    "tasks in parallel": lambda: Workflow("w", fetch >> [charge, reserve]),
    "a list inside of a list": lambda: Workflow("w", fetch >> [[charge, reserve], weigh]),
    "a tuple": lambda: Workflow("w", fetch >> (charge, reserve) >> ship),
    "chains side by side": lambda: Workflow("w", fetch >> [charge >> refund, reserve]),
    "the operator for parallel": lambda: Workflow("w", fetch >> (charge & reserve) >> ship),
    "several first tasks with one model": lambda: Workflow(
        "w", [charge, charge.named("again").writing(payment_id="other")] >> refund
    ),
    "several first tasks, one of them without input": lambda: Workflow("w", [ping, fetch] >> charge),
    "an empty graph inside": lambda: Workflow("w", Graph() >> fetch >> []),
    "two parameters": lambda: Workflow("w", fetch >> [charge, reserve] >> pack),
    "two first parameters, with an input": lambda: Workflow("w", pack, input=Parcel),
    "a task twice, under two names": lambda: Workflow(
        "w", fetch >> charge >> charge.named("again").writing(payment_id="second")
    ),
    # The overlay
    "chains that share tasks": lambda: Workflow("w", fetch >> charge >> ship, fetch >> reserve >> ship),
    "the overlay in one expression": lambda: Workflow("w", fetch >> charge >> ship & fetch >> reserve >> ship),
    "any DAG": lambda: Workflow(
        "w", fetch >> charge >> ship, fetch >> reserve >> ship, charge >> refund, reserve >> refund
    ),
    "a chain in pieces": lambda: Workflow("w", fetch >> charge, charge >> refund),
    "another chain supplies the field": lambda: Workflow("w", charge >> ship, fetch >> [charge, reserve >> ship]),
    "the same chain twice": lambda: Workflow("w", orders, orders),
    # The builder
    "built in a loop": built((fetch,), (charge, fetch), (reserve, fetch), (ship, charge, reserve), input=OrderRef),
    "built by name": built((fetch,), (charge, "fetch"), (refund, "charge")),
    "built with an output": built((fetch,), (charge, fetch), (reserve, fetch), input=OrderRef, output=Parcel),
    # The input and the output
    "the input provides": lambda: Workflow("w", charge >> reserve, input=Order),
    "an input with more than is needed": lambda: Workflow("w", reserve, input=Order),
    "an output from several tasks": lambda: Workflow("w", fetch >> [charge, reserve], output=Parcel),
    "an output from the input": lambda: Workflow("w", fetch >> charge, input=OrderRef, output=OrderRef),
    "an output of fewer fields": lambda: Workflow("w", fetch, output=Pick),
    # Types
    "an int where a float is read": lambda: Workflow("w", weigh >> load),
    "a whole model as one field": lambda: Workflow("w", charge.into("payment") >> file),
    # Keys
    "read under another key": lambda: Workflow(
        "w", charge.writing(payment_id="receipt") >> refund.reading(payment_id="receipt")
    ),
    "written under another key, so no conflict": lambda: Workflow(
        "w", fetch >> [discount, reprice.writing(amount="offer")]
    ),
    "into, so no conflict": lambda: Workflow("w", fetch >> [discount, reprice.into("offer")]),
    "other keys for two parameters": lambda: Workflow(
        "w", fetch >> [charge.writing(payment_id="p"), reserve] >> pack.reading(payment_id="p"), input=OrderRef
    ),
    # Updates
    "an update that reads": lambda: Workflow("w", fetch >> discount >> charge),
    "an update that reads if there is something": lambda: Workflow("w", fetch >> round_up >> charge),
    "two updates in order": lambda: Workflow("w", fetch >> discount >> discount.named("more") >> charge),
    "a first write needs no read": lambda: Workflow("w", round_up >> charge, input=OrderRef),
    "an update of the input": lambda: Workflow("w", discount >> charge, input=Charge),
    "an update between, by overlay": lambda: Workflow("w", fetch >> charge, fetch >> discount >> charge),
    # Conditions
    "a condition that is read like an input": lambda: Workflow("w", fetch >> charge.when(is_large)),
    "a lambda gets the first model": lambda: Workflow("w", fetch >> charge.when(lambda bill: bill.amount > 1)),
    "what is conditional may be read with a default": lambda: Workflow("w", fetch >> charge.when(is_large) >> thank),
    "a conditional update of what is there": lambda: Workflow("w", fetch >> discount.when(is_large) >> charge),
    "inside of a condition everything is sure": lambda: Workflow("w", fetch >> (charge >> refund).when(is_large)),
    "a condition over tasks in parallel": lambda: Workflow(
        "w", fetch >> ([charge, reserve] >> ship).when(is_large) >> ping
    ),
    "a condition in a condition": lambda: Workflow("w", fetch >> (charge.when(in_stock) >> thank).when(is_large)),
    "what was before a condition stays": lambda: Workflow("w", fetch >> charge >> reserve.when(in_stock) >> refund),
    "a conditional task, and its reader waits for success": lambda: Workflow(
        "w", fetch >> charge.when(is_large) >> refund.on("all_success")
    ),
    "the reader is under the same condition": lambda: Workflow(
        "w", fetch >> (charge >> reserve >> refund).when(is_large) >> ping
    ),
    "a first condition, without a lambda": lambda: Workflow("w", charge.when(is_large)),
    "a condition with a default": lambda: Workflow("w", fetch >> charge.when(is_large) >> reserve.when(maybe_paid)),
    # Rules
    "after anything, what the input has": lambda: Workflow("w", ping >> charge.on("all_done"), input=Order),
    "cleaning up, and what it gives": lambda: Workflow("w", ping >> hello.on("all_done") >> reserve),
    "one of several": lambda: Workflow("w", [ping, ping.named("pong")] >> hello.on("any_success") >> reserve),
    "after a failure, from the input": lambda: Workflow("w", ping >> reserve.on("any_failed"), input=Order),
    "all of them successful": lambda: Workflow("w", fetch >> [charge, reserve] >> ship.on("all_success")),
    # Reducers
    "unordered writes that fold": lambda: Workflow("w", fetch >> [count, count.named("more")] >> report),
    "ordered writes that fold": lambda: Workflow("w", fetch >> count >> count.named("more") >> report),
    "a fold over the input": lambda: Workflow("w", [count, count.named("more")] >> report, input=Basket),
    "a fold, and then a plain update": lambda: Workflow(
        "w", fetch >> [count, count.named("more")] >> close_books >> report
    ),
    "a fold on top of a plain update": lambda: Workflow(
        "w", fetch >> count >> close_books >> count.named("more") >> report
    ),
    "folds of two kinds under two keys": lambda: Workflow(
        "w", fetch >> [count, multiply.writing(total="product")] >> report
    ),
    # Sealed graphs
    "sealed": lambda: Workflow("w", (fetch >> [charge, reserve] >> ship).sealed(OrderRef, Shipment) >> audit),
    "what is inside does not conflict": lambda: Workflow(
        "w", fetch >> [(charge >> refund).sealed(Charge, None), charge] >> refund.named("outer"), input=OrderRef
    ),
    "sealed twice": lambda: Workflow("w", fetch >> (charge.sealed(Charge, Payment) >> refund).sealed(Charge, Payment)),
    "sealed, under a condition": lambda: Workflow("w", fetch >> charge.sealed(Charge, Payment).when(is_large) >> thank),
    "cleaning up inside of a seal": lambda: Workflow(
        "w", (charge >> reserve.on("all_done")).sealed(Order, Reservation)
    ),
    "before a seal with a rule inside": lambda: Workflow(
        "w", fetch >> (ping >> hello.on("all_done")).sealed(None, None) >> charge
    ),
    "a sealed update": lambda: Workflow("w", fetch >> discount.sealed(Charge, Price) >> charge),
    "a sealed graph without rows": lambda: Workflow("w", fetch >> ping.sealed(None, None) >> charge),
    # Options
    "other options at this place": lambda: Workflow(
        "w", fetch >> charge.with_options(retry=Retry(attempts=3), timeout=5)
    ),
    "the same options at both places": lambda: Workflow(
        "w", fetch >> charge.with_options(timeout=5), fetch >> charge.with_options(timeout=5) >> refund
    ),
}


@pytest.mark.parametrize("build", GOOD.values(), ids=GOOD)
def test_good(build: Callable[[], AnyWorkflow]) -> None:
    assert isinstance(build(), Workflow)


def test_there_are_enough() -> None:
    assert len(GOOD) >= 60
