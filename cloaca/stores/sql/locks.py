"""A file of locks beside a SQLite database: a fair gate for writers, and a sign of life for each worker.

SQLite's own busy handler sleeps up to 100 ms at a time and lets some processes starve; and a lease must run out before
a dead worker's runs are taken over. Locks of the operating system help with both: whoever waits stands in line, and
they vanish with the process that held them, however it died. Byte 0 is the gate, byte n the life of session n.

Needs open file description locks (Linux) and a file that may be written; elsewhere the gate is always open and nobody
is known to be dead, which is correct, only slower. It knows bytes of a file, not SQL.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakSet

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # the same name, absent

AVAILABLE = fcntl is not None and sys.platform == "linux" and hasattr(fcntl, "F_OFD_SETLK")

GATE = 0
NEXT = 2**62  # held by the one who enters the gate next: so a busy process can't overtake those that wait
PAUSE_S = 0.0003
# Whoever holds the gate for longer is stopped or very slow; SQLite's own lock decides then.
LONGEST_WAIT_S = 1.0


class LockFile:
    """The locks beside one database. Each instance is one holder, also within one process.

    ``identity`` tells this file from one that replaced it: a lock says nothing to who looks at another file. None if
    there are no locks here.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + "-lock")
        self._file = _opened(self.path, like=database) if AVAILABLE else -1
        self.identity = os.fstat(self._file).st_ino & (2**63 - 1) if self._file >= 0 else None
        self._patient = True
        _holders.add(self)

    def close(self) -> None:
        """Let go of every lock."""
        _holders.discard(self)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @contextmanager
    def gate(self) -> Iterator[None]:
        """Hold the writers' gate; after a second without it go on all the same."""
        held = self._file >= 0 and self._enter()
        try:
            yield
        finally:
            if held:
                self.leave_gate()

    def enter(self, within_s: float) -> bool:
        """Try to enter the gate for so long, and return whether that worked: then ``leave_gate`` must follow.

        Once somebody has held it for too long, nobody waits until it has been free again.
        """
        until = time.monotonic() + (within_s if self._patient else 0.0)
        entered = self._file < 0 or (self._wait(NEXT, until) and self._enter_next(until))
        self._patient = self._patient or entered
        return entered

    def leave_gate(self) -> None:
        """Let go of the writers' gate."""
        self._set(GATE, _UNLOCK)

    def leave_line(self) -> None:
        """Let go of the place before the gate, should entering have been interrupted there."""
        self._set(NEXT, _UNLOCK)

    def live(self, session: int) -> bool:
        """Show that the worker of ``session`` is alive, for as long as this process is; return whether that worked."""
        return self._set(session, _EXCLUSIVE)

    def leave(self, session: int) -> None:
        """Take the sign of life back."""
        self._set(session, _UNLOCK)

    def is_dead(self, session: int) -> bool:
        """Whether the process of ``session`` is gone. Ask only about another holder's, that has shown its life here.

        It looks without touching the lock, so that it can't be in the way of a worker that shows its life just now.
        """
        if self._file < 0:
            return False
        answer = fcntl.fcntl(self._file, fcntl.F_OFD_GETLK, _request(session, _EXCLUSIVE))
        return bool(struct.unpack(_FLOCK, answer)[0] == _UNLOCK)

    def _enter(self) -> bool:
        """Stand in line for the gate."""
        self._patient = self.enter(LONGEST_WAIT_S)
        return self._patient

    def _enter_next(self, until: float) -> bool:
        try:
            return self._wait(GATE, until)
        finally:
            self._set(NEXT, _UNLOCK)

    def _wait(self, byte: int, until: float) -> bool:
        while not self._set(byte, _EXCLUSIVE):
            if time.monotonic() >= until:
                return False
            time.sleep(PAUSE_S)
        return True

    def _set(self, byte: int, kind: int) -> bool:
        """Set or clear the lock of one byte without waiting; return whether that worked."""
        if self._file < 0:
            return False
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _request(byte, kind))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise
        return True


_EXCLUSIVE = fcntl.F_WRLCK if AVAILABLE else 1
_UNLOCK = fcntl.F_UNLCK if AVAILABLE else 2
# struct flock on Linux: type, whence, (padding), start, length, pid; the pid must be 0 for these locks.
_FLOCK = "hhqqi4x"


def _request(byte: int, kind: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, byte, 1, 0)


def _opened(path: Path, *, like: Path) -> int:
    """Open or create the file, for whoever may write the database; -1 where we may not, or there are no such locks."""
    try:
        file = _opened_or_made(path, like)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return -1
        raise
    try:
        fcntl.fcntl(file, fcntl.F_OFD_GETLK, _request(GATE, _EXCLUSIVE))
    except OSError:  # some network file systems and sandboxes
        os.close(file)
        return -1
    return file


def _opened_or_made(path: Path, like: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    if like.exists():
        os.fchmod(file, like.stat().st_mode & 0o777)
    return file


# A child made by fork shares our open files, and with them the locks: it would show the life of a dead parent.
_holders: WeakSet[LockFile] = WeakSet()


def _leave_child() -> None:
    for holder in list(_holders):
        holder.close()


if AVAILABLE:
    os.register_at_fork(after_in_child=_leave_child)
