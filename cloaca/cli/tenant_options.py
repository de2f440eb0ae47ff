"""``--tenant``: every command that takes ``--database`` or ``--against`` takes it too, and needs to know nothing of it.

The command gets a URL that says whose tables are meant. It knows typer's commands and options.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from typer.main import get_command

from cloaca.runner.databases import TenantUrl, url_of

DATABASES: Final = ("database", "against")  # parameters whose value says where runs are
OWN: Final = "cloaca.tenant"  # under which a context has the name
ABOUT_TENANTS: Final = "tenants"  # the group whose commands are about tenants, and not in one


def with_tenants(command: Any) -> Any:
    """Give every command below that takes a database the option ``--tenant``, unless it has one of its own."""
    for name, child in getattr(command, "commands", {}).items():
        if name != ABOUT_TENANTS:
            with_tenants(child)
    names = [param.name for param in command.params]
    place = next((names.index(name) for name in DATABASES if name in names), None)
    if place is not None and "tenant" not in names:
        command.params.insert(place + 1, _option())
    return command


def _keep(context: typer.Context, name: str | None) -> str | None:
    context.meta[OWN] = name
    return name


def _option() -> Any:
    """Return the option, as typer makes it of a command that has it."""
    program = typer.Typer()

    @program.command()
    def only(
        tenant: Annotated[
            str | None,
            typer.Option(
                "--tenant",
                metavar="NAME",
                help="Whose runs: a tenant of the database.",
                callback=_keep,
                is_eager=True,  # before the database, which says it on
                expose_value=False,
            ),
        ] = None,
    ) -> None:
        """Do nothing."""

    return next(param for param in get_command(program).params if param.name == "tenant")


def of_tenant(context: typer.Context, database: str | None) -> str | None:
    """Return the database of a command: with its tenant, if the command line names one.

    Raises:
        InvalidTenant: nobody can have that name.
        BadParameter: a tenant of no database: that of ``check`` has no default.
    """
    name = context.meta.get(OWN)
    if name is not None and database is None and context.command.name == "check" and not context.resilient_parsing:
        raise typer.BadParameter("--tenant needs --against: it says whose runs to look at")
    return database if name is None else TenantUrl.of(url_of(database), name)
