"""The runner: open a database, start workflows, find their runs.

It knows how the layers are put together, and nothing that they do.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, TypeVar, Unpack, overload

from pydantic import BaseModel

from cloaca.algebra.outcomes import Outcome
from cloaca.algebra.queues import Queue
from cloaca.algebra.retries import Seconds, in_seconds
from cloaca.algebra.triggers import Trigger
from cloaca.clocks import SystemClock
from cloaca.codecs import MEBIBYTE, JsonCodec
from cloaca.contract.workflows import Workflow
from cloaca.encryption import Encryption
from cloaca.errors import KeyConflict, RunnerClosed, RunNotFound
from cloaca.executors.processes import ProcessExecutor
from cloaca.executors.threads import ThreadExecutor
from cloaca.interpreter import histories
from cloaca.interpreter.firings import Schedule
from cloaca.interpreter.histories import RunInfo
from cloaca.interpreter.homes import refuse_while_importing
from cloaca.interpreter.ids import run_ids
from cloaca.interpreter.workers import Settings, Worker
from cloaca.ports import NewRun, PayloadCodec, Ports, Store
from cloaca.runner.catalogues import Catalogue
from cloaca.runner.children import ENTRY
from cloaca.runner.databases import open_store, url_of
from cloaca.runner.engines import Engine
from cloaca.runner.handles import RunHandle
from cloaca.runner.queues import Declared
from cloaca.runner.schedules import ScheduleOptions, Schedules, define
from cloaca.runner.sealing import refuse_unreadable, sealing
from cloaca.runner.submissions import check_key, check_priority, checked_input, same_input, submit
from cloaca.runner.triggers import Asking, TriggerInfo
from cloaca.secrets import Provider, check_provider
from cloaca.telemetry import telemetry

Out = TypeVar("Out", covariant=True)
Errors = TypeVar("Errors", covariant=True)
Context = TypeVar("Context", covariant=True)
Input = TypeVar("Input", bound=BaseModel)

RETENTION = timedelta(days=30)


class RunnerOptions(TypedDict, total=False):
    """What a ``Runner`` takes beside the database."""

    workflows: Iterable[Workflow[Any, Any, Any, Any]]
    tenant: str | None
    queues: Iterable[Queue] | None
    triggers: Iterable[Trigger[Any]]
    concurrency: int
    lease_s: float
    grace_s: float
    processes: int | None
    payload_limit: int
    retention: Seconds | None
    secrets: Provider | None
    codec: PayloadCodec | None
    telemetry: bool | None
    work: bool
    store: Store | None


class Runner:
    """Runs workflows on a database; use it as ``async with Runner(...) as runner``.

    Args:
        database: a URL (``sqlite:///orders.db``), or the ``Path`` of a SQLite file; by default
            ``$CLOACA_DATABASE_URL``, else ``sqlite:///cloaca.db``.
        workflows: what this process can run. A workflow that is started by value is added.
        tenant: whose runs these are: the name of a schema of its own on PostgreSQL, of a file of its own beside that of
            ``database`` on SQLite. A runner sees, claims and schedules nothing of another tenant's. Runners of one
            process on one PostgreSQL and one event loop share their connections.
        queues: the queues that tasks name by ``@task(queue=...)``. Their limits are kept in the database, for all who
            work on it: whoever declares a queue last sets them. A runner that declares queues declares all that its
            workflows name. One that declares none goes by those that others have declared; a queue that nobody has
            declared has no limit, which is logged as a warning.
        triggers: functions that are asked again and again whether a run should start. Their workflows are added.
        concurrency: the most attempts at a time. Synchronous bodies also need a thread each (32 at most).
        lease_s: seconds without a sign of life after which other workers take this one's runs.
        grace_s: seconds that running attempts get when the runner is left.
        processes: the most child processes for tasks with ``executor="process"``, which are started when they are
            needed; by default one for each CPU that this process may use.
        payload_limit: the largest payload in bytes; 1 MiB by default.
        retention: how long runs are kept after their end (a ``timedelta``, or seconds), None for ever. While a runner
            works it deletes, now and then and a few at a time, what ended before; a run that has not ended, never.
        secrets: where ``Secret.reveal`` finds values: a mapping of names to values, or a function of a name, which may
            be async; by default the environment. Values are never stored.
        codec: what encrypts payloads in the database, such as ``Encryption(key)``; by default what
            ``$CLOACA_ENCRYPTION_KEYS`` says, and nothing if it is not set.
        telemetry: whether spans and metrics go to OpenTelemetry; by default if the program has set a provider of
            either before the runner is entered.
        work: False for a runner that only starts runs and follows them; others do the work.

    Raises:
        UnknownQueue: a task of a workflow names a queue that is not among ``queues``.
        InvalidDatabaseUrl: ``database`` is no URL that cloaca runs on.
        CodecNeeded, WrongKey: on entering: the latest runs are encrypted, and there is no key for them here.
        InvalidTenant: no tenant can have that name.
        StoreError: on entering: the database can't be opened, is damaged, is not cloaca's, or is too new.

    >>> import asyncio
    >>> from cloaca import Runner, Workflow, task
    >>> @task
    ... async def greet() -> None:
    ...     print("hello")
    >>> greetings = Workflow("greetings", greet)
    >>> async def main() -> None:
    ...     async with Runner("memory://", workflows=[greetings]) as runner:
    ...         handle = await runner.start(greetings, key="first")
    ...         print(await handle.result())
    >>> asyncio.run(main())
    hello
    <Success: None>
    """

    def __init__(
        self,
        database: str | Path | None = None,
        *,
        workflows: Iterable[Workflow[Any, Any, Any, Any]] = (),
        tenant: str | None = None,
        queues: Iterable[Queue] | None = None,
        triggers: Iterable[Trigger[Any]] = (),
        concurrency: int = 1000,
        lease_s: float = 30.0,
        grace_s: float = 10.0,
        processes: int | None = None,
        payload_limit: int = MEBIBYTE,
        retention: Seconds | None = RETENTION,
        secrets: Provider | None = None,
        codec: PayloadCodec | None = None,
        telemetry: bool | None = None,
        work: bool = True,
        store: Store | None = None,
    ) -> None:
        if concurrency < 1 or lease_s <= 0 or grace_s < 0 or payload_limit < 1:
            raise ValueError("Runner: concurrency, lease_s and payload_limit are more than 0, grace_s at least 0")
        if processes is not None and processes < 1:
            raise ValueError(f"Runner: processes={processes!r}: at least 1, or None for one per CPU")
        retention_s = None if retention is None else in_seconds(retention)
        if retention_s is not None and not retention_s > 0:
            raise ValueError(
                f"Runner: retention={retention!r} is no time to keep runs for: more than 0, or None for ever"
            )
        if secrets is not None:
            check_provider(secrets)
        clock = SystemClock()
        if store is not None and tenant is not None:
            raise ValueError("Runner: a store is one tenant's already: give tenant= with a database, not with a store")
        chosen = store if store is not None else open_store(url_of(database), tenant)
        self._codec = codec if codec is not None else Encryption.from_environment()
        chosen = sealing(chosen, self._codec)
        self._engine = Engine(chosen, JsonCodec(payload_limit), clock, run_ids(clock))
        self._settings = Settings(concurrency=concurrency, lease_s=lease_s, grace_s=grace_s, retention_s=retention_s)
        self._work, self._secrets, self._tenant = work, secrets, tenant
        self._wants_telemetry = telemetry
        self._queues = None if queues is None else Declared(queues)
        self._executor: ThreadExecutor | None = None
        self._processes = ProcessExecutor(ENTRY, processes)
        self._entered = False
        self._catalogue = Catalogue(self._engine, self._queues, self._processes, works=work)
        self._schedules = Schedules(self._engine, self._catalogue.named)
        for workflow in workflows:
            self._catalogue.add(workflow)
        self._triggers = [self._asking(trigger) for trigger in triggers]
        if len({asking.trigger.name for asking in self._triggers}) < len(self._triggers):
            raise ValueError("Runner: two triggers have one name; give them names: Trigger(..., name=...)")

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RunnerClosed("a runner is entered once; make another: async with Runner(...)")
        refuse_while_importing()
        self._entered = True
        try:
            await self._enter(self._engine)
        except BaseException:
            await self._engine.store.close()
            raise
        return self

    async def _enter(self, engine: Engine) -> None:
        engine.telemetry = telemetry(self._wants_telemetry)
        await engine.store.open()
        await refuse_unreadable(engine.store, self._codec)
        if self._queues is not None:
            await self._queues.store(engine.store)
        if self._work:
            workflows = self._catalogue.workflows
            for workflow in workflows.values():
                await self._catalogue.check_queues(workflow)
            await engine.store.reconsider({name: workflow.version for name, workflow in workflows.items()})
        if self._work or self._triggers:
            self._executor = ThreadExecutor()
        if self._work:
            assert self._executor is not None
            ports = Ports(
                engine.store,
                engine.clock,
                self._executor,
                engine.codec,
                self._processes,
                tenant=self._tenant,
                secrets=self._secrets,
                telemetry=engine.telemetry,
            )
            worker = Worker(ports, self._settings, self._catalogue.workflows, engine.ids)
            await worker.open()
            engine.worker = worker
        engine.loop = asyncio.get_running_loop()
        for asking in self._triggers:
            asking.task = engine.loop.create_task(asking.go_on())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        engine = self._engine
        for asking in self._triggers:
            if asking.task is not None:
                asking.task.cancel()
        engine.loop = None
        try:
            if engine.worker is not None:
                await engine.worker.close()
                engine.worker = None
        finally:
            if self._executor is not None:
                self._executor.close()
            try:
                await self._processes.closed()
            finally:
                await engine.store.close()

    @overload
    async def start(
        self,
        workflow: Workflow[None, Out, Context, Errors],
        input: None = None,
        *,
        key: str | None = None,
        priority: int = 0,
    ) -> RunHandle[Out, Errors, Context]: ...
    @overload
    async def start(
        self,
        workflow: Workflow[Input, Out, Context, Errors],
        input: Input,
        *,
        key: str | None = None,
        priority: int = 0,
    ) -> RunHandle[Out, Errors, Context]: ...
    @overload
    async def start(
        self, workflow: str, input: BaseModel | None = None, *, key: str | None = None, priority: int = 0
    ) -> RunHandle[Any, Any, Any]: ...
    async def start(
        self, workflow: Any, input: Any = None, *, key: str | None = None, priority: int = 0
    ) -> RunHandle[Any, Any, Any]:
        """Start a run and return its handle, once the run is durable: from then on it is never lost.

        Args:
            workflow: a workflow, or the name of one that the runner has.
            input: the workflow's input model, or a subclass; nothing for a workflow without input.
            key: an idempotency key: the same key and input give the same run.
            priority: a whole number from -100 to 100. Runs of a higher priority are taken first by workers, and their
                tasks are first in line where attempts wait, in a queue too. What has begun is not interrupted.

        Raises:
            ContractError: ``workflow-input``: the input is not what the workflow takes.
            ValueError: ``key`` or ``priority`` can't be one.
            UnknownQueue: a task names a queue that this runner does not declare.
            PayloadError: the input can't be stored as it is.
            TaskNotImportable: a child process can't find a task that is to run in one.
            UnknownWorkflow: no workflow has this name.
            KeyConflict: the key has started a run with another input.
            StoreUnavailable: the database can't be written. No run was started, unless the database did write it and
                its answer was lost; to start it again without ever having two, give it a ``key``.
        """
        self._engine.check_open()
        found = self._catalogue.named(workflow)
        payload = checked_input(self._engine.codec, found, input)
        check_key(key)
        check_priority(priority)
        plan = self._catalogue.plan_row(found)
        await self._catalogue.check(found)
        worker = self._engine.worker
        owner = worker.session if worker is not None and worker.has_room else None
        number, at = next(self._engine.ids), self._engine.clock.now()
        epilogue = found.plan.has_epilogue
        what = (number, found.name, found.version, plan.digest, payload, key)
        run = NewRun(*what, owner, at, priority, epilogue=epilogue)
        submitted, drive = await submit(self._engine, found.plan, plan, run)
        if not submitted.agrees and not await same_input(self._engine, found, payload, submitted.id):
            taken = f'key {key!r} of workflow "{found.name}" has started run {submitted.id} with another input'
            raise KeyConflict(f"{taken}; use another key, or the same input")
        return RunHandle(self._engine, submitted.id, found, drive)

    @overload
    async def run(
        self,
        workflow: Workflow[None, Out, Any, Errors],
        input: None = None,
        *,
        key: str | None = None,
        priority: int = 0,
    ) -> Outcome[Out, Errors]: ...
    @overload
    async def run(
        self, workflow: Workflow[Input, Out, Any, Errors], input: Input, *, key: str | None = None, priority: int = 0
    ) -> Outcome[Out, Errors]: ...
    @overload
    async def run(
        self, workflow: str, input: BaseModel | None = None, *, key: str | None = None, priority: int = 0
    ) -> Outcome[Any, Any]: ...
    async def run(
        self, workflow: Any, input: Any = None, *, key: str | None = None, priority: int = 0
    ) -> Outcome[Any, Any]:
        """Start a run and wait for its outcome: ``start`` and ``result``."""
        handle = await self.start(workflow, input, key=key, priority=priority)
        return await handle.result()

    async def get(self, run_id: str) -> RunHandle[Any, Any, Any]:
        """Return the handle of a run. Raises RunNotFound; UnknownWorkflow if this runner lacks its workflow."""
        self._engine.check_open()
        row = await self._engine.store.run(_number(run_id))
        if row is None:
            raise RunNotFound(
                f"no run {run_id!r} in this database: check the URL; ended runs are deleted after `retention=`"
            )
        return RunHandle(self._engine, row.id, self._catalogue.named(row.workflow))

    async def runs(
        self,
        *,
        workflow: Workflow[Any, Any, Any, Any] | str | None = None,
        status: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> list[RunInfo]:
        """Return runs, newest first. ``before`` is a run's id, for the next page."""
        self._engine.check_open()
        name = workflow.name if isinstance(workflow, Workflow) else workflow
        if status is not None and status not in _STATUSES:
            raise ValueError(f"status={status!r}: choose one of {', '.join(_STATUSES)}")
        if limit < 0:
            raise ValueError(f"limit={limit!r}: at least 0")
        number = None if before is None else _number(before)
        rows = await self._engine.store.runs(workflow=name, status=status, before=number, limit=limit)
        return [histories.run_info(row) for row in rows]

    def triggers(self) -> list[TriggerInfo]:
        """Return how the triggers of this runner do: when each was asked, and what went wrong."""
        return [asking.info for asking in self._triggers]

    def _asking(self, trigger: Trigger[Any]) -> Asking:
        if not isinstance(trigger, Trigger):
            raise TypeError(f"Runner: {trigger!r:.80} is no trigger; write Trigger(workflow, poll, every=5)")
        self._catalogue.add(trigger.workflow)
        return Asking(trigger, self._start_for, self._engine.clock.now, self._ask)

    async def _start_for(self, trigger: Trigger[Any], input: BaseModel, key: str) -> None:
        """Start a run for what a trigger has found, unless its key has started one, with whatever input."""
        with contextlib.suppress(KeyConflict):
            await self.start(trigger.workflow, input, key=key)

    async def _ask(self, poll: Callable[[], object]) -> object:
        assert self._executor is not None
        return await self._executor.submit(poll)

    @property
    def schedules(self) -> Schedules:
        """The schedules of this database: ``list``, ``get``, ``update``, ``pause``, ``history`` and so on, by name."""
        return self._schedules

    @overload
    async def schedule(
        self,
        workflow: Workflow[None, Any, Any, Any],
        *,
        name: str,
        input: None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule: ...
    @overload
    async def schedule(
        self,
        workflow: Workflow[Input, Any, Any, Any],
        *,
        name: str,
        input: Input,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule: ...
    @overload
    async def schedule(
        self, workflow: str, *, name: str, input: BaseModel | None = None, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    async def schedule(
        self, workflow: Any, *, name: str, input: Any = None, **options: Unpack[ScheduleOptions]
    ) -> Schedule:
        """Start runs of a workflow at certain times, from now on, by any runner on this database that has it.

        Idempotent by name: the same again changes nothing, and what was missed meanwhile is still caught up. Other
        arguments change the schedule, as ``schedules.update`` does.

        Args:
            workflow: a workflow, or the name of one that the runner has.
            name: what the schedule is known by: a printable string of at most 128 characters.
            input: the input of every run.
            options: when it fires, by one of ``cron`` (five fields, or six with seconds last), ``every`` (seconds or a
                ``timedelta``, counted from ``start``, else from now) and ``at`` (a datetime). ``timezone`` is an IANA
                name, by default ``UTC``, and what a datetime without a zone means. It fires from ``start`` to ``end``.
                ``catchup`` says what becomes of firings that nobody was there for: ``latest``, the default, fires the
                newest, a number the newest that many, ``all`` all, ``none`` none. ``overlap`` says what to do while an
                earlier run goes on: ``allow`` another, ``skip`` it, ``queue`` it, or ``cancel`` the earlier ones.
                ``jitter``, in seconds, spreads firings: each is late by a part of it.

        Raises:
            InvalidCron, InvalidTimezone: the times can't be understood.
            ValueError, TypeError: another argument can't be one.
            ContractError, PayloadError, UnknownQueue, TaskNotImportable, UnknownWorkflow: as ``start``.
        """
        self._engine.check_open()
        found = self._catalogue.named(workflow)
        row = define(name, found.name, checked_input(self._engine.codec, found, input), **options)
        await self._catalogue.check(found)
        return await self._schedules.put(row)


_STATUSES = ("pending", "running", "paused", "blocked", "succeeded", "failed", "cancelled")


def _number(run_id: str) -> int:
    try:
        number = int(run_id)
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number < 2**63:
        raise RunNotFound(f"{run_id!r} is no run's id: an id is a number, as handle.id gives it")
    return number
