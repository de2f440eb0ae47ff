"""Handing work over to another tenant or another database: one run there, wherever a process dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import BaseModel
from returns.result import Failure, Success

from cloaca import (
    HandedOver,
    InvalidDatabaseUrl,
    InvalidTenant,
    Retry,
    Runner,
    TaskContext,
    Tenants,
    Workflow,
    handover,
    task,
)
from cloaca.errors import StoreUnavailable
from cloaca.ports import NewRun
from cloaca.runner import handovers
from cloaca.runner.handovers import Elsewhere
from tests.runner.databases import asynchronous, eventually
from tests.stores.conftest import postgres, quick_path  # noqa: F401 - fixtures
from tests.stores.processes import Number, counting
from tests.stores.tenancy import a_database

ROOT = Path(__file__).parents[2]


class When(BaseModel):
    at: datetime | None


@task
def tell(*, ctx: TaskContext) -> When:
    return When(at=ctx.scheduled_for)


telling = Workflow("telling", tell)


@asynchronous
async def test_a_run_is_started_at_another_tenants(quick_path: Path) -> None:  # noqa: F811 - the fixture
    url = f"sqlite:///{quick_path / 'orders.db'}"
    await Tenants(url).create("beta")
    to_beta = handover(counting, url, tenant="beta")
    assert to_beta.name == "counting for beta"
    assert to_beta.input is Number
    async with (
        Runner(url, tenant="acme", workflows=[to_beta]) as acme,
        Runner(url, tenant="beta", workflows=[counting]) as beta,
    ):
        outcome = await acme.run(to_beta, Number(value=1))
        assert isinstance(outcome, Success)
        handed = outcome.unwrap()
        assert isinstance(handed, HandedOver)
        assert handed.tenant == "beta"
        assert (await (await beta.get(handed.run_id)).result()).unwrap().value == 4
        assert [run.workflow for run in await acme.runs()] == ["counting for beta"]


@asynchronous
async def test_a_firing_is_handed_over_to_another_database(quick_path: Path) -> None:  # noqa: F811 - the fixture
    here, there = (f"sqlite:///{quick_path / name}" for name in ("here.db", "there.db"))
    away = handover(telling, there)
    async with Runner(here, workflows=[away]) as runner, Runner(there, workflows=[telling]) as other:
        await runner.schedule(away, name="daily", cron="0 9 * * *")
        start = datetime(2025, 5, 1, tzinfo=UTC)
        assert await runner.schedules.backfill("daily", start, start.replace(day=4)) == 3

        async def all_told() -> bool:
            return len(await other.runs(status="succeeded")) == 3

        await eventually(all_told)
        told = [(await (await other.get(run.id)).result()).unwrap().at for run in await other.runs()]
        assert sorted(at.day for at in told if at is not None) == [1, 2, 3]
        assert {firing.state for firing in await runner.schedules.history("daily")} == {"handed_over"}
        assert (await runner.schedules.statistics("daily")).failed == 0


@asynchronous
async def test_what_is_handed_over_again_is_the_same_run(
    quick_path: Path,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer is lost after the run was stored there, and before; a fork reuses the key, too."""
    monkeypatch.setattr(handovers, "FOR_LONG", Retry(attempts=5, delay=0, on=Exception))
    here, there = (f"sqlite:///{quick_path / name}" for name in ("here.db", "there.db"))
    submit, faults = Elsewhere._submit, iter([(True, False), (False, True), (False, False)])

    async def lossy(self: Elsewhere, run: NewRun) -> int:
        before, after = next(faults, (False, False))
        if before:
            raise StoreUnavailable("lost before")
        found = await submit(self, run)
        if after:
            raise StoreUnavailable("lost after")
        return found

    monkeypatch.setattr(Elsewhere, "_submit", lossy)
    away = handover(counting, there)
    async with Runner(here, workflows=[away]) as runner, Runner(there, workflows=[counting]) as other:
        handle = await runner.start(away, Number(value=1))
        first = (await handle.result()).unwrap()
        assert [failure.task for failure in await handle.failures()] == ["hand_over"] * 2
        again = await handle.fork(before="hand_over")
        assert (await again.result()).unwrap() == first
        assert [run.id for run in await other.runs()] == [first.run_id]


KILLED = """
import asyncio, os, signal, sys
from cloaca import Runner, handover
from cloaca.runner.handovers import Elsewhere
from tests.stores.processes import Number, counting

here, there, tenant, boundary = sys.argv[1:]
submit = Elsewhere._submit

async def cut(self, run):
    if boundary == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    found = await submit(self, run)
    if boundary == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return found

Elsewhere._submit = cut
away = handover(counting, there, tenant=tenant or None)

async def main():
    async with Runner(here, workflows=[away], lease_s=2) as runner:
        await runner.schedule(away, name="daily", cron="0 9 * * *", input=Number(value=1))
        if boundary != "none":
            await runner.schedules.run_now("daily")
        while True:
            firings = await runner.schedules.history("daily")
            done = await runner.runs(status="succeeded")
            if firings and len(done) == len(firings):
                return
            await asyncio.sleep(0.01)

asyncio.run(main())
"""


def spawned(*arguments: str) -> int:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], env=environment, timeout=60, check=False
    ).returncode


@pytest.mark.parametrize("boundary", ["before", "after"])
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_process_that_is_killed_at_a_boundary_hands_over_once(
    database: str,
    boundary: str,
    quick_path: Path,  # noqa: F811 - the fixture
    request: pytest.FixtureRequest,
) -> None:
    """Before the run is stored there, and after it, before that is stored here: another process hands over, once."""

    async def on_postgres() -> None:
        async with a_database(request.getfixturevalue("postgres")) as url:
            await Tenants(url).create("beta")
            await asyncio.to_thread(kill_and_look, url, url, "beta")

    def kill_and_look(here: str, there: str, tenant: str) -> None:
        assert spawned(here, there, tenant, boundary) == -signal.SIGKILL
        assert spawned(here, there, tenant, "none") == 0

        async def look() -> None:
            async with Runner(there, tenant=tenant or None, workflows=[counting]) as other:
                [run] = await other.runs()
                assert (await (await other.get(run.id)).result()).unwrap().value == 4

        asyncio.run(look())

    if database == "sqlite":
        kill_and_look(f"sqlite:///{quick_path / 'here.db'}", f"sqlite:///{quick_path / 'there.db'}", "")
    else:
        asyncio.run(on_postgres())


@asynchronous
async def test_a_tenant_that_is_not_there_is_not_made(quick_path: Path) -> None:  # noqa: F811 - the fixture
    url = f"sqlite:///{quick_path / 'orders.db'}"
    away = handover(counting, url, tenant="typo")
    async with Runner(url, workflows=[away]) as runner:
        handle = await runner.start(away, Number(value=1))
        outcome = await handle.result()
        assert isinstance(outcome, Failure)
        assert 'no tenant is named "typo" there' in (await handle.failures())[0].message
        assert await Tenants(url).list() == []
        await Tenants(url).create("typo")
        await handle.retry()
        assert (await handle.result()).unwrap().tenant == "typo"


def test_what_is_no_place_is_refused_at_once() -> None:
    with pytest.raises(InvalidTenant):
        handover(counting, "sqlite:///a.db", tenant="..")
    with pytest.raises(InvalidDatabaseUrl):
        handover(counting, "mysql://host/name")


def test_no_password_is_in_what_is_stored_of_it() -> None:
    one = handover(counting, "postgresql://me:s3cret@host/db", tenant="beta")
    other = handover(counting, "postgresql://me:an0ther@host/db", tenant="beta")
    assert one.version == other.version
    assert "s3cret" not in one.plan.spec + repr(one) + one.to_text() + one.to_mermaid() + one.to_dot()


def test_a_workflow_without_input_has_none_here_either() -> None:
    assert handover(telling, "sqlite:///there.db", name="told").input is None
    assert handover(telling, "sqlite:///there.db", name="told").name == "told"
