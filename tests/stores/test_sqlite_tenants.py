"""Tenants on SQLite: a file each, made by many at once, dropped with all that belongs to it, and never with more."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from cloaca import BlockingRunner, BlockingTenants, ForeignDatabase, Runner, TenantInUse, Tenants, UnknownTenant
from cloaca.stores.sql.sqlite import SqliteStore
from cloaca.stores.tenant_names import file_of
from tests.stores.asynchronous import asynchronous
from tests.stores.processes import Number, counting
from tests.stores.rows import AT, session_of, waiting


@asynchronous
async def test_a_tenant_sees_its_own_file_alone(quick_path: Path) -> None:
    url = f"sqlite:///{quick_path / 'orders.db'}"
    tenants = Tenants(url)
    assert await tenants.list() == []
    made = await asyncio.gather(*(Tenants(url).create(name) for name in ["beta", "acme"] * 4))
    assert await tenants.list() == sorted(set(made), key=lambda tenant: tenant.name)
    assert (made[0].name, Path(made[0].place).name, made[0].role) == ("beta", "orders@beta.db", None)
    given = await tenants.credentials("acme")
    assert (given.user, given.password, given.url) == (None, None, url)
    async with (
        Runner(given.url, tenant="acme", workflows=[counting]) as acme,
        Runner(url, tenant="beta", workflows=[counting]) as beta,
        Runner(url, workflows=[counting]) as nobodys,
    ):
        assert (await acme.run(counting, Number(value=1), key="k")).unwrap().value == 4
        assert (await beta.run(counting, Number(value=2), key="k")).unwrap().value == 6
        assert [len(await runner.runs()) for runner in (acme, beta, nobodys)] == [1, 1, 0]
    found = {path.name for path in quick_path.iterdir() if path.suffix == ".db"}
    assert found == {"orders.db", "orders@acme.db", "orders@beta.db"}
    assert {"orders@acme.db-lock", "orders@beta.db-lock"} <= {path.name for path in quick_path.iterdir()}


def test_blocking_twins_do_the_same(quick_path: Path) -> None:
    tenants = BlockingTenants(quick_path / "orders.db")
    tenants.create("acme")
    with BlockingRunner(quick_path / "orders.db", tenant="acme", workflows=[counting]) as runner:
        assert runner.run(counting, Number(value=1)).unwrap().value == 4
    assert [tenant.name for tenant in tenants.list()] == ["acme"]
    assert tenants.credentials("acme").tenant == "acme"
    tenants.drop("acme")
    assert tenants.list() == []


@asynchronous
async def test_drop_wants_a_tenant_without_workers(quick_path: Path) -> None:
    tenants = Tenants(quick_path / "orders.db")
    await tenants.create("acme")
    await tenants.create("beta")
    store = SqliteStore(file_of(quick_path / "orders.db", "acme"))
    await store.open()
    await waiting(store, 1)
    session = await store.open_session("worker", AT, 9e9)
    with pytest.raises(TenantInUse, match="1 worker is alive there"):
        await tenants.drop("acme")
    await store.close_session(session, at=AT)
    await store.close()
    await tenants.drop("acme")
    assert {path.name.partition(".")[0] for path in quick_path.iterdir()} == {"orders@beta"}
    with pytest.raises(UnknownTenant, match="there is no file"):
        await tenants.drop("acme")


@asynchronous
async def test_a_worker_that_was_killed_is_in_nobodys_way(quick_path: Path) -> None:
    """Its lease still runs, but its lock has gone with it."""
    tenants = Tenants(quick_path / "orders.db")
    await tenants.create("acme")
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:

        async def work() -> None:
            store = SqliteStore(file_of(quick_path / "orders.db", "acme"))
            await store.open()
            await store.open_session("worker", AT, 9e9)
            os.write(told, b"!")
            await asyncio.sleep(60)

        asyncio.set_event_loop(None)
        asyncio._set_running_loop(None)
        asyncio.run(work())
        os._exit(0)
    os.read(ready, 1)
    with pytest.raises(TenantInUse):
        await tenants.drop("acme")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    await tenants.drop("acme")
    assert await tenants.list() == []


@asynchronous
async def test_by_force_it_goes_while_a_worker_is_there_which_is_told(quick_path: Path) -> None:
    tenants = Tenants(quick_path / "orders.db")
    await tenants.create("acme")
    store = SqliteStore(file_of(quick_path / "orders.db", "acme"))
    await store.open()
    await session_of(store)
    await tenants.drop("acme", force=True)
    with pytest.raises(Exception, match="is gone: it was deleted"):
        await store.runs(workflow=None, status=None, before=None, limit=1)
    await store.close()


@asynchronous
async def test_a_file_that_is_not_ours_is_no_tenant(quick_path: Path) -> None:
    tenants = Tenants(quick_path / "orders.db")
    with sqlite3.connect(quick_path / "orders@sales.db") as connection:
        connection.execute("CREATE TABLE invoice (id)")
    (quick_path / "orders@notes.db").write_text("Dear diary")
    (quick_path / "orders@empty.db").touch()
    assert await tenants.list() == []
    for name in ("sales", "notes", "empty"):
        for force in (False, True):
            with pytest.raises(ForeignDatabase, match="is no tenant, and is not deleted"):
                await tenants.drop(name, force=force)
        assert (quick_path / f"orders@{name}.db").exists()


@asynchronous
async def test_a_deletion_that_was_interrupted_is_done_by_the_next(quick_path: Path) -> None:
    tenants = Tenants(quick_path / "orders.db")
    await tenants.create("acme")
    (quick_path / "orders@acme.db-lock").unlink()  # the database itself goes last
    await tenants.drop("acme")
    assert list(quick_path.iterdir()) == []


MAKES = """
import sys
from cloaca import BlockingTenants
BlockingTenants(sys.argv[1]).create("acme")
"""


@asynchronous
async def test_many_processes_at_once_make_one_tenant(quick_path: Path) -> None:
    url = f"sqlite:///{quick_path / 'orders.db'}"
    makers = [await asyncio.create_subprocess_exec(sys.executable, "-c", MAKES, url) for _ in range(8)]
    assert await asyncio.gather(*(maker.wait() for maker in makers)) == [0] * 8
    assert [tenant.name for tenant in await Tenants(url).list()] == ["acme"]
