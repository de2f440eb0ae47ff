"""The slots of queues on SQLite: wanting them, giving out those that are free, counting starts for a rate.

A slot is a row that goes with its session, so that nothing has to be counted down when a worker dies. Each function is
called inside a transaction that is open. It knows statements, not threads and files.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from cloaca.ports import Granted, QueueRow, SlotRow
from cloaca.stores.sql.statements import fence

QUEUES = "SELECT name, concurrency, starts, window_s FROM cloaca_queue"
KNOWN = f"{QUEUES} WHERE name = ?"
DECLARE = (
    "INSERT INTO cloaca_queue (name, concurrency, starts, window_s, started) VALUES (?, ?, ?, ?, 0) "
    "ON CONFLICT (name) DO UPDATE SET concurrency = excluded.concurrency, starts = excluded.starts, "
    "window_s = excluded.window_s"
)
WANT = (
    "INSERT INTO cloaca_slot (session, ticket, queue, priority, run, task, held) VALUES (?, ?, ?, ?, ?, ?, 0) "
    "ON CONFLICT DO NOTHING"
)
SERVED = (
    "SELECT wanted.queue, q.concurrency, q.starts, q.window_s, q.started "
    "FROM (SELECT DISTINCT queue FROM cloaca_slot WHERE session = ? AND NOT held) AS wanted "
    "LEFT JOIN cloaca_queue AS q ON q.name = wanted.queue ORDER BY 1"
)
TAKEN = "SELECT count(*) FROM cloaca_slot INDEXED BY cloaca_slot_held WHERE queue = ? AND held"
GRANT = (
    "UPDATE cloaca_slot SET held = 1 WHERE rowid IN (SELECT slot.rowid FROM cloaca_slot AS slot "
    "INDEXED BY cloaca_slot_waiting CROSS JOIN cloaca_session AS s ON s.id = slot.session "
    "WHERE slot.queue = ? AND NOT slot.held AND s.expires_at >= ? "
    "ORDER BY slot.priority DESC, slot.run, slot.session, slot.ticket LIMIT ?) RETURNING session"
)
EARLIEST = "SELECT at, number FROM cloaca_start WHERE queue = ? AND at > ? ORDER BY at, number LIMIT 1"
SET_BACK = "UPDATE cloaca_start SET at = ?2 WHERE queue = ?1 AND at > ?2"
START = "INSERT INTO cloaca_start (queue, at, number) VALUES (?, ?, ?)"
FORGET = "DELETE FROM cloaca_start WHERE queue = ? AND at <= ?"
STARTED = "UPDATE cloaca_queue SET started = ? WHERE name = ?"
WAITS = "SELECT 1 FROM cloaca_slot WHERE session = ? AND queue = ? AND NOT held"
HELD = "SELECT ticket FROM cloaca_slot WHERE session = ? AND held"


class Limits(NamedTuple):
    """The limits of a queue, and the number of its latest start. All None if it was never declared."""

    queue: str
    concurrency: int | None
    starts: int | None
    window_s: float | None
    started: int | None


class Allowance(NamedTuple):
    """How many attempts may start now by a queue's rate, and when the earliest start leaves the window."""

    starts: int
    leaves_at: float


def declare(driver: sqlite3.Connection, queues: Sequence[QueueRow]) -> list[QueueRow]:
    """Set the limits of queues; return those that had others, as they were."""
    found = [QueueRow._make(row) for queue in queues for row in driver.execute(KNOWN, (queue.name,))]
    driver.executemany(DECLARE, queues)
    return [row for row in found if row not in queues]


def queues(driver: sqlite3.Connection) -> list[QueueRow]:
    """Return every queue that was declared."""
    return [QueueRow._make(row) for row in driver.execute(f"{QUEUES} ORDER BY name")]


def acquire(driver: sqlite3.Connection, session: int, wanted: Sequence[SlotRow], at: float) -> Granted:
    """Want slots, and give those out that are free in the queues in which the session waits."""
    fence(driver, session)
    driver.executemany(WANT, [(session, *row) for row in wanted])
    served = [Limits._make(row) for row in driver.execute(SERVED, (session,)).fetchall()]
    due_s = {limits.queue: due for limits in served if (due := _serve(driver, session, limits, at)) is not None}
    return Granted(frozenset(row[0] for row in driver.execute(HELD, (session,))), due_s)


def _serve(driver: sqlite3.Connection, session: int, limits: Limits, at: float) -> float | None:
    """Give out what is free in a queue; return in how many seconds its rate allows more, if that is waited for."""
    allowance = _allowance(driver, limits, at)
    most = [] if allowance is None else [allowance.starts]
    if limits.concurrency is not None:
        most.append(max(0, limits.concurrency - driver.execute(TAKEN, (limits.queue,)).fetchone()[0]))
    given = len(driver.execute(GRANT, (limits.queue, at, min(most, default=-1))).fetchall())
    if allowance is None:
        return None
    _record(driver, limits, given, at)
    if given < allowance.starts or driver.execute(WAITS, (session, limits.queue)).fetchone() is None:
        return None
    return allowance.leaves_at - at


def _allowance(driver: sqlite3.Connection, limits: Limits, at: float) -> Allowance | None:
    """Return what a queue's rate allows, None if it has none."""
    if limits.starts is None or limits.window_s is None or limits.started is None:
        return None
    found = driver.execute(EARLIEST, (limits.queue, at - limits.window_s)).fetchone()
    if found is None:
        return Allowance(limits.starts, at + limits.window_s)
    earliest, number = found
    if earliest > at:  # the clock was set back: they started now at the latest
        driver.execute(SET_BACK, (limits.queue, at))
    return Allowance(left(limits, number), min(earliest, at) + limits.window_s)


def left(limits: Limits, earliest: int) -> int:
    """Return how many starts are left in a window, of which ``earliest`` is the number of the first.

    >>> left(Limits("mail", None, 5, 60.0, started=12), earliest=10)
    2
    """
    assert limits.starts is not None
    assert limits.started is not None
    return max(0, limits.starts - (limits.started - earliest + 1))


def _record(driver: sqlite3.Connection, limits: Limits, given: int, at: float) -> None:
    """Number what has started, and forget what no longer counts."""
    if given:
        assert limits.started is not None
        assert limits.window_s is not None
        driver.execute(FORGET, (limits.queue, at - limits.window_s))
        last = limits.started + given
        driver.executemany(START, [(limits.queue, at, number) for number in range(limits.started + 1, last + 1)])
        driver.execute(STARTED, (last, limits.queue))
