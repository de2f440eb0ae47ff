"""Asking triggers: each has a task of its own while the runner is open; what it finds is started under its key.

It knows a way to start a run, not how that is done. Nothing is kept: after a crash the poll finds again what it found,
and the key makes it one run.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from pydantic import BaseModel

from cloaca.algebra.triggers import Trigger
from cloaca.logs import logger_of
from cloaca.secrets import masked

logger = logger_of("cloaca.trigger")

LONGEST_PAUSE_S = 300.0  # after failures; or as long as the trigger waits anyway
MOST_DOUBLINGS = 16
LONGEST_KEY = 300  # characters of a user's key that are kept as they are

AnyTrigger: TypeAlias = Trigger[Any]
Start: TypeAlias = Callable[[AnyTrigger, BaseModel, str], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class TriggerInfo:
    """How a trigger of this runner does. ``polled_at`` is when it was last asked, in UTC, None if it never was.

    ``failures`` is how many calls in a row have raised, the last of them with ``error``.

    >>> from cloaca import BlockingRunner, Trigger, Workflow, task
    >>> @task
    ... def load() -> None: ...
    >>> with BlockingRunner("memory://", triggers=[Trigger(Workflow("loading", load), lambda: None)]) as runner:
    ...     [info] = runner.triggers()
    >>> isinstance(info, TriggerInfo), info.name, info.every_s, info.failures
    (True, 'loading', 5.0, 0)
    """

    name: str
    workflow: str
    every_s: float
    polled_at: datetime | None
    failures: int
    error: str | None


@dataclass(slots=True)
class Asking:
    """One trigger, being asked."""

    trigger: AnyTrigger
    start: Start
    now: Callable[[], float]
    submit: Callable[[Callable[[], object]], Awaitable[object]]
    polled_at: float | None = None
    failures: int = 0
    error: str | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def info(self) -> TriggerInfo:
        """How it does."""
        asked = None if self.polled_at is None else datetime.fromtimestamp(self.polled_at, UTC)
        trigger = self.trigger
        return TriggerInfo(trigger.name, trigger.workflow.name, trigger.every_s, asked, self.failures, self.error)

    async def go_on(self) -> None:
        """Ask, again and again, until cancelled."""
        while True:
            try:
                await self._ask()
                self.failures, self.error = 0, None
            except Exception as error:
                self.failures += 1
                self.error = masked(f"{type(error).__name__}: {error}")
                logger.warning('Trigger "%s" failed, will ask again: %s', self.trigger.name, self.error, exc_info=error)
            await asyncio.sleep(self.pause_s)

    @property
    def pause_s(self) -> float:
        """How long to wait before it is asked again: longer after each failure."""
        every_s = self.trigger.every_s
        return min(every_s * 2.0 ** min(self.failures, MOST_DOUBLINGS), max(every_s, LONGEST_PAUSE_S))

    async def _ask(self) -> None:
        self.polled_at = self.now()
        poll = self.trigger.poll
        if inspect.iscoroutinefunction(poll) or inspect.iscoroutinefunction(vars(type(poll)).get("__call__")):
            found: object = poll()
        else:
            found = await self.submit(poll)
        if inspect.isawaitable(found):  # also of a lambda that calls an async function
            found = await found
        for input in _inputs(found):
            await self.start(self.trigger, input, self._key(input))

    def _key(self, input: BaseModel) -> str:
        key = self.trigger.key
        said = None if key is None else key(input)
        if said is not None and not isinstance(said, str):
            raise TypeError(f"key() has returned {said!r:.80}, and not a string")
        if said is not None and said.isprintable() and len(said) <= LONGEST_KEY:
            return f"trigger:{self.trigger.name}:{said}"
        whole = input.model_dump_json() if said is None else said
        return f"trigger:{self.trigger.name}:#{hashlib.sha256(whole.encode()).hexdigest()}"


def _inputs(found: object) -> Iterable[BaseModel]:
    given = [] if found is None else list(found) if isinstance(found, list | tuple) else [found]
    inputs = [each for each in given if isinstance(each, BaseModel)]
    for each in given:
        if not isinstance(each, BaseModel):
            raise TypeError(
                f"poll() has returned {each!r:.80}: an input of the workflow is wanted, a list of them or None"
            )
    return inputs
