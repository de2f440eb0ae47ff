"""Runs get a region, and sessions a new name for the sign of their life, which the release before calls otherwise."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0002"
down_revision = "0001"


def upgrade(op: Operations, schema: str | None) -> None:
    """Add both columns, and an index."""
    op.add_column("cloaca_run", sa.Column("region", sa.String(), nullable=True), schema=schema)
    op.add_column("cloaca_session", sa.Column("life", sa.BigInteger(), nullable=True), schema=schema)
    op.create_index("cloaca_run_by_region", "cloaca_run", ["region"], unique=False, schema=schema)
