"""What the code declares and what the revisions make are the same tables, on both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from cloaca.stores.sql import migrating, revisions
from cloaca.stores.sql.connections import engine_of
from cloaca.stores.sql.postgres_links import Link, Names, connect
from cloaca.stores.sql.postgres_migrating import PostgresGround, bridged
from cloaca.stores.sql.sqlite_migrating import SqliteGround
from cloaca.stores.sql.structure import declared, differences
from tests.migrations import first, reference
from tests.stores.asynchronous import asynchronous

HOW = "a table was changed without a revision: docs/how-to/add-a-revision.md says how to add one; until the first "
HOW += "release, `python -m tests.migrations.first` writes the first one anew"


def found(connection: Connection, schema: str) -> list[str]:
    """What alembic finds by itself."""
    options: dict[str, Any] = {"version_table": "cloaca_version", "version_table_schema": schema}
    options |= {"include_schemas": True, "include_name": lambda name, kind, _: kind != "schema" or name == schema}
    return list(map(str, compare_metadata(MigrationContext.configure(connection, opts=options), declared(schema))))


def told(connection: Connection, schema: str | None) -> list[str]:
    """What we find, conditions and order of indexes included."""
    return [difference.sentence for difference in differences(connection, declared(schema), schema)]


def test_on_sqlite(quick_path: Path) -> None:
    with engine_of(quick_path / "runs.db").connect() as connection:
        ground = SqliteGround(quick_path / "runs.db", connection)
        assert ground.upgrade() + ground.upgrade(after_deployment=True) == [each.id for each in revisions.REVISIONS]
        assert told(connection, None) == [], HOW


@asynchronous
async def test_on_postgres(postgres: str, schema: str) -> None:
    names = Names(schema)

    async def made() -> Link:
        return await connect(postgres, names)

    async with bridged(made) as (link, in_greenlet):

        def check(connection: Connection) -> list[str]:
            reached = migrating.upgrade(PostgresGround("here", link, connection), after_deployment=True)
            assert reached == [each.id for each in revisions.REVISIONS]
            return found(connection, schema) + told(connection, schema)

        assert await in_greenlet(check) == [], HOW


def test_the_files_are_the_revisions_in_their_order() -> None:
    scripts = migrating.scripts()
    files = list(reversed(list(scripts.walk_revisions())))
    ids = [revision.id for revision in revisions.REVISIONS]
    assert [script.revision for script in files] == ids
    assert scripts.get_heads() == [revisions.last()]
    assert [script.down_revision for script in files] == [None, *ids[:-1]]
    for script in files:
        assert Path(script.path).name.startswith(f"r{script.revision}_")


def test_in_each_release_what_takes_away_comes_last() -> None:
    """Otherwise a later addition would take away, before the deployment, what the release before still needs."""
    for release in {revision.release for revision in revisions.REVISIONS}:
        kinds = [revision.needs is not None for revision in revisions.REVISIONS if revision.release == release]
        assert kinds == sorted(kinds)
    releases = [revision.release for revision in revisions.REVISIONS]
    assert releases == sorted(releases, key=releases.index)


def test_the_reference_has_every_column_and_index() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "python -m tests.migrations.reference"


def test_until_the_first_release_the_first_revision_is_as_it_would_be_written_now() -> None:
    if len(revisions.REVISIONS) == 1:
        assert first.formatted() == first.FILE.read_text(encoding="utf-8"), HOW
