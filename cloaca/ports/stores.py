"""The store: where runs live, who drives them, and what is read of them.

Each method says what an implementation guarantees; the conformance suite holds every one of them to it. It knows no
table and no statement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from cloaca.ports.batches import Batch, Receipt, Submitted
from cloaca.ports.controls import ControlStore
from cloaca.ports.findings import Arrivals, Cached, History, Poll
from cloaca.ports.queues import QueueStore
from cloaca.ports.rows import NewRun, PlanRow, RunRow
from cloaca.ports.schedules import ScheduleStore
from cloaca.ports.transactions import Transaction

NOTHING: Mapping[str, str] = MappingProxyType({})  # what a session serves that works for nobody
SUSPECT_CRASHES = 2
FOLLOWED_S = 60.0  # how long others say what they write about a run that somebody follows


class Store(ControlStore, QueueStore, ScheduleStore, Protocol):
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

        No renewal makes a lease shorter than it is. ``serves`` is as for ``claim_refused``.

        Raises LeaseLost if the lease should be renewed and is gone.
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

    async def cached(self, keys: Sequence[str], at: float) -> list[Cached]:
        """Return what is kept under ``keys``, in any order. Its age is by the clock that said when it was kept."""
        ...

    async def prune_cache(self, kept_before: float, limit: int) -> int:
        """Delete results that were kept before a time, the oldest first, at most ``limit``. Return how many."""
        ...
