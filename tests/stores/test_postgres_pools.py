"""Stores of many tenants on few connections: no row ever crosses, and what one says wakes nobody else."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from sqlalchemy import text
from sqlmodel import Session

from cloaca import Runner, Tenants, Workflow, task
from cloaca.errors import StoreUnavailable
from cloaca.ports import Batch
from cloaca.stores.sql import postgres_listening
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.postgres_links import MOST_SCHEMAS, Link, Names, Row, connect
from cloaca.stores.sql.postgres_pools import COMMITS, REQUESTS, Pool, pool_of
from tests.stores.asynchronous import asynchronous
from tests.stores.clocked import ClockedStore, drop
from tests.stores.conformance import CHECKS
from tests.stores.pgbouncers import binary, pgbouncer
from tests.stores.processes import Number, counting
from tests.stores.rows import AT, PLAN, end, move, new_run, schedule, session_of, waiting
from tests.stores.rows import task as done_task
from tests.stores.tenancy import a_database, connected
from tests.stores.test_postgres_listening import Waker
from tests.thoroughness import some

TENANTS = [f"tenant-{number}" for number in range(20)]
TABLE = re.compile(r'("(?:[^"]|"")+"\.)?\bcloaca_(?!body)[a-z_]+')
numbers = itertools.count(1)


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The schema of each link that was asked, and the statement as the server got it."""
    heard: list[tuple[str, str]] = []
    ask = Link.ask

    async def listening(link: Link, statement: str, *values: object) -> list[Row]:
        heard.append((link.names.schema, link.names.of(statement)))
        return await ask(link, statement, *values)

    monkeypatch.setattr(Link, "ask", listening)
    return heard


def assert_qualified(spoken: list[tuple[str, str]]) -> None:
    """Every table of ours is named with the schema of the store that asked, and no other schema is named."""
    for schema, statement in spoken:
        for found in TABLE.finditer(statement):
            named = found.group(1)
            is_alias = named is None and re.search(rf"\b(AS|WITH|INDEX) {re.escape(found.group())}\b", statement)
            assert is_alias or named == f"{schema}.", (found.group(), schema, statement)


class Tenancy:
    """Stores of twenty tenants on one pool, and what each must have: every row says whose it is."""

    def __init__(self, url: str, pool: Pool) -> None:
        self.stores = {name: PostgresStore(url, schema=name, pool=lambda: pool) for name in TENANTS}
        self.runs: dict[str, set[int]] = {name: set() for name in TENANTS}
        self.maybe: dict[str, set[int]] = {name: set() for name in TENANTS}  # whose starts were given up half-way
        self.sessions: dict[str, int] = {}

    async def do(self, tenant: str, what: str) -> None:
        """Do one thing for a tenant, and look at what comes back."""
        await getattr(self, what)(tenant, self.stores[tenant])

    async def start(self, tenant: str, store: PostgresStore) -> None:
        number = next(numbers)
        self.runs[tenant].add(number)
        await store.submit(PLAN._replace(digest=tenant), new_run(number, plan=tenant, input=f'"{tenant}"'))

    async def claim(self, tenant: str, store: PostgresStore) -> None:
        if tenant not in self.sessions:
            self.sessions[tenant] = await session_of(store)
        claimed = await store.claim(self.sessions[tenant], ["orders"], 2, AT, suspects=False)
        for history in claimed:
            self.mine(tenant, [history.run.id])
            assert history.run.input == f'"{tenant}"'
        done = [history.run.id for history in claimed]
        tasks = [done_task(run, output=f'"{tenant}"') for run in done]
        await store.transact(Batch(self.sessions[tenant], tasks=tasks, ends=[end(run) for run in done]))

    async def look(self, tenant: str, store: PostgresStore) -> None:
        rows = await store.runs(workflow=None, status=None, before=None, limit=10_000)
        self.mine(tenant, [row.id for row in rows])
        assert {row.input for row in rows} <= {f'"{tenant}"'}
        assert {row.plan for row in rows} <= {tenant}

    async def look_closely(self, tenant: str, store: PostgresStore) -> None:
        other = next((run for name in TENANTS if name != tenant for run in self.runs[name]), 0)
        assert await store.history(other) is None
        assert await store.cancel(other, AT) is None

    async def fire(self, tenant: str, store: PostgresStore) -> None:
        await store.put_schedule(schedule(input=f'"{tenant}"'), None)
        [row] = await store.schedules(after=None, limit=9)
        assert row.input == f'"{tenant}"'
        session = await session_of(store)
        fired = await store.fire(session, [move(row.revision, float(next(numbers)))], AT)
        taken = await store.take_firings(session, ["orders"], 100)
        assert {each.input for each in taken} <= {f'"{tenant}"'}
        assert set(fired) <= {(each.schedule, each.scheduled_for) for each in taken} or not fired

    async def wait_for_news(self, tenant: str, store: PostgresStore) -> None:
        await store.watch(lambda: None)

    async def give_up(self, tenant: str, store: PostgresStore) -> None:
        """Somebody is cancelled in the middle of a question: its answer is read by nobody."""
        number = next(numbers)
        self.maybe[tenant].add(number)
        asking = asyncio.ensure_future(
            store.submit(PLAN._replace(digest=tenant), new_run(number, plan=tenant, input=f'"{tenant}"'))
        )
        for _ in range(number % 7):
            await asyncio.sleep(0)
        asking.cancel()
        with suppress(asyncio.CancelledError, StoreUnavailable):
            await asking

    def mine(self, tenant: str, runs: list[int]) -> None:
        assert set(runs) <= self.runs[tenant] | self.maybe[tenant]

    async def check(self) -> None:
        """Each tenant has what it has done, and nothing more."""
        for tenant, store in self.stores.items():
            rows = await store.runs(workflow=None, status=None, before=None, limit=10_000)
            assert self.runs[tenant] <= {row.id for row in rows}
            await self.look(tenant, store)


OPERATIONS = ["start", "start", "claim", "look", "look_closely", "fire", "give_up", "wait_for_news"]


@pytest.fixture(scope="module")
def twenty(postgres: str) -> Iterator[str]:
    """The URL of a server that has the schemas of twenty tenants."""

    async def make() -> None:
        async with AsyncExitStack() as stack:
            for name in TENANTS:
                store = PostgresStore(postgres, schema=name)
                stack.push_async_callback(store.close)
                await store.open()

    asyncio.run(make())
    yield postgres
    asyncio.run(drop(postgres, *TENANTS))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(st.sampled_from(TENANTS), st.sampled_from(OPERATIONS)), max_size=25), max_size=6))
def test_no_row_ever_crosses(twenty: str, spoken: list[tuple[str, str]], steps: list[list[tuple[str, str]]]) -> None:
    """Twenty tenants on two connections; what stands in one step happens at the same time."""
    spoken.clear()

    async def interleaved() -> None:
        tenancy = Tenancy(twenty, Pool(twenty, commits=1, requests=1))
        async with AsyncExitStack() as stack:
            for name, store in tenancy.stores.items():
                stack.push_async_callback(store.close)
                await store.open()
                rows = await store.runs(workflow=None, status=None, before=None, limit=10_000)
                tenancy.runs[name] |= {row.id for row in rows}  # of earlier examples
            assert sum(map(len, tenancy.runs.values())) == len(set().union(*tenancy.runs.values()))
            for step in steps:
                await asyncio.gather(*(tenancy.do(tenant, what) for tenant, what in step))
            await tenancy.check()

    asyncio.run(asyncio.wait_for(interleaved(), 60))
    assert_qualified(spoken)


def test_the_check_would_notice() -> None:
    with pytest.raises(AssertionError):
        assert_qualified([('"acme"', 'SELECT 1 FROM "beta".cloaca_run')])
    with pytest.raises(AssertionError):
        assert_qualified([('"acme"', "SELECT 1 FROM cloaca_run")])
    assert_qualified([('"acme"', 'SELECT 1 FROM "acme".cloaca_run')])


@pytest.mark.parametrize("check", some(CHECKS, 3))
@asynchronous
async def test_a_store_that_shares_connections_keeps_its_word(postgres: str, schema: str, check: str) -> None:
    pool = Pool(postgres, commits=1, requests=2)
    store, other = (ClockedStore(postgres, schema=name, pool=lambda: pool) for name in (schema, f"{schema}x"))
    await store.open()
    await other.open()
    try:
        await CHECKS[check](store)
        assert await other.runs(workflow=None, status=None, before=None, limit=1) == []
    finally:
        await store.close()
        await other.close()
        await drop(postgres, f"{schema}x")


CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@asynchronous
async def test_twenty_runners_have_no_more_connections_than_one_pool(postgres: str) -> None:
    async with a_database(postgres) as url, connected(url) as look:
        async with AsyncExitStack() as stack:
            runners = [
                await stack.enter_async_context(Runner(url, tenant=name, workflows=[counting])) for name in TENANTS
            ]
            outcomes = await asyncio.gather(*(runner.run(counting, Number(value=1)) for runner in runners))
            assert [outcome.unwrap().value for outcome in outcomes] == [4] * 20
            assert [len(await runner.runs()) for runner in runners] == [1] * 20
            assert await look.fetchval(CONNECTIONS) <= COMMITS + REQUESTS + 1
            async with Runner(url, tenant="one-more", workflows=[counting]) as runner:
                await runner.run(counting, Number(value=1))
                assert await look.fetchval(CONNECTIONS) <= COMMITS + REQUESTS + 1
        await gone(look)
        async with Runner(url, tenant=TENANTS[0], workflows=[counting]) as again:
            assert len(await again.runs()) == 1


async def gone(look: asyncpg.Connection[Any]) -> None:
    """Wait until the server has noticed that all connections are closed."""
    while await look.fetchval(CONNECTIONS):
        await asyncio.sleep(0.01)


class Path(BaseModel):
    path: str


@task
def set_path(*, session: Session) -> Path:
    session.execute(text("SET search_path = 'elsewhere'"))
    session.execute(text("CREATE TEMP TABLE IF NOT EXISTS cloaca_run (id int)"))
    return Path(path=str(session.execute(text("SELECT current_setting('search_path')")).scalar_one()))


@task
def get_path(*, session: Session) -> Path:
    return Path(path=str(session.execute(text("SELECT current_setting('search_path')")).scalar_one()))


setting, getting = Workflow("setting", set_path), Workflow("getting", get_path)


@asynchronous
async def test_what_a_body_leaves_on_a_connection_no_other_tenant_meets(postgres: str) -> None:
    async with (
        a_database(postgres) as url,
        Runner(url, tenant="acme", workflows=[setting, getting]) as acme,
        Runner(url, tenant="beta", workflows=[setting, getting]) as beta,
    ):
        for _ in range(3):
            assert (await acme.run(setting)).unwrap().path == "elsewhere"
            assert (await beta.run(getting)).unwrap().path == '"$user", public'
        assert [len(await runner.runs()) for runner in (acme, beta)] == [3, 3]


@asynchronous
async def test_a_connection_remembers_statements_of_few_tenants(postgres: str) -> None:
    link = await connect(postgres, Names("nobody"))
    views = [link.under(Names(f"t{number}")) for number in range(MOST_SCHEMAS)]
    assert link.under(Names("t0")) is views[0]
    link.under(Names("one-more"))
    assert link.under(Names("t0")) is views[0]
    assert link.under(Names("t1")) is not views[1]  # that was not used for longest
    assert len(link._others) == MOST_SCHEMAS
    await link.connection.close()


def test_every_event_loop_has_a_pool_of_its_own() -> None:
    async def pools() -> tuple[Pool, Pool, Pool]:
        return pool_of("postgresql://a/b"), pool_of("postgresql://a/b"), pool_of("postgresql://a/c")

    one, same, elsewhere = asyncio.run(pools())
    other, _, _ = asyncio.run(pools())
    assert one is same
    assert len({one, elsewhere, other}) == 3


@asynccontextmanager
async def listening(url: str, *schemas: str) -> AsyncIterator[list[tuple[PostgresStore, Waker]]]:
    """Stores on one pool, and what wakes each."""
    pool = Pool(url)
    async with AsyncExitStack() as stack:
        found = []
        for schema in schemas:
            store, waker = PostgresStore(url, schema=schema, pool=lambda: pool), Waker()
            stack.push_async_callback(store.close)
            await store.open()
            assert await store.watch(waker)
            await waker.wait()  # what happened before somebody listened
            found.append((store, waker))
        yield found
    await drop(url, *schemas)


@asynchronous
async def test_each_hears_its_own_schema_by_one_connection(postgres: str, schema: str) -> None:
    async with listening(postgres, schema, schema + "x", schema) as [(one, first), (_, second), (_, third)]:
        before = [waker.calls for waker in (first, second, third)]
        await waiting(one, 1)
        await first.wait()
        await third.wait()
        assert [waker.calls for waker in (first, second, third)] == [before[0] + 1, before[1], before[2] + 1]
        [(channels,)] = await one._ask(
            lambda link: link.ask(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN %' AND pid <> pg_backend_pid()"
            )
        )
        assert channels == 1


@asynchronous
async def test_after_a_lost_connection_all_are_woken_and_hear_again(
    postgres: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_listening, "FIRST_PAUSE_S", 0.01)
    end_it = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'"
    async with listening(postgres, schema, schema + "x") as [(one, first), (two, second)]:
        for number, (store, waker, other) in enumerate([(one, first, second), (two, second, first)], 1):
            await store._ask(lambda link: link.ask(end_it))
            await first.wait()
            await second.wait()
            calls = other.calls
            await waiting(store, number)
            await waker.wait()
            assert other.calls == calls


@asynchronous
async def test_a_store_that_has_left_hears_nothing_and_ends_nothing(postgres: str, schema: str) -> None:
    async with listening(postgres, schema, schema + "x") as [(one, first), (two, second)]:
        await one.close()
        calls = first.calls
        other = PostgresStore(postgres, schema=schema)
        await other.open()
        await waiting(other, 1)
        await waiting(two, 1)
        await second.wait()
        assert first.calls == calls
        with pytest.raises(StoreUnavailable, match="is not open"):
            await one.run(1)
        assert await two.run(1) is not None
        await other.close()


# What a tenant's role can do with announcements, which are of the whole database.


@asynchronous
async def test_what_a_tenant_overhears_is_numbers_of_runs(postgres: str) -> None:
    """PostgreSQL lets everybody listen on every channel: so announcements have nothing that is worth hearing."""
    async with a_database(postgres) as url:
        for name in ("acme", "beta"):
            await Tenants(url).create(name)
        login = (await Tenants(url).credentials("acme")).url
        heard: list[str] = []
        async with connected(login) as spy:
            await spy.add_listener("cloaca:beta", lambda *said: heard.append(str(said[-1])))
            async with Runner(url, tenant="beta", workflows=[counting]) as worker:
                async with Runner(url, tenant="beta", workflows=[counting], work=False) as client:
                    handle = await client.start(counting, Number(value=987_654_321), key="a secret key")
                    await handle.result()
                await worker.run(counting, Number(value=1))
            while not heard:
                await spy.execute("SELECT 1")
        assert all(re.fullmatch(r"((follow|about)( \d+)*)?", said) for said in heard), heard


FORGED = ["", "follow 1", "about 1", "about x", "follow", "drop", "about " + "9" * 5000, "follow " + "7 " * 2000]
FORGED += ["\x7f" * 7000, "follow -1 1e9"]


@asynchronous
async def test_a_forged_announcement_costs_a_look_and_nothing_more(postgres: str) -> None:
    async with a_database(postgres) as url:
        for name in ("acme", "beta"):
            await Tenants(url).create(name)
        login = (await Tenants(url).credentials("acme")).url
        async with connected(login) as forger, Runner(url, tenant="beta", workflows=[counting]) as runner:
            looks = 0
            worker = runner._engine.worker
            assert worker is not None
            poll = worker.store.poll

            async def counted(*asked: Any, **options: Any) -> Any:
                nonlocal looks
                looks += 1
                return await poll(*asked, **options)

            worker.store.poll = counted  # type: ignore[method-assign]  # for this store alone
            for said in FORGED:
                await forger.execute("SELECT pg_notify('cloaca:beta', $1)", said)
            handle = await runner.start(counting, Number(value=1), key="k")
            assert (await handle.result()).unwrap().value == 4
            assert len(await runner.runs()) == 1
            assert looks <= 2 * len(FORGED) + 4


@asynchronous
async def test_a_lock_that_a_tenant_holds_keeps_no_other_from_working(postgres: str) -> None:
    """Advisory locks are everybody's, too: opening a tenant that is there takes none."""
    async with a_database(postgres) as url:
        for name in ("acme", "beta"):
            await Tenants(url).create(name)
        login = (await Tenants(url).credentials("acme")).url
        async with connected(login) as holder:
            await holder.execute("SELECT pg_advisory_lock(hashtextextended('cloaca:beta', 0))")
            async with Runner(url, tenant="beta", workflows=[counting]) as runner:
                assert (await runner.run(counting, Number(value=1))).unwrap().value == 4


@pytest.mark.skipif(binary() is None, reason="there is no pgbouncer on this machine")
@asynchronous
async def test_tenants_share_connections_through_pgbouncer(postgres: str, schema: str) -> None:
    with pgbouncer(postgres, size=2) as url:
        names = [f"bounced-{number}" for number in range(5)]
        async with AsyncExitStack() as stack:
            runners = [
                await stack.enter_async_context(Runner(url, tenant=name, workflows=[counting])) for name in names
            ]
            jobs = [runner.run(counting, Number(value=place)) for place, runner in enumerate(runners * 4)]
            outcomes = await asyncio.gather(*jobs)
            assert [outcome.unwrap().value for outcome in outcomes] == [2 * (place + 1) for place in range(20)]
            assert [len(await runner.runs()) for runner in runners] == [4] * 5
        await drop(postgres, *names)
