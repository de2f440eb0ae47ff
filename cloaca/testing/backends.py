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
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

from cloaca.ports import Store
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

    def close(self) -> None:
        try:
            self.now(self.store.close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._clean_up()


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
