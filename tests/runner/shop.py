"""Models and tasks that many tests of the runner use."""

from __future__ import annotations

from pydantic import BaseModel
from returns.result import Failure, Result, Success

from cloaca import Workflow, task


class Order(BaseModel):
    order: int


class Item(BaseModel):
    sku: str


class Bill(BaseModel):
    order: int
    amount: int = 10


class Payment(BaseModel):
    payment: str


class Declined(BaseModel):
    reason: str


class Parcel(BaseModel):
    payment: str
    sku: str


class Shipment(BaseModel):
    tracking: str


class A(BaseModel):
    a: int


class B(BaseModel):
    b: int


class C(BaseModel):
    c: int


class AB(BaseModel):
    a: int
    b: int


class D(BaseModel):
    d: int


@task
def fetch(order: Order) -> Item:
    return Item(sku=f"sku-{order.order}")


@task
async def charge(bill: Bill) -> Result[Payment, Declined]:
    if bill.order < 0:
        return Failure(Declined(reason=f"no order {bill.order}"))
    return Success(Payment(payment=f"paid-{bill.order}-{bill.amount}"))


@task
def ship(parcel: Parcel) -> Shipment:
    return Shipment(tracking=f"{parcel.payment}/{parcel.sku}")


@task
async def seed(order: Order) -> A:
    return A(a=order.order)


shop = Workflow("shop", [fetch, charge] >> ship, input=Order)
