"""Runs that some code can't go on with: who refuses them, who may try them next, and how they come to other code."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from cloaca.errors import LeaseLost
from cloaca.ports import Batch, MoveRow, Store
from tests.stores.conformance.suite import claimed, guarantee, history_of
from tests.stores.rows import AT, FAR, PLAN, end, failure, owned, session_of, status_of, task, waiting

OLD, NEW = {"orders": "v1"}, {"orders": "v2", "mail": "m1"}
OTHER = PLAN._replace(digest="other", version="v2")


async def serving(store: Store, serves: Mapping[str, str]) -> int:
    return await store.open_session("host:1", AT, FAR, serves=serves)


async def tried(store: Store, session: int, serves: Mapping[str, str], limit: int = 5) -> list[int]:
    return [history.run.id for history in await store.claim_refused(session, serves, limit, AT)]


@guarantee
async def a_run_that_all_code_refuses_is_blocked_and_says_why(store: Store) -> None:
    session, other = await serving(store, NEW), await serving(store, NEW)
    await owned(store, session, 1, 2)
    for run in (1, 2):
        await store.block(session, run, "task x is gone", "v2")
    await store.block(other, 1, "not mine", "v3")
    row = (await history_of(store, 1)).run
    assert (row.status, row.owner, row.reason, row.refused) == ("blocked", None, "task x is gone", "v2,")
    assert await claimed(store, other) == []
    assert await tried(store, other, NEW) == []
    assert not (await store.poll(other, ["orders"], AT, serves=NEW)).refused


@guarantee
async def other_code_tries_what_one_has_refused(store: Store) -> None:
    session = await serving(store, NEW)
    await owned(store, session, 1, 2)
    await owned(store, session, 3, workflow="mail")
    for run in (1, 2, 3):
        await store.block(session, run, "unfit", "m1" if run == 3 else "v2")
    older = await serving(store, OLD)
    assert not (await store.poll(older, ["orders"], AT)).refused
    assert (await store.poll(older, ["orders"], AT, serves=OLD)).refused
    assert await tried(store, older, {}) == []
    assert await tried(store, older, OLD, 1) == [1]
    [history] = await store.claim_refused(older, OLD, 5, AT + 1)
    assert history == await store.history(2)
    assert (history.run.status, history.run.owner, history.run.reason) == ("running", older, None)
    assert not (await store.poll(older, ["orders"], AT, serves=OLD)).refused
    assert await status_of(store, 3) == "blocked"
    await store.close_session(session, at=AT)
    with pytest.raises(LeaseLost):
        await store.claim_refused(session, NEW, 5, AT)


@guarantee
async def a_run_that_another_session_may_go_on_with_is_not_blocked(store: Store) -> None:
    newer, older = await serving(store, NEW), await serving(store, OLD)
    await owned(store, newer, 1)
    await store.block(newer, 1, "unfit", "v2")
    row = (await history_of(store, 1)).run
    assert (row.status, row.reason) == ("pending", None)
    assert await claimed(store, newer) == []
    assert await tried(store, newer, NEW) == []  # it is left to the other
    assert await tried(store, older, OLD) == [1]
    await store.close_session(older, at=AT)
    assert await status_of(store, 1) == "pending"
    assert (await store.poll(newer, ["orders"], AT, serves=NEW)).refused  # nobody else is left
    assert await tried(store, newer, NEW) == [1]
    await store.block(newer, 1, "unfit", "v2")
    assert await status_of(store, 1) == "blocked"


@guarantee
async def what_a_session_serves_may_change(store: Store) -> None:
    session, other = await serving(store, NEW), await session_of(store)
    await owned(store, session, 1, 2)
    await store.block(session, 1, "unfit", "v2")
    assert await status_of(store, 1) == "blocked"
    await store.serve(other, OLD)
    await store.block(session, 2, "unfit", "v2")
    assert await status_of(store, 2) == "pending"
    await store.serve(999, OLD)


@guarantee
async def a_version_is_asked_again_when_it_says_so(store: Store) -> None:
    session = await serving(store, NEW)
    await owned(store, session, 1, 2)
    await owned(store, session, 3, workflow="mail")
    for run in (1, 2, 3):
        await store.block(session, run, "unfit", "m1" if run == 3 else "v2")
    await owned(store, session, 4)
    await store.transact(Batch(session, ends=[end(4)]))
    assert await store.reconsider({}) == 0
    assert await store.reconsider({"orders": "v3"}) == 0
    assert await store.reconsider({"orders": "v2", "letters": "v2"}) == 2
    assert [await status_of(store, run) for run in (1, 2, 3)] == ["blocked"] * 3
    assert await tried(store, session, NEW) == [1, 2]


@guarantee
async def a_retry_forgets_who_has_refused_a_run(store: Store) -> None:
    session = await serving(store, NEW)
    await owned(store, session, 1)
    await store.block(session, 1, "unfit", "v2")
    seen = (await history_of(store, 1)).run
    assert await store.retry(seen, AT, anew=[], earlier=None, detail="")
    row = (await history_of(store, 1)).run
    assert (row.status, row.refused, row.reason) == ("pending", None, None)
    assert await claimed(store, session) == [1]


@guarantee
async def a_driven_run_moves_to_another_plan(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    await owned(store, session, 1, 2)
    await owned(store, other, 3)
    moved = [MoveRow(run, "other", "v2", epilogue=True) for run in (1, 2, 3)]
    receipt = await store.transact(Batch(session, plans=[OTHER], moved=moved, tasks=[task(1)], ends=[end(2)]))
    assert receipt.disowned == {3}
    rows = [(await history_of(store, run)).run for run in (1, 2, 3)]
    assert [(row.plan, row.version, row.epilogue) for row in rows] == [
        ("other", "v2", True),
        ("other", "v2", True),
        ("digest", "v1", False),
    ]
    assert [row.status for row in rows] == ["running", "succeeded", "running"]
    assert await store.plan("other") == OTHER


@guarantee
async def an_upgrade_moves_a_blocked_run(store: Store) -> None:
    session = await serving(store, NEW)
    await owned(store, session, 1)
    await store.transact(Batch(session, tasks=[task(1, "a"), task(1, "b")], failures=[failure(1, "a")]))
    seen = (await history_of(store, 1)).run
    how = {"anew": ["a"], "earlier": '{"a":1}', "epilogue": True, "detail": "again: a"}
    assert not await store.upgrade(seen, OTHER, AT, **how)  # type: ignore[arg-type]  # a dict of several types
    await store.block(session, 1, "unfit", "v2")
    assert not await store.upgrade(seen._replace(plan="older"), OTHER, AT, **how)  # type: ignore[arg-type]
    assert await store.plan("other") is None
    assert await store.upgrade(seen, OTHER, AT + 5, **how)  # type: ignore[arg-type]
    history = await history_of(store, 1)
    row = history.run
    assert (row.status, row.plan, row.version, row.epilogue) == ("pending", "other", "v2", True)
    assert (row.refused, row.reason, row.earlier, row.crashes) == (None, None, '{"a":1}', 0)
    assert [each.name for each in history.tasks] == ["b"]
    assert [each.name for each in history.failures] == ["a"]
    assert [(note.kind, note.at, note.detail) for note in history.notes] == [("run_upgraded", AT + 5, "again: a")]
    assert await store.plan("other") == OTHER
    assert not await store.upgrade(row, OTHER, AT, **how)  # type: ignore[arg-type]


@guarantee
async def the_code_that_ran_is_kept(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, 1)
    await waiting(store, 2)
    rows = Batch(session, tasks=[task(1, code="c0de")], failures=[failure(1, "b", code="beef")])
    await store.transact(rows)
    history = await history_of(store, 1)
    assert ([row.code for row in history.tasks], [row.code for row in history.failures]) == (["c0de"], ["beef"])
