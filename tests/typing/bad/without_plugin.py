"""What plain generics catch: each line's comment has mypy's code, and after a bar pyright's rule; - is neither."""

from typing import Any

from returns.result import Failure, Success

from cloaca import BlockingRunner, Graph, Retry, Task, Workflow, WorkflowBuilder, run, task
from tests.typing.shop import (
    Charge,
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

orders = Workflow("orders", fetch >> [charge, reserve] >> ship, input=OrderRef)

# Composing what is no graph
undecorated = fetch >> len
number = fetch >> 3
overlaid_list = fetch & [charge]
text = "fetch" >> fetch

# Annotations that do not hold
wrong_output: Graph[OrderRef, Shipment] = fetch >> charge
wrong_input: Graph[Payment, Payment] = fetch >> charge
wrong_task: Task[Order, Payment] = reserve
wrong_workflow: Workflow[OrderRef, Payment] = Workflow("w", fetch >> [charge, reserve] >> ship)
wrong_builder: Workflow[Pick, Any] = WorkflowBuilder("w", input=OrderRef).build()


def declared() -> Graph[OrderRef, Shipment]:
    return fetch >> charge


# Closing
no_name = Workflow(fetch)
input_is_no_model = Workflow("w", fetch, input=int)
output_is_an_instance = Workflow("w", fetch, output=OrderRef(order_id=1))

# Tasks
charge(OrderRef(order_id=1))
charge.on("sometimes")
charge.named(3)
charge.into(Payment)
charge.reading(amount=3)
fetch(OrderRef(order_id=1)).shelf
charge.sealed(int, Payment)


@task(retries=3)
def misspelt() -> None: ...


@task(retry=3)
def no_policy() -> None: ...


@task(timeout="soon")
def no_number() -> None: ...


Retry(attempts="3")
Retry(backoff="random")

# Conditions
charge.when(3)
charge.when(lambda: True)

# Runs
run(orders)
run(orders, Pick(sku="s"))
run(orders, 7)
run(Workflow("w", ping), OrderRef(order_id=7))
run(Workflow("w", first_order), Pick(sku="s"))
run(fetch, OrderRef(order_id=7))

match run(orders, OrderRef(order_id=7)):
    case Success(shipment):
        print(shipment.shelf)
    case Failure(failed):
        print(failed.tracking)

with BlockingRunner("sqlite:///orders.db", workflows=[orders]) as runner:
    handle = runner.start(orders, Pick(sku="s"))
    payment: Shipment | None = runner.start(orders, OrderRef(order_id=7)).output_of(charge)

# Values
orders.name = 3
Charge(order_id="x", amount="y")
