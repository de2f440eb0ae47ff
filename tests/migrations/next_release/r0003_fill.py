"""The regions of runs that were there before, a few at a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0003"
down_revision = "0002"

ROWS = 20


def batch(op: Operations, schema: str | None) -> bool:
    """Fill some rows; return whether there are more."""
    run = sa.table("cloaca_run", sa.column("id"), sa.column("region"), schema=schema)
    some = sa.select(run.c.id).where(run.c.region.is_(None)).limit(ROWS)
    return op.get_bind().execute(run.update().where(run.c.id.in_(some)).values(region="here")).rowcount == ROWS


def upgrade(op: Operations, schema: str | None) -> None:
    """Do nothing more."""
