"""New runs, and the keys that make them one."""

from __future__ import annotations

import asyncio

from cloaca.ports import Batch, Store, Submitted
from tests.stores.conformance.suite import claimed, guarantee
from tests.stores.rows import AT, PLAN, end, new_run, session_of, status_of, waiting


@guarantee
async def a_submitted_run_waits(store: Store) -> None:
    assert await store.submit(PLAN, new_run(1)) == Submitted(1, created=True, agrees=True)
    row = await store.run(1)
    assert row is not None
    assert row[:14] == (1, "orders", "v1", "digest", "pending", "{}", None, None, 0, AT, None, None, None, False)
    assert await store.plan(PLAN.digest) == PLAN
    await store.submit(PLAN._replace(spec="another"), new_run(2))
    assert await store.plan(PLAN.digest) == PLAN  # a digest means one plan
    assert await store.plan("unknown") is None


@guarantee
async def the_same_key_and_input_are_the_same_run(store: Store) -> None:
    session = await session_of(store)
    assert (await store.submit(PLAN, new_run(1, key="k"))).created
    again = Submitted(1, created=False, agrees=True)
    other = Submitted(1, created=False, agrees=False)
    assert await store.submit(PLAN, new_run(2, key="k")) == again
    assert await store.submit(PLAN, new_run(3, key="k", input="null")) == other
    assert await store.submit(PLAN, new_run(3, key="k", input=None)) == other
    batch = Batch(session, runs=[new_run(4, key="k", owner=session), new_run(5, key="k", input=None, owner=session)])
    assert (await store.transact(batch)).submitted == [again, other]
    assert await claimed(store, session) == [1]
    await store.transact(Batch(session, ends=[end(1)]))
    assert await store.submit(PLAN, new_run(6, key="k")) == again
    assert [row.id for row in await store.runs(workflow=None, status=None, before=None, limit=9)] == [1]


@guarantee
async def a_key_is_one_workflows(store: Store) -> None:
    session = await session_of(store)
    runs = [new_run(1, key="k"), new_run(2, key="k", workflow="mail"), new_run(3, key="K"), new_run(4), new_run(5)]
    receipt = await store.transact(Batch(session, plans=[PLAN], runs=runs))
    assert receipt.submitted == [Submitted(run.id, created=True, agrees=True) for run in runs]


@guarantee
async def a_key_that_comes_twice_in_a_batch_is_one_run(store: Store) -> None:
    session = await session_of(store)
    runs = [new_run(1, key="k"), new_run(2, key="k"), new_run(3, key="k", input="null"), new_run(4)]
    receipt = await store.transact(Batch(session, runs=runs))
    answers = [(submitted.id, submitted.agrees) for submitted in receipt.submitted]
    assert answers == [(1, True), (1, True), (1, False), (4, True)]
    assert await store.run(2) is None


@guarantee
async def of_many_submits_with_one_key_one_wins(store: Store) -> None:
    answers = await asyncio.gather(*(store.submit(PLAN, new_run(id, key="k")) for id in range(1, 21)))
    assert sum(answer.created for answer in answers) == 1
    assert len({answer.id for answer in answers}) == 1
    assert all(answer.agrees for answer in answers)


@guarantee
async def a_run_that_is_submitted_again_is_the_same_run(store: Store) -> None:
    for run in (new_run(1), new_run(2, key="k"), new_run(3, input=None)):
        created = Submitted(run.id, created=True, agrees=True)
        assert await store.submit(PLAN, run) == created
        assert await store.submit(PLAN, run) == created
    session = await session_of(store)
    assert await claimed(store, session) == [1, 2, 3]
    assert await store.submit(PLAN, new_run(1)) == Submitted(1, created=True, agrees=True)
    assert await status_of(store, 1) == "running"


@guarantee
async def an_id_that_another_run_has_is_replaced(store: Store) -> None:
    await waiting(store, 1, 2)
    assert await store.submit(PLAN, new_run(1, input="null")) == Submitted(3, created=True, agrees=True)
    assert await store.submit(PLAN, new_run(1, key="k")) == Submitted(4, created=True, agrees=True)
    assert await store.submit(PLAN, new_run(2, key="k")) == Submitted(4, created=False, agrees=True)
    rows = await store.runs(workflow=None, status=None, before=None, limit=9)
    assert [(row.id, row.input, row.key) for row in rows[:2]] == [(4, "{}", "k"), (3, "null", None)]
    assert [(row.id, row.input, row.key) for row in rows[2:]] == [(2, "{}", None), (1, "{}", None)]
