"""Whose tables a SQLite file has, looked at before anything of the file is changed; and having them made.

Where a file stands is decided in ``standing``, what is done about it in ``migrating``, which is loaded only then.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

from sqlalchemy import Connection

from cloaca.stores.sql.connections import connect
from cloaca.stores.sql.failures import BUSY, DAMAGED, code_of
from cloaca.stores.sql.standing import Found, Standing, standing

NAMES = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND lower(name) GLOB 'cloaca_*'"
VERSION = "SELECT max(version_num) FROM cloaca_version"
OLDEST = "SELECT max(schema_version) FROM cloaca_meta WHERE id = 1"
LOOK = f"SELECT ({VERSION}), ({OLDEST}), (SELECT json_group_array(name) FROM ({NAMES}))"


def check(path: Path) -> Standing | None:
    """Return where a file stands, without changing it. Raises if it is not ours, not whole, or too new.

    Where it can't be looked at without writing, as after a crash in the middle of a rollback, nothing is refused yet.
    """
    try:
        with contextlib.closing(connect(path, read_only=True)) as driver:
            return standing(look(driver), str(path))
    except sqlite3.Error as error:
        if code_of(error) in DAMAGED | BUSY:
            raise
        return None


def make(path: Path, connection: Connection) -> None:
    """Make the tables, or bring them to this release's revision."""
    from cloaca.stores.sql.sqlite_migrating import SqliteGround  # noqa: PLC0415 - it loads alembic

    SqliteGround(path, connection).upgrade()


def look(driver: sqlite3.Connection) -> Found:
    """Return what of ours is in a file: one statement, if its tables have a revision."""
    whole = _asked(driver, LOOK)
    if whole is not None:
        revision, oldest, names = whole
        return Found(frozenset(json.loads(str(names))), _text(revision), _number(oldest))
    found = frozenset(row[0] for row in driver.execute(NAMES))
    lowered = {name.lower() for name in found}
    revision = _asked(driver, VERSION) if "cloaca_version" in lowered else None
    oldest = _asked(driver, OLDEST) if "cloaca_meta" in lowered else None
    return Found(found, _text(revision and revision[0]), _number(oldest and oldest[0]))


def _asked(driver: sqlite3.Connection, question: str) -> tuple[object, ...] | None:
    """Return one row; None where it can't be asked because a table or a column is missing."""
    try:
        row: tuple[object, ...] | None = driver.execute(question).fetchone()
    except sqlite3.OperationalError as error:
        if code_of(error) != sqlite3.SQLITE_ERROR:
            raise
        return None
    return row


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
