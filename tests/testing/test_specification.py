"""The specification's page of use and its examples of tests, letter by letter, with fakes of every kind."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel
from returns.result import Failure, Result, Success

from cloaca import Retry, TaskContext, Workflow, run, task
from cloaca.testing import (
    Deviation,
    Faults,
    Ledger,
    Scenario,
    World,
    clock_jump,
    crash_after_commit,
    crash_before_commit,
    exhaust,
    fail,
    lose_lease,
    override,
    simulate,
    store_error,
    time_out,
    workflow_test,
    zombie,
)


class OrderRef(BaseModel):
    order_id: int


class Order(BaseModel):
    order_id: int
    sku: str
    amount: Decimal


class Charge(BaseModel):
    order_id: int
    amount: Decimal


class Payment(BaseModel):
    payment_id: str


class Declined(BaseModel):
    reason: str


class Pick(BaseModel):
    sku: str


class Reservation(BaseModel):
    shelf: str


class Parcel(BaseModel):
    payment_id: str
    shelf: str


class Shipment(BaseModel):
    tracking: str


@task
def fetch(ref: OrderRef) -> Order:
    return Order(order_id=ref.order_id, sku="tea", amount=Decimal(5))


@task(retry=Retry(attempts=5, on=(ConnectionError,)), timeout=30)
async def charge(bill: Charge) -> Result[Payment, Declined]:
    raise ConnectionError("there is no bank here")


@task
def reserve(pick: Pick) -> Reservation:
    return Reservation(shelf=f"shelf of {pick.sku}")


@task
def ship(parcel: Parcel) -> Shipment:
    return Shipment(tracking=f"{parcel.payment_id} from {parcel.shelf}")


orders = Workflow("orders", fetch >> [charge, reserve] >> ship, input=OrderRef)
ledger = Ledger()


def paid(bill: Charge, key: str) -> Result[Payment, Declined]:
    if bill.order_id % 3 == 0:
        return Failure(Declined(reason="a multiple of three"))
    ledger.post("card", bill.amount, key=key)
    return Success(Payment(payment_id="p"))


def at_once(bill: Charge) -> Result[Payment, Declined]:
    return paid(bill, f"order {bill.order_id}")


def at_once_with_context(bill: Charge, *, ctx: TaskContext) -> Result[Payment, Declined]:
    return paid(bill, ctx.idempotency_key)


async def later(bill: Charge) -> Result[Payment, Declined]:
    return paid(bill, f"order {bill.order_id}")


async def later_with_context(bill: Charge, *, ctx: TaskContext) -> Result[Payment, Declined]:
    return paid(bill, ctx.idempotency_key)


async def ship_later(parcel: Parcel, *, ctx: TaskContext) -> Shipment:
    return Shipment(tracking=f"{parcel.payment_id} in run {ctx.run_id}")


FAKES = [at_once, at_once_with_context, later, later_with_context]


@pytest.mark.parametrize("ledger_charge", FAKES, ids=lambda fake: fake.__name__)
def test_nobody_is_charged_twice(ledger_charge: Any) -> None:
    @workflow_test(
        orders, fakes={charge: ledger_charge, ship: ship_later}, reset=ledger.clear, faults=Faults(), examples=10
    )
    def check(w: World) -> None:
        assert ledger.count("card") <= 1
        match w.outcome:
            case Success(shipment):
                assert shipment.tracking.startswith("p in run")
            case Failure(failed):
                assert failed.task in ("fetch", "charge", "reserve", "ship")

    check()


DEVIATIONS = [
    crash_before_commit("charge"),
    crash_after_commit("charge"),
    zombie("charge"),
    fail("charge", times=2),
    exhaust("charge"),
    time_out("charge"),
    lose_lease("charge"),
    store_error(at="charge"),
    store_error(at=3),
    clock_jump(3600),
    clock_jump(timedelta(hours=1)),
    clock_jump(seconds=-60, at="charge"),
]


@pytest.mark.parametrize("fake", FAKES, ids=lambda fake: fake.__name__)
@pytest.mark.parametrize("deviation", DEVIATIONS, ids=str)
def test_each_deviation_by_its_name(deviation: Deviation, fake: Any) -> None:
    ledger.clear()
    world = simulate(orders, OrderRef(order_id=7), Scenario(deviation, workers=2, seed=3), fakes={charge: fake})
    assert world.commits(charge) <= 1
    assert ledger.count("card") == 1
    assert world.status == ("failed" if deviation.kind in ("exhaust", "time_out") else "succeeded")


@pytest.mark.parametrize("fake", FAKES, ids=lambda fake: fake.__name__)
def test_a_task_is_replaced_anywhere(fake: Any) -> None:
    with override({charge: fake, ship: ship_later}):
        assert run(orders, OrderRef(order_id=7), "memory://").unwrap().tracking.startswith("p in run")
        assert simulate(orders, OrderRef(order_id=7)).status == "succeeded"
