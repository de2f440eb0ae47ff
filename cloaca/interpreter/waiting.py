"""What a driven run waits for: timers, signals, child runs; how each begins, and how it ends.

It belongs to one drive, whose machine decides and whose batches it appends to. A wait holds no slot and no task of the
event loop: what is due rings an alarm, what comes from outside is handed over by the worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloaca.algebra.waits import lasting
from cloaca.interpreter.answers import Raised, Report, Returned, raised
from cloaca.interpreter.histories import RunEvent, has_written, moment
from cloaca.interpreter.offspring import ENDED_BADLY, child_input, child_key
from cloaca.machine.commands import Begin, Complete, Fail
from cloaca.machine.events import TaskFailed, WaitBegun
from cloaca.machine.states import overdue
from cloaca.ports import Arrivals, History, RunRow, SignalRow, TaskRow, WaitRow

if TYPE_CHECKING:
    from cloaca.interpreter.drives import Drive

ROWS_OF_AN_END = 5  # a failure or a signal, a task, the run's end or its outcome, who is told, a note


class Waits:
    """The waits of one run.

    ``durable`` are the nodes whose wait is stored, ``began`` since when each waits; ``signals`` are those that nobody
    has taken, oldest first; ``children`` are the child runs by the nodes that wait for them.
    """

    def __init__(self, drive: Drive, history: History) -> None:
        self.drive = drive
        self.began = {drive.plan.by_name[row.name]: row.began_at for row in history.waits if self._goes_on(row)}
        self.durable = set(drive.state.waits)
        self.signals = [signal for signal in history.signals if signal.taken_by is None]
        self.heard = max((signal.id for signal in history.signals), default=0)
        self.taken: set[int] = set()
        self.family = {row.key: row for row in history.children}
        self.children: dict[int, int] = {}
        self.revived: set[int] = set()

    def _goes_on(self, row: WaitRow) -> bool:
        return self.drive.plan.by_name.get(row.name, -1) in self.drive.state.waits

    @property
    def rest(self) -> bool:
        """Whether all waits that have begun are stored."""
        return self.durable == self.drive.state.waits.keys() and not self.revived

    def go_on(self) -> None:
        """Wait on for what a run waited for when it was read, or when it was asked to pause."""
        drive = self.drive
        for node, until in list(drive.state.waits.items()):
            if until is not None:
                drive.worker.alarm_at(until, drive, node)
            if drive.plan.nodes[node].child is not None:
                self._find_child(node)
        self.settle()
        drive.worker.weigh(drive)

    def _find_child(self, node: int) -> None:
        plan_node = self.drive.plan.nodes[node]
        try:
            input = child_input(plan_node, self.drive.outputs, self.drive.worker.codec)
        except BaseException as error:  # noqa: BLE001 - a user's reducer or validator may raise anything
            return self.end(node, raised(error, retryable=False))
        name = self.drive.name_of(node)
        child = self.family.get(child_key(self.drive.id, name, input))
        if child is None:  # other code has made another input of the same fields
            children = [row for row in self.family.values() if row.parent_task == name]
            child = max(children, key=lambda row: row.id, default=None)
        if child is not None:
            self.children[node] = child.id
            self.look_at(node, child)

    # How a wait begins

    def begin(self, node: int) -> None:
        """Begin to wait; of a child run that has ended badly, once it is retried."""
        drive, plan_node = self.drive, self.drive.plan.nodes[node]
        input: str | None = None
        failure: Raised | None = None
        if plan_node.child is not None:
            try:
                input = child_input(plan_node, drive.outputs, drive.worker.codec)
            except BaseException as error:  # noqa: BLE001 - a user's reducer or validator may raise anything
                failure = raised(error, retryable=False)
            child = self.family.pop(child_key(drive.id, drive.name_of(node), input), None)
            if failure is None and child is not None and child.status in ENDED_BADLY:
                self.revived.add(node)
                return drive.worker.revive(drive, node, child.id)
        events = drive.command(Begin(node, drive.worker.session, drive.worker.now()))
        if not events or not isinstance(event := events[0], WaitBegun):
            return None
        self.began[node] = event.at
        batch = drive.worker.commits.batch(2)
        batch.waits.append(WaitRow(drive.id, drive.name_of(node), event.at, event.until))
        if plan_node.child is not None and failure is None:
            drive.worker.bear(drive, node, input)
        drive.follow(events, batch)
        if failure is not None:
            self.end(node, failure)
        return None

    def revive(self, node: int) -> None:
        """The child run of a node was retried."""
        self.revived.discard(node)
        self.drive.worker.offer(self.drive, node)

    def begun(self, event: WaitBegun) -> None:
        """The beginning is durable: what ends the wait may come now, or be there already."""
        if event.node not in self.drive.state.waits:
            return
        self.durable.add(event.node)
        if event.until is not None:
            self.drive.worker.alarm_at(event.until, self.drive, event.node)
        self.take_signals()

    # How a wait ends

    def time_is_up(self, node: int) -> None:
        """A timer is over; who waits for a signal looks once more whether one is there."""
        if self.drive.plan.nodes[node].kind == "sleep":
            self.settle()
        else:
            self.drive.worker.listen(self.drive.id)

    def arrived(self, arrivals: Arrivals) -> None:
        """Take what has come from outside, and give up what has not come in time."""
        new = [signal for signal in arrivals.signals if signal.id not in self.taken]
        for signal in new:
            if signal.id > self.heard:
                self.drive.publish(RunEvent("signal_received", None, moment(signal.sent_at), None, signal.name))
        self.signals, self.heard = new, max((signal.id for signal in new), default=self.heard)
        for child in arrivals.children:
            if child.parent_task is not None and (found := self.drive.locate(child.parent_task)) is not None:
                waiter, node = found
                waiter.waits.look_at(node, child)
        self.settle()

    def look_at(self, node: int, child: RunRow) -> None:
        """If the child run that a node waits for has ended, find out how."""
        if child.finished_at is not None and self.children.get(node) == child.id and node in self.durable:
            self.drive.worker.see_end(self.drive, node, child.id)

    def settle(self) -> None:
        """End what is over: by a signal that is there, or because its time has come."""
        self.take_signals()
        drive = self.drive
        for node in overdue(drive.state, drive.worker.now()):
            if node not in self.durable or drive.is_gone:
                continue
            plan_node = drive.plan.nodes[node]
            if plan_node.kind == "sleep":
                self.end(node, Returned(None))
            elif plan_node.wait is not None:
                within = "in time" if plan_node.wait.seconds is None else f"within {lasting(plan_node.wait.seconds)}"
                text = f"no {drive.plan.channels[node]} was sent {within}"
                self.end(node, Raised("WaitTimeout", text, "", retryable=False))

    def take_signals(self) -> None:
        """Give each signal to the wait that has waited for it longest."""
        channels = self.drive.plan.channels
        for node in [node for node in self.drive.state.waits if node in self.durable and node in channels]:
            signal = next((signal for signal in self.signals if signal.name == channels[node]), None)
            if signal is not None and not self.drive.is_gone:
                self.end(node, Returned(signal.payload), signal)

    def end(self, node: int, report: Report, signal: SignalRow | None = None) -> None:
        """End a wait, unless the machine refuses: in a pause nothing ends."""
        drive = self.drive
        if drive.is_gone or node not in drive.state.waits:
            return
        at, lease, name = drive.worker.now(), drive.worker.session, drive.name_of(node)
        attempt, began_at = drive.state.attempt(node), self.began.get(node, at)
        if isinstance(report, Raised):
            events = drive.command(Fail(node, attempt, lease, at, retryable=False))
        else:
            events = drive.command(Complete(node, attempt, lease, at))
        if not events:
            return
        self.durable.discard(node)
        batch = drive.worker.commits.batch(ROWS_OF_AN_END)
        if isinstance(report, Raised):
            assert isinstance(events[0], TaskFailed)  # what the machine answers to Fail
            drive.messages[node] = report.message
            drive.failed(batch, node, began_at, report, events[0])
        else:
            if has_written(drive.plan.nodes[node], report.payload):
                drive.outputs.raw[node] = report.payload
            batch.tasks.append(TaskRow(drive.id, name, "succeeded", attempt, lease, began_at, at, report.payload))
        if signal is not None:
            self.taken.add(signal.id)
            self.signals.remove(signal)
            batch.taken.append((drive.id, signal.id, name))
        drive.follow(events, batch)
