"""Who else has committed something to a SQLite file, found out without asking SQLite.

Beside a database with a write-ahead log lies an index of that log, which all processes map into memory. Its first bytes
change with every commit, at the moment from which readers see it, and say where the log ends
(https://www.sqlite.org/walformat.html). To read them takes a microsecond, no lock and no statement.
It knows bytes of two files, not what is committed.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import NamedTuple

AVAILABLE = os.name == "posix"
HEADER_BYTES, FRAME_HEADER_BYTES = 48, 24
LOG_HEADER_BYTES = 32
# Of the index's header: the size of a page at 14, the last frame of the log at 16, the log's salt at 32.
_HEADER = struct.Struct("=14xHI12x8s8x")
MOST_FRAMES = 8  # a renewal of a lease writes one


class _End(NamedTuple):
    """Where the log ends. ``page_bytes`` is odd for the one size that doesn't fit."""

    page_bytes: int
    frames: int
    salt: bytes


class LogIndex:
    """Tells commits of others from our own. Whoever commits says so with ``ours``, on any thread.

    A commit that changes nothing but the page ``quiet_page`` is no news. Raises FileNotFoundError if the database keeps
    no index.
    """

    def __init__(self, database: Path, quiet_page: int) -> None:
        self._quiet_page = quiet_page.to_bytes(4, "big")
        self._index = _opened(database.with_name(database.name + "-shm"))
        self._log = os.open(database.with_name(database.name + "-wal"), os.O_RDONLY | os.O_CLOEXEC)
        self._lock = Lock()
        self._known = b""
        self._known = self._read()
        self._news = False

    def close(self) -> None:
        """Let go of the files, after every connection of the store."""
        os.close(self._log)
        _let_go(self._index)

    @contextmanager
    def ours(self) -> Iterator[None]:
        """What is committed inside is our own. Enter it where nobody else can commit before it is left."""
        with self._lock:
            self._hear()
            try:
                yield
            finally:
                self._known = self._read()

    def take_news(self) -> bool:
        """Return whether others have committed something since the last call. While we commit, they wait."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self._hear()
            news, self._news = self._news, False
            return news
        finally:
            self._lock.release()

    def _hear(self) -> None:
        found = self._read()
        if found != self._known:
            self._news = self._news or not self._is_quiet(self._known, found)
            self._known = found

    def _read(self) -> bytes:
        try:
            return os.pread(self._index, HEADER_BYTES, 0)
        except OSError:  # whoever uses the database says what is wrong with the disk
            return self._known

    def _is_quiet(self, before: bytes, after: bytes) -> bool:
        """Whether all frames that were appended in between are of the quiet page."""
        if len(before) < HEADER_BYTES or len(after) < HEADER_BYTES:
            return False
        old, new = _End._make(_HEADER.unpack(before)), _End._make(_HEADER.unpack(after))
        if new.salt != old.salt or not 0 < new.frames - old.frames <= MOST_FRAMES:
            return False
        step = FRAME_HEADER_BYTES + (new.page_bytes & ~1) + ((new.page_bytes & 1) << 16)
        starts = (LOG_HEADER_BYTES + frame * step for frame in range(old.frames, new.frames))
        try:
            return all(os.pread(self._log, 4, start) == self._quiet_page for start in starts)
        except OSError:
            return False


# SQLite locks the index with locks that a process loses all of as soon as it closes any descriptor of the file. So one
# is closed only when no connection can have the file: SQLite deletes it together with the last.
_kept: list[int] = []
_keeping = Lock()


def _opened(path: Path) -> int:
    with _keeping:
        wanted = path.stat()
        for file in _kept:
            if os.path.samestat(os.fstat(file), wanted):
                _kept.remove(file)
                return file
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _let_go(file: int) -> None:
    with _keeping:
        _kept.append(file)
        for kept in list(_kept):
            if os.fstat(kept).st_nlink == 0:
                _kept.remove(kept)
                os.close(kept)
