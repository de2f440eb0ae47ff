"""What a durable task costs on PostgreSQL: statements and bytes of log, which are the same on every computer."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from cloaca import Runner
from cloaca.ports import Batch, QueueRow
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.postgres_links import Link, Row
from tests.stores.asynchronous import asynchronous
from tests.stores.processes import Number, counting
from tests.stores.rows import session_of, slot

RUNS, TASKS = 500, 2
WRITTEN = "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the statements that are sent, by their kind."""
    counted: Counter[str] = Counter()
    ask = Link.ask

    async def count(link: Link, statement: str, *values: object) -> list[Row]:
        counted["INSERT" if "INSERT INTO" in statement else "other"] += 1
        return await ask(link, statement, *values)

    monkeypatch.setattr(Link, "ask", count)
    return counted


@asynchronous
async def test_a_task_in_a_group_costs_one_row_and_little_else(postgres: str, schema: str, sent: Counter[str]) -> None:
    store = PostgresStore(postgres, schema=schema)
    async with Runner(store=store, workflows=[counting]) as runner:
        await runner.run(counting, Number(value=0))
        [(before,)] = await store._ask(lambda link: link.ask(WRITTEN))
        sent.clear()
        outcomes = await asyncio.gather(*(runner.run(counting, Number(value=n)) for n in range(RUNS)))
        batches = sent["INSERT"]
        [(after,)] = await store._ask(lambda link: link.ask(WRITTEN))
    assert [outcome.unwrap().value for outcome in outcomes] == [2 * (n + 1) for n in range(RUNS)]
    assert batches <= RUNS * TASKS / 20
    assert sent.total() - batches <= 20  # looks for work, and what this test asks
    assert (after - before) / RUNS <= 1_000 + 700 * TASKS


@asynchronous
async def test_a_lone_task_costs_one_statement(postgres: str, schema: str, sent: Counter[str]) -> None:
    store = PostgresStore(postgres, schema=schema)
    async with Runner(store=store, workflows=[counting]) as runner:
        await runner.run(counting, Number(value=0))
        sent.clear()
        await runner.run(counting, Number(value=0))
        assert sent["INSERT"] <= 1 + TASKS  # its start, and each task; the end goes with the last
        assert sent["other"] <= 3


@asynchronous
async def test_slots_are_asked_for_and_given_back_together(postgres: str, schema: str, sent: Counter[str]) -> None:
    store = PostgresStore(postgres, schema=schema)
    await store.open()
    session = await session_of(store)
    await store.declare([QueueRow("mail", 200, 1000, 60.0)])
    sent.clear()
    granted = await store.acquire(session, [slot(n, run=n) for n in range(1, 301)], 0.0)
    assert len(granted.held) == 200
    assert sent.total() <= 8  # fence and wants, lock, queues, rate, taken, given, recorded, held
    sent.clear()
    await store.transact(Batch(session, freed=list(granted.held)))
    assert sent.total() == 1
    await store.close()
