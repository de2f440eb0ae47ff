"""Who drives a run: claiming, letting go, being found dead, being asked to stop."""

from __future__ import annotations

import asyncio

import pytest

from cloaca.errors import LeaseLost
from cloaca.ports import SUSPECT_CRASHES, Batch, Poll, Store, Submitted
from tests.stores.conformance.suite import claimed, guarantee, history_of
from tests.stores.rows import (
    AT,
    FAR,
    crash,
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

# Claims


@guarantee
async def the_oldest_runs_are_claimed_first(store: Store) -> None:
    session = await session_of(store)
    await waiting(store, 3, 1, 5)
    await waiting(store, 4, 2, workflow="mail")
    await waiting(store, 6, workflow="other")
    both = ["orders", "mail", "unknown", "orders"]
    assert [h.run.id for h in await store.claim(session, both, 3, AT, suspects=False)] == [1, 2, 3]
    assert [h.run.id for h in await store.claim(session, both, 3, AT, suspects=False)] == [4, 5]
    assert await store.claim(session, both, 3, AT, suspects=False) == []
    assert await store.claim(session, [], 3, AT, suspects=False) == []
    assert await store.claim(session, ["other"], 0, AT, suspects=False) == []
    assert await status_of(store, 6) == "pending"


@guarantee
async def a_claimed_run_is_owned_and_whole(store: Store) -> None:
    first, second = await session_of(store), await session_of(store)
    await waiting(store, 1)
    [history] = await store.claim(first, ["orders"], 5, AT + 1, suspects=False)
    assert history == await store.history(1)
    assert history.run[4:14] == ("running", "{}", None, first, 0, AT, AT + 1, None, None, False)
    await store.transact(Batch(first, tasks=[task(1)], failures=[failure(1, "b")], notes=[note(1)]))
    await store.close_session(first, at=AT)
    [history] = await store.claim(second, ["orders"], 5, AT + 2, suspects=False)
    assert history == await store.history(1)
    assert (history.tasks, history.failures, history.notes) == ([task(1)], [failure(1, "b")], [note(1)])
    assert (history.run.owner, history.run.started_at) == (second, AT + 1)


@guarantee
async def only_pending_runs_are_claimed(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, other, 1, 2, 3)
    await store.transact(Batch(other, ends=[end(1)]))
    await store.block(other, 2, "unfit")
    await waiting(store, 4)
    await store.cancel(4, AT)
    assert await claimed(store, session) == []
    assert await claimed(store, session, suspects=True) == []


@guarantee
async def no_run_is_claimed_twice(store: Store) -> None:
    sessions = [await session_of(store) for _ in range(4)]
    await waiting(store, *range(1, 41))
    found = await asyncio.gather(*(claimed(store, session, 7) for session in sessions * 2))
    runs = [run for runs in found for run in runs]
    assert sorted(runs) == list(range(1, 41))
    for session, theirs in zip(sessions * 2, found, strict=True):
        assert {(await history_of(store, run)).run.owner for run in theirs} <= {session}


@guarantee
async def runs_that_kill_their_workers_wait_apart(store: Store) -> None:
    await waiting(store, 1, 2)
    await crash(store, 1, 2, times=SUSPECT_CRASHES)
    await waiting(store, 3)
    session = await session_of(store)
    assert await store.poll(session, ["orders"], AT) == Poll(True, True, False, [])
    assert await claimed(store, session) == [3]
    assert await store.poll(session, ["orders"], AT) == Poll(False, True, False, [])
    assert await store.poll(session, ["mail"], AT) == Poll(False, False, False, [])
    assert await claimed(store, session, 1, suspects=True) == [1]
    assert await claimed(store, session, 1, suspects=True) == [2]
    assert await store.poll(session, ["orders"], AT) == Poll(False, False, False, [])


# Letting go


@guarantee
async def a_worker_that_leaves_in_order_leaves_no_crash(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1, 2)
    await owned(store, other, 3)
    await store.transact(Batch(session, tasks=[task(1)], ends=[end(2)]))
    await store.close_session(session, at=AT)
    history = await history_of(store, 1)
    assert (history.run.status, history.run.owner, history.run.crashes) == ("pending", None, 0)
    assert (history.tasks, history.notes) == ([task(1)], [])
    assert [await status_of(store, run) for run in (2, 3)] == ["succeeded", "running"]
    assert await claimed(store, other) == [1]


@guarantee
async def a_worker_that_dies_leaves_a_crash_and_a_note(store: Store) -> None:
    dead, other = await session_of(store, until=AT + 1), await session_of(store)
    await owned(store, dead, 1, 2, 3)
    await owned(store, other, 4)
    await store.transact(Batch(dead, tasks=[task(1)], ends=[end(2)]))
    assert await store.reap(AT + 5) == 2
    for run in (1, 3):
        history = await history_of(store, run)
        assert (history.run.status, history.run.owner, history.run.crashes) == ("pending", None, 1)
        assert [(noted.at, noted.kind, noted.task) for noted in history.notes] == [(AT + 5, "run_recovered", None)]
    assert (await history_of(store, 1)).tasks == [task(1)]
    assert [await status_of(store, run) for run in (2, 4)] == ["succeeded", "running"]
    assert await store.reap(AT + 5) == 0


@guarantee
async def who_looks_for_the_dead_does_not_count_itself(store: Store) -> None:
    mine, other = await session_of(store, until=AT), await session_of(store, until=AT)
    await owned(store, mine, 1)
    await owned(store, other, 2)
    assert await store.reap(AT + 1, sparing=mine) == 1
    assert [await status_of(store, run) for run in (1, 2)] == ["running", "pending"]
    await store.transact(Batch(mine, renew_until=FAR))
    assert await store.reap(AT + 1) == 0


@guarantee
async def a_run_that_was_asked_to_stop_is_cancelled_when_its_worker_goes(store: Store) -> None:
    leaving, dying = await session_of(store), await session_of(store, until=AT)
    await owned(store, leaving, 1, created_at=AT - 5)
    await owned(store, dying, 2, 3)
    for run in (1, 2):
        assert await store.cancel(run, AT + 1) == "running"
    assert await store.reap(AT + 7) == 1
    await store.close_session(leaving, at=AT + 8)
    first, second = await history_of(store, 1), await history_of(store, 2)
    for history in (first, second):
        assert (history.run.status, history.run.owner, history.run.crashes) == ("cancelled", None, 0)
        assert not history.run.cancel_requested
        assert history.notes == []
    assert (first.run.finished_at, second.run.finished_at) == (AT + 8, AT + 7)
    assert await status_of(store, 3) == "pending"


@guarantee
async def what_a_session_owns_but_does_not_hold_is_given_back(store: Store) -> None:
    """The answer to a commit or a claim was lost: the session owns runs that its worker has never heard of."""
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1, 2, 3, 4)
    await owned(store, other, 5)
    assert await store.cancel(3, AT) == "running"
    assert await store.cancel(4, AT) == "running"
    batch = Batch(session, AT + 3, runs=[new_run(6, owner=session)], tasks=[task(1), task(2)], held=[1, 4])
    assert await store.transact(batch) == ([Submitted(6, created=True, agrees=True)], frozenset({2}))
    statuses = [await status_of(store, run) for run in range(1, 7)]
    assert statuses == ["running", "pending", "cancelled", "running", "running", "running"]
    given_back, stopped = await history_of(store, 2), await history_of(store, 3)
    assert (given_back.run.owner, given_back.run.crashes, given_back.tasks, given_back.notes) == (None, 0, [], [])
    assert (stopped.run.finished_at, stopped.run.cancel_requested) == (AT + 3, False)
    assert (await store.poll(session, [], AT)).cancelling == [4]
    assert await claimed(store, other) == [2]
    await store.transact(Batch(session, held=[]))
    assert [await status_of(store, run) for run in (1, 2, 4, 5, 6)] == [
        "pending", "running", "cancelled", "running", "pending"
    ]  # fmt: skip


@guarantee
async def a_worker_that_was_not_dead_takes_its_crash_back(store: Store) -> None:
    late, other = await session_of(store, until=AT), await session_of(store)
    await owned(store, late, 1, 2, 3)
    assert await store.reap(AT + 1) == 3
    assert await claimed(store, other, 2) == [1, 2]
    await store.transact(Batch(other, ends=[end(2, "failed")]))
    back = await session_of(store)
    assert await store.transact(Batch(back, absolved=[1, 2, 3, 4])) == ([], frozenset())
    assert [(await history_of(store, run)).run.crashes for run in (1, 2, 3)] == [0, 1, 0]
    await store.transact(Batch(back, absolved=[1, 3, 3]))
    assert [(await history_of(store, run)).run.crashes for run in (1, 2, 3)] == [0, 1, 0]
    assert (await history_of(store, 1)).run.owner == other


@guarantee
async def a_suspect_that_is_absolved_waits_with_the_others(store: Store) -> None:
    await waiting(store, 1, 2)
    await crash(store, 1, 2, times=SUSPECT_CRASHES)
    session = await session_of(store)
    await store.transact(Batch(session, absolved=[1] * SUSPECT_CRASHES))
    assert (await history_of(store, 1)).run.crashes == 0
    assert await claimed(store, session) == [1]
    assert await claimed(store, session, suspects=True) == [2]


# Looking


@guarantee
async def a_look_sees_work_and_the_dead(store: Store) -> None:
    session, other = await session_of(store), await session_of(store, until=AT + 10)
    assert await store.poll(session, ["orders"], AT) == Poll(False, False, False, [])
    await waiting(store, 1)
    assert await store.poll(session, ["orders"], AT) == Poll(True, False, False, [])
    assert await store.poll(session, ["mail"], AT) == Poll(False, False, False, [])
    assert await store.poll(session, ["mail", "orders"], AT) == Poll(True, False, False, [])
    assert await store.poll(session, [], AT) == Poll(False, False, False, [])
    assert not (await store.poll(session, [], AT + 10)).expired
    assert (await store.poll(session, [], AT + 10.5)).expired
    assert not (await store.poll(other, [], AT + 10.5)).expired  # whoever looks is alive


@guarantee
async def a_look_says_when_the_first_lease_of_another_runs_out(store: Store) -> None:
    session = await session_of(store, until=AT + 1)
    assert (await store.poll(session, [], AT)).lapse_s is None
    for until in (AT + 30, AT + 10, AT + 20):
        await session_of(store, until=until)
    lapses = [(await store.poll(session, [], AT + since)).lapse_s for since in (0, 4, 12)]
    assert lapses == [pytest.approx(10), pytest.approx(6), pytest.approx(-2)]


@guarantee
async def a_look_renews_the_lease_if_asked(store: Store) -> None:
    session, other = await session_of(store, until=AT + 10), await session_of(store)
    await waiting(store, 1)
    await owned(store, session, 2, 3)
    assert await store.cancel(2, AT) == "running"
    await store.pause(3, AT)
    found = await store.poll(session, ["orders"], AT, renew_until=AT + 50)
    assert found == Poll(True, False, False, [2], frozenset({3}))
    assert await store.reap(AT + 50, sparing=other) == 0
    assert not (await store.poll(other, [], AT + 50)).expired
    assert (await store.poll(other, [], AT + 51)).expired
    assert await store.reap(AT + 51, sparing=other) == 0  # one is cancelled, one paused
    with pytest.raises(LeaseLost):
        await store.poll(session, ["orders"], AT, renew_until=AT + 99)
    assert await store.poll(session, ["orders"], AT) == Poll(True, False, False, [])


@guarantee
async def a_look_sees_requests_to_stop(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1, 2, 3)
    await owned(store, other, 4)
    for run in (3, 1, 4):
        assert await store.cancel(run, AT) == "running"
    assert (await store.poll(session, [], AT)).cancelling == [1, 3]
    assert (await history_of(store, 1)).run.cancel_requested
    await store.transact(Batch(session, ends=[end(1, "cancelled"), end(3)]))
    assert (await store.poll(session, [], AT)).cancelling == []
    assert not (await history_of(store, 3)).run.cancel_requested


# Cancelling and blocking


@guarantee
async def cancelling_ends_a_run_that_nobody_drives(store: Store) -> None:
    session = await session_of(store)
    await waiting(store, 1)
    await owned(store, session, 2, 3)
    await store.block(session, 2, "unfit")
    await store.transact(Batch(session, ends=[end(3, "failed", reason="because")]))
    assert await store.cancel(1, AT + 5) == "cancelled"
    assert await store.cancel(2, AT + 5) == "cancelled"
    assert await store.cancel(3, AT + 5) == "failed"
    assert await store.cancel(1, AT + 6) == "cancelled"
    assert await store.cancel(4, AT + 6) is None
    for run in (1, 2):
        row = (await history_of(store, run)).run
        assert (row.status, row.finished_at, row.reason, row.owner) == ("cancelled", AT + 5, None, None)
    assert (await history_of(store, 3)).run.reason == "because"


@guarantee
async def only_its_session_can_block_a_run(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1, 2)
    await waiting(store, 3)
    await store.transact(Batch(session, ends=[end(2)]))
    for run in (1, 2, 3, 4):
        await store.block(other, run, "not mine")
    await store.block(session, 2, "it has ended")
    assert [await status_of(store, run) for run in (1, 2, 3, 4)] == ["running", "succeeded", "pending", None]
