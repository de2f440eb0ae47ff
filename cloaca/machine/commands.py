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
    """Start an attempt of a node that is ready, or whose retry delay is over."""

    node: int
    lease: int
    at: float


@value
class Complete:
    """Report that an attempt succeeded. ``verdict`` is a gate's decision; exactly gates have one."""

    node: int
    attempt: int
    lease: int
    at: float
    verdict: bool | None = None


@value
class Fail:
    """Report that an attempt failed.

    ``retryable`` says whether the error is worth another attempt; ``chance``, from 0 to 1, decides the jitter.
    """

    node: int
    attempt: int
    lease: int
    at: float
    retryable: bool
    chance: float = 0.5


@value
class Cancel:
    """End the run now; what runs is told to stop, and its result is ignored."""

    at: float


@value
class Abandon:
    """End the run as failed, because it has cost too many workers their lives."""

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


Command: TypeAlias = Adopt | Begin | Complete | Fail | Cancel | Abandon | Pause | Resume | Retry
