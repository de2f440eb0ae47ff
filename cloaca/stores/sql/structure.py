"""How the tables of a database differ from those that are wanted: tables, columns and constraints, then indexes.

Alembic compares the former. Indexes are compared by their definitions, because it does not look at their conditions,
nor on SQLite at their order. It reads only.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.operations.ops import CreateIndexOp, CreateTableOp
from sqlalchemy import Connection, Index, MetaData, text
from sqlalchemy.schema import CreateIndex

from cloaca.stores.sql.standing import VERSION_TABLE
from cloaca.stores.sql.tables import Table

SQLITE_INDEXES = (
    "SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name GLOB 'cloaca_*' "
    "AND sql IS NOT NULL"
)
POSTGRES_INDEXES = (
    "SELECT t.relname, i.relname, CASE WHEN x.indisvalid THEN pg_get_indexdef(i.oid) ELSE '' END "
    "FROM pg_catalog.pg_index AS x JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid "
    "JOIN pg_catalog.pg_class AS t ON t.oid = x.indrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace "
    "WHERE n.nspname = :schema AND t.relname LIKE 'cloaca\\_%' "
    "AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint AS c WHERE c.conindid = i.oid)"
)
# What PostgreSQL adds to a definition, and what only one side writes.
ADDED = re.compile(r'::("char"|[a-z_]+( varying)?)(\[\])?| using btree|[()"\s]')
CHOICE = re.compile(r"=anyarray\[([^\]]*)\]")  # how PostgreSQL writes IN


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as wanted: ``table.column``, the name of an index or of a table. ``extra``: only there."""

    what: str
    sentence: str
    extra: bool = False


def differences(connection: Connection, wanted: MetaData, schema: str | None) -> list[Difference]:
    """Return how the tables differ from those of ``wanted``, which are in ``schema``."""
    return [*_of_tables(connection, wanted, schema), *_of_indexes(connection, wanted, schema)]


def declared(schema: str | None) -> MetaData:
    """Return the tables that the code works with, once they are in a schema."""
    metadata = MetaData()
    for table in Table.metadata.sorted_tables:
        table.to_metadata(metadata, schema=schema)  # type: ignore[arg-type]  # None is no schema, as for a Table
    return metadata


class _Recorder(Operations):
    """Notes what a revision does, and does nothing."""

    def __init__(self) -> None:
        options = {"as_sql": True, "output_buffer": io.StringIO()}
        super().__init__(MigrationContext.configure(dialect_name="sqlite", opts=options))
        self.seen: list[Any] = []

    def invoke(self, operation: Any) -> Any:
        self.seen.append(operation)


def made_by(upgrade: Callable[[Operations, str | None], None], schema: str | None) -> MetaData:
    """Return the tables that a revision makes which does nothing but make tables and fill them."""
    recorder, metadata = _Recorder(), MetaData()
    upgrade(recorder, schema)
    for operation in recorder.seen:
        if isinstance(operation, CreateTableOp):
            operation.to_table(recorder.migration_context).to_metadata(metadata)
        elif isinstance(operation, CreateIndexOp):
            table = metadata.tables[f"{schema}.{operation.table_name}" if schema else operation.table_name]
            columns = [table.c[column] if isinstance(column, str) else column for column in operation.columns]
            Index(operation.index_name, *columns, unique=bool(operation.unique), **operation.kw)
    return metadata


def _of_tables(connection: Connection, wanted: MetaData, schema: str | None) -> Iterator[Difference]:
    bare = MetaData()
    for table in wanted.sorted_tables:
        table.to_metadata(bare).indexes.clear()
    options = {
        "version_table": VERSION_TABLE,
        "version_table_schema": schema,
        "include_schemas": schema is not None,
        "include_name": lambda name, kind, _: _is_ours(name, kind, schema),
        "include_object": lambda _, __, kind, *___: kind != "index",
    }
    context = MigrationContext.configure(connection, opts=options)
    # It would look up the sequences of serial columns, and stumbles over names of schemas with an apostrophe.
    context.impl.autogen_column_reflect = lambda *_: None  # type: ignore[method-assign]  # of this one alone
    for change in compare_metadata(context, bare):
        for part in change if isinstance(change, list) else [change]:
            yield _told(part)


def _is_ours(name: str | None, kind: str, schema: str | None) -> bool:
    if kind == "schema":
        return name == schema
    return kind != "table" or (name or "").startswith("cloaca_")


def _told(change: tuple[Any, ...]) -> Difference:
    """Return one of alembic's differences in words. It says what would have to be done."""
    match change:
        case ("add_table", table):
            return Difference(table.name, f"the table {table.name} is missing")
        case ("remove_table", table):
            return Difference(table.name, f"this release knows no table {table.name}", extra=True)
        case ("add_column", _, table, column):
            what = f"{table}.{column.name}"
            return Difference(what, f"the column {what} is missing")
        case ("remove_column", _, table, column):
            what = f"{table}.{column.name}"
            return Difference(what, f"this release knows no column {what}", extra=True)
        case (kind, _, str(table), str(column), _, found, wanted):
            what = f"{table}.{column}"
            return Difference(what, f"the column {what} has {found} where {wanted} is wanted ({_plain(kind)})")
        case (kind, constraint):
            what = f"{constraint.table.name}: {_plain(kind)}"
            columns = ", ".join(column.name for column in constraint.columns)
            verb = "is missing" if kind.startswith("add") else "is not known to this release"
            sentence = f"the constraint on {constraint.table.name} ({columns}) {verb}"
            return Difference(what, sentence, extra=kind.startswith("remove"))
        case _:
            return Difference(str(change[0]), f"{_plain(str(change[0]))}: {change[1:]!r:.200}")


def _plain(kind: str) -> str:
    return kind.removeprefix("modify_").replace("_", " ")


def _of_indexes(connection: Connection, wanted: MetaData, schema: str | None) -> Iterator[Difference]:
    if connection.dialect.name == "sqlite":
        rows = connection.execute(text(SQLITE_INDEXES))
    else:
        rows = connection.execute(text(POSTGRES_INDEXES), {"schema": schema})
    found = {name: (table, definition) for table, name, definition in rows}
    indexes = [index for table in wanted.sorted_tables for index in _sorted(table.indexes)]
    for index in indexes:
        name, table = str(index.name), str(index.table.name if index.table is not None else "")
        if found.get(name, ("",))[0] != table:
            yield Difference(name, f"the index {name} of {table} is missing")
            continue
        definition = found[name][1]
        if not definition:
            yield Difference(name, f"the index {name} of {table} is not valid: its making was broken off")
        elif _essence(definition) != _essence(str(CreateIndex(index).compile(dialect=connection.dialect))):
            yield Difference(name, f"the index {name} of {table} is another one: {definition}")
    for name in sorted(found.keys() - {str(index.name) for index in indexes}):
        yield Difference(name, f"this release knows no index {name} of {found[name][0]}", extra=True)


def _sorted(indexes: Iterable[Index]) -> list[Index]:
    return sorted(indexes, key=lambda index: str(index.name))


def _essence(definition: str) -> str:
    """Return what of an index's definition says what it is.

    >>> _essence("CREATE INDEX i ON s.t USING btree (a) WHERE ((status)::text = 'x'::text)")
    "createindexions.tawherestatus='x'"
    >>> _essence("(status)::text = ANY ((ARRAY['x'::character varying, 'y'::character varying])::text[])")
    "statusin'x','y'"
    """
    return CHOICE.sub(r"in\1", ADDED.sub("", definition.lower()))
