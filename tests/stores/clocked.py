"""A PostgreSQL store whose server has the clock that a test says, so that leases run out without waiting.

Whatever a test passes as the time becomes the server's, before the call; all else is as it is.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence

import asyncpg

from cloaca.ports import NOTHING, Batch, Granted, History, Poll, Receipt, ScheduleRow, SlotRow
from cloaca.stores.sql.postgres import PostgresStore
from cloaca.stores.sql.postgres_links import Link

numbers = itertools.count(1)


def new_schema(suffix: str = "") -> str:
    """Return the name of a schema that no other test has; it is one that has to be quoted."""
    return f'test {os.getpid()} {next(numbers)} "{{?}}" {suffix}'.strip()


class ClockedStore(PostgresStore):
    """A store with a clock that is set."""

    clock = "(SELECT at FROM {schema}.test_clock)"

    async def open(self) -> None:
        await super().open()
        async with self._requests.link() as link:  # type: ignore[union-attr]  # it is open
            await link.ask("CREATE TABLE IF NOT EXISTS {schema}.test_clock AS SELECT 0.0::float8 AS at")

    async def set(self, at: float) -> None:
        """Set the server's clock."""

        async def set_clock(link: Link) -> None:
            await link.ask("UPDATE {schema}.test_clock SET at = ?", at)

        await self._ask(set_clock)

    async def open_session(self, name: str, at: float, until: float, *, serves: Mapping[str, str] = NOTHING) -> int:
        await self.set(at)
        return await super().open_session(name, at, until, serves=serves)

    async def transact(self, batch: Batch) -> Receipt:
        await self.set(batch.at)
        return await super().transact(batch)

    async def claim(
        self, session: int, workflows: Sequence[str], limit: int, at: float, *, suspects: bool
    ) -> list[History]:
        await self.set(at)
        return await super().claim(session, workflows, limit, at, suspects=suspects)

    async def reap(self, at: float, *, sparing: int | None = None) -> int:
        await self.set(at)
        return await super().reap(at, sparing=sparing)

    async def poll(
        self,
        session: int,
        workflows: Sequence[str],
        at: float,
        *,
        renew_until: float | None = None,
        serves: Mapping[str, str] = NOTHING,
    ) -> Poll:
        await self.set(at)
        return await super().poll(session, workflows, at, renew_until=renew_until, serves=serves)

    async def acquire(self, session: int, wanted: Sequence[SlotRow], at: float) -> Granted:
        await self.set(at)
        return await super().acquire(session, wanted, at)

    async def wake(self, at: float, limit: int) -> int:
        await self.set(at)
        return await super().wake(at, limit)

    async def due(self, workflows: Sequence[str], at: float, limit: int) -> tuple[float, list[ScheduleRow]]:
        await self.set(at)
        return await super().due(workflows, at, limit)


async def drop(url: str, *schemas: str) -> None:
    """Remove schemas and all that is in them."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        for schema in schemas:
            name = schema.replace('"', '""')
            await connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
    finally:
        await connection.close()
