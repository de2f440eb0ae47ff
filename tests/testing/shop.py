"""A workflow with everything that the kit's own tests need: effects, retries, a timeout, a condition, a join."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel, Field
from returns.result import Failure, Result, Success

from cloaca import Retry, TaskContext, Workflow, task
from cloaca.testing import Ledger

LEDGER = Ledger()


class Order(BaseModel):
    order_id: int = Field(ge=1, le=9)
    amount: int = Field(ge=1, le=100)
    gift: bool


class Quote(BaseModel):
    price: int


class Bill(BaseModel):
    order_id: int
    price: int


class Payment(BaseModel):
    payment_id: str


class Declined(BaseModel):
    reason: str


class Shelf(BaseModel):
    shelf: str


class Wrapping(BaseModel):
    paper: str


class Parcel(BaseModel):
    payment_id: str
    shelf: str
    paper: str = "none"


class Shipment(BaseModel):
    tracking: str


@task
def quote(order: Order) -> Quote:
    return Quote(price=order.amount * 2)


@task(retry=Retry(attempts=3, delay=5, on=(ConnectionError,)), timeout=20)
async def charge(bill: Bill, *, ctx: TaskContext) -> Result[Payment, Declined]:
    if bill.price > 150:
        return Failure(Declined(reason="too much"))
    LEDGER.post("card", bill.price, key=ctx.idempotency_key)
    await asyncio.sleep(3)
    LEDGER.post("shop", -bill.price, key=f"{ctx.idempotency_key}:shop")
    return Success(Payment(payment_id=f"p{bill.order_id}"))


@task(retry=Retry(attempts=2, delay=60))
def reserve(order: Order) -> Shelf:
    return Shelf(shelf=f"s{order.order_id}")


@task
def wrap(order: Order) -> Wrapping:
    return Wrapping(paper="gold")


def is_gift(order: Order) -> bool:
    return order.gift


@task(timeout=120)
async def ship(parcel: Parcel) -> Shipment:
    await asyncio.sleep(90)  # longer than a lease
    return Shipment(tracking=f"{parcel.payment_id}-{parcel.shelf}-{parcel.paper}")


shop = Workflow("shop", quote >> [charge, reserve, wrap.when(is_gift)] >> ship, input=Order)
