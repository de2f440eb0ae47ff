"""Through a real pgbouncer in transaction mode, all is as without one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from returns.result import Success

from cloaca import Runner
from cloaca.stores.sql.postgres import PostgresStore
from tests.crashes.programs import WORKFLOWS, Job, Total, chain
from tests.stores.asynchronous import asynchronous
from tests.stores.clocked import ClockedStore
from tests.stores.conformance import CHECKS
from tests.stores.pgbouncers import binary, pgbouncer
from tests.stores.rows import waiting
from tests.thoroughness import some

pytestmark = [
    pytest.mark.skipif(binary() is None, reason="there is no pgbouncer on this machine"),
    pytest.mark.skipif(
        "CLOACA_TEST_POSTGRES" in os.environ, reason="pgbouncer stands only before a server that lets anyone in"
    ),
]


@pytest.fixture(scope="module")
def bouncer(postgres: str) -> Iterator[str]:
    with pgbouncer(postgres) as url:
        yield url


@pytest.mark.parametrize("check", some(CHECKS, 3))
@asynchronous
async def test_a_store_keeps_its_word_through_pgbouncer(bouncer: str, schema: str, check: str) -> None:
    store = ClockedStore(bouncer, schema=schema)
    await store.open()
    try:
        await CHECKS[check](store)
    finally:
        await store.close()


@asynchronous
async def test_two_runners_share_a_database_through_pgbouncer(bouncer: str, schema: str, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    stores = [PostgresStore(bouncer, schema=schema) for _ in range(2)]
    async with (
        Runner(bouncer, store=stores[0], workflows=WORKFLOWS) as one,
        Runner(bouncer, store=stores[1], workflows=WORKFLOWS) as two,
    ):
        jobs = [Job(folder=str(tmp_path), number=number) for number in range(1, 9)]
        outcomes = await asyncio.gather(
            *((one, two)[job.number % 2].run(chain, job, key=f"{job.number}") for job in jobs)
        )
        assert outcomes == [Success(Total(total=2 * job.number + 3)) for job in jobs]


@asynchronous
async def test_the_store_knows_that_nobody_tells_it_anything(bouncer: str, schema: str) -> None:
    """A pooler takes LISTEN and keeps its word to nobody: then there is polling."""
    store = PostgresStore(bouncer, schema=schema)
    await store.open()
    woken = asyncio.Event()
    await store.watch(woken.set)
    await waiting(store, 1)
    assert not woken.is_set()
    left = await store._ask(
        lambda link: link.ask(
            "SELECT (SELECT count(*) FROM pg_prepared_statements WHERE name <> ''), "
            "(SELECT count(*) FROM pg_listening_channels()), current_setting('search_path')"
        )
    )
    assert [tuple(row) for row in left] == [(0, 0, '"$user", public')]
    await store.close()
