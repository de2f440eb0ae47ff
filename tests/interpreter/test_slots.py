"""Slots: how soon offered work begins, and that it keeps to the limit."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from cloaca.interpreter.slots import Slots
from tests.stores.asynchronous import asynchronous


class Bench:
    """Work that waits until it is let go."""

    def __init__(self, limit: int) -> None:
        self.begun: list[int] = []
        self.go_on = asyncio.Event()
        self.slots = Slots[int](limit, self.perform)

    def perform(self, number: int) -> Coroutine[None, None, None]:
        """Begin a piece of work."""
        self.begun.append(number)
        return self.work()

    async def work(self) -> None:
        """Wait."""
        await self.go_on.wait()


@asynchronous
async def test_a_lone_offer_begins_in_the_next_turn_of_the_event_loop() -> None:
    bench = Bench(4)
    for number in range(3):
        bench.slots.offer(number)
        await asyncio.sleep(0)
        assert bench.begun == [number]
        bench.begun.clear()
        bench.go_on.set()
        await asyncio.sleep(0)
        bench.go_on.clear()


@asynchronous
async def test_many_offers_begin_as_far_as_there_are_slots_and_the_rest_as_they_become_free() -> None:
    bench = Bench(4)
    for number in range(10):
        bench.slots.offer(number)
    for _ in range(20):
        await asyncio.sleep(0)
    assert bench.begun == [0, 1, 2, 3]
    assert bench.slots.free == 0
    bench.go_on.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert bench.begun == list(range(10))
    assert bench.slots.free == 4


@asynchronous
async def test_what_is_offered_when_all_is_done_begins_too() -> None:
    bench = Bench(1)
    bench.go_on.set()
    for number in range(5):
        bench.slots.offer(number)
        for _ in range(number):
            await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert bench.begun == list(range(5))
