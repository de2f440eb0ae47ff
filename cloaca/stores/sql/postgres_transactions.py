"""An attempt's transaction on PostgreSQL: a connection of its own, on which the batch that ends the task goes last.

The driver is asyncpg for plain bodies, too: what a body on a thread asks for is done on the event loop, whose
connections these are, while the thread waits. Nothing is left behind on a server, so that poolers may share it; the
transaction begins before SQLAlchemy asks its first question. It knows connections and batches, not tasks.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from threading import Lock
from typing import Any, Final, TypeAlias

import asyncpg
from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]  # it says no types
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, SQLAlchemyError
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry
from sqlalchemy.util.concurrency import await_, greenlet_spawn

from cloaca.errors import StoreUnavailable
from cloaca.ports import Batch, Receipt
from cloaca.stores.sql.postgres_batches import write_inside
from cloaca.stores.sql.postgres_failures import is_lost, translated
from cloaca.stores.sql.postgres_links import IDLE_TIMEOUT_S, STATEMENT_TIMEOUT_S, Link, Names
from cloaca.stores.sql.sessions import BODY, AsyncBodySession, BodySession, ended_inside, over

MOST_TRANSACTIONS: Final = 10  # connections of one store for the sessions of bodies; more attempts wait for one
IDLE_BODY_S: Final = 60.0  # a body that asks nothing for longer may have stopped for good, and may hold locks of others
UNDO_S: Final = 5.0
NO_SUCH_SAVEPOINT: Final = ("3B001", "25P01")

BEGIN = f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_BODY_S * 1000:.0f}; SAVEPOINT {BODY}"
RELEASE = f"RELEASE SAVEPOINT {BODY}; SET LOCAL idle_in_transaction_session_timeout = {IDLE_TIMEOUT_S * 1000:.0f}"

Driver: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Bodies:
    """The transactions of one store's attempts. ``connect`` makes a connection; ``transact`` writes a batch alone.

    ``told`` is what is to be announced with a batch, if anything.
    """

    def __init__(
        self,
        place: str,
        names: Names,
        connect: Callable[[], Awaitable[Link]],
        transact: Callable[[Batch], Coroutine[Any, Any, Receipt]],
        told: Callable[[Batch], str | None],
    ) -> None:
        self.place, self.names, self.transact, self.told = place, names, transact, told
        self.turns = asyncio.Semaphore(MOST_TRANSACTIONS)
        self.engine = _engine(connect)
        self.open: set[PostgresTransaction] = set()

    def transaction(self, *, is_async: bool) -> PostgresTransaction:
        """Return a transaction for an attempt."""
        transaction = PostgresTransaction(self, is_async=is_async)
        self.open.add(transaction)
        return transaction

    async def close(self) -> None:
        """End what is still open, and close all connections."""
        for transaction in list(self.open):
            await transaction.end()
        await greenlet_spawn(self.engine.dispose)


def _engine(connect: Callable[[], Awaitable[Link]]) -> Engine:
    """Return the engine of a store. SQLAlchemy begins no transactions: they are begun before it has a connection."""

    async def begun() -> Driver:
        driver = (await connect()).connection
        await driver.execute("BEGIN")  # what SQLAlchemy asks of a new connection is asked of one server
        return driver

    def creator() -> Any:
        module: Any = engine.dialect.dbapi
        options = {"prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda: ""}
        return module.connect(async_creator_fn=begun, **options)

    engine = create_engine(
        "postgresql+asyncpg://",
        creator=creator,
        isolation_level="AUTOCOMMIT",
        poolclass=AsyncAdaptedQueuePool,
        pool_size=MOST_TRANSACTIONS,
        max_overflow=0,
        pool_reset_on_return=None,
    )
    # What a dead connection means is decided at the end; SQLAlchemy would close it on the thread of a plain body.
    engine.dialect.is_disconnect = lambda *_: False  # type: ignore[method-assign]  # of this engine's alone
    event.listen(engine, "checkout", _begin)
    return engine


def _begin(_adapted: object, entry: ConnectionPoolEntry, _lent: object) -> None:
    """Begin the transaction of a body. A connection that was lost since it was used last is none of the body's tries.

    With it go all that the pool has kept: whatever cut it, such as a server that was started again, has cut those, too.
    """
    driver: Any = entry.driver_connection
    is_kept = "begun" in entry.info
    entry.info["begun"] = True
    try:
        await_(driver.execute(BEGIN if driver.is_in_transaction() else f"BEGIN; {BEGIN}"))
    except BaseException as error:
        was_cut = isinstance(error, Exception) and (is_lost(error) or driver.is_closed())
        driver.terminate()
        if is_kept and was_cut:
            raise InvalidatePoolError from error
        raise


class PostgresTransaction:
    """The transaction of one attempt."""

    def __init__(self, host: Bodies, *, is_async: bool) -> None:
        self._host, self._is_async = host, is_async
        self._loop = asyncio.get_running_loop()
        self.session: Any = (AsyncBodySession if is_async else BodySession)(connect=self._connected)
        self._connection: Connection | None = None
        self._driver: Driver | None = None
        self._unreachable: StoreUnavailable | None = None
        self._has_turn = self._over = self._in_body = False
        self._asking = Lock()
        self._asked: Future[Any] | None = None
        self._committing: asyncio.Task[Receipt] | None = None

    @property
    def broken(self) -> StoreUnavailable | None:
        if self._unreachable is None and self._driver is not None and self._driver.is_closed():
            return StoreUnavailable(
                f"{self._host.place} has closed the connection of a body's session: the server was stopped, or the "
                f"body asked it nothing for {IDLE_BODY_S:g} s"
            )
        return self._unreachable

    @property
    def refused(self) -> bool:
        return self._unreachable is not None and self._driver is None

    def call(self, body: Callable[[], Any]) -> Any:
        return self._awaited(body) if self._is_async else self._called(body)

    async def commit(self, batch: Batch) -> Receipt:
        if self._connection is None:
            return await self._host.transact(batch)
        self._committing = asyncio.ensure_future(self._commit(batch))
        self._committing.add_done_callback(_seen)
        return await asyncio.shield(self._committing)

    async def end(self) -> None:
        if self._over:
            return
        if self._committing is not None:
            await asyncio.wait({self._committing})
        with self._asking:
            self._over = True
            if self._asked is not None:
                self._asked.cancel()
        try:
            if self._connection is not None:
                await self._let_go(self._connection)
        finally:
            if self._has_turn:
                self._host.turns.release()
            self._host.open.discard(self)

    # The body

    async def _awaited(self, body: Callable[[], Awaitable[Any]]) -> Any:
        self._in_body = True
        try:
            return await body()
        finally:
            self._in_body = False

    def _called(self, body: Callable[[], Any]) -> Any:
        """Call a plain body on this thread. It is a greenlet, so that SQLAlchemy can hand out what is to be awaited."""
        self._in_body = True
        try:
            running = _Body(body, getcurrent())
            running.gr_context = getcurrent().gr_context
            asked = running.switch()
            while not running.dead:
                try:
                    answer = self._elsewhere(asked)
                except BaseException:  # noqa: BLE001 - handed to the body
                    asked = running.throw(*sys.exc_info())
                else:
                    asked = running.switch(answer)
            return asked
        finally:
            self._in_body = False

    def _elsewhere(self, asked: Awaitable[Any]) -> Any:
        """Have the event loop await something, unless the attempt is over."""
        with self._asking:
            if self._over:
                if asyncio.iscoroutine(asked):
                    asked.close()
                raise over()
            self._asked = asyncio.run_coroutine_threadsafe(_await(asked), self._loop)
        try:
            return self._asked.result()
        except CancelledError:
            raise over() from None

    def _connected(self) -> Connection:
        if self._over:
            raise over()
        if self._connection is None:
            await_(self._begin())
        assert self._connection is not None
        return self._connection

    async def _begin(self) -> None:
        if not self._has_turn:
            await self._host.turns.acquire()
            if self._over:  # meanwhile, and nobody would give the turn back
                self._host.turns.release()
                raise over()
            self._has_turn = True
        try:
            with translated(self._host.place):
                await self._connect()
        except StoreUnavailable as error:
            self._unreachable = error
            raise

    async def _connect(self) -> None:
        connection = await greenlet_spawn(_dialled, self._host.engine)
        driver = _driver_of(connection)
        if self._over:
            driver.terminate()
            await greenlet_spawn(connection.invalidate)
            raise over()
        self._connection, self._driver = connection, driver

    # Ending

    async def _commit(self, batch: Batch) -> Receipt:
        driver, link = self._driver, self._link()
        assert driver is not None
        with translated(self._host.place):
            async with asyncio.timeout(STATEMENT_TIMEOUT_S):
                try:
                    await driver.execute(RELEASE)
                except asyncpg.PostgresError as error:
                    if error.sqlstate in NO_SUCH_SAVEPOINT:
                        raise ended_inside() from None
                    raise
                receipt = await write_inside(link, batch, self._host.told(batch))
                if not receipt.disowned:
                    await driver.execute("COMMIT")
                return receipt

    def _link(self) -> Link:
        """Return the connection as the store knows it, with the statements that it has sent before."""
        assert self._connection is not None
        assert self._driver is not None
        link: Link = self._connection.info.setdefault("cloaca", Link(self._driver, self._host.names))
        return link

    async def _let_go(self, connection: Connection) -> None:
        """Undo what is not committed, and give the connection back; throw it away if a body may still be at it."""
        assert self._driver is not None
        if self._in_body or not await _undone(self._driver):
            self._driver.terminate()

        def give_back() -> None:
            if not self._in_body:
                with suppress(SQLAlchemyError):  # as after a flush that has failed
                    (self.session.sync_session if self._is_async else self.session).let_go()
            if self._driver is not None and self._driver.is_closed():
                connection.invalidate()
            connection.close()

        await greenlet_spawn(give_back)
        self._connection = None


class _Body(greenlet):  # type: ignore[misc]  # as above
    """A plain body that runs, as SQLAlchemy knows it: what is to be awaited is handed to its parent."""

    __sqlalchemy_greenlet_provider__ = True


async def _await(asked: Awaitable[Any]) -> Any:
    return await asked


def _dialled(engine: Engine) -> Connection:
    """Return a connection. Raises the driver's own errors."""
    try:
        return engine.connect()
    except DBAPIError as error:
        raise getattr(error.orig, "__cause__", None) or error from error


def _driver_of(connection: Connection) -> Driver:
    driver: Any = connection.connection.driver_connection
    return driver  # type: ignore[no-any-return]  # asyncpg's, as the dialect has it


async def _undone(driver: Driver) -> bool:
    """Roll back; return whether the connection is still good."""
    try:
        async with asyncio.timeout(UNDO_S):
            if driver.is_in_transaction():
                await driver.execute("ROLLBACK")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        return False
    return not driver.is_closed()


def _seen(committing: asyncio.Task[Receipt]) -> None:
    """Look at the end of a commit, so that asyncio does not warn that nobody did."""
    if not committing.cancelled():
        committing.exception()
