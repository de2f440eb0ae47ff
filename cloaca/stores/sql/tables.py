"""The tables of a database, as SQLModel classes; all names begin with ``cloaca_``.

They have a registry of their own, so that they never mix with the tables of the program that embeds cloaca. What the
columns mean stands with the rows in ``ports``. What changes here is a revision, too: see ``revisions``.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, Text, TextClause, UniqueConstraint, text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from cloaca.ports import SUSPECT_CRASHES

# Who claims looks at one of these two queues. A partial index serves only queries that say the same in literals.
QUEUED = f"status = 'pending' AND refused IS NULL AND crashes < {SUSPECT_CRASHES}"
PARKED = "status = 'running' AND owner IS NULL AND wake_at IS NOT NULL"
SUSPECT = f"status = 'pending' AND refused IS NULL AND crashes >= {SUSPECT_CRASHES}"
REFUSED = "refused IS NOT NULL AND status IN ('pending', 'blocked')"
ACTIVE = "schedule IS NOT NULL AND finished_at IS NULL"

FIRST = text("priority DESC")  # of several rows in one queue


class Table(SQLModel, registry=registry()):
    """The root of cloaca's own tables."""


def _whole(**options: Any) -> Column[int]:
    """A column of whole numbers of 64 bits; SQLite's are that wide anyway, and count by themselves if so named."""
    return Column(BigInteger().with_variant(Integer, "sqlite"), **{"nullable": False, **options})


def _by_code_point(**options: Any) -> Column[str]:
    """A column of names in the order of their code points, as SQLite's are anyway."""
    return Column(Text().with_variant(Text(collation="C"), "postgresql"), **{"nullable": False, **options})


def _partial(name: str, *columns: str | TextClause, where: str, **options: Any) -> Index:
    """An index of the rows of which ``where`` is true."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where), **options)


class Meta(Table, table=True):
    """One row: of which revision the code must be at least to work with these tables. ``standing`` says more."""

    __tablename__ = "cloaca_meta"

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    schema_version: int
    created_at: float


class Session(Table, table=True):
    """A worker that is alive: its lease, and the fence of what it writes.

    ``lock_file`` is the identity of the file in which it shows its life, NULL if it can't. ``serves`` is a JSON object:
    which version it has of each workflow. ``revision`` is the newest revision of the tables that its code knows.
    """

    __tablename__ = "cloaca_session"
    # Without AUTOINCREMENT, SQLite gives the largest id again once its row is deleted: a dead worker would pass the
    # fence of its successor.
    __table_args__ = {"sqlite_autoincrement": True}

    id: int | None = Field(default=None, sa_column=_whole(primary_key=True))
    name: str
    started_at: float
    expires_at: float
    lock_file: int | None = Field(default=None, sa_column=Column(BigInteger))
    serves: str = Field(default="{}", sa_column=Column(Text, nullable=False, server_default="{}"))
    revision: str | None = None


class Plan(Table, table=True):
    """The structure of a workflow, stored once for all its runs."""

    __tablename__ = "cloaca_plan"

    digest: str = Field(primary_key=True)
    workflow: str
    version: str
    spec: str = Field(sa_column=Column(Text, nullable=False))


class Run(Table, table=True):
    """A run."""

    __tablename__ = "cloaca_run"
    __table_args__ = (
        _partial("cloaca_run_queue", "workflow", FIRST, "id", where=QUEUED),
        _partial("cloaca_run_suspects", "workflow", FIRST, "id", where=SUSPECT),
        _partial("cloaca_run_refused", "workflow", "id", where=REFUSED),
        _partial("cloaca_run_owned", "owner", where="status = 'running'"),
        _partial("cloaca_run_cancelling", "owner", where="cancel_requested"),
        _partial("cloaca_run_pausing", "owner", where="pausing IS NOT NULL"),
        Index("cloaca_run_by_workflow", "workflow", "id"),
        Index("cloaca_run_by_status", "status", "id"),
        Index("cloaca_run_by_both", "workflow", "status", "id"),
        Index("cloaca_run_by_plan", "plan"),
        _partial("cloaca_run_ended", "finished_at", "id", where="finished_at IS NOT NULL AND parent IS NULL"),
        _partial("cloaca_run_roused", "owner", where="roused"),
        _partial("cloaca_run_parked", "wake_at", "id", where=PARKED),
        _partial("cloaca_run_children", "parent", "id", where="parent IS NOT NULL"),
        _partial("cloaca_run_key", "workflow", "key", where="key IS NOT NULL", unique=True),
        _partial("cloaca_run_scheduled", "schedule", where=ACTIVE),
    )

    id: int = Field(sa_column=_whole(primary_key=True, autoincrement=False))
    workflow: str
    version: str
    plan: str
    status: str
    input: str | None = Field(default=None, sa_column=Column(Text))
    key: str | None = None
    owner: int | None = Field(default=None, sa_column=Column(BigInteger))
    crashes: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    reason: str | None = None
    cancel_requested: bool = Field(default=False, sa_column_kwargs={"server_default": "0"})
    pausing: str | None = None
    earlier: str | None = Field(default=None, sa_column=Column(Text))
    priority: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    parent: int | None = Field(default=None, sa_column=Column(BigInteger))
    parent_task: str | None = None
    roused: bool = Field(default=False, sa_column_kwargs={"server_default": "0"})
    wake_at: float | None = None
    epilogue: bool = Field(default=False, sa_column_kwargs={"server_default": "0"})
    closing: str | None = Field(default=None, sa_column=Column(Text))
    schedule: str | None = None
    scheduled_for: float | None = None
    traceparent: str | None = None
    refused: str | None = None


class Task(Table, table=True):
    """A task that is done. An ordinary table with a unique key: WITHOUT ROWID would write four times the log."""

    __tablename__ = "cloaca_task"

    run_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    name: str = Field(primary_key=True)
    status: str
    attempt: int = Field(sa_column=_whole())
    session: int = Field(sa_column=_whole())
    started_at: float
    finished_at: float
    output: str | None = Field(default=None, sa_column=Column(Text))
    code: str | None = None


class Failure(Table, table=True):
    """An attempt that failed."""

    __tablename__ = "cloaca_failure"
    __table_args__ = (UniqueConstraint("run_id", "name", "attempt"),)

    id: int | None = Field(default=None, sa_column=_whole(primary_key=True))
    run_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    name: str
    attempt: int = Field(sa_column=_whole())
    session: int = Field(sa_column=_whole())
    started_at: float
    at: float
    exception_type: str
    message: str = Field(sa_column=Column(Text, nullable=False))
    traceback: str = Field(sa_column=Column(Text, nullable=False))
    error: str | None = Field(default=None, sa_column=Column(Text))
    retry_at: float | None = None
    code: str | None = None


class Attempt(Table, table=True):
    """An attempt that has run for more than a second."""

    __tablename__ = "cloaca_attempt"
    __table_args__ = (Index("cloaca_attempt_session", "session"),)

    run_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    name: str = Field(primary_key=True)
    attempt: int = Field(sa_column=_whole())
    session: int = Field(sa_column=_whole())
    started_at: float
    beat_at: float | None = None
    code: str | None = None


class Wait(Table, table=True):
    """A node that waits: since when, and until when at the latest."""

    __tablename__ = "cloaca_wait"

    run_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    name: str = Field(primary_key=True)
    began_at: float
    until: float | None = None


class Signal(Table, table=True):
    """A signal, kept until a node takes it; and who has."""

    __tablename__ = "cloaca_signal"
    __table_args__ = (Index("cloaca_signal_run", "run_id"),)

    id: int | None = Field(default=None, sa_column=_whole(primary_key=True))
    run_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    name: str
    payload: str = Field(sa_column=Column(Text, nullable=False))
    sent_at: float
    taken_by: str | None = None


class Cache(Table, table=True):
    """A result that other runs may reuse; ``origin`` is the run that it comes from, which may be gone."""

    __tablename__ = "cloaca_cache"
    __table_args__ = (Index("cloaca_cache_by_age", "created_at"),)

    key: str = Field(primary_key=True)
    output: str = Field(sa_column=Column(Text, nullable=False))
    origin: int = Field(sa_column=_whole())
    task: str
    created_at: float


class Note(Table, table=True):
    """Something rare that happened to a run and that no other row says."""

    __tablename__ = "cloaca_note"
    __table_args__ = (Index("cloaca_note_run", "run_id"),)

    id: int | None = Field(default=None, sa_column=_whole(primary_key=True))
    run_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    at: float
    kind: str
    task: str | None = None
    detail: str


class Queue(Table, table=True):
    """The limits of a queue, as they were last declared. ``started`` is the number of its latest start, for the rate.

    Whoever gives out slots on PostgreSQL holds this row.
    """

    __tablename__ = "cloaca_queue"

    name: str = Field(primary_key=True)
    concurrency: int | None = None
    starts: int | None = None
    window_s: float | None = None
    started: int = Field(default=0, sa_column=_whole(server_default="0"))


class Slot(Table, table=True):
    """A slot that a session holds in a queue, or waits for. It goes with the session; a run that is pruned leaves it.

    ``run`` is not called as in other tables, because a body that can't be stopped may hold its slot after its run.
    """

    __tablename__ = "cloaca_slot"
    __table_args__ = (
        _partial("cloaca_slot_waiting", "queue", FIRST, "run", "session", "ticket", where="NOT held"),
        _partial("cloaca_slot_held", "queue", where="held"),
    )

    session: int = Field(sa_column=_whole(primary_key=True, autoincrement=False))
    ticket: int = Field(sa_column=_whole(primary_key=True, autoincrement=False))
    queue: str
    priority: int
    run: int = Field(sa_column=_whole())
    task: str
    held: bool


class Start(Table, table=True):
    """An attempt that has started in a queue with a rate. Gone once it no longer counts."""

    __tablename__ = "cloaca_start"

    queue: str = Field(primary_key=True)
    at: float = Field(primary_key=True)
    number: int = Field(sa_column=_whole(primary_key=True, autoincrement=False))


class Schedule(Table, table=True):
    """A schedule."""

    __tablename__ = "cloaca_schedule"
    __table_args__ = (_partial("cloaca_schedule_due", "workflow", "due_at", where="due_at IS NOT NULL"),)

    name: str = Field(sa_column=_by_code_point(primary_key=True))
    workflow: str
    input: str | None = Field(default=None, sa_column=Column(Text))
    cron: str | None = None
    timezone: str
    every_s: float | None = None
    at: float | None = None
    start_at: float | None = None
    end_at: float | None = None
    catchup: str
    overlap: str
    jitter_s: float
    paused: bool
    next_at: float | None = None
    due_at: float | None = None
    last_at: float | None = None
    missed: int = Field(default=0, sa_column=_whole(server_default="0"))
    revision: int = Field(default=0, sa_column=_whole(server_default="0"))
    created_at: float
    updated_at: float


class Firing(Table, table=True):
    """A firing of a schedule. It goes with its run, or with its schedule."""

    __tablename__ = "cloaca_firing"
    __table_args__ = (
        _partial("cloaca_firing_open", "schedule", "scheduled_for", where="state = 'claimed'"),
        _partial("cloaca_firing_run", "run_id", where="run_id IS NOT NULL"),
        _partial("cloaca_firing_skipped", "handed_at", where="state = 'skipped'"),
    )

    schedule: str = Field(sa_column=_by_code_point(primary_key=True))
    scheduled_for: float = Field(primary_key=True)
    workflow: str
    state: str
    kind: str
    run_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    owner: int | None = Field(default=None, sa_column=Column(BigInteger))
    attempts: int
    overlap: str
    at_most: int | None = None
    parked: bool
    claimed_at: float
    handed_at: float | None = None
