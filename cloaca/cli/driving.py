"""A run, driven in this process to its end, or left in order: what ``cloaca run`` does once all is read and checked.

It knows the runner, and no signals: an interrupt cancels what it waits for. What became of the run is a value; another
module says it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from cloaca.algebra.outcomes import Outcome
from cloaca.cli.progress import Screen
from cloaca.cli.refusals import Refusal
from cloaca.cli.targets import AnyWorkflow
from cloaca.errors import PayloadError, StoreUnavailable
from cloaca.interpreter.histories import RunInfo
from cloaca.runner import RunHandle, Runner

FINAL = ("succeeded", "failed", "cancelled")
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Job:
    """What to run: a workflow, its input, an idempotency key, and the database."""

    workflow: AnyWorkflow
    input: BaseModel | None
    key: str | None
    database: str | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The run has its outcome; ``earlier`` is when it ended, if that was before this command."""

    run_id: str
    outcome: Outcome[Any, Any]
    earlier: datetime | None = None


@dataclass(frozen=True, slots=True)
class NoOutcome:
    """The run has none to print: it is ``blocked``, for a reason, or was left ``pending`` by an interrupt.

    Or it has ``succeeded``, and its output can't be read; the reason says why.
    """

    run_id: str
    status: str
    reason: str | None = None


@dataclass(slots=True)
class Driver:
    """Drives one job. ``run_id`` is known as soon as the run is durable, also to who has to interrupt the driver."""

    job: Job
    screen: Screen
    interrupted: Callable[[], None]
    run_id: str | None = None
    ending: Ended | NoOutcome | None = None

    async def drive(self) -> Ended | NoOutcome:
        """Run the job. An interrupt leaves the run to whoever takes it next, once running tasks had their grace."""
        try:
            await self._drive()
            return self.ending or await self._left()
        except asyncio.CancelledError:
            if self.ending is None:
                raise
            return self.ending  # only closing was interrupted
        finally:
            await self.screen.close()

    async def _drive(self) -> None:
        """Drive the run until it ends, is blocked, or this process is interrupted."""
        began = datetime.now(UTC)
        async with Runner(self.job.database, workflows=[self.job.workflow]) as runner:
            handle = await _started(runner, self.job)
            self.run_id = handle.id
            logging.getLogger("cloaca.worker").addFilter(self._is_news)
            try:
                self.screen.follow(handle)
                self.ending = await self._wait(runner, handle, began)
            except asyncio.CancelledError:
                _take_back_cancellation()
                self.interrupted()

    def _is_news(self, record: logging.LogRecord) -> bool:
        """Whether the log says something that the command will not say itself: that this run is blocked, it will."""
        text = record.getMessage()
        return not ("blocked" in text and self.run_id is not None and self.run_id in text)

    async def _wait(self, runner: Runner, handle: RunHandle[Any, Any], began: datetime) -> Ended | NoOutcome:
        result = asyncio.ensure_future(handle.result())
        blocked = asyncio.ensure_future(_blocked(runner, handle.id))
        try:
            await asyncio.wait({result, blocked}, return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                await self.screen.settle(handle, "blocked")
                return blocked.result()
            info = await _info(runner, handle.id)
            await self.screen.settle(handle, info.status)
            ended = info.finished_at
            return await _ended(handle.id, result, ended if ended and ended < began else None)
        finally:
            result.cancel()
            blocked.cancel()

    async def _left(self) -> Ended | NoOutcome:
        """Look at a run after an interrupt: its last tasks may have ended it while they had their grace."""
        assert self.run_id is not None
        async with Runner(self.job.database, workflows=[self.job.workflow], work=False) as runner:
            info = await _info(runner, self.run_id)
            if info.status not in FINAL:
                return NoOutcome(info.id, info.status, info.reason)
            return await _ended(info.id, (await runner.get(info.id)).result())


def _take_back_cancellation() -> None:
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


async def _started(runner: Runner, job: Job) -> RunHandle[Any, Any]:
    try:
        return await runner.start(job.workflow, job.input, key=job.key)
    except ValueError as error:  # the key is no key
        raise Refusal(str(error)) from None


async def _info(runner: Runner, run_id: str) -> RunInfo:
    """Return a run's row, which costs the same however many tasks the run has."""
    return (await runner.runs(before=str(int(run_id) + 1), limit=1))[0]


async def _blocked(runner: Runner, run_id: str) -> NoOutcome:
    """Wait until a run is blocked, which its handle would wait out."""
    while True:
        try:
            info = await _info(runner, run_id)
        except StoreUnavailable:
            info = None
        if info is not None and info.status == "blocked":
            return NoOutcome(run_id, "blocked", info.reason)
        await asyncio.sleep(POLL_S)


async def _ended(
    run_id: str, result: Awaitable[Outcome[Any, Any]], earlier: datetime | None = None
) -> Ended | NoOutcome:
    try:
        return Ended(run_id, await result, earlier)
    except (PayloadError, ValidationError) as error:  # a model of the output's refuses what the tasks have written
        return NoOutcome(run_id, "succeeded", str(error))
