"""Databases for the tests: a file or memory, which several runners may share; and tests as coroutines.

It knows how a runner is opened, and nothing of what the tests do with it.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec

from cloaca import Runner, Workflow
from cloaca.ports import Store
from cloaca.stores.memory import MemoryStore
from cloaca.stores.sql.sqlite import SqliteStore

P = ParamSpec("P")

PATIENCE_S = 30.0  # no test waits so long; one that does has failed


@dataclass
class Database:
    """A place where runs live. ``memory`` is None for a file at ``path``."""

    path: Path
    memory: MemoryStore | None = None

    def runner(self, *workflows: Workflow[Any, Any, Any, Any], **options: Any) -> Runner:
        """Return one more runner on this database, not opened yet."""
        return Runner(self.path, workflows=workflows, store=self.memory, **options)

    def store(self) -> Store:
        """Return a store on this database, for a look at the rows themselves; open it before use."""
        return SqliteStore(self.path) if self.memory is None else self.memory


def asynchronous(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a coroutine as a test; what is logged as lost by its event loop fails it."""

    @functools.wraps(test)
    def runs(*args: P.args, **kwargs: P.kwargs) -> None:
        lost: list[str] = []

        async def scenario() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(str(context)))
            await asyncio.wait_for(test(*args, **kwargs), PATIENCE_S)

        asyncio.run(scenario())
        assert not lost

    return runs


async def eventually(holds: Callable[[], Awaitable[bool]], within_s: float = 20.0) -> None:
    """Wait until something holds that nobody announces: another process's doing, a row in the database."""
    async with asyncio.timeout(within_s):
        while not await holds():
            await asyncio.sleep(0.01)
