"""Rows for tests: valid ones, of which a test says only what it is about."""

from __future__ import annotations

from typing import Any

from cloaca.ports import (
    AttemptRow,
    Batch,
    EndRow,
    FailureRow,
    Move,
    NewRun,
    NoteRow,
    PlanRow,
    ScheduleRow,
    SlotRow,
    Store,
    TaskRow,
)

AT = 1_000.0
FAR = 10_000.0  # when leases run out, unless a test says otherwise

PLAN = PlanRow("digest", "orders", "v1", '{"nodes":[]}')


def new_run(id: int, **changes: Any) -> NewRun:
    """A run of ``orders`` that waits for a worker."""
    return NewRun(id, "orders", "v1", "digest", "{}", None, None, AT)._replace(**changes)


def task(run: int, name: str = "charge", **changes: Any) -> TaskRow:
    """A task that has succeeded."""
    return TaskRow(run, name, "succeeded", 1, 1, AT, AT + 1, '{"paid":1}')._replace(**changes)


def failure(run: int, name: str = "charge", attempt: int = 1, **changes: Any) -> FailureRow:
    """An attempt that has failed, and will be followed by another."""
    row = FailureRow(run, name, attempt, 1, AT, AT + 1, "ValueError", "no", "Traceback", None, AT + 2)
    return row._replace(**changes)


def attempt(run: int, name: str = "charge", *, session: int, **changes: Any) -> AttemptRow:
    """An attempt that is shown."""
    return AttemptRow(run, name, 1, session, AT, None)._replace(**changes)


def note(run: int, **changes: Any) -> NoteRow:
    """A note."""
    return NoteRow(run, AT, "code_changed", None, "goes on")._replace(**changes)


def end(run: int, status: str = "succeeded", **changes: Any) -> EndRow:
    """The end of a run."""
    return EndRow(run, status, AT + 9, None)._replace(**changes)


def slot(ticket: int, **changes: Any) -> SlotRow:
    """A slot in the queue ``mail``."""
    return SlotRow(ticket, "mail", 0, 1, "charge")._replace(**changes)


def schedule(**changes: Any) -> ScheduleRow:
    """The schedule ``daily``, which is due."""
    row = ScheduleRow(
        "daily", "orders", '{"n":1}', "0 9 * * *", "UTC", None, None, None, None, "latest", "allow", 0.0, False,
        900.0, 901.0, None, 0, 0, AT, AT,
    )  # fmt: skip
    return row._replace(**changes)


def move(seen: int, *fired: float, **changes: Any) -> Move:
    """What ``daily`` does when it is due."""
    return Move("daily", "orders", seen, fired, "allow", 0, max(fired, default=900.0), 2000.0, 2001.0)._replace(
        **changes
    )


def firing_run(id: int, scheduled_for: float, **changes: Any) -> NewRun:
    """The run of a firing of ``daily``."""
    of = {"key": f"daily {scheduled_for}", "schedule": "daily", "scheduled_for": scheduled_for}
    return new_run(id, **of, **changes)


async def session_of(store: Store, until: float = FAR) -> int:
    """Register a worker."""
    return await store.open_session("host:1", AT, until)


async def owned(store: Store, session: int, *runs: int, **changes: Any) -> None:
    """Store new runs that ``session`` drives."""
    batch = Batch(session, plans=[PLAN], runs=[new_run(run, owner=session, **changes) for run in runs])
    receipt = await store.transact(batch)
    assert all(submitted.created for submitted in receipt.submitted)


async def waiting(store: Store, *runs: int, **changes: Any) -> None:
    """Store new runs that nobody drives yet."""
    for run in runs:
        assert (await store.submit(PLAN, new_run(run, **changes))).created


async def status_of(store: Store, run: int) -> str | None:
    """Return a run's status."""
    row = await store.run(run)
    return row.status if row else None


async def crash(store: Store, *runs: int, times: int = 1) -> None:
    """Let the workers of waiting runs die."""
    for _ in range(times):
        session = await store.open_session("host:2", AT, AT)
        claimed = await store.claim(session, ["orders"], len(runs), AT, suspects=False)
        assert [history.run.id for history in claimed] == list(runs)
        assert await store.reap(AT + 1) == len(runs)
