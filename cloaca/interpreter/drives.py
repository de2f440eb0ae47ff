"""A drive: one run while this worker owns it. Reports go through the machine, rows to the group commit.

The state runs ahead of the database by at most the commit in flight; what a commit makes possible is released only
once it is durable. It knows one run; the worker knows all of them, and how to start attempts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from cloaca.contract.plans import Plan
from cloaca.interpreter.answers import Raised, Report, Returned
from cloaca.interpreter.errands import runs_in_a_child
from cloaca.interpreter.group_commit import GroupCommit
from cloaca.interpreter.histories import RunEvent, moment, restored, shows_skip
from cloaca.interpreter.inputs import Outputs
from cloaca.interpreter.queues import Queues, Ticket
from cloaca.machine.commands import Abandon, Adopt, Begin, Cancel, Command, Complete, Fail, Pause, Resume
from cloaca.machine.decisions import Rejected, step
from cloaca.machine.events import (
    AttemptFailed,
    AttemptStarted,
    Event,
    RunCancelled,
    RunFailed,
    RunPaused,
    RunSucceeded,
    TaskFailed,
    TaskSucceeded,
)
from cloaca.machine.states import enabled
from cloaca.machine.statuses import RunStatus, TaskStatus
from cloaca.ports import AttemptRow, Batch, EndRow, FailureRow, History, NoteRow, TaskRow

ROWS_OF_A_REPORT = 3  # a failure, a task, the run's end
ENDINGS = {RunSucceeded: "succeeded", RunFailed: "failed", RunCancelled: "cancelled"}
DROPPED = "run_dropped"  # tells listeners that this process drives the run no more; users don't see it


@dataclass(slots=True)
class Running:
    """An attempt in flight. ``shown`` once other processes can see it, ``stopped`` once the worker has cancelled it."""

    attempt: int
    started_at: float
    task: asyncio.Task[None] | None = None
    beat_at: float | None = None
    shown: bool = False
    stopped: bool = False
    ticket: Ticket | None = None  # of the slot that it holds in a queue


@dataclass(frozen=True, slots=True)
class Completion:
    """An attempt's success, as it is to be committed by itself before the machine hears of it."""

    command: Complete
    batch: Batch


class Owner(Protocol):
    """What a drive needs of the worker that owns it."""

    session: int
    commits: GroupCommit
    queues: Queues
    closing: bool

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
        self.worker, self.plan, self.row = worker, plan, history.run
        self.id = history.run.id
        self.state = restored(plan, history)
        self.outputs = Outputs(history.run.input)
        for row in history.tasks:
            if row.status == "succeeded":
                self.outputs.raw[plan.by_name[row.name]] = row.output
        self.running: dict[int, Running] = {}
        self.tickets: dict[int, Ticket] = {}  # nodes that wait for a slot of a queue, or hold one
        self.queued = 0  # how many of them wait
        self.delayed: set[int] = set()  # nodes whose retry delay is not over
        self.overrun: dict[int, asyncio.Future[Any]] = {}
        self.messages: dict[int, str] = {}  # why the latest attempt failed, for who listens
        self.listeners: list[Callable[[RunEvent], None]] = []
        self.ended = asyncio.Event()
        self.dropped = False
        self.unsettled = 0  # reports and the like whose rows are not durable yet

    def begin(self) -> None:
        """Take the run under this worker's lease, and offer whatever may start."""
        at = self.worker.now()
        events = self.command(Adopt(self.worker.session, at))
        self.state.take_news()
        if self.state.over:  # there is nothing left to do, as when every task is skipped
            self.follow(events, self.worker.commits.batch())
        self.offer_enabled()

    def offer_enabled(self) -> None:
        """Offer whatever may start, now or after its retry delay."""
        at = self.worker.now()
        for node in () if self.dropped else enabled(self.state, at):
            self.worker.offer(self, node)
        for node, due in self.state.retry_at.items():
            if due > at and not self.dropped:
                self.worker.offer_at(due, self, node)

    @property
    def rests(self) -> bool:
        """Whether the run does nothing but wait for retry delays and slots of queues."""
        waits = len(self.delayed) + self.queued
        if not waits or self.running:
            return False
        return waits == len(self.state.ready) + len(self.state.retry_at)  # else more may start, or is not yet durable

    @property
    def is_idle(self) -> bool:
        """Whether no attempt is in flight, nor a body that outlived its attempt."""
        return not self.running and all(body.done() for body in self.overrun.values())

    def start(self, node: int) -> int | None:
        """Begin an attempt of ``node``; return its number, None if the machine refuses."""
        if self.dropped or self.state.pausing or self.state.status is RunStatus.PAUSED or self.held_up(node):
            return None
        decision = self.command(Begin(node, self.worker.session, self.worker.now()))
        if not decision or not isinstance(event := decision[0], AttemptStarted):
            if (due := self.state.retry_at.get(node)) is not None:  # the clock was set back since it was offered
                self.worker.offer_at(due, self, node)
            return None
        self.running[node] = Running(event.attempt, event.at)
        if self.listeners and self.shows(node):
            self.publish(RunEvent("task_started", self.plan.nodes[node].task, moment(event.at), event.attempt))
        return event.attempt

    def held_up(self, node: int) -> bool:
        """Whether an earlier body of this node still runs, that could not be stopped: then wait for it."""
        body = self.overrun.get(node)
        if body is None or body.done():
            return False
        body.add_done_callback(lambda _: self.worker.offer(self, node))
        return True

    def report(self, node: int, attempt: int, report: Report) -> None:
        """Take the end of an attempt: append its rows; release what follows once they are durable."""
        running = self.running.pop(node, None)
        if self.dropped or self.state.over:  # another may drive the run by now, here or elsewhere
            self._give_back_slot(running, report)
            return
        at, lease = self.worker.now(), self.worker.session
        started_at = running.started_at if running else at
        batch = self.worker.commits.batch(ROWS_OF_A_REPORT)  # all of them in one transaction
        if running and running.shown:
            batch.settled.append((self.id, self.plan.nodes[node].name))
        self._give_back_slot(running, report, batch)
        match report:
            case Returned(payload, verdict):
                events = self.command(Complete(node, attempt, lease, at, verdict))
                if events:
                    self.outputs.raw[node] = payload
                    stored = payload if verdict is None else str(verdict).lower()
                    name = self.plan.nodes[node].name
                    batch.tasks.append(TaskRow(self.id, name, "succeeded", attempt, lease, started_at, at, stored))
            case Raised():
                if report.still_running is not None:
                    self.overrun[node] = report.still_running
                events = self.command(Fail(node, attempt, lease, at, report.retryable, self.worker.chance()))
                if events:
                    self.messages[node] = report.message
                    self.failed(batch, node, started_at, report, events[0])
        if events:
            self.follow(events, batch)

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
        at, lease, name = self.worker.now(), self.worker.session, self.plan.nodes[node].name
        batch = self.worker.commits.lone(at)
        started_at = self.running[node].started_at
        batch.tasks.append(TaskRow(self.id, name, "succeeded", attempt, lease, started_at, at, report.payload))
        if self.state.unfinished == 1 and not self.unsettled:  # else the end comes with the rows that it waits for
            batch.ends.append(EndRow(self.id, "failed" if self.state.failed else "succeeded", at, None))
        return Completion(Complete(node, attempt, lease, at, None), batch)

    def completed(self, done: Completion, report: Returned) -> None:
        """Tell the machine of a success that is durable, and release what follows once all before it is durable."""
        node = done.command.node
        running = self.running.pop(node, None)
        events = () if self.dropped or self.state.over else self.command(done.command)
        if not events:
            return
        self.outputs.raw[node] = report.payload
        if running and running.shown:
            self.worker.commits.batch().settled.append((self.id, self.plan.nodes[node].name))
        waits = self.unsettled or isinstance(events[-1], RunPaused | RunSucceeded | RunFailed)
        if waits and not done.batch.ends:
            self.follow(events, self.worker.commits.batch())
        else:
            self.unsettled += 1
            self.committed(events, self.state.take_news(), ENDINGS.get(type(events[-1])))

    def cancel(self) -> None:
        """End the run now. Attempts in flight are cancelled, or their results ignored; notes say which."""
        at = self.worker.now()
        events = self.command(Cancel(at))
        if events:
            batch = self.worker.commits.batch(1 + len(self.running))
            for node in self.running:
                self.noted(batch, self.ignored(node, at))
            self.follow(events, batch)
            self.stop_attempts()

    def pause(self) -> None:
        """Start no attempt any more. Once none is in flight, the run is given back, and is paused then."""
        events = self.command(Pause(self.worker.now()))
        if events:
            self.worker.queues.withdraw(self)
            batch = self.worker.commits.batch(2)
            if self.state.pausing:
                batch.heard.append(self.id)
            self.follow(events, batch)

    def resume(self) -> None:
        """Go on after all: nobody wants the run to pause any more. What is not durable yet is offered once it is."""
        if self.state.pausing and self.command(Resume(self.worker.now())):
            self.worker.commits.batch()
            self.worker.commits.then(self.offer_enabled)

    def release(self, batch: Batch) -> None:
        """Give the paused run back, once no body is left that could not be stopped: another would run beside it."""
        body = next((body for body in self.overrun.values() if not body.done()), None)
        if body is None:
            batch.released.append(self.id)
            self.worker.commits.then(self.released)
        else:
            batch.heard.append(self.id)
            body.add_done_callback(lambda _: self.release_late())

    def release_late(self) -> None:
        """The body that was waited for is over: give the run back, unless it has ended meanwhile or is another's."""
        if not self.dropped and self.state.status is RunStatus.PAUSED:
            self.release(self.worker.commits.batch())

    def released(self) -> None:
        """The run is given back, which is durable now: let go of it."""
        if not self.dropped:
            self.worker.released(self)
            self.drop()

    def begin_to_abandon(self, crashes: int) -> None:
        """Take the run only to end it as failed: it has cost too many workers their lives."""
        at = self.worker.now()
        adopted = self.command(Adopt(self.worker.session, at))
        if self.state.over:
            self.follow(adopted, self.worker.commits.batch())
        elif events := self.command(Abandon(at)):
            self.follow(
                events,
                self.worker.commits.batch(),
                f"{crashes} workers died while they drove this run; it is not tried again",
            )

    def drop(self) -> None:
        """Let go of the run without a trace: another worker has it, or will."""
        self.dropped = True
        self.stop_attempts()
        self.publish(RunEvent(DROPPED, None, moment(self.worker.now())))
        self.wake()

    def stop_attempts(self) -> None:
        """Cancel the attempts in flight, the latest first: bodies that wait for a thread, before one becomes free."""
        for running in reversed(list(self.running.values())):
            running.stopped = True
            if running.task is not None:
                running.task.cancel()

    def command(self, command: Command) -> tuple[Event, ...]:
        """Put a command through the machine; () if it is refused."""
        decision = step(self.plan, self.state, command)
        return () if isinstance(decision, Rejected) else decision

    def failed(self, batch: Batch, node: int, started_at: float, report: Raised, event: Event) -> None:
        """Append the row of a failed attempt and, if it was the last, of the task."""
        assert isinstance(event, AttemptFailed | TaskFailed)  # what the machine answers to Fail
        retry_at = event.retry_at if isinstance(event, AttemptFailed) else None
        name, session = self.plan.nodes[node].name, self.worker.session
        what = (report.exception_type, report.message, report.traceback, report.error)
        batch.failures.append(FailureRow(self.id, name, event.attempt, session, started_at, event.at, *what, retry_at))
        if retry_at is None:
            batch.tasks.append(TaskRow(self.id, name, "failed", event.attempt, session, started_at, event.at, None))

    def ignored(self, node: int, at: float) -> NoteRow:
        """Return the note that an attempt was stopped, or its result is ignored, because the run has ended."""
        plan_node = self.plan.nodes[node]
        stopped = plan_node.body is not None and plan_node.body.signature.is_async
        detail = "the attempt was cancelled" if stopped else "a thread can't be stopped: its result is ignored"
        if runs_in_a_child(plan_node):
            detail = "the attempt was cancelled, and its process killed"
        return NoteRow(self.id, at, "attempt_ignored", plan_node.task, detail)

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
        ending = ENDINGS.get(type(end))
        if ending is not None:
            batch.ends.append(EndRow(self.id, ending, end.at, reason))
        self.unsettled += 1
        self.worker.commits.then(partial(self.committed, events, news, ending))
        if isinstance(end, RunPaused):
            self.release(batch)

    def committed(self, events: tuple[Event, ...], news: list[int], ending: str | None) -> None:
        """The rows are durable: tell who listens, start what may start, let go of a run that has ended."""
        self.unsettled -= 1
        if self.dropped:
            return
        if self.listeners:
            for told in self.described(events, news):
                self.publish(told)
        for event in events:
            if isinstance(event, AttemptFailed):
                self.worker.offer_at(event.retry_at, self, event.node)
        for node in news:
            if self.state.tasks[node] is TaskStatus.READY:
                self.worker.offer(self, node)
        if ending is not None:
            self.worker.finished(self)
            self.wake()
        else:
            self.worker.weigh(self)

    def wake(self) -> None:
        """Wake whoever waits for the end."""
        self.ended.set()

    async def wait(self) -> bool:
        """Wait for the run's end to be durable; False if the run was dropped instead."""
        await self.ended.wait()
        return not self.dropped

    def visible(self, older_than: float) -> Iterator[AttemptRow]:
        """Yield the attempts that other processes should see by now."""
        for node, running in self.running.items():
            if running.started_at <= older_than and (not running.shown or running.beat_at is not None):
                running.shown = True
                name = self.plan.nodes[node].name
                session, beat_at = self.worker.session, running.beat_at
                running.beat_at = None  # written again only after another beat
                yield AttemptRow(self.id, name, running.attempt, session, running.started_at, beat_at)

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
        return self.plan.nodes[node].kind in ("task", "exit")
