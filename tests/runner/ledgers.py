"""Tasks that write a table of their own through an injected session, and a look at what is in it.

The bodies are told what to do by the order; ``Entry`` is a user's table, made as a user would make it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from pydantic import BaseModel
from returns.result import Failure, Result, Success
from sqlalchemy.exc import IntegrityError
from sqlmodel import Field, Session, SQLModel, select, text
from sqlmodel.ext.asyncio.session import AsyncSession

from cloaca import Retry, TaskContext, Workflow, task


class Entry(SQLModel, table=True):
    """One line of a ledger. No two may have one run and name."""

    __tablename__ = "ledger"

    id: int | None = Field(default=None, primary_key=True)
    run: str
    name: str
    attempt: int = 1
    amount: int


class Order(BaseModel):
    amount: int
    deed: str = ""


class Paid(BaseModel):
    paid: int


class Sent(BaseModel):
    sent: int


class Both(BaseModel):
    paid: int
    sent: int


class Declined(BaseModel):
    reason: str


class Total(BaseModel):
    total: int


class Boom(Exception):
    """What a body raises."""


GATES: dict[str, threading.Event] = {}  # what bodies on threads wait for, by run
BEGUN: dict[str, threading.Event] = {}


def entry(order: Order, ctx: TaskContext, name: str) -> Entry:
    return Entry(run=ctx.run_id, name=name, attempt=ctx.attempt, amount=order.amount)


@task(retry=Retry(attempts=3, delay=0.01, on=(Boom,)))
def pay(order: Order, *, ctx: TaskContext, session: Session) -> Result[Paid, Declined]:
    session.add(entry(order, ctx, "pay"))
    session.flush()
    match order.deed:
        case "raise twice" if ctx.attempt < 3:
            raise Boom("not yet")
        case "raise":
            raise ValueError("never")
        case "decline":
            return Failure(Declined(reason="no money"))
        case "commit":
            session.commit()
        case "rollback":
            session.rollback()
        case "close":
            session.close()
        case "begin":
            session.begin()
        case "commit below":
            session.connection().commit()
        case "savepoint":
            try:
                with session.begin_nested():
                    session.add(Entry(id=1, run=ctx.run_id, name="twice", amount=1))
                    session.flush()
                    session.add(Entry(id=1, run=ctx.run_id, name="twice", amount=1))
            except IntegrityError:
                session.add(entry(order, ctx, "after"))
        case "COMMIT":
            session.connection().execute(text("COMMIT"))
        case "unflushed":
            session.add(Entry(id=session.exec(select(Entry.id)).first(), run=ctx.run_id, name="taken", amount=0))
    return Success(Paid(paid=order.amount))


@task(retry=Retry(attempts=3, delay=0.01, on=(Boom,)))
async def send(order: Order, *, ctx: TaskContext, session: AsyncSession) -> Result[Sent, Declined]:
    session.add(entry(order, ctx, "send"))
    await session.flush()
    match order.deed:
        case "raise twice" if ctx.attempt < 3:
            raise Boom("not yet")
        case "raise":
            raise ValueError("never")
        case "decline":
            return Failure(Declined(reason="no money"))
        case "commit":
            await session.commit()
        case "rollback":
            await session.rollback()
        case "close":
            await session.close()
        case "begin":
            await session.begin()
        case "commit below":
            await (await session.connection()).commit()
        case "savepoint":
            try:
                async with session.begin_nested():
                    session.add(Entry(id=1, run=ctx.run_id, name="twice", amount=1))
                    await session.flush()
                    session.add(Entry(id=1, run=ctx.run_id, name="twice", amount=1))
            except IntegrityError:
                session.add(entry(order, ctx, "after"))
        case "COMMIT":
            await (await session.connection()).execute(text("COMMIT"))
        case "unflushed":
            found = (await session.exec(select(Entry.id))).first()
            session.add(Entry(id=found, run=ctx.run_id, name="taken", amount=0))
    return Success(Sent(sent=order.amount))


@task(timeout=0.2)
def dawdle(order: Order, *, ctx: TaskContext, session: Session) -> Paid:
    """Write, then hang for longer than there is time, then write again."""
    session.add(entry(order, ctx, "dawdle"))
    session.flush()
    BEGUN[order.deed].set()
    GATES[order.deed].wait(20)
    session.add(entry(order, ctx, "too late"))
    session.flush()
    return Paid(paid=order.amount)


@task(timeout=0.2)
async def dawdle_async(order: Order, *, ctx: TaskContext, session: AsyncSession) -> Paid:
    session.add(entry(order, ctx, "dawdle"))
    await session.flush()
    await asyncio.sleep(20)
    return Paid(paid=order.amount)


@task
def blocks(order: Order, *, ctx: TaskContext, session: Session) -> Paid:
    """Write, say so, wait for a gate, write again."""
    session.add(entry(order, ctx, "blocks"))
    session.flush()
    BEGUN[order.deed].set()
    GATES[order.deed].wait(20)
    session.add(entry(order, ctx, "blocks again"))
    return Paid(paid=order.amount)


@task
async def waits(order: Order, *, ctx: TaskContext, session: AsyncSession) -> Paid:
    session.add(entry(order, ctx, "waits"))
    await session.flush()
    BEGUN[order.deed].set()
    while not GATES[order.deed].is_set():
        await asyncio.sleep(0.005)
    session.add(entry(order, ctx, "waits again"))
    return Paid(paid=order.amount)


@task
def nests(order: Order, *, ctx: TaskContext, session: Session) -> Paid:
    """Use an event loop of its own between two statements, as a client library may."""
    session.add(entry(order, ctx, "before"))
    session.flush()
    paid = asyncio.run(asyncio.sleep(0, order.amount))
    session.add(entry(order, ctx, "after"))
    return Paid(paid=paid)


@task
def idle(order: Order, *, session: Session) -> Paid:
    """Ask for a session and never use it."""
    time.sleep(0)
    return Paid(paid=order.amount)


@task
def add_up(both: Both) -> Total:
    return Total(total=both.paid + both.sent)


paying, sending = Workflow("paying", pay), Workflow("sending", send)
dawdling, dawdling_async = Workflow("dawdling", dawdle), Workflow("dawdling_async", dawdle_async)
blocking, waiting, idling = Workflow("blocking", blocks), Workflow("waiting", waits), Workflow("idling", idle)
nesting = Workflow("nesting", nests)
shop: Workflow[Any, Any, Any, Any] = Workflow("shop", [pay, send] >> add_up)
WORKFLOWS = [paying, sending, dawdling, dawdling_async, blocking, waiting, idling, nesting, shop]
