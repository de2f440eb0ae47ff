"""What users do to runs on PostgreSQL: pause, resume, retry, fork. Each is a transaction that holds the run's row.

It knows statements and rows, not connections.
"""

from __future__ import annotations

from collections.abc import Sequence

from cloaca.ports import NewRun, NoteRow, PlanRow, RunRow, TaskRow
from cloaca.stores.sql.postgres_batches import NOTES
from cloaca.stores.sql.postgres_links import Link, transaction
from cloaca.stores.sql.postgres_news import ABOUT
from cloaca.stores.sql.postgres_queries import RUN
from cloaca.stores.sql.postgres_queries import run as row_of
from cloaca.stores.sql.postgres_starts import INSERT_PLANS, TELL, WAKE, columns, insert_run, part
from cloaca.stores.sql.queries import FINAL
from cloaca.stores.sql.statements import columns as names

LOCK = f"{RUN} FOR UPDATE"
PAUSE = "UPDATE {schema}.cloaca_run SET status = 'paused', reason = NULL WHERE id = ?"
ASK_TO_PAUSE = "UPDATE {schema}.cloaca_run SET pausing = 'asked' WHERE id = ?"
RESUME = "UPDATE {schema}.cloaca_run SET status = 'pending' WHERE id = ?"
GO_ON = "UPDATE {schema}.cloaca_run SET pausing = NULL WHERE id = ?"
RETRY = (
    "UPDATE {schema}.cloaca_run SET status = 'pending', finished_at = NULL, reason = NULL, crashes = 0, "
    "refused = NULL, earlier = ? WHERE id = ? AND status = ? AND finished_at IS NOT DISTINCT FROM ?::float8 "
    "RETURNING id"
)
FORGET_TASKS = "DELETE FROM {schema}.cloaca_task WHERE run_id = ? AND name = ANY(?::text[])"
FORGET_WAITS = "DELETE FROM {schema}.cloaca_wait WHERE run_id = ? AND name = ANY(?::text[])"
COPIED = ", ".join(name for name in names(TaskRow)[1:] if name != "session")
COPY_TASKS = (
    f"INSERT INTO {{schema}}.cloaca_task (run_id, session, {COPIED}) SELECT ?, 0, {COPIED} FROM {{schema}}.cloaca_task "
    "WHERE run_id = ? AND name = ANY(?::text[]) ON CONFLICT DO NOTHING"
)
# Locked, so that a retry that takes one of them away comes before or after.
LOCK_TASKS = (
    "SELECT 1 FROM {schema}.cloaca_task WHERE run_id = ? AND name = ANY(?::text[]) AND status = 'succeeded' FOR SHARE"
)
NOTE = f"WITH s AS (SELECT 1), {NOTES} SELECT 1"


async def pause(link: Link, run: int, at: float) -> RunRow | None:
    """Pause a run that nobody drives, ask the driver of one that is driven; return its row, None if unknown."""
    async with transaction(link):
        row = await _locked(link, run)
        if row is None or row.status in (*FINAL, "paused") or row.pausing is not None:
            return row
        if row.owner is None:
            await link.ask(PAUSE, run)
            await note(link, NoteRow(run, at, "run_paused", None, ""))
            await link.ask(TELL, link.names.channel, f"{ABOUT} {run}")
        else:
            await link.ask(ASK_TO_PAUSE, run)
            await link.ask(WAKE, link.names.channel)
        return await row_of(link, run)


async def resume(link: Link, run: int, at: float) -> RunRow | None:
    """Make a paused run pending, or take back what its driver was asked; return its row, None if unknown."""
    async with transaction(link):
        row = await _locked(link, run)
        if row is None or (row.status != "paused" and row.pausing is None):
            return row
        if row.status == "paused":
            await link.ask(RESUME, run)
            await note(link, NoteRow(run, at, "run_resumed", None, ""))
        else:
            await link.ask(GO_ON, run)
        await link.ask(WAKE, link.names.channel)
        return await row_of(link, run)


async def retry(link: Link, seen: RunRow, at: float, *, anew: Sequence[str], earlier: str | None, detail: str) -> bool:
    """Make a run pending again unless it has changed, without the tasks that start anew; return whether it was."""
    async with transaction(link):
        if not await link.ask(RETRY, earlier, seen.id, seen.status, seen.finished_at):
            return False
        await link.ask(FORGET_TASKS, seen.id, list(anew))
        await link.ask(FORGET_WAITS, seen.id, list(anew))
        await note(link, NoteRow(seen.id, at, "run_retried", None, detail))
        await link.ask(WAKE, link.names.channel)
        return True


async def fork(link: Link, plan: PlanRow, run: NewRun, *, origin: int, tasks: Sequence[str], detail: str) -> int | None:
    """Insert a new run with copies of another's tasks; return its id, None if these tasks are not there."""
    async with transaction(link):
        if len(await link.ask(LOCK_TASKS, origin, list(tasks))) < len(tasks):
            return None
        await link.ask(part(INSERT_PLANS), *columns([plan]))
        made = (await insert_run(link, run)).id
        await link.ask(COPY_TASKS, made, origin, list(tasks))
        await note(link, NoteRow(made, run.created_at, "run_forked", None, detail))
        await link.ask(WAKE, link.names.channel)
        return made


async def _locked(link: Link, run: int) -> RunRow | None:
    return next(map(RunRow._make, await link.ask(LOCK, run)), None)


async def note(link: Link, row: NoteRow) -> None:
    """Insert a note in the transaction that is open."""
    await link.ask(NOTE, *columns([row]))
