"""Models and tasks for the programs beside this file."""

from decimal import Decimal

from pydantic import BaseModel
from returns.result import Result, Success

from cloaca import TaskContext, task


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
    return Order(order_id=ref.order_id, sku="s", amount=Decimal(1))


@task(timeout=30)
async def charge(bill: Charge) -> Result[Payment, Declined]:
    return Success(Payment(payment_id=str(bill.order_id)))


@task
def reserve(pick: Pick, *, ctx: TaskContext) -> Reservation:
    return Reservation(shelf=f"{pick.sku} {ctx.attempt}")


@task
def ship(parcel: Parcel) -> Shipment:
    return Shipment(tracking=parcel.payment_id + parcel.shelf)


@task
def pack(payment: Payment, place: Reservation) -> Shipment:
    return Shipment(tracking=payment.payment_id + place.shelf)


@task
async def audit(shipment: Shipment) -> None:
    print(shipment.tracking)


@task
def refund(payment: Payment) -> Result[None, Declined]:
    return Success(None)


@task
def ping() -> None:
    print("ping")


@task
def first_order() -> OrderRef:
    return OrderRef(order_id=1)
