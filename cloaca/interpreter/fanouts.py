"""A fan-out at work: the elements of a list, each driven like a run of its own, so many at a time.

To the machine an element is a run; to the store its rows are rows of the run around, under names that say which element
they are about. So lease, fencing, group commit, retries and recovery are those of the run. What is kept for every
element is the text of its output; everything else only for those at work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cloaca.contract.plans import FanOut as FanOutPlan
from cloaca.errors import PayloadTooLarge, WrongOutput
from cloaca.interpreter.answers import Raised, Returned, raised
from cloaca.interpreter.drives import Drive
from cloaca.interpreter.scopes import Rows, prefix_of
from cloaca.machine.fanouts import Window

if TYPE_CHECKING:
    from cloaca.contract.plans import Plan
    from cloaca.current import Place
    from cloaca.interpreter.group_commit import GroupCommit
    from cloaca.interpreter.queues import Queues
    from cloaca.machine.events import Event
    from cloaca.ports import Batch, Codec, EndRow, History, NoteRow
    from cloaca.telemetry import Telemetry

TURN = 128  # elements that begin, or are found done, before the event loop gets a turn


class FanOut:
    """The elements of one attempt of a fan-out. To their drives it is what the worker is to a run's.

    ``begin`` starts it; once all elements are done it reports to the drive that it is part of.
    """

    def __init__(self, drive: Drive, node: int, plan: FanOutPlan) -> None:
        self.drive, self.node, self.plan = drive, node, plan
        self.attempt = drive.running[node].attempt
        self.name = drive.name_of(node)
        self.elements: list[Any] = []
        self.around: dict[str, Any] = {}
        self.rows: dict[int, Rows] = {}
        self.window = Window(0, 1)
        self.outputs: list[str] = []  # an element's as JSON text, in the order of the elements
        self.size = 2  # what they amount to so far, in bytes
        self.at_work: dict[int, Element] = {}
        self.resting: set[int] = set()
        self.first_failure: str | None = None
        self.dropped = False
        drive.fans[node] = self

    def begin(self) -> None:
        """Read the list, and begin elements; what is stored about them is not done again."""
        try:
            elements, self.around = self.drive.outputs.element_inputs(self.plan)
            if not isinstance(elements, list):
                raise WrongOutput(f"expected a list to go over, but it is {elements!r:.100}")
        except BaseException as error:  # noqa: BLE001 - a user's reducer may raise anything
            self.drive.report(self.node, self.attempt, raised(error, retryable=False))
            return
        self.elements = elements
        self.rows = dict(self.drive.inside.pop(self.drive.plan.nodes[self.node].name, {}))
        self.window = Window(len(elements), self.plan.limit or self.concurrency)
        self.outputs = ["null"] * len(elements)
        self.fill()

    def fill(self) -> None:
        """Begin elements while there is room; end if all are done."""
        for _ in range(TURN):
            if self.dropped or self.drive.is_held:
                return
            index = self.window.admit()
            if index is None:
                break
            self.start(index, self.rows.pop(index, None))
        else:
            asyncio.get_running_loop().call_soon(self.fill)
        if self.window.over and self.drive.fans.get(self.node) is self:
            self.conclude()

    def start(self, index: int, rows: Rows | None) -> None:
        """Begin an element, or go on where its rows end; count it if it is done."""
        history = (rows or Rows()).history(self.drive.row)
        if rows and rows.all_succeeded(self.plan.plan):
            output = self.plan.plan.nodes[self.plan.output].name
            self.settle(index, True, next(row.output for row in rows.tasks if row.name == output))
            return
        element = Element(self, index, history, {**self.elements[index], **self.around})
        if element.state.unfinished == 0:
            self.settle_by(element)
            return
        self.at_work[index] = element
        element.begin()

    def settle_by(self, element: Element) -> None:
        """Count an element that is done."""
        succeeded = not element.state.failed
        if not succeeded and self.first_failure is None:
            self.first_failure = f"element {element.index}: {element.why}"
        self.settle(element.index, succeeded, self._answer(element))

    def _answer(self, element: Element) -> str | None:
        """What an element comes to: the output of the last task, or what its handler has written in its place."""
        for index in self.plan.plan.answer.nodes:
            if index in element.outputs.raw:
                how = self.plan.plan.nodes[index].stands_in
                return element.outputs.text(how) if how is not None else element.outputs.raw[index]
        return None

    def settle(self, index: int, succeeded: bool, output: str | None) -> None:
        """Count an element as done; stop early where the outputs don't fit into a payload."""
        self.window.settle(index, succeeded=succeeded)
        if output is not None:
            self.outputs[index] = output
            self.size += len(output) if output.isascii() else len(output.encode())
        if self.size + self.window.succeeded > self.codec.limit:
            self.window.close()

    def conclude(self) -> None:
        """Report what has become of the elements."""
        report = self.drive.report
        if self.window.failed:
            count, all = len(self.window.failed), self.window.count
            text = f"{count:,} of {all:,} elements failed; the first was {self.first_failure}"
            report(self.node, self.attempt, Raised("ElementsFailed", text, "", retryable=False))
        elif not self.window.complete:
            error = PayloadTooLarge(self.too_large())
            report(self.node, self.attempt, raised(error, retryable=False))
        else:
            report(self.node, self.attempt, Returned(f"[{','.join(self.outputs)}]"))

    def too_large(self) -> str:
        """Return why the list of outputs can't be kept."""
        window = self.window
        return (
            f"the {window.succeeded:,} outputs so far, of {window.count:,} elements, take {self.size:,} bytes in field "
            f'"{self.plan.into}", so that the list would be larger than payload_limit={self.codec.limit:,}; raise the '
            "limit and retry the run, which keeps what is done, or return less: a key of what is stored elsewhere"
        )

    # What the drive around asks

    @property
    def rests(self) -> bool:
        """Whether the elements at work do nothing but wait for retry delays."""
        return bool(self.at_work) and len(self.resting) == len(self.at_work)

    @property
    def is_quiet(self) -> bool:
        """Whether no attempt is in flight inside."""
        return all(element.is_quiet for element in self.at_work.values())

    def attempts(self) -> Iterator[tuple[Drive, int]]:
        """Yield the attempts in flight inside."""
        for element in self.at_work.values():
            yield from element.attempts()

    def drives(self) -> Iterator[Drive]:
        """Yield the drives of the elements at work, those inside of them too."""
        for element in self.at_work.values():
            yield from element.drives()

    def element(self, index: int) -> Drive | None:
        """Return the drive of an element at work."""
        return self.at_work.get(index)

    def offer_enabled(self) -> None:
        """Go on with the elements at work, and begin others."""
        for element in self.at_work.values():
            element.offer_enabled()
        self.fill()

    def drop(self) -> None:
        """Let go of all elements without a trace."""
        self.dropped = True
        for element in self.at_work.values():
            element.dropped = True
            self.queues.withdraw(element)
            element.drop_fans()

    # What an element's drive asks

    @property
    def session(self) -> int:
        """The worker's session."""
        return self.drive.worker.session

    @property
    def commits(self) -> GroupCommit:
        """The way to the store."""
        return self.drive.worker.commits

    @property
    def queues(self) -> Queues:
        """The queues of the worker."""
        return self.drive.worker.queues

    @property
    def codec(self) -> Codec:
        """What turns models into payloads."""
        return self.drive.worker.codec

    @property
    def concurrency(self) -> int:
        """The most attempts at a time."""
        return self.drive.worker.concurrency

    @property
    def closing(self) -> bool:
        """Whether the worker is leaving."""
        return self.drive.worker.closing

    @property
    def place(self) -> Place:
        """What attempts here have in common."""
        return self.drive.worker.place

    @property
    def telemetry(self) -> Telemetry | None:
        """What tells OpenTelemetry."""
        return self.drive.worker.telemetry

    def codes(self, plan: Plan) -> Mapping[int, str]:
        """Return the fingerprints of the code of a plan's nodes, by index."""
        return self.drive.worker.codes(plan)

    def now(self) -> float:
        """Return seconds since the epoch."""
        return self.drive.worker.now()

    def chance(self) -> float:
        """Return a number from 0 to 1, for jitter."""
        return self.drive.worker.chance()

    def offer(self, drive: Drive, node: int) -> None:
        """Start an attempt of ``node`` as soon as a slot is free."""
        self.drive.worker.offer(drive, node)

    def offer_at(self, due: float, drive: Drive, node: int) -> None:
        """Offer a node once its retry delay is over."""
        self.drive.worker.offer_at(due, drive, node)

    def alarm_at(self, due: float, drive: Drive, node: int) -> None:
        """Say when the time of a wait is up."""
        self.drive.worker.alarm_at(due, drive, node)

    def listen(self, run: int) -> None:
        """Ask what has come for a run from outside."""
        self.drive.worker.listen(run)

    def bear(self, drive: Drive, node: int, input: str | None) -> None:
        """Start a child run."""
        self.drive.worker.bear(drive, node, input)

    def forsake(self, drive: Drive) -> None:
        """An element that ends leaves no child runs behind that its run would not end."""

    def revive(self, drive: Drive, node: int, child: int) -> None:
        """Retry a child run that has ended badly."""
        self.drive.worker.revive(drive, node, child)

    def see_end(self, drive: Drive, node: int, child: int) -> None:
        """Find out how a child run has ended."""
        self.drive.worker.see_end(drive, node, child)

    def weigh(self, drive: Drive) -> None:
        """Count an element among those that rest, or not."""
        assert isinstance(drive, Element)  # only elements have a fan-out for their owner
        rested = self.rests
        if drive.rests and drive.index in self.at_work:
            self.resting.add(drive.index)
        else:
            self.resting.discard(drive.index)
        if self.rests != rested:
            self.drive.worker.weigh(self.drive)

    def finished(self, drive: Drive) -> None:
        """Count an element whose end is durable, and begin another."""
        assert isinstance(drive, Element)
        del self.at_work[drive.index]
        self.resting.discard(drive.index)
        self.settle_by(drive)
        self.fill()
        if self.rests:  # the others did nothing but wait all along
            self.drive.worker.weigh(self.drive)

    def disowned(self, runs: frozenset[int]) -> None:
        """Let go of runs that another has taken."""
        self.drive.worker.disowned(runs)

    def released(self, drive: Drive) -> None:
        """An element is never given back by itself."""
        raise AssertionError(f"element {drive} was paused without its run")


class Element(Drive):
    """The drive of one element. Its rows are the run's, and so is its end: what it comes to, the fan-out is told."""

    def __init__(self, fan: FanOut, index: int, history: History, input: Mapping[str, Any]) -> None:
        super().__init__(fan, fan.plan.plan, history)
        self.fan, self.index = fan, index
        self.prefix = prefix_of(fan.name, index)
        self.outputs.lay(input)
        final = [row for row in history.failures if row.retry_at is None]
        self.why = f"{final[0].exception_type}: {final[0].message}" if final else ""

    @property
    def root(self) -> Drive:
        """The drive of the whole run."""
        return self.fan.drive.root

    @property
    def is_held(self) -> bool:
        """Whether no attempt may begin."""
        return self.dropped or self.root.is_held

    def name_of(self, node: int) -> str:
        """Return the name of a node's rows, which its body knows as that of the task."""
        return self.prefix + self.plan.nodes[node].name

    def shown(self, node: int) -> str:
        """Return the name by which users know a node: with the element that it is for."""
        return self.name_of(node)

    def outlives(self, node: int, body: asyncio.Future[Any]) -> None:
        """Keep a body that could not be stopped when its attempt was over; the run is not given back before."""
        super().outlives(node, body)
        self.root.outlived[body] = None

    def failed(self, batch: Batch, node: int, started_at: float, report: Raised, event: Event) -> None:
        """Append the row of a failed attempt, and remember how the element failed first."""
        super().failed(batch, node, started_at, report, event)
        if self.state.failed and not self.why:
            self.why = f"{report.exception_type}: {report.message}"

    def noted(self, batch: Batch, note: NoteRow) -> None:
        """Append a note, and tell it once it is durable."""
        self.root.noted(batch, note)

    def close(self, batch: Batch, end: EndRow) -> None:
        """Append nothing: an element's end follows from its tasks' rows."""
