"""An order is fetched, charged and reserved at the same time, and shipped: the three ways in which a run can end.

It runs on a SQLite file, ``cloaca.db``, in the current directory, and needs nothing else.
"""

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


class Charge(BaseModel):  # a view: the two fields that charging needs
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


ORDERS = {
    7: Order(order_id=7, sku="lamp", amount=Decimal("49.90")),
    8: Order(order_id=8, sku="sofa", amount=Decimal("899.00")),
}
SHELVES = {"lamp": "A3", "sofa": "F1"}
LIMIT = Decimal(500)


@task
def fetch(ref: OrderRef) -> Order:
    if ref.order_id not in ORDERS:
        raise LookupError(f"no order {ref.order_id}")  # a fault: the run fails
    return ORDERS[ref.order_id]


@task(retry=Retry(attempts=5, on=(ConnectionError,)), timeout=30)
async def charge(bill: Charge) -> Result[Payment, Declined]:
    if bill.amount > LIMIT:
        return Failure(Declined(reason=f"{bill.amount} is over the limit"))  # an answer: typed, and never retried
    return Success(Payment(payment_id=f"P-{bill.order_id}"))


@task
def reserve(pick: Pick) -> Reservation:
    return Reservation(shelf=SHELVES[pick.sku])


@task
def ship(parcel: Parcel) -> Shipment:
    return Shipment(tracking=f"{parcel.shelf}/{parcel.payment_id}")


orders = Workflow("orders", fetch >> [charge, reserve] >> ship, input=OrderRef)


def place(order_id: int) -> str:
    """Run one order to its end and say how it went."""
    match run(orders, OrderRef(order_id=order_id)):
        case Success(shipment):
            return f"shipped as {shipment.tracking}"
        case Failure(failed) if failed.error is not None:
            return f"{failed.task} was declined: {failed.error.reason}"
        case Failure(failed):
            fault = failed.failures[-1]
            return f"{failed.task} failed: {fault.exception_type}: {fault.message}"


if __name__ == "__main__":
    for number in (7, 8, 9):
        print(f"order {number}: {place(number)}")
