"""The state of one run, and how events change it.

It refuses to know how an event came about: ``decide`` has judged that. ``evolve`` asserts the table of legal
transitions, and derives what follows: which tasks are ready now, which are skipped.

The state is changed in place and handed back: a run of 100,000 tasks can't be copied at each of them. Cost of an
event: the successors of the node that it is about and of those that it skips; each node's predecessors are looked at
once in a run. Adopting, ending and retrying a run look at all its nodes. ``RunState.copy`` is there for tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal, assert_never

from cloaca.contract.plans import Plan, PlanNode
from cloaca.machine.events import (
    AttemptFailed,
    AttemptStarted,
    Control,
    Event,
    PauseAsked,
    PauseWithdrawn,
    RunAdopted,
    RunCancelled,
    RunFailed,
    RunPaused,
    RunResumed,
    RunRetried,
    RunSucceeded,
    TaskFailed,
    TaskSucceeded,
)
from cloaca.machine.statuses import FINAL_RUN, FINAL_TASK, RUN_TRANSITIONS, TASK_TRANSITIONS, RunStatus, TaskStatus

NO_LEASE = 0


@dataclass(frozen=True, slots=True)
class Skip:
    """Why a task is skipped: by decision (a condition, a rule) or by failure, and because of which node."""

    by: Literal["decision", "failure"]
    because: int


class RunState:
    """Where one run stands.

    Attributes:
        status, lease: the run's status, and the lease of the worker that drives it, or was the last to (``NO_LEASE``:
            nobody yet).
        pausing: whether the run was asked to pause and still has attempts in flight; ``in_flight``: how many it has.
        tasks: each node's status.
        open: for each node, how many predecessors are not final; meaningless once the run has ended.
        attempts: attempts so far that are over, for the nodes that have any and have not succeeded since.
        earlier: how many of them were made before the run was last retried: they don't count for the retry policy.
        retry_at: when a waiting node may start again.
        verdicts: what gates decided. ``skips``: why nodes are skipped; both follow from how the predecessors ended,
            whatever the order.
        ready: the nodes that may start now, in the order in which they became ready.
        news: the nodes that became ready or were skipped since ``take_news``, in that order.
        failed: the nodes that failed for good, in the order of the events. ``unfinished``: how many are not final.
    """

    __slots__ = (
        "attempts",
        "earlier",
        "failed",
        "in_flight",
        "lease",
        "news",
        "open",
        "pausing",
        "ready",
        "retry_at",
        "skips",
        "status",
        "tasks",
        "unfinished",
        "verdicts",
    )

    def __init__(self, plan: Plan) -> None:
        self.status = RunStatus.PENDING
        self.lease = NO_LEASE
        self.pausing = False
        self.in_flight = 0
        self.tasks = [TaskStatus.PENDING] * len(plan.nodes)
        self.open = [len(node.preds) for node in plan.nodes]
        self.attempts: dict[int, int] = {}
        self.earlier: dict[int, int] = {}
        self.retry_at: dict[int, float] = {}
        self.verdicts: dict[int, bool] = {}
        self.skips: dict[int, Skip] = {}
        self.ready: dict[int, None] = {}
        self.failed: list[int] = []
        self.unfinished = len(plan.nodes)
        self.news: list[int] = []
        _settled(plan, self, [node.index for node in plan.nodes if not node.preds and _resolve(node, self)])

    @property
    def over(self) -> bool:
        """Whether the run is final."""
        return self.status in FINAL_RUN

    def attempt(self, node: int) -> int:
        """Return the number of the current or next attempt of a node, from 1."""
        return self.attempts.get(node, 0) + 1

    def recall(self, earlier: Mapping[int, int]) -> None:
        """Count the attempts that nodes had made before the run was last retried, in a state that is new."""
        self.earlier.update(earlier)
        self.attempts.update(earlier)

    def take_news(self) -> list[int]:
        """Return the nodes that became ready or were skipped since the last call."""
        news, self.news = self.news, []
        return news

    def copy(self) -> RunState:
        """Return an independent copy."""
        return deepcopy(self)


def evolve(plan: Plan, state: RunState, event: Event) -> RunState:
    """Return the state after ``event``: the same object, changed."""
    match event:
        case TaskSucceeded():
            _succeed(plan, state, event)
        case AttemptStarted():
            _move(state, event.node, TaskStatus.RUNNING)
            state.in_flight += 1
            state.ready.pop(event.node, None)
            state.retry_at.pop(event.node, None)
        case AttemptFailed(node, attempt, retry_at=retry_at):
            _move(state, node, TaskStatus.WAITING)
            state.in_flight -= 1
            state.attempts[node] = attempt
            state.retry_at[node] = retry_at
        case TaskFailed(node, attempt):
            _move(state, node, TaskStatus.FAILED)
            state.in_flight -= 1
            state.attempts[node] = attempt
            state.failed.append(node)
            _settled(plan, state, [node])
        case RunAdopted(lease):
            _adopt(state, lease)
        case RunSucceeded():
            _end(state, RunStatus.SUCCEEDED)
        case RunFailed():
            _end(state, RunStatus.FAILED)
        case RunCancelled():
            _end(state, RunStatus.CANCELLED)
        case _:
            _control(plan, state, event)
    return state


def _succeed(plan: Plan, state: RunState, event: TaskSucceeded) -> None:
    node, verdict = event.node, event.verdict
    assert (plan.nodes[node].kind == "gate") == (verdict is not None), f"node {node}: verdict {verdict}"
    _move(state, node, TaskStatus.SUCCEEDED)
    state.in_flight -= 1
    if verdict is not None:
        state.verdicts[node] = verdict
    _settled(plan, state, [node])


def _control(plan: Plan, state: RunState, event: Control) -> None:
    match event:
        case PauseAsked():
            state.pausing = True
        case PauseWithdrawn():
            state.pausing = False
        case RunPaused():
            _turn(state, RunStatus.PAUSED)
            state.pausing = False
        case RunResumed():
            _turn(state, RunStatus.PENDING)
        case RunRetried(nodes):
            _turn(state, RunStatus.PENDING)
            _start_anew(plan, state, nodes)
        case _:
            assert_never(event)


def enabled(state: RunState, at: float) -> list[int]:
    """Return the nodes of which an attempt may start now: the ready ones as they became so, then those due, by time.

    A function of the state alone: starting, recovering, retrying and going on all ask this. It is a list of its own,
    so that attempts may begin while it is gone through. Cost: the nodes that are ready or wait; who has asked once
    goes on with ``take_news``.
    """
    if state.status is not RunStatus.RUNNING or state.lease == NO_LEASE or state.pausing:
        return []
    due = sorted((retry_at, node) for node, retry_at in state.retry_at.items() if retry_at <= at)
    return [*state.ready, *(node for _, node in due)]


def onward(plan: Plan, nodes: Iterable[int]) -> list[int]:
    """Return ``nodes`` and all that come after them, in topological order. Cost: their edges."""
    found = set(nodes)
    stack = list(found)
    while stack:
        later = [node for node in plan.nodes[stack.pop()].succs if node not in found]
        found.update(later)
        stack += later
    return sorted(found)


def _turn(state: RunState, status: RunStatus) -> None:
    assert status in RUN_TRANSITIONS[state.status], f"{state.status} -> {status} is no transition"
    state.status = status


def _move(state: RunState, node: int, status: TaskStatus) -> None:
    before = state.tasks[node]
    assert status in TASK_TRANSITIONS[before], f"node {node}: {before} -> {status} is no transition"
    state.tasks[node] = status


def _end(state: RunState, status: RunStatus) -> None:
    _turn(state, status)
    state.pausing = False
    state.in_flight = 0
    state.ready.clear()
    state.retry_at.clear()
    if state.unfinished:
        for node, task in enumerate(state.tasks):
            if task not in FINAL_TASK:
                _move(state, node, TaskStatus.CANCELLED)
        state.unfinished = 0


def _adopt(state: RunState, lease: int) -> None:
    if state.status is not RunStatus.RUNNING:
        _turn(state, RunStatus.RUNNING)
    state.lease = lease
    state.in_flight = 0
    for node, task in enumerate(state.tasks):
        if task is TaskStatus.RUNNING:  # its worker is gone; the attempt is offered again, under the same number
            _move(state, node, TaskStatus.READY)
            state.ready[node] = None
            state.news.append(node)


def _start_anew(plan: Plan, state: RunState, nodes: tuple[int, ...]) -> None:
    """Forget how ``nodes`` ended, but not how many attempts they made; make those ready that nothing is before."""
    for node in nodes:
        if state.tasks[node] is TaskStatus.SUCCEEDED:
            state.attempts[node] = state.attempt(node)
        if node in state.attempts:
            state.earlier[node] = state.attempts[node]
        state.skips.pop(node, None)
        state.verdicts.pop(node, None)
        _move(state, node, TaskStatus.PENDING)
    state.failed = [node for node in state.failed if state.tasks[node] is TaskStatus.FAILED]
    state.unfinished = len(nodes)
    state.open = [sum(state.tasks[pred] not in FINAL_TASK for pred in node.preds) for node in plan.nodes]
    free = [node for node in nodes if state.open[node] == 0]
    _settled(plan, state, [node for node in free if _resolve(plan.nodes[node], state)])


def _settled(plan: Plan, state: RunState, final: list[int]) -> None:
    """Count the nodes that have become ``final``, and resolve whatever waited for them alone: skips cascade."""
    while final:
        state.unfinished -= 1
        for succ in plan.nodes[final.pop()].succs:
            state.open[succ] -= 1
            if state.open[succ] == 0 and _resolve(plan.nodes[succ], state):
                final.append(succ)


def _resolve(node: PlanNode, state: RunState) -> bool:
    """Make a node whose predecessors are all final ready, or skip it; return whether it is skipped."""
    skip = judge(node, state)
    state.news.append(node.index)
    if skip is None:
        _move(state, node.index, TaskStatus.READY)
        state.ready[node.index] = None
        return False
    _move(state, node.index, TaskStatus.SKIPPED)
    state.skips[node.index] = skip
    return True


def judge(node: PlanNode, state: RunState) -> Skip | None:
    """Return why a node is skipped, None if it may run; all its predecessors are final.

    Its gates come first, the outermost before all: a gate that was skipped skips its members in the same way, one
    that said no skips them by decision, one that failed by failure. Then its rule. Cost: its gates and predecessors.
    """
    for gate in node.gates:
        match state.tasks[gate]:
            case TaskStatus.SUCCEEDED:
                if not state.verdicts.get(gate, True):  # the entry of a sealed graph decides nothing itself
                    return Skip("decision", gate)
            case TaskStatus.SKIPPED:
                return Skip(state.skips[gate].by, gate)
            case _:
                return Skip("failure", gate)
    if node.rule == "none_failed" and not state.failed:
        return None  # nothing has failed in this run, so nothing was skipped by failure either
    return _ruled(node, state)


_Standing = Literal["succeeded", "failed", "neither"]


def _standing(pred: int, state: RunState) -> _Standing:
    """Return what a predecessor that is final counts as: skipped by failure is failed, by decision is neither."""
    if state.tasks[pred] is TaskStatus.SUCCEEDED:
        return "succeeded"
    if state.tasks[pred] is TaskStatus.SKIPPED and state.skips[pred].by == "decision":
        return "neither"
    return "failed"


def _ruled(node: PlanNode, state: RunState) -> Skip | None:
    """Apply a trigger rule: it asks only which standings occur. Of no predecessors "all" holds, "any" does not."""
    first: dict[_Standing, int] = {}  # the first predecessor of each standing
    for pred in node.awaited:
        first.setdefault(_standing(pred, state), pred)
    failure = Skip("failure", first["failed"]) if "failed" in first else None
    match node.rule:
        case "none_failed":
            return failure
        case "all_success":
            return failure or (Skip("decision", first["neither"]) if "neither" in first else None)
        case "all_done":
            return None
        case "any_success":
            return None if "succeeded" in first else failure or _unmet(node)
        case "any_failed":
            return None if failure else _unmet(node)
        case "all_failed":
            return None if first.keys() <= {"failed"} else _unmet(node)
        case _:
            assert_never(node.rule)


def _unmet(node: PlanNode) -> Skip:
    """No failure keeps the node from running, but its own rule: that is a decision, and the node is its reason."""
    return Skip("decision", node.index)
