"""The commands, their options and their help; and the one place where errors become lines and exit codes.

It knows typer. What a command does is in a module of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from typer.main import get_command

from cloaca.cli.checking import check
from cloaca.cli.db import db
from cloaca.cli.graphing import Format, graph
from cloaca.cli.logs import LogFormat
from cloaca.cli.options import DatabaseOption, JsonOption, TargetArgument, as_duration, helping
from cloaca.cli.queueing import queues_of
from cloaca.cli.refusals import Exit, Refusal, refused
from cloaca.cli.running import run
from cloaca.cli.runs import runs
from cloaca.cli.schedules import schedules
from cloaca.cli.streams import complain
from cloaca.cli.tenant_options import of_tenant, with_tenants
from cloaca.cli.tenant_working import chosen, work_for_tenants
from cloaca.cli.tenants import tenants
from cloaca.cli.working import Post, work
from cloaca.errors import CloacaError

# What typer raises for a wrong command line: click's class, or, in new versions, that of the click inside of typer.
MISUSE = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])

app = typer.Typer(
    name="cloaca",
    help="Run, check and draw workflows; work for a database, and look at its runs.",
    epilog="Exit codes: 0 done, 1 failed or violations, 2 usage, 3 blocked, 4 database unavailable.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(runs, name="runs")
app.add_typer(schedules, name="schedules")
app.add_typer(db, name="db")
app.add_typer(tenants, name="tenants")


def commands() -> Any:
    """Return all commands."""
    return with_tenants(get_command(app))


def execute(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        code = commands().main(list(arguments), prog_name="cloaca", standalone_mode=False)
        return int(code or Exit.DONE)
    except Refusal as refusal:
        return _complained(refusal)
    except CloacaError as error:
        return _complained(refused(error))
    except MISUSE as error:
        return _misused(error)
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left. Python would complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED


def _complained(refusal: Refusal) -> int:
    complain(refusal.message, *refusal.details)
    return refusal.code


def _misused(error: typer.BadParameter) -> int:
    """Say what is wrong with the command line itself, and where its help is."""
    path = error.ctx.command_path if error.ctx else "cloaca"
    complain(error.format_message(), f"See {path} --help.")
    return Exit.USAGE


def _version(wanted: bool) -> None:
    if wanted:
        try:
            number = version("cloaca")
        except PackageNotFoundError:
            number = "from a checkout that is not installed"
        typer.echo(f"cloaca {number}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _program(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    helping(context)


@app.command("run")
def _run(
    *,
    target: TargetArgument,
    input: Annotated[
        str | None, typer.Option("--input", "-i", metavar="JSON|@FILE|-", help="The input; - is standard input.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="Idempotency key: the same key gives the same run.")
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
) -> int:
    """Run a workflow to its end and print its output as JSON.

    The run is durable: after Ctrl-C or a crash, the same command with the same --key goes on where it stopped, and
    when the run has ended already, prints its outcome. What tasks print goes to standard error.

    \b
    --json prints one object, also when the run has failed:
      {"run_id": "7530...", "status": "succeeded", "output": {...}, "failure": null}
      failure: {"task", "error", "exception_type", "message", "failures": [
                 {"task", "attempt", "exception_type", "message", "traceback", "error", "at"}]}

    \b
    Examples:
      cloaca run shop.jobs:orders --input '{"order_id": 7}'
      cloaca run jobs.py --input @order.json --key order-7 --database sqlite:///orders.db
      echo '{"order_id": 7}' | cloaca run jobs.py:orders --input - --json | jq .output
    """
    return run(target, source=input, key=key, database=database, as_json=as_json, quiet=quiet)


@app.command("check")
def _check(
    targets: Annotated[list[str], typer.Argument(metavar="TARGET...", help="module, module:workflow, path/to/file.py")],
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="URL", callback=of_tenant, help="List the runs there that this code can't finish."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Report every violation of the contract in a module's workflows.

    Imports the modules, and exits with 1 if there are violations. Functions that need no argument and are declared
    to return a Workflow are called; no task runs.

    With --against, it also lists each run in flight in a database that the code could not finish, and exits with 3 if
    there are any. It writes nothing there. Name every module that the workers will have.

    \b
    --json prints:
      {"ok": false, "workflows": [{"target", "name", "version"}],
       "violations": [{"target", "file", "line", "code", "task", "field", "message"}],
       "errors": [{"target", "message", "details", "code"}]}
    and with --against:
      {"in_flight": 2, "stranded": [{"id", "workflow", "version", "status",
                                     "misfits": [{"task", "field", "message"}]}]}

    \b
    Examples:
      cloaca check shop.jobs shop.refunds
      cloaca check jobs.py:orders --json
      cloaca check shop.jobs --against postgresql://shop@db/shop
      cloaca check shop.jobs --against postgresql://admin@db/shop --tenant acme
    """
    return check(targets, against=against, as_json=as_json)


@app.command("graph")
def _graph(
    target: TargetArgument,
    format: Annotated[
        Format | None, typer.Option("--format", "-f", help="[default: text, or what the output's suffix says]")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Draw a workflow as text, Mermaid, DOT or SVG.

    \b
    --json prints:
      {"name", "version", "input", "output",
       "tasks": [{"name", "kind", "detail", "note"}], "edges": [["fetch", "charge"], ...],
       "undoes": [["refund", "charge"], ...]}

    \b
    Examples:
      cloaca graph shop.jobs:orders
      cloaca graph jobs.py --output orders.svg
      cloaca graph jobs.py:orders --format dot | dot -Tpng > orders.png
    """
    return graph(target, format=format, output=output, as_json=as_json)


@app.command("worker")
def _worker(
    *,
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="MODULE",
            help="A module, all of whose workflows and triggers are served; or module:name of one of them.",
        ),
    ],
    database: DatabaseOption = None,
    tenant: Annotated[
        list[str] | None,
        typer.Option("--tenant", metavar="NAME", help="Whose runs: a tenant of the database. May be repeated."),
    ] = None,
    all_tenants: Annotated[
        bool, typer.Option("--all-tenants", help="Of every tenant, also of those that are made meanwhile.")
    ] = False,
    concurrency: Annotated[
        int, typer.Option("--concurrency", metavar="N", min=1, help="The most tasks at a time.")
    ] = 1000,
    queue: Annotated[
        list[str] | None,
        typer.Option("--queue", metavar="NAME=LIMITS", help="A queue: mail=4, mail=100/min or mail=4,100/min."),
    ] = None,
    lease: Annotated[
        float,
        typer.Option("--lease", metavar="S", min=0.1, help="Seconds of silence after which others take its runs."),
    ] = 30.0,
    grace: Annotated[
        float, typer.Option("--grace", metavar="S", min=0.0, help="Seconds that running tasks get at the end.")
    ] = 10.0,
    retention: Annotated[
        str,
        typer.Option("--retention", metavar="AGE", help="How long ended runs are kept: 30d, 12h; never deletes none."),
    ] = "30d",
    as_json: Annotated[bool, typer.Option("--json", help="Log JSON, an object a line.")] = False,
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", help="Log lines for people, or JSON, an object a line, as --json.")
    ] = LogFormat.TEXT,
) -> int:
    """Drive the runs of these workflows, until SIGTERM or Ctrl-C.

    Any number of workers share one database. At the first signal no task begins any more, those that run get their
    grace, and another worker goes on with the rest within a second. The second signal ends it at once; nothing is
    lost then either. The log goes to standard error.

    --queue sets the limits of a queue for all workers on the database. Who sets any names all that its tasks are in;
    without, the limits count that others have set.

    With --tenant or --all-tenants it works for these tenants, side by side, and not for the database's own runs. On
    PostgreSQL they share connections; --concurrency, --queue and --retention are for each.

    A module's triggers, values made by Trigger(...), are asked what there is to do; of module:workflow none is, and of
    module:trigger that one. With --tenant or --all-tenants none is: nobody could say whose the run would be.

    \b
    --json logs:
      {"at", "level", "logger", "message"} and, where they apply,
      {"run", "workflow", "status", "task", "attempt", "worker", "tenant", "session", "traceback"}

    \b
    Examples:
      cloaca worker shop.jobs shop.refunds --database postgresql://app@db/shop
      cloaca worker jobs.py:orders --concurrency 50 --grace 25 --json
      cloaca worker shop.jobs --queue mail=4,100/min --queue reports=1
      cloaca worker shop.jobs --tenant acme --tenant beta
    """
    post = Post(database, concurrency, lease, grace, _kept(retention), queues_of(queue or ()))
    as_json = as_json or log_format is LogFormat.JSON
    if tenant or all_tenants:
        return work_for_tenants(targets, post, chosen(tenant or (), every=all_tenants), as_json=as_json)
    return work(targets, post, as_json=as_json)


def _kept(retention: str) -> timedelta | None:
    if retention == "never":
        return None
    kept = as_duration(retention, "--retention")
    if not kept:
        raise Refusal('--retention: runs are kept for a while at least: 30d, 12h, or "never" to delete none')
    return kept
