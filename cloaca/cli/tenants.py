"""The commands of ``cloaca tenants``, their options and their help.

It knows typer. What a command does is in a module of its own.
"""

from __future__ import annotations

from typing import Annotated

import typer

from cloaca.cli.options import DatabaseOption, JsonOption, helping
from cloaca.cli.tenancy import create_tenant, drop_tenant, list_tenants, show_credentials

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits, and _ and - between them.")]

tenants = typer.Typer(help="Make, list and drop the tenants of a database.", rich_markup_mode=None)


@tenants.callback(invoke_without_command=True)
def _tenants(context: typer.Context) -> None:
    helping(context)


@tenants.command("create")
def _create(name: NameArgument, database: DatabaseOption = None, as_json: JsonOption = False) -> int:
    """Make a tenant, unless it is there.

    On PostgreSQL that is a schema of its name with cloaca's tables, and a role that may log in, read and write their
    rows, and nothing else; on SQLite a file beside the database's own: orders@acme.db beside orders.db.

    \b
    --json prints:
      {"name", "place", "role"}

    \b
    Examples:
      cloaca tenants create acme --database postgresql://admin@db/shop
    """
    return create_tenant(name, database, as_json=as_json)


@tenants.command("list")
def _list(database: DatabaseOption = None, as_json: JsonOption = False) -> int:
    """List tenants, by name.

    \b
    --json prints a list of:
      {"name", "place", "role"}

    \b
    Examples:
      cloaca tenants list
    """
    return list_tenants(database, as_json=as_json)


@tenants.command("drop")
def _drop(
    name: NameArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Delete all its runs. Without it nothing is done.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also while workers are alive there; they fail.")] = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> int:
    """Delete a tenant, with all its runs and schedules, and its role. That can't be undone.

    \b
    --json prints:
      {"dropped"}

    \b
    Examples:
      cloaca tenants drop acme --yes
    """
    return drop_tenant(name, database, yes=yes, force=force, as_json=as_json)


@tenants.command("credentials")
def _credentials(
    name: NameArgument,
    *,
    rotate: Annotated[bool, typer.Option("--rotate", help="New ones; the old password ends.")] = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> int:
    """Print the URL that a tenant's own programs log in with, once.

    The password in it is made now and kept nowhere: put it where your programs find it. Connections that are open stay
    open when it is rotated.

    \b
    --json prints:
      {"tenant", "user", "password", "url"}

    \b
    Examples:
      cloaca tenants credentials acme > /run/secrets/acme-database-url
      cloaca tenants credentials acme --rotate --json
    """
    return show_credentials(name, database, rotate=rotate, as_json=as_json)
