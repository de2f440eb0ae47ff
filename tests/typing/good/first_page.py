"""The first page of the documentation, as a user writes it."""

from decimal import Decimal

from pydantic import BaseModel
from returns.result import Failure, Result, Success

from cloaca import Retry, Workflow, run, task


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


@task(retry=Retry(attempts=5, on=(ConnectionError,)), timeout=30)
async def charge(bill: Charge) -> Result[Payment, Declined]:
    return Success(Payment(payment_id=str(bill.order_id))) if bill.amount else Failure(Declined(reason="nothing"))


@task
def reserve(pick: Pick) -> Reservation:
    return Reservation(shelf=pick.sku)


@task
def ship(parcel: Parcel) -> Shipment:
    return Shipment(tracking=parcel.payment_id + parcel.shelf)


orders = Workflow("orders", fetch >> [charge, reserve] >> ship, input=OrderRef)

match run(orders, OrderRef(order_id=7)):
    case Success(shipment):
        print(shipment.tracking)
    case Failure(failed):
        print(failed.task, failed.error)
