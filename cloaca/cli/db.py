"""The commands of ``cloaca db``, their options and their help.

It knows typer. What a command does is in a module of its own.
"""

from __future__ import annotations

from typing import Annotated

import typer

from cloaca.cli.options import DatabaseOption, JsonOption, as_duration, helping
from cloaca.cli.pruning import prune_database
from cloaca.cli.upkeep import check_tables, examine, show_current, upgrade_tables

db = typer.Typer(help="Look after a database.", rich_markup_mode=None)


@db.callback(invoke_without_command=True)
def _db(context: typer.Context) -> None:
    helping(context)


@db.command("upgrade")
def _upgrade(
    *,
    post_deploy: Annotated[
        bool,
        typer.Option(
            "--post-deploy", help="Also take away what only the release before needed: none of its workers may be left."
        ),
    ] = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> int:
    """Bring the tables to this release, in each schema or tenant's file.

    Workers do the same by themselves when they start; this is for doing it before, or as another role. It makes the
    tables of a new database. The release before works on meanwhile and afterwards, until --post-deploy: which is
    refused, with exit code 1, while workers of an older release are alive. Several at once do no harm, and what is
    interrupted is gone on with the next time.

    \b
    --json prints:
      {"places": [{"place", "reached": ["0002"]}]}

    \b
    Examples:
      cloaca db upgrade --database postgresql://owner@db/shop
      cloaca db upgrade --post-deploy --database postgresql://owner@db/shop
    """
    return upgrade_tables(database, after_deployment=post_deploy, as_json=as_json)


@db.command("current")
def _current(*, database: DatabaseOption = None, as_json: JsonOption = False) -> int:
    """Show at which revision the tables are, in each schema or tenant's file, and which this release works with.

    Nothing is changed. Exits with 4 if this release can't use one of them.

    \b
    --json prints:
      {"head", "last", "places": [{"place", "revision", "state", "pending": [], "post_deploy": [], "refusal"}]}

    \b
    Examples:
      cloaca db current
      cloaca db current --database postgresql://app@db/shop --json
    """
    return show_current(database, as_json=as_json)


@db.command("check")
def _check(*, database: DatabaseOption = None, as_json: JsonOption = False) -> int:
    """Exit with 1 unless the tables are those of this release: no revision is left out, nothing is missing.

    Tables, columns, constraints and indexes are compared with those that the code declares. What is there in addition
    is told, and no reason to fail. Nothing is changed.

    \b
    --json prints:
      {"ok", "places": [{"place", "revision", "state", "ok", "findings": [{"check", "level", "message", "remedy"}]}]}

    \b
    Examples:
      cloaca db check --database postgresql://app@db/shop
    """
    return check_tables(database, as_json=as_json)


@db.command("doctor")
def _doctor(*, database: DatabaseOption = None, as_json: JsonOption = False) -> int:
    """Look for whatever may ail a database, and say what to do about it.

    Besides what `check` compares: runs without worker or plan, rows that belong to nothing, slots of workers that are
    gone, what waits for too long; damage, permissions and size of a SQLite file; autovacuum, statistics, rights and
    idle transactions on PostgreSQL. It reads whole tables and changes nothing. Exits with 1 if there is a problem;
    advice is no reason.

    \b
    --json prints:
      {"ok", "places": [{"place", "revision", "state", "ok", "findings": [{"check", "level", "message", "remedy"}],
                         "facts": {"bytes", "runs", "tasks", ...}}]}

    \b
    Examples:
      cloaca db doctor --database sqlite:///orders.db
    """
    return examine(database, as_json=as_json)


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
