"""Deviations: what goes wrong in one simulated execution, as small values with names that a person can read.

A deviation says where by the name of a task, and which time by an ordinal, so that it stays the same when the input or
the workflow around it changes. Lengths of time are seconds; a ``timedelta`` is as good. Nothing here knows how a
deviation comes about.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from math import isfinite
from typing import Any, Final, Literal, TypeAlias, get_args

from pydantic import BaseModel

from cloaca.algebra.tasks import Task
from cloaca.codecs import MEBIBYTE, JsonCodec

Kind = Literal[
    "fail", "exhaust", "time_out", "crash_before_commit", "crash_after_commit", "crash_in_body", "zombie", "lose_lease",
    "store_error", "lost_answer", "clock_jump", "leave", "send", "pause",
]  # fmt: skip
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
FAILURES: Final = frozenset({"fail", "exhaust", "time_out"})  # of bodies: they belong to the world, not to the engine
SIGNALS: Final = frozenset({"send"})  # and so does what comes from outside
SUBMIT: Final = "submit"  # beside the names of tasks: where a run is stored
CLAIM: Final = "claim"  # and where a worker takes it
ANY: Final = "any task"  # whichever task it is: only the number of the commit says where
TaskOrName: TypeAlias = Task[Any, Any, Any, ..., Any] | str

_WORDS: Final[dict[Kind, str]] = {
    "fail": "the first {times} attempts of {at} fail",
    "exhaust": "every attempt of {at} fails",
    "time_out": "the first {times} attempts of {at} hang",
    "crash_before_commit": "crash before commit {nth} of {at}, back after {seconds:g} s",
    "crash_after_commit": "crash after commit {nth} of {at}, back after {seconds:g} s",
    "crash_in_body": "crash before effect {nth} of {at}, back after {seconds:g} s",
    "zombie": "the worker of {at} is silent past its lease, and reports later ({nth} time)",
    "lose_lease": "the worker of {at} is taken for dead while the body runs ({nth} time)",
    "store_error": "the store can't be written at commit {nth} of {at}",
    "lost_answer": "commit {nth} of {at} is written, but the answer is lost",
    "clock_jump": "the clock jumps by {seconds:g} s when {at} begins ({nth} time)",
    "pause": "the schedule of {at} is paused for {seconds:g} s ({nth} time)",
    "send": "{model} {payload} is sent {seconds:g} s after commit {nth} of {at}",
    "leave": "the worker of {at} leaves in order while the body runs ({nth} time)",
}
_ORDINALS: Final = {1: "1st", 2: "2nd", 3: "3rd"}


@dataclass(frozen=True, slots=True)
class Deviation:
    """One thing that goes wrong, or comes from outside.

    ``at`` is a task's name, ``nth`` counts from 0, ``seconds`` is virtual time; ``model`` and ``payload`` are a
    signal's class, those that it is derived from after it, and its JSON.

    >>> from cloaca.testing import fail
    >>> fail("charge", times=2).times
    2
    """

    kind: Kind
    at: str
    times: int = 1
    nth: int = 0
    seconds: float = 1.0
    model: str = ""
    payload: str = ""

    def __str__(self) -> str:
        return _WORDS[self.kind].format(
            at=self.at,
            times=self.times,
            nth=_ORDINALS.get(self.nth + 1, f"{self.nth + 1}th"),
            seconds=self.seconds,
            model=self.model.split("/")[0],
            payload=self.payload,
        )


@dataclass(frozen=True, init=False)
class Scenario:
    """All that is not determined by workflow and input: what goes wrong, how many workers there are, who goes first.

    Args:
        deviations: what goes wrong.
        workers: how many workers share the store, each a process of its own.
        seed: chooses which process goes next and how long bodies take; None takes turns, and no body takes time.

    >>> from cloaca.testing import crash_before_commit
    >>> scenario = Scenario(crash_before_commit("charge"), workers=2, seed=7)
    >>> scenario.workers, len(scenario.undisturbed.deviations)
    (2, 0)
    """

    deviations: tuple[Deviation, ...]
    workers: int = field(default=1)
    seed: int | None = field(default=None)

    def __init__(self, *deviations: Deviation, workers: int = 1, seed: int | None = None) -> None:
        if unknown := [each for each in deviations if not isinstance(each, Deviation)]:
            raise TypeError(f"Scenario({unknown[0]!r}): deviations are made by crash_before_commit, fail, zombie, ...")
        if not isinstance(workers, int) or workers < 1:
            raise ValueError(f"Scenario(workers={workers!r}): at least 1")
        object.__setattr__(self, "deviations", tuple(deviations))
        object.__setattr__(self, "workers", workers)
        object.__setattr__(self, "seed", seed)

    def of_kinds(self, kinds: Iterable[str]) -> tuple[Deviation, ...]:
        """Return the deviations of some kinds."""
        wanted = frozenset(kinds)
        return tuple(each for each in self.deviations if each.kind in wanted)

    @property
    def undisturbed(self) -> Scenario:
        """The same world with an engine that nothing disturbs: bodies fail and signals come, nothing else happens."""
        return Scenario(*self.of_kinds(FAILURES | SIGNALS))

    def without(self, deviation: Deviation) -> Scenario:
        """Return this scenario without one of its deviations."""
        rest = list(self.deviations)
        rest.remove(deviation)
        return Scenario(*rest, workers=self.workers, seed=self.seed)

    def and_(self, more: Iterable[Deviation]) -> Scenario:
        """Return this scenario with more in it."""
        return Scenario(*more, *self.deviations, workers=self.workers, seed=self.seed)

    def with_(self, *, workers: int | None = None, seed: int | None = None) -> Scenario:
        """Return this scenario with another number of workers and this seed."""
        return Scenario(*self.deviations, workers=workers or self.workers, seed=seed)

    def __str__(self) -> str:
        lines = [f"{self.workers} worker{'s' if self.workers > 1 else ''}, {self._order}"]
        return "\n".join([*lines, *(str(each) for each in self.deviations)])

    @property
    def _order(self) -> str:
        return "in turns" if self.seed is None else f"in an order of chance (seed {self.seed})"


def name_of(task: object) -> str:
    """Return the name of a task that is given as itself or by name."""
    name = task.name if isinstance(task, Task) else task
    if not isinstance(name, str) or not name:
        raise TypeError(f"{task!r} is no task: give the task itself, or its name in the graph")
    return name


def _made(kind: Kind, at: object, nth: int = 0, seconds: float | timedelta = 1.0, times: int = 1) -> Deviation:
    if not isinstance(nth, int) or nth < 0:
        raise ValueError(f"{kind}(nth={nth!r}): counts from 0")
    if not isinstance(times, int) or times < 1:
        raise ValueError(f"{kind}(times={times!r}): at least 1")
    length = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    if isinstance(length, bool) or not isinstance(length, int | float):
        raise TypeError(f"{kind}: {seconds!r} is no length of time: give seconds, or a timedelta")
    if not isfinite(length) or (length < 0 and kind != "clock_jump"):
        raise ValueError(f"{kind}: {seconds!r} is no length of time in seconds")
    return Deviation(kind, name_of(at), times, nth, float(length))


def fail(task: TaskOrName, times: int = 1) -> Deviation:
    """The first ``times`` attempts of a task raise, with an exception that its retry policy retries.

    >>> from cloaca import Workflow, task
    >>> from cloaca.testing import Scenario, fail, simulate
    >>> @task
    ... def pay() -> None: ...
    >>> world = simulate(Workflow("bills", pay), scenario=Scenario(fail(pay)))
    >>> world.status, world.attempts(pay)
    ('failed', 1)
    """
    return _made("fail", task, times=times)


def exhaust(task: TaskOrName) -> Deviation:
    """Every attempt of a task raises.

    >>> from cloaca import Workflow, task
    >>> from cloaca.testing import Scenario, exhaust, simulate
    >>> @task
    ... def pay() -> None: ...
    >>> world = simulate(Workflow("bills", pay), scenario=Scenario(exhaust(pay)))
    >>> world.status, world.failures[0].exception_type
    ('failed', 'SimulatedFault')
    """
    return _made("exhaust", task)


def time_out(task: TaskOrName, times: int = 1) -> Deviation:
    """The first ``times`` attempts of a task hang: past its timeout if it has one, else for a minute.

    >>> from cloaca import Workflow, task
    >>> from cloaca.testing import Scenario, simulate, time_out
    >>> @task
    ... def pay() -> None: ...
    >>> world = simulate(Workflow("bills", pay), scenario=Scenario(time_out(pay)))
    >>> world.status
    'succeeded'
    """
    return _made("time_out", task, times=times)


def crash_before_commit(task: TaskOrName, nth: int = 0, *, downtime: float | timedelta = 1.0) -> Deviation:
    """The worker is killed right before it commits what an attempt of a task came to, and is back ``downtime`` later.

    ``"submit"`` instead of a task is where the run is stored: then the client dies, and submits again under its key.
    ``"claim"`` is where a worker takes it.

    >>> from cloaca import Workflow, task
    >>> from cloaca.testing import Scenario, crash_before_commit, simulate
    >>> @task
    ... def pay() -> None: ...
    >>> world = simulate(Workflow("bills", pay), scenario=Scenario(crash_before_commit(pay)))
    >>> world.status, world.attempts(pay), world.commits(pay)
    ('succeeded', 2, 1)
    """
    return _made("crash_before_commit", task, nth, downtime)


def crash_after_commit(task: TaskOrName, nth: int = 0, *, downtime: float | timedelta = 1.0) -> Deviation:
    """The worker is killed right after that commit, before it knows.

    >>> from cloaca import Workflow, task
    >>> from cloaca.testing import Scenario, crash_after_commit, simulate
    >>> @task
    ... def pay() -> None: ...
    >>> world = simulate(Workflow("bills", pay), scenario=Scenario(crash_after_commit(pay)))
    >>> world.status, world.attempts(pay), world.commits(pay)
    ('succeeded', 1, 1)
    """
    return _made("crash_after_commit", task, nth, downtime)


def crash_in_body(task: TaskOrName, nth: int = 0, *, downtime: float | timedelta = 1.0) -> Deviation:
    """The worker is killed inside of a body, right before its ``nth`` effect (``Ledger.post``) over all attempts.

    >>> from cloaca import TaskContext, Workflow, task
    >>> from cloaca.testing import Ledger, Scenario, crash_in_body, simulate
    >>> ledger = Ledger()
    >>> @task
    ... def pay(*, ctx: TaskContext) -> None:
    ...     ledger.post("card", 5, key=ctx.idempotency_key)
    ...     ledger.post("bonus", 1, key=f"{ctx.idempotency_key} bonus")
    >>> world = simulate(Workflow("bills", pay), scenario=Scenario(crash_in_body(pay, 1)))
    >>> world.attempts(pay), ledger.count("card"), ledger.count("bonus")
    (2, 1, 1)
    """
    return _made("crash_in_body", task, nth, downtime)


def zombie(task: TaskOrName, nth: int = 0) -> Deviation:
    """The worker says nothing from a body's end until its lease is over and another has the run; then it reports.

    >>> from cloaca import Workflow, task
    >>> from cloaca.testing import Scenario, simulate, zombie
    >>> @task
    ... def pay() -> None: ...
    >>> world = simulate(Workflow("bills", pay), scenario=Scenario(zombie(pay), workers=2))
    >>> world.status, world.attempts(pay), world.commits(pay)
    ('succeeded', 2, 1)
    """
    return _made("zombie", task, nth)


def lose_lease(task: TaskOrName, nth: int = 0) -> Deviation:
    """The worker is taken for dead while a body runs, though it goes on.

    >>> from cloaca import Workflow, task
    >>> from cloaca.testing import Scenario, lose_lease, simulate
    >>> @task
    ... def pay() -> None: ...
    >>> world = simulate(Workflow("bills", pay), scenario=Scenario(lose_lease(pay), workers=2))
    >>> world.status, world.attempts(pay), world.commits(pay)
    ('succeeded', 2, 1)
    """
    return _made("lose_lease", task, nth)


def leave(task: TaskOrName, nth: int = 0, *, downtime: float | timedelta = 1.0) -> Deviation:
    """The worker leaves in order while a body runs, as for SIGTERM, and another starts ``downtime`` later.

    >>> from cloaca import Workflow, task
    >>> from cloaca.testing import Scenario, leave, simulate
    >>> @task
    ... def pay() -> None: ...
    >>> world = simulate(Workflow("bills", pay), scenario=Scenario(leave(pay)))
    >>> world.status, world.attempts(pay), world.commits(pay)
    ('succeeded', 1, 1)
    """
    return _made("leave", task, nth, downtime)


def store_error(at: TaskOrName | int, nth: int = 0, *, lost: bool = False) -> Deviation:
    """The commit of what an attempt came to fails; with ``lost``, it is written and only the answer is lost.

    A number instead of a task counts these commits from 1, whichever task they are of: ``store_error(at=3)`` is the
    third. In ``simulate_schedules`` it counts the commits of firings too.

    >>> from cloaca import Workflow, task
    >>> from cloaca.testing import Scenario, simulate, store_error
    >>> @task
    ... def pay() -> None: ...
    >>> world = simulate(Workflow("bills", pay), scenario=Scenario(store_error(pay, lost=True)))
    >>> world.status, world.attempts(pay), world.commits(pay)
    ('succeeded', 1, 1)
    >>> print(store_error(at=3))
    the store can't be written at commit 3rd of any task
    """
    kind: Kind = "lost_answer" if lost else "store_error"
    if isinstance(at, bool) or not isinstance(at, int):
        return _made(kind, at, nth)
    if at < 1 or nth:
        raise ValueError(f"store_error(at={at!r}, nth={nth!r}): a number counts commits from 1, and takes no nth")
    return _made(kind, ANY, at - 1)


def clock_jump(seconds: float | timedelta, at: TaskOrName = CLAIM, nth: int = 0) -> Deviation:
    """Every clock jumps, forward or back, when an attempt of a task begins; unless told, when a worker takes the run.

    >>> from cloaca import Workflow, task
    >>> from cloaca.testing import Scenario, clock_jump, simulate
    >>> @task
    ... def pay() -> None: ...
    >>> world = simulate(Workflow("bills", pay), scenario=Scenario(clock_jump(timedelta(hours=1), pay)))
    >>> world.status, world.attempts(pay), world.commits(pay)
    ('succeeded', 1, 1)
    >>> world = simulate(Workflow("bills", pay), scenario=Scenario(clock_jump(-3600)))
    >>> world.status, world.attempts(pay), world.commits(pay)
    ('succeeded', 1, 1)
    """
    return _made("clock_jump", at, nth, seconds)


def pause(firing: str, nth: int = 0, *, seconds: float | timedelta = 86_400.0) -> Deviation:
    """Somebody pauses a schedule at the ``nth`` commit of ``firing:`` and its name, and resumes it later.

    >>> from datetime import datetime
    >>> from cloaca import Workflow, task
    >>> from cloaca.testing import Cron, Scenario, pause, simulate_schedules
    >>> @task
    ... def report() -> None: ...
    >>> daily = Cron(Workflow("reports", report), "0 9 * * *")
    >>> weekend = Scenario(pause("firing:reports", 2, seconds=2 * 86_400))
    >>> world = simulate_schedules([daily], start=datetime(2030, 1, 1), until=datetime(2030, 1, 8), scenario=weekend)
    >>> len(world.firings("reports"))
    5
    """
    return _made("pause", firing, nth, seconds)


def send(signal: BaseModel, at: TaskOrName = SUBMIT, nth: int = 0, *, after: float | timedelta = 0.0) -> Deviation:
    """A signal comes from outside, ``after`` seconds after a commit: the run's own, or the ``nth`` of a task.

    A ``wait_for`` commits twice: first that it waits, then what it came to. So a signal comes before the wait as
    ``send(signal)``, during it as ``send(signal, "wait_for:Approval", after=5)``. The outside sends without fail; what
    nobody waits for any more is refused, as the trace says.

    >>> from cloaca import Workflow, wait_for
    >>> from cloaca.testing import Scenario, send, simulate
    >>> class Approval(BaseModel):
    ...     by: str
    >>> approvals = Workflow("approvals", wait_for(Approval))
    >>> simulate(approvals, scenario=Scenario(send(Approval(by="me"), "wait_for:Approval", after=5))).outcome.unwrap()
    Approval(by='me')
    """
    if not isinstance(signal, BaseModel):
        raise TypeError(f"send({signal!r:.80}): a signal is an instance of the model that is waited for")
    made = _made("send", at, nth, after)
    classes = [each.__name__ for each in type(signal).__mro__ if issubclass(each, BaseModel) and each is not BaseModel]
    return replace(made, model="/".join(classes), payload=JsonCodec(16 * MEBIBYTE).encode(type(signal), signal))


def moved(deviation: Deviation, **changes: Any) -> Deviation:
    """Return a deviation with other details."""
    return replace(deviation, **changes)
