"""What a driver's error means for whoever runs the program: which of our errors it is, and what to do next.

It knows result codes and paths, not what was being done.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import exc

from cloaca.errors import CorruptDatabase, StoreError, StoreUnavailable

BUSY_TIMEOUT_S = 10.0

DAMAGED = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
FORBIDDEN = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})
BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
FAILING = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM})


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise our errors for the driver's."""
    try:
        yield
    except StoreError:
        raise
    except exc.DBAPIError as error:
        raise named(path, error.orig or error) from error
    except (sqlite3.Error, OSError, OverflowError, UnicodeError) as error:
        raise named(path, error) from error


def code_of(error: BaseException) -> int:
    """Return the primary result code of a driver's error, 0 if it has none."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else 0


def named(path: Path, error: BaseException) -> StoreError:
    """Return the error of ours that a driver's error amounts to."""
    code = code_of(error)
    if code in DAMAGED:
        return CorruptDatabase(
            f"{path} is not a SQLite database, or it is damaged ({error}): restore it from a backup, "
            "or choose another file"
        )
    if code in FORBIDDEN or isinstance(error, PermissionError):
        return StoreUnavailable(
            f"{path} can't be opened for writing ({error}): this user must be able to write the file and the "
            "directory that it is in"
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreUnavailable(f"{path} can't be written ({error}): make room on the disk")
    if code in FAILING or isinstance(error, OSError):
        return StoreUnavailable(f"{path} can't be read or written ({error}): check the disk and the system's limits")
    if code in BUSY:
        return StoreUnavailable(
            f"{path} has been locked by another program for more than {BUSY_TIMEOUT_S:g} s ({error}): "
            "let it end its transaction"
        )
    return StoreError(f"{path} has refused a statement: {type(error).__name__}: {error}")
