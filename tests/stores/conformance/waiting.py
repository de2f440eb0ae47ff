"""Waits, signals, child runs, and runs that are parked because they only wait."""

from __future__ import annotations

from cloaca.ports import Arrivals, Batch, NewRun, SignalRow, Store, Submitted, WaitRow
from tests.stores.conformance.suite import claimed, guarantee, history_of
from tests.stores.rows import AT, PLAN, end, new_run, owned, session_of, status_of, task, waiting

GO = "Go"


async def sent(store: Store, run: int, *nodes: str, name: str = GO, payload: str = "{}") -> bool | None:
    """Send a signal that any of these nodes would take."""
    return await store.send(run, name, payload, AT + 1, nodes=nodes or ("wait",))


# Waits


@guarantee
async def a_wait_that_has_begun_is_kept(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1)
    await owned(store, other, 2)
    waits = [WaitRow(1, "b", AT, AT + 60), WaitRow(1, "a", AT, None)]
    receipt = await store.transact(Batch(session, waits=[*waits, WaitRow(2, "a", AT, None)]))
    assert receipt.disowned == {2}
    await store.transact(Batch(session, waits=waits, replay=True))
    await store.close_session(session, at=AT + 2)
    [history] = await store.claim(other, ["orders"], 1, AT + 3, suspects=False)
    assert history.waits == [waits[1], waits[0]]
    assert (await history_of(store, 2)).waits == []


@guarantee
async def a_retry_forgets_the_waits_that_begin_anew(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1)
    kept, gone = WaitRow(1, "a", AT, AT + 1), WaitRow(1, "b", AT, AT + 1)
    await store.transact(Batch(session, waits=[kept, gone], ends=[end(1, "failed")]))
    run = (await history_of(store, 1)).run
    assert await store.retry(run, AT + 20, anew=["b"], earlier=None, detail="again")
    assert (await history_of(store, 1)).waits == [kept]


# Signals


@guarantee
async def a_signal_is_kept_until_it_is_taken_and_taken_once(store: Store) -> None:
    session = await session_of(store)
    await waiting(store, 1)
    assert await sent(store, 1, "wait", "later", payload="1")
    assert await claimed(store, session) == [1]
    assert await sent(store, 1, "wait", "later", payload="2")
    first, second = (await history_of(store, 1)).signals
    assert (first[1:], second[1:]) == ((1, GO, "1", AT + 1, None), (1, GO, "2", AT + 1, None))
    assert first.id < second.id
    taken = Batch(session, tasks=[task(1, "wait", output="1")], taken=[(1, first.id, "wait")])
    await store.transact(taken)
    taken.replay = True
    await store.transact(taken)
    await store.transact(Batch(session, taken=[(1, first.id, "later")]))
    assert (await history_of(store, 1)).signals == [first._replace(taken_by="wait"), second]


@guarantee
async def only_its_session_takes_a_signal(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1)
    assert await sent(store, 1)
    [signal] = (await history_of(store, 1)).signals
    receipt = await store.transact(Batch(other, taken=[(1, signal.id, "wait")]))
    assert receipt.disowned == {1}
    assert (await history_of(store, 1)).signals == [signal]


@guarantee
async def a_signal_that_nobody_would_take_is_refused(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1, 2)
    assert await sent(store, 9) is None
    assert await sent(store, 1)
    assert not await sent(store, 1)  # the one node that waits has its signal
    assert await sent(store, 1, "other", name="Stop")
    await store.transact(Batch(session, tasks=[task(1, "second")]))
    assert not await sent(store, 1, "wait", "second")
    assert await sent(store, 1, "wait", "second", "third")
    await store.transact(Batch(session, ends=[end(2)]))
    assert await sent(store, 2) is False
    assert len((await history_of(store, 1)).signals) == 3
    assert (await history_of(store, 2)).signals == []


@guarantee
async def who_drives_a_run_hears_of_its_signals_once(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1, 2, 3)
    await waiting(store, 4)
    for run in (2, 1, 4):
        assert await sent(store, run)
    assert (await store.poll(session, [], AT)).roused == {1, 2}
    assert (await store.poll(other, [], AT)).roused == frozenset()
    assert await store.hear(other, [1, 2]) == []
    heard = await store.hear(session, [2, 1, 4])
    assert heard == [Arrivals(run, list((await history_of(store, run)).signals), []) for run in (1, 2)]
    assert (await store.poll(session, [], AT)).roused == frozenset()
    await store.transact(Batch(session, taken=[(1, heard[0].signals[0].id, "wait")]))
    assert await store.hear(session, [1]) == [Arrivals(1, [], [])]
    assert await sent(store, 3)
    await store.close_session(session, at=AT)
    assert await claimed(store, other) == [1, 2, 3, 4]
    assert (await store.poll(other, [], AT)).roused == frozenset()  # whoever claims a run has read it


# Child runs


def child_of(parent: int, id: int, **changes: object) -> NewRun:
    """A child run of the node ``sub``."""
    return new_run(id, **{"parent": parent, "parent_task": "sub", "key": f"child {id}", **changes})


@guarantee
async def a_child_run_is_stored_with_the_wait_for_it(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1)
    await owned(store, other, 2)
    wait = WaitRow(1, "sub", AT, None)
    mine, foreign = child_of(1, 5, owner=session), child_of(2, 6, owner=session)
    batch = Batch(session, waits=[wait], plans=[PLAN], runs=[new_run(3)], children=[mine, foreign])
    receipt = await store.transact(batch)
    assert receipt.submitted == [Submitted(3, True, True), Submitted(5, True, True), Submitted(6, False, False)]
    assert receipt.disowned == {2}
    history = await history_of(store, 1)
    assert [(child.id, child.parent, child.parent_task, child.owner) for child in history.children] == [
        (5, 1, "sub", session)
    ]
    assert await status_of(store, 6) is None
    again = Batch(session, waits=[wait], children=[child_of(1, 7, key="child 5", input="null")])
    assert (await store.transact(again)).submitted == [Submitted(5, created=False, agrees=False)]
    batch.replay, batch.runs = True, []
    assert (await store.transact(batch)).submitted[0] == Submitted(5, created=True, agrees=True)


@guarantee
async def the_end_of_a_child_run_is_heard_of(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1)
    await store.transact(Batch(session, children=[child_of(1, 5)]))
    assert await claimed(store, other) == [5]
    await store.transact(Batch(other, ends=[end(5)], roused=[1]))
    assert (await store.poll(session, [], AT)).roused == {1}
    [arrivals] = await store.hear(session, [1])
    assert [(child.id, child.status) for child in arrivals.children] == [(5, "succeeded")]
    await store.transact(Batch(session, ends=[end(1)]))
    await store.transact(Batch(other, roused=[1, 9]))
    assert (await history_of(store, 1)).run.roused is False


@guarantee
async def child_runs_are_cancelled_with_their_parent(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1)
    await store.transact(Batch(session, children=[child_of(1, 5, owner=session), child_of(1, 6), child_of(1, 7)]))
    await store.transact(Batch(session, children=[child_of(5, 8)]))
    assert await claimed(store, other, 2) == [6, 7]
    await store.transact(Batch(other, ends=[end(7)]))
    await store.transact(Batch(session, AT + 9, ends=[end(1, "cancelled")], forsaken=[1]))
    assert [await status_of(store, run) for run in (5, 6, 7, 8)] == ["running", "running", "succeeded", "cancelled"]
    assert (await store.poll(session, [], AT)).cancelling == [5]
    assert (await store.poll(other, [], AT)).cancelling == [6]
    row = (await history_of(store, 8)).run
    assert (row.finished_at, row.owner) == (AT + 9, None)


@guarantee
async def a_parent_that_nobody_drives_is_cancelled_with_its_child_runs(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1)
    await store.transact(Batch(session, children=[child_of(1, 5)], parked=[(1, None)]))
    assert await store.cancel(1, AT + 5) == "cancelled"
    assert [await status_of(store, run) for run in (1, 5)] == ["cancelled", "cancelled"]


@guarantee
async def a_child_run_that_is_cancelled_tells_its_parent(store: Store) -> None:
    session, dying = await session_of(store), await session_of(store, until=AT)
    await owned(store, session, 1, 2)
    await store.transact(Batch(session, children=[child_of(1, 5), child_of(2, 6, workflow="mail")]))
    assert await store.cancel(5, AT) == "cancelled"
    assert (await store.poll(session, [], AT)).roused == {1}
    assert [h.run.id for h in await store.claim(dying, ["mail"], 1, AT, suspects=False)] == [6]
    assert await store.cancel(6, AT) == "running"
    await store.reap(AT + 1)
    assert await status_of(store, 6) == "cancelled"
    assert (await store.poll(session, [], AT)).roused == {1, 2}


@guarantee
async def child_runs_are_kept_as_long_as_their_parent(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1)
    await store.transact(Batch(session, children=[child_of(1, 5, owner=session)], waits=[WaitRow(1, "sub", AT, None)]))
    await store.transact(Batch(session, ends=[end(5)]))
    assert await store.prune(AT + 99, 10) == 0
    await sent(store, 1)
    await store.transact(Batch(session, ends=[end(1)]))
    assert await store.prune(AT + 99, 10) == 1
    assert (await history_of(store, 5)).run.parent is None
    assert await store.prune(AT + 99, 10) == 1
    assert [await status_of(store, run) for run in (1, 5)] == [None, None]
    await owned(store, session, 1)
    assert (await history_of(store, 1))[5:] == ([], [], [])


# Parked runs


@guarantee
async def a_parked_run_costs_no_lease_and_is_nobodys_to_claim(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1, 2)
    await store.transact(Batch(session, parked=[(1, AT + 60), (2, None)]))
    row = (await history_of(store, 1)).run
    assert (row.status, row.owner, row.wake_at) == ("running", None, AT + 60)
    assert await claimed(store, other) == []
    await store.close_session(session, at=AT)
    assert [await status_of(store, run) for run in (1, 2)] == ["running", "running"]


@guarantee
async def a_parked_run_waits_for_a_worker_when_its_time_has_come(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1, 2, 3, 4)
    await store.transact(Batch(session, parked=[(1, AT + 60), (2, AT + 50), (3, None), (4, AT + 70)]))
    assert not (await store.poll(other, ["orders"], AT + 49)).due
    assert await store.wake(AT + 49, 9) == 0
    assert (await store.poll(other, ["orders"], AT + 60)).due
    assert await store.wake(AT + 60, 1) == 1
    assert await claimed(store, other) == [2]
    assert await store.wake(AT + 60, 9) == 1
    assert await claimed(store, other) == [1]
    assert not (await store.poll(other, ["orders"], AT + 60)).due
    assert (await history_of(store, 1)).run.wake_at is None


@guarantee
async def a_signal_wakes_a_parked_run(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1, 2)
    await store.transact(Batch(session, parked=[(1, None)]))
    assert await sent(store, 1)
    assert await claimed(store, other) == [1]
    await store.transact(Batch(other, parked=[(1, AT + 50)]))
    await store.transact(Batch(session, roused=[1]))
    assert await claimed(store, other) == [1]


@guarantee
async def a_run_for_which_something_has_come_is_not_parked(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1, 2, 3, 4)
    await owned(store, other, 5)
    assert await sent(store, 1)
    await store.cancel(2, AT)
    await store.pause(3, AT)
    await store.transact(Batch(session, AT + 1, parked=[(run, None) for run in (1, 2, 3, 4, 5)]))
    statuses = [await status_of(store, run) for run in range(1, 6)]
    assert statuses == ["pending", "cancelled", "paused", "running", "running"]
    assert [(await history_of(store, run)).run.owner for run in range(1, 6)] == [None, None, None, None, other]
    assert await claimed(store, other) == [1]


@guarantee
async def a_parked_run_is_paused_and_resumed(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1)
    await store.transact(Batch(session, parked=[(1, AT + 60)]))
    row = await store.pause(1, AT + 1)
    assert row is not None
    assert row.status == "paused"
    assert await sent(store, 1)
    assert await store.wake(AT + 99, 9) == 0
    assert await claimed(store, other) == []
    await store.resume(1, AT + 2)
    [history] = await store.claim(other, ["orders"], 1, AT, suspects=False)
    assert [signal.payload for signal in history.signals] == ["{}"]
    assert isinstance(history.signals[0], SignalRow)
