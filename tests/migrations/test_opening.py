"""What opening costs, what it loads, and which tables without a revision it takes over."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from cloaca.errors import CorruptDatabase, DatabaseTooNew, DatabaseTooOld, StoreUnavailable, UpgradeRefused
from cloaca.stores.sql import connections, postgres_links, revisions
from cloaca.stores.sql import schema as sql_schema
from cloaca.stores.sql.connections import HandHeld
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.postgres_links import Link
from cloaca.stores.sql.revisions import Revision
from cloaca.stores.sql.sqlite import SqliteStore
from tests.stores.asynchronous import asynchronous
from tests.stores.rows import status_of, waiting

ENTERED = "import sys; print(any(name.partition('.')[0] in ('alembic', 'mako') for name in sys.modules))"


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, quick_path: Path) -> Any:
    """What makes stores on one database that nobody has used, and what executes statements there."""
    if request.param == "sqlite":
        path = quick_path / "runs.db"

        def on_file(statement: str) -> None:
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute(statement.replace("{}", ""))

        return lambda: SqliteStore(path), on_file
    url, schema = request.getfixturevalue("postgres"), request.getfixturevalue("schema")

    def on_server(statement: str) -> None:
        async def execute() -> None:
            connection = await asyncpg.connect(url)
            quoted = '"' + schema.replace('"', '""') + '".'
            await connection.execute(statement.replace("{}", quoted))
            await connection.close()

        asyncio.run(execute())

    return lambda: PostgresStore(url, schema=schema), on_server


def opened(store: Any) -> None:
    async def use() -> None:
        await store.open()
        await store.close()

    asyncio.run(use())


@asynchronous
async def test_a_file_that_is_up_to_date_is_asked_one_question_on_each_look_and_not_written(
    quick_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []

    class Watched(HandHeld):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            statements.append(sql)
            return super().execute(sql, parameters)

    await asyncio.to_thread(opened, SqliteStore(quick_path / "runs.db"))
    before = (quick_path / "runs.db").read_bytes()
    plain = connections.connect
    for module in (connections, sql_schema):
        monkeypatch.setattr(module, "connect", lambda *a, **o: plain(*a, **{"factory": Watched} | o))
    store = SqliteStore(quick_path / "runs.db")
    await store.open()
    await store.close()
    # Before the file is touched, and once nobody else can write; the third finds a page to watch.
    asked = [statement for statement in statements if not statement.startswith("PRAGMA")]
    assert asked == [sql_schema.LOOK, sql_schema.LOOK, "SELECT rootpage FROM sqlite_master WHERE name = ?"]
    assert (quick_path / "runs.db").read_bytes() == before


@asynchronous
async def test_a_schema_that_is_up_to_date_is_asked_one_question(
    postgres: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(opened, PostgresStore(postgres, schema=schema))
    statements: list[str] = []
    ask = Link.ask

    async def watched(self: Link, statement: str, *values: object) -> Any:
        statements.append(statement)
        return await ask(self, statement, *values)

    async def refused(self: Any, *_: Any) -> None:
        raise AssertionError("nothing else is sent")

    monkeypatch.setattr(postgres_links.Link, "ask", watched)
    monkeypatch.setattr(asyncpg.Connection, "execute", refused)
    store = PostgresStore(postgres, schema=schema)
    await store.open()
    await store.close()
    assert len(statements) == 1


def test_only_who_upgrades_loads_alembic(place: Any) -> None:
    store, _ = place
    opened(store())
    program = (
        "import asyncio, cloaca.cli.program, cloaca.runner\n"
        "from cloaca import Runner\n"
        f"from cloaca.stores.sql.{'sqlite' if isinstance(store(), SqliteStore) else 'postgres'} import *\n"
        "from tests.migrations.test_opening import opened\n"
        f"opened({_source(store())})\n"
        f"{ENTERED}"
    )
    for known in ("import cloaca\n" + ENTERED, program):
        done = subprocess.run([sys.executable, "-c", known], capture_output=True, text=True, check=False)
        assert done.stdout == "False\n", done.stderr


def _source(store: Any) -> str:
    if isinstance(store, SqliteStore):
        return f"SqliteStore({str(store.path)!r})"
    return f"PostgresStore({store._url!r}, schema={store._names.plain!r})"


def test_tables_from_before_there_were_revisions_are_taken_over(place: Any) -> None:
    store, execute = place
    opened(store())
    asyncio.run(_one_run(store()))
    execute("DROP TABLE {}cloaca_version")
    reader = store()
    reader.upgrades = False
    with pytest.raises(DatabaseTooOld, match="without a revision: `cloaca db check`"):
        opened(reader)
    opened(store())
    assert asyncio.run(_status(reader)) == "pending"


async def _one_run(store: Any) -> None:
    await store.open()
    await waiting(store, 1)
    await store.close()


async def _status(store: Any) -> str | None:
    await store.open()
    found = await status_of(store, 1)
    await store.close()
    return found


CHANGES = {
    "ALTER TABLE {}cloaca_attempt DROP COLUMN beat_at": "the column cloaca_attempt.beat_at is missing",
    "ALTER TABLE {}cloaca_note ADD COLUMN more TEXT": "this release knows no column cloaca_note.more",
    "DROP TABLE {}cloaca_start": "the table cloaca_start is missing",
    "CREATE INDEX cloaca_more ON {}cloaca_note (at)": "this release knows no index cloaca_more of cloaca_note",
    "DROP INDEX {}cloaca_run_key": "the index cloaca_run_key of cloaca_run is missing",
}


@pytest.mark.parametrize("change", CHANGES, ids=list(CHANGES.values()))
def test_tables_that_are_no_releases_are_refused_with_what_is_different(place: Any, change: str) -> None:
    store, execute = place
    opened(store())
    execute("DROP TABLE {}cloaca_version")
    execute(change)
    for _ in range(2):  # nothing was changed by the first refusal
        with pytest.raises(UpgradeRefused, match="not those of a release") as refused:
            opened(store())
        assert CHANGES[change] in str(refused.value)


EMPTY = '''
"""Other views."""

revision, down_revision = "0002", "0001"


def upgrade(op, schema):
    """Leave the tables as they are."""
'''


def test_only_a_revision_has_views_made_anew_and_be_it_an_empty_one(
    place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, execute = place
    opened(store())
    execute("DROP VIEW {}cloaca_workers")
    execute("CREATE VIEW {}cloaca_workers AS SELECT 1 AS earlier")  # as an earlier release might have had it
    opened(store())
    execute("SELECT earlier FROM {}cloaca_workers")
    files = shutil.copytree(revisions.FOLDER, tmp_path / "revisions")
    (files / "r0002_views.py").write_text(EMPTY, encoding="utf-8")
    monkeypatch.setattr(revisions, "FOLDER", files)
    monkeypatch.setattr(revisions, "REVISIONS", (*revisions.REVISIONS, Revision("0002", "next")))
    opened(store())
    execute("SELECT lease_until FROM {}cloaca_workers")


def test_a_revision_that_nobody_knows_is_refused(place: Any) -> None:
    store, execute = place
    opened(store())
    execute("UPDATE {}cloaca_version SET version_num = 'abc'")
    with pytest.raises(CorruptDatabase, match="which no release knows: restore the table cloaca_version"):
        opened(store())


def test_tables_of_a_newer_release_are_used_as_long_as_nothing_was_taken_away(place: Any) -> None:
    store, execute = place
    opened(store())
    execute("UPDATE {}cloaca_version SET version_num = '0777'")
    asyncio.run(_one_run(store()))
    execute("UPDATE {}cloaca_meta SET schema_version = 777")
    with pytest.raises(DatabaseTooNew, match="at revision 0777, which code from revision 0777 on can use") as refused:
        opened(store())
    assert "this release knows revisions up to" in str(refused.value)
    assert "upgrade cloaca here" in str(refused.value)


def test_who_can_not_make_tables_is_told_who_can(postgres: str, schema: str) -> None:
    reader = PostgresStore(postgres, schema=schema)
    reader.upgrades = False
    with pytest.raises(StoreUnavailable, match="no tables of cloaca's"):
        opened(reader)
