"""What the tests of pausing, retrying and forking share: every kind of database, and a workflow that waits to be told.

A ``Stage`` is told by name which tasks hold and which fail, and keeps a log of the attempts that have begun.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloaca import Retry, RunHandle, Runner, TaskContext, Workflow, task
from cloaca.ports import Store
from cloaca.stores.memory import MemoryStore
from cloaca.stores.sql.postgres import PostgresStore
from tests.runner.databases import Database, eventually
from tests.runner.shop import AB, A, B, C, D, Order
from tests.stores.clocked import drop, new_schema
from tests.stores.servers import server

Handle = RunHandle[Any, Any, Any]


@dataclass
class Schema(Database):
    """A schema of a PostgreSQL server."""

    url: str = ""
    name: str = ""

    def runner(self, *workflows: Workflow[Any, Any, Any, Any], **options: Any) -> Runner:
        return Runner(workflows=workflows, store=self.store(), **options)

    def store(self) -> Store:
        return PostgresStore(self.url, schema=self.name)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with server() as url:
        yield url


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database that nobody has used."""
    if request.param != "postgres":
        yield Database(tmp_path / "runs.db", MemoryStore() if request.param == "memory" else None)
        return
    url, name = request.getfixturevalue("postgres"), new_schema()
    yield Schema(tmp_path, None, url, name)
    asyncio.run(drop(url, name))


class Stage:
    """What the bodies of one test do: ``holds`` and ``fails`` name tasks. ``log`` has what has begun, in order."""

    def __init__(self) -> None:
        self.holds: set[str] = set()
        self.fails: set[str] = set()
        self.log: list[tuple[str, int]] = []
        self.keys: set[str] = set()

    async def act(self, ctx: TaskContext) -> None:
        self.log.append((ctx.task, ctx.attempt))
        self.keys.add(ctx.idempotency_key)
        while ctx.task in self.holds:
            await asyncio.sleep(0.002)
        if ctx.task in self.fails:
            raise ConnectionError(f"{ctx.task} at attempt {ctx.attempt}")

    async def begun(self, name: str, times: int = 1) -> None:
        """Wait until an attempt of a task has begun so many times."""

        async def has_begun() -> bool:
            return self.count(name) >= times

        await eventually(has_begun)

    def count(self, name: str) -> int:
        return sum(task == name for task, _ in self.log)

    def workflow(self, *, retry: Retry | None = None, behind: bool = False) -> Workflow[Any, Any, Any, Any]:
        """Return ``first >> [left, right] >> last``; with ``behind``, and ``tidy`` behind ``left`` however it ends."""

        @task
        async def first(order: Order, *, ctx: TaskContext) -> A:
            await self.act(ctx)
            return A(a=order.order)

        @task(retry=retry or Retry())
        async def left(a: A, *, ctx: TaskContext) -> B:
            await self.act(ctx)
            return B(b=a.a + 1)

        @task
        async def right(a: A, *, ctx: TaskContext) -> C:
            await self.act(ctx)
            return C(c=a.a + 2)

        @task
        async def last(ab: AB, *, ctx: TaskContext) -> D:
            await self.act(ctx)
            return D(d=ab.a * 100 + ab.b)

        @task
        async def tidy(*, ctx: TaskContext) -> None:
            await self.act(ctx)

        graph = first >> [left, right] >> last
        if behind:
            return Workflow("stage", graph, left >> tidy.on("all_done"), input=Order, output=A)
        return Workflow("stage", graph, input=Order, output=D)


async def until_status(handle: Handle, status: str) -> None:
    """Wait until a run has a status."""

    async def has_it() -> bool:
        return await handle.status() == status

    await eventually(has_it)


async def told(handle: Handle) -> list[tuple[str, str | None, int | None]]:
    """Return what a run's events say so far, from the start to its end if it has come."""
    found = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.3 if await handle.status() not in ("succeeded", "failed", "cancelled") else None):
            async for event in handle.events():
                found.append((event.kind, event.task, event.attempt))
    return found


async def kinds(handle: Handle) -> list[str]:
    return [kind for kind, _, _ in await told(handle)]
