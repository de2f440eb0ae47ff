"""``cloaca run``: read the target and the input, drive the run, say how it ended.

It knows what goes to which stream and the exit codes; how a run is driven, ``driving`` knows.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from typing import Any, TextIO

from returns.result import Failure, Success

from cloaca.algebra.outcomes import RunFailure, TaskFailure
from cloaca.cli.documents import Json, deciding, failure_document, plain, write_document
from cloaca.cli.driving import Driver, Ended, Job, NoOutcome
from cloaca.cli.durations import shown_time
from cloaca.cli.inputs import read_input
from cloaca.cli.interrupts import run_interruptibly
from cloaca.cli.progress import Screen
from cloaca.cli.refusals import Exit
from cloaca.cli.streams import complain, data_stream, is_terminal, remark
from cloaca.cli.targets import load_workflow
from cloaca.cli.tracebacks import tail_of

INTERRUPTED = "interrupted: tasks that run get 10 seconds to end; Ctrl-C again leaves at once"
MOST_OTHERS = 5
NEWLINE = "\n"


def run(target: str, *, source: str | None, key: str | None, database: str | None, as_json: bool, quiet: bool) -> Exit:
    """Run a workflow to its end and return the exit code. Raises Refusal and CloacaError."""
    visible = not quiet and not as_json and is_terminal(sys.stdout) and is_terminal(sys.stderr)
    with data_stream() as out:
        workflow = load_workflow(target)
        job = Job(workflow, read_input(workflow, source), key, database)
        screen = Screen(visible=visible)
        driver = Driver(job, screen, lambda: None if quiet else screen.note(INTERRUPTED))
        try:
            ending = run_interruptibly(driver.drive())
        except asyncio.CancelledError:
            return _cut_off(driver)
        if as_json:
            write_document(out, document_of(ending))
        return _told(ending, job, out, as_json=as_json, quiet=quiet)


def document_of(ending: Ended | NoOutcome) -> Json:
    """Return what ``run --json`` prints: ``run_id``, ``status``, ``output``, ``failure``, whatever happened."""
    if isinstance(ending, NoOutcome):
        return _document(ending.run_id, ending.status, failure=_reason_document(ending.reason))
    match ending.outcome:
        case Success(output):
            return _document(ending.run_id, "succeeded", output=plain(output))
        case Failure(failure):
            return _document(ending.run_id, failure.status, failure=failure_document(failure))


def _document(run_id: str, status: str, *, output: Json = None, failure: Json = None) -> Json:
    return {"run_id": run_id, "status": status, "output": output, "failure": failure}


def _reason_document(reason: str | None) -> Json:
    if reason is None:
        return None
    return {"task": None, "error": None, "exception_type": None, "message": reason, "failures": []}


def _told(ending: Ended | NoOutcome, job: Job, out: TextIO, *, as_json: bool, quiet: bool) -> Exit:
    """Say how a run ended, and return the exit code."""
    if isinstance(ending, NoOutcome):
        return _told_without(ending, job)
    if ending.earlier is not None and not quiet:
        remark(f"run {ending.run_id} with this key ended at {shown_time(ending.earlier)}; this is its outcome")
    match ending.outcome:
        case Success(output):
            if not as_json:
                write_document(out, plain(output))
            return Exit.DONE
        case Failure(failure):
            complain(*failure_lines(failure), _look(job, ending.run_id))
            return Exit.FAILED


def _told_without(ending: NoOutcome, job: Job) -> Exit:
    if ending.status == "succeeded":
        complain(f"run {ending.run_id} has succeeded, but {ending.reason}", _look(job, ending.run_id))
        return Exit.FAILED
    if ending.status == "blocked":
        again = "Go back to the code that started it and run it again, or start a new run with another --key."
        complain(f"run {ending.run_id} is blocked: {ending.reason}", again)
        return Exit.BLOCKED
    complain(f"interrupted: run {ending.run_id} is {ending.status}; nothing of it is lost", *_how_to_go_on(job))
    return Exit.INTERRUPTED


def failure_lines(failure: RunFailure[Any]) -> list[str]:
    """Return why a run failed: the task and its error, the end of the traceback, what else went wrong."""
    last = deciding(failure)
    if last is None:
        return [f"run {failure.run_id} was {failure.status}"]
    tries = f" after {last.attempt} attempts" if last.attempt > 1 else ""
    head = f'run {failure.run_id} failed at task "{failure.task}"{tries}: {_what(last)}'
    trace = [tail_of(last.traceback)] if last.traceback else []
    return [head, *trace, *_others(failure)]


def _what(last: TaskFailure) -> str:
    if last.error is not None:
        return f"{type(last.error).__name__} {last.error.model_dump_json(by_alias=False)}"
    return f"{last.exception_type}: {last.message.partition(NEWLINE)[0]}" if last.message else last.exception_type


def _others(failure: RunFailure[Any]) -> list[str]:
    others = list(dict.fromkeys(attempt.task for attempt in failure.failures if attempt.task != failure.task))
    if not others:
        return []
    more = f" and {len(others) - MOST_OTHERS} more" if len(others) > MOST_OTHERS else ""
    return [f"Failed attempts also: {', '.join(others[:MOST_OTHERS])}{more}."]


def _look(job: Job, run_id: str) -> str:
    database = f" --database {shlex.quote(job.database)}" if job.database else ""
    return f"To see all of it: cloaca runs show {run_id}{database}"


def _how_to_go_on(job: Job) -> list[str]:
    if job.key is not None:
        return [f"The same command, with --key {job.key}, goes on with it; so does any worker of this database."]
    return [
        "Any worker of this database that has the workflow goes on with it.",
        "A run that is started with --key goes on when the same command is given again.",
    ]


def _cut_off(driver: Driver) -> Exit:
    """Say where things stand after a second interrupt, or one before the run was there."""
    if driver.run_id is None:
        complain("interrupted while a run was being started", "`cloaca runs list` shows whether it is there.")
    else:
        text = f"interrupted: run {driver.run_id} was left in the middle of its tasks; they will run again"
        complain(text, *_how_to_go_on(driver.job))
    return Exit.INTERRUPTED
