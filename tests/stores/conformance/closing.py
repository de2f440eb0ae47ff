"""Runs with an epilogue, which no store ends on its own; and results that are kept for other runs."""

from __future__ import annotations

from cloaca.ports import GIVEN_UP, Batch, CacheRow, ClosingRow, RunRow, Store
from tests.stores.conformance.suite import claimed, guarantee, history_of
from tests.stores.rows import AT, end, owned, session_of, status_of, waiting

FAILED = '{"at":1000.0,"crashes":0,"reason":null,"status":"failed"}'


async def row_of(store: Store, run: int) -> RunRow:
    return (await history_of(store, run)).run


# Cancelling


@guarantee
async def a_run_with_an_epilogue_waits_for_whoever_cancels_it(store: Store) -> None:
    session = await session_of(store)
    await waiting(store, 1, 2, epilogue=True)
    assert await store.pause(2, AT) is not None
    for run in (1, 2):
        assert await store.cancel(run, AT + 1) == "pending"
        row = await row_of(store, run)
        assert (row.status, row.cancel_requested, row.finished_at, row.epilogue) == ("pending", True, None, True)
        assert await store.cancel(run, AT + 2) == "pending"
    assert await claimed(store, session) == [1, 2]
    assert (await store.poll(session, ["orders"], AT)).cancelling == [1, 2]


@guarantee
async def a_run_with_an_epilogue_is_given_back_to_be_cancelled(store: Store) -> None:
    for crash in (False, True):
        session = await session_of(store, AT if crash else AT + 99)
        await owned(store, session, 1 + crash, epilogue=True)
        assert await store.pause(1 + crash, AT) is not None
        assert await store.cancel(1 + crash, AT) == "running"
        if crash:
            assert await store.reap(AT + 1) == 1
        else:
            await store.close_session(session, at=AT + 1)
        row = await row_of(store, 1 + crash)
        assert (row.status, row.owner, row.cancel_requested, row.pausing) == ("pending", None, True, None)
        assert row.crashes == crash


@guarantee
async def an_outcome_takes_back_what_was_asked(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1, 2, 3, epilogue=True)
    for run in (1, 2):
        await store.pause(run, AT)
        await store.cancel(run, AT)
    cancelled = FAILED.replace("failed", "cancelled")
    closings = [ClosingRow(1, "cancelled", cancelled), ClosingRow(2, "failed", FAILED)]
    assert (await store.transact(Batch(session, closings=closings))).disowned == frozenset()
    rows = [await row_of(store, run) for run in (1, 2, 3)]
    assert [(row.closing, row.cancel_requested, row.pausing) for row in rows] == [
        (cancelled, False, None), (FAILED, False, "asked"), (None, False, None),
    ]  # fmt: skip
    assert [row.status for row in rows] == ["running"] * 3
    assert await store.cancel(1, AT) == "running"
    assert not (await row_of(store, 1)).cancel_requested
    await store.transact(Batch(session, ends=[end(1, "cancelled")]))
    assert (await row_of(store, 1)).closing is None


@guarantee
async def an_outcome_is_fenced(store: Store) -> None:
    await owned(store, await session_of(store), 1, epilogue=True)
    other = await session_of(store)
    receipt = await store.transact(
        Batch(other, closings=[ClosingRow(1, "failed", FAILED)], cached=[CacheRow(1, "key", "{}", "charge")])
    )
    assert receipt.disowned == {1}
    assert (await row_of(store, 1)).closing is None
    assert await store.cached(["key"], AT) == []


@guarantee
async def an_epilogue_goes_on_after_a_pause_and_a_block(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1, epilogue=True)
    await store.transact(Batch(session, closings=[ClosingRow(1, "failed", FAILED)]))
    await store.pause(1, AT)
    await store.close_session(session, at=AT)
    assert await store.cancel(1, AT) == "paused"
    assert (await store.resume(1, AT)) is not None
    session = await session_of(store)
    assert await claimed(store, session) == [1]
    await store.block(session, 1, "unfit")
    row = await row_of(store, 1)
    assert (row.status, row.closing) == ("blocked", FAILED)
    assert await store.retry(row, AT, anew=[], earlier=None, detail="")
    assert (await row_of(store, 1)).closing == FAILED


@guarantee
async def a_blocked_run_is_given_up_once_it_was_asked_twice(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1, 2, epilogue=True)
    await store.transact(Batch(session, closings=[ClosingRow(2, "failed", FAILED)]))
    for run in (1, 2):
        await store.block(session, run, "unfit")
    assert await store.cancel(1, AT) == "pending"
    [history] = await store.claim_refused(session, {"orders": "v1"}, 1, AT)
    assert history.run.cancel_requested
    await store.block(session, 1, "unfit", "v1")
    assert await store.cancel(1, AT + 1) == "cancelled"
    assert await store.cancel(2, AT + 1) == "failed"
    for run in (1, 2):
        row = await row_of(store, run)
        assert (row.finished_at, row.reason, row.closing, row.cancel_requested) == (AT + 1, GIVEN_UP, None, False)
    assert await status_of(store, 1) == "cancelled"


# Results that are kept


@guarantee
async def a_result_is_found_by_its_key(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1)
    rows = [CacheRow(1, "a", '{"x":1}', "charge"), CacheRow(1, "b", '{"x":2}', "ship"), CacheRow(1, "b", "{}", "last")]
    await store.transact(Batch(session, at=AT, cached=rows))
    found = sorted(await store.cached(["a", "b", "c"], AT))
    assert [row[:4] for row in found] == [("a", '{"x":1}', 1, "charge"), ("b", "{}", 1, "last")]
    assert all(row.age_s >= 0 for row in found)
    assert await store.cached([], AT) == []
    replayed = Batch(session, at=AT, cached=[CacheRow(1, "a", "{}", "charge")], replay=True)
    await store.transact(replayed)
    assert [row.output for row in await store.cached(["a"], AT)] == ["{}"]


@guarantee
async def results_are_forgotten_the_oldest_first(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1)
    for place, key in enumerate("abc"):
        await store.transact(Batch(session, at=AT + place, cached=[CacheRow(1, key, "{}", "charge")]))
    later = AT + 1e12
    assert await store.prune_cache(AT - 1, 9) == 0
    assert await store.prune_cache(later, 0) == 0
    assert await store.prune_cache(later, 2) == 2
    assert [row.key for row in await store.cached(list("abc"), AT)] == ["c"]
    assert await store.prune_cache(later, 9) == 1
    assert await store.prune_cache(later, 9) == 0


@guarantee
async def a_result_outlives_its_run(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1)
    await store.transact(Batch(session, at=AT, cached=[CacheRow(1, "a", "{}", "charge")], ends=[end(1)]))
    assert await store.prune(AT + 99, 9) == 1
    assert [row.run for row in await store.cached(["a"], AT)] == [1]
