"""A saga for the kit's own tests: what was booked is given back, the last first, if the trip can't be paid."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel, Field

from cloaca import Retry, TaskContext, Workflow, task
from cloaca.testing import Ledger, World

LEDGER = Ledger()
GIVEN_BACK: list[str] = []


class Trip(BaseModel):
    price: int = Field(ge=1, le=9)
    solvent: bool


class Room(BaseModel):
    room: int


class Car(BaseModel):
    car: int


class Receipt(BaseModel):
    paid: int


class RoomOf(BaseModel):
    price: int
    room: int


class Bill(BaseModel):
    price: int
    room: int
    car: int
    solvent: bool


@task
async def book_room(trip: Trip, *, ctx: TaskContext) -> Room:
    LEDGER.post("room", trip.price, key=ctx.idempotency_key)
    await asyncio.sleep(1)
    return Room(room=trip.price)


@task(retry=Retry(attempts=2, delay=1))
def book_car(room: RoomOf, *, ctx: TaskContext) -> Car:
    LEDGER.post("car", room.price, key=ctx.idempotency_key)
    return Car(car=room.price)


@task
def pay(bill: Bill) -> Receipt:
    if not bill.solvent:
        raise ValueError("nothing left")
    return Receipt(paid=bill.room + bill.car)


@task(retry=Retry(attempts=3, delay=1))
async def cancel_room(room: RoomOf, *, ctx: TaskContext) -> None:
    LEDGER.post("room", -room.room, key=ctx.idempotency_key)
    GIVEN_BACK.append("room")
    await asyncio.sleep(1)


@task(retry=Retry(attempts=3, delay=1))
def cancel_car(bill: Bill, *, ctx: TaskContext) -> None:
    LEDGER.post("car", -bill.car, key=ctx.idempotency_key)
    GIVEN_BACK.append("car")


saga = Workflow("saga", book_room.compensate(cancel_room) >> book_car.compensate(cancel_car) >> pay, input=Trip)


def forget() -> None:
    LEDGER.clear()
    GIVEN_BACK.clear()


def balanced(world: World) -> None:
    """What a saga promises: all or nothing, and the last goes back first."""
    for undo, done in (("cancel_room", "book_room"), ("cancel_car", "book_car")):
        undone = world.status != "succeeded" and bool(world.commits(done))
        finally_failed = any(failure.task == undo and failure.attempt == 3 for failure in world.failures)
        assert world.commits(undo) == (undone and not finally_failed), (
            f"{undo} was committed {world.commits(undo)} times"
        )
    committed = [name for name in world.sequence if name.startswith("cancel")]
    assert committed == sorted(committed), f"given back in the order {committed}"
