"""Running workflows, with and without ``await``."""

import asyncio
from typing import Any

from returns.result import Failure, Result, Success

from cloaca import BlockingRunner, Outcome, RunFailure, Runner, Workflow, run
from tests.typing.shop import OrderRef, Payment, Shipment, audit, charge, fetch, first_order, ping, reserve, ship

orders = Workflow("orders", fetch >> [charge, reserve] >> ship, input=OrderRef)
several = Workflow("several", fetch >> [charge, reserve], input=OrderRef)
silent = Workflow("silent", fetch >> [charge, reserve] >> ship >> audit)
pinging = Workflow("pinging", ping)
starting = Workflow("starting", first_order >> fetch)


class ExpressRef(OrderRef):
    express: bool = True


def blocking() -> str:
    match run(orders, OrderRef(order_id=7)):
        case Success(shipment):
            return shipment.tracking
        case Failure(failed):
            return f"{failed.task} {failed.error} {failed.run_id} {failed.failures[0].message}"


def exhaustive(outcome: Outcome[Shipment, Any]) -> Shipment:
    match outcome:
        case Success(shipment):
            return shipment
        case Failure(failed):
            raise SystemExit(str(failed))


def more() -> None:
    as_result: Result[Shipment, RunFailure[Any]] = run(orders, OrderRef(order_id=7), "sqlite:///orders.db")
    subclass = run(orders, ExpressRef(order_id=7), database="sqlite:///orders.db")
    no_input = run(pinging)
    first: Outcome[Any, Any] = run(starting)
    tracking: str = exhaustive(run(orders, OrderRef(order_id=1))).tracking
    print(as_result, subclass, no_input, first, tracking)
    match run(several, OrderRef(order_id=7)):
        case Success(context):
            print(context["sku"], context.get("shelf"))
        case Failure(failed):
            print(failed.status)


async def asynchronous() -> None:
    async with Runner("sqlite:///orders.db", workflows=[orders, several, pinging, silent]) as runner:
        handle = await runner.start(orders, OrderRef(order_id=7), key="order-7")
        outcome = await handle.result(timeout=60)
        shipment: Shipment = exhaustive(outcome)
        paid: Payment | None = await handle.output_of(charge)
        direct = await runner.run(orders, OrderRef(order_id=8))
        exhaustive(direct)
        await runner.run(pinging)
        await runner.start("orders", OrderRef(order_id=9))
        other = await runner.get(handle.id)
        async for event in other.events():
            print(event.kind, event.task, event.at)
        print(await handle.tasks(), await handle.why(), await handle.context(), await handle.status(), paid, shipment)
        print(await runner.runs(workflow=orders, status="failed", limit=5))
        await (await runner.start(silent, OrderRef(order_id=9))).cancel()


def threads() -> None:
    with BlockingRunner("sqlite:///orders.db", workflows=[orders]) as runner:
        handle = runner.start(orders, OrderRef(order_id=7))
        exhaustive(handle.result())
        exhaustive(runner.run(orders, OrderRef(order_id=8)))
        runner.run(pinging)
        print(handle.output_of(fetch), handle.failures())


if __name__ == "__main__":
    print(blocking())
    more()
    threads()
    asyncio.run(asynchronous())
