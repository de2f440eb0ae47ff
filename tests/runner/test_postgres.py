"""The runner on PostgreSQL: the same program, another URL; several workers share the work, and one may die."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from returns.result import Failure, Success

from cloaca import KeyConflict, Runner, StoreUnavailable, TaskContext, Workflow, run, task
from cloaca.interpreter.workers import Settings
from tests.crashes.processes import begun, life, log, until
from tests.crashes.programs import Job, Total, chain, work
from tests.runner.databases import asynchronous
from tests.runner.shop import A, B, Declined, Order, Shipment, shop
from tests.stores.poolers import pooler
from tests.stores.servers import server

numbers = itertools.count(1)
LEASE_S = 1.0


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with server() as url:
        yield url


@pytest.fixture
def url(postgres: str) -> Iterator[str]:
    """The URL of a database that nobody has used."""
    name = f"cloaca_test_{os.getpid()}_{next(numbers)}"
    asyncio.run(execute(postgres, f"CREATE DATABASE {name}"))
    yield re.sub(r"/\w+(?=\?|$)", f"/{name}", postgres, count=1)
    asyncio.run(execute(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


async def rows(url: str, query: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(url)
    found = [tuple(row) for row in await connection.fetch(query)]
    await connection.close()
    return found


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runners that look for work by themselves only once a day: so another must tell them."""
    monkeypatch.setattr("cloaca.runner.runners.Settings", partial(Settings, poll_s=86_400.0))


def test_the_same_program_on_another_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(shop, Order(order=1), database=url) == Success(Shipment(tracking="paid-1-10/sku-1"))
    monkeypatch.setenv("CLOACA_DATABASE_URL", url)
    outcome = run(shop, Order(order=-1))
    assert isinstance(outcome, Failure)
    assert outcome.failure().error == Declined(reason="no order -1")


@asynchronous
async def test_what_a_run_has_done_is_there_for_all(url: str) -> None:
    async with Runner(url, workflows=[shop]) as runner:
        handle = await runner.start(shop, Order(order=3))
        await handle.result()
    async with Runner(url, workflows=[shop], work=False) as reader:
        same = await reader.get(handle.id)
        assert await same.status() == "succeeded"
        assert {info.name: info.status for info in await same.tasks()} == dict.fromkeys(
            ("fetch", "charge", "ship"), "succeeded"
        )
        assert [info.id for info in await reader.runs(workflow="shop", status="succeeded")] == [handle.id]
        assert (await same.result()).unwrap() == Shipment(tracking="paid-3-10/sku-3")


@asynchronous
async def test_a_key_is_one_run(url: str) -> None:
    async with Runner(url, workflows=[shop]) as first, Runner(url, workflows=[shop]) as second:
        starts = [each.start(shop, Order(order=1), key="one") for each in (first, second) for _ in range(10)]
        handles = await asyncio.gather(*starts)
        assert len({handle.id for handle in handles}) == 1
        with pytest.raises(KeyConflict):
            await second.start(shop, Order(order=2), key="one")
        await asyncio.gather(*(handle.result() for handle in handles))
    assert await rows(url, "SELECT name, count(*) FROM cloaca.cloaca_task GROUP BY 1 ORDER BY 1") == [
        ("charge", 1), ("fetch", 1), ("ship", 1),
    ]  # fmt: skip


@pytest.mark.usefixtures("seldom")
@asynchronous
async def test_another_process_is_told_of_work_and_of_a_cancellation(url: str) -> None:
    held = asyncio.Event()

    @task
    async def hold(order: Order) -> A:
        held.set()
        await asyncio.Event().wait()
        return A(a=1)

    workflow = Workflow("hold", hold)
    async with (
        Runner(url, workflows=[shop, workflow]),
        Runner(url, workflows=[shop, workflow], work=False) as submitter,
    ):
        assert (await submitter.run(shop, Order(order=1))).unwrap() == Shipment(tracking="paid-1-10/sku-1")
        handle = await submitter.start(workflow, Order(order=2))
        await held.wait()
        await handle.cancel()
        assert await handle.status() == "cancelled"


@asynchronous
async def test_two_runners_share_the_work(url: str) -> None:
    @task
    async def step(order: Order, *, ctx: TaskContext) -> A:
        await asyncio.sleep(0.01)
        return A(a=order.order)

    workflow = Workflow("steps", step)
    async with (
        Runner(url, workflows=[workflow]),
        Runner(url, workflows=[workflow]),
        Runner(url, workflows=[workflow], work=False) as submitter,
    ):
        handles = [await submitter.start(workflow, Order(order=number)) for number in range(300)]
        outcomes = await asyncio.gather(*(handle.result() for handle in handles))
    assert [outcome.unwrap().a for outcome in outcomes] == list(range(300))
    shares = await rows(url, "SELECT session, count(*) FROM cloaca.cloaca_task GROUP BY 1")
    assert len(shares) == 2
    assert await rows(url, "SELECT count(*) FROM cloaca.cloaca_session") == [(0,)]


@asynchronous
async def test_a_killed_worker_is_replaced_once_its_lease_has_run_out(url: str, tmp_path: Path) -> None:
    with life(work, url, tmp_path, LEASE_S) as worker:
        until((tmp_path / f"ready-{worker.pid}").exists)
        async with Runner(url, workflows=[chain], work=False) as submitter:
            handle = await submitter.start(chain, Job(folder=str(tmp_path), number=1))
            while not (begun(tmp_path, "waits") and begun(tmp_path, "blocks")):
                await asyncio.sleep(0.01)
            worker.kill()
            (tmp_path / "go").touch()
            async with Runner(url, workflows=[chain], lease_s=LEASE_S):
                assert await handle.result() == Success(Total(total=5))
    ran = Counter(entry["task"] for entry in log(tmp_path))
    assert ran == {"first": 1, "waits": 2, "blocks": 2, "last": 1}  # what was committed did not run again
    assert await rows(url, "SELECT crashes, owner FROM cloaca.cloaca_run") == [(1, None)]
    assert await rows(url, "SELECT kind FROM cloaca.cloaca_note") == [("run_recovered",)]


@asynchronous
async def test_a_worker_that_leaves_in_order_is_replaced_at_once(url: str, tmp_path: Path) -> None:
    with life(work, url, tmp_path, 3600.0) as worker:
        until((tmp_path / f"ready-{worker.pid}").exists)
        async with Runner(url, workflows=[chain], work=False) as submitter:
            handle = await submitter.start(chain, Job(folder=str(tmp_path), number=1))
            while not begun(tmp_path, "waits"):
                await asyncio.sleep(0.01)
            async with Runner(url, workflows=[chain]):
                (tmp_path / "leave").touch()
                while not begun(tmp_path, "waits", 2):
                    await asyncio.sleep(0.01)
                (tmp_path / "go").touch()
                assert await handle.result() == Success(Total(total=5))
        assert worker.end() == 0


@asynchronous
async def test_connections_that_are_lost_lose_nothing(url: str, postgres: str) -> None:
    """All connections of a database end again and again while it is worked on."""

    @task
    async def add(a: A) -> A:
        await asyncio.sleep(0.005)
        return A(a=a.a + 1)

    @task
    async def finish(a: A) -> B:
        return B(b=a.a)

    steps = add.named("s0")
    workflow = Workflow("adding", steps >> add.named("s1") >> add.named("s2") >> finish, input=A)
    name = url.partition("?")[0].rpartition("/")[2]
    kill = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    async with Runner(url, workflows=[workflow]) as runner:
        handles = [await runner.start(workflow, A(a=number)) for number in range(200)]
        waiting = asyncio.gather(*(handle.result() for handle in handles))
        for _ in range(5):
            await execute(postgres, kill)
            await asyncio.sleep(0.05)
        outcomes = await waiting
    assert [outcome.unwrap() for outcome in outcomes] == [B(b=number + 3) for number in range(200)]
    assert await rows(url, "SELECT count(*), count(DISTINCT (run_id, name)) FROM cloaca.cloaca_task") == [(800, 800)]
    assert await rows(url, "SELECT DISTINCT status, crashes FROM cloaca.cloaca_run") == [("succeeded", 0)]


@pytest.mark.skipif("CLOACA_TEST_POSTGRES" in os.environ, reason="the pooler needs a server that lets anyone in")
@asynchronous
async def test_a_database_that_is_away_for_a_while_stops_nothing_for_good(url: str) -> None:
    @task
    async def add(a: A) -> A:
        await asyncio.sleep(0.01)
        return A(a=a.a + 1)

    workflow = Workflow("adding", add.named("s0") >> add.named("s1") >> add.named("s2"), input=A)
    async with pooler(url) as between, Runner(between.url, workflows=[workflow]) as runner:
        handles = [await runner.start(workflow, A(a=number), key=f"run {number}") for number in range(50)]
        waiting = asyncio.gather(*(handle.result() for handle in handles))
        await between.close()
        with pytest.raises(StoreUnavailable, match="check that the server runs"):
            await runner.start(workflow, A(a=50), key="run 50")
        await between.open()
        assert [outcome.unwrap() for outcome in await waiting] == [A(a=number + 3) for number in range(50)]
        assert (await runner.run(workflow, A(a=50), key="run 50")).unwrap() == A(a=53)
    assert await rows(url, "SELECT DISTINCT status, crashes FROM cloaca.cloaca_run") == [("succeeded", 0)]


@asynchronous
async def test_a_message_with_odd_characters_loses_no_run(url: str) -> None:
    @task
    async def fail(order: Order) -> A:
        raise ValueError("a NUL \0, half a character \ud800, and '\u2028'")

    workflow = Workflow("odd", fail)
    async with Runner(url, workflows=[workflow]) as runner:
        handle = await runner.start(workflow, Order(order=1))
        assert isinstance(await handle.result(), Failure)
        [failure] = await handle.failures()
        assert failure.message == "a NUL \\x00, half a character \\ud800, and '\u2028'"
