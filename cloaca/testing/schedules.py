"""Schedules in a simulated world: production's scheduler on virtual time, with several workers and what goes wrong.

A year of a daily schedule takes a fraction of a second. What goes wrong, goes wrong at the commits of a firing, named
``firing:`` and its schedule: the first of a firing claims it, the second hands it over.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any, Final, cast

from cloaca.codecs import MEBIBYTE, JsonCodec
from cloaca.contract.workflows import Workflow
from cloaca.errors import ContractError, StoreUnavailable, Violation
from cloaca.interpreter.firings import Firing, firing_of
from cloaca.interpreter.workers import Settings, Worker
from cloaca.ports import Batch, Move, NewRun, Ports, ScheduleRow, Store
from cloaca.runner.engines import Engine
from cloaca.runner.schedules import Schedules, define
from cloaca.schedules.decisions import Catchup, Overlap
from cloaca.stores.memory import MemoryStore
from cloaca.testing.bodies import NoProcesses
from cloaca.testing.crews import simulated_codes
from cloaca.testing.deviations import ANY, CLAIM, Deviation, Kind, Scenario, moved
from cloaca.testing.firing_rules import FiringRules, shown
from cloaca.testing.loops import NeverRests, NothingLeft, VirtualLoop
from cloaca.testing.processes import Process
from cloaca.testing.scenes import LEASE_S, SimulatedClock, quiet
from cloaca.testing.simulations import BrokenPromise
from cloaca.testing.threads import SimulatedThreads
from cloaca.testing.worlds import START, World

AnyWorkflow = Workflow[Any, Any, Any, Any]

FIRING: Final = "firing:"
KINDS: Final = frozenset(
    {
        "crash_before_commit",
        "crash_after_commit",
        "store_error",
        "lost_answer",
        "clock_jump",
        "zombie",
        "leave",
        "pause",
    }
)
SILENT_S: Final = 2 * LEASE_S
WRITES: Final = frozenset({"fire", "hand_over", "transact", CLAIM})


@dataclass(frozen=True, init=False)
class Cron:
    """What ``runner.schedule`` takes, as a value. The schedule is named after its workflow unless ``name`` says else.

    Raises as ``Runner.schedule``, when it is made.

    >>> from cloaca import Workflow, task
    >>> @task
    ... def report() -> None: ...
    >>> Cron(Workflow("reports", report), "0 9 * * MON-FRI", timezone="Europe/Berlin").row.name
    'reports'
    """

    workflow: AnyWorkflow
    row: ScheduleRow

    def __init__(
        self,
        workflow: AnyWorkflow,
        cron: str,
        *,
        timezone: str = "UTC",
        input: Any = None,
        name: str | None = None,
        catchup: Catchup = "latest",
        overlap: Overlap = "allow",
        jitter: float | timedelta = 0.0,
    ) -> None:
        if not isinstance(workflow, Workflow):
            raise TypeError(f"Cron({workflow!r:.80}): it is a workflow that runs: close the graph by Workflow(...)")
        model = workflow.input
        if (model is None) != (input is None) or (model is not None and not isinstance(input, model)):
            wanted = model.__name__ if model else "no input"
            text = f'Workflow "{workflow.name}" takes {wanted}, but was given {type(input).__name__}: {input!r:.80}'
            raise ContractError([Violation("workflow-input", workflow.name, "", text)])
        payload = None if model is None else JsonCodec(MEBIBYTE).encode(model, input)
        row = define(
            workflow.name if name is None else name, workflow.name, payload, cron=cron, timezone=timezone,
            catchup=catchup, overlap=overlap, jitter=jitter,
        )  # fmt: skip
        object.__setattr__(self, "workflow", workflow)
        object.__setattr__(self, "row", row)

    def __repr__(self) -> str:
        return f"Cron({self.workflow.name}, {self.row.cron!r}, timezone={self.row.timezone!r}, name={self.row.name!r})"


def simulate_schedules(
    schedules: Sequence[Cron],
    *,
    until: datetime,
    start: datetime = START,
    scenario: Scenario | None = None,
) -> World:
    """Let schedules fire from ``start`` to ``until`` in a simulated world, and return what it has come to.

    Args:
        schedules: which; their workflows' bodies really run, unless ``override`` has others for them.
        until: when the schedules end. What they have begun goes on to its end.
        start: when they begin; a time without a zone is UTC.
        scenario: what goes wrong, and how many workers there are; by default nothing, and one. What goes wrong at a
            firing is said as ``crash_before_commit("firing:daily")``: beside crashes, ``store_error``, ``clock_jump``,
            ``zombie`` (the worker is silent past its lease), ``leave`` and ``pause``. Crashes may also be at tasks.

    Raises:
        BrokenPromise: an instant has no run, or two, or something that catch-up does not allow was lost.
        ValueError: a deviation that this simulation does not know, or two schedules of one name.

    >>> from cloaca import Workflow, task
    >>> @task
    ... def report() -> None: ...
    >>> daily = Cron(Workflow("reports", report), "0 9 * * MON-FRI")
    >>> world = simulate_schedules([daily], start=datetime(2030, 1, 1), until=datetime(2030, 2, 1))
    >>> len(world.firings("reports"))
    23
    """
    world = _Simulation(schedules, _utc(start), _utc(until), scenario or Scenario()).run()
    if world.violations:
        raise BrokenPromise(world)
    return world


def _utc(at: datetime) -> float:
    return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).timestamp()


class _Door:
    """A process's way to the store."""

    def __init__(self, simulation: _Simulation, process: Process) -> None:
        self._simulation, self._process = simulation, process

    def __getattr__(self, name: str) -> Any:
        found = partial(self._simulation.operate, self._process, name, getattr(self._simulation.store, name))
        setattr(self, name, found)
        return found

    async def watch(self, wake: Callable[[], None]) -> bool:
        self._simulation.watchers[self._process] = wake
        return True


class _Simulation:
    """One execution, run once. It makes schedules as a runner does, for which it is the runner."""

    def __init__(self, crons: Sequence[Cron], start: float, until: float, scenario: Scenario) -> None:
        unknown = [each for each in scenario.deviations if each.kind not in KINDS]
        if unknown:
            raise ValueError(f"simulate_schedules: what does this mean for schedules? {unknown[0]}")
        self.crons = {cron.row.name: cron for cron in crons}
        if len(self.crons) < len(crons):
            raise ValueError("simulate_schedules: two schedules have one name; give them names: Cron(..., name=...)")
        if start > until:
            raise ValueError("simulate_schedules: start is after until")
        self.scenario, self.world, self.until = scenario, World(None, scenario), until
        self.chance = None if scenario.seed is None else Random(f"{scenario.seed} cloaca schedules")
        self.loop = VirtualLoop(self.chance, self._skip)
        self.clock = SimulatedClock(self.loop, start=start)
        self.store = MemoryStore()
        self.codec = JsonCodec(16 * MEBIBYTE)
        self.workflows = {cron.workflow.name: cron.workflow for cron in crons}
        self.workers: dict[Process, Worker] = {}
        self.watchers: dict[Process, Callable[[], None]] = {}
        self._threads: list[SimulatedThreads] = []
        self._moments: list[float] = []  # when parked runs go on
        self._engine = Engine(cast("Store", self.store), self.codec, self.clock, itertools.count(1))
        self._rules = FiringRules(self.world, self.clock, {name: cron.row for name, cron in self.crons.items()}, until)
        self._made = Schedules(self._engine, self.workflows.__getitem__)

    def run(self) -> World:
        contextvars.copy_context().run(self._run)
        self._conclude()
        return self.world

    def _run(self) -> None:
        with quiet(), suppress(asyncio.CancelledError):
            try:
                self.loop.run_until_complete(self._main())
            except NothingLeft:
                pass
            except NeverRests:
                self.world.violations.append("ends: the workers never come to rest")
            finally:
                with self.loop.entered():
                    for threads in self._threads:
                        threads.bury()
                self.loop.close()

    async def _main(self) -> None:
        self._engine.loop = asyncio.get_running_loop()
        for cron in self.crons.values():
            await self._made.put(cron.row._replace(end_at=self.until))
        self.loop.patience = 1 + self.scenario.workers
        for number in range(self.scenario.workers):
            self._start(f"w{number}")
        await self.loop.create_future()  # until nobody has anything to do any more

    # Processes

    def _start(self, name: str) -> None:
        process = Process(name)
        self.loop.in_process(process, lambda: self.loop.create_task(self._work(process)))

    async def _work(self, process: Process) -> None:
        store, threads = cast("Store", _Door(self, process)), SimulatedThreads()
        self._threads.append(threads)
        ports = Ports(store, self.clock, threads, self.codec, NoProcesses())
        worker = Worker(
            ports, Settings(lease_s=LEASE_S, poll_s=1.0, retention_s=None), self.workflows, self._engine.ids
        )
        worker.chance = self.chance.random if self.chance else lambda: 0.5
        worker.codes = simulated_codes
        self.workers[process] = worker
        self._log(process, "starts")
        await worker.open()

    def _kill(self, process: Process, why: str, downtime_s: float) -> None:
        self._log(process, f"*** killed {why}")
        self._gone(process, downtime_s)

    def _gone(self, process: Process, downtime_s: float) -> None:
        process.alive = False
        self.watchers.pop(process, None)
        self.loop.in_process(self.loop.main, self._start, process.name, delay=downtime_s)

    async def _leave(self, process: Process, downtime_s: float) -> None:
        self._log(process, "*** leaves in order")
        await self.workers[process].close()
        self._gone(process, downtime_s)

    # The store, seen through the doors

    async def operate(self, process: Process, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Do one operation on the store for a process, and whatever is to go wrong there."""
        if name not in WRITES:
            return await call(*args, **kwargs)
        labels = _labels(name, args)
        due = {each.kind: each for label in labels for each in self._reached(label)}
        if labels and name != CLAIM:
            due |= {each.kind: moved(each, at=next(iter(labels))) for each in self._reached(ANY)}
        if crash := due.get("crash_before_commit"):
            self._kill(process, f"before the commit of {crash.at}", crash.seconds)
            await self.loop.create_future()
        if error := due.get("store_error"):
            self._log(process, f"*** the store can't be written, at {error.at}")
            raise StoreUnavailable("simulated: the store can't be written")
        result = await call(*args, **kwargs)
        self._observe(process, name, args, result)
        await self._after(process, due)
        return result

    async def _after(self, process: Process, due: Mapping[Kind, Deviation]) -> None:
        if crash := due.get("crash_after_commit"):
            self._kill(process, f"after the commit of {crash.at}", crash.seconds)
            await self.loop.create_future()
        if lost := due.get("lost_answer"):
            self._log(process, f"*** the answer of the store is lost, at {lost.at}")
            raise StoreUnavailable("simulated: the answer is lost")
        if jump := due.get("clock_jump"):
            self._log(process, f"*** every clock jumps by {jump.seconds:g} s")
            self.clock.jump(jump.seconds)
        if due.get("zombie"):
            self._log(process, f"*** silent for {SILENT_S:g} s")
            process.frozen_until = self.loop.now + SILENT_S
        if leave := due.get("leave"):
            self.loop.create_task(self._leave(process, leave.seconds))
        if pause := due.get("pause"):
            self.loop.in_process(self.loop.main, lambda: self.loop.create_task(self._pause(pause)))

    async def _pause(self, pause: Deviation) -> None:
        name, operator = pause.at.removeprefix(FIRING), Process("operator")
        self._log(operator, f"*** pauses {name}")
        await self._made.pause(name)
        self._rules.pauses(name)
        await asyncio.sleep(pause.seconds)
        self._log(operator, f"*** resumes {name}")
        await self._made.resume(name)
        self._rules.resumes(name)
        self._wake_others(operator)

    def _reached(self, label: str) -> list[Deviation]:
        """Return what is to go wrong at a commit, and count it."""
        nth = self.world.labels[label]
        self.world.labels[label] += 1
        return [each for each in self.scenario.deviations if (each.at, each.nth) == (label, nth)]

    def _observe(self, process: Process, name: str, args: Sequence[Any], result: Any) -> None:
        if name == "fire":
            for schedule, instant in result:
                self._log(process, f"claims {schedule} for {shown(instant)}")
            self._rules.claimed(result, args[2])
        elif name == "hand_over":
            for run, state in zip(args[2], result, strict=True):
                self._log(process, f"hands over {run.schedule} for {shown(run.scheduled_for)}: {state or 'gone'}")
            self._wake_others(process)
        elif name == "transact":
            batch: Batch = args[0]
            self._moments = [at for at in self._moments if at > self.clock.now()]
            self._moments += [at for _, at in batch.parked if at is not None]
            kept = [row for row in batch.tasks if row.run not in result.disowned]
            for row in kept:
                self.world.committed[row.name] += row.status == "succeeded"
            for name_of in (*(row.name for row in kept), *(row.name for row in batch.failures)):
                self.world.begun[name_of] += 1

    def _wake_others(self, process: Process) -> None:
        for other, wake in list(self.watchers.items()):
            if other is not process and other.alive:
                self.loop.in_process(other, wake)

    # Time

    def _skip(self, until: float | None) -> float:
        """Nothing but heartbeats happens until a time: say when something else does, and let the leases last so long.

        Raises NothingLeft if it never does.
        """
        leases, living = self.store.sessions, {}
        for process, worker in self.workers.items():
            if process.alive and process.frozen_until <= self.loop.now and worker.session in leases:
                living[worker.session] = worker
        offset = self.clock.start + self.clock.jumped_s
        expiries = [end - offset + 0.001 for session, end in leases.items() if session not in living]
        wakes = [moment - offset + 0.001 for moment in self._moments]
        later = [at for at in (*expiries, *wakes) if at > self.loop.now]
        due = min([*later, *([] if until is None else [until])], default=None)
        if due is None:
            raise NothingLeft
        late = due - self.loop.now
        if late > 0:
            for session, worker in living.items():
                leases[session] += late
                worker.commits.renew_at += late
        return due

    def _log(self, process: Process, what: str) -> None:
        self.world.log(self.loop.now, process.name, what)

    # The end

    def _conclude(self) -> None:
        world, store = self.world, self.store
        world.steps = self.loop.steps
        world.now = datetime.fromtimestamp(self.clock.now(), UTC)
        rows = sorted(store.ledger.values(), key=lambda row: (row.schedule, row.scheduled_for))
        firings: dict[str, list[Firing]] = {name: [] for name in self.crons}
        for row in rows:
            firings[row.schedule].append(firing_of(row))
        world.ledger = {name: tuple(found) for name, found in firings.items()}
        statuses = [run.status for run in store.rows.values()]
        world.status = "succeeded" if all(status == "succeeded" for status in statuses) else "failed"
        self._rules.conclude(rows, list(store.rows.values()))


def _labels(name: str, args: Sequence[Any]) -> Iterable[str]:
    """Return the places of an operation."""
    if name == "fire":
        moves: Sequence[Move] = args[1]
        return [FIRING + move.schedule for move in moves if move.fired]
    if name == "hand_over":
        runs: Sequence[NewRun] = args[2]
        return dict.fromkeys(f"{FIRING}{run.schedule}" for run in runs)
    if name == "transact":
        batch: Batch = args[0]
        return dict.fromkeys([*(row.name for row in batch.failures), *(row.name for row in batch.tasks)])
    return (name,)
