"""What only the release before reads is taken away."""

from __future__ import annotations

from alembic.operations import Operations

revision = "0004"
down_revision = "0003"


def upgrade(op: Operations, schema: str | None) -> None:
    """Drop the old column."""
    op.drop_column("cloaca_session", "lock_file", schema=schema)
