"""A drive: one run while this worker owns it. Reports go through the machine, rows to the group commit.

The state runs ahead of the database by at most the commit in flight; what a commit makes possible is released only
once it is durable. It knows one run; the worker knows all of them, and how to start attempts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from cloaca.algebra.outcomes import RunFailure
from cloaca.contract.plans import Plan, PlanNode
from cloaca.current import Place
from cloaca.interpreter.answers import Raised, Report, Returned
from cloaca.interpreter.epilogues import Closing, closing_of, closing_row
from cloaca.interpreter.errands import runs_in_a_child
from cloaca.interpreter.flags import Flag
from cloaca.interpreter.group_commit import GroupCommit
from cloaca.interpreter.histories import (
    VISIBLE,
    RunEvent,
    earlier_attempts,
    moment,
    outputs_of,
    placed,
    run_failure,
    shows_skip,
    tells_failure,
)
from cloaca.interpreter.queues import Queues, Ticket
from cloaca.interpreter.scopes import elements_in, place_of
from cloaca.interpreter.waiting import Waits
from cloaca.machine.commands import Abandon, Adopt, Begin, Cancel, Command, Complete, Fail, Pause, PutBack, Resume
from cloaca.machine.decisions import Rejected, step
from cloaca.machine.events import (
    AttemptFailed,
    AttemptStarted,
    Event,
    OutcomeReached,
    RunCancelled,
    RunFailed,
    RunPaused,
    RunSucceeded,
    TaskFailed,
    TaskSucceeded,
    WaitBegun,
)
from cloaca.machine.states import PAUSED, READY, enabled
from cloaca.machine.statuses import RunStatus, TaskStatus
from cloaca.ports import AttemptRow, Batch, CacheRow, Codec, EndRow, FailureRow, History, NoteRow, RunRow, TaskRow
from cloaca.telemetry import Begun, Telemetry

ROWS_OF_A_REPORT = 5  # a failure, a task, the run's end or its outcome, who is told, a note or what is cached
FATAL_CRASHES = 5  # of workers: then a run is not tried again, nor its epilogue after as many more
ENDINGS = {RunSucceeded: "succeeded", RunFailed: "failed", RunCancelled: "cancelled"}
DROPPED = "run_dropped"  # tells listeners that this process drives the run no more; users don't see it


@dataclass(slots=True)
class Running:
    """An attempt in flight. ``shown`` once other processes can see it, ``stopped`` once the worker has cancelled it.

    ``cache_key`` is where its result is kept for other runs, None if it is not.
    """

    attempt: int
    started_at: float
    drive: Drive
    node: int
    serving: asyncio.Task[None] | None = None
    beat_at: float | None = None
    shown: bool = False
    stopped: bool = False
    cache_key: str | None = None
    ticket: Ticket | None = None  # of the slot that it holds in a queue
    revealed: dict[str, str] | None = None

    # What its body may know of it, as ``current.Attempt``

    @property
    def run(self) -> RunRow:
        """The run's row."""
        return self.drive.row

    @property
    def task(self) -> str:
        """The name by which its body knows the task."""
        return self.drive.name_of(self.node)

    @property
    def number(self) -> int:
        """Its number, from 1."""
        return self.attempt

    @property
    def place(self) -> Place:
        """The worker that makes it."""
        return self.drive.worker.place


@dataclass(frozen=True, slots=True)
class Completion:
    """An attempt's success, as it is to be committed by itself before the machine hears of it."""

    command: Complete
    batch: Batch


class FanOut(Protocol):
    """What a drive needs of a fan-out whose elements are at work: see ``fanouts``."""

    @property
    def rests(self) -> bool:
        """Whether its elements do nothing but wait for retry delays."""
        ...

    @property
    def is_quiet(self) -> bool:
        """Whether no attempt is in flight inside."""
        ...

    def attempts(self) -> Iterator[tuple[Drive, int]]:
        """Yield the attempts in flight inside: the element's drive, and the node."""
        ...

    def drives(self) -> Iterator[Drive]:
        """Yield the drives of the elements at work, those inside of them too."""
        ...

    def element(self, index: int) -> Drive | None:
        """Return the drive of an element at work."""
        ...

    def offer_enabled(self) -> None:
        """Go on with the elements at work, and begin others."""
        ...

    def drop(self) -> None:
        """Let go of all elements without a trace."""
        ...


class Owner(Protocol):
    """What a drive needs of the worker that owns it, or an element's drive of its fan-out."""

    @property
    def session(self) -> int:
        """The worker's session."""
        ...

    @property
    def commits(self) -> GroupCommit:
        """The way to the store."""
        ...

    @property
    def codec(self) -> Codec:
        """What turns models into payloads."""
        ...

    @property
    def concurrency(self) -> int:
        """The most attempts at a time."""
        ...

    def codes(self, plan: Plan) -> Mapping[int, str]:
        """Return the fingerprints of the code of a plan's nodes, by index."""
        ...

    @property
    def queues(self) -> Queues:
        """The queues of the worker."""
        ...

    @property
    def closing(self) -> bool:
        """Whether the worker is leaving."""
        ...

    @property
    def place(self) -> Place:
        """What attempts here have in common."""
        ...

    @property
    def telemetry(self) -> Telemetry | None:
        """What tells OpenTelemetry, None if nobody wants to know."""
        ...

    def now(self) -> float:
        """Return seconds since the epoch."""
        ...

    def chance(self) -> float:
        """Return a number from 0 to 1, for jitter."""
        ...

    def offer(self, drive: Drive, node: int) -> None:
        """Start an attempt of ``node`` as soon as a slot is free."""
        ...

    def offer_at(self, due: float, drive: Drive, node: int) -> None:
        """Offer a node once its retry delay is over."""
        ...

    def alarm_at(self, due: float, drive: Drive, node: int) -> None:
        """Ring ``drive.alarm(node)`` once it is due."""
        ...

    def listen(self, run: int) -> None:
        """Look for what has come for a run from outside."""
        ...

    def bear(self, drive: Drive, node: int, input: str | None) -> None:
        """Store the child run that ``node`` starts, together with the rows appended last."""
        ...

    def forsake(self, drive: Drive) -> None:
        """Cancel the child runs that are driven here: their parent has ended before them."""
        ...

    def revive(self, drive: Drive, node: int, child: int) -> None:
        """Retry a child run that has ended badly, and then offer ``node`` again."""
        ...

    def see_end(self, drive: Drive, node: int, child: int) -> None:
        """Look at a child run that has ended, and end the wait of ``node`` accordingly."""
        ...

    def weigh(self, drive: Drive) -> None:
        """Count a run among those that take room, or among those that rest."""
        ...

    def disowned(self, runs: frozenset[int]) -> None:
        """Let go of runs that another has taken."""
        ...

    def finished(self, drive: Drive) -> None:
        """Let go of a run that has ended."""
        ...

    def released(self, drive: Drive) -> None:
        """Let go of a run that is paused."""
        ...


class Drive:
    """One owned run. Made by the worker; ``begin`` starts it, or goes on where its history ends."""

    def __init__(self, worker: Owner, plan: Plan, history: History) -> None:
        self.worker, self.row = worker, history.run
        self.id = history.run.id
        self.codes = worker.codes(plan)
        self.plan, self.state = placed(plan, history)
        plan = self.plan
        self.closing = closing_of(history.run)
        asks = plan.has_epilogue and tells_failure(plan)
        self.told_failures = list(history.failures) if asks else None  # for who asks for the RunFailure
        self.outputs = outputs_of(plan, history)
        waits = history.waits or history.signals or history.children or plan.waits
        self._waits = Waits(self, history) if waits else None
        self.inside = dict(elements_in(plan, history, earlier_attempts(history.run)))
        self.fans: dict[int, FanOut] = {}
        self.faults = {  # the last failure of each task that has a handler: what the handler is given
            node.index: row for row in history.failures if (node := self._rescuable(row.name)) is not None
        }
        self.running: dict[int, Running] = {}
        self.tickets: dict[int, Ticket] = {}  # nodes that wait for a slot of a queue, or hold one
        self.queued = 0  # how many of them wait
        # Dicts for sets and lists: as long as they are empty, as they mostly are, the garbage collector skips them.
        self.delayed: dict[int, None] = {}  # nodes whose retry delay is not over
        self.overrun: dict[int, asyncio.Future[Any]] = {}
        self.outlived: dict[asyncio.Future[Any], None] = {}  # bodies inside fan-outs that could not be stopped
        self.messages: dict[int, str] = {}  # why the latest attempt failed, for who listens
        self.listeners: dict[Callable[[RunEvent], None], None] = {}
        self.ended = Flag()
        self.watchers = 0
        self.dropped = False
        self.deaf = False  # its outcome is known, but not durable yet: nothing starts, and it can't pause
        self.closed = Flag()  # the outcome is durable
        if self.closing is not None:
            self.closed.set()
        self.committing: dict[int, None] = {}  # nodes whose success is, or was for all that is known, committed alone
        self.cancelling = False  # the run is to be cancelled once it is known what has become of those
        self.begun: dict[tuple[int, int], Begun] = {}  # attempts of which OpenTelemetry is told once they are durable
        self.unsettled = 0  # reports and the like whose rows are not durable yet

    def _rescuable(self, name: str) -> PlanNode | None:
        index = self.plan.by_name.get(name)  # an element's own drive has the rows inside of it
        return None if index is None or self.plan.nodes[index].handler is None else self.plan.nodes[index]

    def begin(self) -> None:
        """Take the run under this worker's lease, and offer whatever may start."""
        at = self.worker.now()
        events = self.command(Adopt(self.worker.session, at))
        if len(events) > 1:  # there is nothing left to do, as when every task is skipped
            self.follow(events, self.worker.commits.batch(2))
        self.state.take_news()
        if self.row.cancel_requested:
            self.cancel()
        self.offer_enabled()
        if self.state.waits:
            self.waits.go_on()
        else:
            self.worker.weigh(self)

    @property
    def waits(self) -> Waits:
        """What the run waits for; made late, as the two know each other, and only the garbage collector frees both."""
        if self._waits is None:
            self._waits = Waits(self, History(self.row, [], [], [], []))
        return self._waits

    @property
    def root(self) -> Drive:
        """The drive of the whole run."""
        return self

    @property
    def is_held(self) -> bool:
        """Whether no attempt may begin."""
        return self.dropped or self.cancelling or self.state.pausing or self.state.status is PAUSED

    def name_of(self, node: int) -> str:
        """Return the name of a node's rows, which its body knows as that of the task."""
        return self.plan.nodes[node].name

    def shown(self, node: int) -> str:
        """Return the name by which users know a node."""
        return self.plan.nodes[node].task

    def locate(self, name: str) -> tuple[Drive, int] | None:
        """Return the node whose rows have a name, with its drive; None if its element is not at work."""
        if (index := self.plan.by_name.get(name)) is not None:
            return self, index
        place = place_of(self.plan, name)
        fan = None if place is None else self.fans.get(self.plan.by_name[place.fan])
        element = None if fan is None or place is None else fan.element(place.element)
        return None if element is None or place is None else element.locate(place.name)

    def offer_enabled(self) -> None:
        """Offer whatever may start, now or after its retry delay."""
        for fan in list(self.fans.values()) if self.fans else ():
            fan.offer_enabled()
        at = self.worker.now()
        for node in () if self.dropped or self.deaf else enabled(self.state, at):
            self.worker.offer(self, node)
        for node, due in self.state.retry_at.items():
            if due > at and not self.dropped:
                self.worker.offer_at(due, self, node)

    @property
    def may_rest(self) -> bool:
        """Whether there is anything that the run could wait for."""
        return bool(self.delayed or self.queued or self.fans or self.state.waits)

    @property
    def rests(self) -> bool:
        """Whether the run does nothing but wait: for delays, slots of queues, timers, signals, child runs.

        That goes for what is inside of its fan-outs, too.
        """
        waits = len(self.delayed) + self.queued
        if self.state.pausing or self.state.over or not (waits or self.fans or self.state.waits):
            return False
        if len(self.running) > len(self.fans) or not all(fan.rests for fan in self.fans.values()):
            return False
        # Else more may start, or something that has begun to wait is not yet durable.
        return waits == len(self.state.ready) + len(self.state.retry_at) and self.waits.rest

    @property
    def next_due(self) -> float | None:
        """When the first of the moments comes that the run waits for, None if it waits for none."""
        states = [drive.state for drive in self.drives()]
        moments = [due for state in states for due in (*state.retry_at.values(), *state.waits.values())]
        return min((due for due in moments if due is not None), default=None)

    def park(self, batch: Batch) -> None:
        """Append that the run rests in the database, until the first of the moments that it waits for."""
        for drive in self.drives():
            names = [drive.name_of(node) for node in drive.fans if drive.running[node].shown]
            batch.settled.extend((self.id, name) for name in names)
        batch.parked.append((self.id, self.next_due))

    @property
    def is_watched(self) -> bool:
        """Whether somebody in this process waits for the run's end, or for its events."""
        return self.watchers > 0 or bool(self.listeners)

    @property
    def is_gone(self) -> bool:
        """Whether nothing more is to be done for the run here."""
        return self.dropped or self.state.over

    @property
    def is_idle(self) -> bool:
        """Whether no attempt is in flight, nor a body that outlived its attempt."""
        return self.is_quiet and all(body.done() for body in self.bodies())

    @property
    def is_quiet(self) -> bool:
        """Whether no attempt is in flight, but for those of fan-outs that wait for their elements."""
        return len(self.running) == len(self.fans) and all(fan.is_quiet for fan in self.fans.values())

    def bodies(self) -> Iterator[asyncio.Future[Any]]:
        """Yield the bodies that may have outlived their attempts."""
        yield from self.overrun.values()
        yield from self.outlived

    def drives(self) -> Iterator[Drive]:
        """Yield this drive, and those of the elements at work."""
        yield self
        for fan in self.fans.values():
            yield from fan.drives()

    def attempts(self) -> Iterator[tuple[Drive, int]]:
        """Yield the attempts in flight: nodes of this drive, and of those inside its fan-outs."""
        yield from ((self, node) for node in self.running if node not in self.fans)
        for fan in self.fans.values():
            yield from fan.attempts()

    def fault(self, node: int) -> FailureRow | None:
        """Return how the task failed that ``node`` stands in for, None if it is no handler."""
        rescued = self.plan.nodes[node].rescues
        return None if rescued is None else self.faults[rescued]

    def start(self, node: int) -> Running | None:
        """Begin an attempt of ``node``; None if the machine refuses."""
        if self.is_held or (self.overrun and self.held_up(node)):
            return None
        if self.plan.nodes[node].wait is not None:
            self.waits.begin(node)
            return None
        worker = self.worker
        decision = step(self.plan, self.state, Begin(node, worker.session, worker.now()))
        if isinstance(decision, Rejected) or not isinstance(event := decision[0], AttemptStarted):
            if (due := self.state.retry_at.get(node)) is not None:  # the clock was set back since it was offered
                worker.offer_at(due, self, node)
            return None
        running = self.running[node] = Running(event.attempt, event.at, self, node)
        if self.listeners and self.shows(node):
            self.publish(RunEvent("task_started", self.plan.nodes[node].task, moment(event.at), event.attempt))
        return running

    def held_up(self, node: int) -> bool:
        """Whether an earlier body of this node still runs, that could not be stopped: then wait for it."""
        body = self.overrun.get(node)
        if body is None or body.done():
            return False
        body.add_done_callback(lambda _: self.worker.offer(self, node))
        return True

    def outlives(self, node: int, body: asyncio.Future[Any]) -> None:
        """Keep a body that could not be stopped when its attempt was over."""
        self.overrun[node] = body

    def report(self, node: int, attempt: int, report: Report) -> None:
        """Take the end of an attempt: append its rows; release what follows once they are durable."""
        running = self.running.pop(node, None)
        if self.fans:
            self.fans.pop(node, None)
        if self.dropped or self.state.over:  # another may drive the run by now, here or elsewhere
            self._give_back_slot(running, report)
            return
        worker = self.worker
        at, lease = worker.now(), worker.session
        started_at = running.started_at if running else at
        batch = worker.commits.batch(ROWS_OF_A_REPORT)  # all of them in one transaction
        if running and running.shown:
            batch.settled.append((self.id, self.name_of(node)))
        if running and running.ticket:
            self._give_back_slot(running, report, batch)
        if isinstance(report, Returned):
            events = self.command(Complete(node, attempt, lease, at, report.verdict))
            if events:
                self.outputs.raw[node] = report.payload
                stored = report.payload if report.verdict is None else str(report.verdict).lower()
                name, code = self.name_of(node), self.codes.get(node)
                batch.tasks.append(TaskRow(self.id, name, "succeeded", attempt, lease, started_at, at, stored, code))
                if report.origin is not None or (running and running.cache_key is not None):
                    self.keep(batch, node, running, report)
        else:
            if report.still_running is not None:
                self.outlives(node, report.still_running)
            typed = report.error is not None
            events = self.command(Fail(node, attempt, lease, at, report.retryable, worker.chance(), typed))
            if events:
                self.messages[node] = report.message
                self.failed(batch, node, started_at, report, events[0])
        if events:
            self.follow(events, batch)
            if self.root.state.pausing:
                self.root.put_back()

    def keep(self, batch: Batch, node: int, running: Running | None, report: Returned) -> None:
        """Keep a result for other runs, or say whose it is."""
        if report.origin is not None:
            at, whose = self.worker.now(), f"the result of run {report.origin}"
            self.noted(batch, NoteRow(self.id, at, "cache_hit", self.shown(node), whose))
        elif running is not None and running.cache_key is not None and report.payload is not None:
            batch.cached.append(CacheRow(self.id, running.cache_key, report.payload, self.plan.nodes[node].task))

    def _give_back_slot(self, running: Running | None, report: Report, batch: Batch | None = None) -> None:
        if running and running.ticket:
            body = report.still_running if isinstance(report, Raised) else None
            self.worker.queues.over(running.ticket, batch, body)

    def completion(self, node: int, attempt: int, report: Returned) -> Completion | None:
        """Return the rows of a success that is committed by itself, with the run's end if there is nothing else to do.

        None if the run is not this worker's any more, or has ended.
        """
        if self.dropped or self.state.over or node not in self.running:
            return None
        at, lease, name = self.worker.now(), self.worker.session, self.name_of(node)
        batch = self.worker.commits.lone(at)
        started_at = self.running[node].started_at
        row = TaskRow(self.id, name, "succeeded", attempt, lease, started_at, at, report.payload, self.code(node))
        batch.tasks.append(row)
        self.committing[node] = None
        last = self.state.unfinished == 1 and not self.unsettled  # else the end comes with the rows that it waits for
        if last and not self.plan.has_epilogue:
            self.close(batch, EndRow(self.id, "failed" if self.state.failed else "succeeded", at, None))
        return Completion(Complete(node, attempt, lease, at, None), batch)

    def answered(self, node: int) -> None:
        """It is known what has become of a commit of a success by itself, or nobody here will know."""
        self.committing.pop(node, None)
        if self.cancelling and not self.committing and not self.dropped:
            self.cancelling = False
            self.cancel()

    def completed(self, done: Completion, report: Returned) -> None:
        """Tell the machine of a success that is durable, and release what follows once all before it is durable."""
        node = done.command.node
        running = self.running.pop(node, None)
        events = () if self.dropped or self.state.over else self.command(done.command)
        if not events:
            return
        self.outputs.raw[node] = report.payload
        if running and running.shown:
            self.worker.commits.batch().settled.append((self.id, self.name_of(node)))
        last = events[-1]
        waits = self.unsettled or isinstance(last, OutcomeReached | RunPaused | RunSucceeded | RunFailed | RunCancelled)
        if waits and not done.batch.ends:
            self.follow(events, self.worker.commits.batch())
        else:
            self.unsettled += 1
            self.committed(events, self.state.take_news(), ENDINGS.get(type(events[-1])))
        if self.root.state.pausing:
            self.root.put_back()

    def cancel(self) -> None:
        """End the run now. Attempts in flight are cancelled, or their results ignored; notes say which.

        What has succeeded is undone first. A run whose outcome is known already stays as it is.
        """
        if self.committing and self.plan.has_epilogue:  # what turns out to have succeeded is to be undone
            self.cancelling = True
            return
        at = self.worker.now()
        events = self.command(Cancel(at))
        if events:
            attempts = list(self.attempts())
            batch = self.worker.commits.batch(4 + 2 * len(attempts) + len(self.fans))
            for drive, node in attempts:
                self.noted(batch, drive.ignored(node, at))
            for drive, node in (*((self, node) for node in self.fans), *attempts):
                if drive.running[node].shown:
                    batch.settled.append((self.id, drive.name_of(node)))
            self.follow(events, batch)
            self.stop_attempts()
            self.drop_fans()
            self.worker.forsake(self)
            self.running.clear()
            self.fans.clear()

    def pause(self) -> None:
        """Start no attempt any more. Once none is in flight, the run is given back, and is paused then."""
        events = () if self.deaf else self.command(Pause(self.worker.now()))
        if events:
            self.worker.queues.withdraw(self)
            batch = self.worker.commits.batch(2)
            if self.state.pausing:
                batch.heard.append(self.id)
            self.follow(events, batch)
            self.put_back()

    def put_back(self) -> None:
        """Break off the fan-outs of a run that pauses, once no attempt is in flight: it does not wait for them.

        What their elements have done is stored, and read again when the run goes on. While an attempt is in flight,
        inside or beside, the pause may be withdrawn: then the elements go on as they are.
        """
        if not self.is_quiet:
            return
        for node in list(self.fans):
            self.fans.pop(node).drop()
            running = self.running.pop(node)
            if events := self.command(PutBack(node, running.attempt, self.worker.session, self.worker.now())):
                batch = self.worker.commits.batch()
                if running.shown:
                    batch.settled.append((self.id, self.name_of(node)))
                self.follow(events, batch)

    def resume(self) -> None:
        """Go on after all: nobody wants the run to pause any more. What is not durable yet is offered once it is."""
        if self.state.pausing and self.command(Resume(self.worker.now())):
            self.worker.commits.batch()
            self.worker.commits.then(self.offer_enabled)
            self.worker.commits.then(self.waits.go_on)

    def alarm(self, node: int) -> None:
        """The moment has come that a node waits for."""
        if not self.is_gone and node in self.state.waits:
            self.waits.time_is_up(node)

    def release(self, batch: Batch) -> None:
        """Give the paused run back, once no body is left that could not be stopped: another would run beside it."""
        body = next((body for body in self.bodies() if not body.done()), None)
        if body is None:
            batch.released.append(self.id)
            self.worker.commits.then(self.released)
        else:
            batch.heard.append(self.id)
            body.add_done_callback(lambda _: self.release_late())

    def release_late(self) -> None:
        """The body that was waited for is over: give the run back, unless it has ended meanwhile or is another's."""
        if not self.dropped and self.state.status is PAUSED:
            self.release(self.worker.commits.batch())

    def released(self) -> None:
        """The run is given back, which is durable now: let go of it."""
        if not self.dropped:
            self.worker.released(self)
            self.drop()

    def begin_to_abandon(self, crashes: int) -> None:
        """Take the run only to end it as failed: it has cost too many workers their lives."""
        at = self.worker.now()
        events = self.command(Adopt(self.worker.session, at))
        batch, reason = self.worker.commits.batch(4), None
        if len(events) == 1:
            reason = f"{crashes} workers died while they drove this run; it is not tried again"
            if self.closing is not None:
                self.noted(batch, NoteRow(self.id, at, "epilogue_abandoned", None, reason))
            events = self.command(Abandon(at))
        if events:
            self.follow(events, batch, reason)
        if reason is not None:
            self.worker.forsake(self)

    def drop(self) -> None:
        """Let go of the run without a trace: another worker has it, or will."""
        self.dropped = True
        self.stop_attempts()
        self.drop_fans()
        self.publish(RunEvent(DROPPED, None, moment(self.worker.now())))
        self.wake()

    def stop_attempts(self) -> None:
        """Cancel the attempts in flight, the latest first: bodies that wait for a thread, before one becomes free."""
        for drive, node in reversed(list(self.attempts())):
            running = drive.running[node]
            running.stopped = True
            if running.serving is not None:
                running.serving.cancel()

    def drop_fans(self) -> None:
        """Let go of all elements: whatever they still report is ignored."""
        for fan in self.fans.values():
            fan.drop()

    def command(self, command: Command) -> tuple[Event, ...]:
        """Put a command through the machine; () if it is refused."""
        decision = step(self.plan, self.state, command)
        return () if isinstance(decision, Rejected) else decision

    def failed(self, batch: Batch, node: int, started_at: float, report: Raised, event: Event) -> None:
        """Append the row of a failed attempt and, if it was the last, of the task."""
        assert isinstance(event, AttemptFailed | TaskFailed)  # what the machine answers to Fail
        retry_at = event.retry_at if isinstance(event, AttemptFailed) else None
        name, session = self.name_of(node), self.worker.session
        what = (report.exception_type, report.message, report.traceback, report.error)
        row = FailureRow(self.id, name, event.attempt, session, started_at, event.at, *what, retry_at, self.code(node))
        batch.failures.append(row)
        if self.root.told_failures is not None:
            self.root.told_failures.append(row)
        if self.plan.nodes[node].handler is not None:
            self.faults[node] = row._replace(name=self.plan.nodes[node].name)
        if retry_at is None:
            end = (event.attempt, session, started_at, event.at, None, self.code(node))
            batch.tasks.append(TaskRow(self.id, name, "failed", *end))

    def ignored(self, node: int, at: float) -> NoteRow:
        """Return the note that an attempt was stopped, or its result is ignored, because the run has ended."""
        plan_node = self.plan.nodes[node]
        stopped = plan_node.body is not None and plan_node.body.signature.is_async
        detail = "the attempt was cancelled" if stopped else "a thread can't be stopped: its result is ignored"
        if runs_in_a_child(plan_node):
            detail = "the attempt was cancelled, and its process killed"
        return NoteRow(self.id, at, "attempt_ignored", self.name_of(node), detail)

    def note(self, kind: str, task: str | None, detail: str, at: float) -> None:
        """Append a note about something that no other row says."""
        self.noted(self.worker.commits.batch(), NoteRow(self.id, at, kind, task, detail))

    def noted(self, batch: Batch, note: NoteRow) -> None:
        """Append a note, and tell it once it is durable."""
        batch.notes.append(note)
        told = RunEvent(note.kind, note.task, moment(note.at), None, note.detail)
        self.worker.commits.then(partial(self.publish, told))

    def follow(self, events: tuple[Event, ...], batch: Batch, reason: str | None = None) -> None:
        """Append the run's end, if it has come, and release what ``events`` made possible once that is durable."""
        news = self.state.take_news()
        end = events[-1]
        if len(events) == 1 and isinstance(end, TaskSucceeded):
            self.unsettled += 1
            self.worker.commits.then(partial(self.succeeded, events, news))
            return
        ending = ENDINGS.get(type(end))
        for event in events:
            if isinstance(event, OutcomeReached):
                self.reached(event, batch, reason)
        if ending is not None:
            because = reason if self.closing is None else self.closing.reason
            self.close(batch, EndRow(self.id, ending, end.at, because))
        self.unsettled += 1
        self.worker.commits.then(partial(self.committed, events, news, ending))
        if isinstance(end, RunPaused):
            self.release(batch)

    def close(self, batch: Batch, end: EndRow) -> None:
        """Append the run's end; its parent is told of it with the same commit, and its child runs end with it."""
        batch.ends.append(end)
        if self.row.parent is not None:
            batch.roused.append(self.row.parent)
        if self.plan.starts_runs and end.status != "succeeded":
            batch.forsaken.append(self.id)

    def reached(self, outcome: OutcomeReached, batch: Batch, reason: str | None) -> None:
        """The outcome is known, and the epilogue due: whoever drives the run from here on goes on with that."""
        self.deaf = True
        self.closing = Closing(outcome.status, outcome.at, reason, self.row.crashes)
        batch.closings.append(closing_row(self.id, self.closing))
        self.noted(batch, NoteRow(self.id, outcome.at, "outcome_reached", None, outcome.status))
        if self.plan.starts_runs and outcome.status is not RunStatus.SUCCEEDED:
            batch.forsaken.append(self.id)  # before anything is undone that they may rely on

    @property
    def is_hopeless(self) -> bool:
        """Whether the run, or its epilogue, has cost too many workers their lives."""
        return self.row.crashes >= FATAL_CRASHES + (0 if self.closing is None else self.closing.crashes)

    def failure(self) -> RunFailure[Any]:
        """Return why the run fails, while its epilogue is under way."""
        assert self.closing is not None
        assert self.told_failures is not None
        status, at, reason, _ = self.closing
        row = self.row._replace(status=status, finished_at=at, reason=reason)
        rescues = [node for node in self.plan.nodes if node.rescues is not None]
        ended = [node for node in rescues if self.state.tasks[node.index] in (TaskStatus.SUCCEEDED, TaskStatus.FAILED)]
        rows = [TaskRow(self.id, n.name, self.state.tasks[n.index], 1, 0, at, at, None) for n in ended]
        return run_failure(self.plan, History(row, rows, self.told_failures, [], []), self.worker.codec)

    def committed(self, events: tuple[Event, ...], news: list[int], ending: str | None) -> None:
        """The rows are durable: tell who listens, start what may start, let go of a run that has ended."""
        self.unsettled -= 1
        if self.dropped:
            return
        if self.begun:
            self.tell(events)
        if any(isinstance(event, OutcomeReached) for event in events):
            self.deaf = False
            self.closed.set()
        if self.listeners:
            for told in self.described(events, news):
                self.publish(told)
        for event in events:
            if isinstance(event, AttemptFailed):
                self.worker.offer_at(event.retry_at, self, event.node)
            if isinstance(event, WaitBegun):
                self.waits.begun(event)
        if ending is not None:
            self.worker.finished(self)
            self.wake()
        else:
            self.go_on(news)

    def succeeded(self, events: tuple[Event, ...], news: list[int]) -> None:
        """A success is durable, and nothing else has come of it than what is in ``news``: as ``committed``."""
        self.unsettled -= 1
        if self.dropped:
            return
        if self.begun:
            self.tell(events)
        if self.listeners:
            for told in self.described(events, news):
                self.publish(told)
        self.go_on(news)

    def go_on(self, news: list[int]) -> None:
        """Offer what has become ready."""
        for node in news:
            if self.state.tasks[node] is READY:
                self.worker.offer(self, node)
        self.worker.weigh(self)

    def tell(self, events: tuple[Event, ...]) -> None:
        """Tell OpenTelemetry of attempts whose end is durable."""
        telemetry = self.worker.telemetry
        for event in events:
            if isinstance(event, TaskSucceeded | TaskFailed | AttemptFailed):
                begun = self.begun.pop((event.node, event.attempt), None)
                if begun is not None and telemetry is not None:
                    telemetry.committed(self.row, begun, event)

    def wake(self) -> None:
        """Wake whoever waits for the end."""
        self.closed.set()
        self.ended.set()

    async def known(self) -> bool:
        """Wait for the outcome to be durable; False if the run was dropped instead."""
        await self.closed.wait()
        return not self.dropped

    async def wait(self) -> bool:
        """Wait for the run's end to be durable; False if the run was dropped instead."""
        self.watchers += 1
        try:
            await self.ended.wait()
        finally:
            self.watchers -= 1
        return not self.dropped

    def visible(self, older_than: float) -> Iterator[AttemptRow]:
        """Yield the attempts that other processes should see by now."""
        for drive, node in (*((self, node) for node in self.fans), *self.attempts()):
            running = drive.running[node]
            if running.started_at <= older_than and (not running.shown or running.beat_at is not None):
                running.shown = True
                yield drive.attempt_row(node)
                running.beat_at = None  # written again only after another beat

    def attempt_row(self, node: int) -> AttemptRow:
        """Return an attempt in flight as other processes see it."""
        running, name = self.running[node], self.name_of(node)
        since = (self.worker.session, running.started_at, running.beat_at)
        return AttemptRow(self.id, name, running.attempt, *since, self.code(node))

    def code(self, node: int) -> str | None:
        """Return the fingerprint of the code that a node runs, None if it runs none."""
        return self.codes.get(node)

    def publish(self, event: RunEvent) -> None:
        """Hand an event to whoever listens."""
        for listener in self.listeners:
            listener(event)

    def described(self, events: tuple[Event, ...], news: list[int]) -> Iterator[RunEvent]:
        """Yield durable events in the users' words."""
        at = moment(events[-1].at)
        for event in events:
            match event:
                case TaskSucceeded(node, attempt) if self.shows(node):
                    yield RunEvent("task_succeeded", self.plan.nodes[node].task, moment(event.at), attempt)
                case WaitBegun(node, attempt):
                    yield RunEvent("wait_began", self.plan.nodes[node].task, moment(event.at), attempt)
                case AttemptFailed(node, attempt) | TaskFailed(node, attempt):
                    kind = "attempt_failed" if isinstance(event, AttemptFailed) else "task_failed"
                    task, message = self.plan.nodes[node].task, self.messages.get(node, "")
                    yield RunEvent(kind, task, moment(event.at), attempt, message)
                case _:
                    pass
        for node in news:
            if self.state.tasks[node] is TaskStatus.SKIPPED and shows_skip(self.plan, self.state, node):
                yield RunEvent("task_skipped", self.plan.nodes[node].task, at)
        if type(events[-1]) in ENDINGS:
            yield RunEvent(f"run_{ENDINGS[type(events[-1])]}", None, at)

    def shows(self, node: int) -> bool:
        """Whether users see a node."""
        return self.plan.nodes[node].kind in VISIBLE
