"""Looking after SQLite files: the one that a URL names, and those of tenants beside it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection

from cloaca.errors import StoreError, StoreUnavailable, UpgradeRefused
from cloaca.stores.sql import examining, migrating, schema
from cloaca.stores.sql.connections import connect, driver_of, engine_of, keep_log, opened
from cloaca.stores.sql.failures import translated
from cloaca.stores.sql.locks import LockFile
from cloaca.stores.sql.sqlite_migrating import SqliteGround
from cloaca.stores.sql.standing import NOTHING
from cloaca.stores.sql.upkeep import Finding, Report, State, state_of
from cloaca.stores.tenant_names import tenants_beside

LARGE_BYTES = 64 * 1024 * 1024
MOST_FREE = 0.5


class SqliteUpkeep:
    """Looks after the file at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    async def states(self) -> list[State]:
        """Return where each file stands."""
        return await asyncio.to_thread(lambda: [_state(path) for path in self._paths()])

    async def upgrade(self, *, after_deployment: bool) -> list[tuple[str, list[str]]]:
        """Upgrade each file, and make the one that the URL names if it is not there."""
        paths = self._paths() or [self.path]
        return [(str(path), await asyncio.to_thread(_upgraded, path, after_deployment)) for path in paths]

    async def reports(self, *, thorough: bool) -> list[Report]:
        """Examine each file."""
        return await asyncio.to_thread(lambda: [_report(path, thorough) for path in self._paths()])

    def _paths(self) -> list[Path]:
        beside = (path for _, path in tenants_beside(self.path))
        return [path for path in [self.path, *beside] if path.is_file()]


def _state(path: Path) -> State:
    if not path.exists():
        return state_of(str(path), NOTHING, str(path))
    try:
        with translated(path):
            with closing(connect(path, read_only=True)) as driver:
                state = state_of(str(path), schema.look(driver), str(path))
            return state.unless(_unreleased(path)) if state.is_unversioned else state
    except StoreError as error:
        return State(str(path), None, (), (), error)


def _unreleased(path: Path) -> UpgradeRefused | None:
    with engine_of(path).connect() as connection:
        driver_of(connection).execute("PRAGMA query_only = ON")
        return migrating.unreleased(connection, None, str(path))


def _upgraded(path: Path, after_deployment: bool) -> list[str]:
    if not path.parent.is_dir():
        raise StoreUnavailable(f"{path} can't be made: {path.parent} is no directory; create it first")
    with translated(path):
        if path.exists() and path.stat().st_size > 0:
            schema.check(path)
        connection, locks = opened(engine_of(path)), LockFile(path.resolve())
        try:
            with locks.gate():
                keep_log(driver_of(connection))
                return SqliteGround(path, connection).upgrade(after_deployment=after_deployment)
        finally:
            connection.close()
            locks.close()


def _report(path: Path, thorough: bool) -> Report:
    state = _state(path)
    if not state.is_current:
        return Report(state)
    with translated(path), engine_of(path).connect() as connection:
        driver = driver_of(connection)
        driver.execute("PRAGMA query_only = ON")
        driver.execute("BEGIN")  # one moment
        findings = list(examining.structural(connection, None, state))
        if not thorough:
            return Report(state, findings)
        if not any(finding.level == "problem" for finding in findings):
            findings += examining.general(connection, None, SqliteGround.clock)
        driver.execute("ROLLBACK")
        facts = _facts(path, driver)
        findings += [*_of_file(path, connection), *_of_size(facts)]
    return Report(state, findings, facts)


def _facts(path: Path, driver: sqlite3.Connection) -> dict[str, str | int | float | None]:
    asked = ("page_size", "page_count", "freelist_count")
    page, pages, free = (driver.execute(f"PRAGMA {name}").fetchone()[0] for name in asked)
    log = path.with_name(path.name + "-wal")
    return {
        "sqlite_version": sqlite3.sqlite_version,
        "bytes": page * pages,
        "free_bytes": page * free,
        "log_bytes": log.stat().st_size if log.exists() else 0,
        "runs": driver.execute("SELECT count(*) FROM cloaca_run").fetchone()[0],
        "tasks": driver.execute("SELECT count(*) FROM cloaca_task").fetchone()[0],
    }


def _of_file(path: Path, connection: Connection) -> Iterator[Finding]:
    driver = driver_of(connection)
    damages = [row[0] for row in driver.execute("PRAGMA quick_check(5)") if row[0] != "ok"]
    for damage in damages:
        yield Finding("integrity", "problem", f"the file is damaged: {damage}", "restore it from a backup")
    mode = driver.execute("PRAGMA journal_mode").fetchone()[0]
    if mode != "wal":
        remedy = "put it on a local disk, where SQLite can keep one; then any worker switches it on"
        yield Finding("journal", "problem", f"there is no write-ahead log (journal mode {mode})", remedy)
    for needed in (path, path.parent, path.with_name(path.name + "-lock")):
        if needed.exists() and not os.access(needed, os.W_OK):
            remedy = f"chown or chmod {needed}, so that the workers' user may write it"
            yield Finding("permissions", "problem", f"this user may not write {needed}", remedy)


def _of_size(facts: dict[str, str | int | float | None]) -> Iterator[Finding]:
    size, free, log = (int(facts[name] or 0) for name in ("bytes", "free_bytes", "log_bytes"))
    if log > LARGE_BYTES:
        message = f"the write-ahead log has {log / 2**20:.0f} MiB"
        remedy = "some program has had a transaction open for long, which keeps the log from being emptied: let it end"
        yield Finding("log-size", "advice", message, remedy)
    if free > LARGE_BYTES and free > MOST_FREE * size:
        message = f"{free / 2**20:.0f} of {size / 2**20:.0f} MiB are free"
        remedy = "they will be used again; to give them back, stop the workers and VACUUM the file"
        yield Finding("free-space", "advice", message, remedy)
