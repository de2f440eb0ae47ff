"""Effects that happen exactly once: books that balance, whenever and however often workers are killed.

CLOACA_KILLS=50 kills more often.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import Session, SQLModel, select

from cloaca import Runner
from tests.crashes.processes import life, until
from tests.crashes.transfers import TABLES, Account, Line, Transfer, transfers, work
from tests.runner.transactional import inside
from tests.stores.servers import server

KILLS = int(os.environ.get("CLOACA_KILLS", "6"))
RUNS = 12  # for each kill
SEED = int(os.environ.get("CLOACA_SEED", "1"))


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """The URL of a database that nobody has used."""
    if request.param == "sqlite":
        yield f"sqlite:///{folder / 'runs.db'}"
    else:
        with server() as url:
            yield url


async def opened_books(place: str) -> None:
    def make(session: Session) -> None:
        SQLModel.metadata.create_all(session.connection(), tables=TABLES)
        session.add_all([Account(name="ours"), Account(name="theirs")])

    async with Runner(place, work=False) as runner:
        await inside(runner._engine.store, make)


async def started(place: str, amounts: range) -> None:
    async with Runner(place, workflows=[transfers], work=False) as runner:
        for amount in amounts:
            await runner.start(transfers, Transfer(amount=amount), key=str(amount))


async def unfinished(place: str) -> int:
    async with Runner(place, work=False) as runner:
        rows = await runner.runs(limit=10_000)
        assert {row.status for row in rows} <= {"pending", "running", "succeeded"}
        return sum(row.status != "succeeded" for row in rows)


async def books(place: str) -> tuple[dict[str, int], Counter[tuple[str, str]]]:
    """Return the balances, and how many lines each run has for each account."""

    def read(session: Session) -> tuple[dict[str, int], Counter[tuple[str, str]]]:
        balances = {account.name: account.balance for account in session.exec(select(Account))}
        return balances, Counter((line.run, line.account) for line in session.exec(select(Line)))

    async with Runner(place, work=False) as runner:
        return await inside(runner._engine.store, read)


def test_books_balance_whenever_workers_are_killed(place: str, folder: Path) -> None:
    chance = random.Random(SEED)
    asyncio.run(opened_books(place))
    for kill in range(KILLS):
        asyncio.run(started(place, range(1 + kill * RUNS, 1 + (kill + 1) * RUNS)))
        with life(work, place, folder) as first, life(work, place, folder) as second:
            await_one(folder, first.pid, second.pid)
            time.sleep(chance.random() * 0.3)
            first.kill()
            time.sleep(chance.random() * 0.1)
            second.kill()
        if kill % 2:  # nobody is killed often enough for its runs to be given up
            finish(place, folder)
    finish(place, folder)
    total = sum(range(1, 1 + KILLS * RUNS))
    balances, lines = asyncio.run(books(place))
    assert balances == {"ours": -total, "theirs": total}
    assert set(lines.values()) == {1}
    assert len(lines) == 3 * KILLS * RUNS


def await_one(folder: Path, *pids: int) -> None:
    """Wait until one of these processes is at work."""
    until(lambda: any((folder / f"ready-{pid}").exists() for pid in pids))


def finish(place: str, folder: Path) -> None:
    """Let a worker do what is left."""
    with life(work, place, folder):
        until(lambda: asyncio.run(unfinished(place)) == 0)
