"""A pooler as bad as they come: each transaction gets another server, and answers can be lost on the way.

It speaks as much of PostgreSQL's protocol as that takes: messages are a letter, a length and a body; the server says
``Z`` and the state of the transaction after each exchange. Servers must let anyone in.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

SOCKET = ".s.PGSQL.5432"
STARTUP = 196608
SYNC, FLUSH, QUERY, TERMINATE = b"S", b"H", b"Q", b"X"
READY, ERROR, ROWS, NO_ROWS = b"Z", b"E", b"T", b"n"
ENDS = {SYNC: {READY}, QUERY: {READY}, FLUSH: {ERROR, ROWS, NO_ROWS}}  # what ends an answer; flushed: a description


class Server:
    """A connection to the real server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, greeting: bytes) -> None:
        self.reader, self.writer, self.greeting = reader, writer, greeting

    async def exchange(self, query: bytes, ends: set[bytes]) -> tuple[bytes, bool]:
        """Send what a client has sent; return the answer, and whether the transaction is over."""
        self.writer.write(query)
        answer = b""
        while True:
            kind, message = await receive(self.reader)
            answer += message
            if kind in ends:
                return answer, kind == READY and message.endswith(b"I")


class Pooler:
    """Stands before the server at ``url``. ``url`` is then its own."""

    def __init__(self, server: str, folder: Path, size: int) -> None:
        self.folder = Path(parse_qs(urlsplit(server).query)["host"][0])
        self.url = server.replace(str(self.folder), str(folder))
        self.size = size
        self.exchanges = 0
        self.questions = 0  # about types, for which the driver would set a parameter of the session
        self.loses = b""  # the answer to what has these bytes in it is lost, once
        self._socket = folder / SOCKET
        self._listening: asyncio.Server | None = None
        self._servers: asyncio.Queue[Server] = asyncio.Queue()
        self._numbers = itertools.count(2**30)
        self._clients: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a client until it goes."""
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        try:
            await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length, version = struct.unpack("!ii", await reader.readexactly(8))
        startup = struct.pack("!ii", length, version) + await reader.readexactly(length - 8)
        if version != STARTUP:  # to cancel a statement, or to speak in cipher
            return
        while self._servers.qsize() < self.size:
            self._servers.put_nowait(await self._server(startup))
        first = await self._servers.get()
        self._servers.put_nowait(first)
        writer.write(first.greeting)
        server: Server | None = None
        query = b""
        try:
            while True:
                kind, message = await receive(reader)
                if kind == TERMINATE:
                    return
                query += message
                if kind not in ENDS:
                    continue
                server = server or await self._servers.get()
                self.exchanges += 1
                self.questions += b"typeinfo" in query
                answer, is_over = await server.exchange(query, ENDS[kind])
                if is_over:
                    self._servers.put_nowait(server)
                    server = None
                if self.loses and self.loses in query:
                    self.loses = b""
                    return
                writer.write(answer)
                query = b""
        finally:
            if server is not None:  # the client has gone in the middle of a transaction
                server.writer.close()

    async def _server(self, startup: bytes) -> Server:
        reader, writer = await asyncio.open_unix_connection(self.folder / SOCKET)
        writer.write(startup)
        greeting = b""
        while True:
            kind, message = await receive(reader)
            if kind == b"K":  # the process and its secret: poolers make up their own
                message = struct.pack("!ciii", b"K", 12, next(self._numbers), 0)
            greeting += message
            if kind in (READY, ERROR):
                return Server(reader, writer, greeting)

    async def open(self) -> None:
        """Take clients."""
        self._listening = await asyncio.start_unix_server(self.serve, self._socket)

    async def close(self) -> None:
        """Take no more clients, and end all conversations."""
        assert self._listening is not None
        self._listening.close()
        for client in list(self._clients):
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        while not self._servers.empty():
            server = self._servers.get_nowait()
            server.writer.close()
            await server.writer.wait_closed()


async def receive(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Return the next message, its letter and all of it."""
    head = await reader.readexactly(5)
    [length] = struct.unpack("!i", head[1:])
    return head[:1], head + await reader.readexactly(length - 4)


@asynccontextmanager
async def pooler(server: str, size: int = 2) -> AsyncIterator[Pooler]:
    """Yield a pooler with so many connections to a server, on a socket of its own."""
    with TemporaryDirectory() as folder:
        made = Pooler(server, Path(folder), size)
        await made.open()
        try:
            yield made
        finally:
            await made.close()
