"""Databases for tasks with sessions: a user's table in each, made through the very sessions that bodies get."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlmodel import Session, SQLModel, select

from cloaca import Runner
from cloaca.ports import Batch, Store
from cloaca.stores.memory import MemoryStore
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.sqlite import SqliteStore
from tests.runner.ledgers import WORKFLOWS, Entry

T = TypeVar("T")
TABLES = [SQLModel.metadata.tables["ledger"]]

Make = Callable[[], Store]


def maker(kind: str, path: Path, url: Callable[[], tuple[str, str]]) -> Make:
    """Return what opens one more store on a database that nobody has used."""
    memory = MemoryStore()

    def make() -> Store:
        if kind == "memory":
            return memory
        if kind == "sqlite":
            return SqliteStore(path)
        server, schema = url()
        return PostgresStore(server, schema=schema)

    return make


def runner(store: Store, **options: Any) -> Runner:
    """Return a runner on a store, not opened yet."""
    return Runner("memory://", store=store, **{"workflows": WORKFLOWS, **options})


async def inside(store: Store, work: Callable[[Session], T]) -> T:
    """Do something to the users' tables, in a transaction that is committed with nothing else."""
    session = await store.open_session("tables", time.time(), time.time() + 60)
    transaction = store.transaction(is_async=False)
    try:
        done = await asyncio.to_thread(transaction.call, lambda: _done(transaction.session, work))
        await transaction.commit(Batch(session, time.time()))
    finally:
        await transaction.end()
        await store.close_session(session, at=time.time())
    return done  # type: ignore[no-any-return]  # what ``work`` returns


def _done(session: Session, work: Callable[[Session], T]) -> T:
    done = work(session)
    session.flush()
    return done


async def make_tables(store: Store) -> None:
    """Make the users' tables anew."""

    def make(session: Session) -> None:
        SQLModel.metadata.drop_all(session.connection(), tables=TABLES)
        SQLModel.metadata.create_all(session.connection(), tables=TABLES)

    await inside(store, make)


async def ledger(store: Store) -> list[tuple[str, int]]:
    """Return what is in the ledger: names and attempts, sorted."""

    def read(session: Session) -> list[tuple[str, int]]:
        return sorted((entry.name, entry.attempt) for entry in session.exec(select(Entry)))

    return await inside(store, read)
