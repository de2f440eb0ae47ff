"""The tenants of a database: made, listed, removed. It knows names and places, not what a tenant's runs do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class TenantStore(Protocol):
    """The tenants of a database. Names are checked by who calls."""

    async def create(self, tenant: str) -> None:
        """Make a tenant, as far as it is not there yet."""
        ...

    async def list(self, tenant: str | None = None) -> Sequence[tuple[str, str, str | None]]:
        """Return the name, the place and the role of each tenant, or of one, by name."""
        ...

    async def drop(self, tenant: str, *, force: bool) -> None:
        """Remove a tenant with all it has. Raises UnknownTenant, TenantInUse, ForeignDatabase."""
        ...

    async def credentials(self, tenant: str, *, rotate: bool) -> tuple[str, str, str] | None:
        """Return user, password and database, None where nobody logs in. Raises UnknownTenant, CredentialsGiven."""
        ...
