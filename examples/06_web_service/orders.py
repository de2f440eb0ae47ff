"""What the service does with an order. It knows nothing of the web."""

from decimal import Decimal

from pydantic import BaseModel, Field
from returns.result import Failure, Result, Success

from cloaca import Retry, Workflow, task


class OrderRef(BaseModel):
    order_id: int = Field(gt=0)


class Bill(BaseModel):
    amount: Decimal


class Payment(BaseModel):
    payment_id: str


class Declined(BaseModel):
    reason: str


class Shipment(BaseModel):
    tracking: str


@task
def price(ref: OrderRef) -> Bill:
    return Bill(amount=Decimal("9.50") * ref.order_id)


@task(retry=Retry(attempts=5, on=(ConnectionError,)), timeout=30)
async def charge(ref: OrderRef, bill: Bill) -> Result[Payment, Declined]:
    if bill.amount > 100:
        return Failure(Declined(reason=f"{bill.amount} is over the limit"))
    return Success(Payment(payment_id=f"pay-{ref.order_id}"))


@task
def ship(payment: Payment) -> Shipment:
    return Shipment(tracking=f"parcel for {payment.payment_id}")


orders = Workflow("orders", price >> charge >> ship, input=OrderRef)
