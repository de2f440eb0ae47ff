"""What users do to a run, whoever drives it: cancel, pause, resume, retry, fork.

It knows a run by its number, and needs no code of its workflow but the plan, where that counts.
"""

from __future__ import annotations

import asyncio

from cloaca.contract.plans import Plan
from cloaca.errors import NotRetryable, RunNotFound
from cloaca.interpreter.retrials import retrial, reused
from cloaca.ports import NewRun, PlanRow
from cloaca.runner.engines import Engine

POLL_S = 0.1  # how often one looks whether the worker that drives a run has heard
FINAL = frozenset({"succeeded", "failed", "cancelled"})
GOING = frozenset({"pending", "running"})


async def cancel(engine: Engine, run: int) -> None:
    """End a run; return once no new attempt of it can start. Raises RunNotFound."""
    while True:
        engine.check_open()
        drive = engine.drive(run)
        if drive is not None:
            drive.cancel()
            if await drive.wait():
                return
            continue  # the lease was lost meanwhile, and the request with it
        status = await engine.store.cancel(run, engine.clock.now())
        if status is None:
            raise _absent(run)
        if status in FINAL:
            return
        await _until_heard(engine, run, status)


async def pause(engine: Engine, run: int) -> None:
    """Pause a run; return once no new attempt of it can start. Raises RunNotFound."""
    prompted = False
    while True:
        engine.check_open()
        row = await engine.store.pause(run, engine.clock.now())
        if row is None:
            raise _absent(run)
        if row.status != "running" or row.pausing == "heard":
            return
        if engine.worker is None or engine.drive(run) is None:
            await _until_heard(engine, run, row.status)
        elif not prompted:
            prompted = True
            await engine.worker.look()
            await engine.worker.commits.flushed()
        else:
            await asyncio.sleep(POLL_S)


async def resume(engine: Engine, run: int) -> None:
    """Let a run go on that is paused, or should pause. Raises RunNotFound."""
    engine.check_open()
    row = await engine.store.resume(run, engine.clock.now())
    if row is None:
        raise _absent(run)
    if engine.worker is not None and engine.drive(run) is not None:
        await engine.worker.look()
    engine.wake()


async def retry(engine: Engine, run: int, plan: Plan) -> None:
    """Let a run go on that has failed, was cancelled or is blocked.

    Raises RunNotFound, NotRetryable, IncompatibleRun.
    """
    while True:
        history = await engine.history(run)
        row, at = history.run, engine.clock.now()
        if row.status in GOING:
            return
        if row.status == "succeeded":
            raise NotRetryable(f"run {run} has succeeded, so there is nothing to retry: fork it before a task instead")
        if row.status == "paused":
            raise NotRetryable(f"run {run} is paused, it has not failed: resume it instead")
        found = retrial(plan, history, at)
        if await engine.store.retry(row, at, anew=found.anew, earlier=found.earlier, detail=found.detail):
            return engine.wake()


async def fork(engine: Engine, run: int, plan: Plan, row: PlanRow, before: str) -> int:
    """Start a new run with what another has committed before a task; return its id.

    Raises RunNotFound, UnknownTask, IncompatibleRun.
    """
    while True:
        history = await engine.history(run)
        tasks = reused(plan, history, before)
        at, input = engine.clock.now(), history.run.input
        new = NewRun(
            next(engine.ids), row.workflow, row.version, row.digest, input, None, None, at, history.run.priority,
            scheduled_for=history.run.scheduled_for,
        )  # fmt: skip
        made = await engine.store.fork(row, new, origin=run, tasks=tasks, detail=f"from run {run}, before {before}")
        if made is not None:  # else one of these tasks is gone just now: somebody has retried that run
            engine.wake()
            return made


async def _until_heard(engine: Engine, run: int, status: str) -> None:
    """Give the worker that drives a run time to look; it may be dead, and nobody else here to notice."""
    if status == "running":
        worker = engine.worker
        await engine.store.reap(engine.clock.now(), sparing=worker.session if worker else None)
    await engine.arrival(run, POLL_S)


def _absent(run: int) -> RunNotFound:
    return RunNotFound(f"no run {str(run)!r} in this database")
