"""The commands of ``cloaca runs``, their options and their help.

It knows typer. What a command does is in a module of its own.
"""

from __future__ import annotations

from typing import Annotated

import typer

from cloaca.cli.acting import cancel_run, fork_run, pause_run, resume_run, retry_run, send_signal, upgrade_run
from cloaca.cli.listing import Query, list_runs
from cloaca.cli.options import DatabaseOption, JsonOption, RunArgument, helping
from cloaca.cli.showing import show_run
from cloaca.machine.statuses import RunStatus

LARGEST_PAGE = 1000

CodeOption = Annotated[
    str | None,
    typer.Option("--target", metavar="TARGET", help="The run's workflow as it is now. [default: as it is stored]"),
]

runs = typer.Typer(help="Look at the runs of a database, and act on them.", rich_markup_mode=None)


@runs.callback(invoke_without_command=True)
def _runs(context: typer.Context) -> None:
    helping(context)


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
      {"id", "workflow", "version", "status", "key", "created_at", "started_at", "finished_at", "reason",
       "priority"}

    \b
    Examples:
      cloaca runs list --status failed --limit 10
      cloaca runs list --workflow orders --database sqlite:///orders.db --json
    """
    query = Query(workflow, status.value if status else None, before, limit)
    return list_runs(query, database, as_json=as_json)


@runs.command("show")
def _show(
    run_id: RunArgument,
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
       "tasks": [{"name", "status", "attempt", "started_at", "finished_at", "skipped_because", "code"}],
       "failures": [{"task", "attempt", "exception_type", "message", "traceback", "error", "at"}]}

    \b
    Examples:
      cloaca runs show 7530131589642765745
      cloaca runs show 7530131589642765745 --target shop.jobs:orders --json
    """
    return show_run(run_id, database, target=target, as_json=as_json)


@runs.command("cancel")
def _cancel(run_id: RunArgument, database: DatabaseOption = None, as_json: JsonOption = False) -> int:
    """End a run: no new attempt of it starts. It needs no code of yours.

    Returns once the run has ended, which its worker sees to within a second or so. Async tasks are cancelled; a task
    on a thread can't be stopped, so its result is ignored. A run that has succeeded or failed already stays as it is:
    that exits with 1.

    \b
    --json prints:
      {"id", "status"}

    \b
    Examples:
      cloaca runs cancel 7530131589642765745
    """
    return cancel_run(run_id, database, as_json=as_json)


@runs.command("pause")
def _pause(run_id: RunArgument, database: DatabaseOption = None, as_json: JsonOption = False) -> int:
    """Start no new task of a run, until it is resumed. It needs no code of yours.

    Tasks that run go on to their ends, and what they return is kept. A run that has ended stays as it is: that exits
    with 1.

    \b
    --json prints:
      {"id", "status"}

    \b
    Examples:
      cloaca runs pause 7530131589642765745
    """
    return pause_run(run_id, database, as_json=as_json)


@runs.command("resume")
def _resume(run_id: RunArgument, database: DatabaseOption = None, as_json: JsonOption = False) -> int:
    """Let a paused run go on where it was. It needs no code of yours.

    \b
    --json prints:
      {"id", "status"}

    \b
    Examples:
      cloaca runs resume 7530131589642765745
    """
    return resume_run(run_id, database, as_json=as_json)


@runs.command("retry")
def _retry(
    run_id: RunArgument, target: CodeOption = None, database: DatabaseOption = None, as_json: JsonOption = False
) -> int:
    """Run failed tasks again, keeping what succeeded.

    It is still the same run. What was cancelled, or skipped because of a failure, starts anew too; a blocked run is
    looked at again. A run that has succeeded or is paused stays as it is: that exits with 1.

    \b
    --json prints:
      {"id", "status"}

    \b
    Examples:
      cloaca runs retry 7530131589642765745
      cloaca runs retry 7530131589642765745 --target shop.jobs:orders
    """
    return retry_run(run_id, database, target=target, as_json=as_json)


@runs.command("upgrade")
def _upgrade(
    run_id: RunArgument,
    *,
    target: Annotated[str, typer.Option("--target", metavar="TARGET", help="The run's workflow: module:workflow.")],
    give_up: Annotated[
        list[str] | None, typer.Option("--give-up", metavar="TASK", help="A task to run again; for each of them.")
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> int:
    """Let a blocked run go on with the code as it is now.

    Where results of the run don't fit the code, these tasks and whatever came after them have to run again: it changes
    nothing, names them and exits with 3, unless each of them is named with --give-up. What they did elsewhere is not
    undone. A run that is not blocked stays as it is: that exits with 1.

    \b
    --json prints:
      {"id", "status", "version", "given_up": ["fetch", ...]}

    \b
    Examples:
      cloaca runs upgrade 7530131589642765745 --target shop.jobs:orders
      cloaca runs upgrade 7530131589642765745 --target shop.jobs:orders --give-up fetch --give-up charge
    """
    return upgrade_run(run_id, database, target=target, give_up=give_up or (), as_json=as_json)


@runs.command("send")
def _send(
    run_id: RunArgument,
    name: Annotated[str, typer.Argument(metavar="SIGNAL", help="The model that is waited for, or the wait's name.")],
    *,
    target: Annotated[str, typer.Option("--target", metavar="TARGET", help="The run's workflow: module:workflow.")],
    input: Annotated[
        str | None, typer.Option("--input", "-i", metavar="JSON|@FILE|-", help="The signal; - is standard input.")
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> int:
    """Send a signal to a run that waits for one, or will.

    It is kept if its wait is not reached yet. A signal that no wait of the run takes exits with 1.

    \b
    --json prints:
      {"id", "status"}

    \b
    Examples:
      cloaca runs send 7530131589642765745 Approval --target shop.claims:claims --input '{"approved_by": "me"}'
    """
    return send_signal(run_id, name, database, source=input, target=target, as_json=as_json)


@runs.command("fork")
def _fork(
    run_id: RunArgument,
    *,
    before: Annotated[str, typer.Option("--before", metavar="TASK", help="The first task that runs again.")],
    target: CodeOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> int:
    """Start a run that reuses what another has done.

    The new run has what the other one had committed before a task. That one may be in any status, and stays as it is.
    What failed there runs again in the new one.

    \b
    --json prints, of the new run:
      {"id", "status"}

    \b
    Examples:
      cloaca runs fork 7530131589642765745 --before charge
    """
    return fork_run(run_id, database, before=before, target=target, as_json=as_json)
