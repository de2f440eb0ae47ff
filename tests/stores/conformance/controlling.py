"""What users do to runs: pausing, resuming, retrying, forking."""

from __future__ import annotations

import asyncio

from cloaca.ports import TAKEN_OVER, Batch, RunRow, Store
from tests.stores.conformance.suite import claimed, guarantee, history_of
from tests.stores.rows import (
    AT,
    PLAN,
    attempt,
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


async def row_of(store: Store, run: int) -> RunRow:
    return (await history_of(store, run)).run


async def notes_of(store: Store, run: int) -> list[tuple[float, str]]:
    return [(noted.at, noted.kind) for noted in (await history_of(store, run)).notes]


# Pausing


@guarantee
async def a_run_that_nobody_drives_is_paused_at_once(store: Store) -> None:
    session = await session_of(store)
    await waiting(store, 1)
    await owned(store, session, 2, 3)
    await store.block(session, 2, "unfit")
    await store.transact(Batch(session, ends=[end(3, "failed", reason="because")]))
    for run in (1, 2):
        row = await store.pause(run, AT + 3)
        assert row == await row_of(store, run)
        assert (row.status, row.owner, row.reason, row.pausing, row.finished_at) == ("paused", None, None, None, None)
        assert await store.pause(run, AT + 4) == row
        assert await notes_of(store, run) == [(AT + 3, "run_paused")]
    ended = await row_of(store, 3)
    assert await store.pause(3, AT + 3) == ended
    assert (ended.status, await notes_of(store, 3)) == ("failed", [])
    assert await store.pause(4, AT + 3) is None
    assert await claimed(store, session) == []
    assert await claimed(store, session, suspects=True) == []
    assert not (await store.poll(session, ["orders"], AT)).claimable
    assert await store.claim_refused(session, {"orders": "v1"}, 5, AT) == []


@guarantee
async def the_driver_of_a_run_is_asked_to_pause(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1, 2)
    await owned(store, other, 3)
    for run in (1, 3):
        row = await store.pause(run, AT)
        assert row is not None
        assert (row.status, row.pausing) == ("running", "asked")
    assert (await store.poll(session, [], AT)).pausing == {1}
    await store.transact(Batch(session, heard=[1, 2, 3]))
    assert [(await row_of(store, run)).pausing for run in (1, 2, 3)] == ["heard", None, "asked"]
    again = await store.pause(1, AT)
    assert again is not None
    assert again.pausing == "heard"
    assert (await store.poll(session, [], AT)).pausing == {1}
    assert await notes_of(store, 1) == []


@guarantee
async def a_run_is_paused_when_it_is_released(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1, 2, 3)
    await owned(store, other, 4)
    for run in (1, 3, 4):
        await store.pause(run, AT)
    await store.cancel(3, AT)
    batch = Batch(session, AT + 5, tasks=[task(1)], released=[1, 2, 3, 4, 9])
    batch.attempts = [attempt(run, "b", session=session) for run in (1, 2)]
    assert (await store.transact(batch)).disowned == frozenset()
    assert [await status_of(store, run) for run in (1, 2, 3, 4)] == ["paused", "pending", "cancelled", "running"]
    paused = await history_of(store, 1)
    assert (paused.run.owner, paused.run.pausing, paused.run.crashes, paused.attempts) == (None, None, 0, [])
    assert (paused.run.finished_at, paused.tasks) == (None, [task(1)])
    assert [await notes_of(store, run) for run in (1, 2, 3)] == [[(AT + 5, "run_paused")], [], []]
    assert (await row_of(store, 3)).finished_at == AT + 5
    before = [await store.history(run) for run in (1, 2, 3, 4)]
    batch.replay, batch.attempts, batch.tasks = True, [], []
    await store.transact(batch)
    assert [await store.history(run) for run in (1, 2, 3, 4)] == before


@guarantee
async def a_run_that_was_asked_to_pause_is_paused_when_its_worker_goes(store: Store) -> None:
    leaving, dying = await session_of(store), await session_of(store, until=AT)
    await owned(store, leaving, 1)
    await owned(store, dying, 2, 3)
    for run in (1, 2):
        await store.pause(run, AT)
    assert await store.reap(AT + 7) == 1
    await store.close_session(leaving, at=AT + 8)
    first, second = await row_of(store, 1), await row_of(store, 2)
    assert (first.status, first.owner, first.pausing, first.crashes) == ("paused", None, None, 0)
    assert (second.status, second.owner, second.pausing, second.crashes) == ("paused", None, None, 1)
    assert await notes_of(store, 1) == [(AT + 8, "run_paused")]
    assert await notes_of(store, 2) == [(AT + 7, "run_recovered"), (AT + 7, "run_paused")]
    assert await status_of(store, 3) == "pending"


@guarantee
async def a_run_that_is_given_back_is_paused_if_it_was_asked_to(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1, 2)
    await store.pause(1, AT)
    await store.transact(Batch(session, AT + 1, held=[2]))
    assert [await status_of(store, run) for run in (1, 2)] == ["paused", "running"]


@guarantee
async def an_end_or_a_block_leaves_no_request_to_pause(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1, 2)
    for run in (1, 2):
        await store.pause(run, AT)
    await store.transact(Batch(session, ends=[end(1)]))
    await store.block(session, 2, "unfit")
    assert [(row.status, row.pausing) for row in (await row_of(store, 1), await row_of(store, 2))] == [
        ("succeeded", None),
        ("blocked", None),
    ]
    assert (await store.poll(session, [], AT)).pausing == frozenset()


@guarantee
async def a_paused_run_can_be_cancelled(store: Store) -> None:
    await waiting(store, 1)
    await store.pause(1, AT)
    assert await store.cancel(1, AT + 1) == "cancelled"
    row = await row_of(store, 1)
    assert (row.status, row.finished_at) == ("cancelled", AT + 1)


@guarantee
async def a_paused_run_is_listed_as_such(store: Store) -> None:
    await waiting(store, 1, 2)
    await store.pause(2, AT)
    rows = await store.runs(workflow="orders", status="paused", before=None, limit=5)
    assert [row.id for row in rows] == [2]
    assert rows == [await store.run(2)]


# Resuming


@guarantee
async def a_resumed_run_waits_for_a_worker(store: Store) -> None:
    session = await session_of(store)
    await waiting(store, 1, 2)
    for run in (1, 2):
        await store.pause(run, AT)
    row = await store.resume(1, AT + 1)
    assert row == await row_of(store, 1)
    assert row.status == "pending"
    assert await store.resume(1, AT + 2) == row
    assert await store.resume(3, AT) is None
    assert await notes_of(store, 1) == [(AT, "run_paused"), (AT + 1, "run_resumed")]
    assert (await store.poll(session, ["orders"], AT)).claimable
    assert await claimed(store, session) == [1]
    assert await status_of(store, 2) == "paused"


@guarantee
async def a_request_to_pause_can_be_taken_back(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1)
    await store.pause(1, AT)
    await store.transact(Batch(session, heard=[1]))
    row = await store.resume(1, AT)
    assert row is not None
    assert (row.status, row.owner, row.pausing) == ("running", session, None)
    assert (await store.poll(session, [], AT)).pausing == frozenset()
    await store.transact(Batch(session, heard=[1]))
    assert (await row_of(store, 1)).pausing is None
    await store.transact(Batch(session, released=[1]))
    assert await status_of(store, 1) == "pending"
    assert await notes_of(store, 1) == []


# Retrying


@guarantee
async def a_retried_run_keeps_what_does_not_start_anew(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1, 2)
    await store.transact(
        Batch(
            session,
            tasks=[task(1, "a"), task(1, "b", status="failed", output=None), task(1, "c"), task(2, "b")],
            failures=[failure(1, "b", 1), failure(1, "b", 2, retry_at=None)],
            ends=[end(1, "failed", reason="because")],
        )
    )
    seen = await row_of(store, 1)
    assert await store.retry(seen, AT + 20, anew=["b", "c", "d"], earlier='{"b":2}', detail="again")
    history = await history_of(store, 1)
    assert (history.run.status, history.run.finished_at, history.run.reason) == ("pending", None, None)
    assert (history.run.earlier, history.run.started_at) == ('{"b":2}', AT)
    assert [row.name for row in history.tasks] == ["a"]
    assert [row.attempt for row in history.failures] == [1, 2]
    assert history.notes == [note(1, at=AT + 20, kind="run_retried", detail="again")]
    assert (await history_of(store, 2)).tasks == [task(2, "b")]
    [again] = await store.claim(session, ["orders"], 5, AT, suspects=False)
    assert again.run.earlier == '{"b":2}'
    await store.transact(Batch(session, tasks=[task(1, "b", attempt=3)], ends=[end(1)]))
    assert [row.attempt for row in (await history_of(store, 1)).tasks] == [1, 3]


@guarantee
async def a_run_is_retried_once(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1, 2)
    await store.transact(Batch(session, tasks=[task(1)], ends=[end(1, "failed"), end(2, "cancelled")]))
    seen, other = await row_of(store, 1), await row_of(store, 2)
    tries = [store.retry(seen, AT + 1, anew=["charge"], earlier=None, detail="") for _ in range(4)]
    assert sorted(await asyncio.gather(*tries)) == [False, False, False, True]
    assert not await store.retry(other._replace(finished_at=AT), AT + 1, anew=[], earlier=None, detail="")
    assert not await store.retry(other._replace(id=9), AT + 1, anew=[], earlier=None, detail="")
    assert await store.retry(other, AT + 1, anew=[], earlier=None, detail="")
    assert [await notes_of(store, run) for run in (1, 2)] == [[(AT + 1, "run_retried")]] * 2
    assert await claimed(store, session) == [1, 2]


@guarantee
async def a_late_row_of_a_run_that_was_retried_is_left_out(store: Store) -> None:
    dead, other = await session_of(store, until=AT), await session_of(store)
    await owned(store, dead, 1)
    await store.cancel(1, AT)
    await store.reap(AT + 1)
    assert await store.retry(await row_of(store, 1), AT + 2, anew=["charge"], earlier=None, detail="")
    assert await claimed(store, other) == [1]
    late = await session_of(store)
    for rows in ({"tasks": [task(1)]}, {"failures": [failure(1)]}, {"ends": [end(1)]}):
        assert (await store.transact(Batch(late, **rows))).disowned == {1}
    assert (await history_of(store, 1))[1:4] == ([], [], [])
    assert await status_of(store, 1) == "running"


@guarantee
async def the_crashes_of_a_retried_run_are_forgotten(store: Store) -> None:
    await waiting(store, 1)
    await crash(store, 1)
    session = await session_of(store)
    assert await claimed(store, session) == [1]
    await store.transact(Batch(session, ends=[end(1, "failed", reason="it kills")]))
    assert (await row_of(store, 1)).crashes == 1
    assert await store.retry(await row_of(store, 1), AT + 1, anew=[], earlier=None, detail="")
    row = await row_of(store, 1)
    assert (row.crashes, row.reason) == (0, None)
    assert await claimed(store, session) == [1]


@guarantee
async def a_blocked_run_can_be_retried(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1)
    await store.block(session, 1, "unfit")
    assert await store.retry(await row_of(store, 1), AT + 1, anew=[], earlier=None, detail="")
    row = await row_of(store, 1)
    assert (row.status, row.reason) == ("pending", None)


# Forking


@guarantee
async def a_fork_has_copies_of_the_tasks_that_it_reuses(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1)
    rows = [task(1, "a", attempt=3), task(1, "b", output=None), task(1, "c")]
    await store.transact(Batch(session, tasks=rows, failures=[failure(1, "a")], notes=[note(1)]))
    before = await store.history(1)
    plan = PLAN._replace(digest="newer")
    run = new_run(5, plan="newer", created_at=AT + 9)
    assert await store.fork(plan, run, origin=1, tasks=["b", "a"], detail="from run 1") == 5
    assert await store.history(1) == before
    history = await history_of(store, 5)
    assert (history.run.status, history.run.owner, history.run.created_at) == ("pending", None, AT + 9)
    assert sorted(history.tasks) == [row._replace(run=5, session=TAKEN_OVER) for row in rows[:2]]
    assert (history.failures, history.attempts) == ([], [])
    assert history.notes == [note(5, at=AT + 9, kind="run_forked", detail="from run 1")]
    assert await store.plan("newer") == plan
    assert await claimed(store, session) == [5]


@guarantee
async def a_fork_needs_all_the_tasks_that_it_reuses(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1)
    await store.transact(Batch(session, tasks=[task(1, "a"), task(1, "b", status="failed", output=None)]))
    for origin, tasks in ((1, ["a", "b"]), (1, ["c"]), (9, ["a"])):
        assert await store.fork(PLAN, new_run(5), origin=origin, tasks=tasks, detail="") is None
    assert await store.run(5) is None
    assert await store.fork(PLAN, new_run(5), origin=1, tasks=[], detail="") == 5
    assert (await history_of(store, 5)).tasks == []


@guarantee
async def a_fork_whose_id_is_taken_gets_another(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1)
    await store.transact(Batch(session, tasks=[task(1, "a")]))
    await waiting(store, 2)
    made = new_run(2, created_at=AT + 9)
    assert await store.fork(PLAN, made, origin=1, tasks=["a"], detail="") == 3
    history = await history_of(store, 3)
    assert [row.run for row in history.tasks] == [3]
    assert [noted.run for noted in history.notes] == [3]
