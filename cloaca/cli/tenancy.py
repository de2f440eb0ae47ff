"""``cloaca tenants``: what the tenants of a database are, on the command line.

It does what ``Tenants`` does, and prints what it returns; a password goes to standard output and nowhere else.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from cloaca.cli.documents import write_document
from cloaca.cli.refusals import Exit, Refusal
from cloaca.cli.streams import data_stream, in_one_line, print_data, remark
from cloaca.runner.tenants import Tenant, Tenants


def create_tenant(name: str, database: str | None, *, as_json: bool) -> Exit:
    """Make a tenant and say where it is. Raises CloacaError."""
    with data_stream() as out:
        made = asyncio.run(Tenants(database).create(name))
        if as_json:
            write_document(out, asdict(made))
        else:
            role = f', for role "{made.role}"' if made.role else ""
            out.write(f'tenant "{made.name}" is in {made.place}{role}\n')
    return Exit.DONE


def list_tenants(database: str | None, *, as_json: bool) -> Exit:
    """Print the tenants, by name. Raises CloacaError."""
    with data_stream() as out:
        found = asyncio.run(Tenants(database).list())
        if as_json:
            write_document(out, [asdict(tenant) for tenant in found])
        elif found:
            print_data(out, _table(found))
        else:
            remark("no tenants")
    return Exit.DONE


def drop_tenant(name: str, database: str | None, *, yes: bool, force: bool, as_json: bool) -> Exit:
    """Delete a tenant, if that is surely meant. Raises Refusal and CloacaError."""
    tenants = Tenants(database)
    if not yes:
        raise Refusal(f'"{name:.80}" was not dropped: all its runs would be deleted for good', "Say --yes to do it.")
    with data_stream() as out:
        asyncio.run(tenants.drop(name, force=force))
        if as_json:
            write_document(out, {"dropped": name})
        else:
            out.write(f'tenant "{name}" is gone\n')
    return Exit.DONE


def show_credentials(name: str, database: str | None, *, rotate: bool, as_json: bool) -> Exit:
    """Print the URL of a tenant's role with a new password. Raises CloacaError."""
    with data_stream() as out:
        given = asyncio.run(Tenants(database).credentials(name, rotate=rotate))
        if as_json:
            write_document(out, asdict(given))
        else:
            out.write(f"{given.url}\n")
    return Exit.DONE


def _table(found: list[Tenant]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in ("NAME", "PLACE", "ROLE"):
        table.add_column(title, overflow="fold")
    for tenant in found:
        table.add_row(tenant.name, Text(in_one_line(tenant.place)), tenant.role or "")
    return table
