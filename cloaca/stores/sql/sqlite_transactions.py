"""An attempt's transaction on SQLite, which has one write lock: taken at the body's first statement, kept to the end.

Meanwhile nobody else writes the file: what this process has to write waits for its turn, other processes for the lock.
No lease can be renewed then, so none runs: all that ran when the lock was taken are longer by the time it was held.
It knows connections and turns; which file they lead to and what a batch is, its host says.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from threading import RLock
from typing import Any, Protocol, TypeVar, cast

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.dialects.sqlite.base import SQLiteExecutionContext
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.util.concurrency import await_

from cloaca.errors import StoreUnavailable
from cloaca.ports import Batch, Receipt
from cloaca.stores.sql.connections import HandHeld, driver_of
from cloaca.stores.sql.failures import BUSY, FAILING, code_of, named, translated
from cloaca.stores.sql.sessions import BODY, AsyncBodySession, BodySession, ended_inside, over
from cloaca.stores.sql.turns import Turn, Turns

T = TypeVar("T")

LONG_S = 0.1  # a lock that was held for less has kept nobody from renewing a lease


class BodyConnection(HandHeld):
    """A connection for a body. With ``pool``, what its cursors do is done there, and awaited."""

    pool: Executor | None = None
    awaited = False
    revoked = False
    trouble: sqlite3.Error | None = None  # the database has let the body down, not the body the database

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.lock = RLock()

    def cursor(self, factory: Any = None) -> Any:
        """Return a cursor that does nothing any more once the attempt is over."""
        return super().cursor(BodyCursor)

    def do(self, work: Callable[[], T]) -> T:
        """Do something to the database for the body."""
        if self.awaited:
            return await_(self._elsewhere(work))
        return self._now(work)

    async def _elsewhere(self, work: Callable[[], T]) -> T:
        return self._now(work) if self.pool is None else await _on(self.pool, lambda: self._now(work))

    def _now(self, work: Callable[[], T]) -> T:
        with self.lock:
            if self.revoked:
                raise over()
            try:
                return work()
            except sqlite3.Error as error:
                if code_of(error) in BUSY | FAILING | {sqlite3.SQLITE_FULL}:
                    self.trouble = error
                raise

    def plain(self) -> sqlite3.Connection:
        """Return the same connection for who is not the body."""
        return cast("sqlite3.Connection", _Plain(self))


class BodyCursor(sqlite3.Cursor):
    """A cursor of a body."""

    connection: BodyConnection

    def execute(self, sql: str, parameters: Any = ()) -> BodyCursor:
        return self.connection.do(lambda: sqlite3.Cursor.execute(self, sql, parameters))

    def executemany(self, sql: str, parameters: Any) -> BodyCursor:
        return self.connection.do(lambda: sqlite3.Cursor.executemany(self, sql, parameters))

    def fetchone(self) -> Any:
        return self.connection.do(lambda: sqlite3.Cursor.fetchone(self))

    def fetchmany(self, size: int | None = None) -> list[Any]:
        return self.connection.do(lambda: sqlite3.Cursor.fetchmany(self, self.arraysize if size is None else size))

    def fetchall(self) -> list[Any]:
        return self.connection.do(lambda: sqlite3.Cursor.fetchall(self))


class _Plain:
    """What the engine does on a body's connection, whether the body still may or not."""

    def __init__(self, driver: BodyConnection) -> None:
        self._driver = driver

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        return sqlite3.Connection.cursor(self._driver).execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any) -> sqlite3.Cursor:
        return sqlite3.Connection.cursor(self._driver).executemany(sql, parameters)


class _Streaming(SQLiteExecutionContext):
    def create_server_side_cursor(self) -> Any:
        """Every cursor of SQLite gives its rows one by one."""
        return self._dbapi_connection.cursor()


def engines_for(make: Callable[[], BodyConnection]) -> tuple[Engine, Engine]:
    """Return the engines for plain bodies and for async ones; neither keeps a connection."""
    plain, awaiting = (create_engine("sqlite://", creator=make, poolclass=NullPool) for _ in range(2))
    awaiting.dialect.is_async = True  # its cursors await, which is all that the asyncio extension asks for
    awaiting.dialect.supports_server_side_cursors = True
    awaiting.dialect.execution_ctx_cls = _Streaming
    return plain, awaiting


class Host(Protocol):
    """The store that a transaction belongs to."""

    path: Path
    turns: Turns

    @property
    def pool(self) -> Executor | None:
        """A thread for what may take long; None where nothing does."""
        ...

    def way_in(self) -> AbstractContextManager[None]:
        """Stand in line with other processes for as long as this is entered, and see that the database is there."""
        ...

    def engine(self, *, is_async: bool) -> Engine:
        """Return the engine whose connections are ``BodyConnection``s."""
        ...

    def write(self, driver: sqlite3.Connection, batch: Batch) -> Receipt:
        """Write a batch in the transaction that is open. Raises LeaseLost."""
        ...

    async def transact(self, batch: Batch) -> Receipt:
        """Write a batch in a transaction of its own."""
        ...

    def lengthen(self, driver: sqlite3.Connection, held_s: float, since: float) -> None:
        """Make the leases that ran at ``since`` longer."""
        ...

    def ended(self, transaction: SqliteTransaction) -> None:
        """Forget a transaction."""
        ...


class SqliteTransaction:
    """The transaction of one attempt."""

    def __init__(self, host: Host, *, is_async: bool) -> None:
        self._host, self._is_async = host, is_async
        self.session: Any = (
            AsyncBodySession(connect=self._awaiting) if is_async else BodySession(connect=self._connected)
        )
        self._lock = RLock()
        self._asking = RLock()
        self._turn: Turn | None = None
        self._over = False
        self._connection: Connection | None = None
        self._way: AbstractContextManager[None] | None = None
        self._unreachable: StoreUnavailable | None = None
        self._began = self._began_at = 0.0
        self._committing: asyncio.Task[Receipt] | None = None

    @property
    def broken(self) -> StoreUnavailable | None:
        trouble = self._driver.trouble if self._connection is not None else None
        error = self._unreachable if trouble is None else named(self._host.path, trouble)
        return error if isinstance(error, StoreUnavailable) else None

    @property
    def refused(self) -> bool:
        return self._unreachable is not None and self._connection is None

    def call(self, body: Callable[[], Any]) -> Any:
        return body()

    async def commit(self, batch: Batch) -> Receipt:
        if self._connection is None:
            return await self._host.transact(batch)
        self._committing = asyncio.ensure_future(self._do(lambda: self._commit(batch)))
        self._committing.add_done_callback(seen)
        return await asyncio.shield(self._committing)

    async def end(self) -> None:
        if self._over:
            return
        if self._committing is not None:
            await asyncio.wait({self._committing})
        with self._asking:
            self._over = True
            if self._turn is not None and self._turn.cancel():
                self._turn = None  # a body that waits for it goes on with an error
        if self._turn is not None:
            self._revoke(self._connection)
            await self._do(self._end)
        self._host.ended(self)

    def _revoke(self, connection: Connection | None) -> None:
        """Let the body do nothing any more, and end the statement that it is in."""
        if connection is not None:
            with suppress(SQLAlchemyError, sqlite3.Error):  # as if beginning has failed just now
                driver = cast("BodyConnection", driver_of(connection))
                driver.revoked = True
                driver.interrupt()

    # Beginning, for the body

    def _connected(self) -> Connection:
        with self._lock:
            if self._connection is None:
                try:
                    self._ask().result()
                except CancelledError:
                    raise over() from None
                self._begin()
            return self._still_open()

    def _awaiting(self) -> Connection:
        if self._connection is None:
            await_(self._begin_async())
        return self._still_open()

    async def _begin_async(self) -> None:
        await asyncio.shield(asyncio.wrap_future(self._ask()))
        await self._do(self._begin)

    def _ask(self) -> Turn:
        with self._asking:
            if self._over:
                raise over()
            if self._turn is None:
                self._turn = self._host.turns.ask()
            return self._turn

    def _begin(self) -> None:
        """Take the write lock, now that it is this transaction's turn."""
        with self._lock:
            self._still_open(begun=False)
            try:
                with translated(self._host.path):
                    self._enter()
            except BaseException as error:
                self._unreachable = error if isinstance(error, StoreUnavailable) else None
                self._let_go()
                raise
            self._began, self._began_at = time.monotonic(), time.time()
            self._driver.pool, self._driver.awaited = self._host.pool, self._is_async

    def _enter(self) -> None:
        way = self._host.way_in()
        way.__enter__()
        self._way = way
        self._connection = self._host.engine(is_async=self._is_async).connect()
        plain = self._driver.plain()
        plain.execute("BEGIN IMMEDIATE")
        plain.execute(f"SAVEPOINT {BODY}")

    def _still_open(self, *, begun: bool = True) -> Connection:
        if self._over or (begun and self._connection is None):
            raise over()
        return cast("Connection", self._connection)

    # Ending

    @property
    def _driver(self) -> BodyConnection:
        assert self._connection is not None
        return cast("BodyConnection", driver_of(self._connection))

    def _commit(self, batch: Batch) -> Receipt:
        with self._lock, self._driver.lock:
            plain = self._driver.plain()
            try:
                plain.execute(f"RELEASE {BODY}")
            except sqlite3.OperationalError:
                raise ended_inside() from None
            try:
                self._lengthen(plain)
                receipt = self._host.write(plain, batch)
                if not receipt.disowned:
                    plain.execute("COMMIT")
            except sqlite3.Error as error:
                raise named(self._host.path, error) from error
            return receipt

    def _end(self) -> None:
        with self._lock:
            if self._connection is not None:
                with self._driver.lock:
                    self._undo(self._driver)
                self._driver.awaited = False
                if self._committing is not None:  # else a body may still use it
                    (self.session.sync_session if self._is_async else self.session).let_go()
            self._let_go()
            if self._turn is not None:
                self._host.turns.leave()
                self._turn = None

    def _undo(self, driver: BodyConnection) -> None:
        """Undo what the body wrote. Leases that could not be renewed meanwhile don't suffer for it."""
        if not driver.in_transaction:
            return
        plain = driver.plain()
        with suppress(sqlite3.Error):
            if time.monotonic() - self._began > LONG_S:
                plain.execute(f"ROLLBACK TO {BODY}")
                self._lengthen(plain)
                plain.execute("COMMIT")
        if driver.in_transaction:
            with suppress(sqlite3.Error):
                plain.execute("ROLLBACK")

    def _lengthen(self, plain: sqlite3.Connection) -> None:
        held_s = time.monotonic() - self._began
        if held_s > LONG_S:
            self._host.lengthen(plain, held_s, self._began_at)

    def _let_go(self) -> None:
        """Close the connection, and let others in."""
        if self._connection is not None:
            with suppress(SQLAlchemyError):
                self._connection.close()
            self._connection = None
        if self._way is not None:
            self._way.__exit__(None, None, None)
            self._way = None

    async def _do(self, work: Callable[[], T]) -> T:
        return work() if self._host.pool is None else await _on(self._host.pool, work)


def seen(committing: asyncio.Task[Receipt]) -> None:
    """Look at the end of a commit, so that asyncio does not warn that nobody did."""
    if not committing.cancelled():
        committing.exception()


async def _on(pool: Executor, work: Callable[[], T]) -> T:
    return await asyncio.wrap_future(pool.submit(work))
