"""The store on PostgreSQL: several machines may share it, also through a pooler.

Commits have a connection of their own, so that nothing is in the way of a lease's renewal; whatever else is asked for
shares a few more, and a last one listens. Stores of many tenants share them (``postgres_pools``). What is written and
read is said in ``postgres_batches``, ``postgres_starts``, ``postgres_ownership`` and ``postgres_queries``; this file
gives each a connection.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeVar

from cloaca.errors import StoreUnavailable
from cloaca.ports import (
    NOTHING,
    Arrivals,
    Batch,
    Cached,
    Granted,
    History,
    NewRun,
    PlanRow,
    Poll,
    QueueRow,
    Receipt,
    RunRow,
    SlotRow,
    Submitted,
    Transaction,
)
from cloaca.stores.sql import (
    postgres_arrivals,
    postgres_batches,
    postgres_caching,
    postgres_controls,
    postgres_ownership,
    postgres_pruning,
    postgres_queries,
    postgres_refusals,
    postgres_schema,
    postgres_slots,
    postgres_starts,
)
from cloaca.stores.sql.postgres_failures import shown, translated
from cloaca.stores.sql.postgres_links import SERVER_CLOCK, Link, Links, Names, connect
from cloaca.stores.sql.postgres_listening import Listener
from cloaca.stores.sql.postgres_news import News
from cloaca.stores.sql.postgres_pools import Ear, Pool, Share
from cloaca.stores.sql.postgres_schedules import PostgresSchedules

if TYPE_CHECKING:
    from cloaca.stores.sql.postgres_transactions import Bodies

T = TypeVar("T")

MOST_REQUESTS = 3  # connections for what is not a commit
UPGRADE_S = 3600.0  # a statement that changes tables may take as long


class PostgresStore(PostgresSchedules):
    """A store in one schema of the database that ``url`` names. Raises ValueError for a schema that can't be one.

    With ``pool``, which returns a pool on the event loop that runs, it shares connections with stores in other schemas.
    Opening it makes the tables, or brings them to this release's revision, unless ``upgrades`` is false.
    """

    clock: ClassVar[str] = SERVER_CLOCK
    upgrades = True

    def __init__(self, url: str, *, schema: str = "cloaca", pool: Callable[[], Pool] | None = None) -> None:
        self.place = shown(url)
        self._url = url
        self._names = Names(schema, self.clock)
        self._commits: Links | Share | None = None
        self._requests: Links | Share | None = None
        self._find_pool = pool
        self._pool: Pool | None = None
        self._news = News(time.monotonic)
        self._listener: Listener | Ear | None = None
        self._bodies: Bodies | None = None

    def __repr__(self) -> str:
        return f"<PostgresStore {self.place} {self._names.schema}>"

    async def open(self) -> None:
        if self._commits is not None:
            return
        if self._find_pool is None:
            self._commits, self._requests = Links(self._connect, 1), Links(self._connect, MOST_REQUESTS)
        else:
            self._pool = self._find_pool()
            self._commits, self._requests = self._pool.enter(self._names)
        try:
            await self._ask(self._made if self.upgrades else lambda link: postgres_schema.check(link, self.place))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            self._news.hear("")  # whoever waits finds the store closed
            await listener.stop()
        bodies, self._bodies = self._bodies, None
        if bodies is not None:
            await bodies.close()
        links, self._commits, self._requests = (self._commits, self._requests), None, None
        for each in links:
            if each is not None:
                await each.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.leave()

    async def watch(self, wake: Callable[[], None]) -> bool:
        self._news.watch(wake)
        return await self._listens()

    async def follow(self, run: int, wake: Callable[[], None]) -> bool:
        request = self._news.follow(run, wake)
        listens = await self._listens()
        if listens and request is not None:
            await self._ask(lambda link: link.ask(postgres_starts.TELL, link.names.channel, request))
        return listens

    def unfollow(self, run: int, wake: Callable[[], None]) -> None:
        self._news.unfollow(run, wake)

    async def _listens(self) -> bool:
        """Listen, if nobody does yet; return False if that is not possible here."""
        self._open()
        if self._listener is None:
            if self._pool is None:
                self._listener = Listener(self._connect, self._news.hear)
            else:
                self._listener = self._pool.ear(self._names.channel, self._news.hear)
            self._listener.start()
        await self._listener.tried.wait()
        return self._listener.can_hear

    async def open_session(self, name: str, at: float, until: float, *, serves: Mapping[str, str] = NOTHING) -> int:
        return await self._ask(lambda link: postgres_ownership.open_session(link, name, at, until - at, serves))

    async def serve(self, session: int, serves: Mapping[str, str]) -> None:
        await self._ask(lambda link: postgres_refusals.serve(link, session, serves))

    async def close_session(self, session: int, *, at: float) -> None:
        await self._ask(lambda link: postgres_ownership.close_session(link, session, at))

    async def transact(self, batch: Batch) -> Receipt:
        return await self._use(self._commits, lambda link: postgres_batches.write(link, batch, self._told(batch)))

    def _told(self, batch: Batch) -> str | None:
        return self._news.about(batch.concerned()) if self._news.is_followed else None

    def transaction(self, *, is_async: bool) -> Transaction:
        from cloaca.stores.sql.postgres_transactions import Bodies  # noqa: PLC0415 - only who needs sessions loads them

        self._open()
        if self._bodies is None:
            self._bodies = Bodies(self.place, self._names, self._connect, self.transact, self._told)
        return self._bodies.transaction(is_async=is_async)

    async def submit(self, plan: PlanRow, run: NewRun) -> Submitted:
        return await self._ask(lambda link: postgres_starts.submit(link, plan, run))

    async def claim(
        self, session: int, workflows: Sequence[str], limit: int, at: float, *, suspects: bool
    ) -> list[History]:
        return await self._ask(
            lambda link: postgres_ownership.claim(link, session, workflows, limit, at=at, suspects=suspects)
        )

    async def claim_refused(self, session: int, serves: Mapping[str, str], limit: int, at: float) -> list[History]:
        return await self._ask(lambda link: postgres_refusals.claim(link, session, serves, limit, at))

    async def reap(self, at: float, *, sparing: int | None = None) -> int:
        return await self._ask(lambda link: postgres_ownership.reap(link, at, sparing))

    async def poll(
        self,
        session: int,
        workflows: Sequence[str],
        at: float,
        *,
        renew_until: float | None = None,
        serves: Mapping[str, str] = NOTHING,
    ) -> Poll:
        lease_s = None if renew_until is None else renew_until - at
        return await self._read(lambda link: postgres_ownership.poll(link, session, workflows, lease_s, serves))

    async def declare(self, queues: Sequence[QueueRow]) -> list[QueueRow]:
        return await self._ask(lambda link: postgres_slots.declare(link, queues)) if queues else []

    async def queues(self) -> list[QueueRow]:
        return await self._read(postgres_slots.queues)

    async def acquire(self, session: int, wanted: Sequence[SlotRow], at: float) -> Granted:
        return await self._ask(lambda link: postgres_slots.acquire(link, session, wanted))

    async def cancel(self, run: int, at: float) -> str | None:
        # Whoever ends a child run locks it before its parent, and so may be in the way: the same call works then.
        return await self._again(lambda link: postgres_ownership.cancel(link, run, at))

    async def pause(self, run: int, at: float) -> RunRow | None:
        return await self._ask(lambda link: postgres_controls.pause(link, run, at))

    async def resume(self, run: int, at: float) -> RunRow | None:
        return await self._ask(lambda link: postgres_controls.resume(link, run, at))

    async def retry(self, seen: RunRow, at: float, *, anew: Sequence[str], earlier: str | None, detail: str) -> bool:
        return await self._ask(
            lambda link: postgres_controls.retry(link, seen, at, anew=anew, earlier=earlier, detail=detail)
        )

    async def upgrade(
        self, seen: RunRow, plan: PlanRow, at: float, *, anew: Sequence[str], earlier: str | None, epilogue: bool,
        detail: str,
    ) -> bool:  # fmt: skip
        return await self._ask(
            lambda link: postgres_refusals.upgrade(
                link, seen, plan, at, anew=anew, earlier=earlier, epilogue=epilogue, detail=detail
            )
        )

    async def fork(self, plan: PlanRow, run: NewRun, *, origin: int, tasks: Sequence[str], detail: str) -> int | None:
        return await self._ask(
            lambda link: postgres_controls.fork(link, plan, run, origin=origin, tasks=tasks, detail=detail)
        )

    async def send(self, run: int, name: str, payload: str, at: float, *, nodes: Sequence[str]) -> bool | None:
        return await self._ask(lambda link: postgres_arrivals.send(link, run, name, payload, at, nodes=nodes))

    async def hear(self, session: int, runs: Sequence[int]) -> list[Arrivals]:
        return await self._ask(lambda link: postgres_queries.hear(link, session, runs))

    async def wake(self, at: float, limit: int) -> int:
        return await self._ask(lambda link: postgres_arrivals.wake(link, limit))

    async def reconsider(self, serves: Mapping[str, str]) -> int:
        return await self._ask(lambda link: postgres_refusals.reconsider(link, serves))

    async def block(self, session: int, run: int, reason: str, version: str = "") -> None:
        await self._ask(lambda link: postgres_refusals.refuse(link, session, run, reason, version))

    async def history(self, run: int) -> History | None:
        return await self._read(lambda link: postgres_queries.history(link, run))

    async def run(self, run: int) -> RunRow | None:
        return await self._read(lambda link: postgres_queries.run(link, run))

    async def plan(self, digest: str) -> PlanRow | None:
        return await self._read(lambda link: postgres_queries.plan(link, digest))

    async def runs(self, *, workflow: str | None, status: str | None, before: int | None, limit: int) -> list[RunRow]:
        return await self._read(
            lambda link: postgres_queries.listed(link, workflow=workflow, status=status, before=before, limit=limit)
        )

    async def prune(self, ended_before: float, limit: int) -> int:
        return await self._ask(lambda link: postgres_pruning.prune(link, ended_before, limit))

    async def cached(self, keys: Sequence[str], at: float) -> list[Cached]:
        return await self._read(lambda link: postgres_caching.find(link, keys))

    async def prune_cache(self, kept_before: float, limit: int) -> int:
        return await self._ask(lambda link: postgres_caching.forget(link, kept_before, limit))

    async def _connect(self) -> Link:
        return await connect(self._url, self._names)

    async def _made(self, link: Link) -> None:
        await postgres_schema.make(link, self.place, lambda: connect(self._url, self._names, timeout_s=UPGRADE_S))

    def _open(self) -> None:
        if self._commits is None:
            raise StoreUnavailable(f"{self.place} is not open")

    async def _ask(self, work: Callable[[Link], Awaitable[T]]) -> T:
        return await self._use(self._requests, work)

    async def _again(self, work: Callable[[Link], Awaitable[T]]) -> T:
        """Ask for something that may be asked for twice."""
        return await self._read(work)

    async def _read(self, work: Callable[[Link], Awaitable[T]]) -> T:
        """Ask for something that changes nothing: so a connection that was lost meanwhile is no reason to fail."""
        try:
            return await self._ask(work)
        except StoreUnavailable:
            return await self._ask(work)

    async def _use(self, links: Links | Share | None, work: Callable[[Link], Awaitable[T]]) -> T:
        self._open()
        assert links is not None
        with translated(self.place):
            async with links.link() as link:
                return await work(link)
