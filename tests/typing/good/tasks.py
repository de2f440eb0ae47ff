"""Tasks of every shape, and the plain functions that they still are."""

import asyncio
import operator
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel
from returns.result import Failure, Result, Success

from cloaca import Reduce, Retry, TaskContext, task
from tests.typing.shop import Charge, Declined, Payment, Pick, charge, fetch, ping, refund, reserve


class Tally(BaseModel):
    total: Annotated[int, Reduce(operator.add)]


@task
def nothing() -> None: ...


@task
async def slowly() -> None:
    await asyncio.sleep(0)


@task()
def with_parentheses(pick: Pick) -> Tally:
    return Tally(total=len(pick.sku))


@task(
    name="n",
    retry=Retry(attempts=3, backoff="linear", delay=timedelta(seconds=1)),
    timeout=3.5,
    queue="mail",
    tags=("a", "b"),
)
def with_options(pick: Pick, bill: Charge, *, ctx: TaskContext) -> Result[Tally, Declined]:
    if bill.amount < 0:
        return Failure(Declined(reason=ctx.task))
    return Success(Tally(total=1))


@task(timeout=timedelta(minutes=1))
async def asynchronous(pick: Pick, bill: Charge, *, ctx: TaskContext) -> Payment:
    ctx.heartbeat()
    ctx.logger.info("paying %s", bill)
    return Payment(payment_id=f"{ctx.run_id} {ctx.attempt} {ctx.cancelled} {ctx.scheduled_for} {pick.sku}")


@task
async def answering(bill: Charge) -> Result[None, Declined]:
    return Success(None)


@task
def with_default(pick: Pick = Pick(sku="none")) -> Pick:  # noqa: B008
    return pick


flaky = task(retry=Retry(attempts=5))


@flaky
def shared_options() -> Pick:
    return Pick(sku="s")


@flaky(timeout=2)
def more_options(pick: Pick) -> Pick:
    return pick


# The plain functions
async def unit_tests(bill: Charge, ctx: TaskContext) -> None:
    paid: Result[Payment, Declined] = await charge(bill)
    by_keyword: Result[Payment, Declined] = await charge(bill=bill)
    refunded: Result[None, Declined] = refund(Payment(payment_id="p"))
    shelf: str = reserve(Pick(sku="s"), ctx=ctx).shelf
    again: str = reserve(pick=Pick(sku="s"), ctx=ctx).shelf
    total: Result[Tally, Declined] = with_options(Pick(sku="s"), bill, ctx=ctx)
    payment: Payment = await asynchronous(Pick(sku="s"), bill, ctx=ctx)
    renamed: int = with_parentheses.named("again")(Pick(sku="s")).total
    ping()
    nothing()
    await slowly()
    print(paid, by_keyword, refunded, shelf, again, total, payment, renamed, fetch.name, with_default().sku)
    print(shared_options().sku, more_options(Pick(sku="s")).sku)
