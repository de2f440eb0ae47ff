"""Looking after PostgreSQL: each schema that has tables of cloaca's, as far as the role may see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from sqlalchemy import Connection, text

from cloaca.stores.sql import examining, migrating, postgres_migrating, postgres_schema
from cloaca.stores.sql.postgres import UPGRADE_S
from cloaca.stores.sql.postgres_failures import shown, translated
from cloaca.stores.sql.postgres_links import SERVER_CLOCK, Link, Names, connect, hang_up
from cloaca.stores.sql.postgres_roles import READ_ONLY
from cloaca.stores.sql.upkeep import Finding, Report, State, state_of

T = TypeVar("T")

SCHEMAS = (
    "SELECT n.nspname FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
    "WHERE c.relname = 'cloaca_meta' AND c.relkind = 'r' AND has_schema_privilege(n.oid, 'USAGE') ORDER BY n.nspname"
)
IDLE_S, OLD_S = 60, 3600
MANY_ROWS = 10_000
TABLES = (
    "FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
    "WHERE n.nspname = :schema AND c.relname LIKE 'cloaca\\_%' AND c.relkind = 'r'"
)
SIZES = f"SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::int8 {TABLES}"
SWITCHED_OFF = f"SELECT c.relname {TABLES} AND 'autovacuum_enabled=false' = ANY(c.reloptions)"
ALLOWED = " AND ".join(f"has_table_privilege(c.oid, '{right}')" for right in ("SELECT", "INSERT", "UPDATE", "DELETE"))
FORBIDDEN = f"SELECT c.relname {TABLES} AND NOT ({ALLOWED}) AND c.relname !~ '^({READ_ONLY.pattern})$'"
MAY_MAKE = "SELECT has_schema_privilege(:schema, 'CREATE')"
ROWS = "FROM pg_catalog.pg_stat_user_tables WHERE schemaname = :schema AND relname LIKE 'cloaca\\_%'"
NEVER_COUNTED = (
    f"SELECT relname {ROWS} AND n_live_tup > {MANY_ROWS} AND last_analyze IS NULL AND last_autoanalyze IS NULL"
)
DEAD = f"SELECT relname {ROWS} AND n_dead_tup > {MANY_ROWS} AND n_dead_tup > n_live_tup"
IDLE = (
    "SELECT pid || ' (' || coalesce(nullif(application_name, ''), usename::text, '?') || ')' "
    "FROM pg_catalog.pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%' "
    f"AND state_change < now() - interval '{IDLE_S} seconds'"
)
OLD = (
    "SELECT pid || ' (' || coalesce(nullif(application_name, ''), usename::text, '?') || ')' "
    "FROM pg_catalog.pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    f"AND backend_type = 'client backend' AND xact_start < now() - interval '{OLD_S} seconds'"
)


class PostgresUpkeep:
    """Looks after the database that ``url`` names: after ``schema``, or after all that it has."""

    def __init__(self, url: str, *, schema: str | None = None) -> None:
        self.place, self._url, self._only = shown(url), url, schema
        self._schema = schema or "cloaca"

    async def states(self) -> list[State]:
        """Return where each schema stands."""
        with translated(self.place):
            return [await self._state(name) for name in await self._schemas()]

    async def upgrade(self, *, after_deployment: bool) -> list[tuple[str, list[str]]]:
        """Upgrade each schema, and make the usual one if there is none."""
        reached = []
        with translated(self.place):
            for name in await self._schemas() or [self._schema]:
                connector = self._connector(name)
                where = await self._with(name, lambda link: _checked(link, self.place))
                done = await postgres_migrating.upgrade(connector, where, after_deployment=after_deployment)
                reached.append((name, done))
        return reached

    async def reports(self, *, thorough: bool) -> list[Report]:
        """Examine each schema."""
        with translated(self.place):
            return [await self._report(name, thorough) for name in await self._schemas()]

    async def _schemas(self) -> list[str]:
        found = await self._with(self._schema, _schemas)
        return found if self._only is None else [name for name in found if name == self._only]

    async def _state(self, schema: str) -> State:
        async def look(link: Link) -> tuple[State, str]:
            where = postgres_schema.where_of(link, self.place)
            return state_of(schema, await postgres_schema.look(link), where), where

        state, where = await self._with(schema, look)
        if not state.is_unversioned:
            return state
        return state.unless(await self._examined(schema, lambda found: migrating.unreleased(found, schema, where)))

    async def _report(self, schema: str, thorough: bool) -> Report:
        state = await self._state(schema)
        if not state.is_current:
            return Report(state)
        return await self._examined(schema, lambda found: _report(found, schema, state, thorough))

    async def _examined(self, schema: str, examine: Callable[[Connection], T]) -> T:
        """Return what is found on a connection that sees one moment and changes nothing."""
        async with postgres_migrating.bridged(self._connector(schema)) as (link, in_greenlet):

            def work(connection: Connection) -> T:
                with postgres_migrating.read_only(link):
                    return examine(connection)

            answer: T = await in_greenlet(work)
            return answer

    def _connector(self, schema: str) -> Callable[[], Awaitable[Link]]:
        names = Names(schema)
        return lambda: connect(self._url, names, timeout_s=UPGRADE_S)

    async def _with(self, schema: str, work: Callable[[Link], Awaitable[T]]) -> T:
        link = await connect(self._url, Names(schema))
        try:
            return await work(link)
        finally:
            await hang_up(link)


async def _schemas(link: Link) -> list[str]:
    return [row[0] for row in await link.ask(SCHEMAS)]


async def _checked(link: Link, place: str) -> str:
    postgres_schema.refuse_version(link, place)
    await postgres_schema.refuse_encoding(link, place)
    return postgres_schema.where_of(link, place)


def _report(connection: Connection, schema: str, state: State, thorough: bool) -> Report:
    findings = list(examining.structural(connection, schema, state))
    if not thorough:
        return Report(state, findings)
    asked = _Asked(connection, schema)
    findings += _of_rights(asked)
    if not any(finding.level == "problem" for finding in findings):
        findings += examining.general(connection, schema, SERVER_CLOCK)
    findings += _of_server(asked)
    return Report(state, findings, _facts(asked))


class _Asked:
    """Asks for lists of names, and for single values."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self._connection, self.schema = connection, schema

    def names(self, statement: str) -> list[str]:
        return [str(row[0]) for row in self._rows(statement)]

    def one(self, statement: str) -> Any:
        return self._rows(statement)[0][0]

    def _rows(self, statement: str) -> Any:
        given = {"schema": self.schema} if ":schema" in statement else {}
        return self._connection.execute(text(statement), given).all()


def _facts(asked: _Asked) -> dict[str, str | int | float | None]:
    prefix = asked.schema.replace('"', '""').replace(":", "\\:")
    return {
        "server_version": asked.one("SHOW server_version"),
        "bytes": asked.one(SIZES),
        "autovacuum": asked.one("SHOW autovacuum"),
        "idle_in_transaction_session_timeout": asked.one("SHOW idle_in_transaction_session_timeout"),
        "runs": asked.one(f'SELECT count(*) FROM "{prefix}".cloaca_run'),
        "tasks": asked.one(f'SELECT count(*) FROM "{prefix}".cloaca_task'),
    }


def _of_rights(asked: _Asked) -> Iterator[Finding]:
    forbidden = asked.names(FORBIDDEN)
    if forbidden:
        message = f"this role may not read and write {', '.join(forbidden)}"
        yield Finding("permissions", "problem", message, "make the role the owner of the schema and its tables")
    if not asked.one(MAY_MAKE):
        message = "this role can't make tables here, so it can't upgrade them either"
        yield Finding("permissions", "advice", message, "run `cloaca db upgrade` as the owner of the schema")


def _of_server(asked: _Asked) -> Iterator[Finding]:
    if asked.one("SHOW autovacuum") != "on":
        message = "autovacuum is off: dead rows are never cleared away, and plans are made from stale figures"
        yield Finding("autovacuum", "problem", message, "ALTER SYSTEM SET autovacuum = on, and reload the server")
    tables = asked.names(SWITCHED_OFF)
    if tables:
        message = f"autovacuum is off for {', '.join(tables)}"
        yield Finding("autovacuum", "problem", message, "ALTER TABLE ... RESET (autovacuum_enabled)")
    tables = asked.names(NEVER_COUNTED)
    if tables:
        message = f"the server has no statistics of {', '.join(tables)}"
        yield Finding("statistics", "advice", message, "ANALYZE them, and see why autovacuum does not")
    tables = asked.names(DEAD)
    if tables:
        message = f"most rows of {', '.join(tables)} are dead"
        yield Finding("dead-rows", "advice", message, "VACUUM them, and see what keeps autovacuum from it")
    idle = asked.names(IDLE)
    if idle:
        message = f"{len(idle)} connections sit idle in a transaction for more than a minute: {', '.join(idle[:3])}"
        remedy = "they hold locks and keep dead rows: end them with pg_terminate_backend(pid), and set "
        yield Finding("idle-in-transaction", "advice", message, remedy + "idle_in_transaction_session_timeout")
    old = asked.names(OLD)
    if old:
        message = f"{len(old)} transactions are older than an hour: {', '.join(old[:3])}"
        yield Finding("old-transactions", "advice", message, "they keep dead rows from being cleared away: end them")
