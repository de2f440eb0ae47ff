"""What has happened to a run, in the past tense. Folding a run's events gives its state.

A skip is no event: that a task is skipped follows from the events before it, and ``evolve`` derives it.
"""

from typing import TypeAlias

from cloaca.machine.statuses import RunStatus
from cloaca.machine.values import value


@value
class RunAdopted:
    """A worker drives the run under this lease; attempts of an earlier one are void."""

    lease: int
    at: float


@value
class AttemptStarted:
    """An attempt runs."""

    node: int
    attempt: int
    at: float


@value
class WaitBegun:
    """A node waits; it is over at ``until`` at the latest, None for whenever that may be. No attempt is in flight."""

    node: int
    attempt: int
    at: float
    until: float | None


@value
class TaskSucceeded:
    """An attempt succeeded, so the task has. ``verdict`` is a gate's decision.

    ``reused`` says that it was another run's: what that has done is not this one's to undo.
    """

    node: int
    attempt: int
    at: float
    verdict: bool | None = None
    reused: bool = False


@value
class AttemptFailed:
    """An attempt failed; the next starts at ``retry_at`` or later."""

    node: int
    attempt: int
    at: float
    retry_at: float


@value
class AttemptPutBack:
    """An attempt was broken off without a trace; it may start again, under the same number."""

    node: int
    attempt: int
    at: float


@value
class TaskFailed:
    """The last attempt failed, so the task has; with ``typed`` the body has answered with a ``Failure``."""

    node: int
    attempt: int
    at: float
    typed: bool = False


@value
class OutcomeReached:
    """It is known how the run ends, but not all is done: its epilogue is due. What was not final is cancelled."""

    status: RunStatus
    at: float


@value
class RunSucceeded:
    """Every task is final, none failed but those that were rescued, and the epilogue is done."""

    at: float


@value
class RunFailed:
    """Every task is final, at least one failed and was not rescued; or the run was abandoned.

    The epilogue is done, or was abandoned.
    """

    at: float


@value
class RunCancelled:
    """The run was ended on demand; whatever was not final is cancelled. The epilogue is done, or was abandoned."""

    at: float


@value
class PauseAsked:
    """The run was asked to pause: no attempt starts any more, those in flight go on to their ends."""

    at: float


@value
class PauseWithdrawn:
    """The run need not pause after all."""

    at: float


@value
class RunPaused:
    """No attempt of the run is in flight any more, and nobody drives it until it is resumed."""

    at: float


@value
class RunResumed:
    """A paused run waits for a worker again."""

    at: float


@value
class RunRetried:
    """The run waits for a worker again. ``nodes`` start anew, in topological order; what else succeeded is kept."""

    nodes: tuple[int, ...]
    at: float


RunEnded: TypeAlias = RunSucceeded | RunFailed | RunCancelled
Control: TypeAlias = PauseAsked | PauseWithdrawn | RunPaused | RunResumed | RunRetried
Attempted: TypeAlias = AttemptStarted | AttemptPutBack | AttemptFailed
Ended: TypeAlias = OutcomeReached | RunEnded
Event: TypeAlias = RunAdopted | WaitBegun | Attempted | TaskSucceeded | TaskFailed | Ended | Control
