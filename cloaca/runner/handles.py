"""Handles: a run to wait for, look at and control, whether this process drives it or another.

It reads what is stored through ``histories``, and what is not stored yet from the drive, if it is here; what is done to
a run is said in ``controls``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, cast, overload

from pydantic import BaseModel, ValidationError
from returns.result import Success
from typing_extensions import TypeVar

from cloaca.algebra.drawings import Drawable
from cloaca.algebra.fanouts import Each
from cloaca.algebra.graphs import Node
from cloaca.algebra.outcomes import Outcome, TaskFailure
from cloaca.algebra.retries import Seconds, in_seconds
from cloaca.algebra.tasks import Task
from cloaca.contract.plans import Plan
from cloaca.contract.workflows import Workflow
from cloaca.errors import RunNotFound, UnknownTask, WrongOutput
from cloaca.interpreter import elements, histories
from cloaca.interpreter.drives import DROPPED, Drive, Running
from cloaca.interpreter.elements import ElementInfo
from cloaca.interpreter.histories import RunEvent, RunInfo, TaskInfo, Waiting
from cloaca.ports import History, PlanRow
from cloaca.runner import controls
from cloaca.runner.engines import Engine
from cloaca.runner.vigils import Vigil, vigil

if TYPE_CHECKING:
    from cloaca.drawing import Picture

Out = TypeVar("Out", covariant=True)
Errors = TypeVar("Errors", covariant=True)
Context = TypeVar("Context", covariant=True, default=Mapping[str, Any])
T = TypeVar("T")

Key = tuple[object, ...]

FINAL = frozenset({"succeeded", "failed", "cancelled"})
ONCE = histories.ENDINGS | {"run_started", "task_skipped", "task_failed"}


class RunPicture(Drawable):
    """A workflow as one run of it stands: a value, which does not follow the run. ``states`` are statuses by task."""

    def __init__(self, workflow: Workflow[Any, Any, Any, Any], states: Mapping[str, str]) -> None:
        self.workflow, self.states = workflow, dict(states)

    def picture(self, states: Mapping[str, str] | None = None) -> Picture:
        """Return the workflow's picture; ``states`` instead of the run's, if given."""
        return self.workflow.picture(self.states if states is None else states)


class RunHandle(Generic[Out, Errors, Context]):
    """A run, to wait for, look at and control. ``id`` is a decimal number as text, as in the database.

    >>> import asyncio
    >>> from cloaca import RunHandle, Runner, Workflow, task
    >>> @task
    ... async def greet() -> None: ...
    >>> async def main() -> None:
    ...     async with Runner("memory://") as runner:
    ...         handle = await runner.start(Workflow("greetings", greet))
    ...         print(isinstance(handle, RunHandle), [event.kind async for event in handle.events()])
    ...         print(await handle.status(), (await handle.why()).kind)
    >>> asyncio.run(main())
    True ['run_started', 'task_started', 'task_succeeded', 'run_succeeded']
    succeeded nothing
    """

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
            if (await self._engine.row(self._run)).status in FINAL:
                found = await self._engine.history(self._run)
            else:
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
        return (await self._engine.row(self._run)).status

    async def context(self) -> Context:
        """Return every field that the input and the tasks so far have written, by context key: a dict.

        cloaca's mypy plugin shows its keys as those of a ``TypedDict``.
        """
        outputs = histories.outputs_of(self._plan, await self._engine.history(self._run))
        return cast("Context", outputs.context(self._plan.context))

    @overload
    async def output_of(self, task: Task[Any, T, Any, ..., Any]) -> T | None: ...
    @overload
    async def output_of(self, task: Each[Any, Any, Any]) -> list[Any] | None: ...
    @overload
    async def output_of(self, task: str) -> BaseModel | list[Any] | None: ...
    async def output_of(self, task: Node[Any, Any, Any] | str) -> Any:
        """Return what a task has written, None if it has not (yet), was skipped, or writes nothing.

        Of an ``each()`` it is the list of models.

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
        drive = self._live()
        now = _with_elements_at_work(history, drive)
        infos = elements.counted(self._plan, now, histories.task_infos(self._plan, history))
        if drive is None:
            return infos
        started = {self._plan.nodes[node].task: running for node, running in drive.running.items()}
        return [_running_now(info, started.get(info.name)) for info in infos]

    async def picture(self) -> Drawable:
        """Return the run as a picture of its workflow, each task coloured by where it stands now.

        It has ``to_svg()``, ``to_mermaid()``, ``to_dot()`` and ``to_text()``, as a workflow has; a notebook shows it.
        """
        return RunPicture(self.workflow, {info.name: info.status for info in await self.tasks()})

    async def elements(
        self, task: Node[Any, Any, Any] | str, *, status: str | None = None, after: int = -1, limit: int = 100
    ) -> list[ElementInfo]:
        """Return where the elements of an ``each()`` stand, in the order of the list, at most ``limit`` of them.

        ``status`` is ``pending``, ``running``, ``succeeded``, ``failed`` or ``cancelled``, None for all. ``after`` is
        the index of the last element that is known already. An ``each()`` inside another is named with the element
        that it is in: ``each:fetch/3/each:parse``. Each call reads what is stored about the run.

        Raises:
            UnknownTask: the workflow has no such ``each()``, or it has no such element.
            ValueError: there is no such status, or the limit is below 1.
        """
        if status is not None and status not in elements.STATUSES:
            raise ValueError(f"status={status!r}: choose one of {', '.join(elements.STATUSES)}")
        if limit < 1:
            raise ValueError(f"limit={limit!r}: ask for one element at least")
        name = task if isinstance(task, str) else task.name
        history = _with_elements_at_work(await self._engine.history(self._run), self._live())
        return elements.element_infos(self._plan, history, name, status=status, after=after, limit=limit)

    async def why(self) -> Waiting:
        """Return the one thing that the run waits for."""
        history = await self._engine.history(self._run)
        drive = self._live()
        waiting = histories.why(self._plan, history, is_driven=drive is not None)
        if drive is not None and waiting.kind in ("task", "worker", "retry", "queue", "timer", "signal", "child"):
            for inner, node in drive.attempts():
                return Waiting("task", inner.shown(node))
            for inner in drive.drives():
                if queued := self._engine.queued(inner):
                    return queued
                for ready in inner.state.ready:
                    return Waiting("slot", inner.shown(ready))
            delays = [
                (due, inner.shown(node)) for inner in drive.drives() for node, due in inner.state.retry_at.items()
            ]
            for due, task in sorted(delays) if waiting.kind not in ("timer", "signal", "child") else ():
                return Waiting("retry", task, None, histories.moment(due))
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
            drive.listeners[heard.put_nowait] = None
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
                drive.listeners.pop(heard.put_nowait, None)

    async def send(self, signal: BaseModel) -> None:
        """Send a signal to the run, for a ``wait_for`` of its model; durable once this has returned, from any process.

        It is kept if the wait isn't reached yet. One ``wait_for`` takes it, once; several of a model take several
        signals in the order in which these were sent. An instance of a subclass is a signal of its base too.

        Raises:
            NoSuchSignal: no ``wait_for`` of the run takes it: none waits for this model, each that does has its answer
                or will not run, or the run has ended.
            PayloadError: the signal can't be stored as it is.
            StoreUnavailable: the database can't be written. Nothing was sent, unless the database did write it and its
                answer was lost; sent again, it is then refused.
        """
        await controls.send(self._engine, self._run, self._plan, signal)

    async def children(self) -> list[RunInfo]:
        """Return the runs that this run's ``subflow`` nodes have started, oldest first."""
        history = await self._engine.history(self._run)
        return [histories.run_info(row) for row in history.children]

    async def cancel(self) -> None:
        """End the run. Once this has returned, no new attempt of it starts, in any process.

        Async bodies are cancelled; a body on a thread can't be stopped, so its result is ignored. A run that has ended
        stays as it is.
        """
        await controls.cancel(self._engine, self._run, self._plan)

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

    async def upgrade(self, give_up: Collection[Node[Any, Any, Any] | str] = ()) -> tuple[str, ...]:
        """Let a blocked run go on with this code. Return the tasks whose results were given up: they run again.

        A run that fits this code goes on as it is; so does one that was pinned to another version. Otherwise the tasks
        whose results don't fit have to run again, and whatever came after them: they are named in the refusal, and have
        to be named in ``give_up``, all of them. Nothing that they did elsewhere is undone; their failures stay in
        ``failures()``, attempts are counted on, idempotency keys stay. Signals that they took are spent.

        Raises:
            NotBlocked: the run is not blocked.
            IncompatibleRun: results have to be given up that ``give_up`` does not name (the exception's ``give_up``
                does), or the run can't go on with this code whatever is given up. Nothing was changed.
            ValueError: ``give_up`` names a task that need not run again. Nothing was changed.
        """
        names = [task if isinstance(task, str) else task.name for task in give_up]
        found = await controls.upgrade(self._engine, self._run, self.workflow, names)
        self._drive = None
        return found

    async def fork(self, before: Node[Any, Any, Any] | str) -> RunHandle[Out, Errors, Context]:
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
                raise RunNotFound(
                    f"no run {self.id!r} in this database: check the URL; ended runs are deleted after `retention=`"
                )
            if row.status in FINAL:
                return None
            if self._live() is None:
                await watch.rest(may_come=row.status == "pending")


def _running_now(info: TaskInfo, running: Running | None) -> TaskInfo:
    if running is None:
        return info
    started = histories.moment(running.started_at)
    return TaskInfo(info.name, "running", running.attempt, started, None, elements=info.elements, code=info.code)


def _with_elements_at_work(history: History, drive: Drive | None) -> History:
    """What is stored about a run, and the attempts inside its fan-outs that are in flight here."""
    if drive is None or not drive.fans:
        return history
    shown = {row.name for row in history.attempts}
    rows = [inner.attempt_row(node) for inner, node in drive.attempts() if inner is not drive]
    return history._replace(attempts=[*history.attempts, *(row for row in rows if row.name not in shown)])


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
    ends = event.attempt is not None and event.kind not in histories.STARTS
    return ends and told.isdisjoint((start, event.task, event.attempt, None) for start in histories.STARTS)
