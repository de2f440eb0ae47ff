"""The shop of the documentation's first page, and a few odd tasks around it: what the tables of good and bad use."""

# mypy: disable-error-code=empty-body

from __future__ import annotations

import operator
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel
from returns.result import Result

from cloaca import Reduce, TaskContext, task


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


class Price(BaseModel):
    amount: Decimal


class MaybePrice(BaseModel):
    amount: Decimal = Decimal(0)


class MaybePaid(BaseModel):
    """A payment, if there was one."""

    payment_id: str = "none"


class Weight(BaseModel):
    kilos: int


class Load(BaseModel):
    kilos: float


class Text(BaseModel):
    kilos: str


class Tally(BaseModel):
    total: Annotated[int, Reduce(operator.add)]


class Total(BaseModel):
    total: int


class Basket(BaseModel):
    sku: str
    total: int


class Product(BaseModel):
    total: Annotated[int, Reduce(operator.mul)]


class Receipt(BaseModel):
    payment: Payment


class MaybeRef(BaseModel):
    order_id: int = 7


@task
def fetch(ref: OrderRef) -> Order: ...
@task
async def charge(bill: Charge) -> Result[Payment, Declined]: ...
@task
def reserve(pick: Pick) -> Reservation: ...
@task
def ship(parcel: Parcel) -> Shipment: ...
@task
def audit(shipment: Shipment, *, ctx: TaskContext) -> None: ...
@task
def discount(bill: Charge) -> Price: ...  # reads the amount that it replaces
@task
def reprice(pick: Pick) -> Price: ...  # replaces an amount that it has not read
@task
def round_up(price: MaybePrice) -> Price: ...  # reads it if there is one
@task
def pack(payment: Payment, place: Reservation) -> Shipment: ...
@task
def thank(paid: MaybePaid) -> None: ...
@task
def refund(paid: Payment) -> None: ...
@task
def weigh(pick: Pick) -> Weight: ...
@task
def load(cargo: Load) -> None: ...
@task
def stamp(text: Text) -> None: ...
@task
def count(pick: Pick) -> Tally: ...
@task
def multiply(pick: Pick) -> Product: ...
@task
def report(total: Total) -> None: ...
@task
def close_books(total: Total) -> Total: ...
@task
def file(receipt: Receipt) -> None: ...
@task
def ping() -> None: ...
@task
def hello() -> Pick: ...


def is_large(bill: Charge) -> bool:
    return bill.amount > 100


def in_stock(pick: Pick) -> bool:
    return bool(pick.sku)


def is_paid(paid: Payment) -> bool:
    return bool(paid.payment_id)


def maybe_paid(paid: MaybePaid) -> bool:
    return paid.payment_id != "none"
