"""Workflows whose bodies are of every kind: on threads, on the loop, with a session, in a queue, in a child process."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from pydantic import BaseModel, create_model
from returns.result import Failure, Result, Success
from sqlmodel import Field, Session, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from cloaca import Retry, TaskContext, Workflow, subflow, task, wait_for
from cloaca.algebra.graphs import Graph


class Start(BaseModel):
    n: int


class A(BaseModel):
    a: int


class B(BaseModel):
    b: int


class C(BaseModel):
    c: int


class Sum(BaseModel):
    total: int


class Approval(BaseModel):
    by: int


class Veto(BaseModel):
    reason: int


class Wrong(BaseModel):
    why: str


class Line(SQLModel, table=True):
    """A table of the user's own."""

    __tablename__ = "kit_line"

    id: int | None = Field(default=None, primary_key=True)
    name: str


@task
async def nap_for_a_month(start: Start) -> A:
    await asyncio.sleep(30 * 86_400)
    return A(a=start.n)


nap = Workflow("nap", nap_for_a_month)


@task
def left(start: Start, *, session: Session) -> A:
    session.add(Line(name="left"))
    return A(a=start.n)


@task
async def right(start: Start, *, session: AsyncSession, ctx: TaskContext) -> B:
    session.add(Line(name="right"))
    await session.flush()
    return B(b=ctx.attempt)


@task(retry=Retry(attempts=2, delay=1))
def also(start: Start, *, session: Session) -> Result[C, Wrong]:
    session.add(Line(name="also"))
    if start.n < 0:
        return Failure(Wrong(why="negative"))
    return Success(C(c=start.n))


@task
def add_up(a: A, b: B, c: C) -> Sum:
    return Sum(total=a.a + b.b + c.c)


books = Workflow("books", (left & right & also) >> add_up, input=Start)


@task(queue="narrow")
def one(start: Start) -> A:
    return A(a=start.n)


@task(queue="narrow")
async def two(start: Start) -> B:
    await asyncio.sleep(1)
    return B(b=start.n)


@task(queue="narrow", retry=Retry(attempts=3, delay=2))
def three(start: Start) -> C:
    return C(c=start.n)


queued = Workflow("queued", (one & two & three) >> add_up, input=Start)


@task(executor="process")
def elsewhere(start: Start) -> A:
    return A(a=os.getpid())


in_a_child = Workflow("in-a-child", elsewhere)


def is_odd(start: Start) -> bool:
    return start.n % 2 == 1


def raises(start: Start) -> bool:
    raise LookupError(f"no answer for {start.n}")


@task
def make(start: Start) -> A:
    return A(a=start.n)


class Seen(BaseModel):
    n: int
    a: int | None = None


@task
def tidy(seen: Seen) -> B:
    return B(b=seen.n)


conditional = Workflow("conditional", make.when(is_odd) >> tidy, input=Start)
undecided = Workflow("undecided", make.when(raises) >> tidy.on("all_done"), input=Start)


def wide(width: int) -> Workflow[Any, Any, Any, Any]:
    """Return a workflow of so many tasks side by side, and one that waits for them all."""
    graph: Graph[Any, Any, Any] | None = None
    for number in range(width):
        fields: dict[str, Any] = {f"w{number}": (int, ...)}
        written = create_model(f"W{number}", **fields)

        def body(start: Start, *, made: type[BaseModel] = written, name: str = f"w{number}") -> BaseModel:
            return made(**{name: start.n})

        body.__name__ = body.__qualname__ = f"t{number}"
        plain: Any = _plain(body, written)
        node = task(plain)
        graph = node if graph is None else graph & node
    assert graph is not None
    return Workflow("wide", graph >> tidy, input=Start)


def _plain(body: Any, written: type[BaseModel]) -> Any:
    def call(start: Start) -> BaseModel:
        found: BaseModel = body(start)
        return found

    call.__name__ = call.__qualname__ = body.__name__
    call.__annotations__ = {"start": Start, "return": written}
    return call


@task(timeout=5, retry=Retry(attempts=3, delay=1))
def slow(start: Start) -> A:
    return A(a=start.n)


@task(timeout=5, retry=Retry(attempts=3, delay=1))
async def slow_too(start: Start) -> B:
    await asyncio.sleep(2)
    return B(b=start.n)


timed = Workflow("timed", slow & slow_too, input=Start)


@task
def note(start: Start) -> B:
    return B(b=start.n)


# Two waits take the same kind of signal, one after the other; beside them is one with a timeout, which may pass.
_TWICE = wait_for(Approval) >> wait_for(Approval).named("again").writing(by="also_by")
approved = Workflow("approved", make >> [_TWICE, wait_for(Veto, timeout=60)] >> tidy.on("all_done"), input=Start)
asking = Workflow("asking", make >> subflow(Workflow("asked", wait_for(Approval) >> note, input=Start)), input=Start)
