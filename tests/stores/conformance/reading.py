"""What comes back is what was written."""

from __future__ import annotations

from cloaca.ports import Batch, PlanRow, Store, Submitted
from tests.stores.conformance.suite import guarantee, history_of
from tests.stores.rows import AT, end, failure, new_run, note, owned, session_of, status_of, task, waiting


@guarantee
async def what_is_unknown_is_none(store: Store) -> None:
    assert await store.history(1) is None
    assert await store.run(1) is None
    assert await store.plan("digest") is None
    assert await store.runs(workflow=None, status=None, before=None, limit=5) == []


@guarantee
async def a_listing_is_filtered_and_paged(store: Store) -> None:
    session = await session_of(store)
    await owned(store, session, *range(1, 7))
    await owned(store, session, *range(7, 11), workflow="mail")
    await store.transact(Batch(session, ends=[end(run, "failed" if run % 2 else "succeeded") for run in range(1, 10)]))

    async def ids(
        workflow: str | None = None, status: str | None = None, before: int | None = None, n: int = 99
    ) -> list[int]:
        return [row.id for row in await store.runs(workflow=workflow, status=status, before=before, limit=n)]

    assert await ids() == list(range(10, 0, -1))
    assert await ids(n=3) == [10, 9, 8]
    assert await ids(before=8, n=3) == [7, 6, 5]
    assert await ids("mail") == [10, 9, 8, 7]
    assert await ids("mail", before=9, n=1) == [8]
    assert await ids(status="failed") == [9, 7, 5, 3, 1]
    assert await ids(status="failed", before=7, n=2) == [5, 3]
    assert await ids("orders", "succeeded") == [6, 4, 2]
    assert await ids("orders", "succeeded", before=6, n=1) == [4]
    assert await ids("orders", "blocked") == []
    assert await ids(n=0) == []
    assert await ids(before=1) == []
    [row] = await store.runs(workflow=None, status=None, before=4, limit=1)
    assert row == await store.run(3)


ODD = (
    "", " ", "'", '"', "'; DROP TABLE cloaca_run; --", "\\", "%_?:x", "ä\u0301 \U0001f4a9 \u202e\u200b\ufeff",
    "\u2028\r\n\t\x01\x7f", "\ufffd\U0010ffff", "null", "x" * 2**20,
)  # fmt: skip

LONGEST_NAME = 512  # characters of what is looked up: PostgreSQL's indexes hold no more than 2,700 bytes


@guarantee
async def any_text_comes_back_as_it_was(store: Store) -> None:
    session = await session_of(store)
    for id, text in enumerate(ODD, 1):
        name = text[:LONGEST_NAME]
        plan = PlanRow(f"digest {name}", name, text, text)
        run = new_run(id, workflow=f"w{id} {name}", version=text, plan=name, input=text, key=name, owner=session)
        batch = Batch(session, plans=[plan], runs=[run], ends=[end(id, "failed", reason=text)])
        batch.tasks = [task(id, name, output=text)]
        batch.failures = [failure(id, name, exception_type=text, message=text, traceback=text, error=text)]
        batch.notes = [note(id, kind=text, task=text, detail=text)]
        await store.transact(batch)
        history = await history_of(store, id)
        assert (history.tasks, history.failures, history.notes) == (batch.tasks, batch.failures, batch.notes)
        row = history.run
        assert (row.workflow, row.version, row.plan, row.input, row.key) == (run.workflow, text, name, text, name)
        assert row.reason == text
        assert await store.plan(plan.digest) == plan
        assert await store.runs(workflow=run.workflow, status=None, before=None, limit=2) == [row]
        again = run._replace(id=id + 100, owner=None)
        assert await store.submit(plan, again) == Submitted(id, created=False, agrees=True)


@guarantee
async def any_number_comes_back_as_it_was(store: Store) -> None:
    session = await session_of(store)
    at = 1_767_225_600.123_456_7
    for id in (0, 2**63 - 1, 2**53 + 1):
        run = new_run(id, created_at=at, owner=session)
        done = task(id, attempt=2**31, started_at=-0.1, finished_at=at * 3)
        await store.transact(Batch(session, runs=[run], tasks=[done], ends=[end(id, at=at / 3)]))
        history = await history_of(store, id)
        assert history.tasks == [done]
        assert (history.run.id, history.run.created_at, history.run.finished_at) == (id, at, at / 3)
    rows = await store.runs(workflow=None, status=None, before=2**63 - 1, limit=5)
    assert [row.id for row in rows] == [2**53 + 1, 0]


@guarantee
async def many_runs_are_written_and_claimed_at_once(store: Store) -> None:
    session, other = await session_of(store), await session_of(store)
    runs = range(1, 3001)
    await owned(store, session, *runs)
    await store.transact(Batch(session, tasks=[task(run) for run in runs]))
    await store.close_session(session, at=AT)
    histories = await store.claim(other, ["orders"], 5000, AT, suspects=False)
    assert [history.run.id for history in histories] == list(runs)
    assert all(history.tasks == [task(history.run.id)] for history in histories)
    assert (await store.transact(Batch(other, ends=[end(run) for run in runs]))).disowned == frozenset()


@guarantee
async def a_store_that_was_left_can_be_opened_again(store: Store) -> None:
    await waiting(store, 1)
    await store.close()
    await store.close()
    await store.open()
    await store.open()
    assert await status_of(store, 1) == "pending"
