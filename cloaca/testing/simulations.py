"""One simulated execution: the interpreter as it is, on virtual time, with several workers and what goes wrong.

The machine, the worker, the group commit and the memory store are production's. Only what surrounds them is made
here: the event loop, the clock, the executor, and a door to the store at which processes are killed and answers lost.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, Final, cast

from cloaca.algebra.context import TaskContext
from cloaca.algebra.tasks import Task
from cloaca.codecs import MEBIBYTE, JsonCodec
from cloaca.contract.workflows import Workflow
from cloaca.errors import ContractError, StoreUnavailable, Violation
from cloaca.interpreter import histories
from cloaca.interpreter.workers import Settings, Worker
from cloaca.machine.statuses import FINAL_RUN
from cloaca.ports import Batch, History, NewRun, PlanRow, Ports, RunRow, Store
from cloaca.testing import effects
from cloaca.testing.backends import Backend, InMemory
from cloaca.testing.bodies import Course, Fakes, NoProcesses, SimulatedThreads, staged
from cloaca.testing.deviations import CLAIM, SUBMIT, Deviation, Scenario
from cloaca.testing.loops import PROCESS, NeverRests, NothingLeft, Process, VirtualLoop
from cloaca.testing.rules import RULES
from cloaca.testing.worlds import START, World

AnyWorkflow = Workflow[Any, Any, Any, Any]
Invariant = Callable[[World], object]

LEASE_S: Final = 30.0
HANG_S: Final = 60.0  # of a body without a timeout
READS: Final = frozenset({"poll", "history", "run", "plan", "runs", "queues", "open", "close"})
DURATIONS: Final = (0.0, 0.0, 0.001, 0.1, 2.0)  # of bodies, by chance, in seconds


class SimulatedFault(Exception):
    """What a body raises that is to fail. Where its retry policy names exceptions, it is also one of those."""


class ProcessKilled(BaseException):
    """The process of a body is killed: nothing that comes after in it ever happens."""


@dataclass(slots=True)
class Settled:
    """The clock of all simulated processes: virtual time, and how far it was made to jump."""

    loop: VirtualLoop
    jumped_s: float = 0.0

    def now(self) -> float:
        return START.timestamp() + self.loop.now + self.jumped_s


class Door:
    """A process's way to the store. It has every method of the store, whatever the store can do."""

    def __init__(self, simulation: Simulation, process: Process) -> None:
        self._simulation, self._process = simulation, process

    def __getattr__(self, name: str) -> Any:
        return partial(self._simulation.operate, self._process, name, self._simulation.backend.call(name))

    async def watch(self, wake: Callable[[], None]) -> bool:
        self._simulation.watchers[self._process] = wake
        return True


class Simulation:
    """One execution, run once. ``world`` is what it comes to."""

    def __init__(
        self,
        workflow: AnyWorkflow,
        input: object,
        scenario: Scenario,
        *,
        fakes: Fakes | None = None,
        invariants: Sequence[Invariant] = (),
        backend: Backend | None = None,
    ) -> None:
        self.scenario, self.invariants = scenario, invariants
        self.backend = backend or InMemory()
        self.world = World(input, scenario)
        self.chance = None if scenario.seed is None else Random(f"{scenario.seed} cloaca")
        self.loop = VirtualLoop(self.chance, self._skip)
        self.clock = Settled(self.loop)
        self.workflow = staged(workflow, self, fakes or {})
        self.codec = JsonCodec(16 * MEBIBYTE)
        self.payload = _payload(workflow, input, self.codec)
        self.workers: dict[Process, Worker] = {}
        self.watchers: dict[Process, Callable[[], None]] = {}
        self.run_id = 1
        self.leases: dict[int, float] = {}  # until when each session's lasts, as far as the store was told
        self._due: dict[tuple[str, int], list[Deviation]] = {}
        for each in scenario.deviations:
            if each.kind not in ("fail", "exhaust", "time_out"):
                self._due.setdefault((each.kind, each.nth), []).append(each)
        self._acknowledged = self._over = False
        self._retry_at: dict[str, float] = {}
        self._early: list[tuple[str, str]] = []  # bodies that began, and what before them was not committed yet
        self._remembered: dict[effects.World, object] = {}
        self._body: contextvars.ContextVar[str] = contextvars.ContextVar("cloaca_simulated_body")

    def run(self) -> World:
        """Run it until nobody has anything to do any more."""
        contextvars.copy_context().run(self._run)
        self._conclude()
        self.backend.close()
        return self.world

    def _run(self) -> None:
        effects.WITNESS.set(self)
        logging_off = _Quiet()
        with logging_off:
            try:
                self.loop.run_until_complete(self._main())
            except NothingLeft:
                pass
            except NeverRests:
                self.world.violations.append("ends: the workers never come to rest")
            finally:
                self._over = True
                self.loop.close()

    async def _main(self) -> None:
        workers = max(self.scenario.workers, 2 if self.scenario.of_kinds({"zombie"}) else 1)
        self.loop.patience = 1 + workers
        for number in range(workers):
            self._start(f"w{number}")
        self.loop.in_process(Process("client"), self._submit)
        await self.loop.create_future()  # until nobody has anything to do any more

    # Processes

    def _start(self, name: str) -> None:
        process = Process(name)
        self.loop.in_process(process, lambda: self.loop.create_task(self._work(process)))

    async def _work(self, process: Process) -> None:
        store = cast("Store", Door(self, process))
        ports = Ports(store, self.clock, SimulatedThreads(), self.codec, NoProcesses())
        worker = Worker(
            ports, Settings(lease_s=LEASE_S, poll_s=1.0, retention_s=None), {self.workflow.name: self.workflow}
        )
        worker.chance = self.chance.random if self.chance else lambda: 0.5
        self.workers[process] = worker
        self.log(process.name, "starts")
        await worker.open()

    def kill(self, process: Process, why: str, downtime_s: float) -> None:
        """Kill a process as by SIGKILL; another takes its place after a while."""
        self.log(process.name, f"*** killed {why}")
        process.alive = False
        self.watchers.pop(process, None)
        again = self._submit if process.name == "client" else partial(self._start, process.name)
        self.loop.in_process(self.loop.main, self._in_its_place, process.name, again, delay=downtime_s)

    def _in_its_place(self, name: str, again: Callable[[], None]) -> None:
        if name == "client":
            self.loop.in_process(Process("client"), again)
        else:
            again()

    def _freeze(self, process: Process, seconds: float) -> None:
        self.log(process.name, f"*** silent for {seconds:g} s")
        process.frozen_until = max(process.frozen_until, self.loop.now + seconds)

    async def _leave(self, process: Process, downtime_s: float) -> None:
        self.log(process.name, "*** leaves in order")
        await self.workers[process].close()
        self.log(process.name, "has left")
        process.alive = False
        self.watchers.pop(process, None)
        self.loop.in_process(self.loop.main, self._start, process.name, delay=downtime_s)

    # The client

    def _submit(self) -> None:
        self.loop.create_task(self._submitting(PROCESS.get()))

    async def _submitting(self, process: Process) -> None:
        store, plan = Door(self, process), self.workflow.plan
        row = PlanRow(plan.digest, self.workflow.name, "simulated", plan.spec)
        run = NewRun(
            self.run_id, self.workflow.name, "simulated", plan.digest, self.payload, "simulated", None, self.clock.now()
        )
        while not self._acknowledged:
            try:
                await store.submit(row, run)
                self._acknowledged = True
            except StoreUnavailable:
                await asyncio.sleep(1.0)

    # The store, seen through the doors

    async def operate(self, process: Process, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Do one operation on the store for a process, and whatever is to go wrong there."""
        if name in READS:
            if kwargs.get("renew_until") is not None and args[0] in self.leases:
                self.leases[args[0]] = kwargs["renew_until"]
            return await call(*args, **kwargs)
        batch = args[0] if name == "transact" else None
        labels = _labels(name, batch)
        due = {each.kind: each for label in labels for each in self._reached(label)}
        if crash := due.get("crash_before_commit"):
            self.kill(process, f"before the commit of {crash.at}", crash.seconds)
            await self.loop.create_future()
        if error := due.get("store_error"):
            self.log(process.name, f"*** the store can't be written, at {error.at}")
            raise StoreUnavailable("simulated: the store can't be written")
        result = await call(*args, **kwargs)
        self._follow_leases(name, args, kwargs, result)
        if batch is not None:
            self._observe(process, batch, result.disowned)
        elif name in ("submit", "claim", "reap", "close_session"):
            self._tell(process, name, args, result)
        if batch is None or batch.released or batch.held is not None or any(run.owner is None for run in batch.runs):
            self._wake_others(process)  # a run may wait for them; what else is written is nothing to them
        if crash := due.get("crash_after_commit"):
            self.kill(process, f"after the commit of {crash.at}", crash.seconds)
            await self.loop.create_future()
        if lost := due.get("lost_answer"):
            self.log(process.name, f"*** the answer of the store is lost, at {lost.at}")
            raise StoreUnavailable("simulated: the answer is lost")
        return result

    def _reached(self, label: str) -> list[Deviation]:
        """Return what is to go wrong at a commit, and count it."""
        nth = self.world.labels[label]
        self.world.labels[label] += 1
        kinds = ("crash_before_commit", "crash_after_commit", "store_error", "lost_answer")
        return [each for kind in kinds for each in self._taken(kind, label, nth)]

    def _taken(self, kind: str, at: str, nth: int) -> list[Deviation]:
        return [each for each in self._due.get((kind, nth), ()) if each.at == at]

    def _follow_leases(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Know until when each session's lease lasts."""
        match name:
            case "open_session":
                self.leases[result] = args[2]
            case "close_session":
                self.leases.pop(args[0], None)
            case "transact" if args[0].renew_until is not None:
                self.leases[args[0].session] = args[0].renew_until
            case "reap":
                spared = kwargs.get("sparing")
                self.leases = {s: end for s, end in self.leases.items() if end >= args[0] or s == spared}

    def _observe(self, process: Process, batch: Batch, disowned: frozenset[int]) -> None:
        """Look at what a batch has written: each of it once, by a lease that lives, into a run that has not ended."""
        world, told = self.world, []
        if batch.session not in self.leases and batch.touched():
            world.violations.append(f"stale-lease: session {batch.session} is gone, but its commit was accepted")
        history = self._history() if batch.tasks else None
        known = {row.name: row for row in history.tasks} if history is not None else {}
        for row in batch.tasks:
            if row.run in disowned or row.run != self.run_id:
                continue
            stored = known.get(row.name)
            if stored is None or (stored.attempt, stored.session) != (row.attempt, row.session):
                world.violations.append(f'committed-twice: "{row.name}" is stored as {stored}, and again as {row}')
            elif row.name in world.sequence and not batch.replay:
                world.violations.append(f'committed-twice: "{row.name}" was committed already')
            if row.name not in world.sequence:
                world.sequence.append(row.name)
                world.committed[row.name] += row.status == "succeeded"
            told.append(f"{row.name} {row.status}")
        self._retry_at.update({row.name: row.retry_at for row in batch.failures if row.retry_at is not None})
        told += [f"{row.name} failed attempt {row.attempt}" for row in batch.failures if row.retry_at is not None]
        told += [f"run {end.status}" for end in batch.ends if end.run not in disowned]
        if told:
            self.log(process.name, f"commits {', '.join(told)}")
        if disowned:
            self.log(process.name, "is told that the run is another's")
        if told and self.invariants and world.broken is None:
            self._look()
            self._ask(process)

    def _ask(self, process: Process) -> None:
        """Ask the user's invariants. What one raises is for the test: the engine would take it for the store's."""
        for invariant in self.invariants:
            try:
                invariant(self.world)
            except Exception as error:  # noqa: BLE001 - whatever a user's invariant raises
                self.world.broken = error
                self.log(process.name, f"*** {getattr(invariant, '__name__', invariant)} does not hold")
                return

    def _tell(self, process: Process, name: str, args: Sequence[Any], result: Any) -> None:
        if name == "submit":
            self.log(process.name, "submits the run")
        elif name == "claim" and result:
            self.log(process.name, "claims the run")
        elif name == "reap" and result:
            self.log(process.name, "takes a worker for dead: its run is pending again")

    def _wake_others(self, process: Process) -> None:
        for other, wake in list(self.watchers.items()):
            if other is not process and other.alive:
                self.loop.in_process(other, wake)

    # Bodies: this is their stage

    def begins(self, task: Task[Any, Any, Any, ..., Any], context: TaskContext) -> Course:
        process, name = PROCESS.get(), context.task
        if not process.alive:
            raise ProcessKilled
        nth = self.world.begun[name]
        self.world.begun[name] += 1
        self._check_begin(name)
        self._body.set(name)
        self.log(process.name, f"runs {name} (attempt {context.attempt})")
        for jump in self._taken("clock_jump", name, nth):
            self.log(process.name, f"*** every clock jumps by {jump.seconds:g} s")
            self.clock.jumped_s += jump.seconds
        if self._taken("lose_lease", name, nth):
            self._take_for_dead(process)
        for leave in self._taken("leave", name, nth):
            self.loop.create_task(self._leave(process, leave.seconds))
        before = self.chance.choice(DURATIONS) if self.chance else 0.0
        if self.scenario.of_kinds({"leave", "lose_lease"}):
            before = max(before, 0.01)  # so that something can happen while the body runs
        return self._course(task, context, before)

    def _check_begin(self, name: str) -> None:
        """No body begins before what is before it is durable, nor before its retry delay is over."""
        node = next((node for node in self.workflow.plan.nodes if node.task == name and node.body is not None), None)
        if node is None:
            return
        done = set(self.world.sequence)
        early = [self.workflow.plan.nodes[pred].name for pred in node.preds]
        self._early += [(name, pred) for pred in early if pred not in done]
        due = self._retry_at.get(node.name)
        if due is not None and self.clock.now() < due - 0.001 and not self.clock.jumped_s:
            self.world.violations.append(f'retry-delay: "{name}" began {due - self.clock.now():g} s too early')

    def _course(self, task: Task[Any, Any, Any, ..., Any], context: TaskContext, before_s: float) -> Course:
        for each in self.scenario.deviations:
            if each.at != context.task or each.kind not in ("fail", "exhaust", "time_out"):
                continue
            if each.kind != "exhaust" and context.attempt > each.times:
                continue
            if each.kind == "time_out":
                limit = task.options.timeout_s
                return Course(before_s, HANG_S if limit is None else 2 * limit + 1)
            return Course(before_s, error=_fault(task))
        return Course(before_s)

    def ends(self, context: TaskContext) -> None:
        process = PROCESS.get()
        nth = self.world.begun[context.task] - 1
        if process.alive and self._taken("zombie", context.task, nth):
            self._freeze(process, LEASE_S * 2)

    def _take_for_dead(self, process: Process) -> None:
        session = self.workers[process].session
        if session in self.leases:
            self.log(process.name, "*** is taken for dead, though it lives")
            self._extend(session, self.clock.now() - 1)
            self.backend.now(self.backend.store.reap(self.clock.now()))
            self.leases.pop(session)
            for other, wake in list(self.watchers.items()):
                self.loop.in_process(other, wake)

    def _extend(self, session: int, until: float) -> None:
        self.leases[session] = until
        self.backend.now(self.backend.store.transact(Batch(session, self.clock.now(), renew_until=until)))

    def effect(self, world: effects.World) -> None:
        """An effect is about to happen: here a process may be killed between two effects of one body."""
        self._remembered.setdefault(world, world.remembered())
        process = PROCESS.get(None)
        if self._over or (process is not None and not process.alive):
            raise ProcessKilled
        if process is None:
            return
        name = self._body.get("")
        nth = self.world.effects[name]
        self.world.effects[name] += 1
        for crash in self._taken("crash_in_body", name, nth):
            self.kill(process, f"inside of {name}", crash.seconds)
            raise ProcessKilled

    def forget_effects(self) -> None:
        """Undo every effect on ledgers."""
        for world, remembered in self._remembered.items():
            world.restore(remembered)

    # Time

    def _skip(self, until: float | None) -> float:
        """Nothing but heartbeats happens until a time: say when something else does, and let the leases last so long.

        Raises NothingLeft if it never does.
        """
        living = {worker.session: worker for process, worker in self.workers.items() if self._beats(process)}
        ends = [end for session, end in self.leases.items() if session not in living]
        expiries = [end - START.timestamp() - self.clock.jumped_s + 0.001 for end in ends]
        # One that is over already, though every living worker has looked since, never will be noticed.
        later = [end for end in expiries if end > self.loop.now]
        due = min([*later, *([] if until is None else [until])], default=None)
        if due is None:
            raise NothingLeft
        late = due - self.loop.now
        if late > 0:
            for session, worker in living.items():
                if session in self.leases:
                    self._extend(session, self.leases[session] + late)
                worker.commits.renew_at += late
        return due

    def _beats(self, process: Process) -> bool:
        return process.alive and process.frozen_until <= self.loop.now

    def log(self, who: str, what: str) -> None:
        self.world.log(self.loop.now, who, what)

    # The end

    def _conclude(self) -> None:
        world = self.world
        world.steps = self.loop.steps
        history = self._history()
        if history is None:
            lost = "lost-run: the run was submitted, but it is not in the store"
            world.violations.append(lost if self._acknowledged else "no-run: the run could never be submitted")
            return
        self._look()
        for task, pred in self._early:
            if pred in world.sequence:
                world.violations.append(f'durable-first: "{task}" began before "{pred}" was committed')
        if count := len(self._runs()) - 1:
            world.violations.append(f"one-run: one submission has made {count + 1} runs")
        for name, rule in RULES.items():
            if problem := rule(self.workflow.plan, history, world):
                world.violations.append(f"{name}: {problem}")
                return  # what follows from it says nothing new

    def _runs(self) -> list[RunRow]:
        found = self.backend.store.runs(workflow=self.workflow.name, status=None, before=None, limit=10)
        return self.backend.now(found)

    def _history(self) -> History | None:
        return self.backend.now(self.backend.store.history(self.run_id))

    def _look(self) -> None:
        """Put what is stored into the world."""
        world, plan = self.world, self.workflow.plan
        history = self._history()
        assert history is not None  # something of it was committed
        world.status = history.run.status
        world.now = START + timedelta(seconds=self.loop.now)
        world.context = histories.outputs_of(plan, history).context(plan.context)
        world.failures = histories.task_failures(plan, history, self.codec)
        world.statuses = {info.name: info.status for info in histories.task_infos(plan, history)}
        if history.run.status in FINAL_RUN:
            world.outcome = histories.answer(plan, history, self.codec)


def _payload(workflow: AnyWorkflow, input: object, codec: JsonCodec) -> str | None:
    model = workflow.input
    if (model is None) != (input is None) or (model is not None and not isinstance(input, model)):
        wanted = model.__name__ if model else "no input"
        text = f'Workflow "{workflow.name}" takes {wanted}, but was given {type(input).__name__}: {input!r:.80}'
        raise ContractError([Violation("workflow-input", workflow.name, "", text)])
    return None if model is None else codec.encode(model, input)


def _labels(name: str, batch: Batch | None) -> Iterable[str]:
    """Return the places of an operation: the tasks that it commits something of, or ``submit`` or ``claim``."""
    if batch is None:
        return (name,) if name in (SUBMIT, CLAIM) else ()
    return dict.fromkeys([*(row.name for row in batch.failures), *(row.name for row in batch.tasks)])


def _fault(task: Task[Any, Any, Any, ..., Any]) -> BaseException:
    """Return an error that the retry policy of a task retries, if it names any."""
    on = task.options.retry.on
    kinds = on if isinstance(on, tuple) else (on,) if isinstance(on, type) else ()
    kind = kinds[0] if kinds and not issubclass(SimulatedFault, kinds) else None
    if kind is None:
        return SimulatedFault("simulated: the body fails")
    made = type(f"Simulated{kind.__name__}", (SimulatedFault, kind), {"__init__": Exception.__init__, "__str__": _said})
    return cast("BaseException", made("simulated: the body fails"))


def _said(error: BaseException) -> str:
    return str(error.args[0])


class _Quiet:
    """No log record of the engine while it is simulated: what goes wrong there is wanted, and is in the trace."""

    def __enter__(self) -> None:
        self._logger = logging.getLogger("cloaca")
        self._level = self._logger.level
        self._logger.setLevel(logging.CRITICAL + 1)

    def __exit__(self, *_: object) -> None:
        self._logger.setLevel(self._level)


def simulate(
    workflow: AnyWorkflow,
    input: Any = None,
    scenario: Scenario | None = None,
    *,
    fakes: Fakes | None = None,
    invariants: Sequence[Invariant] = (),
) -> World:
    """Run a workflow once in a simulated world, and return what it has come to.

    Args:
        workflow: as it is; its tasks' bodies really run, unless ``fakes`` has others for them.
        input: what the run is started with.
        scenario: what goes wrong, and how many workers there are; by default nothing, and one.
        fakes: by task, or by name, a plain function in its place. It has the task's signature, ``ctx`` optional.
        invariants: called with the world after every commit; they say what is wrong by raising.

    Raises:
        BrokenPromise: the execution breaks what the engine promises, whatever goes wrong.
        Exception: what the first invariant that does not hold has raised.
    """
    simulation = Simulation(workflow, input, scenario or Scenario(), fakes=fakes, invariants=invariants)
    world = simulation.run()
    if world.broken is not None:
        raise world.broken
    if world.violations:
        raise BrokenPromise(world)
    return world


class BrokenPromise(AssertionError):
    """A simulated execution broke a promise of the engine. ``world`` has its trace."""

    def __init__(self, world: World, first: str | None = None) -> None:
        super().__init__(f"{first or world.violations[0]}\n{world.scenario}\n\n{world.trace}")
        self.world = world
