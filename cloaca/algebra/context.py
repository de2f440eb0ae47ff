"""What a body may ask for beside its data: who it is, in which run, at which attempt.

A task asks for it with a keyword-only parameter, ``*, ctx: TaskContext``. The class knows no worker and no store: what
makes a context gives it the two functions it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging


def _never() -> bool:
    return False


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class TaskContext:
    """The surroundings of one attempt. In a unit test, make one by hand.

    Attributes:
        run_id: the run's id, as ``handle.id``.
        task: the task's name in its graph.
        attempt: from 1; an attempt that its worker's death cut off is not counted.
        idempotency_key: the same for every attempt of this task in this run, also after a recovery: hand it to peers
            that should do a thing once.
        logger: a standard logger named after the task, which adds run, task and attempt to each record.
        scheduled_for: the nominal time of the schedule's firing that started the run, or None.

    >>> from logging import getLogger
    >>> from cloaca import task
    >>> @task
    ... def pay(*, ctx: TaskContext) -> None:
    ...     ctx.heartbeat()
    ...     print(ctx.attempt, ctx.idempotency_key, ctx.cancelled)
    >>> pay(ctx=TaskContext("1", "pay", 1, "run 1, pay", getLogger("pay")))
    1 run 1, pay False
    """

    run_id: str
    task: str
    attempt: int
    idempotency_key: str
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger]
    scheduled_for: datetime | None = None
    is_cancelled: Callable[[], bool] = field(default=_never, repr=False)
    beat: Callable[[], None] = field(default=_nothing, repr=False)

    @property
    def cancelled(self) -> bool:
        """Whether the result will be ignored: the run was cancelled, or the attempt timed out. Return early then."""
        return self.is_cancelled()

    def heartbeat(self) -> None:
        """Show that this attempt makes progress: other processes then see the time of the last beat."""
        self.beat()
