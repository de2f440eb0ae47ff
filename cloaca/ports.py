"""The protocols between the interpreter and the world: a store, a clock, an executor, a codec; and the rows they trade.

It knows no implementation. Each method says what an implementation guarantees; the conformance suite holds every one
of them to it. Times are seconds since the epoch, runs and sessions are known by integers, payloads are JSON text.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel

from cloaca.errors import StoreUnavailable

NOTHING: Mapping[str, str] = MappingProxyType({})  # what a session serves that works for nobody


class RunRow(NamedTuple):
    """A run. ``owner`` is the session that drives it; ``crashes`` how many of its owners have died driving it.

    ``plan`` is the digest of its plan, ``reason`` why it failed or is blocked where no task says so. ``pausing`` is
    ``asked`` while the session that drives the run does not know yet that it should pause, ``heard`` once it does.
    ``earlier`` says, as a JSON object by the names of nodes, how many attempts they had made when the run was last
    retried. Runs of a higher ``priority`` come first.

    ``parent`` is the run whose node ``parent_task`` has started this one, None if none has or it is gone. ``roused``
    says that something has come for a driven run from outside, a signal or a child run's end, of which its session may
    not know yet. A ``running`` run without an owner is parked: nobody need drive it before ``wake_at``, None for ever,
    or before something comes for it.

    ``epilogue`` says that its plan has one: such a run is not cancelled but by a worker, which sees it through.
    ``closing`` is how the run will end, from the moment on at which its epilogue began: a JSON object.

    ``schedule`` has started it, at the nominal time ``scheduled_for``; a fork has the time alone. ``traceparent`` is
    the W3C trace context in which it was started, None if nobody traced that.

    ``refused`` lists the versions whose code could not go on with it, each followed by a comma; None if none was tried.
    """

    id: int
    workflow: str
    version: str
    plan: str
    status: str
    input: str | None
    key: str | None
    owner: int | None
    crashes: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    reason: str | None
    cancel_requested: bool
    pausing: str | None = None
    earlier: str | None = None
    priority: int = 0
    parent: int | None = None
    parent_task: str | None = None
    roused: bool = False
    wake_at: float | None = None
    epilogue: bool = False
    closing: str | None = None
    schedule: str | None = None
    scheduled_for: float | None = None
    traceparent: str | None = None
    refused: str | None = None


TAKEN_OVER = 0  # the session of what another run has done


class TaskRow(NamedTuple):
    """A node that is done: written once, never changed; gone only if a retry of the run makes the node start anew.

    ``name`` is the node's name in the plan.

    ``status`` is ``succeeded`` or ``failed``; ``output`` its payload (a gate's decision: ``true`` or ``false``).
    ``session`` is ``TAKEN_OVER`` for a row that a fork has copied. ``code`` is the fingerprint of the code
    that ran, None for a node that runs none.
    """

    run: int
    name: str
    status: str
    attempt: int
    session: int
    started_at: float
    finished_at: float
    output: str | None
    code: str | None = None


class FailureRow(NamedTuple):
    """A failed attempt. ``retry_at`` is when the next may start, None if it was the last; ``error`` a typed error.

    ``code`` is as for ``TaskRow``.
    """

    run: int
    name: str
    attempt: int
    session: int
    started_at: float
    at: float
    exception_type: str
    message: str
    traceback: str
    error: str | None
    retry_at: float | None
    code: str | None = None


class AttemptRow(NamedTuple):
    """An attempt that has run for a while, shown to other processes; gone once the task is done.

    ``beat_at`` is when its body last called ``ctx.heartbeat()``. ``code`` is as for ``TaskRow``.
    """

    run: int
    name: str
    attempt: int
    session: int
    started_at: float
    beat_at: float | None
    code: str | None = None


class NoteRow(NamedTuple):
    """Something rare that happened to a run and that no other row says: a recovery, an ignored result."""

    run: int
    at: float
    kind: str
    task: str | None
    detail: str


class WaitRow(NamedTuple):
    """A node that waits, without an attempt in flight; ``until`` is when that is over at the latest."""

    run: int
    name: str
    began_at: float
    until: float | None


class SignalRow(NamedTuple):
    """A signal to a run; ``name`` says which nodes may take it, ``taken_by`` which has. Ids grow."""

    id: int
    run: int
    name: str
    payload: str
    sent_at: float
    taken_by: str | None


class NewRun(NamedTuple):
    """A run to be stored. ``owner`` is the session that will drive it, None to leave it to whoever claims it.

    ``parent`` is the run whose node ``parent_task`` starts it. ``epilogue`` is as for ``RunRow``.
    """

    id: int
    workflow: str
    version: str
    plan: str
    input: str | None
    key: str | None
    owner: int | None
    created_at: float
    priority: int = 0
    parent: int | None = None
    parent_task: str | None = None
    epilogue: bool = False
    schedule: str | None = None
    scheduled_for: float | None = None
    traceparent: str | None = None


class ClosingRow(NamedTuple):
    """The outcome of a run that has not ended yet: ``closing`` becomes the run's. It need not be cancelled any more.

    Nor paused, if the outcome is that it was cancelled.
    """

    run: int
    status: str
    closing: str


class CacheRow(NamedTuple):
    """A result that other runs may reuse: the output of ``task``, as payload, under a key."""

    run: int
    key: str
    output: str
    task: str


class Cached(NamedTuple):
    """A result that was kept: by which run, for which task, and how many seconds ago."""

    key: str
    output: str
    run: int
    task: str
    age_s: float


class EndRow(NamedTuple):
    """The end of a run."""

    run: int
    status: str
    at: float
    reason: str | None


class PlanRow(NamedTuple):
    """A plan's structure as JSON, stored once for all the runs that have it."""

    digest: str
    workflow: str
    version: str
    spec: str


class MoveRow(NamedTuple):
    """A run that goes on with other code: by the plan with this digest, of this version; ``epilogue`` as for a run."""

    run: int
    plan: str
    version: str
    epilogue: bool


class QueueRow(NamedTuple):
    """The limits of a queue: ``concurrency`` attempts at a time, ``starts`` in any ``window_s``; None for no limit."""

    name: str
    concurrency: int | None
    starts: int | None
    window_s: float | None


class SlotRow(NamedTuple):
    """A place that a session wants, or holds, in a queue, for an attempt of ``task`` in ``run``.

    ``ticket`` is a number by which the session knows it, never used again. The row is the slot: there is no counter.
    """

    ticket: int
    queue: str
    priority: int
    run: int
    task: str


class ScheduleRow(NamedTuple):
    """A schedule: one of ``cron`` (in ``timezone``), ``every_s`` and ``at``, between ``start_at`` and ``end_at``.

    ``next_at`` is the first nominal instant that has not been claimed, ``due_at`` when it is to fire, both None while
    the schedule is paused or if there is none; ``last_at`` the last that was claimed or passed over. ``missed`` counts
    those passed over. ``revision`` changes with every change.
    """

    name: str
    workflow: str
    input: str | None
    cron: str | None
    timezone: str
    every_s: float | None
    at: float | None
    start_at: float | None
    end_at: float | None
    catchup: str
    overlap: str
    jitter_s: float
    paused: bool
    next_at: float | None
    due_at: float | None
    last_at: float | None
    missed: int
    revision: int
    created_at: float
    updated_at: float


class FiringRow(NamedTuple):
    """A firing in the ledger: unique by ``schedule`` and nominal instant.

    ``state`` is ``claimed``, ``handed_over`` or ``skipped``; ``kind`` ``schedule``, ``backfill`` or ``now``. ``owner``
    is the session that hands it over, ``attempts`` how many did. No more than ``at_most`` runs of its schedule may go
    on at once, None for any number; one that is ``parked`` waits for that. ``handed_at`` is also when it was skipped.
    """

    schedule: str
    scheduled_for: float
    workflow: str
    state: str
    kind: str
    run: int | None
    owner: int | None
    attempts: int
    overlap: str
    at_most: int | None
    parked: bool
    claimed_at: float
    handed_at: float | None


class Move(NamedTuple):
    """A schedule that moves on from ``revision``: what it fires, what it passes over, when it is due next."""

    schedule: str
    workflow: str
    revision: int
    fired: tuple[float, ...]
    overlap: str
    missed: int
    last_at: float
    next_at: float | None
    due_at: float | None

    @property
    def at_most(self) -> int | None:
        """How many runs of the schedule may go on at once."""
        return 1 if self.overlap == "queue" else None


class Taken(NamedTuple):
    """A claimed firing that a session is to hand over, and the input of its run."""

    schedule: str
    scheduled_for: float
    workflow: str
    input: str | None


class FiringCount(NamedTuple):
    """How many firings of a schedule are in ``state``, their runs in ``status``; ``late`` of them came too late."""

    state: str
    status: str | None
    number: int
    late: int


class Granted(NamedTuple):
    """What a session has come to: the tickets that hold a slot, and in how many seconds a queue's rate allows a start.

    ``due_s`` has the queues in which the session still waits and of which the rate is used up.
    """

    held: frozenset[int]
    due_s: dict[str, float]


@dataclass(slots=True)
class Batch:
    """Everything that one transaction writes, for many runs at once.

    ``session`` fences: if it is gone, nothing is written. ``renew_until`` renews its lease. ``replay`` says that the
    same rows may have been committed already, by a try whose answer was lost: a row that is there is left as it is.

    ``held``, if given, are all runs that the session drives. Whatever else it owns before ``runs`` are added, it owns
    without knowing it, because the answer to a commit or a claim was lost: such a run is given back as by
    ``close_session``, before anything else is written.

    ``absolved`` are runs of an earlier session that was taken for dead though its worker lived: each one's ``crashes``
    is one less, unless it is 0 or the run has ended. A run counts as often as it is named, whoever drives it now.

    ``settled`` are shown attempts that have ended, ``freed`` the tickets of slots that are held or wanted no more.

    ``heard`` are runs that the session knows it should pause. ``released`` are runs of which no attempt is in flight:
    they are given back as by ``close_session``, at ``at``, after everything else is written.

    ``waits`` have begun. ``taken`` are signals that a node of their run has taken: run, signal, node. ``children`` are
    new runs like ``runs``, left out if their parent is not this session's. ``roused`` are runs of which a child run
    ends in this batch: whoever drives them is told, parked ones wait for a worker. ``forsaken`` are runs that end in
    this batch and may have child runs: those that have not ended, and theirs, are cancelled, or asked to stop.
    ``parked`` are runs that only wait, each with its ``wake_at``: they have no owner from then on. One for which
    something has come meanwhile is given back as if it were ``released``.

    ``cached`` are kept from ``at`` on, each in place of what its key had before.

    ``moved`` are runs that go on with other code, whose plans are in ``plans``.
    """

    session: int
    at: float = 0.0
    renew_until: float | None = None
    replay: bool = False
    held: list[int] | None = None
    absolved: list[int] = field(default_factory=list)
    plans: list[PlanRow] = field(default_factory=list)
    runs: list[NewRun] = field(default_factory=list)
    tasks: list[TaskRow] = field(default_factory=list)
    failures: list[FailureRow] = field(default_factory=list)
    attempts: list[AttemptRow] = field(default_factory=list)
    settled: list[tuple[int, str]] = field(default_factory=list)
    freed: list[int] = field(default_factory=list)
    notes: list[NoteRow] = field(default_factory=list)
    closings: list[ClosingRow] = field(default_factory=list)
    cached: list[CacheRow] = field(default_factory=list)
    ends: list[EndRow] = field(default_factory=list)
    heard: list[int] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    waits: list[WaitRow] = field(default_factory=list)
    taken: list[tuple[int, int, str]] = field(default_factory=list)
    children: list[NewRun] = field(default_factory=list)
    roused: list[int] = field(default_factory=list)
    forsaken: list[int] = field(default_factory=list)
    parked: list[tuple[int, float | None]] = field(default_factory=list)
    moved: list[MoveRow] = field(default_factory=list)

    def touched(self) -> set[int]:
        """Return the runs that must still be this session's for their rows to count."""
        groups: tuple[Sequence[tuple[Any, ...]], ...] = (
            self.tasks, self.failures, self.attempts, self.closings, self.cached, self.ends, self.waits, self.taken,
            self.moved,
        )  # fmt: skip
        parents = {child.parent for child in self.children if child.parent is not None}
        return parents.union(row[0] for rows in groups for row in rows)  # the first column is the run's id

    def size(self) -> int:
        """Return how many rows the batch has."""
        return sum(
            len(rows)
            for rows in (getattr(self, each.name) for each in fields(self) if each.name != "held")
            if isinstance(rows, list)
        )

    def concerned(self) -> set[int]:
        """Return the stored runs of which the batch writes something that others can see."""
        return self.touched().union((note.run for note in self.notes), self.heard, self.released)


class Submitted(NamedTuple):
    """What became of a new run: ``id`` is an older one's if the key was taken; ``agrees``: its input is equal."""

    id: int
    created: bool
    agrees: bool


class Receipt(NamedTuple):
    """A committed batch: an answer for each new run, then each child run; and the runs that were not this session's.

    Rows of the latter were left out; of a child run that was left out, neither ``created`` nor ``agrees`` holds.
    """

    submitted: list[Submitted]
    disowned: frozenset[int]


class History(NamedTuple):
    """All that is stored about one run."""

    run: RunRow
    tasks: list[TaskRow]
    failures: list[FailureRow]
    attempts: list[AttemptRow]
    notes: list[NoteRow]
    waits: Sequence[WaitRow] = ()
    signals: Sequence[SignalRow] = ()
    children: Sequence[RunRow] = ()


class Arrivals(NamedTuple):
    """What has come for a run from outside: the signals that nobody has taken, oldest first, and its child runs."""

    run: int
    signals: list[SignalRow]
    children: list[RunRow]


@dataclass(frozen=True, slots=True)
class Poll:
    """What a look at the store found: whether runs wait to be claimed, and whether leases have run out.

    ``cancelling`` are the runs of the session that should stop, ``pausing`` those that should pause, known or not,
    ``roused`` those for which something has come from outside. ``due``: the time of some parked runs has come.
    ``refused``: runs that other code could not go on with wait for the session to try, see ``claim_refused``.
    ``lapse_s`` is in how many seconds the first lease of another session runs out, unless it is renewed; None if there
    is no other. ``firings`` says that claimed firings wait for somebody to hand them over, ``due_s`` in how many
    seconds the first schedule is due, None if there is none.
    """

    claimable: bool
    suspects: bool
    expired: bool
    cancelling: list[int]
    pausing: frozenset[int] = frozenset()
    roused: frozenset[int] = frozenset()
    due: bool = False
    lapse_s: float | None = field(default=None, compare=False)
    firings: bool = False
    due_s: float | None = field(default=None, compare=False)
    refused: bool = False


class Transaction(Protocol):
    """A transaction that one attempt shares with its completion; what else is stored goes on beside it.

    It begins with the first statement that the body executes through ``session``. Use it on the event loop, but for
    ``call``; ``end`` it, whatever happens.
    """

    @property
    def session(self) -> Any:
        """SQLModel's ``Session`` or ``AsyncSession``, with the body's alone to use; it can't end the transaction."""
        ...

    @property
    def broken(self) -> StoreUnavailable | None:
        """Why the database let the body down, if it did: whatever the body came to says nothing about the body then."""
        ...

    def call(self, body: Callable[[], Any]) -> Any:
        """Call a body that uses the session where it belongs, on a thread or on the event loop; return what it does."""
        ...

    async def commit(self, batch: Batch) -> Receipt:
        """Commit what the body wrote and a batch without new runs as one, fenced by the batch's session; once.

        If a run is not the session's any more, nothing is committed. Raises as ``Store.transact``; SessionMisused if
        the body has ended the transaction itself; StoreError, from the driver's error, if what the body wrote is
        refused. After StoreUnavailable, or a StoreError because of a task that is there already, only a look at the
        rows tells whether all was committed, perhaps by an earlier try. Cancelling it leaves the commit to ``end``.
        """
        ...

    async def end(self) -> None:
        """Undo what is not committed, and let the session do nothing any more, even if its body still runs. Idempotent.

        A commit that is under way is waited for.
        """
        ...


class Store(Protocol):
    """Where runs live. Every writing method is one transaction: all of it is durable when it returns, or none.

    Any method may raise ``StoreUnavailable``: the same call may work later. Nothing was written, unless the answer to
    the commit itself was lost: then all of it was, and whoever called can't know. So a batch is sent again as a
    ``replay``, and runs that were taken without an answer are given back by ``Batch.held``. The fenced methods may
    raise ``LeaseLost``: the session is gone for good, and nothing was written.
    """

    async def open(self) -> None:
        """Make the store ready: create it, or check that it is one of ours and not newer than this code."""
        ...

    async def close(self) -> None:
        """Let go of all resources. Idempotent."""
        ...

    async def watch(self, wake: Callable[[], None]) -> bool:
        """Call ``wake`` on this event loop, until the store is closed, when another process may have left work to do.

        It may be called for nothing, as when the store is closed, and not at all: whoever must not miss anything still
        looks from time to time. Return False if it will never be called, because others can't be heard here.
        """
        ...

    async def follow(self, run: int, wake: Callable[[], None]) -> bool:
        """Call ``wake`` on this event loop, until ``unfollow``, when another process may have written about a run.

        Whoever goes on for longer than ``FOLLOWED_S`` says so again, in time; a second call with an equal ``wake``
        changes nothing else. What is written just now may be missed. Return False as ``watch`` does.
        """
        ...

    def unfollow(self, run: int, wake: Callable[[], None]) -> None:
        """Call a ``wake`` that was given with ``follow`` no more; nothing if it is not called."""
        ...

    async def open_session(self, name: str, at: float, until: float, *, serves: Mapping[str, str] = NOTHING) -> int:
        """Register a worker and return its id: positive, larger than every earlier one, never used again.

        ``serves`` says which version it has of each workflow by name.
        """
        ...

    async def serve(self, session: int, serves: Mapping[str, str]) -> None:
        """Say which version a session has of each workflow by now; nothing if it is gone."""
        ...

    async def close_session(self, session: int, *, at: float) -> None:
        """Remove a session in order: its running runs are pending again, at once, without counting a crash.

        Those that were asked to stop are cancelled instead, at ``at``, but for those with an epilogue, which wait for
        whoever cancels them; those that were asked to pause are paused, with a note ``run_paused``. Its slots are
        free. A session that is gone already is no error.
        """
        ...

    async def transact(self, batch: Batch) -> Receipt:
        """Write a batch, fenced by its session. Rows of runs that the session does not own are left out and named."""
        ...

    def transaction(self, *, is_async: bool) -> Transaction:
        """Return a transaction for one attempt, with an ``AsyncSession`` or a ``Session``, on this event loop."""
        ...

    async def submit(self, plan: PlanRow, run: NewRun) -> Submitted:
        """Store one run without a session."""
        ...

    async def claim(
        self, session: int, workflows: Sequence[str], limit: int, at: float, *, suspects: bool
    ) -> list[History]:
        """Take pending runs of these workflows for a session: those of the highest priority, and of them the oldest.

        Those that some code has refused are left to ``claim_refused``.
        A suspect is a run that has already cost a worker its life ``SUSPECT_CRASHES`` times: they are claimed only with
        ``suspects``, one at a time.
        """
        ...

    async def claim_refused(self, session: int, serves: Mapping[str, str], limit: int, at: float) -> list[History]:
        """Take runs for a session that other code has refused, blocked ones too; fenced as ``claim``.

        They are those that no code of the session's versions has refused, and those that are pending though no session
        is left that may still go on with them: whoever takes one of these is to block it.
        """
        ...

    async def reap(self, at: float, *, sparing: int | None = None) -> int:
        """Remove sessions whose lease has run out, or whose process is known to be dead, but not ``sparing``.

        Their running runs are pending again or paused, with one crash more and a note; those that were asked to stop
        are cancelled instead, at ``at``, as by ``close_session``. Their slots are free. Returns how many runs are
        pending again.
        """
        ...

    async def poll(
        self,
        session: int,
        workflows: Sequence[str],
        at: float,
        *,
        renew_until: float | None = None,
        serves: Mapping[str, str] = NOTHING,
    ) -> Poll:
        """Look for work, by one statement; it writes nothing, unless it renews the lease of the session as well.

        ``serves`` is as for ``claim_refused``.

        Raises LeaseLost if the lease should be renewed and is gone.
        """
        ...

    async def declare(self, queues: Sequence[QueueRow]) -> list[QueueRow]:
        """Set the limits of queues, which differ by name; return those that had other limits, as they were."""
        ...

    async def queues(self) -> list[QueueRow]:
        """Return every queue that was ever declared, by name."""
        ...

    async def acquire(self, session: int, wanted: Sequence[SlotRow], at: float) -> Granted:
        """Want slots for a session, beside those that it waits for already, and give those out that are free.

        In each queue in which the session waits, free slots are given to whoever waits first, in any session whose
        lease runs: to runs of the highest priority, and of them to the oldest. A queue that was never declared has no
        limits. A rate counts what is given: of ``starts`` + 1 in a row, the last is at least ``window_s`` after the
        first. A ticket that is known already is not wanted again. Slots are given out atomically.
        """
        ...

    async def cancel(self, run: int, at: float) -> str | None:
        """Cancel a run that nobody drives; mark one that a session drives. Return its status now, None if unknown.

        One with an epilogue is marked even if nobody drives it, and becomes pending: a worker cancels it. One whose
        epilogue has begun stays as it is. But a blocked run of either kind is given up where it has been marked or its
        epilogue has begun: it ends, with the outcome that it has, and with ``GIVEN_UP`` as its reason.
        """
        ...

    async def pause(self, run: int, at: float) -> RunRow | None:
        """Pause a run that nobody drives, with a note ``run_paused``; mark one that a session drives as ``asked``.

        A run that has ended, is paused or is marked stays as it is. Return its row now, None if unknown.
        """
        ...

    async def resume(self, run: int, at: float) -> RunRow | None:
        """Make a paused run pending again, with a note ``run_resumed``; take the mark off one that is driven.

        Any other run stays as it is. Return its row now, None if unknown.
        """
        ...

    async def retry(self, seen: RunRow, at: float, *, anew: Sequence[str], earlier: str | None, detail: str) -> bool:
        """Make a run pending again that has ended or is blocked, with no crashes, and a note ``run_retried``.

        It counts as refused by no code.
        The rows of the tasks ``anew`` are deleted, and of their waits; their failures stay. Nothing is done, and False
        returned, if the run's status or end is not as ``seen`` any more.
        """
        ...

    async def upgrade(
        self, seen: RunRow, plan: PlanRow, at: float, *, anew: Sequence[str], earlier: str | None, epilogue: bool,
        detail: str,
    ) -> bool:  # fmt: skip
        """Make a blocked run pending again, by another plan, with no crashes, and a note ``run_upgraded``.

        The rows of the tasks ``anew`` are deleted, and of their waits; their failures stay. It counts as refused by no
        code. Nothing is done, and False returned, if it is not blocked any more, or its plan is not as ``seen``.
        """
        ...

    async def fork(self, plan: PlanRow, run: NewRun, *, origin: int, tasks: Sequence[str], detail: str) -> int | None:
        """Store a new run that nobody drives, with copies of ``tasks`` of another, and a note ``run_forked``.

        Return its id; None, with nothing stored, if ``origin`` has not all of these tasks, each with success. What is
        there already, by a fork whose answer was lost, stays as it is.
        """
        ...

    async def send(self, run: int, name: str, payload: str, at: float, *, nodes: Sequence[str]) -> bool | None:
        """Keep a signal for one of ``nodes`` to take, and tell whoever drives the run; a parked run is pending then.

        Nothing is done, and False returned, if the run has ended, or if it has a task row or a signal that nobody has
        taken under this name for each of ``nodes``. None if the run is unknown.
        """
        ...

    async def hear(self, session: int, runs: Sequence[int]) -> list[Arrivals]:
        """Return what has come for those of ``runs`` that the session owns, by id; they are not ``roused`` any more."""
        ...

    async def wake(self, at: float, limit: int) -> int:
        """Make parked runs pending whose time has come, at most ``limit``; return how many."""
        ...

    async def reconsider(self, serves: Mapping[str, str]) -> int:
        """Forget that these versions of workflows have refused runs which wait or are blocked; return how many there
        were: whoever has that code tries again."""
        ...

    async def block(self, session: int, run: int, reason: str, version: str = "") -> None:
        """Give up a claimed run that this worker's code, of ``version``, can't go on with; it refuses the run.

        The run is ``blocked`` and says why; but ``pending`` if another session has a version of its workflow that has
        not refused it.
        """
        ...

    async def history(self, run: int) -> History | None:
        """Return all that is stored about a run."""
        ...

    async def run(self, run: int) -> RunRow | None:
        """Return a run's row."""
        ...

    async def plan(self, digest: str) -> PlanRow | None:
        """Return a stored plan."""
        ...

    async def runs(self, *, workflow: str | None, status: str | None, before: int | None, limit: int) -> list[RunRow]:
        """Return runs, newest first, filtered; ``before`` is a run's id."""
        ...

    async def prune(self, ended_before: float, limit: int) -> int:
        """Delete runs that ended before a time, with all their rows: those that ended first, at most ``limit``.

        Fewer are deleted if they are large. Returns how many; if there was none left, plans that no run has go instead.
        A run that has not ended is never touched. Its key is free once a run is gone. Several may prune at once.
        Child runs are kept as long as their parent; then they are like any other. The firing of a run goes with it;
        once there are no such runs left, firings that were skipped before go.
        """
        ...

    async def put_schedule(self, row: ScheduleRow, seen: int | None) -> bool:
        """Store a new schedule, with ``seen`` None, or change one of which ``seen`` is the revision.

        Nothing is done, and False returned, if it is not as seen.
        """
        ...

    async def drop_schedule(self, name: str) -> bool:
        """Delete a schedule with its firings; its runs stay. Return False if there is none."""
        ...

    async def schedule(self, name: str) -> ScheduleRow | None:
        """Return a schedule."""
        ...

    async def schedules(self, *, after: str | None, limit: int) -> list[ScheduleRow]:
        """Return schedules by name; ``after`` is a name, for the next page."""
        ...

    async def firings(self, schedule: str, *, before: float | None, limit: int) -> list[FiringRow]:
        """Return the firings of a schedule, the latest first; ``before`` is a nominal instant, for the next page."""
        ...

    async def firing_counts(self, schedule: str, late_s: float) -> list[FiringCount]:
        """Count the firings of a schedule, by state and status; late is what was handed over after ``late_s``."""
        ...

    async def due(self, workflows: Sequence[str], at: float, limit: int) -> tuple[float, list[ScheduleRow]]:
        """Return the time, by the clock of the leases, and the schedules of these workflows that were due first."""
        ...

    async def fire(self, session: int, moves: Sequence[Move], at: float) -> list[tuple[str, float]]:
        """Claim firings for a session and move their schedules on, fenced; return the firings that are new.

        A schedule that is not of the revision that was seen does not move, and fires nothing.
        """
        ...

    async def add_firings(
        self, schedule: str, instants: Sequence[float], *, kind: str, at_most: int | None, at: float
    ) -> int | None:
        """Claim firings for whoever hands them over; return how many are new, None if there is no such schedule.

        Those that have been given up after ``MOST_HANDOVERS`` attempts count as new.
        """
        ...

    async def take_firings(self, session: int, workflows: Sequence[str], limit: int) -> list[Taken]:
        """Make a session the owner of claimed firings that no living session has, or that it has itself; fenced.

        The first of each schedule come first. One that is parked is left unless its run may start now, one that has
        cost ``MOST_HANDOVERS`` sessions their lives for good.
        """
        ...

    async def hand_over(
        self, session: int, plans: Sequence[PlanRow], runs: Sequence[NewRun], at: float
    ) -> list[str | None]:
        """Start the runs of claimed firings of a session, fenced; return the state of each firing, None if not its own.

        Those that no other run stops come first. If a run of the schedule goes on, ``skip`` makes the firing
        ``skipped``, and ``cancel`` cancels those runs as ``cancel`` does. One that would be the second, or more than
        ``at_most``, counting earlier firings that are still claimed, is parked: it stays ``claimed``, for anybody.
        """
        ...

    async def cached(self, keys: Sequence[str], at: float) -> list[Cached]:
        """Return what is kept under ``keys``, in any order. Its age is by the clock that said when it was kept."""
        ...

    async def prune_cache(self, kept_before: float, limit: int) -> int:
        """Delete results that were kept before a time, the oldest first, at most ``limit``. Return how many."""
        ...


class TenantStore(Protocol):
    """The tenants of a database. Names are checked by who calls."""

    async def create(self, tenant: str) -> None:
        """Make a tenant, as far as it is not there yet."""
        ...

    async def list(self, tenant: str | None = None) -> Sequence[tuple[str, str, str | None]]:
        """Return the name, the place and the role of each tenant, or of one, by name."""
        ...

    async def drop(self, tenant: str, *, force: bool) -> None:
        """Remove a tenant with all it has. Raises UnknownTenant, TenantInUse, ForeignDatabase."""
        ...

    async def credentials(self, tenant: str, *, rotate: bool) -> tuple[str, str, str] | None:
        """Return user, password and database, None where nobody logs in. Raises UnknownTenant, CredentialsGiven."""
        ...


SUSPECT_CRASHES = 2
GIVEN_UP = "it was cancelled while it was blocked: what had succeeded was not undone, its callbacks were not called"
MOST_HANDOVERS = 5
FOLLOWED_S = 60.0  # how long others say what they write about a run that somebody follows


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        ...


class Executor(Protocol):
    """Runs synchronous bodies off the event loop."""

    def submit(self, call: Callable[[], object]) -> Future[object]:
        """Run ``call`` in the current context; the future has its result or exception, ``BaseException`` included.

        Cancelling the future abandons the body: it runs to its end, and its result is ignored.
        """
        ...

    def abandon(self, future: Future[object]) -> None:
        """Stop waiting for a body: make room for another. The future still tells when the body returns."""
        ...

    def close(self) -> None:
        """Take no more calls, cancel the futures of those that have not begun, leave bodies that run to themselves.

        Idempotent. A worker closes its executor when it leaves, so that each worker has its own.
        """
        ...


class Processes(Protocol):
    """Runs bodies in child processes. A job and its answer are plain JSON values; what they mean, it does not know."""

    def submit(self, job: object, hear: Callable[[Any], None]) -> Future[Any]:
        """Do a job in a child; the future has the answer, and ``hear`` gets what the child says meanwhile.

        Cancelling the future kills the child. It has ProcessDied if the child ends before it answers, without harm to
        others, and OSError if no child can be started.
        """
        ...

    def close(self) -> None:
        """Take no more jobs, cancel the futures of those that no child has, leave the others to themselves.

        Idempotent.
        """
        ...


class Codec(Protocol):
    """Turns models into payloads and back."""

    @property
    def limit(self) -> int:
        """The largest payload, in bytes."""
        ...

    def encode(self, model: type[BaseModel], value: object) -> str:
        """Return ``value`` as JSON. Raises WrongOutput, UnstablePayload or PayloadTooLarge."""
        ...

    def decode(self, model: type[BaseModel], payload: str) -> BaseModel:
        """Return the model that a payload says. Raises pydantic's ValidationError."""
        ...


SEALED = "cloaca-sealed:"  # with which every payload begins that a ``PayloadCodec`` has encoded


def is_sealed(payload: str | None) -> bool:
    """Whether a payload is encoded: no JSON begins so."""
    return payload is not None and payload.startswith(SEALED)


class PayloadCodec(Protocol):
    """Turns payloads into what is stored of them, and back: encryption at rest. What it makes is ASCII."""

    def encode(self, text: str) -> str:
        """Return what is stored of a text. It need not be the same twice."""
        ...

    def decode(self, text: str) -> str:
        """Return the text, whichever release or key has encoded it. Raises WrongKey, and never returns another text."""
        ...

    def digest(self, text: str) -> str:
        """Return at least 32 hexadecimal digits, the same for equal texts, that tell nothing to who lacks the key."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """The world as the interpreter sees it."""

    store: Store
    clock: Clock
    executor: Executor
    codec: Codec
    processes: Processes
    tenant: str | None = None
    secrets: Any = None  # where ``Secret.reveal`` finds values, None for the environment
    telemetry: Any = None  # a ``telemetry.Telemetry``, None if nobody wants to know
