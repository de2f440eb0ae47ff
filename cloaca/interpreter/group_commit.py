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
from cloaca.ports import Batch, Clock, NewRun, PlanRow, Receipt, Store, Submitted

logger = logging.getLogger("cloaca.store")

MOST_ROWS = 1024  # a longer batch gains nothing, and makes whoever waits for it wait longer
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0

Committed: TypeAlias = Callable[[], None]
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
    is gone: nothing will be committed any more. ``disowned`` is called with the runs that another has taken.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        session: int,
        *,
        lost: Callable[[], None],
        disowned: Callable[[frozenset[int]], None],
    ) -> None:
        self.store, self.clock, self.session = store, clock, session
        self.lost, self.disowned = lost, disowned
        self.failing = False
        self.closed = False
        self.lease_s = 0.0
        self.renew_at = 0.0
        self._batch = Batch(session)
        self._after: list[Committed] = []
        self._submits: list[Submission[Any]] = []
        self._size = 0
        self._queue: list[tuple[Batch, list[Committed], list[Submission[Any]]]] = []
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

        With an exception nothing was stored. ``stored`` is called even if nobody waits for the future any more: a
        run that this session owns must not be forgotten.
        """
        batch = self.batch()
        if not any(known.digest == plan.digest for known in batch.plans):
            batch.plans.append(plan)
        batch.runs.append(run)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._submits.append(Submission(future, stored))
        return future

    async def flushed(self) -> None:
        """Wait until everything appended so far is committed, or can't be."""
        while self._draining is not None:
            await asyncio.shield(self._draining)

    def _cut(self) -> None:
        self._queue.append((self._batch, self._after, self._submits))
        self._batch, self._after, self._submits, self._size = Batch(self.session), [], [], 0

    async def _drain(self) -> None:
        try:
            while not self.closed and (self._size or self._queue):
                if not self._queue:
                    self._cut()
                batch, after, submits = self._queue.pop(0)
                receipt = await self._commit(batch, submits)
                if receipt is None:
                    return
                for submission, submitted in zip(submits, receipt.submitted, strict=False):
                    submission.succeed(submitted)
                if receipt.disowned:
                    self.disowned(receipt.disowned)
                for committed in after:
                    committed()
                await asyncio.sleep(0)  # let every resumed run append its next completion before the next cut
        finally:
            self._draining = None

    async def _commit(self, batch: Batch, submits: list[Submission[Any]]) -> Receipt | None:
        """Commit until it works; None once the session is gone."""
        pause = FIRST_PAUSE_S
        while True:
            batch.at = self.clock.now()
            if batch.at >= self.renew_at:
                batch.renew_until = batch.at + self.lease_s
            try:
                receipt = await self.store.transact(batch)
            except LeaseLost as error:
                self._refuse(batch, submits, error)
                self.closed = True
                self.lost()
                return None
            except (StoreUnavailable, CorruptDatabase) as error:
                # Whoever starts a run is told at once; finished work is kept until the store takes it.
                self._refuse(batch, submits, error)
                batch.replay = True
                if not self.failing:
                    logger.warning("The database can't be written, will try again: %s", error)
                self.failing = True
                if self.closed:
                    return None
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
                continue
            except Exception as error:  # a bug, or a store that breaks its word: start again from the rows
                logger.exception("A batch could not be written; its runs are loaded again")
                self._refuse(batch, submits, error)
                self.closed = True
                self.lost()
                return None
            if batch.renew_until is not None:
                self.renew_at = batch.at + self.lease_s / 5
            if self.failing:
                logger.warning("The database can be written again")
                self.failing = False
            return receipt

    def close(self) -> None:
        """Commit nothing more. What is being committed is; whoever waits for a later run to be stored is told."""
        self.closed = True
        self._refuse(None, [], RunnerClosed("the runner was left before the run could be stored; start it again"))

    def _refuse(self, batch: Batch | None, submits: list[Submission[Any]], error: Exception) -> None:
        """Fail every new run that is not stored, those that wait behind ``batch`` too."""
        queued = [(later, theirs) for later, _, theirs in self._queue]
        for held, submissions in [(batch, submits), *queued, (self._batch, self._submits)]:
            for submission in submissions:
                submission.fail(error)
            submissions.clear()
            if held is not None:
                held.runs.clear()
