"""Where bodies run that are not coroutines: on threads of a worker, or in child processes.

It knows calls and jobs, not attempts: what a result means for a run is decided elsewhere.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from typing import Any, Protocol


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
