"""What stored rows say about schedules: when one fires, and what people are told of it and of its firings.

It reads rows and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import cast

from cloaca.interpreter.histories import moment, optional_moment
from cloaca.ports import FiringCount, FiringRow, ScheduleRow
from cloaca.schedules.decisions import ON_TIME_S, Catchup, Overlap, Policy
from cloaca.schedules.timings import Cron, Every, Once, Timing, Window


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule. One of ``cron``, ``every_s`` and ``at`` says when it fires; times are in UTC.

    ``next_at`` is the nominal instant that fires next, None if it is paused or over; with ``jitter_s`` it fires a
    little later.

    >>> from cloaca import BlockingRunner, Workflow, task
    >>> @task
    ... def report() -> None: ...
    >>> with BlockingRunner("memory://", work=False) as runner:
    ...     schedule = runner.schedule(Workflow("reports", report), name="daily", cron="0 9 * * MON-FRI")
    >>> isinstance(schedule, Schedule), schedule.workflow, schedule.cron, schedule.timezone, schedule.catchup
    (True, 'reports', '0 9 * * MON-FRI', 'UTC', 'latest')
    """

    name: str
    workflow: str
    cron: str | None
    timezone: str
    every_s: float | None
    at: datetime | None
    start: datetime | None
    end: datetime | None
    catchup: Catchup
    overlap: Overlap
    jitter_s: float
    paused: bool
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class Firing:
    """A firing in the ledger. Times are in UTC.

    ``state`` is ``claimed``, ``handed_over`` (``run_id`` is its run then) or ``skipped``, because a run of its schedule
    went on; ``kind`` is ``schedule``, ``backfill`` or ``now``. ``attempts`` is how many workers have tried to hand it
    over.

    >>> from cloaca import BlockingRunner, Workflow, task
    >>> @task
    ... def report() -> None: ...
    >>> with BlockingRunner("memory://", work=False) as runner:
    ...     _ = runner.schedule(Workflow("reports", report), name="daily", cron="0 9 * * *")
    ...     runner.schedules.backfill("daily", datetime(2025, 3, 1), datetime(2025, 3, 2))
    ...     [firing] = runner.schedules.history("daily")
    1
    >>> isinstance(firing, Firing), f"{firing.scheduled_for:%d %B, %H:%M}", firing.state, firing.kind
    (True, '01 March, 09:00', 'claimed', 'backfill')
    """

    schedule: str
    scheduled_for: datetime
    state: str
    run_id: str | None
    kind: str
    attempts: int
    claimed_at: datetime
    handed_over_at: datetime | None


@dataclass(frozen=True, slots=True)
class ScheduleStatistics:
    """How the firings of a schedule went that are still in the ledger, but for ``missed``, which counts all.

    ``late`` were handed over more than ten seconds after they were due, of ``handed_over``; of which runs have
    ``succeeded``, ``failed``, were ``cancelled``, or are ``unfinished``. ``claimed`` are not handed over yet,
    ``skipped`` never will be. ``missed`` instants were passed over as ``catchup`` says.

    >>> from cloaca import BlockingRunner, Workflow, task
    >>> @task
    ... def report() -> None: ...
    >>> with BlockingRunner("memory://", work=False) as runner:
    ...     _ = runner.schedule(Workflow("reports", report), name="daily", cron="0 9 * * *")
    ...     statistics = runner.schedules.statistics("daily")
    >>> isinstance(statistics, ScheduleStatistics), statistics.handed_over, statistics.missed
    (True, 0, 0)
    """

    handed_over: int
    succeeded: int
    failed: int
    cancelled: int
    unfinished: int
    late: int
    claimed: int
    skipped: int
    missed: int


def window_of(row: ScheduleRow) -> Window:
    """Return when a schedule fires."""
    return Window(_timing(row), row.start_at, row.end_at)


def _timing(row: ScheduleRow) -> Timing:
    if row.cron is not None:
        return Cron(row.cron, row.timezone)
    if row.every_s is not None:
        return Every(row.every_s, row.created_at if row.start_at is None else row.start_at)
    assert row.at is not None
    return Once(row.at)


def policy_of(row: ScheduleRow) -> Policy:
    """Return what a schedule does beside its timing."""
    return Policy(row.name, catchup_of(row), row.jitter_s)


def catchup_of(row: ScheduleRow) -> Catchup:
    """Return a schedule's catch-up."""
    return int(row.catchup) if row.catchup.isdecimal() else cast("Catchup", row.catchup)


def schedule_of(row: ScheduleRow) -> Schedule:
    """Return a schedule's row for people."""
    at, start, end, following = map(optional_moment, (row.at, row.start_at, row.end_at, row.next_at))
    return Schedule(
        row.name, row.workflow, row.cron, row.timezone, row.every_s, at, start, end,
        catchup_of(row), cast("Overlap", row.overlap), row.jitter_s, row.paused, following,
    )  # fmt: skip


def firing_of(row: FiringRow) -> Firing:
    """Return a firing's row for people."""
    run = None if row.run is None else str(row.run)
    times = (moment(row.claimed_at), optional_moment(row.handed_at))
    return Firing(row.schedule, moment(row.scheduled_for), row.state, run, row.kind, row.attempts, *times)


def late_after(row: ScheduleRow) -> float:
    """Return how many seconds after its nominal instant a firing is late."""
    return row.jitter_s + ON_TIME_S


def statistics_of(row: ScheduleRow, counts: list[FiringCount]) -> ScheduleStatistics:
    """Return how the firings of a schedule went."""
    by_state, by_status = dict.fromkeys(("claimed", "handed_over", "skipped"), 0), dict.fromkeys(ENDS, 0)
    for count in counts:
        by_state[count.state] += count.number
        if count.state == "handed_over" and count.status in ENDS:
            by_status[count.status] += count.number
    handed_over = by_state["handed_over"]
    unfinished = handed_over - sum(by_status.values())
    late = sum(count.late for count in counts)
    return ScheduleStatistics(
        handed_over, **by_status, unfinished=unfinished, late=late, claimed=by_state["claimed"],
        skipped=by_state["skipped"], missed=row.missed,
    )  # fmt: skip


ENDS = ("succeeded", "failed", "cancelled")


def key_of(schedule: str, scheduled_for: float) -> str:
    """Return the idempotency key of a firing's run.

    >>> key_of("daily", 0.0)
    'schedule:daily:1970-01-01T00:00:00+00:00'
    """
    return f"schedule:{schedule}:{moment(scheduled_for).isoformat()}"
