"""What a run waits for: one thing, even where there are several, and be it inside a fan-out.

It knows rows, not what a worker has in memory: an attempt that has begun lately has no row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import inf

from cloaca.contract.plans import FanOut, Plan, PlanNode
from cloaca.errors import IncompatibleRun
from cloaca.interpreter.histories.outcomes import outputs_of
from cloaca.interpreter.histories.reports import Waiting, optional_moment
from cloaca.interpreter.histories.restoring import earlier_attempts, restored
from cloaca.interpreter.scopes import Elements, elements_in, prefix_of
from cloaca.machine.states import RunState
from cloaca.ports import History

RESTING = ("retry", "timer", "signal", "child")


def why(plan: Plan | None, history: History, *, is_driven: bool = False) -> Waiting:
    """Return the one thing that a run waits for. Cost: the rows of its fan-outs, if one is under way.

    ``is_driven`` says that the caller drives it, and finds out himself which attempts are in flight.
    """
    row = history.run
    if row.status == "blocked":
        blamed = re.search(r'"([^"]+)"', row.reason or "")
        return Waiting("blocked", blamed[1] if blamed else None, row.reason)
    if row.status == "paused":
        return Waiting("resume")
    if row.finished_at is not None:
        return Waiting("nothing")
    if row.status == "pending" or plan is None:
        return Waiting("worker")
    try:
        found = list(_Look("", all_is_said=is_driven or row.owner is None).at(plan, history))
    except IncompatibleRun:  # a worker with other code drives it, or one is about to see that it does not fit
        return Waiting("worker")
    at_work = next((waiting for waiting in found if waiting.kind not in RESTING), None)
    return at_work or min(found, key=_moment, default=Waiting("worker"))  # what may come first


def _moment(waiting: Waiting) -> float:
    return inf if waiting.until is None else waiting.until.timestamp()


class _Look:
    """A look at a run, or at an element whose rows' names begin with ``prefix``.

    ``all_is_said``: what is at work is what has rows, as in a parked run.
    """

    def __init__(self, prefix: str, *, all_is_said: bool) -> None:
        self.prefix, self.all_is_said = prefix, all_is_said

    def at(self, plan: Plan, history: History) -> Iterator[Waiting]:
        """Yield all that is waited for."""
        state = restored(plan, history)
        shown = {attempt.name for attempt in history.attempts}
        for node in plan.nodes:
            if node.name in shown and node.fan is None:
                yield Waiting("task", self.name(node))
        inside = elements_in(plan, history, earlier_attempts(history.run))
        for index in state.ready:
            node = plan.nodes[index]
            if node.fan is not None:
                yield from self.fan_out(node, node.fan, inside, plan, history)
            elif (queue := plan.queues.get(index)) is not None:
                yield Waiting("queue", self.name(node), queue)
            else:
                yield Waiting("task", self.name(node))
        yield from self.rests(plan, state, history)

    def rests(self, plan: Plan, state: RunState, history: History) -> Iterator[Waiting]:
        """Yield what is over at a time, or once something comes from outside."""
        for index, until in (*state.retry_at.items(), *state.waits.items()):
            node, at = plan.nodes[index], optional_moment(until)
            if node.kind == "wait":
                yield Waiting("signal", self.name(node), plan.channels.get(index), at)
            elif node.kind == "subflow":
                children = (str(row.id) for row in reversed(history.children) if row.parent_task == node.name)
                yield Waiting("child", self.name(node), next(children, None))
            else:
                yield Waiting("timer" if node.kind == "sleep" else "retry", self.name(node), None, at)

    def fan_out(self, node: PlanNode, fan: FanOut, inside: Elements, plan: Plan, history: History) -> Iterator[Waiting]:
        """Yield what the elements wait for; that the fan-out runs, unless they surely are all that is at work."""
        resting = done = 0
        for index, rows in inside.get(node.name, {}).items():
            found: list[Waiting] = []
            if not rows.all_succeeded(fan.plan):
                look = _Look(self.prefix + prefix_of(node.name, index), all_is_said=self.all_is_said)
                found += look.at(fan.plan, rows.history(history.run))
            yield from found
            resting += bool(found)
            done += not found
        if not resting or not (self.all_is_said or self.is_full(fan, resting, done, plan, history)):
            yield Waiting("task", self.name(node))

    def is_full(self, fan: FanOut, resting: int, done: int, plan: Plan, history: History) -> bool:
        """Whether no other element can be at work."""
        total = outputs_of(plan, history).count(fan)
        room = [limit for limit in (fan.limit, None if total is None else total - done) if limit is not None]
        return resting >= min(room, default=inf)

    def name(self, node: PlanNode) -> str:
        """Return the name by which users know a node."""
        return self.prefix + node.name if self.prefix else node.task
