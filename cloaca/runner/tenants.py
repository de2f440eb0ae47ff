"""Tenants of a database: whose names there are, making them, dropping them, and what their programs log in with.

What a tenant is depends on the database: a schema and a role on PostgreSQL, a file on SQLite. It checks names and hands
on; what is done there, the stores know.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from cloaca.errors import InvalidDatabaseUrl
from cloaca.ports import TenantStore
from cloaca.runner.databases import open_tenants, url_of
from cloaca.stores.tenant_names import checked_tenant

T = TypeVar("T")

SECRET_OPTIONS = ("user", "password", "passfile")


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant. ``place`` is its schema on PostgreSQL, its file on SQLite; ``role`` its role, None if it has none.

    >>> Tenant("acme", place="cloaca_acme", role="cloaca_acme")
    Tenant(name='acme', place='cloaca_acme', role='cloaca_acme')
    """

    name: str
    place: str
    role: str | None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a tenant's own program logs in with: ``Runner(credentials.url, tenant=credentials.tenant)``.

    ``password`` and ``url`` are not shown when it is printed. On SQLite there is neither user nor password, and ``url``
    is that of the database.

    >>> Credentials("acme", "cloaca_acme", password="secret", url="postgresql://cloaca_acme:secret@db/shop")
    Credentials(tenant='acme', user='cloaca_acme')
    """

    tenant: str
    user: str | None
    password: str | None = field(repr=False)
    url: str = field(repr=False)


TenantList: TypeAlias = list[Tenant]  # there where `list` is a method


class Tenants:
    """The tenants of a database.

    Args:
        database: as for a ``Runner``. On PostgreSQL its user may create schemas and roles (CREATEROLE).

    Every method raises InvalidTenant for a name that no tenant can have, StoreError if the database can't be used.

    Raises:
        InvalidDatabaseUrl: it is no URL of a database that has tenants.

    >>> import asyncio
    >>> from tempfile import TemporaryDirectory
    >>> async def main(database: Path) -> None:
    ...     tenants = Tenants(database)
    ...     await tenants.create("acme")
    ...     print([tenant.name for tenant in await tenants.list()])
    >>> with TemporaryDirectory() as directory:
    ...     asyncio.run(main(Path(directory) / "shop.db"))
    ['acme']
    """

    def __init__(self, database: str | Path | None = None) -> None:
        self._url = url_of(database)
        self._store: TenantStore = open_tenants(self._url)

    async def create(self, name: str) -> Tenant:
        """Make a tenant with its tables, unless it is there, and return it; who was interrupted calls it again.

        On PostgreSQL a role is made, too, that may log in, and read and write rows of the tenant's tables and nothing
        else. It has no password until ``credentials`` gives it one.

        Raises:
            ForeignDatabase: a schema, a role or a file of that name is there, and is not cloaca's.
            NotIsolated: everybody has rights in this database, and the role would have them, too.
        """
        await self._store.create(checked_tenant(name))
        [found] = await self._store.list(name)
        return Tenant(*found)

    async def list(self) -> TenantList:
        """Return the tenants, by name."""
        return [Tenant(*found) for found in await self._store.list()]

    async def drop(self, name: str, *, force: bool = False) -> None:
        """Delete a tenant: all its runs and schedules, its tables, its role. That can't be undone.

        Args:
            name: the tenant's name.
            force: also while workers are alive there; they are not told, and fail.

        Raises:
            UnknownTenant: there is none of that name.
            TenantInUse: a worker is alive there, or somebody else's tables or rights need what would go.
            ForeignDatabase: there are tables in it that are not cloaca's: they are never dropped.
        """
        await self._store.drop(checked_tenant(name), force=force)

    async def credentials(self, name: str, *, rotate: bool = False) -> Credentials:
        """Give a tenant's role a password, and return it: once, it is kept nowhere.

        Args:
            name: the tenant's name.
            rotate: a new one in place of the one that was given before. Whoever is connected stays so.

        Raises:
            UnknownTenant: there is none of that name.
            CredentialsGiven: they were given before, and ``rotate`` does not say to make new ones.
        """
        given = await self._store.credentials(checked_tenant(name), rotate=rotate)
        if given is None:
            return Credentials(name, None, None, self._url)
        user, password, database = given
        return Credentials(name, user, password, url_for(self._url, user, password, database))


class BlockingTenants:
    """``Tenants`` without ``await``.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as directory:
    ...     tenants = BlockingTenants(Path(directory) / "shop.db")
    ...     created = tenants.create("acme")
    ...     print(created.name, Path(created.place).name, [tenant.name for tenant in tenants.list()])
    ...     print(tenants.credentials("acme").user)
    ...     tenants.drop("acme")
    ...     print(tenants.list())
    acme shop@acme.db ['acme']
    None
    []
    """

    def __init__(self, database: str | Path | None = None) -> None:
        self._tenants = Tenants(database)

    def create(self, name: str) -> Tenant:
        """As ``Tenants.create``."""
        return _waited(self._tenants.create(name))

    def list(self) -> TenantList:
        """As ``Tenants.list``."""
        return _waited(self._tenants.list())

    def drop(self, name: str, *, force: bool = False) -> None:
        """As ``Tenants.drop``."""
        _waited(self._tenants.drop(name, force=force))

    def credentials(self, name: str, *, rotate: bool = False) -> Credentials:
        """As ``Tenants.credentials``."""
        return _waited(self._tenants.credentials(name, rotate=rotate))


def _waited(work: Coroutine[Any, Any, T]) -> T:
    from cloaca.runner.blocking import LoopThread  # noqa: PLC0415 - it loads the whole runner

    loop = LoopThread()
    try:
        return loop.call(work)
    finally:
        loop.close()


def url_for(url: str, user: str, password: str, database: str) -> str:
    """Return the URL of the same database for another user.

    >>> url_for("postgresql://me:secret@db:5432?sslmode=require&user=me", "you", "x/y", "shop")
    'postgresql://you:x%2Fy@db:5432/shop?sslmode=require'
    """
    try:
        parts = urlsplit(url)
        options = [(name, value) for name, value in parse_qsl(parts.query) if name not in SECRET_OPTIONS]
    except ValueError:
        raise InvalidDatabaseUrl("the URL of this database can't be read, so none can be made of it") from None
    names_one = parts.path.strip("/") or {"database", "dbname"} & {name for name, _ in options}
    path = parts.path if names_one else f"/{quote(database, safe='')}"
    host = parts.netloc.rpartition("@")[2]
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@{host}"
    return urlunsplit((parts.scheme, login, path, urlencode(options, safe="/", quote_via=quote), ""))
