"""What the store in memory has for the transactions of attempts: a SQLite database in memory, for users' tables.

The store's own rows are not in it: they are written between the body's last statement and the commit, all on the event
loop, so that nobody sees one without the other. Nothing survives the store.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from weakref import finalize

from sqlalchemy import Engine

from cloaca.ports import Batch, Receipt
from cloaca.stores.sql.sqlite_transactions import BodyConnection, SqliteTransaction, engines_for
from cloaca.stores.sql.turns import Turns

_numbers = itertools.count(1)


class Store(Protocol):
    """What bodies need of their store."""

    def write(self, batch: Batch) -> Receipt:
        """Write a batch at once."""
        ...

    async def transact(self, batch: Batch) -> Receipt:
        """Write a batch."""
        ...


class MemoryBodies:
    """The transactions of one store's attempts, one at a time."""

    path = Path(":memory:")
    pool = None

    def __init__(self, store: Store) -> None:
        self._store = store
        self.turns = Turns()
        self._name = f"file:cloaca-{next(_numbers)}?mode=memory&cache=shared"
        keeper = self._connect()  # the database is there as long as a connection to it is
        finalize(self, keeper.close)
        self._engines = engines_for(self._connect)

    def _connect(self) -> BodyConnection:
        return sqlite3.connect(
            self._name, uri=True, isolation_level=None, check_same_thread=False, factory=BodyConnection
        )

    def transaction(self, *, is_async: bool) -> SqliteTransaction:
        """Return a transaction for an attempt."""
        return SqliteTransaction(self, is_async=is_async)

    @contextmanager
    def way_in(self) -> Iterator[None]:
        """There is no other process."""
        yield

    def engine(self, *, is_async: bool) -> Engine:
        return self._engines[is_async]

    def write(self, driver: sqlite3.Connection, batch: Batch) -> Receipt:
        return self._store.write(batch)

    async def transact(self, batch: Batch) -> Receipt:
        return await self._store.transact(batch)

    def lengthen(self, driver: sqlite3.Connection, held_s: float, since: float) -> None:
        """Sessions are in memory, and can always be renewed."""

    def ended(self, transaction: SqliteTransaction) -> None:
        """Nothing to forget."""
