"""What users do to a run, whoever drives it: cancel, pause, resume, retry, fork.

It knows a run by its number, and needs no code of its workflow but the plan, where that counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from pydantic import BaseModel

from cloaca.contract.plans import Plan
from cloaca.contract.workflows import Workflow
from cloaca.errors import IncompatibleRun, NoSuchSignal, NotBlocked, NotRetryable, RunNotFound
from cloaca.interpreter import upgrades
from cloaca.interpreter.histories import restored
from cloaca.interpreter.retrials import retrial, reused
from cloaca.interpreter.versions import judge_rows, parsed
from cloaca.machine.statuses import FINAL_TASK
from cloaca.ports import NewRun, PlanRow
from cloaca.runner.engines import Engine

MOST_LOOKS = 20  # at a run that others could not go on with, until whoever has it now says whether it can
POLL_S = 0.1  # how often one looks whether the worker that drives a run has heard
FINAL = frozenset({"succeeded", "failed", "cancelled"})
GOING = frozenset({"pending", "running"})


async def cancel(engine: Engine, run: int, plan: Plan | None = None) -> None:
    """End a run and its child runs; return once no new attempt of them can start. Raises RunNotFound."""
    await _cancel(engine, run)
    if plan is None or plan.starts_runs:
        for child in (await engine.history(run)).children:
            if child.finished_at is None:
                await cancel(engine, child.id)


async def _cancel(engine: Engine, run: int) -> None:
    while True:
        engine.check_open()
        drive = engine.drive(run)
        if drive is not None:
            drive.cancel()
            if await drive.known():
                return
            continue  # the lease was lost meanwhile, and the request with it
        status = await engine.store.cancel(run, engine.clock.now())
        if status is None:
            raise _absent(run)
        if status in FINAL:
            return
        row = await engine.store.run(run)
        if row is None or row.closing is not None:
            return
        if row.status == "pending":  # whoever takes it cancels it, before anything else
            return engine.wake()
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


async def upgrade(
    engine: Engine, run: int, workflow: Workflow[Any, Any, Any, Any], give_up: Collection[str] = ()
) -> tuple[str, ...]:
    """Let a blocked run go on with other code, without the results of the tasks ``give_up``; return these.

    A worker that has just started may be looking at it once more: that is waited for.
    Raises RunNotFound, NotBlocked, IncompatibleRun, ValueError.
    """
    plan, looks = workflow.plan, 0
    row = PlanRow(plan.digest, workflow.name, workflow.version, plan.spec)
    while True:
        history = await engine.history(run)
        seen = history.run
        if seen.status in GOING and seen.refused is not None and looks < MOST_LOOKS:
            looks += 1
            await asyncio.sleep(POLL_S)
            continue
        if seen.status != "blocked":
            raise NotBlocked(f"run {run} is {seen.status}, it is not blocked: there is nothing to upgrade it for")
        stored = await engine.store.plan(seen.plan)
        found = upgrades.upgrade(workflow, workflow.version, parsed(stored.spec if stored else None), history)
        if needless := sorted({*give_up}.difference(found.give_up)):
            raise ValueError(f"give_up={needless}: run {run} goes on without giving up {', '.join(needless)}")
        if lacking := [task for task in found.give_up if task not in give_up]:
            text = f"run {run} can go on with this code if these results are given up: {', '.join(lacking)}"
            raise IncompatibleRun(f"{text} ({found.verdict.reason}); nothing was changed", give_up=found.give_up)
        at, how = engine.clock.now(), {"anew": found.anew, "earlier": found.earlier, "detail": found.detail}
        if await engine.store.upgrade(seen, row, at, epilogue=plan.has_epilogue, **how):  # type: ignore[arg-type]  # a dict of several types
            engine.wake()
            return found.give_up


async def fork(engine: Engine, run: int, plan: Plan, row: PlanRow, before: str) -> int:
    """Start a new run with what another has committed before a task; return its id.

    Raises RunNotFound, UnknownTask, IncompatibleRun.
    """
    while True:
        history = await engine.history(run)
        tasks = reused(plan, history, before)
        if history.run.plan != row.digest:
            stored = await engine.store.plan(history.run.plan)
            kept = [each for each in history.tasks if each.name in frozenset(tasks)]
            again = history._replace(tasks=kept, signals=(), children=(), run=history.run._replace(closing=None))
            verdict = judge_rows(plan, parsed(stored.spec if stored else None), again)
            if not verdict.fits:
                raise IncompatibleRun(f"what run {run} has done before {before} does not fit: {verdict.reason}")
        at, input = engine.clock.now(), history.run.input
        id, priority, epilogue = next(engine.ids), history.run.priority, plan.has_epilogue
        new = NewRun(
            id, row.workflow, row.version, row.digest, input, None, None, at, priority, epilogue=epilogue,
            scheduled_for=history.run.scheduled_for,
        )  # fmt: skip
        made = await engine.store.fork(row, new, origin=run, tasks=tasks, detail=f"from run {run}, before {before}")
        if made is not None:  # else one of these tasks is gone just now: somebody has retried that run
            engine.wake()
            return made


async def send(engine: Engine, run: int, plan: Plan, signal: BaseModel) -> None:
    """Send a signal to a run. Raises RunNotFound, NoSuchSignal, PayloadError, IncompatibleRun."""
    if not isinstance(signal, BaseModel):
        raise TypeError(f"send({signal!r:.80}): a signal is an instance of the model that is waited for")
    payloads = _payloads(engine, plan, signal)
    if not payloads:
        raise NoSuchSignal(f"run {run} waits for no {type(signal).__name__}: its workflow waits for {_models(plan)}")
    history = await engine.history(run)
    state = restored(plan, history)
    for nodes, payload in payloads:
        open_nodes = [plan.nodes[node].name for node in nodes if state.tasks[node] not in FINAL_TASK]
        if history.run.status in FINAL or not open_nodes:
            continue
        kept = await engine.store.send(run, plan.channels[nodes[0]], payload, engine.clock.now(), nodes=open_nodes)
        if kept:
            if engine.worker is not None and engine.drive(run) is not None:
                engine.worker.listen(run)
            return engine.wake()
    if (now := await engine.history(run)).run.status in FINAL:
        raise NoSuchSignal(f"run {run} has ended ({now.run.status}), so nobody waits for {type(signal).__name__}")
    raise NoSuchSignal(
        f"run {run} waits for no other {type(signal).__name__}: each wait for one has its answer, or will not run"
    )


def _payloads(engine: Engine, plan: Plan, signal: BaseModel) -> list[tuple[list[int], str]]:
    """The nodes that a signal is for, those of its own class first, then of its bases; with what each would write."""
    found = []
    for model in type(signal).__mro__:
        if nodes := [node for node in plan.channels if plan.nodes[node].output is model]:
            found.append((nodes, engine.codec.encode(model, signal)))
    return found


def _models(plan: Plan) -> str:
    return ", ".join(dict.fromkeys(plan.channels.values())) or "no signal at all"


async def _until_heard(engine: Engine, run: int, status: str) -> None:
    """Give the worker that drives a run time to look; it may be dead, and nobody else here to notice."""
    if status == "running":
        worker = engine.worker
        await engine.store.reap(engine.clock.now(), sparing=worker.session if worker else None)
    await engine.arrival(run, POLL_S)


def _absent(run: int) -> RunNotFound:
    return RunNotFound(
        f"no run {str(run)!r} in this database: check the URL; ended runs are deleted after `retention=`"
    )
