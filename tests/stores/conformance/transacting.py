"""Transactions of attempts: what a body writes and the batch that ends its task are one commit, or none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from cloaca.errors import LeaseLost, SessionMisused, StoreError
from cloaca.ports import Batch, Store, Transaction
from tests.stores.conformance.suite import guarantee, history_of
from tests.stores.rows import AT, FAR, end, owned, session_of, status_of, task

INSERT = text("INSERT INTO mine (word) VALUES (:word)")


async def written(store: Store, word: str, *, is_async: bool = False) -> Transaction:
    """Return a transaction whose body has written a word."""
    transaction = store.transaction(is_async=is_async)
    await write(transaction, word, is_async=is_async)
    return transaction


async def write(transaction: Transaction, word: str, *, is_async: bool) -> None:
    """Let the body of a transaction write a word."""
    if is_async:
        await transaction.call(lambda: transaction.session.execute(INSERT, {"word": word}))
    else:
        await done(transaction, lambda: transaction.session.execute(INSERT, {"word": word}))


async def done(transaction: Transaction, work: Callable[[], Any]) -> Any:
    """Do something as the body of a transaction would, on a thread."""
    return await asyncio.to_thread(transaction.call, work)


async def own_table(store: Store) -> int:
    """Make a table as a user would, and a session that drives the runs 1 and 2."""
    session = await session_of(store)
    await owned(store, session, 1, 2)
    transaction = store.transaction(is_async=False)

    def make() -> None:
        transaction.session.execute(text("DROP TABLE IF EXISTS mine"))
        transaction.session.execute(text("CREATE TABLE mine (word TEXT NOT NULL)"))

    await done(transaction, make)
    await transaction.commit(Batch(session, AT))
    await transaction.end()
    return session


async def words(store: Store) -> list[str]:
    """Return what is in the users' table."""
    transaction = store.transaction(is_async=False)
    found: list[str] = await done(
        transaction, lambda: [row[0] for row in transaction.session.execute(text("SELECT word FROM mine ORDER BY 1"))]
    )
    await transaction.end()
    return found


@guarantee
async def a_transaction_commits_a_body_and_a_batch_as_one(store: Store) -> None:
    session = await own_table(store)
    for run, is_async in ((1, False), (2, True)):
        transaction = await written(store, f"run {run}", is_async=is_async)
        receipt = await transaction.commit(Batch(session, AT, tasks=[task(run, session=session)]))
        assert receipt.disowned == frozenset()
        await transaction.end()
        assert [row.name for row in (await history_of(store, run)).tasks] == ["charge"]
    assert await words(store) == ["run 1", "run 2"]


@guarantee
async def a_transaction_can_end_a_run_and_renew_a_lease(store: Store) -> None:
    session = await own_table(store)
    transaction = await written(store, "last")
    await transaction.commit(Batch(session, AT, FAR + 2 * AT, tasks=[task(1, session=session)], ends=[end(1)]))
    await transaction.end()
    assert await status_of(store, 1) == "succeeded"
    assert await store.reap(FAR + 50) == 0
    assert await words(store) == ["last"]


@guarantee
async def a_transaction_that_is_ended_has_written_nothing(store: Store) -> None:
    await own_table(store)
    for is_async in (False, True):
        transaction = await written(store, "never", is_async=is_async)
        await transaction.end()
        await transaction.end()
    assert await words(store) == []


@guarantee
async def a_transaction_is_fenced(store: Store) -> None:
    """Who has lost the lease can commit nothing, neither ours nor the user's."""
    session = await own_table(store)
    transaction = await written(store, "never")
    gone = Batch(session + 1000, AT, tasks=[task(1, session=session + 1000)])
    with pytest.raises(LeaseLost):
        await transaction.commit(gone)
    await transaction.end()
    assert await words(store) == []
    assert (await history_of(store, 1)).tasks == []


@guarantee
async def a_transaction_for_a_run_of_another_commits_nothing(store: Store) -> None:
    await own_table(store)
    other = await session_of(store)
    transaction = await written(store, "never")
    receipt = await transaction.commit(Batch(other, AT, tasks=[task(1, session=other)]))
    assert receipt.disowned == {1}
    await transaction.end()
    assert await words(store) == []
    assert (await history_of(store, 1)).tasks == []


@guarantee
async def a_transaction_for_a_task_that_is_done_commits_nothing(store: Store) -> None:
    session = await own_table(store)
    await store.transact(Batch(session, AT, tasks=[task(1, session=session)]))
    transaction = await written(store, "never")
    with pytest.raises(StoreError):
        await transaction.commit(Batch(session, AT, tasks=[task(1, session=session)]))
    await transaction.end()
    assert await words(store) == []


@guarantee
async def a_transaction_without_a_statement_commits_the_batch(store: Store) -> None:
    session = await own_table(store)
    transaction = store.transaction(is_async=True)
    await transaction.commit(Batch(session, AT, tasks=[task(1, session=session)]))
    await transaction.end()
    assert [row.name for row in (await history_of(store, 1)).tasks] == ["charge"]


@guarantee
async def a_session_does_nothing_after_its_transaction(store: Store) -> None:
    session = await own_table(store)
    for is_async in (False, True):
        transaction = await written(store, "once", is_async=is_async)
        await transaction.commit(Batch(session, AT))
        await transaction.end()
        with pytest.raises(SessionMisused, match="this session's attempt is over"):
            await write(transaction, "late", is_async=is_async)
    assert await words(store) == ["once", "once"]


@guarantee
async def a_body_that_waits_for_its_turn_can_be_ended(store: Store) -> None:
    """Whether the store lets several bodies write at a time or not."""
    session = await own_table(store)
    first = await written(store, "first")
    second = store.transaction(is_async=True)
    writing = asyncio.ensure_future(second.call(lambda: second.session.execute(INSERT, {"word": "second"})))
    await asyncio.sleep(0.01)
    writing.cancel()
    await asyncio.wait({writing})
    await second.end()
    await first.commit(Batch(session, AT))
    await first.end()
    assert await words(store) == ["first"]


@guarantee
async def what_is_written_beside_a_transaction_waits_at_most(store: Store) -> None:
    """Batches that are written meanwhile are there in the end, whichever comes first."""
    session = await own_table(store)
    transaction = await written(store, "mine")
    beside = asyncio.ensure_future(store.transact(Batch(session, AT, tasks=[task(2, session=session)])))
    await asyncio.sleep(0.01)
    await transaction.commit(Batch(session, AT, tasks=[task(1, session=session)]))
    await transaction.end()
    await beside
    for run in (1, 2):
        assert [row.name for row in (await history_of(store, run)).tasks] == ["charge"]
    assert await words(store) == ["mine"]


@guarantee
async def a_transaction_comes_before_the_end_of_its_run_or_not_at_all(store: Store) -> None:
    """What is cancelled at the same moment has a task and its effect, or neither."""
    session = await own_table(store)
    runs = range(10, 20)
    await owned(store, session, *runs)

    async def commit(run: int) -> bool:
        transaction = await written(store, f"run {run}", is_async=True)
        receipt = await transaction.commit(Batch(session, AT, tasks=[task(run, session=session)]))
        await transaction.end()
        return not receipt.disowned

    async def cancel(run: int) -> None:
        await store.transact(Batch(session, AT, ends=[end(run, "cancelled")]))

    kept = []
    for run in runs:
        was_kept, _ = await asyncio.gather(commit(run), cancel(run))
        assert len((await history_of(store, run)).tasks) == was_kept
        assert await status_of(store, run) == "cancelled"
        kept += [f"run {run}"] * was_kept
    assert await words(store) == kept
