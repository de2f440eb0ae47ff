"""Connections that the stores of one process share, whatever schemas they are in: those of many tenants.

That is possible since every statement names its schema, and none leaves anything behind on the server. A link is lent
to one store at a time, and knows that store's schema alone; a body's session is user code and never gets one of these.
It knows connections and channels, not tables.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import asyncpg

from cloaca.stores.sql.postgres_links import Link, Links, Names, connect
from cloaca.stores.sql.postgres_listening import Listener

COMMITS: Final = 4  # connections for commits, of all stores that share a pool
REQUESTS: Final = 6  # and for all else

Hear = Callable[[str], None]


class Share:
    """The links of a pool, for statements in one schema."""

    def __init__(self, links: Links, names: Names) -> None:
        self._links, self._names = links, names

    @asynccontextmanager
    async def link(self) -> AsyncIterator[Link]:
        """A connection for who uses it alone, for a while."""
        async with self._links.link() as link:
            yield link.under(self._names)

    async def close(self) -> None:
        """Do nothing: the links are those of others, too."""


class Pool:
    """The connections of one URL, on one event loop. The last store that leaves closes them."""

    def __init__(self, url: str, *, commits: int = COMMITS, requests: int = REQUESTS) -> None:
        self._url = url
        self._limits = commits, requests
        self._stores = 0
        self._commits, self._requests = self._made()
        self._exchange: Exchange | None = None

    def enter(self, names: Names) -> tuple[Share, Share]:
        """Return a store's share: connections for commits, and for all else."""
        self._stores += 1
        return Share(self._commits, names), Share(self._requests, names)

    async def leave(self) -> None:
        """A store leaves."""
        self._stores -= 1
        if self._stores:
            return
        links, exchange = (self._commits, self._requests), self._exchange
        self._commits, self._requests = self._made()  # for who comes while these are being closed
        self._exchange = None
        if exchange is not None:
            await exchange.stop()
        for each in links:
            await each.close()

    def ear(self, channel: str, hear: Hear) -> Ear:
        """Return what listens on a channel, on a connection for all channels."""
        if self._exchange is None:
            self._exchange = Exchange(self._connect)
            self._exchange.start()
        return Ear(self._exchange, channel, hear)

    def _made(self) -> tuple[Links, Links]:
        commits, requests = self._limits
        return Links(self._connect, commits), Links(self._connect, requests)

    async def _connect(self) -> Link:
        return await connect(self._url, NOBODYS)


NOBODYS: Final = Names("cloaca: of no tenant")  # a statement that is not lent to anybody would fail


class Exchange(Listener):
    """Listens on the channels of many schemas, by one connection."""

    def __init__(self, connect: Callable[[], Awaitable[Link]]) -> None:
        super().__init__(connect, self._tell_all)
        self._heard_by: dict[str, list[Hear]] = {}
        self._link: Link | None = None
        self._turn = asyncio.Lock()

    async def add(self, channel: str, hear: Hear) -> None:
        """Call ``hear`` with what is said on a channel, and with "" when something may have been missed."""
        known = self._heard_by.setdefault(channel, [])
        known.append(hear)
        async with self._turn:
            for link in self._live():
                with _lost(link):
                    await link.connection.add_listener(channel, self._said)
        hear("")

    async def remove(self, channel: str, hear: Hear) -> None:
        """Call it no more."""
        known = self._heard_by.get(channel, [])
        if hear in known:
            known.remove(hear)
        async with self._turn:
            if known or self._heard_by.pop(channel, None) is None:
                return
            for link in self._live():
                with _lost(link):
                    await link.connection.remove_listener(channel, self._said)

    def _live(self) -> list[Link]:
        """The link that listens, if there is one now."""
        return [] if self._link is None or self._link.connection.is_closed() else [self._link]

    async def _begin(self, link: Link) -> None:
        async with self._turn:
            for channel in list(self._heard_by):
                await link.connection.add_listener(channel, self._said)
            self._link = link

    async def _ask_whether_it_lives(self, link: Link) -> None:
        async with self._turn:
            await super()._ask_whether_it_lives(link)

    def _said(self, *said: object) -> None:
        channel, text = said[-2:]
        for hear in list(self._heard_by.get(str(channel), ())):
            hear(str(text))

    def _tell_all(self, said: str) -> None:
        for hears in list(self._heard_by.values()):
            for hear in list(hears):
                hear(said)


@contextmanager
def _lost(link: Link) -> Iterator[None]:
    """Give a connection up that fails: the exchange makes another, and has it listen on every channel."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        link.connection.terminate()


class Ear:
    """One channel of an exchange, with the face of a listener."""

    def __init__(self, exchange: Exchange, channel: str, hear: Hear) -> None:
        self._exchange, self._channel, self._hear = exchange, channel, hear
        self.tried = asyncio.Event()
        self._adding: asyncio.Task[None] | None = None

    @property
    def can_hear(self) -> bool:
        """Whether anybody can listen here."""
        return self._exchange.can_hear

    def start(self) -> None:
        """Listen from now on."""
        self._adding = asyncio.get_running_loop().create_task(self._add())

    async def _add(self) -> None:
        try:
            await self._exchange.tried.wait()
            await self._exchange.add(self._channel, self._hear)
        finally:
            self.tried.set()

    async def stop(self) -> None:
        """Listen no more."""
        if self._adding is not None:
            self._adding.cancel()
            await asyncio.wait([self._adding])
        await self._exchange.remove(self._channel, self._hear)


_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Pool]] = weakref.WeakKeyDictionary()


def pool_of(url: str) -> Pool:
    """Return the pool of a URL on the event loop that runs: connections belong to one."""
    pools = _pools.setdefault(asyncio.get_running_loop(), {})
    if url not in pools:
        pools[url] = Pool(url)
    return pools[url]
