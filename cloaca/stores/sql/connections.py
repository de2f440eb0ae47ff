"""Connections to a SQLite file, whose transactions are begun and ended by statements.

Write-ahead log with ``synchronous=FULL``: a commit that has returned survives a power cut. It knows files and
transactions, not tables.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import NullPool

from cloaca.errors import StoreUnavailable
from cloaca.stores.sql.failures import BUSY, BUSY_TIMEOUT_S, code_of

PAUSE_S = 0.02


class HandHeld(sqlite3.Connection):
    """A connection on which SQLAlchemy's own commits and rollbacks do nothing: here they are statements."""

    def commit(self) -> None:
        """Do nothing: COMMIT is executed by hand."""

    def rollback(self) -> None:
        """Do nothing: ROLLBACK is executed by hand."""


def connect(path: Path, *, read_only: bool = False, factory: type[sqlite3.Connection] = HandHeld) -> sqlite3.Connection:
    """Return a driver's connection. One that is read-only neither creates nor changes the file, not even by closing."""
    return sqlite3.connect(
        f"{path.as_uri()}?mode=ro" if read_only else path,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        factory=factory,
        uri=read_only,
    )


def engine_of(path: Path) -> Engine:
    """Return an engine that makes a connection whenever it is asked for one, and keeps none."""
    return create_engine("sqlite://", creator=lambda: connect(path), poolclass=NullPool)


def driver_of(connection: Connection) -> sqlite3.Connection:
    """Return the driver's connection below SQLAlchemy's."""
    driver: Any = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def opened(engine: Engine) -> Connection:
    """Return a new connection whose commits are durable."""
    connection = engine.connect()
    make_durable(driver_of(connection))
    return connection


def make_durable(driver: sqlite3.Connection) -> None:
    """Have each commit wait until the disk has it."""
    driver.execute("PRAGMA synchronous = FULL")
    driver.execute("PRAGMA fullfsync = ON")  # on macOS nothing less empties the disk's cache


def keep_log(driver: sqlite3.Connection) -> None:
    """Switch the file to the write-ahead log. SQLite does not always wait for others that do the same."""
    until = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            mode = driver.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            break
        except sqlite3.Error as error:
            if code_of(error) not in BUSY or time.monotonic() > until:
                raise
            time.sleep(PAUSE_S)
    if mode != "wal":
        raise StoreUnavailable(
            f"the database can't keep a write-ahead log (its journal mode stays {mode!r}): put it on a local disk"
        )


@contextlib.contextmanager
def transaction(driver: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Commit what is done inside, or nothing of it."""
    try:
        driver.execute(begin)
        yield
        driver.execute("COMMIT")
    except BaseException:
        roll_back(driver)
        raise


def begins(driver: sqlite3.Connection) -> bool:
    """Begin a transaction that writes; return whether that worked, False if somebody else is writing for too long."""
    try:
        driver.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if code_of(error) not in BUSY:
            raise
        return False
    return True


def be_patient(driver: sqlite3.Connection, seconds: float) -> None:
    """Wait so long for others from now on."""
    driver.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")


def roll_back(driver: sqlite3.Connection) -> None:
    """End the transaction that is open, if one is: SQLite ends some by itself, as when the disk is full."""
    if driver.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            driver.execute("ROLLBACK")
