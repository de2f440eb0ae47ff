"""A trial: one run in the hands of several workers, some of them dead, and everything that must hold after each step.

It keeps books of its own (who holds which attempt, what failed how often, what is due when) and compares them, the
invariants, the tables and the reference with the machine's state. Hypothesis drives it, and ``walk`` with plain chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from random import Random

from cloaca.algebra.retries import in_seconds
from cloaca.contract.plans import Plan, PlanNode
from cloaca.machine.commands import (
    Abandon,
    Adopt,
    Begin,
    Cancel,
    Command,
    Complete,
    Fail,
    Pause,
    PutBack,
    Resume,
    Retry,
)
from cloaca.machine.decisions import Rejected, step
from cloaca.machine.events import (
    AttemptFailed,
    AttemptPutBack,
    AttemptStarted,
    Event,
    RunAdopted,
    RunPaused,
    RunRetried,
    TaskFailed,
    TaskSucceeded,
    WaitBegun,
)
from cloaca.machine.invariants import violated
from cloaca.machine.states import NO_LEASE, RunState, enabled, evolve, overdue
from cloaca.machine.statuses import FINAL_TASK, RUN_TRANSITIONS, TASK_TRANSITIONS, RunStatus, TaskStatus
from tests.machine.programs import Scope, plan_of, random_program
from tests.machine.reference import OPEN, Fate, Standing, evaluate, evaluated

Picture = Mapping[str, object]


def picture(state: RunState) -> Picture:
    """Return all that a state says, as a value; what is in its lists and dictionaries can't change."""
    return {slot: copy(getattr(state, slot)) for slot in RunState.__slots__}


def replayed(plan: Plan, rows: Mapping[int, Sequence[Event]], earlier: Mapping[int, int]) -> RunState:
    """Return the state that stored rows amount to, as a new worker makes it: in the plan's order, not in time's."""
    state = RunState(plan)
    state.recall(earlier)
    evolve(plan, state, RunAdopted(NO_LEASE, 0.0))
    for node in plan.nodes:
        for event in rows.get(node.index, ()):
            evolve(plan, state, event)
    state.take_news()
    return state


class Trial:
    """One run. ``marks`` counts what happened in it, so that tests can tell that rare things do happen."""

    def __init__(self, program: Scope) -> None:
        self.program, self.plan = program, plan_of(program)
        self.now, self.lease, self.demanded = 1000.0, NO_LEASE, ""
        self.driven = self.pausing = self.paused = False
        self.retried_after = NO_LEASE  # the last lease before the last retry
        self.live: dict[int, tuple[int, int]] = {}
        self.tickets: list[tuple[int, int, int]] = []
        self.failures: Counter[int] = Counter()  # and successes that a retry has made void
        self.earlier: dict[int, int] = {}
        self.due: dict[int, float] = {}
        self.waits: dict[int, float | None] = {}
        self.fates: dict[str, Fate] = {}
        self.verdicts: dict[str, bool] = {}
        self.typed: set[str] = set()  # what failed for good with a typed error: one that is not retried
        self.rows: dict[int, list[Event]] = {}
        self.queue: list[int] = []
        self.marks: Counter[object] = Counter()
        self.state = RunState(self.plan)
        self.moved([TaskStatus.PENDING] * len(self.plan.nodes))
        self.check()

    # What workers and users do. ``pick`` chooses among what there is.

    def adopt(self) -> None:
        """A new worker takes the run."""
        right, stranded = not self.state.over and not self.paused, bool(self.live)
        if self.give(Adopt(self.lease + 1, self.now), right):
            self.lease, self.driven = self.lease + 1, True
            self.live.clear()
            self.settle()
            self.marks["adopted with attempts in flight"] += stranded
        self.check()

    def adopt_late(self, pick: int) -> None:
        """A worker that was slow takes the run, although another has it already."""
        self.give(Adopt(pick % (self.lease + 1), self.now), False)

    def restart(self) -> None:
        """A new worker takes the run, and knows only what is stored about it."""
        if self.state.over or self.lease == NO_LEASE or self.pausing or self.paused:
            return
        stored = replayed(self.plan, self.rows, self.earlier)
        self.agrees(stored)
        self.marks["restarted after a retry"] += bool(self.earlier)
        self.state, self.queue = stored, list(stored.ready)
        for node in self.queue[:1]:
            self.give(Begin(node, NO_LEASE, self.now), False)
        self.marks["restarted"] += 1
        self.marks["restarted with a delay"] += bool(stored.retry_at)
        self.marks["restarted with a wait"] += bool(stored.waits)
        self.live.clear()
        self.adopt()

    def begin(self, pick: int) -> None:
        """The worker starts an attempt that may start."""
        if nodes := self.startable():
            self.begin_any(nodes[pick % len(nodes)], self.lease)

    def begin_any(self, node: int, lease: int) -> None:
        """Somebody starts an attempt of some node, rightly or not."""
        node %= len(self.plan.nodes)
        right = node in self.startable() and lease == self.lease
        self.marks["retried"] += right and node in self.due
        for event in self.give(Begin(node, lease, self.now), right):
            assert isinstance(event, AttemptStarted | WaitBegun)
            assert event.attempt == self.failures[node] + 1
            if isinstance(event, WaitBegun):
                self.begin_wait(event)
            else:
                self.live[node] = (event.attempt, lease)
            self.queue = [other for other in self.queue if other != node]
            self.tickets.append((node, event.attempt, lease))
        self.check()

    def begin_wait(self, event: WaitBegun) -> None:
        """A wait has begun: it is stored, and over after the time that the program says."""
        wait = self.plan.nodes[event.node].wait
        assert wait is not None
        assert event.until == (None if wait.seconds is None else self.now + wait.seconds)
        self.waits[event.node] = event.until
        self.rows.setdefault(event.node, []).append(event)
        self.marks["waited"] += 1

    def end_wait(self, pick: int, succeeded: bool) -> None:
        """A timer is over, a signal is there, a child run has ended; or none of that will be."""
        if self.waits:
            node = sorted(self.waits)[pick % len(self.waits)]
            if succeeded:
                self.complete(node, self.failures[node] + 1, self.lease, True)
            else:
                self.lose(node, self.failures[node] + 1, self.lease, True, 0.5)

    def ends_wait(self, node: int, attempt: int, lease: int, succeeded: bool) -> bool:
        """Tell whether a report may end a wait: not in a pause, and not before its time where time decides."""
        if self.pausing or self.paused or not self.driven or (attempt, lease) != (self.failures[node] + 1, self.lease):
            return False
        kind, until = self.plan.nodes[node].kind, self.waits[node]
        over = until is not None and until <= self.now
        self.marks["refused: before its time"] += not over and (kind == "sleep" or (kind == "wait" and not succeeded))
        return {"sleep": over and succeeded, "wait": over or succeeded, "subflow": True}[kind]

    def succeed(self, pick: int, verdict: bool) -> None:
        """An attempt in flight succeeds."""
        if self.live:
            node, (attempt, lease) = sorted(self.live.items())[pick % len(self.live)]
            self.complete(node, attempt, lease, verdict)

    def fail(self, pick: int, retryable: bool, chance: float) -> None:
        """An attempt in flight fails."""
        if self.live:
            node, (attempt, lease) = sorted(self.live.items())[pick % len(self.live)]
            self.lose(node, attempt, lease, retryable, chance)

    def report_again(self, pick: int, succeeded: bool, wrong: int) -> None:
        """Some worker, dead or not, reports some attempt that was begun at some time, or the one after it."""
        if self.tickets:
            node, attempt, lease = self.tickets[pick % len(self.tickets)]
            if succeeded:
                self.complete(node, attempt + wrong, lease, True)
            else:
                self.lose(node, attempt + wrong, lease, True, 0.5)

    def report_as(self, pick: int, lease: int, succeeded: bool) -> None:
        """Some worker reports an attempt in flight, which may be another's."""
        if self.live:
            node, (attempt, _) = sorted(self.live.items())[pick % len(self.live)]
            if succeeded:
                self.complete(node, attempt, lease, True)
            else:
                self.lose(node, attempt, lease, False, 0.5)

    def put_back(self, pick: int, wrong: int) -> None:
        """The worker breaks off an attempt in flight, as of a fan-out in a pause, or one that it does not have."""
        if self.live:
            node, (attempt, lease) = sorted(self.live.items())[pick % len(self.live)]
            attempt, lease = attempt + (wrong == 1), lease - (wrong == 2)
            right = self.counts(node, attempt, lease, True)
            for event in self.give(PutBack(node, attempt, lease, self.now), right):
                assert isinstance(event, AttemptPutBack | RunPaused)
                self.marks["put back"] += isinstance(event, AttemptPutBack)
                self.marks["put back in a pause"] += isinstance(event, RunPaused)
            self.settle()
        self.check()

    def cancel(self) -> None:
        """A user ends the run."""
        self.end(Cancel(self.now), RunStatus.CANCELLED)

    def abandon(self) -> None:
        """The run has cost too many workers their lives."""
        self.end(Abandon(self.now), RunStatus.FAILED)

    def pause(self) -> None:
        """A user wants no more attempts to start."""
        if self.give(Pause(self.now), not (self.state.over or self.pausing or self.paused)):
            self.pausing = True
            self.marks["paused with attempts in flight"] += bool(self.live)
            for node in self.queue[:1]:
                self.give(Begin(node, self.lease, self.now), False)
            self.settle()
        self.check()

    def resume(self) -> None:
        """A user wants a run to go on."""
        paused = self.paused
        if self.give(Resume(self.now), self.pausing or paused):
            self.driven = self.driven and not paused
            self.pausing = self.paused = False
            self.marks["resumed" if paused else "resumed in time"] += 1
        self.check()

    def settle(self) -> None:
        """A run that pauses is paused once nothing is in flight, unless it has ended."""
        if self.pausing and not self.live:
            self.pausing, self.paused = False, not self.state.over

    def retry(self) -> None:
        """A user wants a run that has not succeeded to be tried again."""
        standings, anew, rescued = self.standings(), set[int](), self.rescued()
        for node in self.plan.nodes:
            lost = standings[node.name] == "failed" and node.name not in rescued
            if lost or standings[node.name] in OPEN or not anew.isdisjoint(node.preds):
                anew.add(node.index)
        right = self.state.status in (RunStatus.FAILED, RunStatus.CANCELLED)
        for index in anew if right else ():
            self.begin_anew(self.plan.nodes[index])
        if right:
            self.demanded, self.driven, self.retried_after = "", False, self.lease
        for event in self.give(Retry(self.now), right):
            assert event == RunRetried(tuple(sorted(anew)), self.now)
            self.marks["retried on demand"] += 1
        self.check()

    def begin_anew(self, node: PlanNode) -> None:
        """Forget how a node ended."""
        succeeded = self.fates.pop(node.name, None) == "succeeded"
        self.marks["success made void"] += succeeded
        self.verdicts.pop(node.name, None)
        self.typed.discard(node.name)
        self.failures[node.index] += succeeded
        if self.failures[node.index]:
            self.earlier[node.index] = self.failures[node.index]
        self.due.pop(node.index, None)
        self.waits.pop(node.index, None)
        self.rows.pop(node.index, None)

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.check()

    def finish(self, fails: Callable[[int], bool]) -> None:
        """Go on to the end of the run with a worker that lives; ``fails`` says what fails then."""
        if self.pausing or self.paused:
            self.resume()
        if not self.state.over:
            self.adopt()
        for _ in range(4 * len(self.plan.nodes)):
            if self.state.over:
                return
            self.wait(10.0)
            for node in self.startable():
                self.begin_any(node, self.lease)
            for node in sorted(self.waits):
                attempt = self.failures[node] + 1
                if fails(node) and self.plan.nodes[node].kind != "sleep":
                    self.lose(node, attempt, self.lease, True, 0.5)
                if node in self.waits:  # a timer, or an endless wait, which can't fail
                    self.complete(node, attempt, self.lease, True)
            for node, (attempt, lease) in sorted(self.live.items()):
                if fails(node):
                    self.lose(node, attempt, lease, True, 0.5)
                else:
                    self.complete(node, attempt, lease, not fails(node + 1))
        raise AssertionError("the run does not end")

    # The machine's answers, compared with these books.

    def complete(self, node: int, attempt: int, lease: int, verdict: bool) -> None:
        """Report a success; it counts only for the attempt in flight under its own lease."""
        gate = self.plan.nodes[node].decides
        command = Complete(node, attempt, lease, self.now, verdict if gate else None)
        right = self.counts(node, attempt, lease, True)
        if right:
            self.fates[self.plan.nodes[node].name] = "succeeded"
            if gate:
                self.verdicts[self.plan.nodes[node].name] = verdict
        events = self.give(command, right)
        if events:
            assert isinstance(events[0], TaskSucceeded)
            self.store(node, attempt, events[0])
            self.settle()
        self.check()

    def lose(self, node: int, attempt: int, lease: int, retryable: bool, chance: float) -> None:
        """Report a failure: the attempt is retried as the policy says, or the task has failed."""
        right = self.counts(node, attempt, lease, False)
        tried = attempt - self.earlier.get(node, 0)
        again = right and retryable and tried < self.plan.nodes[node].retry.attempts
        if right and not again:
            self.fates[self.plan.nodes[node].name] = "failed"
            self.typed |= set() if retryable else {self.plan.nodes[node].name}
        events = self.give(Fail(node, attempt, lease, self.now, retryable, chance, not retryable), right)
        if events:
            self.failures[node] += 1
            assert isinstance(events[0], AttemptFailed if again else TaskFailed)
            self.store(node, attempt, events[0])
            self.marks["gate raised"] += self.plan.nodes[node].decides
        if events and isinstance(events[0], AttemptFailed):
            self.due[node] = events[0].retry_at
            low, high = delays(self.plan.nodes[node], tried)
            assert low <= round(events[0].retry_at - self.now, 6) <= high
            if self.due[node] > self.now:
                self.give(Begin(node, self.lease, self.now), False)
        self.settle()
        self.check()

    def counts(self, node: int, attempt: int, lease: int, succeeded: bool) -> bool:
        """Tell whether a report is about an attempt in flight or a wait, by the worker that has the run."""
        if node in self.waits:
            ends = self.ends_wait(node, attempt, lease, succeeded)
            if ends:
                del self.waits[node]
            return ends
        right = self.live.get(node) == (attempt, lease)
        if right:
            del self.live[node]
            return True
        self.marks["refused: stale lease"] += lease != self.lease
        self.marks["refused: from before a retry"] += NO_LEASE < lease <= self.retried_after
        self.marks["refused: other attempt"] += node in self.live and self.live[node][0] != attempt
        self.marks["refused: not running"] += lease == self.lease and node not in self.live
        return False

    def store(self, node: int, attempt: int, event: Event) -> None:
        """Keep what a worker stores about an attempt that has ended."""
        rows = self.rows.setdefault(node, [])
        rows.extend((event,) if self.plan.nodes[node].wait else (AttemptStarted(node, attempt, self.now), event))

    def end(self, command: Cancel | Abandon, status: RunStatus) -> None:
        """End the run on demand."""
        if self.give(command, not self.state.over and not (self.paused and isinstance(command, Abandon))):
            self.demanded = status
            self.pausing = self.paused = False
            self.live.clear()
            self.waits.clear()
            self.queue.clear()
        self.check()

    def startable(self) -> list[int]:
        """Return the nodes that may start: behind final predecessors, not in flight, not in a delay."""
        if self.demanded or not self.driven or self.pausing or self.paused:
            return []
        standings = self.standings()
        going = [node.index for node in self.plan.nodes if standings[node.name] == "going"]
        idle = [node for node in going if node not in self.live and node not in self.waits]
        return [node for node in idle if self.due.get(node, 0.0) <= self.now]

    def standings(self) -> dict[str, Standing]:
        """Return what the reference says about each node, given what has ended so far."""
        return evaluate(self.program, self.fates, self.verdicts, self.typed)

    def rescued(self) -> set[str]:
        """Return the tasks that have failed, but whose handlers stand in for them."""
        found = evaluated(self.program, self.fates, self.verdicts, self.typed)
        return {
            task
            for task, handler in found.handlers.items()
            if (found.standings[task], found.standings[handler]) == ("failed", "succeeded")
        }

    def give(self, command: Command, right: bool) -> tuple[Event, ...]:
        """Put a command through the machine; it must be accepted if it is right, and else change nothing."""
        before, tasks, status = picture(self.state), list(self.state.tasks), self.state.status
        decision = step(self.plan, self.state, command)
        assert isinstance(decision, Rejected) is not right, decision
        if isinstance(decision, Rejected):
            assert picture(self.state) == before
            self.marks[f"refused: {type(command).__name__}"] += 1
            return ()
        if isinstance(decision[0], RunAdopted) and status is not RunStatus.RUNNING:
            assert RunStatus.RUNNING in RUN_TRANSITIONS[status]
            status = RunStatus.RUNNING
        assert self.state.status is status or self.state.status in RUN_TRANSITIONS[status]
        for node in decision[0].nodes if isinstance(decision[0], RunRetried) else ():
            assert TaskStatus.PENDING in TASK_TRANSITIONS[tasks[node]]
            self.marks[tasks[node], TaskStatus.PENDING] += 1
            tasks[node] = TaskStatus.PENDING
        self.moved(tasks)
        return decision

    def moved(self, before: list[TaskStatus]) -> None:
        """Compare two moments: only legal moves, and ``news`` tells of all nodes that became ready or were skipped."""
        moves = {node: (was, now) for node, (was, now) in enumerate(zip(before, self.state.tasks, strict=True))}
        moves = {node: move for node, move in moves.items() if move[0] is not move[1]}
        self.marks.update(moves.values())
        assert all(now in TASK_TRANSITIONS[was] for was, now in moves.values())
        news = self.state.take_news()
        told = [node for node, (_, now) in moves.items() if now in (TaskStatus.READY, TaskStatus.SKIPPED)]
        assert sorted(news) == told
        assert all(
            news.index(pred) < at
            for at, node in enumerate(news)
            for pred in self.plan.nodes[node].preds
            if pred in news
        )
        self.queue += [node for node in news if self.state.tasks[node] is TaskStatus.READY]
        skipped = len(told) - sum(self.state.tasks[node] is TaskStatus.READY for node in told)
        self.marks["a cascade of three"] += skipped >= 3

    def check(self) -> None:
        """Compare everything."""
        assert violated(self.plan, self.state) == []
        standings = self.standings()
        for node in self.plan.nodes:
            assert self.stands(node, standings[node.name]), (node.name, standings, self.state.tasks)
        assert self.state.status == self.expected_status(standings)
        assert self.state.attempts == {node: count for node, count in self.failures.items() if count}
        delayed = [node for node in self.startable() if node not in self.queue]
        ready = [] if not self.driven or self.demanded or self.pausing or self.paused else self.queue
        expected = [*ready, *sorted(delayed, key=lambda node: (self.due[node], node))]
        assert enabled(self.state, self.now) == expected
        going = self.driven and not (self.demanded or self.pausing or self.paused)
        over = [(until, node) for node, until in self.waits.items() if until is not None and until <= self.now]
        assert overdue(self.state, self.now) == [node for _, node in sorted(over) if going]

    def stands(self, node: PlanNode, standing: Standing) -> bool:
        """Tell whether the machine's status of a node is the one that the reference gives it."""
        status, skip = self.state.tasks[node.index], self.state.skips.get(node.index)
        if standing in OPEN and self.demanded:
            return status is TaskStatus.CANCELLED
        if standing == "going":
            waits = (status is TaskStatus.WAITING) == (node.index in self.waits or node.index in self.due)
            waits = waits or node.index in self.live or node.index in self.queue
            return (
                waits
                and (status is TaskStatus.RUNNING) == (node.index in self.live)
                and status
                not in {
                    TaskStatus.PENDING,
                    *FINAL_TASK,
                }
            )
        shown = f"skipped by {skip.by}" if skip else str(status)
        return shown == standing and (skip is not None) == (status is TaskStatus.SKIPPED)

    def expected_status(self, standings: Mapping[str, Standing]) -> str:
        """Return how the run stands."""
        if self.demanded:
            return self.demanded
        if self.paused or not self.driven:
            return "paused" if self.paused else "pending"
        if any(standing in OPEN for standing in standings.values()):
            return "running"
        rescued = self.rescued()
        self.marks["rescued"] += bool(rescued)
        lost = any(standing == "failed" and name not in rescued for name, standing in standings.items())
        return "failed" if lost else "succeeded"

    def agrees(self, stored: RunState) -> None:
        """Compare the state that the rows amount to with this one: the same, but for attempts in flight."""
        live, other = picture(self.state), picture(stored)
        for slot in ("attempts", "earlier", "open", "skips", "typed", "unfinished", "verdicts"):
            assert live[slot] == other[slot], slot
        assert sorted(self.state.failed) == sorted(stored.failed)
        going = {TaskStatus.READY, TaskStatus.RUNNING, TaskStatus.WAITING}
        for node, (was, now) in enumerate(zip(self.state.tasks, stored.tasks, strict=True)):
            # A retry in flight waits again, for a moment that has passed: its delay is stored, its start is not.
            retried = self.failures[node] > self.earlier.get(node, 0)
            again = TaskStatus.WAITING if retried or node in self.waits else TaskStatus.READY
            assert now is (again if was in going else was)
        assert stored.waits == self.waits
        assert stored.retry_at == {
            node: due
            for node, due in self.due.items()
            if stored.tasks[node] is TaskStatus.WAITING and node not in self.waits
        }


def delays(node: PlanNode, retry: int) -> tuple[float, float]:
    """Return the shortest and longest delay before a retry: "``delay``, ``delay*n``, ``delay*2**(n-1)``, capped"."""
    policy = node.retry
    delay, most = in_seconds(policy.delay), in_seconds(policy.max_delay)
    base = {"fixed": delay, "linear": delay * retry, "exponential": delay * 2 ** (retry - 1)}[policy.backoff]
    return min(base * (1 - policy.jitter), most), min(base * (1 + policy.jitter), most)


ACTIONS: Sequence[tuple[int, Callable[[Trial, Random], None]]] = (
    (1, lambda trial, random: trial.adopt()),
    (1, lambda trial, random: trial.adopt_late(random.randrange(9))),
    (1, lambda trial, random: trial.restart()),
    (9, lambda trial, random: trial.begin(random.randrange(9))),
    (2, lambda trial, random: trial.begin_any(random.randrange(9), trial.lease + random.choice((0, 0, 0, -1, 1)))),
    (6, lambda trial, random: trial.succeed(random.randrange(9), random.random() < 0.5)),
    (3, lambda trial, random: trial.fail(random.randrange(9), random.random() < 0.8, random.choice((0.0, 0.5, 1.0)))),
    (2, lambda trial, random: trial.report_again(random.randrange(99), random.random() < 0.5, random.randint(0, 1))),
    (1, lambda trial, random: trial.report_as(random.randrange(9), random.randint(0, trial.lease), True)),
    (1, lambda trial, random: trial.put_back(random.randrange(9), random.choice((0, 0, 1, 2)))),
    (3, lambda trial, random: trial.end_wait(random.randrange(9), random.random() < 0.7)),
    (2, lambda trial, random: trial.wait(random.choice((0.5, 1.0, 5.0)))),
    (1, lambda trial, random: trial.pause()),
    (2, lambda trial, random: trial.resume()),
    (2, lambda trial, random: trial.retry()),
)


def walk(seed: int, steps: int = 25, after: Callable[[Trial], None] = lambda trial: None) -> Trial:
    """Return a finished trial of a random program, driven by chance: the same for the same seed.

    ``after`` is called after each step.
    """
    random = Random(seed)
    trial = Trial(random_program(random))
    weights, actions = [weight for weight, _ in ACTIONS], [action for _, action in ACTIONS]
    fatal = random.choice((trial.cancel, trial.abandon, None, None, None))
    until = random.randrange(steps)
    if random.randrange(8):
        trial.adopt()
    for at in range(steps):
        if fatal and at == until:
            fatal()
        random.choices(actions, weights)[0](trial, random)
        after(trial)
    trial.finish(lambda node: (node * 7 + seed) % 5 == 0)
    if seed % 3 == 0 and trial.state.status is not RunStatus.SUCCEEDED:
        trial.retry()
        after(trial)
        trial.finish(lambda node: (node * 5 + seed) % 7 == 0)
    return trial
