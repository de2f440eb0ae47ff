"""What every simulated execution must amount to, whatever went wrong: named rules, without a line of the user's.

Those about single commits are checked as they happen, by ``simulations``; these are about the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cloaca.contract.plans import Plan
from cloaca.errors import IncompatibleRun
from cloaca.interpreter.histories import restored
from cloaca.machine.states import RunState
from cloaca.machine.statuses import FINAL_RUN, TaskStatus
from cloaca.ports import History
from cloaca.testing.worlds import World

Rule = Callable[[Plan, History, World, RunState], str | None]


def ends(plan: Plan, history: History, world: World, state: RunState) -> str | None:
    """The run ends."""
    if history.run.status in FINAL_RUN:
        return None
    deaf = [node for node in plan.nodes if node.signal is not None and node.index in state.waits]
    if deaf:
        return f'the run never ends: "{deaf[0].task}" waits for {deaf[0].signal}, which nobody sends: see send()'
    if hung := [name for name, count in world.at_work.items() if count > 0 and not world.scenario.deviations]:
        return f'the run never ends: the body of "{hung[0]}" hangs, and has no timeout'
    return f"the run never ends: it is {history.run.status}, and nobody has anything to do any more"


def in_order(plan: Plan, history: History, world: World, state: RunState) -> str | None:
    """No task before its predecessors: each is committed after all of them, or they are skipped."""
    place = {name: index for index, name in enumerate(world.sequence)}
    for node in plan.nodes:
        for pred in node.preds if node.name in place else ():
            name = plan.nodes[pred].name
            if place.get(name, len(place)) > place[node.name] and state.tasks[pred] is not TaskStatus.SKIPPED:
                return f'"{node.name}" was committed before its predecessor "{name}"'
    return None


def ends_complete(plan: Plan, history: History, world: World, state: RunState) -> str | None:
    """A run that has succeeded has nothing left to do, one that has failed has a task that failed."""
    left = [plan.nodes[node].task for node in (*state.ready, *state.retry_at)]
    if history.run.status == "succeeded" and (left or state.unfinished):
        return f"the run has succeeded, but {', '.join(left) or 'some tasks'} never ran"
    if history.run.status == "succeeded" and state.failed:
        return f'the run has succeeded, but "{plan.nodes[next(iter(state.failed))].task}" has failed'
    if history.run.status == "failed" and not state.failed and history.run.reason is None:
        return "the run has failed, but none of its tasks has"
    return None


def attempts_count(plan: Plan, history: History, world: World, state: RunState) -> str | None:
    """Attempts are counted from 1, without a gap, and no more of them fail than the retry policy allows."""
    failed: dict[str, list[int]] = {}
    for row in history.failures:
        failed.setdefault(row.name, []).append(row.attempt)
    for name, attempts in failed.items():
        node = plan.nodes[plan.by_name[name]] if name in plan.by_name else None
        if attempts != list(range(1, len(attempts) + 1)):
            return f'the failed attempts of "{name}" are numbered {attempts}'
        if node is not None and len(attempts) > node.retry.attempts:
            return f'"{name}" failed {len(attempts)} times, but its retry policy allows {node.retry.attempts} attempts'
    return None


def retry_policy(plan: Plan, history: History, world: World, state: RunState) -> str | None:
    """The delay before each retry is what the policy says, up to its jitter."""
    for row in history.failures:
        node = plan.nodes[plan.by_name[row.name]] if row.name in plan.by_name else None
        if node is None or row.retry_at is None:
            continue
        least, most = (node.retry.delay_s(row.attempt, chance) for chance in (0.0, 1.0))
        if not least - 0.001 <= row.retry_at - row.at <= most + 0.001:
            return f'retry {row.attempt} of "{row.name}" is due after {row.retry_at - row.at:g} s, not {least:g} s'
    return None


def signal_lost(plan: Plan, history: History, world: World, state: RunState) -> str | None:
    """No wait times out for which a signal was there in time."""
    rows = {row.name: row for row in history.failures if row.exception_type == "WaitTimeout"}
    for node in plan.nodes if rows and not world.scenario.of_kinds({"clock_jump"}) else ():
        limit = node.wait.seconds if node.wait is not None and node.name in rows else None
        for signal in history.signals if limit is not None else ():
            in_time = signal.sent_at < rows[node.name].started_at + (limit or 0.0)
            if signal.name == node.signal and signal.taken_by is None and in_time:
                return f'"{node.task}" timed out, though {signal.payload} was sent in time'
    return None


def signal_once(plan: Plan, history: History, world: World, state: RunState) -> str | None:
    """A wait that is over by a signal has taken one, of its own kind, and what it wrote is what that one says."""
    written = {row.name: row.output for row in history.tasks if row.status == "succeeded"}
    for node in plan.nodes:
        if node.signal is None or node.name not in written:
            continue
        taken = [(signal.name, signal.payload) for signal in history.signals if signal.taken_by == node.name]
        if taken != [(node.signal, written[node.name])]:
            return f'"{node.task}" has written {written[node.name]}, but the signals it has taken are {taken}'
    strange = [s for s in history.signals if s.taken_by is not None and s.taken_by not in written]
    return f'{strange[0].payload} was taken by "{strange[0].taken_by}", which has not succeeded' if strange else None


RULES: Mapping[str, Rule] = {
    "ends": ends,
    "in-order": in_order,
    "ends-complete": ends_complete,
    "attempts-count": attempts_count,
    "retry-policy": retry_policy,
    "signal-lost": signal_lost,
    "signal-once": signal_once,
}


def broken(plan: Plan, history: History, world: World) -> str | None:
    """Return the first rule that an execution breaks, and how; None if it breaks none."""
    try:
        state = restored(plan, history)
    except IncompatibleRun as error:
        return f"in-order: {error}"
    found = ((name, rule(plan, history, world, state)) for name, rule in RULES.items())
    return next((f"{name}: {problem}" for name, problem in found if problem), None)


def differs(world: World, undisturbed: World) -> str | None:
    """Return how a world differs from the one in which nothing disturbed the engine; None if it does not.

    A worker that was silent may rightly have let an attempt time out, and which of several waits a signal finds, or
    whether it comes in time, is left to chance: then the two are not compared.
    """
    if world.signals != undisturbed.signals:
        return None
    expected = {(failure.task, failure.attempt) for failure in undisturbed.failures}
    late = [f for f in world.failures if f.exception_type == "TimeoutError" and (f.task, f.attempt) not in expected]
    if late:
        return None
    for what in ("status", "statuses", "context"):
        ours, theirs = getattr(world, what), getattr(undisturbed, what)
        if ours != theirs:
            return f"{what} differs from the undisturbed run's: {_difference(ours, theirs)}"
    return None


def _difference(ours: object, theirs: object) -> str:
    if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping):
        return f"{ours!r}, not {theirs!r}"
    keys = [key for key in sorted({*ours, *theirs}, key=str) if ours.get(key) != theirs.get(key)]
    return ", ".join(f"{key} is {ours.get(key)!r}, not {theirs.get(key)!r}" for key in keys)
