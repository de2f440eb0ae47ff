"""How child processes come into the world: forked by a server that only forks, or each as an interpreter of its own.

Never forked from the user's process: what threads, locks and connections it has would be torn. Both ways give a child
a stream to its parent, a process group of its own, and no terminal: Ctrl-C reaches the parent alone. It knows processes
and sockets, not what is said over them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from cloaca.executors.nursery import MOST_BYTES, kill_group

LEAVE_S = 2.0  # how long a child, or what bears them, may take to end in order


@dataclass(frozen=True, slots=True)
class Newborn:
    """A child: its id, the line to it, its end (an exit code, negative for a signal, None if nobody knows)."""

    pid: int
    line: socket.socket
    ended: asyncio.Future[int | None]
    kill: Callable[[], None]


Born = tuple[int, asyncio.Future[int | None]]


class Births(Protocol):
    """A way to get children."""

    async def bear(self) -> Newborn:
        """Start a child. Raises OSError if the system won't have one more."""
        ...

    async def close(self) -> None:
        """Let go of what bears children, and of children that are left. Idempotent."""
        ...


def usual(entry: str) -> Births:
    """Return the way of this platform. macOS knows fork, but its own libraries do not survive it."""
    return ForkServer(entry) if sys.platform == "linux" else Spawner()


class Spawner:
    """Starts each child as an interpreter of its own: a third of a second, anywhere."""

    async def bear(self) -> Newborn:
        """Start a child. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            process = _spawned_on_windows(theirs) if sys.platform == "win32" else _spawned(theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ended = _watched(process)

        def kill() -> None:
            if not ended.done():
                process.kill() if sys.platform == "win32" else kill_group(process.pid)

        return Newborn(process.pid, ours, ended, kill)

    async def close(self) -> None:
        """Do nothing: there is nothing but the children."""


def _spawned(line: socket.socket) -> subprocess.Popen[bytes]:
    program = f"from cloaca.executors.children import main; main({line.fileno()})"
    return _interpreter(program, line)


def _spawned_on_windows(line: socket.socket) -> subprocess.Popen[bytes]:
    """A socket is shared there with a process that is known, and in a process group of its own Ctrl-C is ignored."""
    command = _command("from cloaca.executors.children import main; main(None)")
    flags: int = subprocess.CREATE_NEW_PROCESS_GROUP  # type: ignore[attr-defined]  # exists on Windows only
    process = subprocess.Popen(command, stdin=subprocess.PIPE, creationflags=flags)
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(line.share(process.pid).hex().encode() + b"\n")  # type: ignore[attr-defined]  # as above
    return process


def _interpreter(program: str, line: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        _command(program), pass_fds=[line.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
    )


def _command(program: str) -> list[str]:
    """An interpreter like this one, that finds cloaca where this one found it."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
    begin = "import sys; sys.path[:] = sys.argv[1:]; "
    return [sys.executable, *flags, "-c", begin + program, *search_path()]


def search_path() -> list[str]:
    """Return where Python looks for modules, so that it means the same in another directory."""
    return [os.path.abspath(entry) for entry in sys.path]


def _watched(process: subprocess.Popen[bytes]) -> asyncio.Future[int | None]:
    """Wait for a process on a thread, which every platform and every event loop can."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int | None] = loop.create_future()

    def wait() -> None:
        status = process.wait()
        with suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(_settle, ended, status)

    threading.Thread(target=wait, name=f"cloaca-child-{process.pid}", daemon=True).start()
    return ended


def _settle(future: asyncio.Future[int | None], status: int | None) -> None:
    if not future.done():
        future.set_result(status)


class ForkServer:
    """Has children forked by a nursery, which is started with the first of them, and again if it has died."""

    def __init__(self, entry: str) -> None:
        self._entry = entry
        self._server: Server | None = None

    async def bear(self) -> Newborn:
        """Have a child forked. Raises OSError."""
        if self._server is None or self._server.over:
            self._server = Server(self._entry)
        return await self._server.bear()

    async def close(self) -> None:
        """End the nursery, which takes its children with it."""
        if self._server is not None:
            await self._server.close()


class Server:
    """One nursery, as long as it lives."""

    def __init__(self, entry: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        with theirs:
            program = f"from cloaca.executors.nursery import main; main({theirs.fileno()}, {entry!r})"
            process = _interpreter(program, theirs)
        self._exited = _watched(process)
        self._asked: deque[asyncio.Future[Born]] = deque()
        self._children: dict[int, asyncio.Future[int | None]] = {}
        self.over = False
        self._loop.add_reader(self._control.fileno(), self._hear)

    async def bear(self) -> Newborn:
        """Have a child forked. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            pid, ended = await self._ask(theirs)
        except BaseException:
            ours.close()
            raise
        return Newborn(pid, ours, ended, lambda: None if ended.done() else kill_group(pid))

    async def _ask(self, line: socket.socket) -> Born:
        born: asyncio.Future[Born] = self._loop.create_future()
        with line:
            socket.send_fds(self._control, [b"bear"], [line.fileno()])
        self._asked.append(born)
        return await born

    def _hear(self) -> None:
        try:
            text = self._control.recv(MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            text = b""
        if not text:
            return self._end()
        word, number, *rest = text.decode().split()
        if word == "ended":
            self._buried(int(number), int(rest[0]))
        else:
            self._answered(word, int(number))

    def _answered(self, word: str, number: int) -> None:
        asked, ended = self._asked.popleft(), self._loop.create_future()
        if word == "born":
            self._children[number] = ended
        if asked.done():  # nobody waits any more, and the line of the child is closed
            return
        if word == "born":
            asked.set_result((number, ended))
        else:
            asked.set_exception(OSError(number, f"no child process could be forked: {os.strerror(number)}"))

    def _buried(self, pid: int, status: int) -> None:
        """A child has ended. From here on nobody kills it, so that its id may become another's."""
        _settle(self._children.pop(pid), status)
        with suppress(OSError):  # the nursery has died; somebody else reaps its children
            self._control.send(str(pid).encode())

    def _end(self) -> None:
        """The nursery is gone. Its children must not stay behind."""
        if self.over:
            return
        self.over = True
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        for pid, ended in self._children.items():
            kill_group(pid)
            _settle(ended, None)
        self._children.clear()
        for asked in self._asked:
            if not asked.done():
                asked.set_exception(OSError(errno.ECHILD, "the process that forks children has died"))

    async def close(self) -> None:
        """End the nursery, and wait for its end."""
        self._end()
        await asyncio.wait({self._exited}, timeout=LEAVE_S)
