"""The views show the same on both databases: stable columns, times and statuses for people, nothing encrypted."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import BaseModel

from cloaca import Queue, Retry, Runner, Workflow, subflow, task, wait_for
from cloaca.encryption import Encryption
from cloaca.ports import Store
from cloaca.stores.sql import views
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.sqlite import SqliteStore
from tests.docs.views import PAGE, table
from tests.runner.databases import eventually
from tests.stores.asynchronous import asynchronous

Ask = Callable[[str], Awaitable[list[tuple[Any, ...]]]]


class Word(BaseModel):
    """A model."""

    word: str


class Said(BaseModel):
    """A signal."""

    said: str


@task
def say(given: Word) -> None:
    """Do nothing."""


@task(retry=Retry(attempts=2, delay=0))
def fail(given: Word) -> None:
    """Fail."""
    raise ValueError(f"no {given.word}")


PLAIN = Workflow("plain", say)
FAILING = Workflow("failing", fail)
AROUND = Workflow("around", subflow(PLAIN), input=Word)
WAITING = Workflow("waiting", wait_for(Said), input=Word)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Store, Ask, views.Dialect]:
    """A store, what asks its database, and its dialect."""
    if request.param == "sqlite":
        path = tmp_path / "runs.db"

        async def ask(statement: str) -> list[tuple[Any, ...]]:
            import sqlite3  # noqa: PLC0415 - as a dashboard would
            from contextlib import closing  # noqa: PLC0415

            with closing(sqlite3.connect(path)) as connection:
                return connection.execute(statement).fetchall()

        return SqliteStore(path), ask, views.SQLITE
    url, schema = request.getfixturevalue("postgres"), request.getfixturevalue("schema")
    dialect = views.postgres(schema)

    async def ask_server(statement: str) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(url)
        try:
            named = re.sub(r"\bcloaca_", lambda _: f"{dialect.prefix}cloaca_", statement)
            return [tuple(row) for row in await connection.fetch(named)]
        finally:
            await connection.close()

    return PostgresStore(url, schema=schema), ask_server, dialect


async def fill(store: Store, **options: Any) -> None:
    """Have a row in every view."""
    workflows = [PLAIN, FAILING, AROUND, WAITING]
    async with Runner(store=store, workflows=workflows, queues=[Queue("mail", concurrency=3)], **options) as runner:
        await runner.run(AROUND, Word(word="hello"), key="mine")
        await runner.run(FAILING, Word(word="way"))
        await runner.schedule(PLAIN, name="daily", cron="0 9 * * *", input=Word(word="hello"))
        await runner.schedules.backfill("daily", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 23, tzinfo=UTC))

        async def handed_over() -> bool:
            return (await runner.schedules.history("daily"))[0].state == "handed_over"

        await eventually(handed_over)
        handle = await runner.start(WAITING, Word(word="still"))
        async for event in handle.events():
            if event.kind == "wait_began":
                break
        await runner.start(WAITING, Word(word="later"))


@asynchronous
async def test_they_have_the_columns_that_are_documented(database: tuple[Store, Ask, views.Dialect]) -> None:
    store, ask, _ = database
    await fill(store)
    for view in views.VIEWS:
        rows = await ask(f"SELECT {', '.join(view.columns)} FROM {view.name}")
        assert all(len(row) == len(view.columns) for row in rows), view.name
        assert rows or view.name in ("cloaca_backlog", "cloaca_workers"), view.name  # nobody works any more


@asynchronous
async def test_they_say_what_happened(database: tuple[Store, Ask, views.Dialect]) -> None:
    store, ask, _ = database
    await fill(store)
    runs = await ask("SELECT workflow, status, key, input FROM cloaca_runs WHERE schedule IS NULL ORDER BY id")
    assert runs[:2] == [
        ("around", "succeeded", "mine", '{"word":"hello"}'),
        ("plain", "succeeded", None, '{"word":"hello"}'),
    ]
    assert [row[:2] for row in runs[2:3]] == [("failing", "failed")]
    failures = await ask("SELECT task, attempt, exception_type, message FROM cloaca_failures ORDER BY attempt")
    assert failures == [("fail", 1, "ValueError", "no way"), ("fail", 2, "ValueError", "no way")]
    waiting = await ask("SELECT workflow, task FROM cloaca_tasks WHERE status = 'waiting'")
    assert waiting[0] == ("waiting", "wait_for:Said")
    assert await ask("SELECT name, concurrency, held, waiting FROM cloaca_queues") == [("mail", 3, 0, 0)]
    assert await ask("SELECT name, status, cron FROM cloaca_schedules") == [("daily", "active", "0 9 * * *")]
    [(state, late)] = await ask("SELECT state, late_s > 0 FROM cloaca_firings")
    assert (state, bool(late)) == ("handed_over", True)
    assert sum(row[0] for row in await ask("SELECT pending FROM cloaca_backlog")) >= 1


@asynchronous
async def test_times_are_for_people(database: tuple[Store, Ask, views.Dialect]) -> None:
    store, ask, dialect = database
    await fill(store)
    [(at,)] = await ask("SELECT scheduled_for FROM cloaca_firings")
    assert (at if dialect is views.SQLITE else at.isoformat().replace("+00:00", ".000Z")) == "2026-01-01T09:00:00.000Z"


@asynchronous
async def test_what_is_encrypted_is_left_out(database: tuple[Store, Ask, views.Dialect]) -> None:
    store, ask, _ = database
    await fill(store, codec=Encryption(Encryption.generate_key()))
    for view in ("runs", "failures", "schedules"):
        assert {bool(row[0]) for row in await ask(f"SELECT encrypted FROM cloaca_{view}")} == {True}
    assert {row[0] for row in await ask("SELECT input FROM cloaca_runs")} == {None}
    assert set(await ask("SELECT message, traceback FROM cloaca_failures")) == {(None, None)}


@asynchronous
async def test_they_can_be_made_anew(database: tuple[Store, Ask, views.Dialect]) -> None:
    store, ask, dialect = database
    await store.open()
    await store.close()
    if dialect is not views.SQLITE:
        connection = await asyncpg.connect(store._url)  # type: ignore[attr-defined]  # where the store is
        try:
            for statement in views.statements(dialect):
                await connection.execute(statement)
        finally:
            await connection.close()
    assert await ask("SELECT * FROM cloaca_runs") == []


def test_the_page_says_what_the_code_says() -> None:
    assert table() in PAGE.read_text(encoding="utf-8"), "python -m tests.docs.views writes it anew"
