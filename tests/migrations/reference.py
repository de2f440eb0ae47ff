"""``python -m tests.migrations.reference``: write the reference of columns and indexes from what the code declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Index, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex

from cloaca.stores.sql.tables import Table as Root

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "columns.md"
HEAD = """# Columns and indexes

Every table as the code declares it, at the newest revision. What the rows are and when they go, [Tables](tables.md)
says. `cloaca_version` is not among them: it has one column, `version_num`, and one row, the revision of the tables.
`cloaca db check` compares a database with this. Written by `python -m tests.migrations.reference`.
"""


def page() -> str:
    """Return the page."""
    docs = {mapper.local_table: (mapper.class_.__doc__ or "") for mapper in Root._sa_registry.mappers}
    return HEAD + "".join(
        f"\n{section}" for section in (_section(table, docs) for table in Root.metadata.sorted_tables)
    )


def _section(table: Table, docs: Mapping[Any, str]) -> str:
    summary = " ".join(docs[table].split("\n\n")[0].split()).replace("``", "`")
    rows = "\n".join(_row(column) for column in table.columns)
    indexes = "\n".join(f"- `{_definition(index)}`" for index in sorted(table.indexes, key=lambda each: str(each.name)))
    text = f"## {table.name}\n\n{summary}\n\n| column | SQLite | PostgreSQL | |\n|---|---|---|---|\n{rows}\n"
    return text + (f"\n{indexes}\n" if indexes else "")


def _row(column: Column[object]) -> str:
    types = (column.type.compile(dialect=dialect.dialect()) for dialect in (sqlite, postgresql))
    return f"| `{column.name}` | {' | '.join(map(str, types))} | {', '.join(_notes(column))} |"


def _notes(column: Column[object]) -> Iterator[str]:
    if column.primary_key:
        yield "primary key"
    elif column.nullable:
        yield "may be NULL"
    if column.server_default is not None:
        yield f"default {getattr(column.server_default, 'arg', '')}"


def _definition(index: Index) -> str:
    made = str(CreateIndex(index).compile(dialect=sqlite.dialect()))
    return made.removeprefix("CREATE ")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
