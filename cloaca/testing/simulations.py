"""One simulated execution: the interpreter as it is, on virtual time, with several workers and what goes wrong.

The machine, the worker, the group commit and the memory store are production's. Only what surrounds them is made
here: the event loop, the clock, the executor, and a door to the store at which processes are killed and answers lost.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Sequence
from random import Random
from typing import Any, Final, TypeAlias, cast

from cloaca.algebra.queues import Queue
from cloaca.codecs import MEBIBYTE, JsonCodec
from cloaca.contract.workflows import Workflow
from cloaca.errors import ContractError, StoreUnavailable, Violation
from cloaca.ports import NewRun, PlanRow, QueueRow, Store
from cloaca.testing import effects
from cloaca.testing.backends import Backend, InMemory
from cloaca.testing.bodies import STAGE, Fakes, staged, takes_session
from cloaca.testing.crews import VERSION, Crew
from cloaca.testing.deviations import Scenario
from cloaca.testing.doors import Door, Entrance
from cloaca.testing.leases import Leases
from cloaca.testing.limits import Limits
from cloaca.testing.loops import NeverRests, NothingLeft, VirtualLoop
from cloaca.testing.observing import Invariant, Observer
from cloaca.testing.outside import Outside
from cloaca.testing.places import require_places
from cloaca.testing.processes import Process
from cloaca.testing.scenes import Scene, SimulatedClock, quiet
from cloaca.testing.stages import Performance
from cloaca.testing.worlds import World

AnyWorkflow: TypeAlias = Workflow[Any, Any, Any, Any]
AGAIN_S: Final = 1.0  # after which the client submits again


class Simulation:
    """One execution, run once: of a workflow that was ``staged``. ``world`` is what it comes to."""

    def __init__(
        self,
        workflow: AnyWorkflow,
        input: object,
        scenario: Scenario,
        *,
        invariants: Sequence[Invariant] = (),
        queues: Sequence[Queue] = (),
        backend: Backend | None = None,
    ) -> None:
        self._queues = [QueueRow(each.name, each.concurrency, each.starts, each.window_s) for each in queues]
        chance = None if scenario.seed is None else Random(f"{scenario.seed} cloaca")
        self.world = World(input, scenario)
        self.codec = JsonCodec(16 * MEBIBYTE)
        self.payload = _payload(workflow, input, self.codec)
        loop = VirtualLoop(chance, self._skip)
        self.scene = Scene(
            workflow, scenario, self.world, loop, SimulatedClock(loop), backend or InMemory(), self.codec, chance
        )
        leases = Leases(self.scene)
        self.observer = Observer(self.scene, leases, invariants)
        self.entrance = Entrance(self.scene, leases, self.observer)
        self.crew = Crew(self.scene, leases, self._door, self._submit)
        self.entrance.crew = self.crew
        self.entrance.outside = self.outside = Outside(self.scene)
        self.outside.open(self._door(self.outside.process))
        self.performance = Performance(self.scene, self.crew, self.observer, Limits(self.scene, leases, queues))
        self._acknowledged = False

    def run(self) -> World:
        """Run it until nobody has anything to do any more. Raises what an invariant raises."""
        backend = self.scene.backend
        try:
            if takes_session(self.scene.workflow):
                backend.make_tables()
            if self._queues:
                backend.now(backend.store.declare(self._queues))
            contextvars.copy_context().run(self._run)
            self.observer.conclude(acknowledged=self._acknowledged)
            if takes_session(self.scene.workflow):
                self.world.tables = backend.tables()
        finally:
            backend.close()
        return self.world

    def _run(self) -> None:
        effects.WITNESS.set(self.performance)
        STAGE.set(self.performance)
        loop = self.scene.loop
        with quiet():
            try:
                loop.run_until_complete(self._main())
            except NothingLeft:
                pass
            except NeverRests:
                self.world.violations.append("ends: the workers never come to rest")
            finally:
                self.scene.over = True
                with loop.entered():
                    self.crew.bury()
                loop.close()

    async def _main(self) -> None:
        scenario, loop = self.scene.scenario, self.scene.loop
        workers = max(scenario.workers, 2 if scenario.of_kinds({"zombie"}) else 1)
        loop.patience = 1 + workers
        self.crew.begin(workers)
        await loop.create_future()  # until nobody has anything to do any more

    def _skip(self, until: float | None) -> float:
        return self.crew.skip(until)

    def _door(self, process: Process) -> Store:
        return cast("Store", Door(self.entrance, process))

    # The client

    def _submit(self, process: Process) -> None:
        self.scene.loop.create_task(self._submitting(self._door(process)))

    async def _submitting(self, store: Store) -> None:
        name, plan = self.scene.workflow.name, self.scene.workflow.plan
        row = PlanRow(plan.digest, name, VERSION, plan.spec)
        what = (self.scene.run_id, name, VERSION, plan.digest, self.payload, VERSION)
        run = NewRun(*what, None, self.scene.clock.now(), epilogue=plan.has_epilogue)
        while not self._acknowledged:
            try:
                await store.submit(row, run)
                self._acknowledged = True
            except StoreUnavailable:
                await asyncio.sleep(AGAIN_S)


def _payload(workflow: AnyWorkflow, input: object, codec: JsonCodec) -> str | None:
    model = workflow.input
    if (model is None) != (input is None) or (model is not None and not isinstance(input, model)):
        wanted = model.__name__ if model else "no input"
        text = f'Workflow "{workflow.name}" takes {wanted}, but was given {type(input).__name__}: {input!r:.80}'
        raise ContractError([Violation("workflow-input", workflow.name, "", text)])
    return None if model is None else codec.encode(model, input)


def simulate(
    workflow: AnyWorkflow,
    input: Any = None,
    scenario: Scenario | None = None,
    *,
    fakes: Fakes | None = None,
    invariants: Sequence[Invariant] = (),
    queues: Sequence[Queue] = (),
) -> World:
    """Run a workflow once in a simulated world, and return what it has come to.

    Args:
        workflow: as it is; its tasks' bodies really run, unless ``fakes`` has others for them.
        input: what the run is started with.
        scenario: what goes wrong, and how many workers there are; by default nothing, and one.
        fakes: by task, or by name, a plain function in its place. It has the task's signature, ``ctx`` optional.
        invariants: called with the world after every commit; they say what is wrong by raising.
        queues: the limits of its tasks' queues, which have none otherwise.

    Raises:
        BrokenPromise: the execution breaks what the engine promises, whatever goes wrong.
        ValueError: something is to go wrong at a task that the workflow does not have, or a fake is for one.

    >>> from cloaca import Retry, task
    >>> from cloaca.testing import fail
    >>> @task(retry=Retry(attempts=3, delay=60))
    ... def charge() -> None: ...
    >>> world = simulate(Workflow("bills", charge), scenario=Scenario(fail(charge, times=2)))
    >>> world.status, world.attempts(charge)
    ('succeeded', 3)
    """
    require_places(workflow, scenario or Scenario())
    ready = staged(workflow, fakes or {})
    simulation = Simulation(ready, input, scenario or Scenario(), invariants=invariants, queues=queues)
    world = simulation.run()
    if world.violations:
        raise BrokenPromise(world)
    return world


class Simulator:
    """``simulate``, with a memory: ``worlds`` are what its calls have come to, broken promises too."""

    def __init__(self) -> None:
        self.worlds: list[World] = []

    def __call__(
        self,
        workflow: AnyWorkflow,
        input: Any = None,
        scenario: Scenario | None = None,
        *,
        fakes: Fakes | None = None,
        invariants: Sequence[Invariant] = (),
        queues: Sequence[Queue] = (),
    ) -> World:
        """Simulate."""
        try:
            world = simulate(workflow, input, scenario, fakes=fakes, invariants=invariants, queues=queues)
        except BrokenPromise as broken:
            self.worlds.append(broken.world)
            raise
        self.worlds.append(world)
        return world


class BrokenPromise(AssertionError):
    """A simulated execution broke a promise of the engine. ``world`` has its trace."""

    def __init__(self, world: World, first: str | None = None) -> None:
        super().__init__(f"{first or world.violations[0]}\n{world.scenario}\n\n{world.trace}")
        self.world = world
