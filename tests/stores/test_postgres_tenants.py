"""Tenants on PostgreSQL: made by many at once, half-way and again; what a tenant's role reaches, shown by trying."""

from __future__ import annotations

import asyncio
import base64
import logging
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
import pytest

from cloaca import (
    CredentialsGiven,
    ForeignDatabase,
    NotIsolated,
    Runner,
    StoreUnavailable,
    TenantInUse,
    Tenants,
    UnknownTenant,
)
from cloaca.stores.sql import postgres_tenants
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.postgres_links import Link
from cloaca.stores.sql.postgres_roles import verifier
from cloaca.stores.sql.views import VIEWS
from tests.stores.asynchronous import asynchronous
from tests.stores.pgbouncers import binary, pgbouncer
from tests.stores.processes import Number, counting
from tests.stores.rows import AT, session_of, waiting
from tests.stores.tenancy import a_database, connected

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

TABLES = (
    "SELECT format('%I.%I', n.nspname, c.relname), n.nspname FROM pg_class AS c JOIN pg_namespace AS n "
    "ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'v') AND n.nspname IN ('acme', 'beta', 'cloaca', 'public')"
)


@asynccontextmanager
async def two_tenants(server: str) -> AsyncIterator[tuple[str, str]]:
    """A database with tenants acme and beta, and one of the owner's own; its URL, and that of acme's role."""
    async with a_database(server) as url:
        tenants = Tenants(url)
        await tenants.create("acme")
        await tenants.create("beta")
        for tenant in (None, "beta"):
            async with Runner(url, tenant=tenant, workflows=[counting]) as runner:
                await runner.run(counting, Number(value=0))
        async with connected(url) as owner:
            await owner.execute("CREATE TABLE public.customer (id int); INSERT INTO public.customer VALUES (1)")
        yield url, (await tenants.credentials("acme")).url


@asynchronous
async def test_a_tenants_program_needs_nothing_but_its_credentials(postgres: str) -> None:
    async with two_tenants(postgres) as (url, login):
        async with Runner(login, tenant="acme", workflows=[counting]) as runner:
            assert (await runner.run(counting, Number(value=1), key="k")).unwrap().value == 4
            await runner.schedule(counting, name="daily", cron="0 9 * * *", input=Number(value=1))
            await runner.schedules.pause("daily")
            handle = await runner.start(counting, Number(value=1), key="again")
            await handle.cancel()
            assert len(await runner.runs()) == 2
        async with Runner(url, tenant="beta", work=False) as other, Runner(url, work=False) as owners:
            assert len(await other.runs()) == len(await owners.runs()) == 1
            assert await other.schedules.list() == []


async def refused(connection: Connection, statement: str) -> str:
    """Return how the server refuses a statement."""
    with pytest.raises(asyncpg.PostgresError) as error:
        await connection.execute(statement)
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")
    return str(error.value.sqlstate)


DENIED = "42501"
NO_TABLE = {"42809", "55000", "0A000"}  # what is said of a view where a table is wanted, before rights are looked at
VERBS = (
    "SELECT * FROM {}",
    "INSERT INTO {} DEFAULT VALUES",
    "UPDATE {} SET id = id",
    "DELETE FROM {}",
    "TRUNCATE {}",
    "BEGIN; LOCK TABLE {}; COMMIT",
    "COPY {} TO STDOUT",
    "ALTER TABLE {} ADD COLUMN x int",
    "DROP TABLE {}",
    "CREATE TRIGGER t BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE r AS ON INSERT TO {} DO NOTHING",
    "GRANT SELECT ON {} TO PUBLIC",
    "ALTER TABLE {} ENABLE ROW LEVEL SECURITY",
)
# All of these reach for something that is not a tenant's; what each would be good for stands behind it.
ATTEMPTS = {
    "SELECT rolpassword FROM pg_authid": "passwords",
    "SELECT * FROM pg_shadow": "passwords",
    "SELECT * FROM pg_user_mapping": "passwords",
    "SELECT pg_read_file('postgresql.conf')": "files",
    "SELECT pg_ls_dir('.')": "files",
    "SELECT lo_import('/etc/passwd')": "files",
    "COPY (SELECT 1) TO '/tmp/cloaca-tenant'": "files",
    "COPY acme.cloaca_plan FROM PROGRAM 'id'": "programs",
    "CREATE TABLE public.mine (id int)": "everybody's schema",
    "CREATE FUNCTION public.now() RETURNS int LANGUAGE sql AS 'SELECT 1'": "others' calls",
    "CREATE TABLE beta.mine (id int)": "another tenant's schema",
    "CREATE TABLE cloaca.mine (id int)": "the owner's schema",
    "CREATE TABLE acme.mine (id int)": "what the owner will execute",
    "CREATE FUNCTION acme.f() RETURNS int LANGUAGE sql AS 'SELECT 1'": "what the owner will execute",
    "CREATE VIEW beta.mine AS SELECT 1": "another tenant's schema",
    "CREATE SCHEMA mine": "schemas",
    "ALTER SCHEMA acme RENAME TO mine": "schemas",
    "ALTER SCHEMA acme OWNER TO CURRENT_USER": "schemas",
    "COMMENT ON SCHEMA acme IS 'x'": "the mark of a tenant",
    "DROP SCHEMA acme CASCADE": "schemas",
    "CREATE ROLE mine": "roles",
    "CREATE DATABASE mine": "databases",
    "CREATE EXTENSION dblink": "extensions",
    "CREATE LANGUAGE plpython3u": "languages",
    "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION suppress_redundant_updates_trigger()": "all",
    "CREATE PUBLICATION p FOR ALL TABLES": "rows",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE c AS '/lib/x.so', 'f'": "programs",
    "ALTER ROLE CURRENT_USER SUPERUSER": "all",
    "ALTER ROLE CURRENT_USER CREATEROLE": "roles",
    "ALTER ROLE CURRENT_USER BYPASSRLS": "rows",
    "ALTER SYSTEM SET log_statement = 'none'": "settings",
    "SET SESSION AUTHORIZATION {owner}": "the owner",
    "SET ROLE {owner}": "the owner",
    "SET ROLE {beta}": "another tenant",
    "SET ROLE pg_read_all_data": "rows",
    "GRANT {owner} TO CURRENT_USER": "the owner",
    "GRANT pg_read_all_data TO CURRENT_USER": "rows",
    "COMMENT ON ROLE {me} IS 'x'": "the mark of a role",
    "ALTER ROLE {beta} PASSWORD 'x'": "another tenant",
    "DROP ROLE {beta}": "another tenant",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'cloaca' AND pid <> pg_backend_pid()": "it",
    "SELECT pg_rotate_logfile()": "logs",
    "SELECT * FROM pg_ls_logdir()": "logs",
    "INSERT INTO acme.cloaca_meta VALUES (2, 99, 0)": "what the tables are",
    "UPDATE acme.cloaca_meta SET schema_version = 99": "what the tables are",
}
REFUSED = {DENIED, "42883", "58P01", "0A000", "42704", "42809", "55000"}


@asynchronous
async def test_a_tenants_role_reaches_no_table_but_its_own(postgres: str) -> None:
    async with two_tenants(postgres) as (url, login), connected(url) as owner, connected(login) as role:
        tables = [tuple(row) for row in await owner.fetch(TABLES)]
        assert {schema for _, schema in tables} == {"acme", "beta", "cloaca", "public"}
        views = tuple(view.name for view in VIEWS)
        for table, schema in tables:
            denied = {DENIED} | (NO_TABLE if table.endswith(views) else set())
            for verb in VERBS:
                statement = verb.format(table)
                if schema != "acme":
                    assert await refused(role, statement) in denied | {"42703"}, statement
                elif verb.startswith(("ALTER", "DROP", "CREATE", "TRUNCATE")):
                    assert await refused(role, statement) in denied, statement
                elif verb.startswith(("INSERT", "UPDATE", "DELETE")) and table.endswith(views):
                    assert await refused(role, statement) in denied | {"42703"}, statement
            if schema == "acme":
                await role.fetch(f"SELECT * FROM {table}")
        sequences = "SELECT format('%I.%I', schemaname, sequencename), schemaname FROM pg_sequences"
        for sequence, schema in await owner.fetch(sequences):
            if schema != "acme":
                assert await refused(role, f"SELECT nextval('{sequence}')") == DENIED
        assert [row[0] for row in await owner.fetch("SELECT id FROM public.customer")] == [1]


@asynchronous
async def test_a_tenants_role_reaches_nothing_else(postgres: str) -> None:
    async with two_tenants(postgres) as (url, login), connected(url) as owner, connected(login) as role:
        [tenant] = [each for each in await Tenants(url).list() if each.name == "beta"]
        names = {"owner": await owner.fetchval("SELECT quote_ident(current_user)"), "beta": f'"{tenant.role}"'}
        names["me"] = await role.fetchval("SELECT quote_ident(current_user)")
        for attempt, prize in ATTEMPTS.items():
            assert await refused(role, attempt.format(**names)) in REFUSED, (attempt, prize)
        # GRANT warns where there is nothing to grant, and grants nothing.
        await role.execute("GRANT ALL ON acme.cloaca_run TO PUBLIC")
        own = "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls OR rolinherit, "
        own += "(SELECT count(*) FROM pg_auth_members WHERE member = r.oid), "
        own += (
            "(SELECT count(*) FROM pg_class WHERE relowner = r.oid), has_schema_privilege('public', 'acme', 'USAGE'), "
        )
        own += (
            "has_table_privilege('public', 'acme.cloaca_run', 'SELECT') FROM pg_roles AS r WHERE rolname = current_user"
        )
        assert tuple(await role.fetchrow(own) or ()) == (False, 0, 0, False, False)


@asynchronous
async def test_what_everybody_may_do_gains_a_tenant_nothing(postgres: str) -> None:
    """Temporary tables and functions, a search path: its own session's, which no statement of ours meets."""
    async with two_tenants(postgres) as (url, login), connected(login) as role:
        await role.execute("CREATE TEMP TABLE cloaca_run (id int)")
        await role.execute("CREATE FUNCTION pg_temp.now() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        await role.execute("ALTER ROLE CURRENT_USER SET search_path = pg_temp, beta, public")
        assert await refused(role, "SELECT * FROM beta.cloaca_run") == DENIED
        async with Runner(login, tenant="acme", workflows=[counting]) as runner:
            assert (await runner.run(counting, Number(value=1))).unwrap().value == 4
        async with Runner(url, tenant="acme", work=False) as seen:
            assert len(await seen.runs()) == 1


@asynchronous
async def test_everybodys_rights_are_refused_with_their_remedy(postgres: str) -> None:
    async with a_database(postgres) as url, connected(url) as owner:
        await owner.execute(
            "CREATE TABLE public.leak (id int); GRANT SELECT (id) ON public.leak TO PUBLIC; "
            "CREATE SEQUENCE public.numbers; GRANT USAGE ON SEQUENCE public.numbers TO PUBLIC; "
            "GRANT CREATE ON SCHEMA public TO PUBLIC; CREATE FUNCTION public.as_owner() RETURNS int LANGUAGE sql "
            "SECURITY DEFINER AS 'SELECT 1'"
        )
        with pytest.raises(NotIsolated, match=r"REVOKE ALL ON TABLE public\.leak FROM PUBLIC") as told:
            await Tenants(url).create("acme")
        assert await Tenants(url).list() == []
        roles = "SELECT count(*) FROM pg_roles WHERE shobj_description(oid, 'pg_authid') LIKE 'cloaca: %'"
        assert await owner.fetchval(roles + " AND rolname LIKE 'cloaca_acme_%'") == 0
        await owner.execute(str(told.value).partition("for tenants: ")[2])
        assert (await Tenants(url).create("acme")).name == "acme"


@asynchronous
async def test_many_at_once_make_one_tenant(postgres: str) -> None:
    async with a_database(postgres) as url:
        made = await asyncio.gather(*(Tenants(url).create(name) for name in ["acme", "beta"] * 8))
        assert set(made) == set(await Tenants(url).list())
        assert [tenant.name for tenant in await Tenants(url).list()] == ["acme", "beta"]
        assert len({tenant.role for tenant in made}) == 2


MAKES = """
import sys
from cloaca import BlockingTenants
print(BlockingTenants(sys.argv[1]).create("acme"))
"""


@asynchronous
async def test_many_processes_at_once_make_one_tenant(postgres: str) -> None:
    async with a_database(postgres) as url:
        makers = [await asyncio.create_subprocess_exec(sys.executable, "-c", MAKES, url, stdout=PIPE) for _ in range(8)]
        said = await asyncio.gather(*(maker.communicate() for maker in makers))
        assert [maker.returncode for maker in makers] == [0] * 8
        [made] = await Tenants(url).list()
        assert {out.decode() for out, _ in said} == {f"{made}\n"}


@asynchronous
async def test_looking_for_a_hundred_tenants_is_one_statement(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_database(postgres) as url, connected(url) as owner:
        for number in range(100):
            await owner.execute(
                f'CREATE SCHEMA "t{number}"; COMMENT ON SCHEMA "t{number}" IS \'{postgres_tenants.MARK}\''
            )
        sent: list[str] = []
        ask = Link.ask

        async def note(link: Link, statement: str, *values: object) -> list[asyncpg.Record]:
            sent.append(statement)
            return await ask(link, statement, *values)

        monkeypatch.setattr(Link, "ask", note)
        assert len(await Tenants(url).list()) == 100
        assert len(sent) == 1


@asynchronous
async def test_whoever_is_killed_between_any_two_statements_is_followed_up(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is cut after each statement in turn; then the same call makes the rest."""
    sent, cut_after = 0, -1
    ask = Link.ask

    async def cut(link: Link, statement: str, *values: object) -> list[asyncpg.Record]:
        nonlocal sent
        sent += 1
        if sent == cut_after:
            link.connection.terminate()
        return await ask(link, statement, *values)

    async with a_database(postgres) as url, connected(url) as owner:
        tenants, cuts = Tenants(url), 0
        monkeypatch.setattr(Link, "ask", cut)
        for cut_after in range(1, 100):  # noqa: B007 - `cut` reads it
            sent = 0
            try:
                await tenants.create("acme")
                break
            except StoreUnavailable:
                cuts += 1
            sent = -1000
            await tenants.create("acme")
            login = (await tenants.credentials("acme")).url
            async with Runner(login, tenant="acme", workflows=[counting]) as runner:
                assert (await runner.run(counting, Number(value=1))).unwrap().value == 4
            await tenants.drop("acme", force=True)
            assert await tenants.list() == []
            assert await owner.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = 'acme'") == 0
        assert cuts >= 10


@asynchronous
async def test_drop_wants_a_tenant_without_workers_and_leaves_the_others(postgres: str) -> None:
    async with two_tenants(postgres) as (url, _), connected(url) as owner:
        tenants = Tenants(url)
        store = PostgresStore(url, schema="acme")
        await store.open()
        await waiting(store, 1)
        session = await store.open_session("worker", AT, AT + 60)
        with pytest.raises(TenantInUse, match='tenant "acme" was not dropped: 1 worker is alive there'):
            await tenants.drop("acme")
        assert len(await store.runs(workflow=None, status=None, before=None, limit=9)) == 1
        await store.close_session(session, at=AT)
        await tenants.drop("acme")
        await store.close()
        assert [tenant.name for tenant in await tenants.list()] == ["beta"]
        with pytest.raises(UnknownTenant, match='no tenant is named "acme"'):
            await tenants.drop("acme")
        assert await owner.fetchval("SELECT count(*) FROM beta.cloaca_run") == 1
        assert await owner.fetchval("SELECT count(*) FROM cloaca.cloaca_run") == 1
        assert await owner.fetchval("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'cloaca_acme_%'") == 0


@asynchronous
async def test_drop_by_force_ends_what_goes_on(postgres: str) -> None:
    async with a_database(postgres) as url:
        await Tenants(url).create("acme")
        store = PostgresStore(url, schema="acme")
        await store.open()
        await session_of(store)
        await Tenants(url).drop("acme", force=True)
        assert await Tenants(url).list() == []
        await store.close()


@pytest.mark.parametrize(
    ("foreign", "said"),
    [
        ("CREATE TABLE acme.customer (id int)", "customer"),
        ("CREATE FUNCTION acme.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "f"),
        ("CREATE VIEW acme.v AS SELECT 1", "v"),
    ],
)
@asynchronous
async def test_what_is_not_ours_is_never_dropped(postgres: str, foreign: str, said: str) -> None:
    async with a_database(postgres) as url, connected(url) as owner:
        await Tenants(url).create("acme")
        await owner.execute(foreign)
        for force in (False, True):
            with pytest.raises(ForeignDatabase, match=f"has what cloaca did not make \\({said}\\)"):
                await Tenants(url).drop("acme", force=force)
        assert [tenant.name for tenant in await Tenants(url).list()] == ["acme"]


@asynchronous
async def test_what_others_need_is_not_dropped(postgres: str) -> None:
    async with a_database(postgres) as url, connected(url) as owner:
        tenant = await Tenants(url).create("acme")
        await owner.execute("CREATE VIEW public.runs AS SELECT id FROM acme.cloaca_run")
        with pytest.raises(TenantInUse, match=r"view (public\.)?runs depends on table"):
            await Tenants(url).drop("acme")
        await owner.execute(f'DROP VIEW public.runs; CREATE TABLE own (id int); GRANT SELECT ON own TO "{tenant.role}"')
        with pytest.raises(TenantInUse, match="privileges for table own"):
            await Tenants(url).drop("acme")
        assert await Tenants(url).list() == [tenant]


@asynchronous
async def test_somebody_elses_schema_or_role_is_left_alone(postgres: str) -> None:
    async with a_database(postgres) as url, connected(url) as owner:
        await owner.execute("CREATE SCHEMA sales; CREATE TABLE sales.invoice (id int); CREATE SCHEMA empty")
        with pytest.raises(ForeignDatabase, match=r'schema "sales" is there already, and has .* \(invoice\)'):
            await Tenants(url).create("sales")
        with pytest.raises(UnknownTenant):
            await Tenants(url).drop("sales", force=True)
        with pytest.raises(UnknownTenant):
            await Tenants(url).drop("empty", force=True)
        role = (await Tenants(url).create("empty")).role
        await Tenants(url).drop("empty")
        await owner.execute(f'CREATE ROLE "{role}"')
        with pytest.raises(ForeignDatabase, match=f'role "{role}" is there already'):
            await Tenants(url).create("empty")
        await owner.execute(f'DROP ROLE "{role}"')


@asynchronous
async def test_a_password_is_given_once_and_rotated_on_request(
    postgres: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    execute = asyncpg.Connection.execute

    async def listening(self: Connection, query: str, *values: object, **options: float) -> str:
        told.append(query)
        return str(await execute(self, query, *values, **options))

    monkeypatch.setattr(asyncpg.Connection, "execute", listening)
    async with a_database(postgres) as url, connected(url) as owner:
        tenants = Tenants(url)
        await tenants.create("acme")
        first = await tenants.credentials("acme")
        with pytest.raises(CredentialsGiven, match="rotate=True"):
            await tenants.credentials("acme")
        second = await tenants.credentials("acme", rotate=True)
        assert first.user == second.user
        passwords = [given.password or "" for given in (first, second)]
        assert len(set(passwords)) == 2
        assert all(len(password) >= 32 for password in passwords)
        stored = await owner.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = $1", first.user)
        assert stored.startswith("SCRAM-SHA-256$4096:")
        with pytest.raises(UnknownTenant):
            await tenants.credentials("beta")
        comments = [str(row[0]) for row in await owner.fetch("SELECT description FROM pg_shdescription")]
        public = [repr(first), str(second), caplog.text, *told, stored, *comments, repr(await tenants.list())]
        for password in passwords:
            assert password not in "\n".join(public)


@asynchronous
async def test_the_server_makes_the_same_of_a_password(postgres: str) -> None:
    """The test server lets anyone in, so what it would check against is compared."""
    async with connected(postgres) as owner, owner.transaction():
        await owner.execute("SET LOCAL password_encryption = 'scram-sha-256'")
        await owner.execute("CREATE ROLE cloaca_pencil PASSWORD 'pencil-7'")
        stored = await owner.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = 'cloaca_pencil'")
        salt = base64.b64decode(stored.split(":")[1].split("$")[0])
        assert verifier("pencil-7", salt) == stored
        await owner.execute("DROP ROLE cloaca_pencil")


@pytest.mark.skipif(binary() is None, reason="there is no pgbouncer on this machine")
@asynchronous
async def test_tenants_are_made_and_dropped_through_pgbouncer(postgres: str) -> None:
    with pgbouncer(postgres, size=2) as url:
        tenants = Tenants(url)
        made = await asyncio.gather(*(tenants.create("through-a-pooler") for _ in range(4)))
        assert len(set(made)) == 1
        assert made[0] in await tenants.list()
        assert (await tenants.credentials("through-a-pooler")).user == made[0].role
        await tenants.drop("through-a-pooler")
        assert made[0] not in await tenants.list()


@asynchronous
async def test_two_who_ask_at_once_get_one_password(postgres: str) -> None:
    async with a_database(postgres) as url:
        await Tenants(url).create("acme")
        asked = [Tenants(url).credentials("acme") for _ in range(6)]
        given = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(not isinstance(each, CredentialsGiven) for each in given) == 1


@asynchronous
async def test_without_the_right_to_it_the_message_says_which(postgres: str) -> None:
    async with two_tenants(postgres) as (_, login):
        for attempt in (Tenants(login).create("gamma"), Tenants(login).drop("acme")):
            with pytest.raises(StoreUnavailable, match="CREATEROLE"):
                await attempt
        with pytest.raises(StoreUnavailable):
            await Tenants(login).credentials("acme", rotate=True)


@asynchronous
async def test_it_needs_no_superuser(postgres: str) -> None:
    async with a_database(postgres) as url, connected(url) as owner:
        database = await owner.fetchval("SELECT current_database()")
        await owner.execute(
            "CREATE ROLE cloaca_keeper LOGIN CREATEROLE PASSWORD 'x'; "
            f"GRANT CREATE ON DATABASE {database} TO cloaca_keeper"
        )
        keeper = url.replace("cloaca@", "cloaca_keeper:x@")
        try:
            await Tenants(keeper).create("acme")
            login = (await Tenants(keeper).credentials("acme")).url
            async with (
                Runner(login, tenant="acme", workflows=[counting]) as own,
                Runner(keeper, tenant="acme", workflows=[counting]) as shared,
            ):
                assert (await own.run(counting, Number(value=1))).unwrap().value == 4
                assert len(await shared.runs()) == 1
            await Tenants(keeper).drop("acme")
        finally:
            await owner.execute("DROP OWNED BY cloaca_keeper; DROP ROLE cloaca_keeper")


def test_conflicts_are_few() -> None:
    """What makes a call try again is that others were doing the same, and nothing that trying again would not mend."""
    assert "42501" not in postgres_tenants.IN_THE_WAY
    assert postgres_tenants.TRIES * postgres_tenants.PAUSE_S < 5
