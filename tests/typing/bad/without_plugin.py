"""What plain generics catch: each line's comment has mypy's code, and after a bar pyright's rule; - is neither."""

# mypy: ignore-errors=True
# ruff: noqa: B018

from typing import Any

from returns.result import Failure, Success

from cloaca import BlockingRunner, Graph, Retry, Task, Workflow, WorkflowBuilder, run, task
from tests.typing.shop import (
    Order,
    OrderRef,
    Payment,
    Pick,
    Shipment,
    charge,
    fetch,
    first_order,
    ping,
    reserve,
    ship,
)

shipping = fetch >> [charge, reserve] >> ship
orders = Workflow("orders", shipping, input=OrderRef)

# Composing what is no graph
undecorated = fetch >> len  # E operator | reportOperatorIssue
number = fetch >> 3  # E operator | reportOperatorIssue
overlaid_list = fetch & [charge]  # E operator | reportOperatorIssue
text = "fetch" >> fetch  # E operator | reportOperatorIssue

# Annotations that do not hold
wrong_output: Graph[OrderRef, Shipment] = fetch >> charge  # E operator | reportAssignmentType
wrong_input: Graph[Payment, Payment] = fetch >> charge  # E assignment | reportAssignmentType
wrong_task: Task[Order, Payment] = reserve  # E assignment | reportAssignmentType
wrong_workflow: Workflow[OrderRef, Payment] = Workflow("w", shipping)  # E arg-type | reportAssignmentType
wrong_builder: Workflow[Pick, Any] = WorkflowBuilder("w", input=OrderRef).build()  # E assignment | reportAssignmentType


def declared() -> Graph[OrderRef, Shipment]:
    return fetch >> charge  # E no-any-return operator | reportReturnType


# Closing
no_name = Workflow(fetch)  # E call-overload | reportCallIssue
input_is_no_model = Workflow("w", fetch, input=int)  # E type-var | reportArgumentType
output_is_an_instance = Workflow("w", fetch, output=OrderRef(order_id=1))  # E call-overload | reportArgumentType

# Tasks
charge(OrderRef(order_id=1))  # E call-overload | reportArgumentType reportUnusedCoroutine
charge.on("sometimes")  # E arg-type | reportArgumentType
charge.named(3)  # E arg-type | reportArgumentType
charge.into(Payment)  # E arg-type | reportArgumentType
charge.reading(amount=3)  # E arg-type | reportArgumentType
fetch(OrderRef(order_id=1)).shelf  # E attr-defined | reportAttributeAccessIssue
charge.sealed(int, Payment)  # E type-var | reportArgumentType reportCallIssue


@task(retries=3)  # E call-overload untyped-decorator | reportCallIssue
def misspelt() -> None: ...


@task(retry=3)  # E call-overload untyped-decorator | reportArgumentType
def no_policy() -> None: ...


@task(timeout="soon")  # E call-overload untyped-decorator | reportArgumentType
def no_number() -> None: ...


Retry(attempts="3")  # E arg-type | reportArgumentType
Retry(backoff="random")  # E arg-type | reportArgumentType

# Conditions
charge.when(3)  # E arg-type | reportArgumentType
charge.when(lambda: True)  # E arg-type misc | reportArgumentType

# Runs
run(orders)  # E arg-type | reportArgumentType
run(orders, Pick(sku="s"))  # E misc | reportArgumentType reportCallIssue
run(orders, 7)  # E call-overload | reportArgumentType reportCallIssue
run(Workflow("w", ping), OrderRef(order_id=7))  # E misc | reportArgumentType reportCallIssue
run(Workflow("w", first_order), Pick(sku="s"))  # E misc | reportArgumentType reportCallIssue
run(fetch, OrderRef(order_id=7))  # E call-overload | reportArgumentType reportCallIssue

match run(orders, OrderRef(order_id=7)):
    case Success(shipment):
        print(shipment.shelf)  # E attr-defined | reportAttributeAccessIssue
    case Failure(failed):
        print(failed.tracking)  # E attr-defined | reportAttributeAccessIssue

with BlockingRunner("sqlite:///orders.db", workflows=[orders]) as runner:
    handle = runner.start(orders, Pick(sku="s"))  # E misc | reportArgumentType reportCallIssue
    started = runner.start(orders, OrderRef(order_id=7))
    payment: Shipment | None = started.output_of(charge)  # E assignment | reportAssignmentType

# Values
orders.name = 3  # E assignment | reportAttributeAccessIssue
