"""``python -m tests.migrations.first``: write the first revision anew from the tables, as long as nothing is released.

Afterwards it is as it is, for ever: what changes in the tables is a revision of its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any, Literal

from alembic.autogenerate import render_python_code
from alembic.operations.ops import CreateIndexOp, CreateTableOp, MigrateOperation, UpgradeOps
from sqlmodel.sql.sqltypes import AutoString

from cloaca.stores.sql.revisions import FOLDER
from cloaca.stores.sql.structure import declared

FILE = FOLDER / "r0001_tables.py"
HEAD = '''"""The tables of the first release. Until then ``python -m tests.migrations.first`` writes this file anew."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations, schema: str | None) -> None:
    """Make them, and the one row of the meta table: the oldest revision of which the code may work here."""
'''
TAIL = """
    meta = sa.table("cloaca_meta", *(sa.column(name) for name in ("id", "schema_version", "created_at")), schema=schema)
    op.execute(meta.insert().values(id=1, schema_version=1, created_at=time.time()))
"""


def _plain(kind: str, item: Any, _: object) -> str | Literal[False]:
    """Write SQLModel's own type of texts as SQLAlchemy's."""
    return "sa.String()" if kind == "type" and isinstance(item, AutoString) else False


def source() -> str:
    """Return the text of the file, not laid out yet."""
    made: list[MigrateOperation] = []
    for table in declared("here").sorted_tables:
        made.append(CreateTableOp.from_table(table))
        made += (CreateIndexOp.from_index(index) for index in sorted(table.indexes, key=lambda index: str(index.name)))
    body = render_python_code(UpgradeOps(made), render_item=_plain)
    return HEAD + re.sub(r"^ *#.*\n?", "", body, flags=re.MULTILINE).replace("schema='here'", "schema=schema") + TAIL


def formatted() -> str:
    """Return the text of the file."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(FILE), "-"]
    return subprocess.run(command, input=source(), capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    FILE.write_text(formatted(), encoding="utf-8")
