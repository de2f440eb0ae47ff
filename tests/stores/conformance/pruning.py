"""What ended long ago can be deleted: all of it, a few runs at a time, and nothing else."""

from __future__ import annotations

from cloaca.ports import Batch, Store, Submitted
from tests.stores.conformance.suite import claimed, guarantee, history_of
from tests.stores.rows import (
    AT,
    PLAN,
    attempt,
    end,
    failure,
    new_run,
    note,
    owned,
    session_of,
    status_of,
    task,
    waiting,
)


async def ended(store: Store, *runs: int, at: float = AT, **changes: object) -> None:
    """Store runs that ended at a time."""
    session = await session_of(store)
    await owned(store, session, *runs, **changes)
    rows = Batch(session, tasks=[task(run) for run in runs], ends=[end(run, at=at) for run in runs])
    rows.failures, rows.notes = [failure(run, "ship") for run in runs], [note(run) for run in runs]
    await store.transact(rows)
    await store.close_session(session, at=AT)


async def kept(store: Store) -> list[int]:
    return [row.id for row in await store.runs(workflow=None, status=None, before=None, limit=99)]


@guarantee
async def what_ended_before_a_time_is_deleted_and_nothing_else(store: Store) -> None:
    await ended(store, 1, 2, at=AT)
    await ended(store, 3, at=AT + 1)
    before = await history_of(store, 3)
    assert await store.prune(AT, 10) == 0
    assert await store.prune(AT + 1, 10) == 2
    assert await store.prune(AT + 1, 10) == 0
    assert await kept(store) == [3]
    assert await store.history(1) is None
    assert await store.run(2) is None
    assert await history_of(store, 3) == before


@guarantee
async def what_ended_first_is_deleted_first(store: Store) -> None:
    for run, at in ((1, 5), (2, 1), (3, 3), (4, 3), (5, 9)):
        await ended(store, run, at=AT + at)
    assert await store.prune(AT + 9, 0) == 0
    assert await store.prune(AT + 9, 1) == 1
    assert await kept(store) == [5, 4, 3, 1]
    assert await store.prune(AT + 9, 1) == 1
    assert await kept(store) == [5, 4, 1]
    assert await store.prune(AT + 9, 10) == 2
    assert await kept(store) == [5]


@guarantee
async def a_run_that_has_not_ended_is_never_deleted(store: Store) -> None:
    session = await session_of(store)
    await waiting(store, 1)
    await owned(store, session, 2, 3, 4, 5, 6, 7)
    await store.block(session, 3, "unfit")
    await store.cancel(4, AT)
    ends = [end(5), end(6, "failed"), end(7, "cancelled")]
    await store.transact(Batch(session, ends=ends, attempts=[attempt(2, session=session)]))
    before = [await store.history(run) for run in (1, 2, 3, 4)]
    assert await store.prune(AT * 1e6, 10) == 3
    assert [await store.history(run) for run in (1, 2, 3, 4)] == before
    assert (await store.poll(session, ["orders"], AT)).cancelling == [4]
    assert await claimed(store, session) == [1]


@guarantee
async def a_run_is_kept_as_long_as_a_child_of_it_goes_on(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1, 9)
    await store.transact(Batch(session, children=[new_run(2, parent=1, parent_task="pay")]))
    await store.transact(Batch(session, ends=[end(1, at=AT), end(9, at=AT + 1)]))
    before = await store.history(2)
    assert await store.prune(AT + 9, 1) == 1
    assert await kept(store) == [2, 1]
    assert await store.prune(AT + 9, 10) == 0
    assert await store.history(2) == before
    assert await claimed(store, session) == [2]
    await store.transact(Batch(session, ends=[end(2, at=AT + 2)]))
    assert await store.prune(AT + 9, 1) == 1
    assert await kept(store) == [2]
    assert await store.prune(AT + 9, 1) == 1
    assert await kept(store) == []


@guarantee
async def a_key_is_free_once_its_run_is_gone(store: Store) -> None:
    await ended(store, 1, key="k", input='{"old":1}')
    assert await store.submit(PLAN, new_run(2, key="k")) == Submitted(1, created=False, agrees=False)
    assert await store.prune(AT + 1, 10) == 1
    assert await store.submit(PLAN, new_run(2, key="k")) == Submitted(2, created=True, agrees=True)
    session = await session_of(store)
    assert await claimed(store, session) == [2]
    history = await history_of(store, 2)
    assert (history.tasks, history.failures, history.attempts, history.notes) == ([], [], [], [])
    assert await store.transact(Batch(session, runs=[new_run(3, key="k")])) == (
        [Submitted(2, created=False, agrees=True)],
        frozenset(),
    )


@guarantee
async def an_id_that_is_free_again_has_no_old_rows(store: Store) -> None:
    await ended(store, 1)
    assert await store.prune(AT + 1, 10) == 1
    await waiting(store, 1)
    history = await history_of(store, 1)
    assert (history.tasks, history.failures, history.attempts, history.notes) == ([], [], [], [])


@guarantee
async def a_plan_goes_with_the_last_run_that_has_it(store: Store) -> None:
    other = PLAN._replace(digest="other")
    await ended(store, 1, 2)
    assert (await store.submit(other, new_run(3, plan="other"))).created
    assert await store.prune(AT + 1, 1) == 1
    assert await store.prune(AT, 1) == 0
    assert (await store.plan("digest"), await store.plan("other")) == (PLAN, other)
    assert await store.prune(AT + 1, 1) == 1
    assert await store.prune(AT + 1, 1) == 0
    assert (await store.plan("digest"), await store.plan("other")) == (None, other)
    await waiting(store, 4)
    assert await store.plan("digest") == PLAN


@guarantee
async def what_is_reported_about_a_deleted_run_is_left_out(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1)
    await store.transact(Batch(session, ends=[end(1, at=AT)]))
    assert await store.prune(AT + 1, 10) == 1
    late = Batch(session, tasks=[task(1)], notes=[note(1)], ends=[end(1)], absolved=[1])
    assert await store.transact(late) == ([], frozenset({1}))
    assert await status_of(store, 1) is None
    assert await store.cancel(1, AT) is None
