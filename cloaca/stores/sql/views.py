"""Views for people and dashboards: the same names and columns on both databases, with readable times and statuses.

They only read. ``statements`` drops them and makes them anew, so that a change of the tables runs it before it ends;
``dropping`` comes first where a table changes that PostgreSQL would not let change under a view. What is encrypted they
leave out, and ``encrypted`` says so. It knows the tables' columns and both dialects, and no connections.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cloaca.ports import SEALED


@dataclass(frozen=True, slots=True)
class View:
    """A view: what a row is, what each column means, in order, and its query with ``{...}`` for what differs."""

    name: str
    row: str
    columns: dict[str, str]
    query: str


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs: a prefix of tables, a time, and the control character with which keys of child runs begin."""

    prefix: str
    time: str
    unit: str

    def moment(self, column: str) -> str:
        """A time for people; NULL for none."""
        return self.time.format(column)

    def open(self, column: str) -> str:
        """A payload, unless it is encrypted."""
        return f"CASE WHEN {self.sealed(column)} THEN NULL ELSE {column} END"

    def sealed(self, column: str) -> str:
        """Whether a payload is encrypted; false for none."""
        return f"coalesce(substr({column}, 1, {len(SEALED)}) = '{SEALED}', {self.false})"

    @property
    def false(self) -> str:
        """What is not."""
        return "false" if self.prefix else "0"


SQLITE: Final = Dialect("", "strftime('%Y-%m-%dT%H:%M:%fZ', {}, 'unixepoch')", "char(31)")


def postgres(schema: str) -> Dialect:
    """Return PostgreSQL's dialect for the tables of a schema, given as it is, without quotes."""
    quoted = '"' + schema.replace('"', '""') + '"'
    return Dialect(f"{quoted}.", "to_timestamp({})", "chr(31)")


def _views(d: Dialect) -> Iterator[View]:
    p, t = d.prefix, d.moment
    yield View(
        "cloaca_runs",
        "a run",
        {
            "id": "its id, as `handle.id`",
            "workflow": "the name of its workflow",
            "version": "the version of the code that started it",
            "status": "`pending`, `running`, `paused`, `blocked`, `succeeded`, `failed` or `cancelled`",
            "key": "its idempotency key, if the user gave one",
            "priority": "runs of a higher one come first",
            "created_at": "when it was started",
            "started_at": "when a worker first took it",
            "finished_at": "when it ended",
            "duration_s": "seconds from its start to its end",
            "worker": "the worker that drives it",
            "crashes": "how many workers have died driving it",
            "reason": "why it failed or is blocked, where no task says so",
            "parent_id": "the run that started it as a `subflow`",
            "parent_task": "the node of that run",
            "schedule": "the schedule that started it",
            "scheduled_for": "the nominal time of that firing",
            "input": "its input as JSON",
            "encrypted": "whether its input is encrypted",
        },
        f"SELECT id, workflow, version, status, CASE WHEN substr(key, 1, 1) = {d.unit} THEN NULL ELSE key END, "
        f"priority, {t('created_at')}, {t('started_at')}, {t('finished_at')}, finished_at - created_at, owner, "
        f"crashes, reason, parent, parent_task, schedule, {t('scheduled_for')}, {d.open('input')}, {d.sealed('input')} "
        f"FROM {p}cloaca_run",
    )
    yield View(
        "cloaca_tasks",
        "a task that is done, that runs for more than a second, or that waits",
        {
            "run_id": "its run",
            "workflow": "the name of the run's workflow",
            "task": "its name in the graph",
            "status": "`succeeded`, `failed`, `running` or `waiting`",
            "attempt": "the number of the attempt, from 1",
            "worker": "the worker that committed it, or has it",
            "started_at": "when the attempt, or the wait, began",
            "finished_at": "when it was done",
            "duration_s": "seconds of the last attempt",
            "output": "what it wrote, as JSON",
            "encrypted": "whether that is encrypted",
        },
        f"SELECT t.run_id, r.workflow, t.name, t.status, t.attempt, t.session, {t('t.started_at')}, "
        f"{t('t.finished_at')}, t.finished_at - t.started_at, {d.open('t.output')}, {d.sealed('t.output')} "
        f"FROM {p}cloaca_task AS t JOIN {p}cloaca_run AS r ON r.id = t.run_id "
        f"UNION ALL SELECT a.run_id, r.workflow, a.name, 'running', a.attempt, a.session, {t('a.started_at')}, NULL, "
        f"NULL, NULL, {d.false} FROM {p}cloaca_attempt AS a JOIN {p}cloaca_run AS r ON r.id = a.run_id "
        f"UNION ALL SELECT w.run_id, r.workflow, w.name, 'waiting', 1, r.owner, {t('w.began_at')}, NULL, NULL, NULL, "
        f"{d.false} FROM {p}cloaca_wait AS w JOIN {p}cloaca_run AS r ON r.id = w.run_id "
        f"WHERE r.finished_at IS NULL AND NOT EXISTS (SELECT 1 FROM {p}cloaca_task AS t "
        f"WHERE t.run_id = w.run_id AND t.name = w.name)",
    )
    yield View(
        "cloaca_failures",
        "an attempt that failed",
        {
            "run_id": "its run",
            "workflow": "the name of the run's workflow",
            "task": "the task's name in the graph",
            "attempt": "the number of the attempt, from 1",
            "worker": "the worker that made it",
            "started_at": "when it began",
            "failed_at": "when it failed",
            "exception_type": "the class of the exception; `Failure` for a typed error",
            "message": "its message",
            "traceback": "its traceback",
            "error": "the typed error, as JSON",
            "retry_at": "when the next attempt may start; none if it was the last",
            "encrypted": "whether message, traceback and error are encrypted",
        },
        f"SELECT f.run_id, r.workflow, f.name, f.attempt, f.session, {t('f.started_at')}, {t('f.at')}, "
        f"f.exception_type, {d.open('f.message')}, {d.open('f.traceback')}, {d.open('f.error')}, {t('f.retry_at')}, "
        f"{d.sealed('f.message')} FROM {p}cloaca_failure AS f JOIN {p}cloaca_run AS r ON r.id = f.run_id",
    )
    yield View(
        "cloaca_backlog",
        "a workflow with runs that wait for a worker",
        {
            "workflow": "its name",
            "pending": "how many wait",
            "oldest_at": "when the one was started that has waited longest",
        },
        f"SELECT workflow, count(*), {t('min(created_at)')} FROM {p}cloaca_run WHERE status = 'pending' "
        "GROUP BY workflow",
    )
    yield View(
        "cloaca_queues",
        "a queue that was declared",
        {
            "name": "its name",
            "concurrency": "the most attempts at a time",
            "starts": "the most starts in any window",
            "window_s": "the window's length",
            "held": "how many attempts hold a slot now",
            "waiting": "how many wait for one",
        },
        "SELECT q.name, q.concurrency, q.starts, q.window_s, "
        f"(SELECT count(*) FROM {p}cloaca_slot AS s WHERE s.queue = q.name AND s.held), "
        f"(SELECT count(*) FROM {p}cloaca_slot AS s WHERE s.queue = q.name AND NOT s.held) FROM {p}cloaca_queue AS q",
    )
    yield View(
        "cloaca_schedules",
        "a schedule",
        {
            "name": "its name",
            "workflow": "the workflow that it starts",
            "status": "`active`, `paused`, or `over` if there is no firing to come",
            "cron": "its cron expression",
            "timezone": "in which time zone that is meant",
            "every_s": "its period",
            "once_at": "its one time",
            "next_at": "the nominal time of the next firing",
            "due_at": "when that fires, with jitter",
            "last_at": "the last nominal time that was fired or passed over",
            "missed": "how many firings were passed over",
            "claimed": "how many firings wait to be handed over",
            "input": "the input of its runs, as JSON",
            "encrypted": "whether that is encrypted",
        },
        "SELECT s.name, s.workflow, CASE WHEN s.paused THEN 'paused' WHEN s.next_at IS NULL THEN 'over' ELSE 'active' "
        f"END, s.cron, s.timezone, s.every_s, {t('s.at')}, {t('s.next_at')}, {t('s.due_at')}, {t('s.last_at')}, "
        f"s.missed, (SELECT count(*) FROM {p}cloaca_firing AS f WHERE f.schedule = s.name AND f.state = 'claimed'), "
        f"{d.open('s.input')}, {d.sealed('s.input')} FROM {p}cloaca_schedule AS s",
    )
    yield View(
        "cloaca_firings",
        "a firing of a schedule",
        {
            "schedule": "the schedule's name",
            "scheduled_for": "the nominal time",
            "workflow": "the workflow that it starts",
            "state": "`claimed`, `handed_over` or `skipped`",
            "kind": "`schedule`, `backfill` or `now`",
            "run_id": "the run that it has started",
            "claimed_at": "when it was recorded",
            "handed_at": "when its run was started, or it was skipped",
            "late_s": "seconds from the nominal time to that",
        },
        f"SELECT schedule, {t('scheduled_for')}, workflow, state, kind, run_id, {t('claimed_at')}, {t('handed_at')}, "
        f"handed_at - scheduled_for FROM {p}cloaca_firing",
    )
    yield View(
        "cloaca_workers",
        "a worker that is alive, or was until lately",
        {
            "id": "its session, as the other views' `worker`",
            "name": "host and process",
            "started_at": "since when",
            "lease_until": "when its lease runs out, unless it is renewed",
            "runs": "how many runs it drives",
        },
        f"SELECT s.id, s.name, {t('s.started_at')}, {t('s.expires_at')}, "
        f"(SELECT count(*) FROM {p}cloaca_run AS r WHERE r.owner = s.id AND r.status = 'running') "
        f"FROM {p}cloaca_session AS s",
    )


VIEWS: Final = tuple(_views(SQLITE))  # what they are called and mean, which is the same everywhere


def dropping(dialect: Dialect) -> list[str]:
    """Return the statements that drop the views, those that are there."""
    return [f"DROP VIEW IF EXISTS {dialect.prefix}{view.name}" for view in VIEWS]


def statements(dialect: Dialect) -> list[str]:
    """Return the statements that make the views anew, to be run in one transaction."""
    made = [
        f"CREATE VIEW {dialect.prefix}{view.name} ({', '.join(view.columns)}) AS {view.query}"
        for view in _views(dialect)
    ]
    return dropping(dialect) + made
