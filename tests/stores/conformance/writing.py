"""Sessions and their leases, and the batches that they fence."""

from __future__ import annotations

import pytest

from cloaca.errors import LeaseLost, StoreError
from cloaca.ports import Batch, Store, Submitted
from tests.stores.conformance.suite import claimed, guarantee, history_of
from tests.stores.rows import (
    AT,
    FAR,
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

# Sessions


@guarantee
async def a_session_id_is_never_used_again(store: Store) -> None:
    ids = [await session_of(store)]
    await store.close_session(ids[-1], at=AT)
    ids.append(await session_of(store, until=AT))
    await store.reap(AT + 1)
    ids.append(await session_of(store))
    await store.close_session(ids[-1], at=AT)
    ids.append(await session_of(store))
    assert ids[0] > 0
    assert ids == sorted(set(ids))


@guarantee
async def a_session_closes_as_often_as_it_likes(store: Store) -> None:
    session = await session_of(store)
    await store.close_session(session, at=AT)
    await store.close_session(session, at=AT)
    await store.close_session(10**9, at=AT)


# Batches


@guarantee
async def a_batch_is_stored_as_it_is(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1, 2)
    batch = Batch(
        session,
        tasks=[task(1, "a", finished_at=AT + 3), task(1, "b", status="failed", output=None), task(2, output="null")],
        failures=[failure(1, "b", 1), failure(1, "b", 2, retry_at=None, error='{"reason":"no"}')],
        attempts=[attempt(1, "c", session=session), attempt(1, "d", session=session, beat_at=AT + 0.1)],
        notes=[note(1), note(1, task="a", at=AT - 1)],
        ends=[end(2, "failed", reason="because")],
    )
    assert await store.transact(batch) == ([], frozenset())
    first, second = await history_of(store, 1), await history_of(store, 2)
    assert first.tasks == [batch.tasks[1], batch.tasks[0]]  # in the order in which they finished
    assert (first.failures, first.attempts, first.notes) == (batch.failures, batch.attempts, batch.notes)
    assert second.tasks == [batch.tasks[2]]
    assert (first.run.status, first.run.owner, first.run.started_at) == ("running", session, AT)
    assert second.run[6:14] == (None, None, 0, AT, AT, AT + 9, "because", False)
    assert second.run.status == "failed"
    assert await store.plan(PLAN.digest) == PLAN


@guarantee
async def a_run_may_begin_and_end_in_one_batch(store: Store) -> None:
    session = await session_of(store)
    batch = Batch(session, plans=[PLAN], runs=[new_run(1, owner=session)], tasks=[task(1)], ends=[end(1)])
    assert await store.transact(batch) == ([Submitted(1, created=True, agrees=True)], frozenset())
    history = await history_of(store, 1)
    assert (history.run.status, history.tasks) == ("succeeded", [task(1)])


@guarantee
async def an_empty_batch_is_a_batch(store: Store) -> None:
    session = await session_of(store)
    assert await store.transact(Batch(session)) == ([], frozenset())
    await store.close_session(session, at=AT)
    with pytest.raises(LeaseLost):
        await store.transact(Batch(session))


@guarantee
async def without_its_lease_a_session_writes_nothing(store: Store) -> None:
    lost = await session_of(store, until=AT)
    left, session = await session_of(store), await session_of(store)
    await owned(store, lost, 1)
    await owned(store, left, 2)
    await store.close_session(left, at=AT)
    assert await store.reap(AT + 1) == 1
    assert await claimed(store, session) == [1, 2]
    before = [await store.history(1), await store.history(2)]
    for stale in (lost, left, 10**9):
        plan = PLAN._replace(digest="other")
        batch = Batch(stale, renew_until=FAR, plans=[plan], runs=[new_run(9, owner=stale)])
        batch.tasks, batch.failures, batch.notes = [task(1), task(2)], [failure(1, "b")], [note(1), note(2)]
        batch.attempts, batch.ends = [attempt(1, session=stale)], [end(1), end(2)]
        for batch.replay in (False, True):
            with pytest.raises(LeaseLost):
                await store.transact(batch)
        with pytest.raises(LeaseLost):
            await store.claim(stale, ["orders"], 1, AT, suspects=False)
    assert [await store.history(1), await store.history(2)] == before
    assert await store.plan("other") is None
    assert await store.run(9) is None


@guarantee
async def rows_of_runs_that_are_not_the_sessions_are_left_out_and_named(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1, 5)
    await owned(store, other, 2)
    await waiting(store, 3)
    await store.transact(Batch(session, ends=[end(5)]))
    before = [await store.history(run) for run in (2, 3, 5)]
    batch = Batch(session)
    for run in (1, 2, 3, 4, 5):
        batch.tasks.append(task(run, "late"))
        batch.failures.append(failure(run))
        batch.attempts.append(attempt(run, session=session))
        batch.ends.append(end(run, "failed"))
    assert (await store.transact(batch)).disowned == {2, 3, 4, 5}
    assert [await store.history(run) for run in (2, 3, 5)] == before
    assert await store.history(4) is None
    mine = await history_of(store, 1)
    assert (mine.run.status, mine.tasks, mine.failures) == ("failed", [task(1, "late")], [failure(1)])


@guarantee
async def what_is_committed_is_not_committed_again(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1, 2)
    await store.transact(Batch(session, tasks=[task(1)], failures=[failure(1, "b")]))
    before = [await store.history(1), await store.history(2)]
    twice = (
        Batch(session, tasks=[task(2), task(1, attempt=2)]),
        Batch(session, tasks=[task(2), task(2)]),
        Batch(session, failures=[failure(2), failure(1, "b", message="again")]),
        Batch(session, failures=[failure(2), failure(2, message="again")]),
    )
    for batch in twice:
        batch.renew_until, batch.plans = FAR * 2, [PLAN._replace(digest="other")]
        batch.runs, batch.notes, batch.ends = [new_run(9, owner=session)], [note(2)], [end(2)]
        with pytest.raises(StoreError) as refused:
            await store.transact(batch)
        assert not isinstance(refused.value, LeaseLost)
    assert [await store.history(1), await store.history(2)] == before
    assert await store.run(9) is None
    assert await store.plan("other") is None
    assert await store.reap(FAR + 1) == 2  # the lease was not renewed


@guarantee
async def a_batch_that_was_committed_can_be_replayed(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1, 2)
    runs = [new_run(5, owner=session), new_run(6, owner=session, key="k"), new_run(7, key="k"), new_run(8)]
    batch = Batch(session, AT, FAR, plans=[PLAN], runs=runs, tasks=[task(1), task(2)], failures=[failure(1, "b")])
    batch.attempts, batch.settled = [attempt(1, "c", session=session), attempt(2, "c", session=session)], [(1, "x")]
    batch.notes, batch.ends = [note(1), note(2), note(1, at=AT + 1)], [end(2, "failed", reason="because")]
    receipt = await store.transact(batch)
    assert [submitted.created for submitted in receipt.submitted] == [True, True, False, True]
    assert receipt.disowned == frozenset()
    before = [await store.history(run) for run in (1, 2, 5, 6, 8)]
    batch.replay = True
    assert await store.transact(batch) == receipt
    assert [await store.history(run) for run in (1, 2, 5, 6, 8)] == before


@guarantee
async def a_batch_that_was_not_committed_can_be_replayed(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1)
    batch = Batch(session, replay=True, runs=[new_run(2)], tasks=[task(1)], failures=[failure(1)], ends=[end(1)])
    assert await store.transact(batch) == ([Submitted(2, created=True, agrees=True)], frozenset())
    history = await history_of(store, 1)
    assert (history.run.status, history.tasks, history.failures) == ("succeeded", [task(1)], [failure(1)])


@guarantee
async def a_replay_names_the_runs_that_others_have_taken(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1, 2)
    await store.block(session, 1, "unfit")
    [history] = await store.claim_refused(other, {"orders": "v1"}, 5, AT)
    assert history.run.id == 1
    await store.transact(Batch(other, ends=[end(1, "failed")]))
    batch = Batch(session, replay=True, tasks=[task(1), task(2)], ends=[end(1), end(2)])
    assert (await store.transact(batch)).disowned == {1}
    assert (await history_of(store, 1)).tasks == []
    assert await status_of(store, 1) == "failed"


@guarantee
async def a_lease_holds_until_it_runs_out_and_can_be_renewed(store: Store) -> None:
    session, other = await session_of(store, until=AT + 10), await session_of(store, until=AT + 10)
    await owned(store, session, 1)
    assert await store.reap(AT + 10) == 0
    await store.transact(Batch(session, renew_until=AT + 20))
    await store.transact(Batch(session))
    assert await store.reap(AT + 15) == 0
    with pytest.raises(LeaseLost):
        await store.transact(Batch(other))
    assert await status_of(store, 1) == "running"
    assert await store.reap(AT + 20.5) == 1
    assert await status_of(store, 1) == "pending"


@guarantee
async def a_renewal_that_comes_late_makes_no_lease_shorter(store: Store) -> None:
    session, other = await session_of(store, until=AT + 50), await session_of(store)
    await store.transact(Batch(session, at=AT, renew_until=AT + 10))
    await store.poll(session, ["orders"], AT, renew_until=AT + 10)
    assert not (await store.poll(other, [], AT + 50)).expired
    await store.transact(Batch(session, at=AT + 20, renew_until=AT + 19))  # which ends it
    assert (await store.poll(other, [], AT + 20)).expired


# Shown attempts, notes


@guarantee
async def an_attempt_is_shown_until_it_is_settled(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1)
    shown = attempt(1, session=session)
    await store.transact(Batch(session, attempts=[shown, attempt(1, "b", session=session)]))
    beaten = shown._replace(beat_at=AT + 5, attempt=2)
    await store.transact(Batch(session, attempts=[beaten]))
    assert (await history_of(store, 1)).attempts == [attempt(1, "b", session=session), beaten]
    await store.transact(Batch(other, settled=[(1, "charge"), (1, "b")]))
    assert len((await history_of(store, 1)).attempts) == 2
    assert (await store.transact(Batch(session, settled=[(1, "charge"), (7, "b")]))).disowned == frozenset()
    assert (await history_of(store, 1)).attempts == [attempt(1, "b", session=session)]


@guarantee
async def no_attempt_is_shown_once_nobody_drives_the_run(store: Store) -> None:
    mine, theirs = await session_of(store), await session_of(store, until=AT)
    await owned(store, mine, 1, 2, 3)
    await owned(store, theirs, 4)
    for session, runs in ((mine, (1, 2, 3)), (theirs, (4,))):
        await store.transact(Batch(session, attempts=[attempt(run, session=session) for run in runs]))
    await store.transact(Batch(mine, ends=[end(1)]))
    await store.block(mine, 2, "unfit")
    await store.reap(AT + 1)
    assert [(await history_of(store, run)).attempts for run in (1, 2, 4)] == [[], [], []]
    assert len((await history_of(store, 3)).attempts) == 1
    await store.close_session(mine, at=AT)
    assert (await history_of(store, 3)).attempts == []


@guarantee
async def a_note_needs_a_run_but_no_ownership(store: Store) -> None:
    session = await session_of(store)
    await waiting(store, 1)
    receipt = await store.transact(Batch(session, notes=[note(1), note(2), note(1), note(1, task="charge")]))
    assert receipt.disowned == frozenset()
    assert (await history_of(store, 1)).notes == [note(1), note(1, task="charge")]
    await waiting(store, 2)
    assert (await history_of(store, 2)).notes == []
