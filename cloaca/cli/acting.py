"""``cloaca runs cancel``, ``pause``, ``resume``, ``retry``, ``upgrade``, ``fork`` and ``send``: mostly without code.

It does what a handle does, through the plan that is stored beside the run, or through the workflow's own. Workers that
drive the run are told by way of the database.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from cloaca.cli.databases import opened, run_number
from cloaca.cli.documents import Json, write_document
from cloaca.cli.inputs import read_signal
from cloaca.cli.refusals import Exit, Refusal
from cloaca.cli.stored_plans import plan_of
from cloaca.cli.streams import complain, data_stream, remark
from cloaca.cli.targets import AnyWorkflow, load_workflow
from cloaca.clocks import SystemClock
from cloaca.codecs import JsonCodec
from cloaca.contract.plans import Plan
from cloaca.errors import IncompatibleRun, NoSuchSignal, NotBlocked, NotRetryable, RunNotFound
from cloaca.interpreter.ids import run_ids
from cloaca.ports import PlanRow, RunRow
from cloaca.runner import controls
from cloaca.runner.engines import Engine

PATIENCE_S = 2.0

T = TypeVar("T")


def cancel_run(run_id: str, database: str | None, *, as_json: bool) -> Exit:
    """Cancel a run; one that has ended otherwise is a failure. Raises CloacaError."""
    return _act(run_id, database, controls.cancel, {"cancelled": "is cancelled"}, as_json)


def pause_run(run_id: str, database: str | None, *, as_json: bool) -> Exit:
    """Pause a run; one that has ended is a failure. Raises CloacaError."""
    wanted = {"paused": "is paused", "running": "will be paused once the tasks that run have ended; none begins"}
    return _act(run_id, database, controls.pause, wanted, as_json)


def resume_run(run_id: str, database: str | None, *, as_json: bool) -> Exit:
    """Let a paused run go on; one that can't is a failure. Raises CloacaError."""
    return _act(run_id, database, controls.resume, GOES_ON, as_json)


def retry_run(run_id: str, database: str | None, *, target: str | None, as_json: bool) -> Exit:
    """Let a run go on that has failed, was cancelled or is blocked. Raises Refusal and CloacaError."""
    workflow = load_workflow(target) if target else None

    async def retry(engine: Engine, run: int) -> None:
        plan, _ = await _plan(engine, run, workflow)
        try:
            await controls.retry(engine, run, plan)
        except NotRetryable as error:
            raise Refusal(str(error), code=Exit.FAILED) from None

    return _act(run_id, database, retry, GOES_ON, as_json)


def fork_run(run_id: str, database: str | None, *, before: str, target: str | None, as_json: bool) -> Exit:
    """Start a run that reuses what another has committed before a task. Raises Refusal and CloacaError."""
    workflow = load_workflow(target) if target else None

    async def fork(engine: Engine, run: int) -> int:
        plan, row = await _plan(engine, run, workflow)
        return await controls.fork(engine, run, plan, row, before)

    with data_stream() as out:
        made, _ = asyncio.run(_done(run_id, database, fork))
        if as_json:
            write_document(out, _document(str(made), "pending"))
        else:
            out.write(f'run {made} has what run {run_id} had before "{before}", and is pending\n')
    return Exit.DONE


def upgrade_run(run_id: str, database: str | None, *, target: str, give_up: Sequence[str], as_json: bool) -> Exit:
    """Let a blocked run go on with other code. Raises Refusal and CloacaError."""
    workflow = load_workflow(target)

    async def upgrade(engine: Engine, run: int) -> tuple[str, ...]:
        await _plan(engine, run, workflow)  # else it is another workflow's
        try:
            return await controls.upgrade(engine, run, workflow, give_up)
        except NotBlocked as error:
            raise Refusal(str(error), code=Exit.FAILED) from None
        except ValueError as error:
            raise Refusal(str(error)) from None
        except IncompatibleRun as error:
            options = " ".join(f"--give-up {shlex.quote(task)}" for task in error.give_up)
            advice = f"cloaca runs upgrade {run} --target {target} {options}" if options else "Fork it, or cancel it."
            raise Refusal(str(error), advice, code=Exit.BLOCKED) from None

    with data_stream() as out:
        given_up, row = asyncio.run(_done(run_id, database, upgrade))
        if as_json:
            write_document(out, {"id": run_id, "status": row.status, "version": row.version, "given_up": [*given_up]})
        else:
            lost = f", without the results of {', '.join(given_up)}" if given_up else ""
            out.write(f"run {run_id} is {row.status}: it goes on with version {row.version}{lost}\n")
    return Exit.DONE


def send_signal(
    run_id: str, name: str, database: str | None, *, source: str | None, target: str, as_json: bool
) -> Exit:
    """Send a signal to a run, checked by the model of its wait. Raises Refusal and CloacaError."""
    workflow = load_workflow(target)
    signal = read_signal(workflow, name, source)

    async def send(engine: Engine, run: int) -> None:
        plan, _ = await _plan(engine, run, workflow)
        try:
            await controls.send(engine, run, plan, signal)
        except NoSuchSignal as error:
            raise Refusal(str(error), code=Exit.FAILED) from None

    return _act(run_id, database, send, SENT, as_json)


ENDED = ("succeeded", "failed", "cancelled")  # which it may have, since the signal was sent
SENT = {status: f"has the signal, and is {status}" for status in ("pending", "running", "paused", "blocked", *ENDED)}
GOES_ON = {"pending": "is pending: a worker that has its workflow goes on with it", "running": "is running"}


def _act(
    run_id: str,
    database: str | None,
    act: Callable[[Engine, int], Awaitable[None]],
    wanted: dict[str, str],
    as_json: bool,
) -> Exit:
    """Do something to a run and say what it is now; another status than those ``wanted`` is a failure."""
    with data_stream() as out:
        _, row = asyncio.run(_done(run_id, database, act))
        if as_json:
            write_document(out, _document(run_id, row.status))
        if row.status not in wanted:
            complain(f"run {run_id} stays as it is: it is {row.status}")
            return Exit.FAILED
        if not as_json:
            out.write(f"run {run_id} {wanted[row.status]}\n")
    return Exit.DONE


def _document(run_id: str, status: str) -> Json:
    return {"id": run_id, "status": status}


async def _done(run_id: str, database: str | None, act: Callable[[Engine, int], Awaitable[T]]) -> tuple[T, RunRow]:
    """Do something to a run; return what came of it, and the run's row then."""
    run, clock, loop = run_number(run_id), SystemClock(), asyncio.get_running_loop()
    async with opened(database) as store:
        patience = loop.call_later(PATIENCE_S, remark, "its worker has not answered yet; Ctrl-C takes nothing back")
        try:
            done = await act(Engine(store, JsonCodec(), clock, run_ids(clock), loop=loop), run)
        finally:
            patience.cancel()
        return done, await _row(store.run(run), run_id)


async def _row(asked: Awaitable[RunRow | None], run_id: str) -> RunRow:
    row = await asked
    if row is None:
        raise RunNotFound(f"no run {run_id} in this database: check the URL; ended runs are deleted after `retention=`")
    return row


async def _plan(engine: Engine, run: int, workflow: AnyWorkflow | None) -> tuple[Plan, PlanRow]:
    """Return the plan of a run: the workflow's own, else the one that is stored."""
    row = await _row(engine.store.run(run), str(run))
    if workflow is not None:
        if workflow.name != row.workflow:
            raise Refusal(f'run {run} is one of workflow "{row.workflow}", not "{workflow.name}"', "Name its --target.")
        plan = workflow.plan
        return plan, PlanRow(plan.digest, workflow.name, workflow.version, plan.spec)
    stored = await engine.store.plan(row.plan)
    try:
        if stored is not None:
            return plan_of(stored.spec), stored
    except ValueError:
        pass  # as if there were none
    raise Refusal(f"the plan of run {run} can't be read from the database", "Name the run's workflow with --target.")
