"""Transactional tasks that are undone, also by transactional tasks: each effect is there once, and taken back once."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session

from cloaca import Runner, TaskContext, Workflow, task
from cloaca.ports import Batch, Receipt
from cloaca.stores.sql.sqlite import SqliteStore
from tests.runner.databases import Database, asynchronous
from tests.runner.shop import A, Order


@task
def pay(order: Order, *, session: Session) -> A:
    session.execute(text("CREATE TABLE IF NOT EXISTS ledger (what TEXT)"))
    session.execute(text("INSERT INTO ledger VALUES ('pay')"))
    return A(a=1)


@task
def refund(paid: A, *, session: Session, ctx: TaskContext) -> None:
    session.execute(text("INSERT INTO ledger VALUES ('refund')"))


@task
def fails(paid: A) -> None:
    raise ConnectionError("no")


@task
def seal(order: Order, *, session: Session) -> None:
    session.execute(text("INSERT INTO ledger VALUES ('told')"))


@asynchronous
async def test_a_transaction_is_undone_by_another(file: Database) -> None:
    workflow = Workflow("paying", pay.compensate(refund) >> fails, on_failure=seal)
    alone = Workflow("alone", pay.compensate(refund), on_success=seal)
    async with Runner(file.path) as runner:
        failed = await runner.run(workflow, Order(order=1))
        assert failed.failure().task == "fails"
        assert ledger(file.path) == ["pay", "refund", "told"]
        assert (await runner.run(alone, Order(order=1))).unwrap() == A(a=1)
        assert ledger(file.path) == ["pay", "refund", "told", "pay", "told"]


@asynchronous
async def test_who_cancels_waits_for_a_commit_that_is_under_way(
    file: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What turns out to have been committed is undone, whatever was said meanwhile."""
    committing, go_on, store = asyncio.Event(), asyncio.Event(), SqliteStore(file.path)
    workflow = Workflow("paying", pay.compensate(refund) >> fails)
    begin = store.transaction

    def transaction(*, is_async: bool) -> Any:
        begun = begin(is_async=is_async)
        commit = begun.commit

        async def late(batch: Batch) -> Receipt:
            receipt = await commit(batch)
            committing.set()
            await go_on.wait()
            return receipt

        monkeypatch.setattr(begun, "commit", late)
        return begun

    monkeypatch.setattr(store, "transaction", transaction)
    async with Runner(store=store, workflows=[workflow]) as runner:
        handle = await runner.start(workflow, Order(order=1))
        await committing.wait()
        cancelling = asyncio.create_task(handle.cancel())
        await asyncio.sleep(0)
        go_on.set()
        await cancelling
        assert (await handle.result()).failure().status == "cancelled"
        assert ledger(file.path) == ["pay", "refund"]


def ledger(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [what for (what,) in connection.execute("SELECT what FROM ledger ORDER BY rowid")]
