"""Schedules as a user has them: made by ``Runner.schedule``, looked at and changed by ``runner.schedules``.

It checks what is given and stores it; when a schedule fires is decided in ``cloaca.schedules``, and who makes it fire
is the worker of any runner on the database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias, TypedDict

from cloaca.algebra.retries import LONGEST_S, Seconds, in_seconds
from cloaca.contract.workflows import Workflow
from cloaca.errors import ScheduleConflict, UnknownSchedule
from cloaca.interpreter.firings import (
    Firing,
    Schedule,
    ScheduleStatistics,
    firing_of,
    late_after,
    policy_of,
    schedule_of,
    statistics_of,
    window_of,
)
from cloaca.ports import ScheduleRow
from cloaca.runner.engines import Engine
from cloaca.runner.submissions import checked_input
from cloaca.schedules.decisions import CATCHUPS, MOST_CATCHUP, OVERLAPS, Catchup, Overlap, begin, instants
from cloaca.schedules.fields import matches
from cloaca.schedules.timings import FIRST, LAST
from cloaca.schedules.zones import instant_of, zone_of

LONGEST_NAME = 128
LEAST_EVERY_S = 1.0
MOST_BACKFILL = 10_000  # firings of one call
MOST_CONCURRENCY = 1_000
TRIES = 10
TIMING = ("cron", "timezone", "every_s", "at", "start_at", "end_at")
Firings: TypeAlias = list[Firing]  # there where `list` is a method
Named: TypeAlias = Callable[[str], Workflow[Any, Any, Any, Any]]  # finds a workflow, or raises UnknownWorkflow
DEFINITION = ("workflow", "input", *TIMING, "catchup", "overlap", "jitter_s")


class ScheduleOptions(TypedDict, total=False):
    """What a schedule takes beside its workflow, its input and its name."""

    cron: str | None
    timezone: str
    every: Seconds | None
    at: datetime | None
    start: datetime | None
    end: datetime | None
    catchup: Catchup
    overlap: Overlap
    jitter: Seconds


class Schedules:
    """The schedules of a database, each by its name. Every method that is given one raises UnknownSchedule."""

    def __init__(self, engine: Engine, named: Named) -> None:
        self._parts, self._named = engine, named

    async def list(self, *, limit: int = 100, after: str | None = None) -> list[Schedule]:
        """Return schedules, by name. ``after`` is a name, for the next page."""
        _check_limit(limit)
        return [schedule_of(row) for row in await self._engine.store.schedules(after=after, limit=limit)]

    async def get(self, name: str) -> Schedule:
        """Return a schedule."""
        return schedule_of(await self._row(name))

    async def update(self, name: str, **changes: Any) -> Schedule:
        """Change a schedule, and return it.

        ``changes`` are arguments of ``Runner.schedule``: ``input`` and those that say when it fires, and how. Another
        timing counts from now on: the next firing is after now, and after all that have fired.

        Raises as ``Runner.schedule``.
        """
        unknown = changes.keys() - {"input", *ScheduleOptions.__annotations__}
        if unknown:
            raise TypeError(f"update({name!r}): a schedule has no {', '.join(sorted(unknown))}")

        def changed(row: ScheduleRow) -> ScheduleRow:
            options = {**_options_of(row), **changes}
            if "cron" in changes or "every" in changes or "at" in changes:
                options.update({timing: changes.get(timing) for timing in ("cron", "every", "at")})
            payload = row.input
            if "input" in changes:
                payload = checked_input(self._engine.codec, self._named(row.workflow), options.pop("input"))
            return self._moved(row, define(name, row.workflow, payload, **options))

        return schedule_of(await self._change(name, changed))

    async def pause(self, name: str) -> Schedule:
        """Let a schedule fire no more, until it is resumed. What is claimed already still runs."""
        return schedule_of(await self._change(name, lambda row: row._replace(paused=True, next_at=None, due_at=None)))

    async def resume(self, name: str) -> Schedule:
        """Let a paused schedule fire again, from now on: what came in between is not caught up."""
        return schedule_of(
            await self._change(name, lambda row: self._begun(row._replace(paused=False)) if row.paused else row)
        )

    async def delete(self, name: str) -> None:
        """Delete a schedule and its ledger. What is claimed and not handed over never runs; its runs stay."""
        if not await self._engine.store.drop_schedule(name):
            raise _unknown(name)
        self._engine.wake()

    async def history(self, name: str, *, limit: int = 50, before: datetime | None = None) -> Firings:
        """Return the firings of a schedule, the latest nominal instant first. ``before`` is one, for the next page."""
        _check_limit(limit)
        row = await self._row(name)
        instant = None if before is None else _instant("before", before, row.timezone)
        rows = await self._engine.store.firings(name, before=instant, limit=limit)
        return [firing_of(row) for row in rows]

    async def statistics(self, name: str) -> ScheduleStatistics:
        """Return how the firings of a schedule went. Costs a look at each that is in the ledger."""
        row = await self._row(name)
        return statistics_of(row, await self._engine.store.firing_counts(name, late_after(row)))

    async def backfill(self, name: str, start: datetime, end: datetime, *, concurrency: int = 1) -> int:
        """Fire a schedule for every nominal instant from ``start`` to ``end``, both included, as if it had been there.

        Those that have fired already don't fire again. A time without a zone is one of the schedule's zone.

        Args:
            name: the schedule's name. It may be paused.
            start: the first instant; also before the schedule was made.
            end: the last instant, which is over.
            concurrency: start one only while fewer runs of the schedule than this go on.

        Returns:
            how many are new in the ledger. The workers of all runners start their runs, the earliest first.

        Raises:
            ValueError: the range is upside down, not over yet, or has more than 10,000 instants.
        """
        if type(concurrency) is not int or not 1 <= concurrency <= MOST_CONCURRENCY:
            raise ValueError(f"concurrency={concurrency!r}: a whole number from 1 to {MOST_CONCURRENCY}")
        row = await self._row(name)
        first, last = _instant("start", start, row.timezone), _instant("end", end, row.timezone)
        if first > last:
            raise ValueError(f"backfill({name!r}): start is after end")
        if last > self._engine.clock.now():
            raise ValueError(f"backfill({name!r}): end={end} is not over yet; the schedule itself fires what comes")
        found = instants(window_of(row._replace(start_at=None)), first, last, MOST_BACKFILL + 1)
        if len(found) > MOST_BACKFILL:
            raise ValueError(f"backfill({name!r}): more than {MOST_BACKFILL:,} firings; take a smaller range at a time")
        return await self._add(name, found, kind="backfill", at_most=concurrency)

    async def run_now(self, name: str) -> Firing:
        """Fire a schedule now, whatever else is going on, and return its firing, which a worker then hands over."""
        at = round(self._engine.clock.now(), 3)
        while not await self._add(name, [at], kind="now", at_most=None):
            at = round(at + 0.001, 3)
        found = await self._engine.store.firings(name, before=at + 0.0005, limit=1)
        if not found:
            raise _unknown(name)
        return firing_of(found[0])

    # How it is stored

    @property
    def _engine(self) -> Engine:
        self._parts.check_open()
        return self._parts

    async def put(self, row: ScheduleRow) -> Schedule:
        """Store a schedule, unless it is there; change it to what ``row`` says if it is another."""
        for _ in range(TRIES):
            known = await self._engine.store.schedule(row.name)
            if known is None:
                at = self._engine.clock.now()
                if row.at is not None and row.at <= at:
                    raise ValueError(f"schedule {row.name!r}: at={schedule_of(row).at} is over; give a time to come")
                new = self._begun(row._replace(created_at=at, updated_at=at))
                if await self._engine.store.put_schedule(new, None):
                    self._engine.wake()
                    return schedule_of(new)
            elif all(getattr(known, name) == getattr(row, name) for name in DEFINITION):
                return schedule_of(known)
            else:
                changed = await self._try(known, lambda known: self._moved(known, row))
                if changed is not None:
                    return schedule_of(changed)
        raise _conflict(row.name)

    async def _row(self, name: str) -> ScheduleRow:
        row = await self._engine.store.schedule(name)
        if row is None:
            raise _unknown(name)
        return row

    async def _change(self, name: str, change: Callable[[ScheduleRow], ScheduleRow]) -> ScheduleRow:
        for _ in range(TRIES):
            changed = await self._try(await self._row(name), change)
            if changed is not None:
                return changed
        raise _conflict(name)

    async def _try(self, row: ScheduleRow, change: Callable[[ScheduleRow], ScheduleRow]) -> ScheduleRow | None:
        """Change a schedule and return it, None if it has changed meanwhile."""
        changed = change(row)
        if changed == row:
            return row
        changed = changed._replace(revision=row.revision + 1, updated_at=self._engine.clock.now())
        if not await self._engine.store.put_schedule(changed, row.revision):
            return None
        self._engine.wake()
        return changed

    def _moved(self, row: ScheduleRow, defined: ScheduleRow) -> ScheduleRow:
        """Return a schedule as it is defined now. Unless the timing changes, what is due stays due."""
        new = row._replace(**{name: getattr(defined, name) for name in DEFINITION})
        if row.paused or (new.jitter_s == row.jitter_s and all(getattr(new, n) == getattr(row, n) for n in TIMING)):
            return new
        return self._begun(new)

    def _begun(self, row: ScheduleRow) -> ScheduleRow:
        """Return a schedule that fires after now, and after all that it has fired."""
        now = self._engine.clock.now()
        next_at, due_at = begin(window_of(row), policy_of(row), max(now, row.last_at or now))
        return row._replace(next_at=next_at, due_at=due_at)

    async def _add(self, name: str, found: Sequence[float], *, kind: str, at_most: int | None) -> int:
        engine = self._engine
        added = await engine.store.add_firings(name, found, kind=kind, at_most=at_most, at=engine.clock.now())
        if added is None:
            raise _unknown(name)
        engine.wake()
        return added


def define(
    name: str,
    workflow: str,
    input: str | None,
    *,
    cron: str | None = None,
    timezone: str = "UTC",
    every: Seconds | None = None,
    at: datetime | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    catchup: Catchup = "latest",
    overlap: Overlap = "allow",
    jitter: Seconds = 0.0,
) -> ScheduleRow:
    """Return the row of a schedule that has not begun, from what a user says.

    Raises InvalidCron, InvalidTimezone, ValueError or TypeError, before anything is stored.
    """
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(
            f"{name!r:.80} is no name: a schedule's is a printable string of 1 to {LONGEST_NAME} characters that are "
            "not all blank"
        )
    who = f"schedule {name!r}"
    if sum(timing is not None for timing in (cron, every, at)) != 1:
        raise ValueError(f"{who}: say when it fires, in one way: cron=, every= or at=")
    zone_of(timezone)
    if cron is not None:
        matches(cron)
        cron = " ".join(cron.split())
    if catchup not in CATCHUPS and not (type(catchup) is int and 1 <= catchup <= MOST_CATCHUP):
        raise ValueError(f'{who}: catchup={catchup!r}: "latest", "none", "all", or a number from 1 to {MOST_CATCHUP:,}')
    if overlap not in OVERLAPS:
        raise ValueError(f'{who}: overlap={overlap!r}: "allow", "skip", "queue" or "cancel"')
    every_s, jitter_s = None if every is None else _lasting(who, "every", every), _lasting(who, "jitter", jitter)
    if every_s is not None and not LEAST_EVERY_S <= every_s <= LONGEST_S:
        raise ValueError(f"{who}: every={every!r}: a second at least, and a hundred years at most")
    if not 0 <= jitter_s <= LONGEST_S:
        raise ValueError(f"{who}: jitter={jitter!r}: seconds, not negative")
    at_s, start_s, end_s = (
        None if given is None else _instant(what, given, timezone)
        for what, given in (("at", at), ("start", start), ("end", end))
    )
    if start_s is not None and end_s is not None and start_s > end_s:
        raise ValueError(f"{who}: start={start} is after end={end}, so it never fires")
    return ScheduleRow(
        name, workflow, input, cron, timezone, every_s, at_s, start_s, end_s, str(catchup), overlap, jitter_s,
        paused=False, next_at=None, due_at=None, last_at=None, missed=0, revision=0, created_at=0.0, updated_at=0.0,
    )  # fmt: skip


def _options_of(row: ScheduleRow) -> dict[str, Any]:
    found = schedule_of(row)
    return {
        "cron": found.cron, "timezone": found.timezone, "every": found.every_s, "at": found.at, "start": found.start,
        "end": found.end, "catchup": found.catchup, "overlap": found.overlap, "jitter": found.jitter_s,
    }  # fmt: skip


def _instant(what: str, given: object, timezone: str) -> float:
    """Return a time in seconds since the epoch; one without a zone is on the wall clock of ``timezone``."""
    if not isinstance(given, datetime):
        raise TypeError(f"{what}={given!r:.80}: a datetime is wanted")
    zone = zone_of(timezone)
    try:
        found = instant_of(given, zone) if given.tzinfo is None else given.astimezone(UTC).timestamp()
    except OverflowError:
        found = FIRST
    if not FIRST < found < LAST:  # else it could be stored, and never be read again
        raise ValueError(f"{what}={given}: a time from the year 69 to the year 9891")
    return found


def _lasting(who: str, what: str, given: object) -> float:
    """Return a duration in seconds."""
    if isinstance(given, bool) or not isinstance(given, int | float | timedelta):
        raise TypeError(f"{who}: {what}={given!r:.80}: a duration is a timedelta, or a number of seconds")
    try:
        return in_seconds(given)
    except OverflowError:
        return float("inf")


def _check_limit(limit: object) -> None:
    if not isinstance(limit, int) or limit < 0:
        raise ValueError(f"limit={limit!r}: a whole number, at least 0")


def _unknown(name: object) -> UnknownSchedule:
    return UnknownSchedule(f"no schedule is named {name!r:.150} in this database: runner.schedules.list() has all")


def _conflict(name: str) -> ScheduleConflict:
    return ScheduleConflict(f"schedule {name!r} is changed by others at the same time, again and again: try again")
