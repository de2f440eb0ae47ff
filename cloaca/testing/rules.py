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


RULES: Mapping[str, Rule] = {
    "ends": ends,
    "in-order": in_order,
    "ends-complete": ends_complete,
    "attempts-count": attempts_count,
    "retry-policy": retry_policy,
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

    A worker that was silent may rightly have let an attempt time out: then the two are not compared.
    """
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
