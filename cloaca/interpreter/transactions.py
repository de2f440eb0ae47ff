"""An attempt whose effects happen exactly once: its body's own writes and its task's row are committed as one.

The row is stored before the machine hears of the end, not after: so a commit that is refused has changed nothing, and
the attempt is like any other that runs. It goes past the group commit, whose batches may be waiting for the very lock
that the body holds. It knows drives and the port, not databases.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from cloaca.errors import LeaseLost, SessionMisused, StoreError, StoreUnavailable
from cloaca.interpreter.answers import Raised, Report, Returned, Withdrawn, raised, worth_retrying
from cloaca.interpreter.drives import Drive
from cloaca.interpreter.group_commit import FIRST_PAUSE_S
from cloaca.logs import logger_of
from cloaca.ports import Store, TaskRow, Transaction

logger = logger_of("cloaca.worker")

MOST_TRIES = 5  # of one attempt, while the database answers others
LONGEST_PAUSE_S = 1.0  # before a body asks anew for a transaction that was refused


class Perform(Protocol):
    """Makes an attempt, and leaves its transaction open."""

    def __call__(self, *, transaction: Transaction) -> Awaitable[Report]:
        """Return how the body ended."""
        ...


class _Try(Enum):
    AGAIN = "the database has failed, and nothing was committed"
    NO_MORE = "the run is not this worker's any more"


@dataclass(frozen=True, slots=True)
class _Told:
    """An attempt that ended without a commit of its own: its end is reported as any other's."""

    report: Report


async def in_transaction(drive: Drive, node: int, number: int, store: Store, perform: Perform) -> Report | None:
    """Make an attempt, and commit its end; return a report that is still to be committed, None if nothing is.

    If the database fails it, the body is called again under the same number, as after a crash: nothing of it was kept.
    After a few times, while other commits work, that is the body's fault; a transaction that never began is not. Raises
    as ``attempts.attempt``, and Withdrawn rather than call the body again for a worker that leaves.
    """
    tries, pause = 0, FIRST_PAUSE_S
    while True:
        transaction = store.transaction(is_async=_is_async(drive, node))
        try:
            ended = await _tried(drive, node, number, transaction, perform)
        except StoreError as error:
            tries += not transaction.refused
            ended = await _found(drive, node, number, store, error, is_last=tries == MOST_TRIES)
        finally:
            await asyncio.shield(transaction.end())
            drive.answered(node)
        match ended:
            case _Told(report):
                return report
            case _Try.AGAIN:
                await _until_it_can_be_written(drive, pause)
                pause = min(pause * 2, LONGEST_PAUSE_S) if transaction.refused else FIRST_PAUSE_S
                if drive.dropped or drive.state.over:
                    return None
                if drive.worker.closing:  # it begins nothing any more, nor begins again
                    raise Withdrawn
            case _:
                return None


async def _tried(
    drive: Drive, node: int, number: int, transaction: Transaction, perform: Perform
) -> _Told | _Try | None:
    """Call the body and commit; raise StoreError if the database is in doubt."""
    report = await perform(transaction=transaction)
    if transaction.broken is not None and not _is_certain(report):
        raise transaction.broken
    if isinstance(report, Raised):
        return _Told(report)
    done = drive.completion(node, number, report)
    if done is None:
        return _Try.NO_MORE
    try:
        receipt = await transaction.commit(done.batch)
    except SessionMisused as error:
        return _Told(raised(error, retryable=False))
    if receipt.disowned:
        drive.worker.disowned(receipt.disowned)
        return _Try.NO_MORE
    drive.worker.commits.renewed(done.batch)
    drive.completed(done, report)
    return None


def _is_certain(report: Report) -> bool:
    """Whether a body's end stands though the database has failed it: it timed out, or gave a typed answer."""
    return isinstance(report, Raised) and (report.error is not None or report.still_running is not None)


async def _found(
    drive: Drive, node: int, number: int, store: Store, error: StoreError, *, is_last: bool
) -> _Told | _Try | None:
    """Find out what has become of a commit whose answer was lost, or that found a row where its own should be."""
    if isinstance(error, LeaseLost):
        drive.worker.commits.batch()  # a commit finds that out, too, and begins again under a new session
        return _Try.NO_MORE
    row = await _row(drive, node, store)
    if drive.dropped or drive.state.over:
        return _Try.NO_MORE
    if row is not None:
        return _taken_over(drive, node, number, row)
    if not isinstance(error, StoreUnavailable):
        cause = error.__cause__ or error
        return _Told(raised(cause, retryable=worth_retrying(cause, drive.plan.nodes[node].retry.retries)))
    if is_last:
        return _Told(raised(error, retryable=worth_retrying(error, drive.plan.nodes[node].retry.retries)))
    logger.warning("The transaction of task %s has failed, it is tried again: %s", drive.plan.nodes[node].task, error)
    return _Try.AGAIN


def _taken_over(drive: Drive, node: int, number: int, row: TaskRow) -> _Try | None:
    """Go on with what an earlier try has committed."""
    report = Returned(row.output)
    done = drive.completion(node, number, report)
    if row.status != "succeeded" or done is None:
        return _Try.NO_MORE
    done.batch.ends.clear()  # whether that was committed, too, the next commit finds out
    drive.completed(done, report)
    return None


async def _row(drive: Drive, node: int, store: Store) -> TaskRow | None:
    """Return the task's row, once the store can be read; None if there is none."""
    while True:
        try:
            history = await store.history(drive.id)
            name = drive.name_of(node)
            return next((task for task in history.tasks if task.name == name), None) if history else None
        except StoreUnavailable:
            await _until_it_can_be_written(drive)
            if drive.dropped:
                return None


async def _until_it_can_be_written(drive: Drive, pause_s: float = FIRST_PAUSE_S) -> None:
    """Wait until something else could be committed: that tries again with pauses, for as long as it takes."""
    drive.worker.commits.batch()
    await drive.worker.commits.flushed()
    await asyncio.sleep(pause_s)


def _is_async(drive: Drive, node: int) -> bool:
    body = drive.plan.nodes[node].body
    return body is not None and body.signature.is_async
