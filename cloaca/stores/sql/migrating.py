"""Moving tables from revision to revision, by alembic: one transaction for each, and one process at a time.

Whoever is killed leaves the tables at a revision, and the next one goes on from there. Nothing of alembic's that is
global is used, so that one process may do it for many databases at once. It knows revisions and transactions; how a
database has its turns taken, a ground of it knows.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Protocol

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, CursorResult, MetaData, text

from cloaca.errors import UpgradeRefused
from cloaca.stores.sql import revisions, structure, views
from cloaca.stores.sql.revisions import Revision
from cloaca.stores.sql.standing import VERSION_TABLE, Found, Standing, standing

LOADING = threading.Lock()
MORE: Final = ""  # a step that goes on
OLDER = (
    "SELECT name, revision FROM {}cloaca_session WHERE expires_at > {now} AND coalesce(revision, '') < :needs "
    "ORDER BY name"
)
# Whoever may write to tables made later, as a tenant's role, could so write to a view, too.
WRITERS = (
    "SELECT DISTINCT c.relname, r.rolname FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n "
    "ON n.oid = c.relnamespace, aclexplode(c.relacl) AS acl JOIN pg_catalog.pg_roles AS r ON r.oid = acl.grantee "
    "WHERE n.nspname = $1 AND c.relkind = 'v' AND c.relname LIKE 'cloaca\\_%' AND acl.grantee <> c.relowner "
    "AND acl.privilege_type IN ('INSERT', 'UPDATE', 'DELETE')"
)


class Ground(Protocol):
    """A place for tables: a SQLite file, or a schema on PostgreSQL. ``where`` names it in messages.

    ``clock`` is the expression for the time by which leases run out.
    """

    where: str
    schema: str | None
    connection: Connection
    clock: str

    def turn(self) -> AbstractContextManager[None]:
        """A transaction, in which nobody else moves these tables. Committed at the end, undone by an error."""
        ...

    def look(self) -> Found:
        """Return what is there."""
        ...

    def prepare(self) -> None:
        """Make what the tables are to be in, if it is not there."""
        ...

    def in_the_way(self, error: Exception) -> bool:
        """Whether an error says that others hold a lock, so that the same may work a little later."""
        ...

    def pause(self) -> None:
        """Let others work for a moment."""
        ...


def upgrade(ground: Ground, *, after_deployment: bool = False) -> list[str]:
    """Bring tables to this release's revision, or to the newest that it knows, once it is deployed everywhere.

    Return the revisions that were reached by this call, that of a database that was taken over included. Raises
    UpgradeRefused, and what ``standing`` raises.
    """
    goal = revisions.last() if after_deployment else revisions.head()
    reached: list[str] = []
    while True:
        try:
            with ground.turn():
                step = _step(ground, goal)
        except Exception as error:
            if not ground.in_the_way(error):
                raise
            ground.pause()
        else:
            if step is None:
                return reached
            # Without a pause: the release before may add rows as quickly as a step fills them.
            reached += [step] if step is not MORE else []


def _step(ground: Ground, goal: str) -> str | None:
    """Do the next step; return the revision that it led to, ``MORE`` if there is more of it, None if there is none."""
    found = ground.look()
    now = standing(found, ground.where)
    if now is Standing.UNVERSIONED:
        _adopt(ground)
        if not revisions.pending(revisions.FIRST, goal):
            _make_views(ground)
        return revisions.FIRST
    left = revisions.pending(found.revision, goal)
    if not left:
        return None
    if now is Standing.EMPTY:
        ground.prepare()
    step = _apply(ground, left[0])
    if step == left[-1].id:
        _make_views(ground)
    return step


def _apply(ground: Ground, revision: Revision) -> str:
    if revision.needs is not None:
        _refuse_older_workers(ground, revision.needs)
    context = _context(ground, lambda heads, _: scripts()._upgrade_revs(revision.id, heads))
    module, given = scripts().get_revision(revision.id).module, {"op": Operations(context), "schema": ground.schema}
    if hasattr(module, "batch") and module.batch(**given):
        return MORE
    _send(ground, views.dropping(_dialect(ground)))  # a column under a view could not be changed
    context.run_migrations(**given)
    if revision.needs is not None:
        _execute(ground, "UPDATE {}cloaca_meta SET schema_version = :oldest WHERE id = 1", oldest=int(revision.needs))
    return revision.id


def _adopt(ground: Ground) -> None:
    """Note the revision of tables that were made before there were revisions, if they are those of the first one."""
    if refusal := unreleased(ground.connection, ground.schema, ground.where):
        raise refusal
    _context(ground).stamp(scripts(), revisions.FIRST)


def unreleased(connection: Connection, schema: str | None, where: str) -> UpgradeRefused | None:
    """Return why tables without a revision can't be taken over, None if they are those of the first one."""
    found = structure.differences(connection, first(schema), schema)
    if not found:
        return None
    listed = "; ".join(sorted(difference.sentence for difference in found))
    return UpgradeRefused(
        f"{where} has tables of cloaca's without a revision, and they are not those of a release: {listed}. Code that "
        "was never released made them, and no release can upgrade them: choose another database, and delete this one "
        "once that code has ended its runs. Nothing was changed"
    )


def _refuse_older_workers(ground: Ground, needs: str) -> None:
    """Refuse to take away what the code of workers that are alive still uses."""
    alive: Sequence[Any] = _execute(ground, OLDER.replace("{now}", ground.clock), needs=needs).all()
    if alive:
        listed = ", ".join(f"{name} (knows revision {revision or 'none'})" for name, revision in alive[:5])
        raise UpgradeRefused(
            f"{ground.where}: {len(alive)} of the workers that are at work are of an older release: {listed}. Stop "
            "them, wait until their leases have run out, then upgrade again; nothing was changed"
        )


def _dialect(ground: Ground) -> views.Dialect:
    return views.SQLITE if ground.schema is None else views.postgres(ground.schema)


def _make_views(ground: Ground) -> None:
    """Make the views, which belong to this release and to no revision: they change nothing that is stored."""
    _send(ground, views.statements(_dialect(ground)))
    if ground.schema is not None:
        quoted = ground.connection.dialect.identifier_preparer.quote_identifier
        found = ground.connection.exec_driver_sql(WRITERS, (ground.schema,)).all()
        places = [(f"{quoted(ground.schema)}.{quoted(view)}", quoted(role)) for view, role in found]
        _send(ground, [f"REVOKE INSERT, UPDATE, DELETE ON {place} FROM {role}" for place, role in places])


def _send(ground: Ground, statements: Iterable[str]) -> None:
    for statement in statements:
        ground.connection.exec_driver_sql(statement)


def _execute(ground: Ground, statement: str, **values: object) -> CursorResult[Any]:
    """Execute a statement, in which ``{}`` is where a schema's name goes."""
    prefix = ""
    if ground.schema is not None:
        quoted = ground.connection.dialect.identifier_preparer.quote_identifier(ground.schema)
        prefix = quoted.replace(":", "\\:") + "."
    return ground.connection.execute(text(statement.replace("{}", prefix)), values)


def first(schema: str | None) -> MetaData:
    """Return the tables of the first revision, as its file makes them."""
    return structure.made_by(scripts().get_revision(revisions.FIRST).module.upgrade, schema)


@functools.cache
def _scripts(folder: Path) -> ScriptDirectory:
    return ScriptDirectory(str(folder), version_locations=[str(folder)])


def scripts() -> ScriptDirectory:
    """Return the files of the revisions, loaded once."""
    with LOADING:
        found = _scripts(revisions.FOLDER)
        found.get_revisions("heads")  # read them now, on one thread
        return found


def _context(ground: Ground, steps: Callable[[Any, Any], Iterable[Any]] | None = None) -> MigrationContext:
    options = {"version_table": VERSION_TABLE, "version_table_schema": ground.schema, "transactional_ddl": True}
    return MigrationContext.configure(ground.connection, opts=options | ({"fn": steps} if steps else {}))
