"""The commands of ``cloaca db``, their options and their help.

It knows typer. What a command does is in a module of its own.
"""

from __future__ import annotations

from typing import Annotated

import typer

from cloaca.cli.options import DatabaseOption, JsonOption, as_duration, helping
from cloaca.cli.pruning import prune_database

db = typer.Typer(help="Look after a database.", rich_markup_mode=None)


@db.callback(invoke_without_command=True)
def _db(context: typer.Context) -> None:
    helping(context)


@db.command("prune")
def _prune(
    *,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Ended longer ago than that: 30d, 12h, 90m.")
    ],
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> int:
    """Delete the runs that ended long ago, with all that is stored about them.

    A run that has not ended is never deleted, and workers may go on meanwhile: they prune by themselves what is older
    than their --retention. The keys of deleted runs can be used again. What is freed is used again, too; a SQLite
    file does not become smaller.

    \b
    --json prints:
      {"deleted", "ended_before"}

    \b
    Examples:
      cloaca db prune --older-than 30d
      cloaca db prune --older-than 12h --database sqlite:///orders.db --json
    """
    return prune_database(as_duration(older_than, "--older-than"), database, as_json=as_json)
