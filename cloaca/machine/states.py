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
from cloaca.machine.epilogues import due
from cloaca.machine.events import (
    AttemptFailed,
    AttemptPutBack,
    AttemptStarted,
    Control,
    Event,
    OutcomeReached,
    PauseAsked,
    PauseWithdrawn,
    RunAdopted,
    RunCancelled,
    RunEnded,
    RunFailed,
    RunPaused,
    RunResumed,
    RunRetried,
    RunSucceeded,
    TaskFailed,
    TaskSucceeded,
    WaitBegun,
)
from cloaca.machine.statuses import FINAL_RUN, FINAL_TASK, RUN_TRANSITIONS, TASK_TRANSITIONS, RunStatus, TaskStatus

NO_LEASE = 0
# Names of this module's own: to look a member up in its enum takes ten times as long, and each task needs a dozen.
PENDING, READY, RUNNING, SUCCEEDED = TaskStatus.PENDING, TaskStatus.READY, TaskStatus.RUNNING, TaskStatus.SUCCEEDED
RUN_RUNNING, PAUSED = RunStatus.RUNNING, RunStatus.PAUSED
ENDED: Mapping[type[RunEnded], RunStatus] = {
    RunSucceeded: RunStatus.SUCCEEDED,
    RunFailed: RunStatus.FAILED,
    RunCancelled: RunStatus.CANCELLED,
}


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
        retry_at: when a node in its retry delay may start again. ``waits``: of the nodes that wait for something else,
            when that is over at the latest, None for whenever it may be.
        verdicts: what gates and the decisions of branches said. ``skips``: why nodes are skipped; both follow from how
            the predecessors ended, whatever the order.
        ready: the nodes that may start now, in the order in which they became ready.
        news: the nodes that became ready or were skipped since ``take_news``, in that order.
        failed: the nodes that failed for good and were not rescued, in the order of the events. ``typed``: the nodes
            whose last attempt answered with a ``Failure``. ``unfinished``: how many are not final. All
            three are about the run proper, not its epilogue.
        completed: when the nodes succeeded that have a compensation, by the time of the event.
        outcome: how the run ends, once that is known and its epilogue is due; ``due``: the nodes of the epilogue in
            their order, of which the first ``settled`` are final.
    """

    __slots__ = (
        "attempts",
        "completed",
        "due",
        "earlier",
        "failed",
        "in_flight",
        "lease",
        "news",
        "open",
        "outcome",
        "pausing",
        "ready",
        "retry_at",
        "settled",
        "skips",
        "status",
        "tasks",
        "typed",
        "unfinished",
        "verdicts",
        "waits",
    )

    def __init__(self, plan: Plan) -> None:
        self.status = RunStatus.PENDING
        self.lease = NO_LEASE
        self.pausing = False
        self.in_flight = 0
        self.tasks = [PENDING] * len(plan.nodes)
        self.open = list(plan.degrees)
        self.attempts: dict[int, int] = {}
        self.earlier: dict[int, int] = {}
        self.retry_at: dict[int, float] = {}
        self.waits: dict[int, float | None] = {}
        self.verdicts: dict[int, bool] = {}
        self.skips: dict[int, Skip] = {}
        self.ready: dict[int, None] = {}
        self.failed: list[int] = []
        self.typed: set[int] = set()
        self.unfinished = plan.length
        self.completed: dict[int, float] = {}
        self.outcome: RunStatus | None = None
        self.due: tuple[int, ...] = ()
        self.settled = 0
        self.news: list[int] = []
        _settled(plan, self, [node.index for node in plan.first if _resolve(plan, node, self)])

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

    def recall_attempts(self, node: int, count: int) -> None:
        """Count the attempts that a node has made which is to wait, now, for what comes before it."""
        self.attempts[node] = count

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
            _move(state, event.node, RUNNING)
            state.in_flight += 1
            state.ready.pop(event.node, None)
            state.retry_at.pop(event.node, None)
        case AttemptPutBack(node):
            _offer_again(state, node)
            state.in_flight -= 1
        case WaitBegun(node, until=until):
            _move(state, node, TaskStatus.WAITING)
            state.ready.pop(node, None)
            state.waits[node] = until
        case AttemptFailed(node, attempt, retry_at=retry_at):
            _move(state, node, TaskStatus.WAITING)
            state.in_flight -= 1
            state.attempts[node] = attempt
            state.retry_at[node] = retry_at
        case TaskFailed(node, attempt, typed=typed):
            _move(state, node, TaskStatus.FAILED)
            _concluded(state, node)
            state.attempts[node] = attempt
            if node < plan.length:
                state.failed.append(node)
                if typed:
                    state.typed.add(node)
            _finished(plan, state, node)
        case RunAdopted(lease):
            _adopt(state, lease)
        case OutcomeReached(outcome):
            _reach(plan, state, outcome)
        case RunSucceeded() | RunFailed() | RunCancelled():
            _end(plan, state, ENDED[type(event)])
        case _:
            _control(plan, state, event)
    return state


def _succeed(plan: Plan, state: RunState, event: TaskSucceeded) -> None:
    node, verdict = event.node, event.verdict
    assert plan.nodes[node].decides == (verdict is not None), f"node {node}: verdict {verdict}"
    _move(state, node, SUCCEEDED)
    _concluded(state, node)
    if verdict is not None:
        state.verdicts[node] = verdict
    if (rescued := plan.nodes[node].rescues) is not None:
        state.failed.remove(rescued)
    if node in plan.undos and not event.reused:
        state.completed[node] = event.at
    _finished(plan, state, node)


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
    if state.status is not RUN_RUNNING or state.lease == NO_LEASE or state.pausing:
        return []
    due = sorted((retry_at, node) for node, retry_at in state.retry_at.items() if retry_at <= at)
    return [*state.ready, *(node for _, node in due)]


def overdue(state: RunState, at: float) -> list[int]:
    """Return the nodes whose wait is over now because its time has come, by time. Cost: the nodes that wait.

    Nothing is over in a run that nobody drives, or that was asked to pause: time goes on meanwhile.
    """
    if state.status is not RUN_RUNNING or state.lease == NO_LEASE or state.pausing:
        return []
    due = ((until, node) for node, until in state.waits.items() if until is not None and until <= at)
    return [node for _, node in sorted(due)]


def admit(state: RunState, node: int) -> None:
    """Make a pending node ready that nothing is before any more, because its plan has changed: see ``belated``."""
    assert state.tasks[node] is TaskStatus.PENDING, f"node {node} is {state.tasks[node]}"
    _offer_again(state, node)


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


def _concluded(state: RunState, node: int) -> None:
    """A node is final: its wait is over, or its attempt is no longer in flight."""
    if node in state.waits:
        del state.waits[node]
    else:
        state.in_flight -= 1


def _reach(plan: Plan, state: RunState, outcome: RunStatus) -> None:
    """Cancel what is not final, skip what is not due, and make the first node that is due ready."""
    if state.status in (RunStatus.PAUSED, RunStatus.BLOCKED):
        _turn(state, RunStatus.PENDING)
    if outcome is RunStatus.CANCELLED:
        state.pausing = False
    _cancel(state, range(plan.length))
    state.outcome, state.due = outcome, due(plan, state, outcome)
    _skip(state, sorted({*range(plan.length, len(plan.nodes))}.difference(state.due)))
    _offer_next(state)


def _end(plan: Plan, state: RunState, status: RunStatus) -> None:
    _turn(state, status)
    state.pausing = False
    epilogue = range(plan.length, len(plan.nodes))
    if state.outcome is None:
        _skip(state, epilogue)
    _cancel(state, range(plan.length) if state.outcome is None else epilogue)


def _cancel(state: RunState, nodes: range) -> None:
    """Cancel what is not final among ``nodes``; nothing else is ready, runs or waits."""
    state.in_flight = 0
    state.ready.clear()
    state.retry_at.clear()
    state.waits.clear()
    for node in nodes if state.unfinished or state.outcome is not None else ():
        if state.tasks[node] not in FINAL_TASK:
            _move(state, node, TaskStatus.CANCELLED)
    state.unfinished = 0


def _skip(state: RunState, nodes: Iterable[int]) -> None:
    """Skip nodes of the epilogue that are not due: it is the outcome that decides, and no node."""
    for node in nodes:
        _move(state, node, TaskStatus.SKIPPED)
        state.skips[node] = Skip("decision", node)


def _finished(plan: Plan, state: RunState, node: int) -> None:
    """A node is final by an attempt of its own: go on with what comes after it."""
    if node < plan.length:
        _settled(plan, state, [node])
    else:
        state.settled += 1
        _offer_next(state)


def _offer_next(state: RunState) -> None:
    if state.settled < len(state.due):
        node = state.due[state.settled]
        _move(state, node, TaskStatus.READY)
        state.ready[node] = None
        state.news.append(node)


def _adopt(state: RunState, lease: int) -> None:
    if state.status is not RUN_RUNNING:
        _turn(state, RUN_RUNNING)
    state.lease = lease
    state.in_flight = 0
    for node, task in enumerate(state.tasks):
        if task is RUNNING:  # its worker is gone; the attempt is offered again, under the same number
            _offer_again(state, node)


def _offer_again(state: RunState, node: int) -> None:
    """Make a node ready again of which an attempt was in flight."""
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
        state.completed.pop(node, None)
        state.typed.discard(node)
        _move(state, node, TaskStatus.PENDING)
    state.failed = [node for node in state.failed if state.tasks[node] is TaskStatus.FAILED]
    state.outcome, state.due, state.settled = None, (), 0
    proper = [node for node in nodes if node < plan.length]
    state.unfinished = len(proper)
    state.open = [sum(state.tasks[pred] not in FINAL_TASK for pred in node.preds) for node in plan.nodes]
    free = [node for node in proper if state.open[node] == 0]
    _settled(plan, state, [node for node in free if _resolve(plan, plan.nodes[node], state)])


def _settled(plan: Plan, state: RunState, final: list[int]) -> None:
    """Count the nodes that have become ``final``, and resolve whatever waited for them alone: skips cascade."""
    while final:
        state.unfinished -= 1
        for succ in plan.nodes[final.pop()].succs:
            state.open[succ] -= 1
            if state.open[succ] == 0 and _resolve(plan, plan.nodes[succ], state):
                final.append(succ)


def _resolve(plan: Plan, node: PlanNode, state: RunState) -> bool:
    """Make a node whose predecessors are all final ready, or skip it; return whether it is skipped."""
    skip = judge(plan, node, state)
    state.news.append(node.index)
    if skip is None:
        _move(state, node.index, READY)
        state.ready[node.index] = None
        return False
    _move(state, node.index, TaskStatus.SKIPPED)
    state.skips[node.index] = skip
    return True


def judge(plan: Plan, node: PlanNode, state: RunState) -> Skip | None:
    """Return why a node is skipped, None if it may run; all its predecessors are final.

    A handler has its own reason, see ``_not_needed``. Else its gates come first, the outermost before all: a gate that
    was skipped skips its members in the same way, one that did not say what they need (yes, but no for the second arm
    of a branch) skips them by decision, one that failed by failure. Then its rule. Cost: its gates and predecessors.
    """
    if node.rescues is not None:
        return _not_needed(node, node.rescues, state)
    for gate in node.gates:
        match state.tasks[gate]:
            case TaskStatus.SUCCEEDED:
                # The entry of a sealed graph decides nothing itself: it has no verdict.
                if state.verdicts.get(gate, True) == (gate in node.otherwise):
                    return Skip("decision", gate)
            case TaskStatus.SKIPPED:
                return Skip(state.skips[gate].by, gate)
            case _:
                return Skip("failure", gate)
    if node.rule == "none_failed" and not state.failed:
        return None  # nothing has failed in this run but was rescued, so nothing was skipped by failure either
    return _ruled(plan, node, state)


def _not_needed(handler: PlanNode, rescued: int, state: RunState) -> Skip | None:
    """Return why a handler is skipped, None if the task that it stands in for has failed in a way that it handles."""
    match state.tasks[rescued]:
        case TaskStatus.SKIPPED:
            return Skip(state.skips[rescued].by, rescued)
        case TaskStatus.FAILED:
            return Skip("failure", rescued) if handler.needs_error and rescued not in state.typed else None
        case _:
            return Skip("decision", rescued)


_Standing = Literal["succeeded", "failed", "neither"]


def rescued(plan: Plan, node: int, state: RunState) -> bool:
    """Return whether a task has failed, and its handler has stood in for it."""
    handler = plan.nodes[node].handler
    return (
        handler is not None and state.tasks[node] is TaskStatus.FAILED and state.tasks[handler] is TaskStatus.SUCCEEDED
    )


def _standing(plan: Plan, pred: int, state: RunState) -> _Standing:
    """Return what a predecessor that is final counts as: skipped by failure is failed, by decision is neither."""
    if state.tasks[pred] is TaskStatus.SUCCEEDED or rescued(plan, pred, state):
        return "succeeded"
    if state.tasks[pred] is TaskStatus.SKIPPED and state.skips[pred].by == "decision":
        return "neither"
    return "failed"


def _ruled(plan: Plan, node: PlanNode, state: RunState) -> Skip | None:
    """Apply a trigger rule: it asks only which standings occur. Of no predecessors "all" holds, "any" does not."""
    first: dict[_Standing, int] = {}  # the first predecessor of each standing
    for pred in node.awaited:
        first.setdefault(_standing(plan, pred, state), pred)
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
