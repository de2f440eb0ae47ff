"""A PostgreSQL schema as a ground for tables: turns are taken by a lock that ends with the transaction.

So they are taken through a pooler, too, and nobody waits inside a transaction. A step that others' locks keep waiting
gives up soon and tries again, so that it never makes those wait who come after it. Alembic and SQLAlchemy, which know
no coroutines, run in a greenlet on the connection of a link.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from sqlalchemy.util.concurrency import await_, greenlet_spawn

from cloaca.errors import StoreUnavailable
from cloaca.stores.sql import migrating, postgres_schema
from cloaca.stores.sql.postgres_failures import code_of
from cloaca.stores.sql.postgres_links import SERVER_CLOCK, Link
from cloaca.stores.sql.standing import Found

T = TypeVar("T")

LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended(?, 0))"
HAS_SCHEMA = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = ?"
PAUSE_S = 0.1
# So long do those wait at most who come after a step that can't get its lock. Less than the second after which the
# server looks for deadlocks: a step that holds one table and waits for another mostly gives up first, not a worker's
# commit. One that holds a table for long before it asks for the next may win; the commit is then sent again.
LOCK_TIMEOUT_MS = 300
IDLE_TIMEOUT_S = 60.0  # a process that is stopped in the middle of a step holds up the others only for a while
PATIENCE_S = 900.0
BEGIN = (
    f"BEGIN; SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}; "
    f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_TIMEOUT_S * 1000:.0f}"
)
IN_THE_WAY = {"55P03", "40P01", "40001"}  # a lock that was not to be had, a deadlock, a transaction in between


class PostgresGround:
    """A schema; ``connection`` is SQLAlchemy's on ``link``. To be used in a greenlet."""

    def __init__(self, where: str, link: Link, connection: Connection) -> None:
        self.where, self.connection = where, connection
        self.schema: str | None = link.names.plain
        self.clock = SERVER_CLOCK
        self._link = link
        self._until = time.monotonic() + PATIENCE_S

    @contextmanager
    def turn(self) -> Iterator[None]:
        self._begin()
        try:
            yield
        except BaseException:
            if not self._link.connection.is_closed():
                self._send("ROLLBACK")
            raise
        self._send("COMMIT")

    def _begin(self) -> None:
        """Begin a transaction that has the lock."""
        while True:
            self._send(BEGIN)
            if self._ask(LOCK, self._link.names.channel)[0][0]:
                return
            self._send("ROLLBACK")
            self._refuse_to_wait()
            self.pause()

    def _refuse_to_wait(self) -> None:
        if time.monotonic() > self._until:
            raise StoreUnavailable(
                f"{self.where} has been upgraded by another process for {PATIENCE_S / 60:.0f} minutes: see "
                "pg_stat_activity for what it does, and try again later"
            )

    def look(self) -> Found:
        return await_(postgres_schema.look_closely(self._link))  # an error would end the transaction

    def prepare(self) -> None:
        if not self._ask(HAS_SCHEMA, self._link.names.plain):  # even IF NOT EXISTS needs the right to create one
            self._ask("CREATE SCHEMA {schema}")

    def in_the_way(self, error: Exception) -> bool:
        said = error.orig if isinstance(error, DBAPIError) else error
        return code_of(said or error) in IN_THE_WAY and time.monotonic() <= self._until

    def pause(self) -> None:
        await_(asyncio.sleep(PAUSE_S * random.uniform(0.5, 1.5)))

    def _send(self, statement: str) -> None:
        await_(self._link.connection.execute(statement))

    def _ask(self, statement: str, *values: object) -> list[Any]:
        return await_(self._link.ask(statement, *values))


async def upgrade(connect: Callable[[], Awaitable[Link]], where: str, *, after_deployment: bool = False) -> list[str]:
    """Bring the tables of a schema to this release's revision; return those that were reached."""
    async with bridged(connect) as (link, in_greenlet):
        reached: list[str] = await in_greenlet(
            lambda connection: migrating.upgrade(
                PostgresGround(where, link, connection), after_deployment=after_deployment
            )
        )
        return reached


@contextmanager
def read_only(link: Link) -> Iterator[None]:
    """A transaction that sees one moment and changes nothing. To be used in a greenlet."""
    await_(link.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    try:
        yield
    finally:
        if not link.connection.is_closed():
            await_(link.connection.execute("ROLLBACK"))


Bridge = Callable[[Callable[[Connection], T]], Awaitable[T]]


@asynccontextmanager
async def bridged(connect: Callable[[], Awaitable[Link]]) -> AsyncIterator[tuple[Link, Bridge[Any]]]:
    """A new link, and what calls a function in a greenlet with SQLAlchemy's connection on it.

    SQLAlchemy begins and ends no transaction: whoever uses the link does, by statements.
    """
    link = await connect()

    def adapted() -> Any:
        async def given() -> asyncpg.Connection[asyncpg.Record]:
            return link.connection

        module: Any = engine.dialect.dbapi
        unnamed = {"prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda: ""}
        return module.connect(async_creator_fn=given, **unnamed)

    engine: Engine = create_engine(
        "postgresql+asyncpg://", creator=adapted, isolation_level="AUTOCOMMIT", poolclass=NullPool
    )

    def call(work: Callable[[Connection], T]) -> T:
        with engine.connect() as connection:
            await_(link.connection.execute("COMMIT"))
            # Alembic asks for no schema by name that is on the search path of the role, as one of its own name is.
            engine.dialect.default_schema_name = ""
            return work(connection)

    try:
        await link.connection.execute("BEGIN")  # what SQLAlchemy asks of a new connection is asked of one server
        yield link, lambda work: greenlet_spawn(call, work)
    finally:
        if not link.connection.is_closed():
            await link.connection.close(timeout=1.0)
