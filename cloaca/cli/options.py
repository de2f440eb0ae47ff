"""The arguments and options that commands share, and the help of a group that is called without a command.

It knows typer, and what the words of an option mean.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from cloaca.cli.durations import read_duration
from cloaca.cli.refusals import Exit, Refusal
from cloaca.cli.tenant_options import of_tenant

TargetArgument = Annotated[
    str,
    typer.Argument(metavar="TARGET", help="module:workflow, path/to/file.py:workflow; or a module that has only one"),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        envvar="CLOACA_DATABASE_URL",
        callback=of_tenant,
        help="sqlite:///orders.db, postgresql://user@host/name [default: sqlite:///cloaca.db]",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

RunArgument = Annotated[str, typer.Argument(metavar="ID", help="A run's id, as `cloaca runs list` shows it.")]


def helping(context: typer.Context) -> None:
    """Show the help of a group that is called without a command, which is wrong usage."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(Exit.USAGE)


def as_duration(text: str, option: str) -> timedelta:
    """Return the duration that an option says. Raises Refusal."""
    try:
        return read_duration(text)
    except ValueError as error:
        raise Refusal(f"{option}: {error}") from None
