"""Walks through runs with compensations and callbacks: random programs, random fates, crashes, clocks that jump.

They keep books of their own: what has succeeded when, what was undone in which order. A walk raises AssertionError for
whatever is wrong. The order in which tasks are undone is found here by another way than the machine's: by asking of
each pair which of the two came after the other.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

from cloaca.algebra.retries import NO_RETRY
from cloaca.algebra.retries import Retry as Policy
from cloaca.contract.plans import Plan
from cloaca.contract.workflows import Workflow
from cloaca.machine.commands import Abandon, Adopt, Begin, Cancel, Command, Complete, Fail, Pause, Resume, Retry
from cloaca.machine.decisions import Rejected
from cloaca.machine.decisions import step as put
from cloaca.machine.events import (
    AttemptStarted,
    Event,
    OutcomeReached,
    RunAdopted,
    RunRetried,
    TaskFailed,
    TaskSucceeded,
    WaitBegun,
)
from cloaca.machine.invariants import violated
from cloaca.machine.states import NO_LEASE, RunState, enabled, evolve
from cloaca.machine.statuses import RunStatus, TaskStatus
from tests.machine.programs import Handler, Scope, _builder, _guarded, random_program, step

AGAIN = Policy(3, "fixed", delay=0.0)


def random_plan(random: Random) -> Plan:
    """Return a plan with compensations, also inside of sealed graphs, and callbacks."""
    program = _with_undos(random, random_program(random))
    graph = _builder(program, _guarded(program), 0, len(program.items)).build().graph
    names = [name for name in ("on_success", "on_failure", "on_cancel") if random.randrange(2)]
    called: Any = {name: step.named(f"call-{random.choice(('a', name))}") for name in names}
    plan: Plan = Workflow("random", graph, **called).plan
    return plan


def _with_undos(random: Random, scope: Scope) -> Scope:
    items = []
    decisions = {scope.items[decision].name for decision, _, _ in scope.branches}
    for item in scope.items:
        if item.inner is not None:
            items.append(replace(item, inner=_with_undos(random, item.inner)))
        elif item.waits is not None or item.name in decisions:
            items.append(item)
        else:
            undo = random.choice((None, NO_RETRY, NO_RETRY, AGAIN))
            stand_in = item.handler or (Handler(f"h-{item.name}") if random.randrange(3) == 0 else None)
            if stand_in is not None:
                stand_in = replace(stand_in, undo=random.choice((None, NO_RETRY, NO_RETRY)))
            items.append(replace(item, undo=undo, handler=stand_in))
    return replace(scope, items=tuple(items))


class Walk:
    """One run on its way."""

    def __init__(self, random: Random) -> None:
        self.random, self.plan = random, random_plan(random)
        self.state = RunState(self.plan)
        self.now, self.lease = 1000.0, NO_LEASE
        self.succeeded: dict[int, float] = {}
        self.reused: set[int] = set()
        self.rows: dict[int, list[Event]] = {}
        self.outcome: OutcomeReached | None = None
        self.undone: list[int] = []
        self.failing = random.choice((0.0, 0.1, 0.4))
        self.marks: Counter[str] = Counter()

    def put(self, command: Command) -> tuple[Event, ...]:
        """Put a command through the machine, and look at everything."""
        decision = put(self.plan, self.state, command)
        events = () if isinstance(decision, Rejected) else decision
        for event in events:
            if isinstance(event, OutcomeReached):
                assert self.outcome is None
                self.outcome = event
                self.marks[f"outcome {event.status}"] += 1
        assert violated(self.plan, self.state) == []
        return events

    def adopt(self) -> None:
        self.lease += 1
        self.put(Adopt(self.lease, self.now))

    def restart(self) -> None:
        """A new worker has nothing but the rows: the state that they amount to goes on as this one does."""
        if self.state.status is not RunStatus.RUNNING:
            return
        self.adopt()
        stored = RunState(self.plan)
        stored.recall(self.state.earlier)
        evolve(self.plan, stored, RunAdopted(NO_LEASE, 0.0))
        for node in range(self.plan.length):
            for event in self.rows.get(node, ()):
                evolve(self.plan, stored, event)
        if self.outcome is not None:
            evolve(self.plan, stored, self.outcome)
            for node in stored.due:
                for event in self.rows.get(node, ()):
                    evolve(self.plan, stored, event)
        assert (stored.outcome, stored.due, stored.settled) == (self.state.outcome, self.state.due, self.state.settled)
        assert stored.completed == self.state.completed
        self.marks["restarted in the epilogue"] += self.state.outcome is not None
        stored.take_news()
        self.state = stored
        if not self.state.pausing:
            self.adopt()

    def work(self) -> None:
        """Begin what may begin, and end it."""
        nodes = enabled(self.state, self.now)
        if not nodes:
            self.now += 10.0  # what waits is due then
            return
        node = self.random.choice(nodes)
        proper = node < self.plan.length
        assert proper is (self.outcome is None)
        (started,) = self.put(Begin(node, self.lease, self.now))
        assert isinstance(started, AttemptStarted | WaitBegun)
        until = started.until if isinstance(started, WaitBegun) else None
        if self.random.random() < 0.1:
            return self.restart()
        if not proper and self.random.random() < 0.1:
            self.put(Pause(self.now))
        fails = self.random.random() < self.failing
        kind = self.plan.nodes[node].kind
        if until is not None:
            self.now = max(self.now, until)
        verdict = self.random.random() < 0.7 if self.plan.nodes[node].decides else None
        if fails and kind != "sleep" and (kind != "wait" or until is not None):
            typed = self.random.random() < 0.5
            events = self.put(Fail(node, started.attempt, self.lease, self.now, True, typed=typed))
        else:
            events = self.put(Complete(node, started.attempt, self.lease, self.now, verdict))
        self.rows.setdefault(node, []).extend((started, events[0]))
        if isinstance(events[0], TaskSucceeded) and proper:
            self.succeeded[node] = self.now
        if not proper and isinstance(events[0], TaskSucceeded | TaskFailed):
            self.undone.append(node)
            self.marks["compensation failed"] += isinstance(events[0], TaskFailed)
            undone = self.plan.nodes[node].undoes
            self.marks["a handler undone"] += undone is not None and self.plan.nodes[undone].rescues is not None
        self.now += self.random.choice((0.0, 0.0, 1.0, 1.0, -5.0))  # clocks are set back

    def demand(self) -> None:
        """A user, or a limit, ends the run."""
        known = self.outcome
        if self.random.randrange(2):
            for node in enabled(self.state, self.now)[:1] if known is None else ():
                self.put(Begin(node, self.lease, self.now))
                self.put(Pause(self.now))
            done = self.put(Cancel(self.now))
            assert not (done and known)
            if known is None:  # who cancels does not want it paused any more
                assert not self.state.pausing
                assert self.state.status is not RunStatus.PAUSED
        else:
            before = self.state.status
            self.put(Abandon(self.now))
            if known is not None and before not in (RunStatus.PAUSED,):
                assert self.state.status is known.status
                self.marks["epilogue abandoned"] += 1

    def end(self) -> None:
        """Go on to the end."""
        for _ in range(400):
            if self.state.over:
                return self.check()
            if self.state.status is RunStatus.PAUSED or self.state.pausing:
                self.put(Resume(self.now))
                self.marks["resumed"] += 1
            if self.state.status is not RunStatus.RUNNING:
                self.adopt()
            self.work()
        raise AssertionError("the run does not end")

    def check(self) -> None:
        """The run has ended: compare what was done with what is right."""
        status = self.state.status
        undos = [node for node in self.undone if self.plan.nodes[node].undoes is not None]
        abandoned = self.marks["epilogue abandoned"] > 0
        if status is RunStatus.SUCCEEDED:
            assert undos == []
        else:
            right = {self.plan.undos[node] for node in self.succeeded if node in self.plan.undos}
            assert {*undos} <= right
            assert abandoned or {*undos} == right
            self.marks["several undone"] += len(undos) > 1
        for earlier, later in ((a, b) for place, a in enumerate(undos) for b in undos[place + 1 :]):
            self.check_pair(self.plan.nodes[earlier].undoes, self.plan.nodes[later].undoes)
        called = [node for node in self.undone if self.plan.nodes[node].outcomes]
        wanted = [self.plan.callbacks[status]] if status in self.plan.callbacks else []
        assert called == wanted or abandoned
        assert called == self.undone[len(undos) :]
        if self.outcome is not None:
            assert status is self.outcome.status

    def check_pair(self, first: int | None, then: int | None) -> None:
        """``first`` was undone before ``then``: so it did not come before it, by the graph, else by the clock."""
        assert first is not None
        assert then is not None
        assert not self.reaches(first, then)
        if self.succeeded[first] < self.succeeded[then] and not self.reaches(then, first):
            # Only what lies before one of them on a clock that was set back can say so.
            assert any(
                self.succeeded[node] > self.succeeded[first] for node in self.succeeded if self.reaches(node, first)
            )
            self.marks["a clock overruled"] += 1

    def reaches(self, one: int, other: int) -> bool:
        stack, seen = [one], {one}
        while stack:
            for succ in self.plan.nodes[stack.pop()].succs:
                if succ == other:
                    return True
                if succ not in seen:
                    seen.add(succ)
                    stack.append(succ)
        return False

    def retry(self) -> None:
        """A user wants the run to be tried again: what was undone is done again, and what came after it."""
        undone = {self.plan.nodes[node].undoes for node in self.undone}
        for event in self.put(Retry(self.now)):
            assert isinstance(event, RunRetried)
            spent = {node for node in undone if node is not None}
            assert spent | {task for node in spent if (task := self.plan.nodes[node].rescues) is not None} <= {
                *event.nodes
            }
            for node in event.nodes:
                self.rows.pop(node, None)
                self.succeeded.pop(node, None)
            self.outcome, self.undone = None, []
            self.marks["retried"] += 1
            self.marks["retried after compensations"] += bool(undone)
            self.marks["epilogue abandoned"] = 0
            self.failing = 0.1
            assert all(
                self.state.tasks[node] is TaskStatus.PENDING for node in range(self.plan.length, len(self.plan.nodes))
            )


def reuse(walk: Walk) -> None:
    """Take over what another run has done, where that is possible: it is not this run's to undo."""
    for node in list(walk.state.ready):
        if walk.plan.nodes[node].kind == "task" and walk.state.unfinished > 1:
            evolve(walk.plan, walk.state, AttemptStarted(node, 1, walk.now))
            evolve(walk.plan, walk.state, TaskSucceeded(node, 1, walk.now, None, reused=True))
            walk.rows[node] = [AttemptStarted(node, 1, walk.now), TaskSucceeded(node, 1, walk.now, None, reused=True)]
            assert node not in walk.state.completed
            walk.marks["reused"] += 1
            return walk.adopt()


def walk(seed: int) -> Counter[str]:
    """Walk through one run, and through its retry; return what happened."""
    random = Random(seed)
    one = Walk(random)
    one.adopt()
    if not one.state.over and random.randrange(4) == 0:
        reuse(one)
    until = random.choice((0, 2, 5, 99))
    for at in range(6):
        if at == until and not one.state.over:
            one.demand()
        one.work()
    one.end()
    one.retry()
    one.end()
    return one.marks
