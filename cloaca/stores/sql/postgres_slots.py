"""The slots of queues on PostgreSQL: wanting them, giving out those that are free, counting starts for a rate.

Whoever gives out slots of a queue holds its row, so that one at a time does; rows are taken by name, so that nobody
waits for one who waits for it, and slots that another session is just giving back or losing are passed over. A rate
goes by the server's clock. It knows statements and rows, not connections.
"""

from __future__ import annotations

from collections.abc import Sequence

from cloaca.ports import Granted, QueueRow, SlotRow
from cloaca.stores.sql.postgres_batches import FENCE
from cloaca.stores.sql.postgres_links import Link, transaction
from cloaca.stores.sql.postgres_starts import WAKE, columns
from cloaca.stores.sql.slots import Allowance, Limits, left
from cloaca.stores.sql.statements import lost

LIMITS = "name, concurrency, starts, window_s"
QUEUES = f'SELECT {LIMITS} FROM {{schema}}.cloaca_queue ORDER BY name COLLATE "C"'
KNOWN = f"SELECT {LIMITS} FROM {{schema}}.cloaca_queue WHERE name = ANY(?::text[]) ORDER BY name FOR UPDATE"
DECLARE = (
    "INSERT INTO {schema}.cloaca_queue (name, concurrency, starts, window_s, started) "
    "SELECT q.*, 0 FROM unnest(?::text[], ?::int4[], ?::int4[], ?::float8[]) AS q(name) ORDER BY q.name "
    "ON CONFLICT (name) DO UPDATE SET concurrency = excluded.concurrency, starts = excluded.starts, "
    "window_s = excluded.window_s"
)
FENCED = f"WITH {FENCE} SELECT id FROM s"
WANT = (
    f"WITH {FENCE}, wanted AS (INSERT INTO {{schema}}.cloaca_slot (session, ticket, queue, priority, run, task, held) "
    "SELECT s.id, w.*, false FROM s, unnest(?::int8[], ?::text[], ?::int4[], ?::int8[], ?::text[]) AS w(ticket) "
    "ON CONFLICT DO NOTHING) SELECT id FROM s"
)
SERVED = "SELECT DISTINCT queue FROM {schema}.cloaca_slot WHERE session = ? AND NOT held"
LOCK = f"SELECT {LIMITS}, started FROM {{schema}}.cloaca_queue WHERE name IN ({SERVED}) ORDER BY name FOR UPDATE"
# A slot that is locked is just being given back, or its session is removed: that must not be waited for.
GRANT = (
    "UPDATE {schema}.cloaca_slot AS slot SET held = true FROM (SELECT p.session, p.ticket "
    "FROM {schema}.cloaca_slot AS p JOIN {schema}.cloaca_session AS s ON s.id = p.session "
    "WHERE p.queue = ? AND NOT p.held AND s.expires_at >= {now} "
    "ORDER BY p.queue, p.priority DESC, p.run, p.session, p.ticket LIMIT ? FOR UPDATE OF p SKIP LOCKED) AS free "
    "WHERE slot.session = free.session AND slot.ticket = free.ticket RETURNING slot.session"
)
TAKEN = "SELECT count(*) FROM {schema}.cloaca_slot WHERE queue = ? AND held"
EARLIEST = (
    "SELECT t.now, first.at, first.number FROM (SELECT {instant} AS now) AS t LEFT JOIN LATERAL "
    "(SELECT at, number FROM {schema}.cloaca_start WHERE queue = ? AND at > t.now - ?::float8 "
    "ORDER BY at, number LIMIT 1) AS first ON true"
)
SET_BACK = "UPDATE {schema}.cloaca_start SET at = ?::float8 WHERE queue = ? AND at > ?::float8"
RECORD = (
    "WITH gone AS (DELETE FROM {schema}.cloaca_start WHERE queue = ? AND at <= ?::float8), "
    "new AS (INSERT INTO {schema}.cloaca_start (queue, at, number) "
    "SELECT ?::text, ?::float8, n FROM generate_series(?::int8, ?::int8) AS n) "
    "UPDATE {schema}.cloaca_queue SET started = ?::int8 WHERE name = ?"
)
WAITS = "SELECT 1 FROM {schema}.cloaca_slot WHERE session = ? AND queue = ? AND NOT held LIMIT 1"
HELD = "SELECT ticket FROM {schema}.cloaca_slot WHERE session = ? AND held"


async def declare(link: Link, queues: Sequence[QueueRow]) -> list[QueueRow]:
    """Set the limits of queues, and tell the workers; return those that had others, as they were."""
    async with transaction(link):
        found = [QueueRow._make(row) for row in await link.ask(KNOWN, [queue.name for queue in queues])]
        await link.ask(DECLARE, *columns(queues))
        await link.ask(WAKE, link.names.channel)
    before = {row.name: row for row in found}
    return [before[queue.name] for queue in queues if before.get(queue.name, queue) != queue]


async def queues(link: Link) -> list[QueueRow]:
    """Return every queue that was declared."""
    return [QueueRow._make(row) for row in await link.ask(QUEUES)]


async def acquire(link: Link, session: int, wanted: Sequence[SlotRow]) -> Granted:
    """Want slots, and give those out that are free in the queues in which the session waits."""
    async with transaction(link):
        alive = link.ask(WANT, session, *columns(wanted)) if wanted else link.ask(FENCED, session)
        if not await alive:
            lost(session)
        locked = {row[0]: Limits._make(row) for row in await link.ask(LOCK, session)}
        due_s = {}
        for queue in [row[0] for row in await link.ask(SERVED, session)]:
            limits = locked.get(queue, Limits(queue, None, None, None, None))
            if (due := await _serve(link, session, limits)) is not None:
                due_s[queue] = due
        return Granted(frozenset(row[0] for row in await link.ask(HELD, session)), due_s)


async def _serve(link: Link, session: int, limits: Limits) -> float | None:
    """Give out what is free in a queue; return in how many seconds its rate allows more, if that is waited for."""
    at, allowance = await _allowance(link, limits)
    most = [] if allowance is None else [allowance.starts]
    if limits.concurrency is not None:
        [(taken,)] = await link.ask(TAKEN, limits.queue)
        most.append(max(0, limits.concurrency - taken))
    given = [row[0] for row in await link.ask(GRANT, limits.queue, min(most, default=None))]
    if any(other != session for other in given):
        await link.ask(WAKE, link.names.channel)
    if allowance is None:
        return None
    await _record(link, limits, len(given), at)
    if len(given) < allowance.starts or not await link.ask(WAITS, session, limits.queue):
        return None
    return allowance.leaves_at - at


async def _allowance(link: Link, limits: Limits) -> tuple[float, Allowance | None]:
    """Return the server's time, and what a queue's rate allows, None if it has none."""
    if limits.starts is None or limits.window_s is None:
        return 0.0, None
    [(at, earliest, number)] = await link.ask(EARLIEST, limits.queue, limits.window_s)
    if earliest is None:
        return at, Allowance(limits.starts, at + limits.window_s)
    if earliest > at:  # the clock was set back: they started now at the latest
        await link.ask(SET_BACK, at, limits.queue, at)
    return at, Allowance(left(limits, number), min(earliest, at) + limits.window_s)


async def _record(link: Link, limits: Limits, given: int, at: float) -> None:
    """Number what has started, and forget what no longer counts."""
    if given:
        assert limits.started is not None
        assert limits.window_s is not None
        last, queue = limits.started + given, limits.queue
        numbers = (limits.started + 1, last)
        await link.ask(RECORD, queue, at - limits.window_s, queue, at, *numbers, last, queue)
