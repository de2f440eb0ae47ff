"""What tenants cost a process: as many statements each as one runner has, and no more when nothing happens."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from cloaca import Runner
from cloaca.stores.sql.postgres_links import Link, Row
from tests.runner.databases import asynchronous
from tests.runner.test_news import MINUTE, Hours
from tests.stores.conftest import postgres  # noqa: F401 - a fixture
from tests.stores.processes import Number, counting
from tests.stores.tenancy import a_database

NAMES = [f"tenant-{number}" for number in range(20)]
OPENING = 8  # a look at the tables, what is blocked, a session, a look for work, and a few that a look may lead to


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The schema and the text of each statement that is sent."""
    statements: list[tuple[str, str]] = []
    ask = Link.ask

    async def note(link: Link, statement: str, *values: object) -> list[Row]:
        statements.append((link.names.plain, statement))
        return await ask(link, statement, *values)

    monkeypatch.setattr(Link, "ask", note)
    return statements


@asynchronous
async def test_opening_a_runner_for_a_tenant_costs_what_any_runner_costs(
    postgres: str,  # noqa: F811 - the fixture
    asked: list[tuple[str, str]],
) -> None:
    async with a_database(postgres) as url, AsyncExitStack() as stack:
        for tenant in (None, *NAMES[:3]):  # their tables
            async with Runner(url, tenant=tenant, workflows=[counting], work=False):
                pass
        costs = []
        for tenant in (None, *NAMES[:3]):
            asked.clear()
            runner = await stack.enter_async_context(Runner(url, tenant=tenant, workflows=[counting]))
            assert runner._engine.worker is not None
            await runner._engine.worker.look()
            costs.append(sum(schema == (tenant or "cloaca") for schema, _ in asked))
        assert max(costs) <= OPENING
        assert max(costs) - min(costs) <= 1  # a look more, if something was announced meanwhile


@asynchronous
async def test_twenty_idle_tenants_ask_once_in_five_seconds_each(
    postgres: str,  # noqa: F811 - the fixture
    asked: list[tuple[str, str]],
) -> None:
    async with a_database(postgres) as url, AsyncExitStack() as stack:
        hours = []
        for tenant in NAMES:
            runner = await stack.enter_async_context(Runner(url, tenant=tenant, workflows=[counting]))
            await runner.run(counting, Number(value=1))
            worker = runner._engine.worker
            assert worker is not None
            await worker.look()
            hours.append(Hours(worker, worker.now()))
        asked.clear()
        for each in hours:
            await each.pass_by(MINUTE)
        assert len(asked) <= len(NAMES) * MINUTE / 5
        by_tenant = {name: sum(schema == name for schema, _ in asked) for name in NAMES}
        assert min(by_tenant.values()) >= MINUTE / 10
        assert {statement.split()[0] for _, statement in asked} <= {"SELECT", "UPDATE"}
