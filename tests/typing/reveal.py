"""What type checkers infer: each line's comment is what ``reveal_type`` prints, mypy's before pyright's if they differ.

A plugin that fills in the hidden type arguments prints them here too; without one they are ``object`` or ``Any``.
"""

# mypy: ignore-errors=True

from decimal import Decimal
from typing import reveal_type

from cloaca import Graph, Workflow, WorkflowBuilder, run
from tests.typing.shop import (
    Charge,
    Order,
    OrderRef,
    Parcel,
    Payment,
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

# Tasks
reveal_type(fetch)
#: Task[OrderRef, Order, object, [OrderRef], Order]
reveal_type(charge)
#: Task[Charge, Payment, object, [Charge], Coroutine[Any, Any, Result[Payment, Declined]]]
reveal_type(reserve)
#: Task[Pick, Reservation, object, [Pick, *, ctx: TaskContext], Reservation]
reveal_type(pack)
#: Task[Any, Shipment, object, [Payment, Reservation], Shipment]
reveal_type(audit)
#: Task[Shipment, None, object, [Shipment], Coroutine[Any, Any, None]]
reveal_type(refund)
#: Task[Payment, None, object, [Payment], Result[None, Declined]]
reveal_type(ping)
#: Task[None, None, object, [], None]
reveal_type(first_order)
#: Task[None, OrderRef, object, [], OrderRef]

# Calling them
reveal_type(fetch(OrderRef(order_id=1)))
#: Order
reveal_type(fetch(ref=OrderRef(order_id=1)))
#: Order
_ = reveal_type(charge(Charge(order_id=1, amount=Decimal(1))))
#: Coroutine[Any, Any, Result[Payment, Declined]]
reveal_type(ping())
#: None

# Graphs
reveal_type(fetch >> charge)
#: Graph[OrderRef, Payment, object]
reveal_type(fetch >> [charge, reserve])
#: Graph[OrderRef, Mapping[str, Any], object]
reveal_type(fetch >> (charge, reserve))
#: Graph[OrderRef, Mapping[str, Any], object]
reveal_type(fetch >> [charge, reserve] >> ship)
#: Graph[OrderRef, Shipment, object]
reveal_type([fetch, ping] >> charge)
#: Graph[Any, Payment, object]
reveal_type((fetch, ping) >> charge)
#: Graph[Any, Payment, object]
reveal_type(charge & reserve)
#: Graph[Any, Mapping[str, Any], object]
reveal_type(fetch >> (charge & reserve) >> ship)
#: Graph[OrderRef, Shipment, object]
reveal_type(charge.named("again"))
#: Task[Charge, Payment, object, [Charge], Coroutine[Any, Any, Result[Payment, Declined]]]
reveal_type(charge.reading(amount="total").writing(payment_id="p"))
#: Task[Charge, Payment, object, [Charge], Coroutine[Any, Any, Result[Payment, Declined]]]
reveal_type(charge.into("payment").with_options(timeout=3))
#: Task[Charge, Payment, object, [Charge], Coroutine[Any, Any, Result[Payment, Declined]]]
reveal_type(charge.on("all_done"))
#: Task[Charge, Payment, object, [Charge], Coroutine[Any, Any, Result[Payment, Declined]]]
reveal_type(charge.when(lambda bill: bill.amount > 1))
#: Task[Charge, Payment, object, [Charge], Coroutine[Any, Any, Result[Payment, Declined]]]
reveal_type((fetch >> charge).when(lambda ref: ref.order_id > 1))
#: Graph[OrderRef, Payment, object]
reveal_type((fetch >> charge).sealed(OrderRef, Payment))
#: Seal[OrderRef, Payment, object]
reveal_type(ping.sealed(None, None))
#: Seal[None, None, object]
reveal_type(Graph())
#: Graph[Any, Any, object]

# Workflows
reveal_type(Workflow("w", fetch >> charge))
#: Workflow[OrderRef, Payment, Mapping[str, Any], Any]
reveal_type(Workflow("w", fetch))
#: Workflow[OrderRef, Order, Mapping[str, Any], Any]
reveal_type(Workflow("w", ping))
#: Workflow[None, None, Mapping[str, Any], Any]
reveal_type(Workflow("w", fetch >> [charge, reserve] >> ship, input=OrderRef))
#: Workflow[OrderRef, Shipment, Mapping[str, Any], Any]
reveal_type(Workflow("w", fetch >> [charge, reserve], input=OrderRef))
#: Workflow[OrderRef, Mapping[str, Any], Mapping[str, Any], Any]
reveal_type(Workflow("w", fetch >> [charge, reserve], output=Parcel))
#: Workflow[OrderRef, Parcel, Mapping[str, Any], Any]
reveal_type(Workflow("w", fetch >> [charge, reserve], input=OrderRef, output=Parcel))
#: Workflow[OrderRef, Parcel, Mapping[str, Any], Any]
reveal_type(Workflow("w", [charge, reserve] >> ship, input=Order))
#: Workflow[Order, Shipment, Mapping[str, Any], Any]
reveal_type(Workflow("w", fetch >> charge, fetch >> reserve))
#: Workflow[Any, Any, Mapping[str, Any], Any]
reveal_type(Workflow("w", fetch >> charge, fetch >> reserve, input=OrderRef))
#: Workflow[OrderRef, Any, Mapping[str, Any], Any]
reveal_type(Workflow("w", fetch >> charge, fetch >> reserve, input=OrderRef, output=Parcel))
#: Workflow[OrderRef, Parcel, Mapping[str, Any], Any]
reveal_type(Workflow("w", pack, input=Parcel))
#: Workflow[Parcel, Shipment, Mapping[str, Any], Any]
reveal_type(WorkflowBuilder("w", input=OrderRef).add(fetch).add(charge, after=[fetch]).build())
#: Workflow[OrderRef, Any, Mapping[str, Any], Any]

# Runs
reveal_type(run(Workflow("w", fetch), OrderRef(order_id=1)))
#: Success[Order] | Failure[RunFailure[Any]]
reveal_type(run(Workflow("w", ping)))
#: Success[None] | Failure[RunFailure[Any]]
