"""Handles: a run to wait for, look at and control, whether this process drives it or another.

It reads what is stored through ``histories``, and what is not stored yet from the drive, if it is here; what is done to
a run is said in ``controls``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Generic, cast, overload

from pydantic import BaseModel, ValidationError
from returns.result import Success
from typing_extensions import TypeVar

from cloaca.algebra.outcomes import Outcome, TaskFailure
from cloaca.algebra.retries import Seconds, in_seconds
from cloaca.algebra.tasks import Task
from cloaca.contract.plans import Plan
from cloaca.contract.workflows import Workflow
from cloaca.errors import RunNotFound, UnknownTask, WrongOutput
from cloaca.interpreter import histories
from cloaca.interpreter.drives import DROPPED, Drive, Running
from cloaca.interpreter.histories import RunEvent, TaskInfo, Waiting
from cloaca.ports import History, PlanRow
from cloaca.runner import controls
from cloaca.runner.engines import Engine
from cloaca.runner.vigils import Vigil, vigil

Out = TypeVar("Out", covariant=True)
Errors = TypeVar("Errors", covariant=True)
Context = TypeVar("Context", covariant=True, default=Mapping[str, Any])
T = TypeVar("T")

Key = tuple[object, ...]

FINAL = frozenset({"succeeded", "failed", "cancelled"})
ONCE = histories.ENDINGS | {"run_started", "task_skipped", "task_failed"}


class RunHandle(Generic[Out, Errors, Context]):
    """A run, to wait for, look at and control. ``id`` is a decimal number as text, as in the database."""

    def __init__(
        self, engine: Engine, run: int, workflow: Workflow[Any, Out, Context, Errors], drive: Drive | None = None
    ) -> None:
        self.id = str(run)
        self.workflow = workflow
        self._engine = engine
        self._run = run
        self._drive = drive

    def __repr__(self) -> str:
        return f"<run {self.id} of {self.workflow.name}>"

    async def result(self, timeout: Seconds | None = None) -> Outcome[Out, Errors]:
        """Wait for the run's end and return ``Success(output)`` or ``Failure(RunFailure)``.

        Of a run that was retried, it is the new end.

        Raises:
            TimeoutError: ``timeout`` (seconds or a timedelta) is over; the run goes on.
            WrongOutput: the model given as ``Workflow(..., output=)`` refuses the values of this run.
        """
        found: Drive | History
        if timeout is None:
            found = await self._concluded()
        else:
            limit = in_seconds(timeout)
            found = await self._engine.history(self._run)
            if found.run.status not in FINAL:
                async with asyncio.timeout(limit):
                    found = await self._concluded()
        try:
            if isinstance(found, Drive):
                return Success(histories.output(self._plan, found.outputs, self._engine.codec))
            return cast("Outcome[Out, Errors]", histories.answer(self._plan, found, self._engine.codec))
        except ValidationError as error:
            raise WrongOutput(
                f'the output {error.title} of workflow "{self.workflow.name}" fails its own model: '
                f"{error.errors(include_url=False)[0]['msg']}; handle.context() has the values"
            ) from error

    async def status(self) -> str:
        """Return ``pending``, ``running``, ``paused``, ``blocked``, ``succeeded``, ``failed`` or ``cancelled``."""
        return (await self._engine.history(self._run)).run.status

    async def context(self) -> Context:
        """Return every field that the input and the tasks so far have written, by context key: a dict.

        cloaca's mypy plugin shows its keys as those of a ``TypedDict``.
        """
        outputs = histories.outputs_of(self._plan, await self._engine.history(self._run))
        return cast("Context", outputs.context(self._plan.context))

    @overload
    async def output_of(self, task: Task[Any, T, Any, ..., Any]) -> T | None: ...
    @overload
    async def output_of(self, task: str) -> BaseModel | None: ...
    async def output_of(self, task: Task[Any, Any, Any, ..., Any] | str) -> Any:
        """Return what a task has written, None if it has not (yet), was skipped, or writes nothing.

        Raises UnknownTask if the workflow has no such task.
        """
        name = task if isinstance(task, str) else task.name
        index = self._plan.by_task.get(name)
        if index is None:
            known = ", ".join(self._plan.by_task)
            raise UnknownTask(f'workflow "{self.workflow.name}" has no task "{name}"; it has {known}')
        outputs = histories.outputs_of(self._plan, await self._engine.history(self._run))
        return histories.decoded(self._plan.nodes[index], outputs, self._engine.codec)

    async def failures(self) -> list[TaskFailure]:
        """Return every failed attempt so far, in the order in which they happened."""
        return list(histories.task_failures(self._plan, await self._engine.history(self._run), self._engine.codec))

    async def tasks(self) -> list[TaskInfo]:
        """Return where each task stands, in topological order."""
        history = await self._engine.history(self._run)
        infos = histories.task_infos(self._plan, history)
        drive = self._live()
        if drive is None:
            return infos
        started = {self._plan.nodes[node].task: running for node, running in drive.running.items()}
        return [_running_now(info, started.get(info.name)) for info in infos]

    async def why(self) -> Waiting:
        """Return the one thing that the run waits for."""
        waiting = histories.why(self._plan, await self._engine.history(self._run))
        drive = self._live()
        if drive is not None and waiting.kind in ("task", "worker", "retry", "queue"):
            for node in drive.running:
                return Waiting("task", self._plan.nodes[node].task)
            if queued := self._engine.queued(drive):
                return queued
            ready = next(iter(drive.state.ready), None)
            if ready is not None:
                return Waiting("slot", self._plan.nodes[ready].task)
        return waiting

    async def events(self) -> AsyncGenerator[RunEvent, None]:
        """Yield what happens to the run, from its start to its end, each event once.

        Causes come before effects; a handle on a run of the past yields in order of time.
        """
        with vigil(self._engine, self._run) as watch:
            async with aclosing(self._told(watch)) as told:
                async for event in told:
                    yield event

    async def _told(self, watch: Vigil) -> AsyncGenerator[RunEvent, None]:
        told: set[Key] = set()
        missed: set[Key] = set()
        while True:
            async with aclosing(self._heard(watch)) as heard:
                async for event in heard:
                    if _lacks_its_start(event, told) and _key(event) not in missed:
                        missed.add(_key(event))  # it began before somebody listened: it is stored by now
                        break
                    if _key(event) not in told:
                        told.add(_key(event))
                        yield event
                    if event.kind in histories.ENDINGS:
                        return

    async def _heard(self, watch: Vigil) -> AsyncGenerator[RunEvent, None]:
        """Yield what is stored, and then what this process does, as long as it drives the run; else rest."""
        if self._live() is None:
            await watch.begin()
        drive = self._live()
        heard: asyncio.Queue[RunEvent] = asyncio.Queue()
        if drive is not None:
            drive.listeners.append(heard.put_nowait)
        try:
            early = [] if drive is None else _started_now(self._plan, drive)
            history = await self._engine.history(self._run)
            early += [heard.get_nowait() for _ in range(heard.qsize())]
            known = histories.run_events(self._plan, history)
            for event in sorted([*known, *early], key=histories.place_of):
                if event.kind != DROPPED:
                    yield event
            if drive is None:
                await watch.rest()
                return
            while not drive.dropped and (event := await heard.get()).kind != DROPPED:
                yield event
        finally:
            if drive is not None:
                drive.listeners.remove(heard.put_nowait)

    async def cancel(self) -> None:
        """End the run. Once this has returned, no new attempt of it starts, in any process.

        Async bodies are cancelled; a body on a thread can't be stopped, so its result is ignored. A run that has ended
        stays as it is.
        """
        await controls.cancel(self._engine, self._run)

    async def pause(self) -> None:
        """Start no new attempt of the run, in any process, from the moment on at which this has returned.

        Attempts in flight go on to their ends, and what they return is committed; then the run is ``paused``, until
        somebody resumes, cancels or forks it. It survives restarts and takes no worker's room. To pause a paused run
        changes nothing; a run that has ended stays as it is, and no error is raised.
        """
        await controls.pause(self._engine, self._run)

    async def resume(self) -> None:
        """Let a paused run go on, at once, where it was; or one that was asked to pause. Any other stays as it is."""
        await controls.resume(self._engine, self._run)

    async def retry(self) -> None:
        """Let the run go on from the tasks that have failed, keeping what succeeded; it is still the same run.

        What failed, what was skipped because of that and what was cancelled starts anew. So does a task that ran only
        after a failure, such as one ``.on("all_done")`` behind it. Failures stay in ``failures()`` and ``events()``,
        attempts are counted on, idempotency keys stay; each retry policy begins anew. A run that was given up because
        it killed its workers is tried again, a blocked one looked at again. A run that is going on already is left
        alone. A body on a thread that a cancellation could not stop may still run beside the new attempt: its
        ``ctx.cancelled`` is true, and its result is ignored.

        Raises:
            NotRetryable: the run has succeeded, or is paused.
            IncompatibleRun: what it has committed does not fit this code.
        """
        await controls.retry(self._engine, self._run, self._plan)
        self._drive = None

    async def fork(self, before: Task[Any, Any, Any, ..., Any] | str) -> RunHandle[Out, Errors, Context]:
        """Start a new run with the same input that reuses what this one has committed, but for ``before`` and after.

        This run may be in any state, and stays as it is. The new one has an id of its own, no key, and a note in its
        events that says where it came from. What failed here runs again there, and a condition of ``before`` is asked
        again.

        Raises:
            UnknownTask: the workflow has no such task.
            IncompatibleRun: what would be reused does not fit this code.
            StoreUnavailable: the database can't be written. No run was started, unless the database did write it and
                its answer was lost.
        """
        name = before if isinstance(before, str) else before.name
        row = PlanRow(self._plan.digest, self.workflow.name, self.workflow.version, self._plan.spec)
        made = await controls.fork(self._engine, self._run, self._plan, row, name)
        return RunHandle(self._engine, made, self.workflow)

    @property
    def _plan(self) -> Plan:
        return self.workflow.plan

    def _live(self) -> Drive | None:
        """The drive of the run, if this process has it."""
        if self._drive is None or self._drive.ended.is_set():  # it may be retried, and driven anew
            self._drive = self._engine.drive(self._run) or self._drive
        drive = self._drive
        if drive is None or drive.dropped or drive.ended.is_set():
            return None
        return drive

    async def _concluded(self) -> Drive | History:
        """Wait for the end; return the drive if this process drove the run to success, else what is stored."""
        while True:
            drive = await self._ended()
            if drive is not None and drive.state.status == "succeeded":
                return drive
            history = await self._engine.history(self._run)
            if history.run.status in FINAL:
                return history
            self._drive = None  # it was retried meanwhile

    async def _ended(self) -> Drive | None:
        """Wait for the end; return the drive if this process drove the run to it.

        As long as it does, nobody else needs to be heard.
        """
        self._engine.check_open()
        drive = self._live() or self._drive
        if drive is not None and await drive.wait():
            return drive
        with vigil(self._engine, self._run) as watch:
            return await self._watched(watch)

    async def _watched(self, watch: Vigil) -> Drive | None:
        while True:
            self._engine.check_open()
            drive = self._live() or self._drive
            if drive is not None:
                if await drive.wait():
                    return drive
                self._engine.check_open()
            await watch.begin()
            row = await self._engine.store.run(self._run)
            if row is None:
                raise RunNotFound(f"no run {self.id!r} in this database")
            if row.status in FINAL:
                return None
            if self._live() is None:
                await watch.rest(may_come=row.status == "pending")


def _running_now(info: TaskInfo, running: Running | None) -> TaskInfo:
    if running is None:
        return info
    return TaskInfo(info.name, "running", running.attempt, histories.moment(running.started_at), None)


def _started_now(plan: Plan, drive: Drive) -> list[RunEvent]:
    return [
        RunEvent("task_started", plan.nodes[node].task, histories.moment(running.started_at), running.attempt)
        for node, running in drive.running.items()
    ]


def _key(event: RunEvent) -> Key:
    """What makes two events the same: only notes may happen again, at another time."""
    once = event.attempt is not None or event.kind in ONCE
    return (event.kind, event.task, event.attempt, None if once else event.at)


def _lacks_its_start(event: RunEvent, told: set[Key]) -> bool:
    ends = event.attempt is not None and event.kind != "task_started"
    return ends and ("task_started", event.task, event.attempt, None) not in told
