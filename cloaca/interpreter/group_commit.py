"""The one write path: completions of many runs share a transaction.

Adaptive: when nothing is being committed, a lone completion is committed at once, together with all others of the
same turn of the event loop; what arrives while a commit is in flight forms the next. There is no timer to tune.
It knows batches and the store, not what the rows mean.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from cloaca.errors import CorruptDatabase, LeaseLost, RunnerClosed, StoreUnavailable
from cloaca.interpreter.interrupts import stay_unlogged
from cloaca.ports import Batch, Clock, NewRun, PlanRow, Receipt, Store, Submitted

logger = logging.getLogger("cloaca.store")

MOST_ROWS = 2560  # as reserved: 512 reports, mostly of one row each. More gains little, and whoever waits waits longer
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0

Committed: TypeAlias = Callable[[], None]
Born: TypeAlias = Callable[[Submitted], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Submission(Generic[T]):
    """A new run on its way: ``stored`` is called at once when it is durable, whoever still waits for ``future``."""

    future: asyncio.Future[T]
    stored: Callable[[Submitted], T]

    def succeed(self, submitted: Submitted) -> None:
        """The run is stored, or an older one has its key."""
        result = self.stored(submitted)
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        """Nothing was stored."""
        if not self.future.done():
            self.future.set_exception(error)


class GroupCommit:
    """Collects rows and commits them in order.

    A callback given with rows is called once they are durable, never otherwise. ``lost`` is called when the session
    is gone, or a batch can't be written: nothing will be committed any more. ``disowned`` is called with the runs that
    another has taken. Nothing is committed once ``torn``, which says that the event loop is being torn down: what is in
    memory then may be half of what was to be done together.

    ``doubtful``: the answer to a commit or a claim was lost, so that the session may own runs that nobody drives. The
    next commit gives them back: ``held`` returns all runs that are driven, None while a claim is in flight. No claim
    may begin while there is a doubt. A commit's own new runs are in no doubt: they are driven as soon as it returns.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        session: int,
        *,
        lost: Callable[[BaseException], None],
        disowned: Callable[[frozenset[int]], None],
        held: Callable[[], list[int] | None],
        torn: Callable[[], bool],
    ) -> None:
        self.store, self.clock, self.session, self.torn = store, clock, session, torn
        self.lost, self.disowned, self.held = lost, disowned, held
        self.failing = False
        self.doubtful = False
        self.closed = False
        self.measured: Callable[[int], None] | None = None  # is told how many rows a commit had
        self.lease_s = 0.0
        self.renew_at = 0.0
        self._batch = Batch(session)
        self._after: list[Committed] = []
        self._submits: list[Submission[Any]] = []
        self._births: list[Born] = []
        self._size = 0
        self._queue: list[tuple[Batch, list[Committed], list[Submission[Any]], list[Born]]] = []
        self._draining: asyncio.Task[None] | None = None

    def batch(self, size: int = 1) -> Batch:
        """Return the batch to append ``size`` rows to, now; it is committed soon."""
        if self._size + size > MOST_ROWS and self._size:
            self._cut()
        self._size += size
        if self._draining is None and not self.closed:
            self._draining = asyncio.get_running_loop().create_task(self._drain())
        return self._batch

    def then(self, committed: Committed) -> None:
        """Call ``committed`` once the rows appended so far are durable."""
        self._after.append(committed)

    def submit(self, plan: PlanRow, run: NewRun, stored: Callable[[Submitted], T]) -> asyncio.Future[T]:
        """Store a new run; the future has what ``stored`` returns, or StoreUnavailable or LeaseLost.

        With an exception nothing was stored, unless the answer to its commit was lost: then the run is given back with
        the next commit, for whoever claims it. ``stored`` is called even if nobody waits for the future any more: a run
        that this session owns must not be forgotten.
        """
        batch = self.batch()
        if plan not in batch.plans:
            batch.plans.append(plan)
        batch.runs.append(run)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._submits.append(Submission(future, stored))
        return future

    def bear(self, plan: PlanRow, child: NewRun, born: Born) -> None:
        """Store a child run together with the rows appended last; ``born`` is called once that is durable.

        Unlike a run that a user starts, it is part of what its parent has done, and kept until the store takes it.
        """
        if plan not in self._batch.plans:
            self._batch.plans.append(plan)
        self._batch.children.append(child)
        self._births.append(born)

    def lone(self, at: float) -> Batch:
        """Return a batch of its own, for what is committed elsewhere. It renews the lease, should that be due."""
        return Batch(self.session, at, at + self.lease_s if at >= self.renew_at else None)

    def renewed(self, batch: Batch) -> None:
        """Such a batch is durable."""
        if batch.renew_until is not None:
            self.renew_at = max(self.renew_at, batch.at + self.lease_s / 5)

    async def flushed(self) -> None:
        """Wait until everything appended so far is committed, or can't be."""
        while self._draining is not None:
            await asyncio.shield(self._draining)

    def _cut(self) -> None:
        self._queue.append((self._batch, self._after, self._submits, self._births))
        self._batch, self._after, self._submits, self._births = Batch(self.session), [], [], []
        self._size = 0

    async def _drain(self) -> None:
        batch: Batch | None = None
        submits: list[Submission[Any]] = []
        try:
            while not self.closed and not self.torn() and (self._size or self._queue):
                if not self._queue:
                    self._cut()
                batch, after, submits, births = self._queue.pop(0)
                receipt = await self._commit(batch, submits)
                if receipt is None:
                    return
                for submission, submitted in zip(submits, receipt.submitted, strict=False):
                    submission.succeed(submitted)
                for born, submitted in zip(births, receipt.submitted[len(batch.runs) :], strict=False):
                    born(submitted)
                if receipt.disowned:
                    self.disowned(receipt.disowned)
                for committed in after:
                    committed()
                await asyncio.sleep(0)  # let every resumed run append its next completion before the next cut
        except (SystemExit, KeyboardInterrupt, asyncio.CancelledError) as error:
            stay_unlogged()
            self.interrupted(error, batch, submits)
            raise
        finally:
            self._draining = None

    async def _commit(self, batch: Batch, submits: list[Submission[Any]]) -> Receipt | None:
        """Commit until it works; None if it never will under this session."""
        pause = FIRST_PAUSE_S
        while True:
            self._address(batch)
            try:
                receipt = await self.store.transact(batch)
            except (StoreUnavailable, CorruptDatabase) as error:
                self._failed(batch, submits, error)
                if self.closed:
                    return None
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
            except Exception as error:  # noqa: BLE001 - LeaseLost; or a bug, or a store that breaks its word
                self._gave_up(batch, submits, error)
                return None
            else:
                self._worked(batch)
                return receipt

    def _address(self, batch: Batch) -> None:
        """Say when a batch is sent, and what the session needs beside its rows."""
        batch.at = self.clock.now()
        if batch.at >= self.renew_at:
            batch.renew_until = batch.at + self.lease_s
        batch.held = self.held() if self.doubtful else None
        if batch.held is not None:  # its own child runs may be stored already, and will be driven
            batch.held = [*batch.held, *(child.id for child in batch.children)]

    def _failed(self, batch: Batch, submits: list[Submission[Any]], error: Exception) -> None:
        """Tell whoever starts a run at once; finished work is kept until the store takes it."""
        self.doubtful = self.doubtful or bool(batch.runs or batch.children or batch.released or batch.parked)
        self._refuse(batch, submits, error)
        batch.replay = True
        if not self.failing:
            logger.warning("The database can't be written, will try again: %s", error)
        self.failing = True

    def _gave_up(self, batch: Batch, submits: list[Submission[Any]], error: Exception) -> None:
        """Start again from the rows, under another session."""
        if not isinstance(error, LeaseLost):
            logger.error("A batch could not be written; its runs are loaded again", exc_info=error)
        self._refuse(batch, submits, error)
        self.closed = True
        self.lost(error)

    def interrupted(self, error: BaseException, batch: Batch | None, submits: list[Submission[Any]]) -> None:
        """Start again from the rows: nobody knows what became of ``batch``, nor of what was being done in memory."""
        if not self.closed:
            self._refuse(batch, submits, StoreUnavailable("interrupted before it was known whether the run is stored"))
            self.closed = True
            self.lost(error)

    def _worked(self, batch: Batch) -> None:
        """The batch is durable."""
        if self.measured is not None:
            self.measured(batch.size())
        if batch.renew_until is not None:
            self.renew_at = batch.at + self.lease_s / 5
        if batch.held is not None:
            self.doubtful = False
        if self.failing:
            logger.warning("The database can be written again")
            self.failing = False

    def close(self) -> None:
        """Commit nothing more. What is being committed is; whoever waits for a later run to be stored is told."""
        self.closed = True
        self._refuse(None, [], RunnerClosed("the runner was left before the run could be stored; start it again"))

    def _refuse(self, batch: Batch | None, submits: list[Submission[Any]], error: Exception) -> None:
        """Fail every new run that is not stored, those that wait behind ``batch`` too."""
        queued = [(later, theirs) for later, _, theirs, _ in self._queue]
        for held, submissions in [(batch, submits), *queued, (self._batch, self._submits)]:
            for submission in submissions:
                submission.fail(error)
            submissions.clear()
            if held is not None:
                held.runs.clear()
