"""The commands, their options and their help; and the one place where errors become lines and exit codes.

It knows typer. What a command does is in a module of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, cast

import typer
from typer.main import get_command

from cloaca.cli.checking import check
from cloaca.cli.graphing import Format, graph
from cloaca.cli.listing import Query, list_runs
from cloaca.cli.refusals import Exit, Refusal, refused
from cloaca.cli.running import run
from cloaca.cli.showing import show_run
from cloaca.cli.streams import complain
from cloaca.errors import CloacaError
from cloaca.machine.statuses import RunStatus

LARGEST_PAGE = 1000
# What typer raises for a wrong command line: click's class, or, in new versions, that of the click inside of typer.
MISUSE = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])

TargetArgument = Annotated[
    str,
    typer.Argument(metavar="TARGET", help="module:workflow, path/to/file.py:workflow; or a module that has only one"),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        envvar="CLOACA_DATABASE_URL",
        help="sqlite:///orders.db [default: sqlite:///cloaca.db]",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = typer.Typer(
    name="cloaca",
    help="Run, check, draw and look at workflows.",
    epilog="Exit codes: 0 done, 1 failed or violations, 2 usage, 3 blocked, 4 database unavailable.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
runs = typer.Typer(help="Look at the runs of a database.", rich_markup_mode=None)
app.add_typer(runs, name="runs")


def execute(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        code = get_command(app).main(list(arguments), prog_name="cloaca", standalone_mode=False)
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
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(Exit.USAGE)


@runs.callback(invoke_without_command=True)
def _runs(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(Exit.USAGE)


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
    as_json: JsonOption = False,
) -> int:
    """Report every violation of the contract in a module's workflows.

    Imports the modules, and exits with 1 if there are violations. Functions that need no argument and are declared
    to return a Workflow are called; no task runs.

    \b
    --json prints:
      {"ok": false, "workflows": [{"target", "name", "version"}],
       "violations": [{"target", "file", "line", "code", "task", "field", "message"}],
       "errors": [{"target", "message", "details", "code"}]}

    \b
    Examples:
      cloaca check shop.jobs shop.refunds
      cloaca check jobs.py:orders --json
    """
    return check(targets, as_json=as_json)


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
       "tasks": [{"name", "kind", "detail", "note"}], "edges": [["fetch", "charge"], ...]}

    \b
    Examples:
      cloaca graph shop.jobs:orders
      cloaca graph jobs.py --output orders.svg
      cloaca graph jobs.py:orders --format dot | dot -Tpng > orders.png
    """
    return graph(target, format=format, output=output, as_json=as_json)


@runs.command("list")
def _list(
    *,
    workflow: Annotated[str | None, typer.Option("--workflow", "-w", metavar="NAME", help="Of this workflow.")] = None,
    status: Annotated[RunStatus | None, typer.Option("--status", "-s", help="In this status.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=LARGEST_PAGE, help="How many at most.")] = 50,
    before: Annotated[str | None, typer.Option("--before", metavar="ID", help="Older than this run.")] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> int:
    """List runs, newest first. It needs no code of yours.

    \b
    --json prints a list of:
      {"id", "workflow", "version", "status", "key", "created_at", "started_at", "finished_at", "reason"}

    \b
    Examples:
      cloaca runs list --status failed --limit 10
      cloaca runs list --workflow orders --database sqlite:///orders.db --json
    """
    query = Query(workflow, status.value if status else None, before, limit)
    return list_runs(query, database, as_json=as_json)


@runs.command("show")
def _show(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="A run's id, as `cloaca runs list` shows it.")],
    target: Annotated[
        str | None, typer.Option("--target", metavar="TARGET", help="The run's workflow, to show its output too.")
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show a run: its status, tasks and failures, and what it waits for.

    It needs no code of yours.

    \b
    --json prints the fields of `runs list` and:
      {"input", "output" (with --target), "waiting_for": {"kind", "task", "field", "until"},
       "tasks": [{"name", "status", "attempt", "started_at", "finished_at", "skipped_because"}],
       "failures": [{"task", "attempt", "exception_type", "message", "traceback", "error", "at"}]}

    \b
    Examples:
      cloaca runs show 7530131589642765745
      cloaca runs show 7530131589642765745 --target shop.jobs:orders --json
    """
    return show_run(run_id, database, target=target, as_json=as_json)
