"""What type checkers infer: each line's comment is what ``reveal_type`` prints, mypy's before pyright's if they differ.

A plugin that fills in the hidden type arguments prints them here too; without one they are ``object`` or ``Any``.
"""

from collections.abc import Mapping
from typing import Any

from typing_extensions import reveal_type

from cloaca import Graph, Workflow, WorkflowBuilder, run, task
from tests.typing.shop import (
    Charge,
    Order,
    OrderRef,
    Parcel,
    Payment,
    Pick,
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

# Tasks
reveal_type(fetch)
reveal_type(charge)
reveal_type(reserve)
reveal_type(pack)
reveal_type(audit)
reveal_type(refund)
reveal_type(ping)
reveal_type(first_order)

# Calling them
reveal_type(fetch(OrderRef(order_id=1)))
reveal_type(fetch(ref=OrderRef(order_id=1)))
reveal_type(charge(Charge(order_id=1, amount=1)))
reveal_type(ping())

# Graphs
reveal_type(fetch >> charge)
reveal_type(fetch >> [charge, reserve])
reveal_type(fetch >> (charge, reserve))
reveal_type(fetch >> [charge, reserve] >> ship)
reveal_type([fetch, ping] >> charge)
reveal_type((fetch, ping) >> charge)
reveal_type(charge & reserve)
reveal_type(fetch >> (charge & reserve) >> ship)
reveal_type(charge.named("again"))
reveal_type(charge.reading(amount="total").writing(payment_id="p"))
reveal_type(charge.into("payment").with_options(timeout=3))
reveal_type(charge.on("all_done"))
reveal_type(charge.when(lambda bill: bill.amount > 1))
reveal_type((fetch >> charge).when(lambda ref: ref.order_id > 1))
reveal_type((fetch >> charge).sealed(OrderRef, Payment))
reveal_type(ping.sealed(None, None))
reveal_type(Graph())

# Workflows
reveal_type(Workflow("w", fetch >> charge))
reveal_type(Workflow("w", fetch))
reveal_type(Workflow("w", ping))
reveal_type(Workflow("w", fetch >> [charge, reserve] >> ship, input=OrderRef))
reveal_type(Workflow("w", fetch >> [charge, reserve], input=OrderRef))
reveal_type(Workflow("w", fetch >> [charge, reserve], output=Parcel))
reveal_type(Workflow("w", fetch >> [charge, reserve], input=OrderRef, output=Parcel))
reveal_type(Workflow("w", [charge, reserve] >> ship, input=Order))
reveal_type(Workflow("w", fetch >> charge, fetch >> reserve))
reveal_type(Workflow("w", fetch >> charge, fetch >> reserve, input=OrderRef))
reveal_type(Workflow("w", fetch >> charge, fetch >> reserve, input=OrderRef, output=Parcel))
reveal_type(Workflow("w", pack, input=Parcel))
reveal_type(WorkflowBuilder("w", input=OrderRef).add(fetch).add(charge, after=[fetch]).build())

# Runs
reveal_type(run(Workflow("w", fetch), OrderRef(order_id=1)))
reveal_type(run(Workflow("w", ping)))
