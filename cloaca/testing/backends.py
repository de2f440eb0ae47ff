"""What a simulated world is stored in: the memory store, or a real database whose every operation is one step.

A database has an event loop and threads of its own, in real time; the simulation waits for each answer before it goes
on, so that the order of everything stays the one that it chose. It knows stores, not what is simulated.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast
from unittest import SkipTest
from urllib.parse import urlsplit

from cloaca.ports import Batch, Receipt, Store
from cloaca.runner.databases import open_store
from cloaca.stores.memory import MemoryStore

T = TypeVar("T")

SERVER: Final = "CLOACA_TEST_POSTGRES"
PATIENCE_S: Final = 60.0
_COUNT: Final = itertools.count(1)


class Backend(Protocol):
    """A store, and how to ask it."""

    store: Store

    def call(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Return an operation of the store, to be awaited by a simulated process."""
        ...

    def now(self, work: Coroutine[Any, Any, T]) -> T:
        """Do an operation at once, between two steps of the simulation."""
        ...

    def transaction(self, *, is_async: bool) -> Any:
        """Return the store's own transaction for an attempt."""
        ...

    async def commit(self, transaction: Any, batch: Batch) -> Receipt:
        """Commit such a transaction, and return in the very step in which that is done."""
        ...

    def disconnect(self, transaction: Any) -> None:
        """Undo a transaction whose process is gone, in the middle of a commit or not, as a database does."""
        ...

    def make_tables(self) -> None:
        """Make the users' tables: those of ``SQLModel.metadata``."""
        ...

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return all that is in the users' tables."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class InMemory:
    """The memory store."""

    def __init__(self) -> None:
        self.store: Store = MemoryStore()

    def call(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        found: Callable[..., Coroutine[Any, Any, Any]] = getattr(self.store, name)
        return found

    def now(self, work: Coroutine[Any, Any, T]) -> T:
        while True:
            try:
                work.send(None)  # it yields to let others go on, who do not
            except StopIteration as end:
                found: T = end.value
                return found

    def transaction(self, *, is_async: bool) -> Any:
        return self.store.transaction(is_async=is_async)

    async def commit(self, transaction: Any, batch: Batch) -> Receipt:
        await asyncio.sleep(0)
        if transaction._connection is None:
            return cast("Receipt", await transaction.commit(batch))
        return cast("Receipt", transaction._commit(batch))

    def disconnect(self, transaction: Any) -> None:
        transaction._committing, transaction._over = None, False  # nobody waits for them any more
        self.now(transaction.end())

    def make_tables(self) -> None:
        with self._connected() as connection:
            _users_tables().create_all(connection)
            connection.commit()

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        from sqlalchemy import select  # noqa: PLC0415 - only who needs SQL loads it

        with self._connected() as connection:
            return {
                name: [dict(row._mapping) for row in connection.execute(select(table))]
                for name, table in _users_tables().tables.items()
            }

    def _connected(self) -> Any:
        from cloaca.stores.sql.memory_bodies import MemoryBodies  # noqa: PLC0415 - the same

        assert isinstance(self.store, MemoryStore)
        self.store.transaction(is_async=False)
        assert isinstance(self.store._bodies, MemoryBodies)
        return self.store._bodies.engine(is_async=False).connect()

    def close(self) -> None:
        """Nothing to let go of."""


class InDatabase:
    """A real store, on an event loop in a thread of its own."""

    def __init__(self, database: str, clean_up: Callable[[], object]) -> None:
        self.store = open_store(database)
        self._clean_up = clean_up
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cloaca-simulated-database", daemon=True)
        self._thread.start()
        self.now(self.store.open())

    def call(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        operation = getattr(self.store, name)

        async def called(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return self.now(operation(*args, **kwargs))

        return called

    def now(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def transaction(self, *, is_async: bool) -> Any:
        raise self._without_sessions()

    async def commit(self, transaction: Any, batch: Batch) -> Receipt:
        raise self._without_sessions()

    def disconnect(self, transaction: Any) -> None:
        raise self._without_sessions()

    def make_tables(self) -> None:
        raise self._without_sessions()

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        raise self._without_sessions()

    def _without_sessions(self) -> SkipTest:
        """A body holds the database's lock while it waits for the simulation's next step, which waits for the lock."""
        return SkipTest("tasks with a session are simulated on the driver step alone")

    def close(self) -> None:
        try:
            self.now(self.store.close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._clean_up()


def _users_tables() -> Any:
    from sqlmodel import SQLModel  # noqa: PLC0415 - only who needs SQL loads it

    return SQLModel.metadata


async def _command(server: str, statement: str) -> None:
    import asyncpg  # noqa: PLC0415 - its driver is an extra, and only this asks for it

    connection = await asyncpg.connect(server)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def backend_for(driver: str) -> Backend:
    """Return a new, empty backend.

    Raises:
        ValueError: no driver has this name.
        RuntimeError: the environment does not say which PostgreSQL server to use.
    """
    if driver in ("step", "loop"):
        return InMemory()
    if driver == "sqlite":
        folder = tempfile.TemporaryDirectory(prefix="cloaca-")
        return InDatabase(f"sqlite:///{Path(folder.name) / 'simulated.db'}", folder.cleanup)
    if driver == "postgres":
        server = os.environ.get(SERVER)
        if not server:
            raise RuntimeError(
                f"the driver postgres needs a PostgreSQL server: set ${SERVER} to its URL, for a user who may create "
                "databases; each simulation has one of its own"
            )
        name = f"cloaca_simulated_{os.getpid()}_{next(_COUNT)}"
        asyncio.run(_command(server, f'CREATE DATABASE "{name}"'))
        return InDatabase(
            urlsplit(server)._replace(path=f"/{name}").geturl(),
            lambda: asyncio.run(_command(server, f'DROP DATABASE "{name}"')),
        )
    raise ValueError(f"no driver is named {driver!r}: choose step, loop, sqlite or postgres")
