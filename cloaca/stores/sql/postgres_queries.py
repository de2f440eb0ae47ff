"""What is read from PostgreSQL: whole histories, plans, listings.

Names are put in order by their code points, as on SQLite and in Python. It knows statements and rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from cloaca.ports import (
    Arrivals,
    AttemptRow,
    FailureRow,
    History,
    NoteRow,
    PlanRow,
    RunRow,
    SignalRow,
    TaskRow,
    WaitRow,
)
from cloaca.stores.sql.arrivals import gathered
from cloaca.stores.sql.postgres_links import Link, transaction
from cloaca.stores.sql.queries import by_parent
from cloaca.stores.sql.statements import columns

T = TypeVar("T", TaskRow, FailureRow, AttemptRow, NoteRow, WaitRow, SignalRow)

RUN_COLUMNS = ", ".join(columns(RunRow))
RUN = f"SELECT {RUN_COLUMNS} FROM {{schema}}.cloaca_run WHERE id = ?"
PLAN = f"SELECT {', '.join(columns(PlanRow))} FROM {{schema}}.cloaca_plan WHERE digest = ?"


def _of_runs(table: str, row: type[T], order: str) -> str:
    """The rows of runs, looked up run by run, which OFFSET 0 sees to.

    As long as nobody has counted a new table, PostgreSQL would rather look through all of it for some hundred runs.
    """
    return (
        f"SELECT {', '.join(columns(row))} FROM unnest(?::int8[]) AS wanted(run), "
        f"LATERAL (SELECT * FROM {{schema}}.{table} WHERE run_id = wanted.run OFFSET 0) AS found ORDER BY {order}"
    )


TASKS = _of_runs("cloaca_task", TaskRow, 'finished_at, name COLLATE "C"')
FAILURES = _of_runs("cloaca_failure", FailureRow, "found.id")
ATTEMPTS = _of_runs("cloaca_attempt", AttemptRow, 'name COLLATE "C"')
NOTES = _of_runs("cloaca_note", NoteRow, "found.id")
WAITS = _of_runs("cloaca_wait", WaitRow, 'began_at, name COLLATE "C"')
SIGNALS = _of_runs("cloaca_signal", SignalRow, "found.id")
CHILDREN = (
    f"SELECT {RUN_COLUMNS} FROM unnest(?::int8[]) AS wanted(run), "
    "LATERAL (SELECT * FROM {schema}.cloaca_run WHERE parent = wanted.run OFFSET 0) AS found ORDER BY found.id"
)
# The row is locked, so that whatever comes after this is heard of the next time.
HEAR = "UPDATE {schema}.cloaca_run SET roused = false WHERE id = ANY(?::int8[]) AND owner = ? RETURNING id"


async def histories(link: Link, runs: Sequence[RunRow]) -> list[History]:
    """Return all that is stored about ``runs``: seven statements, however many runs."""
    wanted = [run.id for run in runs]
    tasks = _grouped(map(TaskRow._make, await link.ask(TASKS, wanted)))
    failures = _grouped(map(FailureRow._make, await link.ask(FAILURES, wanted)))
    attempts = _grouped(map(AttemptRow._make, await link.ask(ATTEMPTS, wanted)))
    notes = _grouped(map(NoteRow._make, await link.ask(NOTES, wanted)))
    waits = _grouped(map(WaitRow._make, await link.ask(WAITS, wanted)))
    signals = _grouped(map(SignalRow._make, await link.ask(SIGNALS, wanted)))
    children = by_parent(map(RunRow._make, await link.ask(CHILDREN, wanted)))
    groups: tuple[dict[int, Any], ...] = (tasks, failures, attempts, notes, waits, signals, children)
    return [History(run, *(rows.get(run.id, []) for rows in groups)) for run in runs]


async def hear(link: Link, session: int, runs: Sequence[int]) -> list[Arrivals]:
    """Return what has come for those of ``runs`` that a session owns."""
    async with transaction(link):
        owned = sorted(row[0] for row in await link.ask(HEAR, list(runs), session))
        signals = [SignalRow._make(row) for row in await link.ask(SIGNALS, owned)]
        return gathered(owned, signals, map(RunRow._make, await link.ask(CHILDREN, owned)))


async def history(link: Link, id: int) -> History | None:
    """Return all that is stored about a run, as it was at one moment."""
    async with transaction(link, "ISOLATION LEVEL REPEATABLE READ READ ONLY"):
        row = await run(link, id)
        return None if row is None else (await histories(link, [row]))[0]


async def run(link: Link, id: int) -> RunRow | None:
    """Return a run's row."""
    return next(map(RunRow._make, await link.ask(RUN, id)), None)


async def plan(link: Link, digest: str) -> PlanRow | None:
    """Return a stored plan."""
    return next(map(PlanRow._make, await link.ask(PLAN, digest)), None)


async def listed(
    link: Link, *, workflow: str | None, status: str | None, before: int | None, limit: int
) -> list[RunRow]:
    """Return runs, newest first."""
    filters = {"workflow = ?": workflow, "status = ?": status, "id < ?": before}
    given = {condition: value for condition, value in filters.items() if value is not None}
    where = f"WHERE {' AND '.join(given)} " if given else ""
    statement = f"SELECT {RUN_COLUMNS} FROM {{schema}}.cloaca_run {where}ORDER BY id DESC LIMIT ?"
    return [RunRow._make(row) for row in await link.ask(statement, *given.values(), max(0, limit))]


def _grouped(rows: Iterable[T]) -> dict[int, list[T]]:
    grouped: dict[int, list[T]] = {}
    for row in rows:
        grouped.setdefault(row.run, []).append(row)
    return grouped
