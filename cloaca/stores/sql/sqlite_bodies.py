"""What a SQLite store keeps for the transactions of attempts: turns, a thread, engines. They are made when needed.

A store whose tasks ask for no session loads none of what sessions need.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from sqlalchemy import Engine

from cloaca.errors import StoreUnavailable
from cloaca.ports import Batch, Receipt
from cloaca.stores.sql import statements
from cloaca.stores.sql.connections import connect, make_durable
from cloaca.stores.sql.failures import BUSY_TIMEOUT_S, translated
from cloaca.stores.sql.turns import Turns

if TYPE_CHECKING:
    from cloaca.stores.sql.sqlite_transactions import BodyConnection, SqliteTransaction


class Store(Protocol):
    """What bodies need of their store."""

    path: Path

    def way_in(self) -> AbstractContextManager[None]:
        """Hold the writers' gate."""
        ...

    async def transact(self, batch: Batch) -> Receipt:
        """Write a batch."""
        ...


class Bodies:
    """The transactions of one store's attempts: one at a time, and never while the store itself writes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.path = store.path
        self.turns = Turns()
        self.pool: ThreadPoolExecutor | None = None
        self._engines: tuple[Engine, Engine] | None = None
        self._open: set[SqliteTransaction] = set()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the store's own turn to write, on its thread; not for ever: the body may wait for the store."""
        turn = self.turns.ask()
        try:
            turn.result(BUSY_TIMEOUT_S)
        except TimeoutError:
            self.turns.give_up(turn)
            raise StoreUnavailable(
                f"{self.path} has been locked by a task's session for more than {BUSY_TIMEOUT_S:g} s: let the body do "
                "what takes long before its first statement, and start no run after it"
            ) from None
        try:
            yield
        finally:
            self.turns.leave()

    def transaction(self, *, is_async: bool) -> SqliteTransaction:
        """Return a transaction for an attempt."""
        from cloaca.stores.sql.sqlite_transactions import SqliteTransaction  # noqa: PLC0415 - only who needs it pays

        if self.pool is None:  # one thread is enough: only who has the turn has anything to do on it
            self.pool = ThreadPoolExecutor(1, thread_name_prefix="cloaca-session")
        transaction = SqliteTransaction(self, is_async=is_async)
        self._open.add(transaction)
        return transaction

    async def close(self) -> None:
        """End what is still open."""
        for transaction in list(self._open):
            await transaction.end()
        if self.pool is not None:
            self.pool.shutdown(wait=False)
            self.pool = None

    def way_in(self) -> AbstractContextManager[None]:
        return self._store.way_in()

    def engine(self, *, is_async: bool) -> Engine:
        from cloaca.stores.sql.sqlite_transactions import engines_for  # noqa: PLC0415 - as above

        if self._engines is None:
            self._engines = engines_for(self._connect)
        return self._engines[is_async]

    def _connect(self) -> BodyConnection:
        from cloaca.stores.sql.sqlite_transactions import BodyConnection  # noqa: PLC0415 - as above

        driver = connect(self.path, factory=BodyConnection)
        make_durable(driver)
        return cast("BodyConnection", driver)

    def write(self, driver: sqlite3.Connection, batch: Batch) -> Receipt:
        with translated(self.path):
            return statements.write(driver, batch)

    async def transact(self, batch: Batch) -> Receipt:
        return await self._store.transact(batch)

    def lengthen(self, driver: sqlite3.Connection, held_s: float, since: float) -> None:
        driver.execute(statements.LENGTHEN, (held_s, since))

    def ended(self, transaction: SqliteTransaction) -> None:
        self._open.discard(transaction)
