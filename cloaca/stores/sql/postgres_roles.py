"""The role of a tenant on PostgreSQL: its name, its rights, its password.

A role is of the whole server, so its name says the database, too. It may log in and read and write the rows of one
schema's tables; it owns nothing and makes nothing, so that whoever works for all tenants never executes what a tenant
has written (a trigger, a rule, a function). A password reaches the server as what it would store: no log has it.
It knows roles and rights, not tenants' tables.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b64encode
from typing import Final

from cloaca.errors import ForeignDatabase, NotIsolated
from cloaca.stores.sql.postgres_links import Link

MARK: Final = "cloaca: the role of a tenant"
GIVEN: Final = f"{MARK}, whose password was given out"
READ_ONLY: Final = re.compile(r"cloaca_meta|cloaca_.*(version|migration).*")  # the owner's alone: what the tables are
ITERATIONS: Final = 4096
PASSWORD_BYTES: Final = 24
SHOWN: Final = 5

DATABASE = "SELECT current_database()"
ROLE = "SELECT shobj_description(oid, 'pg_authid') FROM pg_catalog.pg_roles WHERE rolname = ?"
# The roles with rights in a schema n: also after the database was given another name.
GRANTEE = (
    "FROM aclexplode(n.nspacl) AS acl JOIN pg_catalog.pg_roles AS r ON r.oid = acl.grantee "
    "WHERE acl.privilege_type = 'USAGE' AND shobj_description(r.oid, 'pg_authid') LIKE ? || '%'"
)
ROLES = f"SELECT (SELECT min(r.rolname::text) {GRANTEE}) FROM pg_catalog.pg_namespace AS n WHERE n.nspname = ?"
MAY_CONNECT = "SELECT has_database_privilege(?::text, current_database(), 'CONNECT')"
MAY_ENTER = "SELECT has_schema_privilege(?::text, ?::text, 'USAGE')"
TABLES = (
    "SELECT c.relname, c.relkind = 'S', CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(r.oid, c.oid, 'USAGE') "
    "ELSE has_table_privilege(r.oid, c.oid, 'SELECT') END, c.relkind <> 'S' AND "
    "has_table_privilege(r.oid, c.oid, 'INSERT') AND has_table_privilege(r.oid, c.oid, 'UPDATE') AND "
    "has_table_privilege(r.oid, c.oid, 'DELETE'), c.relkind <> 'S' AND "
    "has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE'), c.relkind = 'v' FROM pg_catalog.pg_class AS c "
    "JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace, pg_catalog.pg_roles AS r "
    "WHERE n.nspname = ? AND r.rolname = ? AND c.relkind IN ('r', 'p', 'v', 'm', 'S') ORDER BY c.relname"
)
# What everybody may do here, beside what everybody may do in every database: look at catalogs, make temporary tables.
EVERYBODYS = (
    "WITH theirs AS (SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' "
    "AND nspname <> 'information_schema' AND has_schema_privilege('public', oid, 'USAGE')) "
    "SELECT format('CREATE ON SCHEMA %I', nspname) FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' "
    "AND has_schema_privilege('public', oid, 'CREATE') "
    "UNION ALL SELECT format('ALL ON TABLE %I.%I', nspname, relname) FROM theirs JOIN pg_catalog.pg_class AS c "
    "ON c.relnamespace = theirs.oid WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND (has_table_privilege('public', "
    "c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') OR has_any_column_privilege('public', "
    "c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')) "
    "UNION ALL SELECT format('ALL ON SEQUENCE %I.%I', nspname, relname) FROM theirs JOIN pg_catalog.pg_class AS c "
    "ON c.relnamespace = theirs.oid WHERE CASE relkind WHEN 'S' THEN has_sequence_privilege('public', "
    "c.oid, 'USAGE, SELECT, UPDATE') ELSE false END "
    "UNION ALL SELECT format('EXECUTE ON FUNCTION %s', p.oid::regprocedure) FROM theirs JOIN pg_catalog.pg_proc AS p "
    "ON p.pronamespace = theirs.oid WHERE p.prosecdef AND has_function_privilege('public', p.oid, 'EXECUTE') "
    "ORDER BY 1"
)


async def role_of(link: Link) -> str | None:
    """Return the name of the role of a schema's tenant, None if it has none."""
    found = [row[0] for row in await link.ask(ROLES, MARK, link.names.plain)]
    return found[0] if found else None


async def role_name(link: Link, tenant: str) -> str:
    """Return the name that a tenant's role gets in this database.

    A role of two databases would reach both: so it has a digest of the database's name.
    """
    [(database,)] = await link.ask(DATABASE)
    return f"cloaca_{tenant}_{hashlib.sha256(database.encode()).hexdigest()[:8]}"


async def make_role(link: Link, tenant: str) -> str:
    """Make a tenant's role if it is not there, without a password: nobody can log in yet. Return its name."""
    name = await role_of(link) or await role_name(link, tenant)
    found = await link.ask(ROLE, name)
    if not found:
        await link.connection.execute(
            f"CREATE ROLE {quoted(name)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS"
        )
        await link.connection.execute(f"COMMENT ON ROLE {quoted(name)} IS {literal(MARK)}")
    elif not str(found[0][0] or "").startswith(MARK):
        raise ForeignDatabase(f"role {quoted(name)} is there already, and cloaca did not make it: rename or drop it")
    return name


async def let_in(link: Link, role: str) -> None:
    """Let a role into its schema, and at what will be made there by whoever makes the tables."""
    if not (await link.ask(MAY_CONNECT, role))[0][0]:
        [(database,)] = await link.ask(DATABASE)
        await link.connection.execute(f"GRANT CONNECT ON DATABASE {quoted(database)} TO {quoted(role)}")
    if not (await link.ask(MAY_ENTER, role, link.names.plain))[0][0]:
        future = f"ALTER DEFAULT PRIVILEGES IN SCHEMA {link.names.schema} GRANT"
        await link.connection.execute(
            f"GRANT USAGE ON SCHEMA {link.names.schema} TO {quoted(role)}; "
            f"{future} SELECT, INSERT, UPDATE, DELETE ON TABLES TO {quoted(role)}; "
            f"{future} USAGE ON SEQUENCES TO {quoted(role)}"
        )


async def let_at_tables(link: Link, role: str) -> None:
    """Let a role read and write the rows of its schema's tables; views, and what says what the tables are, it reads."""
    for table, is_sequence, reads, writes, may_write, is_view in await link.ask(TABLES, link.names.plain, role):
        place = f"{link.names.schema}.{quoted(table)}"
        only_read = is_view or bool(READ_ONLY.fullmatch(table))
        if is_sequence and not reads:
            await link.connection.execute(f"GRANT USAGE ON SEQUENCE {place} TO {quoted(role)}")
        elif not is_sequence and not (reads and (writes or only_read)):
            rights = "SELECT" if only_read else "SELECT, INSERT, UPDATE, DELETE"
            await link.connection.execute(f"GRANT {rights} ON {place} TO {quoted(role)}")
        if only_read and may_write:
            await link.connection.execute(f"REVOKE INSERT, UPDATE, DELETE ON {place} FROM {quoted(role)}")


async def refuse_everybodys(link: Link) -> None:
    """Raise NotIsolated if everybody may reach something in this database, and a tenant's role with them."""
    found = [row[0] for row in await link.ask(EVERYBODYS)]
    if found:
        more = f" (and {len(found) - SHOWN} more)" if len(found) > SHOWN else ""
        remedy = "; ".join(f"REVOKE {each} FROM PUBLIC" for each in found[:SHOWN])
        raise NotIsolated(
            "everybody has rights in this database, and a tenant's role would have them, too: take them away, or "
            f"choose a database of its own for tenants: {remedy}{more}"
        )


async def new_password(link: Link, role: str) -> tuple[str, bool]:
    """Give a role a password; return it, and whether it had one that was given out. It is kept nowhere."""
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    # It locks the role until the transaction ends: of two at once, the second sees what the first has done.
    await link.connection.execute(f"ALTER ROLE {quoted(role)} PASSWORD {literal(verifier(password))}")
    given = [row[0] for row in await link.ask(ROLE, role)] == [GIVEN]
    await link.connection.execute(f"COMMENT ON ROLE {quoted(role)} IS {literal(GIVEN)}")
    return password, given


async def drop_role(link: Link, role: str) -> None:
    """Remove a role that has no rights left but to connect. Raises the driver's error if it has others."""
    [(database,)] = await link.ask(DATABASE)
    await link.connection.execute(
        f"REVOKE ALL ON DATABASE {quoted(database)} FROM {quoted(role)}; DROP ROLE {quoted(role)}"
    )


def verifier(password: str, salt: bytes | None = None) -> str:
    """Return what PostgreSQL stores of a password (RFC 5802, SCRAM-SHA-256), from which it can't be had back.

    >>> verifier("pencil", bytes(16))[:44]
    'SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==$'
    """
    salt = secrets.token_bytes(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    client, server = (hmac.digest(salted, key, "sha256") for key in (b"Client Key", b"Server Key"))
    stored = hashlib.sha256(client).digest()
    shown = [b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{shown[0]}${shown[1]}:{shown[2]}"


def quoted(name: str) -> str:
    """Return a name as an identifier.

    >>> print(quoted('a "b" c'))
    "a ""b"" c"
    """
    if not name or "\0" in name:
        raise ValueError(f"{name!r:.80} can't be a name in PostgreSQL")
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text of ours as a literal, for a statement that takes no parameters.

    >>> literal("it's")
    "'it''s'"
    """
    if "\\" in text or "\0" in text:
        raise ValueError("a text with a backslash or NUL is no literal here")
    return "'" + text.replace("'", "''") + "'"
