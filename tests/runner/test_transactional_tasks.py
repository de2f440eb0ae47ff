"""Tasks with a session: their own writes and their output are one commit, or none, whatever becomes of the attempt."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from returns.result import Failure, Success

from cloaca import ContractError, Runner, Workflow, each, task
from cloaca.errors import StoreUnavailable
from cloaca.interpreter import transactions
from cloaca.ports import Batch, Receipt, Store, Transaction
from tests.runner.databases import asynchronous, eventually
from tests.runner.ledgers import (
    BEGUN,
    GATES,
    Both,
    Declined,
    Order,
    Paid,
    Sent,
    Total,
    add_up,
    blocking,
    dawdling,
    dawdling_async,
    idling,
    nesting,
    paying,
    sending,
    shop,
    waiting,
)
from tests.runner.transactional import Make, ledger, make_tables, maker, runner
from tests.stores.clocked import drop, new_schema
from tests.stores.servers import server

SIDES = pytest.mark.parametrize(("workflow", "name"), [(paying, "pay"), (sending, "send")], ids=["sync", "async"])


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with server() as url:
        yield url


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """What opens one more store on a database that nobody has used."""
    schema = new_schema()
    is_postgres = request.param == "postgres"
    yield maker(request.param, tmp_path / "runs.db", lambda: (request.getfixturevalue("postgres"), schema))
    if is_postgres:
        asyncio.run(drop(request.getfixturevalue("postgres"), schema))


@pytest.fixture
def gate(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a gate that bodies wait for; it is open after the test, however that ends."""
    name = request.node.name
    GATES[name], BEGUN[name] = threading.Event(), threading.Event()
    yield name
    GATES[name].set()


async def begun(gate: str) -> None:
    async def has_begun() -> bool:
        return BEGUN[gate].is_set()

    await eventually(has_begun)


# One commit


@SIDES
@asynchronous
async def test_what_a_body_writes_is_there_with_its_output(make: Make, workflow: Any, name: str) -> None:
    async with runner(make()) as opened:
        store = opened._engine.store
        await make_tables(store)
        handle = await opened.start(workflow, Order(amount=7))
        assert isinstance(await handle.result(timeout=20), Success)
        assert await ledger(store) == [(name, 1)]
        history = await store.history(int(handle.id))
        assert history is not None
        assert [(row.name, row.status, row.attempt) for row in history.tasks] == [(name, "succeeded", 1)]
        assert history.run.status == "succeeded"


@SIDES
@asynchronous
async def test_an_attempt_that_raises_has_written_nothing(make: Make, workflow: Any, name: str) -> None:
    async with runner(make()) as opened:
        store = opened._engine.store
        await make_tables(store)
        assert isinstance(await opened.run(workflow, Order(amount=7, deed="raise twice")), Success)
        assert await ledger(store) == [(name, 3)]
        assert isinstance(await opened.run(workflow, Order(amount=7, deed="raise")), Failure)
        assert await ledger(store) == [(name, 3)]


@SIDES
@asynchronous
async def test_a_failure_is_an_answer_but_its_writes_are_undone(make: Make, workflow: Any, name: str) -> None:
    async with runner(make()) as opened:
        await make_tables(opened._engine.store)
        match await opened.run(workflow, Order(amount=7, deed="decline")):
            case Failure(failed):
                assert (failed.task, failed.error) == (name, Declined(reason="no money"))
            case other:
                pytest.fail(f"{other}")
        assert await ledger(opened._engine.store) == []


@SIDES
@pytest.mark.parametrize("deed", ["commit", "rollback", "close", "begin"])
@asynchronous
async def test_a_body_can_not_end_the_transaction(make: Make, workflow: Any, name: str, deed: str) -> None:
    async with runner(make()) as opened:
        await make_tables(opened._engine.store)
        match await opened.run(workflow, Order(amount=7, deed=deed)):
            case Failure(failed):
                assert failed.failures[0].exception_type == "SessionMisused"
                assert f"session.{deed}() is not for a task's body" in failed.failures[0].message
                assert "begin_nested" in failed.failures[0].message
            case other:
                pytest.fail(f"{other}")
        assert await ledger(opened._engine.store) == []


@SIDES
@asynchronous
async def test_a_connection_below_the_session_commits_nothing(make: Make, workflow: Any, name: str) -> None:
    async with runner(make()) as opened:
        await make_tables(opened._engine.store)
        assert isinstance(await opened.run(workflow, Order(amount=7, deed="commit below")), Success)
        assert await ledger(opened._engine.store) == [(name, 1)]


@SIDES
@asynchronous
async def test_a_body_that_ends_the_transaction_by_hand_is_told(make: Make, workflow: Any, name: str) -> None:
    """What it has committed by a statement of its own is out of reach; its task has failed."""
    async with runner(make()) as opened:
        await make_tables(opened._engine.store)
        match await opened.run(workflow, Order(amount=7, deed="COMMIT")):
            case Failure(failed):
                assert failed.failures[0].exception_type == "SessionMisused"
                assert "COMMIT, ROLLBACK or RELEASE as a statement" in failed.failures[0].message
            case other:
                pytest.fail(f"{other}")


@SIDES
@asynchronous
async def test_a_savepoint_undoes_a_part(make: Make, workflow: Any, name: str) -> None:
    async with runner(make()) as opened:
        await make_tables(opened._engine.store)
        assert isinstance(await opened.run(workflow, Order(amount=7, deed="savepoint")), Success)
        assert await ledger(opened._engine.store) == sorted([(name, 1), ("after", 1)])


@SIDES
@asynchronous
async def test_what_is_written_after_the_body_can_still_fail_it(make: Make, workflow: Any, name: str) -> None:
    """Objects that the session holds are flushed for the body, and the error is the body's."""
    async with runner(make()) as opened:
        await make_tables(opened._engine.store)
        match await opened.run(workflow, Order(amount=7, deed="unflushed")):
            case Failure(failed):
                assert failed.failures[0].exception_type == "IntegrityError"
            case other:
                pytest.fail(f"{other}")
        assert await ledger(opened._engine.store) == []


@asynchronous
async def test_a_session_that_is_not_used_costs_no_transaction(make: Make) -> None:
    async with runner(make()) as opened:
        assert await opened.run(idling, Order(amount=7)) == Success(Paid(paid=7))


@asynchronous
async def test_many_at_a_time_and_in_several_runners(make: Make) -> None:
    """Bodies on threads and on event loops, beside each other: each effect once, and nobody waits for ever."""
    store = make()
    async with runner(store) as one:
        await make_tables(one._engine.store)
        async with runner(make()) as other:
            outcomes = await asyncio.gather(
                *(each.run(shop, Order(amount=n, deed="raise twice")) for n in range(8) for each in (one, other))
            )
        assert sorted(outcome.unwrap().total for outcome in outcomes) == sorted(2 * n for n in range(8) for _ in "ab")
        assert await ledger(one._engine.store) == [("pay", 3)] * 16 + [("send", 3)] * 16


@asynchronous
async def test_a_body_on_a_thread_may_use_an_event_loop_of_its_own(make: Make) -> None:
    async with runner(make()) as opened:
        await make_tables(opened._engine.store)
        assert await opened.run(nesting, Order(amount=7)) == Success(Paid(paid=7))
        assert await ledger(opened._engine.store) == [("after", 1), ("before", 1)]


@pytest.mark.parametrize("workflow", [blocking, waiting], ids=["sync", "async"])
@asynchronous
async def test_a_body_that_is_longer_than_the_lease_costs_nobody_his(make: Make, gate: str, workflow: Any) -> None:
    """Neither its own worker, nor, on SQLite, a peer who can't renew his lease meanwhile."""
    async with runner(make(), lease_s=1) as opened, runner(make(), lease_s=1) as peer:
        store = opened._engine.store
        await make_tables(store)
        assert opened._engine.worker is not None
        assert peer._engine.worker is not None
        sessions = [opened._engine.worker.session, peer._engine.worker.session]
        handle = await opened.start(workflow, Order(amount=7, deed=gate))
        await begun(gate)
        await asyncio.sleep(2.5)  # more than two leases
        GATES[gate].set()
        assert isinstance(await handle.result(timeout=20), Success)
        assert await opened.run(shop, Order(amount=1)) == Success(Total(total=2))
        assert [opened._engine.worker.session, peer._engine.worker.session] == sessions
        assert "run_recovered" not in [event.kind async for event in handle.events()]
        assert len(await ledger(store)) == 4


# Attempts that are ended from outside


@asynchronous
async def test_a_thread_that_times_out_writes_nothing_any_more(make: Make, gate: str) -> None:
    async with runner(make()) as opened:
        await make_tables(opened._engine.store)
        match await opened.run(dawdling, Order(amount=7, deed=gate)):
            case Failure(failed):
                assert failed.failures[0].exception_type == "TimeoutError"
            case other:
                pytest.fail(f"{other}")
        assert await ledger(opened._engine.store) == []  # while the body still runs, nobody waits for it
        GATES[gate].set()
        assert isinstance(await opened.run(paying, Order(amount=1)), Success)
        assert await ledger(opened._engine.store) == [("pay", 1)]


@asynchronous
async def test_an_async_body_that_times_out_has_written_nothing(make: Make) -> None:
    async with runner(make()) as opened:
        await make_tables(opened._engine.store)
        match await opened.run(dawdling_async, Order(amount=7)):
            case Failure(failed):
                assert failed.failures[0].exception_type == "TimeoutError"
            case other:
                pytest.fail(f"{other}")
        assert await ledger(opened._engine.store) == []


@pytest.mark.parametrize("workflow", [blocking, waiting], ids=["sync", "async"])
@asynchronous
async def test_a_run_that_is_cancelled_has_written_nothing(make: Make, gate: str, workflow: Any) -> None:
    async with runner(make()) as opened:
        await make_tables(opened._engine.store)
        handle = await opened.start(workflow, Order(amount=7, deed=gate))
        await begun(gate)
        await handle.cancel()
        GATES[gate].set()
        assert await handle.status() == "cancelled"
        assert await ledger(opened._engine.store) == []


@pytest.mark.parametrize("workflow", [blocking, waiting], ids=["sync", "async"])
@asynchronous
async def test_a_worker_that_has_lost_its_lease_commits_nothing(make: Make, gate: str, workflow: Any) -> None:
    """Its run is another's, which does it anew; the body that goes on all the same writes for nobody."""
    async with runner(make()) as opened:
        store = opened._engine.store
        await make_tables(store)
        handle = await opened.start(workflow, Order(amount=7, deed=gate))
        await begun(gate)
        assert opened._engine.worker is not None
        fenced = fence_out(store, opened._engine.worker.session)
        GATES[gate].set()  # on SQLite nobody could take the lease as long as the body holds the lock
        await fenced
        assert isinstance(await handle.result(timeout=20), Success)
        names = [name for name, _ in await ledger(store)]
        assert sorted(names) == sorted(set(names))  # once
        history = await store.history(int(handle.id))
        assert history is not None
        assert len(history.tasks) == 1


def fence_out(store: Store, session: int) -> asyncio.Task[None]:
    """Close a worker's session behind its back, as soon as the database allows it."""
    return asyncio.ensure_future(store.close_session(session, at=0.0))


@asynchronous
async def test_leaving_a_runner_undoes_what_still_runs(make: Make, gate: str) -> None:
    store = make()
    async with runner(store, grace_s=0.05) as opened:
        await make_tables(store)
        handle = await opened.start(blocking, Order(amount=7, deed=gate))
        await begun(gate)
    GATES[gate].set()
    async with runner(make()) as opened:
        result = await (await opened.get(handle.id)).result(timeout=20)
        assert result == Success(Paid(paid=7))
        assert await ledger(opened._engine.store) == [("blocks", 1), ("blocks again", 1)]


# Commits that go wrong


class Fragile:
    """A transaction whose commit fails, before or after it was made."""

    def __init__(self, inner: Transaction, fails: Callable[[], str]) -> None:
        self._inner, self._fails = inner, fails

    @property
    def session(self) -> Any:
        return self._inner.session

    @property
    def broken(self) -> StoreUnavailable | None:
        return self._inner.broken

    @property
    def refused(self) -> bool:
        return self._inner.refused

    def call(self, body: Callable[[], Any]) -> Any:
        return self._inner.call(body)

    async def commit(self, batch: Batch) -> Receipt:
        how = self._fails()
        if how == "before":
            raise StoreUnavailable("it went wrong before")
        receipt = await self._inner.commit(batch)
        if how == "after":
            raise StoreUnavailable("the answer was lost")
        return receipt

    async def end(self) -> None:
        await self._inner.end()


def make_fragile(store: Store, monkeypatch: pytest.MonkeyPatch, *fates: str) -> list[str]:
    """Let the commits of transactions end like this, one after the other; return what is to come."""
    left = list(fates)
    real = store.transaction

    def transaction(*, is_async: bool) -> Transaction:
        return Fragile(real(is_async=is_async), lambda: left.pop(0) if left else "well")

    monkeypatch.setattr(store, "transaction", transaction)
    return left


@SIDES
@pytest.mark.parametrize("fates", [["before"], ["after"], ["before", "before", "after"]], ids="-".join)
@asynchronous
async def test_a_commit_without_an_answer(
    make: Make, monkeypatch: pytest.MonkeyPatch, workflow: Any, name: str, fates: list[str]
) -> None:
    """Whether it was made or not, the effect is there once, and the attempt has its first number."""
    store = make()
    async with runner(store) as opened:
        await make_tables(store)
        left = make_fragile(store, monkeypatch, *fates)
        handle = await opened.start(workflow, Order(amount=7))
        assert isinstance(await handle.result(timeout=20), Success)
        assert not left
        monkeypatch.undo()
        assert await ledger(store) == [(name, 1)]
        assert await handle.failures() == []


@asynchronous
async def test_a_body_that_the_database_always_fails_is_not_tried_for_ever(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make()
    async with runner(store) as opened:
        await make_tables(store)
        left = make_fragile(store, monkeypatch, *["before"] * 99)
        match await opened.run(paying, Order(amount=7)):
            case Failure(failed):
                assert failed.failures[0].exception_type == "StoreUnavailable"
            case other:
                pytest.fail(f"{other}")
        assert 99 - len(left) == transactions.MOST_TRIES
        monkeypatch.undo()
        assert await ledger(store) == []


class Refused(Fragile):
    """A transaction that the database does not begin."""

    @property
    def broken(self) -> StoreUnavailable | None:
        return StoreUnavailable("too many connections")

    @property
    def refused(self) -> bool:
        return True

    def call(self, body: Callable[[], Any]) -> Any:
        assert self.broken is not None
        raise self.broken


@SIDES
@asynchronous
async def test_a_transaction_that_is_refused_is_none_of_the_tries(
    make: Make, monkeypatch: pytest.MonkeyPatch, workflow: Any, name: str
) -> None:
    """A server that has no connection left for a body commits what others do all the same."""
    monkeypatch.setattr(transactions, "LONGEST_PAUSE_S", 0.0)
    store = make()
    async with runner(store) as opened:
        await make_tables(store)
        real, left = store.transaction, list(range(transactions.MOST_TRIES + 2))

        def transaction(*, is_async: bool) -> Transaction:
            inner = real(is_async=is_async)
            return Refused(inner, lambda: "") if left and left.pop() >= 0 else inner

        monkeypatch.setattr(store, "transaction", transaction)
        handle = await opened.start(workflow, Order(amount=7))
        assert isinstance(await handle.result(timeout=20), Success)
        assert not left
        monkeypatch.undo()
        assert await ledger(store) == [(name, 1)]
        assert await handle.failures() == []


@asynchronous
async def test_a_run_goes_on_after_a_commit_whose_answer_was_lost(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make()
    async with runner(store) as opened:
        await make_tables(store)
        make_fragile(store, monkeypatch, "after", "after")
        assert await opened.run(shop, Order(amount=7)) == Success(Total(total=14))
        monkeypatch.undo()
        assert await ledger(store) == [("pay", 1), ("send", 1)]


class Orders(BaseModel):
    orders: list[Order]


class All(BaseModel):
    paid: list[Paid]


@asynchronous
async def test_inside_a_fan_out_each_element_commits_its_own(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.runner.ledgers import pay  # noqa: PLC0415 - for this test alone

    workflow = Workflow("many", each(pay, over="orders", into="paid"), input=Orders, output=All)
    store = make()
    async with runner(store, workflows=[workflow]) as opened:
        await make_tables(store)
        outcome = await opened.run(workflow, Orders(orders=[Order(amount=amount) for amount in (1, 2, 3)]))
        assert outcome == Success(All(paid=[Paid(paid=amount) for amount in (1, 2, 3)]))
        assert len(await ledger(store)) == 3


# What is refused


@asynchronous
async def test_a_child_process_can_not_have_a_session(make: Make) -> None:
    from tests.runner.ledgers import pay  # noqa: PLC0415 - for this test alone

    elsewhere = Workflow("elsewhere", pay.with_options(executor="process"))
    with pytest.raises(ContractError, match='Task "pay" runs in a child process, where it can\'t have the session'):
        Runner("memory://", store=make(), workflows=[elsewhere])


def test_a_plain_call_takes_any_session() -> None:
    """In a unit test the function is the function that it was."""

    @task
    def doubled(order: Order, *, session: Any = None) -> Paid:
        return Paid(paid=order.amount * 2)

    assert doubled(Order(amount=2), session=object()) == Paid(paid=4)
    assert add_up(Both(paid=1, sent=2)) == Total(total=3)
    assert Sent(sent=1).sent == 1
