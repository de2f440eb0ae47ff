"""Orders are placed with the service, and looked up: one that is shipped, one that is declined, one placed twice."""

import asyncio

from asgi_client import Client
from service import app


async def main() -> None:
    async with Client(app) as client:
        for order_id in (7, 11):
            placed = await client.post("/orders", {"order_id": order_id})
            found = await client.get(f"{placed.headers['location']}?wait=30")
            print(placed.status, {name: value for name, value in found.body.items() if name != "run"})

        first = await client.post("/orders", {"order_id": 3}, idempotency_key="cart-1")
        again = await client.post("/orders", {"order_id": 3}, idempotency_key="cart-1")
        other = await client.post("/orders", {"order_id": 4}, idempotency_key="cart-1")
        print("placed twice, one run:", first.body == again.body)
        print("another order under the same key:", other.status)

        print("no order at all:", (await client.post("/orders", {"order_id": 0})).status)
        print("nobody's run:", (await client.get("/orders/1")).status)


if __name__ == "__main__":
    asyncio.run(main())
