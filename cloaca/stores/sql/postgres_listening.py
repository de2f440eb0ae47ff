"""A connection that listens for news of other processes, and comes back by itself when it was lost.

What is said while nobody listens is lost with it; so whoever listens is woken once it listens again, and looks for work
now and then anyway. Behind a pooler that shares servers nobody can listen. What is announced is said in
``postgres_news``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import asyncpg

from cloaca.errors import StoreError
from cloaca.stores.sql.postgres_links import Link, hang_up

logger = logging.getLogger("cloaca.store")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0
CHECK_S = 60.0  # a connection that says nothing may have been cut off without a word


class Listener:
    """Calls ``hear`` with what is announced on the channel of a schema, and with "" when it may have missed something.

    ``can_hear`` is False once it has found out that nobody can listen here.
    """

    def __init__(self, connect: Callable[[], Awaitable[Link]], hear: Callable[[str], None]) -> None:
        self._connect, self._hear = connect, hear
        self.can_hear = True
        self._listening: asyncio.Task[None] | None = None
        self.tried = asyncio.Event()  # it listens, or that has failed for the first time

    def start(self) -> None:
        """Listen from now on."""
        self._listening = asyncio.get_running_loop().create_task(self._keep_listening())

    async def stop(self) -> None:
        """Listen no more."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])

    async def _keep_listening(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            try:
                link = await self._connect()
                try:
                    if not await link.has_server_of_its_own():
                        logger.info("A pooler is before the database: news of other processes is polled for")
                        self.can_hear = False
                        return
                    pause = FIRST_PAUSE_S
                    await self._listen(link)
                finally:
                    await hang_up(link)
            except (StoreError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                logger.info("Nobody listens for news of other processes, will try again: %s", error)
            finally:
                self.tried.set()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _listen(self, link: Link) -> None:
        """Listen until the connection is lost."""
        lost = asyncio.Event()
        link.connection.add_termination_listener(lambda _: lost.set())
        await self._begin(link)
        self.tried.set()
        self._hear("")
        while not link.connection.is_closed():
            try:
                await asyncio.wait_for(lost.wait(), CHECK_S)
            except TimeoutError:
                await self._ask_whether_it_lives(link)

    async def _begin(self, link: Link) -> None:
        await link.connection.add_listener(link.names.channel, lambda *said: self._hear(said[-1]))

    async def _ask_whether_it_lives(self, link: Link) -> None:
        await link.connection.execute("SELECT 1")
