"""Three customers in one process: each with runs, keys and a schedule of its own, none of which the others can see.

It uses ``shop.db`` and files beside it in the current directory. ``$CLOACA_DATABASE_URL`` may be that of a PostgreSQL
whose user may create schemas and roles: then the same program makes a schema and a role for each.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from pydantic import BaseModel

from cloaca import InvalidTenant, Runner, TenantInUse, Tenants, Workflow, handover, task

DATABASE = os.environ.get("CLOACA_DATABASE_URL", "sqlite:///shop.db")
CUSTOMERS = ("acme", "bolt-and-nut", "corner-shop")


class Order(BaseModel):
    number: int
    cents: int


class Invoice(BaseModel):
    number: int
    cents: int


@task
async def bill(order: Order) -> Invoice:
    return Invoice(number=order.number, cents=order.cents + order.cents * 19 // 100)


billing = Workflow("billing", bill)
to_the_shop = handover(billing, DATABASE, tenant="corner-shop")  # acme's orders that the corner shop bills


async def main() -> None:
    tenants = Tenants(DATABASE)
    for name in CUSTOMERS:
        await tenants.create(name)
    print("tenants:", ", ".join(tenant.name for tenant in await tenants.list()))

    async with AsyncExitStack() as stack:
        # On PostgreSQL these runners share their connections.
        runners = {
            name: await stack.enter_async_context(Runner(DATABASE, tenant=name, workflows=[billing, to_the_shop]))
            for name in CUSTOMERS
        }
        jobs = [
            runner.run(billing, Order(number=7, cents=100 * place), key="order-7")  # one key, three tenants, three runs
            for place, runner in enumerate(runners.values(), 1)
        ]
        for name, outcome in zip(CUSTOMERS, await asyncio.gather(*jobs), strict=True):
            print(f"{name}: invoice of {outcome.unwrap().cents} cents, {len(await runners[name].runs())} run")

        acme, shop = runners["acme"], runners["corner-shop"]
        await acme.schedule(to_the_shop, name="monthly", cron="0 9 1 * *", input=Order(number=8, cents=1000))
        await acme.schedules.backfill("monthly", datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC))
        while (await acme.schedules.statistics("monthly")).succeeded < 3:
            await asyncio.sleep(0.01)
        while len(await shop.runs(status="succeeded")) < 4:
            await asyncio.sleep(0.01)
        print("acme has handed over", (await acme.schedules.statistics("monthly")).handed_over, "firings")
        print("the corner shop has", len(await shop.runs()), "runs and", len(await shop.schedules.list()), "schedules")

        try:
            await tenants.drop("acme")
        except TenantInUse as error:
            print("refused:", str(error).partition(" (")[0])

    for odd in ("../acme", 'acme"; DROP SCHEMA public; --', "pg_catalog"):
        try:
            Runner(DATABASE, tenant=odd)
        except InvalidTenant as error:
            print("refused:", str(error).partition(":")[0])

    for name in CUSTOMERS:
        await tenants.drop(name)
    print("tenants left:", len(await tenants.list()))


asyncio.run(main())
