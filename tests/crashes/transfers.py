"""The program whose books must balance: each run moves money between two accounts, on a thread and on an event loop.

A task takes the money, waits for some milliseconds, and writes its line; it is killed anywhere in between.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from pydantic import BaseModel
from sqlmodel import Field, Session, SQLModel, col, update
from sqlmodel.ext.asyncio.session import AsyncSession

from cloaca import Runner, TaskContext, Workflow, task


class Account(SQLModel, table=True):
    __tablename__ = "account"

    name: str = Field(primary_key=True)
    balance: int = 0


class Line(SQLModel, table=True):
    """What one task has done. Nothing keeps a second one out."""

    __tablename__ = "transfer_line"

    id: int | None = Field(default=None, primary_key=True)
    run: str
    account: str
    amount: int


TABLES = [SQLModel.metadata.tables["account"], SQLModel.metadata.tables["transfer_line"]]


class Transfer(BaseModel):
    amount: int


class Taken(BaseModel):
    taken: int


class Given(BaseModel):
    given: int


class Booked(BaseModel):
    taken: int
    given: int


@task
def take(transfer: Transfer, *, ctx: TaskContext, session: Session) -> Taken:
    change = update(Account).where(col(Account.name) == "ours").values(balance=col(Account.balance) - transfer.amount)
    session.exec(change)
    time.sleep(transfer.amount % 5 / 1000)
    session.add(Line(run=ctx.run_id, account="ours", amount=-transfer.amount))
    return Taken(taken=transfer.amount)


@task
async def give(transfer: Transfer, *, ctx: TaskContext, session: AsyncSession) -> Given:
    change = update(Account).where(col(Account.name) == "theirs").values(balance=col(Account.balance) + transfer.amount)
    await session.exec(change)
    await asyncio.sleep(transfer.amount % 5 / 1000)
    session.add(Line(run=ctx.run_id, account="theirs", amount=transfer.amount))
    return Given(given=transfer.amount)


@task
def book(booked: Booked, *, ctx: TaskContext, session: Session) -> None:
    """The last task, whose transaction is the run's end, too."""
    session.add(Line(run=ctx.run_id, account="books", amount=booked.given - booked.taken))


transfers = Workflow("transfers", [take, give] >> book)


def work(database: str, folder: Path) -> None:
    """Work until killed, or until the file "leave" is there."""

    async def worker() -> None:
        async with Runner(database, workflows=[transfers], lease_s=1.0, grace_s=2):
            (folder / f"ready-{os.getpid()}").touch()
            while not (folder / "leave").exists():
                await asyncio.sleep(0.01)

    asyncio.run(worker())
