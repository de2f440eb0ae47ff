"""What may be asked of a run. Each command carries its time, and the lease of the worker that asks where that counts.

Nodes are indexes in the run's plan; ``at`` is in seconds since the epoch; a lease is the id of a worker's session.
"""

from typing import TypeAlias

from cloaca.machine.values import value


@value
class Adopt:
    """A worker takes the run: the first, or the next after one that left or died."""

    lease: int
    at: float


@value
class Begin:
    """Start an attempt of a node that is ready, or whose retry delay is over; of a node that waits, its wait."""

    node: int
    lease: int
    at: float


@value
class Complete:
    """Report that an attempt succeeded, or that a wait is over. Exactly gates have a ``verdict``, their decision."""

    node: int
    attempt: int
    lease: int
    at: float
    verdict: bool | None = None


@value
class Fail:
    """Report that an attempt failed, or that what a node has waited for will not come.

    ``retryable`` says whether the error is worth another attempt; ``chance``, from 0 to 1, decides the jitter;
    ``typed`` says that the body has answered with a ``Failure``.
    """

    node: int
    attempt: int
    lease: int
    at: float
    retryable: bool
    chance: float = 0.5
    typed: bool = False


@value
class PutBack:
    """Break off an attempt that has left no trace of its own, to begin it again later under the same number.

    That is how a fan-out pauses: what its elements have done is kept, and it counts as in flight no more.
    """

    node: int
    attempt: int
    lease: int
    at: float


@value
class Cancel:
    """End the run now; what runs is told to stop, and its result is ignored. What has succeeded is undone first."""

    at: float


@value
class Abandon:
    """End the run as failed, because it has cost too many workers their lives. What has succeeded is undone first.

    A run whose outcome is known already ends with it at once, whatever is left to do.
    """

    at: float


@value
class Pause:
    """Start no more attempts; once none is in flight, the run is paused."""

    at: float


@value
class Resume:
    """Let a run go on that is paused, or was asked to pause."""

    at: float


@value
class Retry:
    """Let a run go on that has failed, was cancelled or is blocked, keeping what succeeded."""

    at: float


Command: TypeAlias = Adopt | Begin | Complete | Fail | PutBack | Cancel | Abandon | Pause | Resume | Retry
