"""What ``cloaca schedules`` does: lists, shows and changes schedules, and makes them from a module's workflow.

It does what ``runner.schedules`` does. Only ``add`` needs the user's code; the workers fire what is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, TextIO, TypeVar

from rich.table import Table
from rich.text import Text

from cloaca.cli.databases import opened
from cloaca.cli.documents import Json, moment, write_document
from cloaca.cli.durations import shown_duration, shown_time
from cloaca.cli.inputs import read_input
from cloaca.cli.lists import Form, print_list
from cloaca.cli.refusals import Exit, Refusal
from cloaca.cli.streams import data_stream, in_one_line, print_data, width_of
from cloaca.cli.tables import shares
from cloaca.cli.targets import AnyWorkflow, load_workflow
from cloaca.clocks import SystemClock
from cloaca.codecs import MEBIBYTE, JsonCodec
from cloaca.encryption import Encryption
from cloaca.interpreter.firings import Firing, Schedule, ScheduleStatistics
from cloaca.interpreter.ids import run_ids
from cloaca.ports import ScheduleRow, Store
from cloaca.runner import open_store, url_of
from cloaca.runner.engines import Engine
from cloaca.runner.schedules import Schedules, define
from cloaca.runner.sealing import sealing

BESIDE_WORDS = 19 + 3 * 2  # the time, and what is between the columns

T = TypeVar("T")
Work = Callable[[Schedules], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class Definition:
    """What ``schedules add`` is given. ``every`` and ``jitter`` are durations, times are ISO 8601."""

    name: str
    cron: str | None = None
    every: timedelta | None = None
    at: str | None = None
    timezone: str = "UTC"
    start: str | None = None
    end: str | None = None
    catchup: str = "latest"
    overlap: str = "allow"
    jitter: timedelta = timedelta(0)


def list_schedules(database: str | None, *, limit: int, after: str | None, as_json: bool) -> Exit:
    """Print schedules, by name. Raises CloacaError."""
    return print_list(
        Form(document_of, _write_schedules, "no schedules", lambda schedule: f"--after {schedule.name}"),
        lambda limit: _done(database, lambda schedules: schedules.list(limit=limit, after=after)),
        limit=limit,
        as_json=as_json,
    )


def show_schedule(name: str, database: str | None, *, as_json: bool) -> Exit:
    """Print a schedule and how its firings went. Raises CloacaError."""

    async def look(schedules: Schedules) -> tuple[Schedule, ScheduleStatistics]:
        return await schedules.get(name), await schedules.statistics(name)

    with data_stream() as out:
        schedule, statistics = _done(database, look)
        document = {**document_of(schedule), "statistics": asdict(statistics)}
        if as_json:
            write_document(out, document)
        else:
            _write_facts({**document_of(schedule), **asdict(statistics)}, out)
    return Exit.DONE


def show_history(name: str, database: str | None, *, limit: int, before: str | None, as_json: bool) -> Exit:
    """Print the firings of a schedule, the latest first. Raises CloacaError."""
    at = None if before is None else as_time(before, "--before")
    return print_list(
        Form(document_of, _write_firings, "no firings", lambda firing: f"--before {moment(firing.scheduled_for)}"),
        lambda limit: _done(database, lambda schedules: schedules.history(name, limit=limit, before=at)),
        limit=limit,
        as_json=as_json,
    )


def add_schedule(
    target: str, definition: Definition, *, source: str | None, database: str | None, as_json: bool
) -> Exit:
    """Make a schedule, or change the one that has its name. Raises Refusal and CloacaError."""
    workflow = load_workflow(target)
    input = read_input(workflow, source)
    payload = None if input is None or workflow.input is None else JsonCodec(MEBIBYTE).encode(workflow.input, input)
    row = _row(workflow.name, payload, definition)
    with data_stream() as out:
        made = asyncio.run(_put(row, url_of(database)))
        _tell(made, out, as_json=as_json)
    return Exit.DONE


def _row(workflow: str, payload: str | None, given: Definition) -> ScheduleRow:
    times = {name: getattr(given, name) for name in ("at", "start", "end")}
    read = {name: None if text is None else as_time(text, f"--{name}") for name, text in times.items()}
    catchup: Any = int(given.catchup) if given.catchup.isdecimal() else given.catchup
    overlap: Any = given.overlap
    try:
        return define(
            given.name, workflow, payload, cron=given.cron, every=given.every, timezone=given.timezone,
            catchup=catchup, overlap=overlap, jitter=given.jitter, **read,
        )  # fmt: skip
    except ValueError as error:
        raise Refusal(str(error)) from None


async def _put(row: ScheduleRow, url: str) -> Schedule:
    store = sealing(open_store(url), Encryption.from_environment())
    await store.open()
    try:
        return await _schedules(store).put(row)
    except ValueError as error:
        raise Refusal(str(error)) from None
    finally:
        await store.close()


def pause_schedule(name: str, database: str | None, *, as_json: bool) -> Exit:
    """Let a schedule fire no more. Raises CloacaError."""
    return _changed(database, lambda schedules: schedules.pause(name), as_json)


def resume_schedule(name: str, database: str | None, *, as_json: bool) -> Exit:
    """Let a paused schedule fire again. Raises CloacaError."""
    return _changed(database, lambda schedules: schedules.resume(name), as_json)


def delete_schedule(name: str, database: str | None, *, as_json: bool) -> Exit:
    """Delete a schedule and its ledger. Raises CloacaError."""
    with data_stream() as out:
        _done(database, lambda schedules: schedules.delete(name))
        if as_json:
            write_document(out, {"name": name, "deleted": True})
        else:
            out.write(f"schedule {in_one_line(name)} is deleted; its runs are still there\n")
    return Exit.DONE


def run_now(name: str, database: str | None, *, as_json: bool) -> Exit:
    """Fire a schedule now. Raises CloacaError."""
    with data_stream() as out:
        firing = _done(database, lambda schedules: schedules.run_now(name))
        if as_json:
            write_document(out, document_of(firing))
        else:
            out.write(f"schedule {in_one_line(name)} fires: a worker that has {firing.schedule}'s workflow starts it\n")
    return Exit.DONE


def backfill(name: str, start: str, end: str, database: str | None, *, concurrency: int, as_json: bool) -> Exit:
    """Fire a schedule for every instant of a range that is not in its ledger. Raises Refusal and CloacaError."""
    first, last = as_time(start, "START"), as_time(end, "END")

    async def fill(schedules: Schedules) -> int:
        try:
            return await schedules.backfill(name, first, last, concurrency=concurrency)
        except ValueError as error:
            raise Refusal(str(error)) from None

    with data_stream() as out:
        count = _done(database, fill)
        if as_json:
            write_document(out, {"name": name, "firings": count})
        else:
            out.write(f"schedule {in_one_line(name)}: {count} firings are new, of which workers start the runs\n")
    return Exit.DONE


def as_time(text: str, option: str) -> datetime:
    """Return a time as ISO 8601 says it. Raises Refusal."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Refusal(
            f"{option} {text!r} is no time", "Write it as ISO 8601: 2030-05-17, 2030-05-17T09:00 or with +02:00."
        ) from None


def _schedules(store: Store) -> Schedules:
    """Return what a runner has, without one: nothing here gives a schedule another input, which needs its workflow."""
    clock, workflows = SystemClock(), dict[str, AnyWorkflow]()
    engine = Engine(store, JsonCodec(MEBIBYTE), clock, run_ids(clock), loop=asyncio.get_running_loop())
    return Schedules(engine, workflows.__getitem__)


def _done(database: str | None, work: Work[T]) -> T:
    async def do() -> T:
        async with opened(database) as store:
            return await work(_schedules(store))

    return asyncio.run(do())


def _changed(database: str | None, work: Work[Schedule], as_json: bool) -> Exit:
    with data_stream() as out:
        _tell(_done(database, work), out, as_json=as_json)
    return Exit.DONE


def _tell(schedule: Schedule, out: TextIO, *, as_json: bool) -> None:
    if as_json:
        write_document(out, document_of(schedule))
        return
    when = "is paused" if schedule.paused else "is over"
    if schedule.next_at is not None:
        when = f"fires next for {shown_time(schedule.next_at)}"
    out.write(f"schedule {in_one_line(schedule.name)} {when}\n")


def document_of(told: Schedule | Firing) -> Json:
    """Return a schedule or a firing as JSON has it: its fields, times in ISO 8601."""
    found = asdict(told)
    return {name: moment(value) if isinstance(value, datetime) else value for name, value in found.items()}


def timing_of(schedule: Schedule) -> str:
    """Return when a schedule fires, in a few words."""
    if schedule.cron is not None:
        return schedule.cron if schedule.timezone == "UTC" else f"{schedule.cron} ({schedule.timezone})"
    if schedule.every_s is not None:
        return f"every {shown_duration(schedule.every_s)}"
    return "once"


def _write_schedules(schedules: list[Schedule], out: TextIO) -> None:
    rows = [[Text(in_one_line(text)) for text in (each.name, each.workflow, timing_of(each))] for each in schedules]
    titles = ("NAME", "WORKFLOW", "WHEN")
    widest = [max(cell.cell_len for cell in column) for column in zip(map(Text, titles), *rows, strict=True)]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title, room in zip(titles, shares(widest, width_of(out) - BESIDE_WORDS), strict=True):
        table.add_column(title, no_wrap=True, overflow="ellipsis", max_width=room)
    table.add_column("NEXT", no_wrap=True)
    for each, row in zip(schedules, rows, strict=True):
        coming = "paused" if each.paused else "over" if each.next_at is None else shown_time(each.next_at)
        table.add_row(*row, coming)
    print_data(out, table)


def _write_firings(firings: list[Firing], out: TextIO) -> None:
    table = _table("SCHEDULED FOR", "STATE", "KIND", "RUN")
    for each in firings:
        table.add_row(shown_time(each.scheduled_for), each.state, each.kind, each.run_id or "")
    print_data(out, table)


def _write_facts(facts: dict[str, Any], out: TextIO) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value is not None:
            table.add_row(name, Text(in_one_line(str(value))))
    print_data(out, table)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    return table
