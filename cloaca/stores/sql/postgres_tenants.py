"""Tenants of a PostgreSQL database: a schema for each, with cloaca's tables, and a role that reaches nothing else.

The catalogs are the list of tenants: there is no table of them that could disagree. Each step is a transaction that
does nothing if it is done, so whoever was killed half-way is followed by whoever comes next; and many at once may
get in each other's way, which the server notices, and then they try again. It knows schemas; roles, ``postgres_roles``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

import asyncpg

from cloaca.errors import CredentialsGiven, ForeignDatabase, StoreUnavailable, TenantInUse, UnknownTenant
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.postgres_failures import code_of, shown, translated
from cloaca.stores.sql.postgres_links import Link, Names, connect, hang_up, transaction
from cloaca.stores.sql.postgres_roles import (
    GRANTEE,
    drop_role,
    let_at_tables,
    let_in,
    make_role,
    new_password,
    quoted,
    refuse_everybodys,
    role_of,
)
from cloaca.stores.sql.postgres_roles import MARK as ROLE_MARK
from cloaca.stores.tenant_names import in_use, is_tenant

T = TypeVar("T")
Found: TypeAlias = list[tuple[str, str, str | None]]

MARK: Final = "cloaca: the schema of a tenant"
TRIES: Final = 20
PAUSE_S: Final = 0.05
# Somebody else was just doing the same: a schema, a role, a right; XX000 is "tuple concurrently updated".
IN_THE_WAY: Final = ("42P06", "42710", "42P07", "23505", "40P01", "40001", "XX000")

HAS_SCHEMA = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = ?"
TENANTS = (
    f"SELECT n.nspname, (SELECT min(r.rolname::text) {GRANTEE}) FROM pg_catalog.pg_namespace AS n "
    "WHERE n.nspname !~ '^pg_' AND "
    "(obj_description(n.oid, 'pg_namespace') = ? OR EXISTS (SELECT 1 FROM pg_catalog.pg_class AS c "
    "WHERE c.relnamespace = n.oid AND c.relname = 'cloaca_meta')) AND (?::text IS NULL OR n.nspname = ?) "
    'ORDER BY n.nspname COLLATE "C"'
)
# What lives in a schema, beside tables' own indexes, types and sequences, which go with them.
CONTENTS = (
    "SELECT relname::text FROM pg_catalog.pg_class WHERE relnamespace = n.oid AND relkind NOT IN ('i', 'I', 'S') "
    "UNION ALL SELECT proname::text FROM pg_catalog.pg_proc WHERE pronamespace = n.oid"
)
FOREIGN = (
    f"SELECT found.name FROM pg_catalog.pg_namespace AS n, LATERAL ({CONTENTS}) AS found(name) "
    "WHERE n.nspname = ? AND found.name NOT LIKE 'cloaca\\_%' ORDER BY 1 LIMIT 3"
)
OURS = (
    "SELECT c.relname, c.relkind::text FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n "
    "ON n.oid = c.relnamespace WHERE n.nspname = ? AND c.relkind IN ('r', 'p', 'v', 'm') ORDER BY c.relkind DESC, 1"
)
LIVE = "SELECT count(*) FROM {schema}.cloaca_session WHERE expires_at > {now}"
DROPS: Final = {"v": "VIEW", "m": "MATERIALIZED VIEW"}


class PostgresTenants:
    """The tenants of the database at ``url``. Its user may create schemas and roles."""

    def __init__(self, url: str) -> None:
        self._url, self.place = url, shown(url)

    async def create(self, tenant: str) -> None:
        """Make a tenant's schema, role and tables, as far as they are not there yet."""

        async def make(link: Link) -> None:
            async with transaction(link):
                await _make_schema(link, tenant)
                role = await make_role(link, tenant)
                await let_in(link, role)
                await refuse_everybodys(link)
            await self._make_tables(tenant)
            async with transaction(link):
                await let_at_tables(link, role)

        await self._again(tenant, make)

    async def list(self, tenant: str | None = None) -> Found:
        """Return the name, the schema and the role of each tenant, or of one, by name."""

        async def look(link: Link) -> Found:
            found = await link.ask(TENANTS, *_asked(tenant))
            return [(name, name, role) for name, role in found if is_tenant(name)]

        return await self._again("cloaca", look)

    async def drop(self, tenant: str, *, force: bool) -> None:
        """Remove a tenant's tables, schema and role, with all that they have, or nothing of it."""

        async def remove(link: Link) -> None:
            async with transaction(link):
                await self._refuse_unknown(link, tenant)
                await self._refuse_foreign(link, tenant)
                role = await role_of(link)
                await self._drop_tables(link, tenant, force=force)
                await link.ask("DROP SCHEMA {schema}")
                if role is not None:
                    await drop_role(link, role)

        try:
            await self._again(tenant, remove)
        except asyncpg.DependentObjectsStillExistError as error:
            raise TenantInUse(
                f'tenant "{tenant}" was not dropped: {error} ({error.detail}): take that away first'
            ) from None

    async def credentials(self, tenant: str, *, rotate: bool) -> tuple[str, str, str]:
        """Give a tenant's role a new password; return the role's name, the password and the database's name."""

        async def give(link: Link) -> tuple[str, str, str]:
            async with transaction(link):
                await self._refuse_unknown(link, tenant)
                role = await role_of(link)
                if role is None:
                    raise UnknownTenant(f'tenant "{tenant}" has no role: create("{tenant}") makes it')
                password, given = await new_password(link, role)
                if given and not rotate:  # which undoes it
                    raise CredentialsGiven(
                        f'the password of tenant "{tenant}" was given out before, and is kept nowhere: take it from '
                        "where it was put then, or have a new one made with rotate=True, which ends the old one"
                    )
                [(database,)] = await link.ask("SELECT current_database()")
            return role, password, str(database)

        return await self._again(tenant, give)

    async def _make_tables(self, tenant: str) -> None:
        store = PostgresStore(self._url, schema=tenant)
        try:
            await store.open()
        finally:
            await store.close()

    async def _refuse_unknown(self, link: Link, tenant: str) -> None:
        if not await link.ask(TENANTS, *_asked(tenant)):
            raise UnknownTenant(
                f'no tenant is named "{tenant}" in {self.place}: a tenant is a schema that has cloaca\'s tables'
            )

    async def _refuse_foreign(self, link: Link, tenant: str) -> None:
        found = [row[0] for row in await link.ask(FOREIGN, tenant)]
        if found:
            raise ForeignDatabase(
                f'schema "{tenant}" of {self.place} has what cloaca did not make ({", ".join(found)}), which is never '
                "dropped: move it or drop it yourself, then drop the tenant"
            )

    async def _drop_tables(self, link: Link, tenant: str, *, force: bool) -> None:
        ours = [(str(name), str(kind)) for name, kind in await link.ask(OURS, tenant)]
        tables = [f"{link.names.schema}.{quoted(name)}" for name, kind in ours if kind not in DROPS]
        if tables:
            await link.connection.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
            if not force and "cloaca_session" in [name for name, _ in ours]:
                await self._refuse_live(link, tenant)
        for name, kind in ours:
            if kind in DROPS:
                await link.connection.execute(f"DROP {DROPS[kind]} {link.names.schema}.{quoted(name)}")
        if tables:
            await link.connection.execute(f"DROP TABLE {', '.join(tables)}")

    async def _refuse_live(self, link: Link, tenant: str) -> None:
        [(live,)] = await link.ask(LIVE)
        if live:
            raise in_use(tenant, int(live))

    async def _again(self, tenant: str, work: Callable[[Link], Awaitable[T]]) -> T:
        """Do something on a connection of its own, again if others were just doing it."""
        link = await connect(self._url, Names(tenant))
        try:
            for tried in range(1, TRIES + 1):
                try:
                    return await self._translated(work(link))
                except asyncpg.PostgresError as error:
                    if code_of(error) not in IN_THE_WAY or tried == TRIES:
                        raise
                    await asyncio.sleep(PAUSE_S)
        finally:
            await hang_up(link)
        raise AssertionError("the last try returns or raises")

    async def _translated(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except asyncpg.InsufficientPrivilegeError as error:
            raise StoreUnavailable(
                f"{self.place} does not let this role look after tenants ({error}): connect as one that has CREATEROLE "
                "and may create schemas here (GRANT CREATE ON DATABASE), and that owns the tenants' schemas"
            ) from error
        except asyncpg.PostgresError as error:
            if code_of(error) in (*IN_THE_WAY, asyncpg.DependentObjectsStillExistError.sqlstate):
                raise
            with translated(self.place):
                raise
            raise
        except (asyncpg.InterfaceError, OSError, TimeoutError):
            with translated(self.place):
                raise
            raise


def _asked(tenant: str | None) -> tuple[str | None, ...]:
    return ROLE_MARK, MARK, tenant, tenant


async def _make_schema(link: Link, tenant: str) -> None:
    """Make a tenant's schema; one that is there has to be empty, or a tenant's."""
    if await link.ask(TENANTS, *_asked(tenant)):
        return
    if await link.ask(HAS_SCHEMA, tenant):
        if found := [row[0] for row in await link.ask(FOREIGN, tenant)]:
            raise ForeignDatabase(
                f'schema "{tenant}" is there already, and has what cloaca did not make ({", ".join(found)}): choose '
                "another name for the tenant"
            )
    else:
        await link.ask("CREATE SCHEMA {schema}")
    await link.connection.execute(f"COMMENT ON SCHEMA {link.names.schema} IS '{MARK}'")
