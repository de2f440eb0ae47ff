"""A release after the next one: what was left over is done before its own steps, if nobody needs it any more."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from cloaca.errors import UpgradeRefused
from cloaca.stores.sql import revisions
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.revisions import Revision
from cloaca.stores.sql.sqlite import SqliteStore
from tests.migrations.releases import NEXT, next_files

LATER = '''
"""One more column."""

import sqlalchemy as sa

revision, down_revision = "0005", "0004"


def upgrade(op, schema):
    op.add_column("cloaca_run", sa.Column("more", sa.String(), nullable=True), schema=schema)
'''


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, quick_path: Path) -> Any:
    if request.param == "sqlite":
        return SqliteStore(quick_path / "runs.db")
    return PostgresStore(request.getfixturevalue("postgres"), schema=request.getfixturevalue("schema"))


@pytest.fixture
def become(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What makes this process one of the next release, or of the one after it."""
    folder = next_files(tmp_path / "revisions")

    def release(*more: Revision) -> None:
        if more:
            (folder / "r0005_more.py").write_text(LATER, encoding="utf-8")
        monkeypatch.setattr(revisions, "REVISIONS", (*NEXT, *more))
        monkeypatch.setattr(revisions, "FOLDER", tmp_path / "later" if more else folder)
        if more:
            folder.rename(tmp_path / "later")

    return release


async def use(store: Any, session: bool = False) -> int | None:
    await store.open()
    opened = await store.open_session("worker", time.time(), time.time() + 60) if session else None
    await store.close()
    return opened


async def leave(store: Any, session: int) -> None:
    await store.open()
    await store.close_session(session, at=time.time())
    await store.close()


def test_what_was_left_is_done_first_and_not_while_older_workers_live(store: Any, become: Any) -> None:
    old = asyncio.run(use(store, session=True))  # a worker of this release
    assert old is not None
    become()
    asyncio.run(use(store))  # the next release adds, beside it
    become(Revision("0005", "later"))
    with pytest.raises(UpgradeRefused, match=r"1 of the workers.*worker \(knows revision 0001\)"):
        asyncio.run(use(store))
    with pytest.raises(UpgradeRefused):  # nothing has changed
        asyncio.run(use(store))
    release(store, old)
    asyncio.run(use(store))


def release(store: Any, session: int) -> None:
    """Remove a session as its worker would, whose code is of another release than this process."""
    if isinstance(store, SqliteStore):
        with sqlite3.connect(store.path) as connection:
            connection.execute("DELETE FROM cloaca_session WHERE id = ?", (session,))
        connection.close()
        return
    store.upgrades = False
    before = revisions.REVISIONS
    revisions.REVISIONS = before[:3]
    try:
        asyncio.run(leave(store, session))
    finally:
        revisions.REVISIONS, store.upgrades = before, True
