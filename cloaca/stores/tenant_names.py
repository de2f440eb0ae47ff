"""Which names a tenant may have, and which SQLite file is a tenant's.

A name is also that of a schema, of a role and of a file, so it is the same on every file system and in every database:
nothing in it is read in two ways, whatever reads it. It knows names and paths, and opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cloaca.errors import InvalidTenant, TenantInUse

LONGEST_TENANT: Final = 40  # a role's name has it in it, and PostgreSQL cuts names off at 63 bytes
NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?", re.ASCII)
ALLOWED: Final = (
    f"a tenant's name has 1 to {LONGEST_TENANT} characters: small letters a to z, digits, and between them _ and -"
)
TAKEN: Final = frozenset({"cloaca", "public", "information_schema"})  # schemas that are somebody else's
BEGINNING: Final = "pg_"  # PostgreSQL's own schemas and roles
BESIDE: Final = ("-wal", "-shm", "-journal", "-lock")  # what files beside a SQLite database end with
DEVICES: Final = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]", re.ASCII)  # which Windows opens instead of a file
SEPARATOR: Final = "@"


def checked_tenant(name: object) -> str:
    """Return a tenant's name as it was given. Raises InvalidTenant, which says what is allowed.

    >>> checked_tenant("acme-2")
    'acme-2'
    """
    reason = _reason(name)
    if reason is not None:
        raise InvalidTenant(f"{ascii(name)[:80]} can't be a tenant's name: {reason}")
    assert isinstance(name, str)
    return name


def is_tenant(name: str) -> bool:
    """Whether a tenant may have this name.

    >>> is_tenant("pg_toast"), is_tenant("Acme"), is_tenant("../acme")
    (False, False, False)
    """
    return _reason(name) is None


def _reason(name: object) -> str | None:
    if not isinstance(name, str) or len(name) > LONGEST_TENANT or not NAME.fullmatch(name):
        return ALLOWED
    if name in TAKEN:
        return f"that schema is another's, here or in many a database; {ALLOWED}"
    if name.startswith(BEGINNING):
        return f"PostgreSQL keeps names that begin with {BEGINNING} for itself"
    if name.endswith(BESIDE):
        return f"files beside a SQLite database end with {', '.join(BESIDE)}"
    if DEVICES.fullmatch(name):
        return "Windows opens a device by that name, not a file"
    return None


def file_of(database: Path, tenant: str) -> Path:
    """Return the file of a tenant of a SQLite database: it lies beside it. Raises InvalidTenant.

    >>> file_of(Path("data/orders.db"), "acme").as_posix()
    'data/orders@acme.db'
    """
    name = f"{database.stem}{SEPARATOR}{checked_tenant(tenant)}{database.suffix}"
    return database.with_name(name)


def tenants_beside(database: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name and the file of each tenant whose file lies beside a SQLite database, by name."""
    if not database.parent.is_dir():
        return
    before, after = database.stem + SEPARATOR, database.suffix
    for path in sorted(database.parent.iterdir()):
        if path.name.startswith(before) and path.name.endswith(after) and path.is_file():
            name = path.name[len(before) : len(path.name) - len(after)]
            if is_tenant(name):
                yield name, path


def in_use(tenant: str, live: int) -> TenantInUse:
    """Return the error for a tenant that so many workers work for."""
    return TenantInUse(
        f'tenant "{tenant}" was not dropped: {live} worker{" is" if live == 1 else "s are"} alive there (one that was '
        "killed, until its lease runs out); stop them, or drop it with force=True; nothing was changed"
    )
