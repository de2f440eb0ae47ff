"""The tables of the first release. Until then ``python -m tests.migrations.first`` writes this file anew."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations, schema: str | None) -> None:
    """Make them, and the one row of the meta table: the oldest revision of which the code may work here."""
    op.create_table(
        "cloaca_attempt",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("attempt", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("session", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("beat_at", sa.Float(), nullable=True),
        sa.Column("code", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "name"),
        schema=schema,
    )
    op.create_index("cloaca_attempt_session", "cloaca_attempt", ["session"], unique=False, schema=schema)
    op.create_table(
        "cloaca_cache",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.Column("origin", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        schema=schema,
    )
    op.create_index("cloaca_cache_by_age", "cloaca_cache", ["created_at"], unique=False, schema=schema)
    op.create_table(
        "cloaca_failure",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("attempt", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("session", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("exception_type", sa.String(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("traceback", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("retry_at", sa.Float(), nullable=True),
        sa.Column("code", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("run_id", "name", "attempt"),
        schema=schema,
    )
    op.create_table(
        "cloaca_firing",
        sa.Column("schedule", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("scheduled_for", sa.Float(), nullable=False),
        sa.Column("workflow", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("owner", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("overlap", sa.String(), nullable=False),
        sa.Column("at_most", sa.Integer(), nullable=True),
        sa.Column("parked", sa.Boolean(), nullable=False),
        sa.Column("claimed_at", sa.Float(), nullable=False),
        sa.Column("handed_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("schedule", "scheduled_for"),
        schema=schema,
    )
    op.create_index(
        "cloaca_firing_open",
        "cloaca_firing",
        ["schedule", "scheduled_for"],
        unique=False,
        schema=schema,
        sqlite_where=sa.text("state = 'claimed'"),
        postgresql_where=sa.text("state = 'claimed'"),
    )
    op.create_index(
        "cloaca_firing_run",
        "cloaca_firing",
        ["run_id"],
        unique=False,
        schema=schema,
        sqlite_where=sa.text("run_id IS NOT NULL"),
        postgresql_where=sa.text("run_id IS NOT NULL"),
    )
    op.create_index(
        "cloaca_firing_skipped",
        "cloaca_firing",
        ["handed_at"],
        unique=False,
        schema=schema,
        sqlite_where=sa.text("state = 'skipped'"),
        postgresql_where=sa.text("state = 'skipped'"),
    )
    op.create_table(
        "cloaca_meta",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("schema_version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema=schema,
    )
    op.create_table(
        "cloaca_note",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema=schema,
    )
    op.create_index("cloaca_note_run", "cloaca_note", ["run_id"], unique=False, schema=schema)
    op.create_table(
        "cloaca_plan",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("workflow", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        schema=schema,
    )
    op.create_table(
        "cloaca_queue",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=True),
        sa.Column("starts", sa.Integer(), nullable=True),
        sa.Column("window_s", sa.Float(), nullable=True),
        sa.Column("started", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name"),
        schema=schema,
    )
    op.create_table(
        "cloaca_run",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("workflow", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("plan", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("input", sa.Text(), nullable=True),
        sa.Column("key", sa.String(), nullable=True),
        sa.Column("owner", sa.BigInteger(), nullable=True),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("finished_at", sa.Float(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), server_default="0", nullable=False),
        sa.Column("pausing", sa.String(), nullable=True),
        sa.Column("earlier", sa.Text(), nullable=True),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("parent", sa.BigInteger(), nullable=True),
        sa.Column("parent_task", sa.String(), nullable=True),
        sa.Column("roused", sa.Boolean(), server_default="0", nullable=False),
        sa.Column("wake_at", sa.Float(), nullable=True),
        sa.Column("epilogue", sa.Boolean(), server_default="0", nullable=False),
        sa.Column("closing", sa.Text(), nullable=True),
        sa.Column("schedule", sa.String(), nullable=True),
        sa.Column("scheduled_for", sa.Float(), nullable=True),
        sa.Column("traceparent", sa.String(), nullable=True),
        sa.Column("refused", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        schema=schema,
    )
    op.create_index("cloaca_run_by_both", "cloaca_run", ["workflow", "status", "id"], unique=False, schema=schema)
    op.create_index("cloaca_run_by_plan", "cloaca_run", ["plan"], unique=False, schema=schema)
    op.create_index("cloaca_run_by_status", "cloaca_run", ["status", "id"], unique=False, schema=schema)
    op.create_index("cloaca_run_by_workflow", "cloaca_run", ["workflow", "id"], unique=False, schema=schema)
    op.create_index(
        "cloaca_run_cancelling",
        "cloaca_run",
        ["owner"],
        unique=False,
        schema=schema,
        sqlite_where=sa.text("cancel_requested"),
        postgresql_where=sa.text("cancel_requested"),
    )
    op.create_index(
        "cloaca_run_children",
        "cloaca_run",
        ["parent", "id"],
        unique=False,
        schema=schema,
        sqlite_where=sa.text("parent IS NOT NULL"),
        postgresql_where=sa.text("parent IS NOT NULL"),
    )
    op.create_index(
        "cloaca_run_ended",
        "cloaca_run",
        ["finished_at", "id"],
        unique=False,
        schema=schema,
        sqlite_where=sa.text("finished_at IS NOT NULL AND parent IS NULL"),
        postgresql_where=sa.text("finished_at IS NOT NULL AND parent IS NULL"),
    )
    op.create_index(
        "cloaca_run_key",
        "cloaca_run",
        ["workflow", "key"],
        unique=True,
        schema=schema,
        sqlite_where=sa.text("key IS NOT NULL"),
        postgresql_where=sa.text("key IS NOT NULL"),
    )
    op.create_index(
        "cloaca_run_owned",
        "cloaca_run",
        ["owner"],
        unique=False,
        schema=schema,
        sqlite_where=sa.text("status = 'running'"),
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index(
        "cloaca_run_parked",
        "cloaca_run",
        ["wake_at", "id"],
        unique=False,
        schema=schema,
        sqlite_where=sa.text("status = 'running' AND owner IS NULL AND wake_at IS NOT NULL"),
        postgresql_where=sa.text("status = 'running' AND owner IS NULL AND wake_at IS NOT NULL"),
    )
    op.create_index(
        "cloaca_run_pausing",
        "cloaca_run",
        ["owner"],
        unique=False,
        schema=schema,
        sqlite_where=sa.text("pausing IS NOT NULL"),
        postgresql_where=sa.text("pausing IS NOT NULL"),
    )
    op.create_index(
        "cloaca_run_queue",
        "cloaca_run",
        ["workflow", sa.literal_column("priority DESC"), "id"],
        unique=False,
        schema=schema,
        sqlite_where=sa.text("status = 'pending' AND refused IS NULL AND crashes < 2"),
        postgresql_where=sa.text("status = 'pending' AND refused IS NULL AND crashes < 2"),
    )
    op.create_index(
        "cloaca_run_refused",
        "cloaca_run",
        ["workflow", "id"],
        unique=False,
        schema=schema,
        sqlite_where=sa.text("refused IS NOT NULL AND status IN ('pending', 'blocked')"),
        postgresql_where=sa.text("refused IS NOT NULL AND status IN ('pending', 'blocked')"),
    )
    op.create_index(
        "cloaca_run_roused",
        "cloaca_run",
        ["owner"],
        unique=False,
        schema=schema,
        sqlite_where=sa.text("roused"),
        postgresql_where=sa.text("roused"),
    )
    op.create_index(
        "cloaca_run_scheduled",
        "cloaca_run",
        ["schedule"],
        unique=False,
        schema=schema,
        sqlite_where=sa.text("schedule IS NOT NULL AND finished_at IS NULL"),
        postgresql_where=sa.text("schedule IS NOT NULL AND finished_at IS NULL"),
    )
    op.create_index(
        "cloaca_run_suspects",
        "cloaca_run",
        ["workflow", sa.literal_column("priority DESC"), "id"],
        unique=False,
        schema=schema,
        sqlite_where=sa.text("status = 'pending' AND refused IS NULL AND crashes >= 2"),
        postgresql_where=sa.text("status = 'pending' AND refused IS NULL AND crashes >= 2"),
    )
    op.create_table(
        "cloaca_schedule",
        sa.Column("name", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("workflow", sa.String(), nullable=False),
        sa.Column("input", sa.Text(), nullable=True),
        sa.Column("cron", sa.String(), nullable=True),
        sa.Column("timezone", sa.String(), nullable=False),
        sa.Column("every_s", sa.Float(), nullable=True),
        sa.Column("at", sa.Float(), nullable=True),
        sa.Column("start_at", sa.Float(), nullable=True),
        sa.Column("end_at", sa.Float(), nullable=True),
        sa.Column("catchup", sa.String(), nullable=False),
        sa.Column("overlap", sa.String(), nullable=False),
        sa.Column("jitter_s", sa.Float(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("next_at", sa.Float(), nullable=True),
        sa.Column("due_at", sa.Float(), nullable=True),
        sa.Column("last_at", sa.Float(), nullable=True),
        sa.Column("missed", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False),
        sa.Column("revision", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), server_default="0", nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        schema=schema,
    )
    op.create_index(
        "cloaca_schedule_due",
        "cloaca_schedule",
        ["workflow", "due_at"],
        unique=False,
        schema=schema,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "cloaca_session",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("lock_file", sa.BigInteger(), nullable=True),
        sa.Column("serves", sa.Text(), server_default="{}", nullable=False),
        sa.Column("revision", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        schema=schema,
        sqlite_autoincrement=True,
    )
    op.create_table(
        "cloaca_signal",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.Float(), nullable=False),
        sa.Column("taken_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        schema=schema,
    )
    op.create_index("cloaca_signal_run", "cloaca_signal", ["run_id"], unique=False, schema=schema)
    op.create_table(
        "cloaca_slot",
        sa.Column("session", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("ticket", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("session", "ticket"),
        schema=schema,
    )
    op.create_index(
        "cloaca_slot_held",
        "cloaca_slot",
        ["queue"],
        unique=False,
        schema=schema,
        sqlite_where=sa.text("held"),
        postgresql_where=sa.text("held"),
    )
    op.create_index(
        "cloaca_slot_waiting",
        "cloaca_slot",
        ["queue", sa.literal_column("priority DESC"), "run", "session", "ticket"],
        unique=False,
        schema=schema,
        sqlite_where=sa.text("NOT held"),
        postgresql_where=sa.text("NOT held"),
    )
    op.create_table(
        "cloaca_start",
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("queue", "at", "number"),
        schema=schema,
    )
    op.create_table(
        "cloaca_task",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("attempt", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("session", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float(), nullable=False),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("code", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "name"),
        schema=schema,
    )
    op.create_table(
        "cloaca_wait",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("began_at", sa.Float(), nullable=False),
        sa.Column("until", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "name"),
        schema=schema,
    )

    meta = sa.table("cloaca_meta", *(sa.column(name) for name in ("id", "schema_version", "created_at")), schema=schema)
    op.execute(meta.insert().values(id=1, schema_version=1, created_at=time.time()))
