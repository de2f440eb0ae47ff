"""What PostgreSQL's errors mean for whoever runs the program: which of our errors it is, and what to do next.

It knows SQLSTATE codes and URLs, and sees to it that no password is ever shown; it does not know what was being done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from cloaca.errors import CorruptDatabase, InvalidDatabaseUrl, StoreError, StoreUnavailable

HOST = r"(\[[\da-fA-F:.]+\]|[\w.-]*)(:\d+)?"
PLACE = re.compile(rf"({HOST}(,{HOST})*)(/[\w.~%+-]*)?", re.ASCII)

# By the first letters of the code, the longest that fits; the text says what to do.
UNAVAILABLE = {
    "08": "check that the server runs and can be reached",
    "25P03": "this process was stopped in the middle of a transaction, which was undone: the same call may work",
    "25006": "it is a standby that only reads: use the URL of the primary",
    "28": "check the user, the password and the server's pg_hba.conf",
    "3D000": "create it first: CREATE DATABASE",
    "40": "another transaction was in the way, the same call may work later",
    "42501": "grant this role the right to it, or create the schema as another role and make this one its owner",
    "53": "the server lacks room: free disk or memory",
    "53300": "allow more connections (max_connections), or put a pooler before the server",
    "55P03": "another program holds a lock on these tables: let it end its transaction",
    "57": "the server is stopping, starting or has cancelled the statement, the same call may work later",
    "58": "the server can't read or write its files: see its log",
}
DAMAGED = ("XX001", "XX002")
NO_SUCH_CHARACTER = ("22021", "22P05")


def shown(url: str) -> str:
    """Return what of a URL may be shown: host, port and database, neither user nor password nor options.

    Where an odd character may have torn a password apart, nothing is.
    """
    before, _, options = url.partition("://")[2].partition("?")
    credentials, at, place = before.rpartition("@")
    is_torn = "@" in options or not PLACE.fullmatch(place) or (at and not re.fullmatch(r"[^/#]*", credentials))
    return "postgresql://..." if is_torn else f"postgresql://{place}"


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Raise our errors for the driver's; ``place`` is what of the URL may be shown."""
    try:
        yield
    except StoreError:
        raise
    except asyncpg.ClientConfigurationError:
        raise bad_url(place) from None  # the driver's words may have parts of the password
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
        raise named(place, error) from error


def bad_url(place: str) -> InvalidDatabaseUrl:
    """Return the error for a URL that can't be read."""
    return InvalidDatabaseUrl(
        f"{place} is no URL of a PostgreSQL database: write postgresql://user:password@host:5432/database, "
        "and odd characters of a password as %40 and the like"
    )


def code_of(error: BaseException) -> str:
    """Return the SQLSTATE of an error, "" if it has none."""
    code = getattr(error, "sqlstate", None)
    return code if isinstance(code, str) else ""


def named(place: str, error: BaseException) -> StoreError:
    """Return the error of ours that a driver's error amounts to."""
    code, said = code_of(error), f"{type(error).__name__}: {error}".rstrip(": ")
    if code in DAMAGED:
        return CorruptDatabase(f"{place} is damaged ({said}): restore it from a backup")
    if code in NO_SUCH_CHARACTER:
        return StoreError(f"{place} can't hold a text with a NUL character, nothing was written ({said})")
    remedies = [text for start, text in UNAVAILABLE.items() if code.startswith(start)]
    if remedies:
        return StoreUnavailable(f"{place} can't be used now ({said}): {remedies[-1]}")
    if is_lost(error):
        return StoreUnavailable(f"{place} can't be reached ({said}): check that the server runs, its host and port")
    return StoreError(f"{place} has refused a statement: {said}")


def is_lost(error: BaseException) -> bool:
    """Whether an error says that the connection is of no use any more, and nothing about what was asked."""
    is_ours = isinstance(error, StoreError | asyncpg.PostgresError | ValueError)
    return not is_ours or isinstance(error, asyncpg.PostgresConnectionError)
