"""What users do to a run that is stored: stop it, hold it, begin it again, send it a signal.

It knows rows and statuses; which tasks begin anew is decided by whoever calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cloaca.ports.rows import NewRun, PlanRow, RunRow

GIVEN_UP = "it was cancelled while it was blocked: what had succeeded was not undone, its callbacks were not called"


class ControlStore(Protocol):
    """The part of a store that users reach through a run's handle. It promises what a ``Store`` promises."""

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
