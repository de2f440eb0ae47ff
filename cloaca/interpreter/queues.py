"""The queues of a worker: its tasks that wait for a slot, and those that hold one.

A slot is a row in the store, held by the worker's session: it is there before the body begins, and goes in the
transaction that commits the attempt's end. The store decides who gets one. This module says what is wanted, hands out
what was given, and gives back what is over; a body that can't be stopped keeps its slot for as long as it works.
It knows no statement and no limit.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from cloaca.errors import LeaseLost, StoreError
from cloaca.interpreter.group_commit import GroupCommit
from cloaca.ports import Batch, Executor, Granted, SlotRow, Store

if TYPE_CHECKING:
    from cloaca.interpreter.drives import Drive

logger = logging.getLogger("cloaca.worker")

MOST_WANTED = 1000  # at a time
SHORTEST_PAUSE_S = 0.001
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0  # between looks for slots that other processes have freed
LONGEST_WAIT_S = 60.0  # for a rate that may be declared anew meanwhile

numbers = itertools.count(1)


@dataclass(slots=True, eq=False)
class Ticket:
    """A node that waits for a slot, or holds one.

    ``flying``: the store is just asked for it, ``known``: the store has answered. ``held``: it has its slot, ``begun``:
    an attempt has begun with it, ``over``: that has ended, or is wanted no more. ``busy``: a body works on a thread;
    ``lock`` is between that and the end.
    """

    number: int
    queue: str
    drive: Drive
    node: int
    flying: bool = False
    known: bool = False
    held: bool = False
    begun: bool = False
    over: bool = False
    busy: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def row(self) -> SlotRow:
        """What is asked of the store."""
        run, task = self.drive.row, self.drive.name_of(self.node)
        return SlotRow(self.number, self.queue, run.priority, run.id, task)

    @property
    def place(self) -> tuple[int, int, int]:
        """What to sort by: the highest priority, the oldest run, the first offer."""
        return (-self.drive.row.priority, self.drive.id, self.number)

    def __lt__(self, other: Ticket) -> bool:
        return self.place < other.place


class Host(Protocol):
    """What the queues need of the worker whose they are."""

    store: Store
    session: int
    commits: GroupCommit

    def now(self) -> float:
        """Return seconds since the epoch."""
        ...

    def begin(self, drive: Drive, node: int) -> None:
        """Start an attempt that has its slot as soon as the worker has time for it."""
        ...

    def spare(self) -> int:
        """Return how many attempts more the worker could begin now."""
        ...

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """Run ``work`` in the background."""
        ...


class Queues:
    """The tickets of one session."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._session, self._commits = host.session, host.commits
        self.line: list[Ticket] = []  # a heap of those that the store does not know
        self._sent: dict[int, Ticket] = {}
        self._leaving: set[int] = set()  # tickets that are given back, which is not durable yet
        self._due: dict[str, float] = {}  # by the loop's clock, when the rate of a queue allows more
        self._asking = self._again = self._closed = False
        self._pause = FIRST_PAUSE_S
        self._timer: asyncio.TimerHandle | None = None

    # What waits

    def wait(self, drive: Drive, node: int, queue: str) -> None:
        """Begin an attempt of ``node`` once there is a slot. A node that waits already is not counted twice."""
        state = drive.state
        if self._closed or node in drive.tickets or drive.dropped or state.over:
            return
        if drive.is_held or drive.held_up(node):
            return  # it is offered again
        ticket = drive.tickets[node] = Ticket(next(numbers), queue, drive, node)
        drive.queued += 1
        heapq.heappush(self.line, ticket)
        drive.worker.weigh(drive)
        self.ask()

    def withdraw(self, drive: Drive) -> None:
        """Want nothing more for a run. What has begun ends by itself."""
        for ticket in [ticket for ticket in drive.tickets.values() if not ticket.begun]:
            self.over(ticket)

    def waiting(self, drive: Drive) -> tuple[Ticket, float | None] | None:
        """Return what a run waits for, if it does, and in how many seconds that is due, if a rate says so."""
        ticket = min((ticket for ticket in drive.tickets.values() if not ticket.held), default=None)
        if ticket is None:
            return None
        due = self._due.get(ticket.queue)
        return ticket, None if due is None else max(0.0, due - asyncio.get_running_loop().time())

    # What is over

    def refused(self, drive: Drive, node: int) -> None:
        """An attempt that has its slot can't begin after all."""
        ticket = drive.tickets.get(node)
        if ticket is not None and not ticket.begun:
            self.over(ticket)

    def over(self, ticket: Ticket, batch: Batch | None = None, body: asyncio.Future[Any] | None = None) -> None:
        """Give a slot back with the rows of ``batch``, or else soon; when ``body`` ends, if that outlives its attempt.

        Idempotent.
        """
        with ticket.lock:
            if ticket.over:
                return
            ticket.over = True
        if ticket.drive.tickets.get(ticket.node) is ticket:
            del ticket.drive.tickets[ticket.node]
        if not ticket.held:
            ticket.drive.queued -= 1
            ticket.drive.worker.weigh(ticket.drive)
        if body is not None and not body.done():
            body.add_done_callback(lambda _: self._free(ticket))
        elif not ticket.busy and not ticket.flying:
            self._free(ticket, batch)

    def _free(self, ticket: Ticket, batch: Batch | None = None) -> None:
        if self._sent.pop(ticket.number, None) is not None:
            self._give_back(ticket.number, batch)

    def _give_back(self, number: int, batch: Batch | None = None) -> None:
        if not self._commits.closed:
            (batch or self._commits.batch()).freed.append(number)
            self._leaving.add(number)
            self._commits.then(partial(self._given_back, number))

    def _given_back(self, number: int) -> None:
        self._leaving.discard(number)
        self.look()

    def holding(self, ticket: Ticket, executor: Executor) -> Executor:
        """Return an executor whose bodies keep a slot for as long as they work."""
        return _Holding(executor, ticket, self._body_ended)

    def _body_ended(self, ticket: Ticket) -> None:
        """A body on a thread has ended, maybe after its attempt."""
        if ticket.over:
            self._free(ticket)

    def close(self) -> None:
        """Want nothing more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for ticket in [*self.line, *self._sent.values()]:
            if not ticket.begun:
                self.over(ticket)
        self.line.clear()

    # What is asked of the store

    def look(self) -> None:
        """Ask for slots if something waits for one that may be free by now."""
        if self.line or any(ticket.queue not in self._due for ticket in self._waiting()):
            self.ask()

    def ask(self) -> None:
        """Ask for slots, soon: all that is offered in this turn of the event loop goes together."""
        self._again = True
        if not self._asking and not self._closed:
            self._asking = True
            self._host.spawn(self._keep_asking())

    def _waiting(self) -> list[Ticket]:
        """What the store may know to be waiting."""
        return [ticket for ticket in self._sent.values() if not ticket.held and not ticket.over]

    async def _keep_asking(self) -> None:
        try:
            while self._again and not self._closed and not self._commits.closed:
                self._again = False
                await self._ask()
        except LeaseLost:
            if not self._commits.closed:
                self._commits.batch()  # a commit finds that out, too, and begins again under a new session
        except StoreError as error:
            self._due = {}  # so that it is tried again after a pause, not at a time that has come
            logger.warning("Slots of queues could not be asked for, will try again: %s", error)
        except Exception:
            self._due = {}
            logger.exception("Slots of queues could not be asked for, will try again")
        finally:
            self._asking = False
            self._set_timer()

    async def _ask(self) -> None:
        wanted = self._wanted()
        if not self._waiting():
            return
        self._pause = min(self._pause * 2, LONGEST_PAUSE_S)
        try:
            granted = await self._host.store.acquire(self._session, [ticket.row for ticket in wanted], self._host.now())
            for ticket in wanted:
                ticket.known = True
        finally:
            for ticket in wanted:
                ticket.flying = False
                if ticket.over:
                    self._free(ticket)
        self._take(granted)

    def _wanted(self) -> list[Ticket]:
        """Return what to ask for: no more than could begin now, but also what comes before all that waits already."""
        waiting = self._waiting()
        wanted = [ticket for ticket in waiting if not ticket.known]
        room = self._host.spare() - len(waiting)
        highest = max((ticket.drive.row.priority for ticket in waiting), default=None)
        while self.line and len(wanted) < MOST_WANTED:
            first = self.line[0]
            if room <= 0 and (highest is None or first.drive.row.priority <= highest):
                break
            heapq.heappop(self.line)
            if not first.over:
                room -= 1
                wanted.append(first)
                self._sent[first.number] = first
        self._again = self._again or len(wanted) >= MOST_WANTED
        for ticket in wanted:
            ticket.flying = True
        return wanted

    def _take(self, granted: Granted) -> None:
        """Begin what was given a slot; give back what nobody knows any more."""
        now = asyncio.get_running_loop().time()
        self._due = {queue: now + due_s for queue, due_s in granted.due_s.items()}
        for number in granted.held - self._sent.keys() - self._leaving:
            self._give_back(number)
        given = sorted(ticket for ticket in self._waiting() if ticket.number in granted.held)
        if given:
            self._pause = FIRST_PAUSE_S
        for ticket in given:
            ticket.held = True
            ticket.drive.queued -= 1
            ticket.drive.worker.weigh(ticket.drive)
            self._host.begin(ticket.drive, ticket.node)

    def _set_timer(self) -> None:
        """Ask again when a rate allows more, or in a while: other processes may have freed a slot unheard."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop, queues = asyncio.get_running_loop(), {ticket.queue for ticket in self._waiting()}
        pauses = [self._due[queue] - loop.time() if queue in self._due else self._pause for queue in queues]
        if pauses and not self._closed and not self._commits.closed:
            self._timer = loop.call_later(min(max(min(pauses), SHORTEST_PAUSE_S), LONGEST_WAIT_S), self.ask)


class _Holding:
    """Runs bodies on another executor, and knows whether one works: also when nobody waits for it any more."""

    def __init__(self, executor: Executor, ticket: Ticket, ended: Callable[[Ticket], None]) -> None:
        self._executor, self._ticket, self._ended = executor, ticket, ended

    def submit(self, call: Callable[[], object]) -> asyncio.Future[object]:
        loop, ticket = asyncio.get_running_loop(), self._ticket

        def held() -> object:
            with ticket.lock:
                if ticket.over:  # it was cancelled just now: the slot is another's
                    return None
                ticket.busy = True
            try:
                return call()
            finally:
                ticket.busy = False
                with suppress(RuntimeError):  # the loop is closed: the session is gone, and its slots with it
                    loop.call_soon_threadsafe(self._ended, ticket)

        return self._executor.submit(held)

    def abandon(self, future: asyncio.Future[object]) -> None:
        self._executor.abandon(future)

    def close(self) -> None:
        self._executor.close()
