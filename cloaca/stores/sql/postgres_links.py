"""Connections to PostgreSQL that leave nothing behind on the server: they work through a pooler that shares servers.

A pooler such as pgbouncer in transaction mode may give each transaction another server. So nothing is set, no statement
is prepared under a name, every table is named with its schema; and statements are sent whole each time, in one round
trip. Arrays are sent as text: for their types the driver would ask the server, and set a parameter of it to do so.
It knows schemas and transactions, not tables.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from cloaca.errors import StoreError, StoreUnavailable
from cloaca.stores.sql.postgres_failures import bad_url, is_lost, shown, translated

CONNECT_TIMEOUT_S = 10.0
STATEMENT_TIMEOUT_S = 20.0  # a server that is silent for longer is taken for gone
IDLE_TIMEOUT_S = 10.0  # and so is a client, in the middle of a transaction
DEADLOCK_TRIES = 3  # of what the server has undone to end a deadlock
MOST_STATEMENTS = 200  # descriptions that a connection remembers
MOST_SCHEMAS = 50  # for whose statements it remembers them
SERVER_CLOCK = "extract(epoch from now())::float8"
LONGEST_SCHEMA = 50  # bytes: PostgreSQL cuts names off at 63, and a channel's name is longer than its schema's

NUMBERS: Final = {int, float}
NOTHING: Final = {type(None)}
BETWEEN: Final = "\0"  # no text that PostgreSQL takes has it
ARRAY = re.compile(r"(\$\d+)(::\w+\[\])")

Row = asyncpg.Record


class Names:
    """What statements leave open: the schema that their tables are in, and how they ask the server for the time."""

    def __init__(self, schema: str, clock: str = SERVER_CLOCK) -> None:
        if not schema or "\0" in schema or len(schema.encode()) > LONGEST_SCHEMA or schema.startswith("pg_"):
            raise ValueError(
                f"{schema!r:.80} can't be a schema's name: 1 to {LONGEST_SCHEMA} bytes that don't begin with pg_"
            )
        self.plain = schema
        self.schema = '"' + schema.replace('"', '""') + '"'
        self.channel = f"cloaca:{schema}"
        self._clock = clock
        self.key = schema, clock

    def of(self, statement: str) -> str:
        """Return the text of a statement, in which ``?`` stands for the next value."""
        head, *rest = statement.split("?")
        text = head + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))
        instant = self._clock.replace("now()", "clock_timestamp()")  # not that of the transaction's beginning
        filled = ARRAY.sub(r"\1::text\2", text).replace("{now}", self._clock).replace("{instant}", instant)
        return filled.replace("{schema}", self.schema)


class Link:
    """A connection, and the descriptions of the statements that it has sent."""

    def __init__(self, connection: asyncpg.Connection[Row], names: Names) -> None:
        self.connection, self.names = connection, names
        self._statements: dict[str, PreparedStatement[Row]] = {}
        self._others: dict[tuple[str, str], Link] = {}

    def under(self, names: Names) -> Link:
        """Return the same connection for statements in another schema: it shares nothing else with this one."""
        found = self._others.pop(names.key, None) or Link(self.connection, names)
        while len(self._others) >= MOST_SCHEMAS:
            del self._others[next(iter(self._others))]  # the one that was not used for longest
        self._others[names.key] = found
        return found

    async def ask(self, statement: str, *values: object) -> list[Row]:
        """Send a statement with its values, and return its rows. It is a transaction unless one is open.

        One that the server has undone to end a deadlock, as with an upgrade of the tables, is sent again.
        """
        for _ in range(DEADLOCK_TRIES - 1):
            try:
                return await self._send(statement, values)
            except asyncpg.DeadlockDetectedError:
                if self.connection.is_in_transaction():  # of which this is a part: all of it is undone
                    raise
        return await self._send(statement, values)

    async def _send(self, statement: str, values: Sequence[object]) -> list[Row]:
        described = self._statements.get(statement)
        if described is None:
            if len(self._statements) >= MOST_STATEMENTS:
                self._statements.clear()
            # Without a name, the driver sends the text each time, together with the values: no server has to know it.
            described = await self.connection.prepare(self.names.of(statement), name="")
            self._statements[statement] = described
        return await described.fetch(*(array(value) if isinstance(value, list | tuple) else value for value in values))

    async def has_server_of_its_own(self) -> bool:
        """Whether no pooler is in between: a pooler tells its clients numbers of processes that it has made up."""
        number = self.connection.get_server_pid()
        return await self.connection.execute(f"SELECT 1 WHERE pg_backend_pid() = {number:d}") == "SELECT 1"


def array(values: Sequence[object]) -> str:
    """Return the text that PostgreSQL reads as an array of these.

    >>> array([7, None, 0.1, 'a "b"'])
    '{7,NULL,0.1,"a \\\\"b\\\\""}'
    """
    kinds = set(map(type, values))
    if kinds == {str}:
        return _texts(values)
    if kinds == NOTHING:
        return "{" + ",".join(["NULL"] * len(values)) + "}"
    if kinds <= NUMBERS:
        return "{" + ",".join(map(repr, values)) + "}"
    return "{" + ",".join(map(_element, values)) + "}"


def _texts(values: Sequence[Any]) -> str:
    """An array of nothing but texts, as most columns are: escaped all at once, which takes a tenth of the time."""
    joined = BETWEEN.join(values)
    if joined.count(BETWEEN) >= len(values):  # a text has it, which the server refuses
        return "{" + ",".join(map(_element, values)) + "}"
    return '{"' + _escaped(joined).replace(BETWEEN, '","') + '"}'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _element(value: object) -> str:
    if isinstance(value, str):
        return f'"{_escaped(value)}"'
    if value is None:
        return "NULL"
    if isinstance(value, int | float):
        return repr(value)
    raise StoreError(f"{value!r:.80} can't be stored: it is neither a text nor a number")


async def connect(url: str, names: Names, *, timeout_s: float = STATEMENT_TIMEOUT_S) -> Link:
    """Return a new connection, for statements that take ``timeout_s`` at most.

    Raises StoreUnavailable or InvalidDatabaseUrl.
    """
    with translated(shown(url)):
        try:
            connection = await asyncpg.connect(
                url, timeout=CONNECT_TIMEOUT_S, command_timeout=timeout_s, statement_cache_size=0
            )
        except ValueError:  # the driver's words may have parts of the password
            raise bad_url(shown(url)) from None
        return Link(connection, names)


class Links:
    """At most ``limit`` connections, made when they are needed; one that fails is thrown away."""

    def __init__(self, make: Callable[[], Awaitable[Link]], limit: int) -> None:
        self._make = make
        self._turns = asyncio.Semaphore(limit)
        self._idle: list[Link] = []
        self._closed = False

    @asynccontextmanager
    async def link(self) -> AsyncIterator[Link]:
        """A connection for who uses it alone, for a while."""
        async with self._turns:
            if self._closed:
                raise StoreUnavailable("the database was closed meanwhile")
            link = self._known() or await self._make()
            try:
                yield link
            except BaseException as error:
                if is_lost(error) or link.connection.is_in_transaction():
                    link.connection.terminate()
                raise
            finally:
                await self._give_back(link)

    def _known(self) -> Link | None:
        while self._idle:
            link = self._idle.pop()
            if not link.connection.is_closed():
                return link
        return None

    async def _give_back(self, link: Link) -> None:
        if self._closed:
            await hang_up(link)
        elif not link.connection.is_closed():
            self._idle.append(link)

    async def close(self) -> None:
        """Close those that nobody uses, now, and the others as soon as they are given back."""
        self._closed = True
        while self._idle:
            await hang_up(self._idle.pop())


async def hang_up(link: Link) -> None:
    """Close a connection in order, or else at once."""
    try:
        await link.connection.close(timeout=1.0)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        link.connection.terminate()


@asynccontextmanager
async def transaction(link: Link, how: str = "") -> AsyncIterator[None]:
    """Commit what is done inside, or nothing of it.

    A process that is stopped in the middle holds locks, which would keep others from taking its runs over: so the
    server waits for it only for a while.
    """
    limit = f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_TIMEOUT_S * 1000:.0f}"
    await link.connection.execute(f"BEGIN {how}; {limit}")
    try:
        yield
    except BaseException as error:
        if not is_lost(error):
            await link.connection.execute("ROLLBACK")
        raise
    await link.connection.execute("COMMIT")
