"""The commands of ``cloaca schedules``, their options and their help.

It knows typer. What a command does is in a module of its own.
"""

from __future__ import annotations

from typing import Annotated

import typer

from cloaca.cli import scheduling
from cloaca.cli.options import DatabaseOption, JsonOption, TargetArgument, as_duration, helping
from cloaca.cli.scheduling import Definition

LARGEST_PAGE = 1000
MOST_CONCURRENCY = 1000

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A schedule's name.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=LARGEST_PAGE, help="How many at most.")]
TimeOption = Annotated[str | None, typer.Option(metavar="TIME", help="As ISO 8601; in --timezone unless it says one.")]

schedules = typer.Typer(help="Look at the schedules of a database, and change them.", rich_markup_mode=None)


@schedules.callback(invoke_without_command=True)
def _schedules(context: typer.Context) -> None:
    helping(context)


@schedules.command("list")
def _list(
    *,
    limit: LimitOption = 100,
    after: Annotated[str | None, typer.Option("--after", metavar="NAME", help="After this one, by name.")] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> int:
    """List schedules, by name. Times are in UTC.

    \b
    --json prints a list of:
      {"name", "workflow", "cron", "timezone", "every_s", "at", "start", "end", "catchup", "overlap", "jitter_s",
       "paused", "next_at"}

    \b
    Examples:
      cloaca schedules list --database sqlite:///orders.db
    """
    return scheduling.list_schedules(database, limit=limit, after=after, as_json=as_json)


@schedules.command("show")
def _show(name: NameArgument, database: DatabaseOption = None, as_json: JsonOption = False) -> int:
    """Show a schedule, and how its firings went.

    \b
    --json prints one schedule as `list` does, with:
      "statistics": {"handed_over", "succeeded", "failed", "cancelled", "unfinished", "late", "claimed", "skipped",
                     "missed"}

    \b
    Examples:
      cloaca schedules show daily --json
    """
    return scheduling.show_schedule(name, database, as_json=as_json)


@schedules.command("history")
def _history(
    name: NameArgument,
    limit: LimitOption = 50,
    before: Annotated[str | None, typer.Option("--before", metavar="TIME", help="Scheduled before this.")] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> int:
    """List the firings of a schedule, the latest first.

    \b
    --json prints a list of:
      {"schedule", "scheduled_for", "state", "run_id", "kind", "attempts", "claimed_at", "handed_over_at"}

    \b
    Examples:
      cloaca schedules history daily --limit 10
    """
    return scheduling.show_history(name, database, limit=limit, before=before, as_json=as_json)


@schedules.command("add")
def _add(
    *,
    target: TargetArgument,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What the schedule is known by.")],
    cron: Annotated[str | None, typer.Option("--cron", metavar="EXPR", help='As "0 9 * * MON-FRI".')] = None,
    every: Annotated[str | None, typer.Option("--every", metavar="AGE", help="An interval: 90s, 6h, 7d.")] = None,
    at: TimeOption = None,
    timezone: Annotated[str, typer.Option("--timezone", metavar="ZONE", help="An IANA name.")] = "UTC",
    input: Annotated[
        str | None, typer.Option("--input", "-i", metavar="JSON|@FILE|-", help="The input; - is standard input.")
    ] = None,
    start: TimeOption = None,
    end: TimeOption = None,
    catchup: Annotated[
        str, typer.Option("--catchup", metavar="POLICY", help="latest, none, all, or how many of the newest.")
    ] = "latest",
    overlap: Annotated[
        str, typer.Option("--overlap", metavar="POLICY", help="allow, skip, queue or cancel, while a run goes on.")
    ] = "allow",
    jitter: Annotated[str, typer.Option("--jitter", metavar="AGE", help="Fire late by a part of this.")] = "0s",
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> int:
    """Schedule a workflow, or change the schedule that has this name. The same again changes nothing.

    \b
    --json prints the schedule, as `list` does.

    \b
    Examples:
      cloaca schedules add shop.jobs:report --name daily --cron "0 9 * * MON-FRI" --timezone Europe/Berlin
      cloaca schedules add jobs.py:poll --name poll --every 90s --input '{"url": "..."}' --overlap skip
    """
    given = Definition(
        name, cron, None if every is None else as_duration(every, "--every"), at, timezone, start, end, catchup,
        overlap, as_duration(jitter, "--jitter"),
    )  # fmt: skip
    return scheduling.add_schedule(target, given, source=input, database=database, as_json=as_json)


@schedules.command("pause")
def _pause(name: NameArgument, database: DatabaseOption = None, as_json: JsonOption = False) -> int:
    """Let a schedule fire no more, until it is resumed.

    \b
    --json prints the schedule, as `list` does.

    \b
    Examples:
      cloaca schedules pause daily
    """
    return scheduling.pause_schedule(name, database, as_json=as_json)


@schedules.command("resume")
def _resume(name: NameArgument, database: DatabaseOption = None, as_json: JsonOption = False) -> int:
    """Let a paused schedule fire again, from now on: nothing is caught up.

    \b
    --json prints the schedule, as `list` does.

    \b
    Examples:
      cloaca schedules resume daily
    """
    return scheduling.resume_schedule(name, database, as_json=as_json)


@schedules.command("delete")
def _delete(name: NameArgument, database: DatabaseOption = None, as_json: JsonOption = False) -> int:
    """Delete a schedule and its ledger; its runs stay.

    \b
    --json prints:
      {"name", "deleted": true}

    \b
    Examples:
      cloaca schedules delete daily
    """
    return scheduling.delete_schedule(name, database, as_json=as_json)


@schedules.command("run")
def _run(name: NameArgument, database: DatabaseOption = None, as_json: JsonOption = False) -> int:
    """Fire a schedule now, beside its times. A worker starts the run.

    \b
    --json prints the firing, as `history` does.

    \b
    Examples:
      cloaca schedules run daily --database sqlite:///orders.db
    """
    return scheduling.run_now(name, database, as_json=as_json)


@schedules.command("backfill")
def _backfill(
    *,
    name: NameArgument,
    start: Annotated[str, typer.Argument(metavar="START", help="The first instant, as ISO 8601.")],
    end: Annotated[str, typer.Argument(metavar="END", help="The last instant, which is over.")],
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=MOST_CONCURRENCY, help="The most of its runs at a time.")
    ] = 1,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> int:
    """Fire a schedule for every instant of a range that it has not fired for.

    \b
    --json prints how many firings are new:
      {"name", "firings"}

    \b
    Examples:
      cloaca schedules backfill daily 2030-05-01 2030-05-31T23:59 --concurrency 4
    """
    return scheduling.backfill(name, start, end, database, concurrency=concurrency, as_json=as_json)
