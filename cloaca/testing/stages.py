"""The stage of a simulation, on which bodies run: what becomes of each attempt, and what goes wrong meanwhile.

It knows bodies and their effects; what they are a part of, it leaves to the worker.
"""

from __future__ import annotations

import contextvars
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, cast

from cloaca.algebra.context import TaskContext
from cloaca.algebra.tasks import Task
from cloaca.testing import effects
from cloaca.testing.bodies import Course
from cloaca.testing.crews import Crew
from cloaca.testing.limits import Limits
from cloaca.testing.observing import Observer
from cloaca.testing.processes import PROCESS, Process
from cloaca.testing.scenes import LEASE_S, Scene
from cloaca.testing.threads import on_a_thread

HANG_S: Final = 60.0  # of a body without a timeout
DURATIONS: Final = (0.0, 0.0, 0.001, 0.1, 2.0)  # of bodies, by chance, in seconds
AnyTask = Task[Any, Any, Any, ..., Any]


class SimulatedFault(Exception):
    """What a body raises that is to fail. Where its retry policy names exceptions, it is also one of those.

    >>> from cloaca import Workflow, task
    >>> from cloaca.testing import Scenario, exhaust, simulate
    >>> @task
    ... def pay() -> None: ...
    >>> world = simulate(Workflow("bills", pay), scenario=Scenario(exhaust(pay)))
    >>> world.failures[0].exception_type == SimulatedFault.__name__
    True
    """


class ProcessKilled(BaseException):
    """The process of a body is killed: nothing that comes after in it ever happens."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A body that runs: in which process, under which session."""

    process: Process
    session: int
    task: str
    is_async: bool  # what runs: a fake on a thread may stand for an asynchronous body
    queue: str | None

    @property
    def place(self) -> tuple[Process, int, str]:
        return (self.process, self.session, self.task)


class Performance:
    """The bodies of one simulation. It is their stage, and sees their effects."""

    def __init__(self, scene: Scene, crew: Crew, observer: Observer, limits: Limits) -> None:
        self._scene, self._crew, self._observer, self._limits = scene, crew, observer, limits
        self._remembered: dict[effects.World, object] = {}
        self._attempt: contextvars.ContextVar[Attempt] = contextvars.ContextVar("cloaca_simulated_attempt")
        self._running: Counter[tuple[Process, int, str]] = Counter()
        self._slow = bool(scene.scenario.of_kinds({"leave", "lose_lease"}))  # so that something can happen meanwhile

    def begins(self, task: AnyTask, context: TaskContext) -> Course:
        """A body begins; answer what becomes of it."""
        scene, process, name = self._scene, PROCESS.get(), context.task
        if not process.alive:
            raise ProcessKilled
        nth = scene.world.begun[name]
        scene.world.begun[name] += 1
        session, queue = self._crew.workers[process].session, task.options.queue
        attempt = Attempt(process, session, name, not on_a_thread(), queue)
        self._attempt.set(attempt)
        self._observer.begins(process, name, context.attempt)
        self._limits.begins(attempt.queue, attempt.session)
        self._running[attempt.place] += 1
        scene.world.at_work[name] += 1
        if self._running[attempt.place] > 1:
            scene.world.violations.append(f'one-attempt: "{name}" began while an earlier attempt of it still ran')
        for jump in scene.taken("clock_jump", name, nth):
            scene.log(process, f"*** every clock jumps by {jump.seconds:g} s")
            scene.clock.jump(jump.seconds)
        if scene.taken("lose_lease", name, nth):
            self._crew.take_for_dead(process)
        for leave in scene.taken("leave", name, nth):
            scene.loop.create_task(self._crew.leave(process, leave.seconds))
        before = scene.chance.choice(DURATIONS) if scene.chance else 0.0
        return self._course(task, context, max(before, 0.01) if self._slow else before)

    def _course(self, task: AnyTask, context: TaskContext, before_s: float) -> Course:
        for each in self._scene.scenario.deviations:
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
        """A body has returned."""
        process = PROCESS.get()
        nth = self._scene.world.begun[context.task] - 1
        if process.alive and self._scene.taken("zombie", context.task, nth):
            self._crew.freeze(process, LEASE_S * 2)

    def left(self, context: TaskContext) -> None:
        """A body is over, however it ended."""
        attempt = self._attempt.get()
        self._running[attempt.place] -= 1
        self._scene.world.at_work[attempt.task] -= 1
        self._limits.ends(attempt.queue, attempt.session)

    def effect(self, world: effects.World) -> None:
        """An effect is about to happen: here a process may be killed between two effects of one body."""
        self._remembered.setdefault(world, world.remembered())
        scene, process = self._scene, PROCESS.get(None)
        if scene.over or (process is not None and not process.alive):
            raise ProcessKilled
        attempt = self._attempt.get(None)
        if process is None or attempt is None:
            return
        name = attempt.task
        if attempt.is_async and attempt.session != self._crew.workers[process].session:
            scene.world.violations.append(f'stopped: "{name}" goes on, though its worker knows that the lease is lost')
        nth = scene.world.effects[name]
        scene.world.effects[name] += 1
        for crash in scene.taken("crash_in_body", name, nth):
            self._crew.kill(process, f"inside of {name}", crash.seconds)
            raise ProcessKilled

    def forget_effects(self) -> None:
        """Undo every effect on ledgers."""
        for world, remembered in self._remembered.items():
            world.restore(remembered)


def _fault(task: AnyTask) -> BaseException:
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
