"""Event triggers as values: a function that is asked again and again whether a run should start, and with what input.

It knows no clock and no runner: who asks, and what becomes of an answer, is the runner's business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from pydantic import BaseModel

from cloaca.algebra.retries import LONGEST_S, Seconds, in_seconds

if TYPE_CHECKING:
    from cloaca.contract.workflows import Workflow

Input = TypeVar("Input", bound=BaseModel)
Found: TypeAlias = Input | Sequence[Input] | None

LEAST_EVERY_S = 0.01
LONGEST_NAME = 128


@dataclass(frozen=True)
class Trigger(Generic[Input]):
    """Starts a run of a workflow for each input that ``poll`` comes up with: one for each distinct key.

    Args:
        workflow: what runs.
        poll: a function without arguments, sync or async, that returns an input of the workflow, or a list of inputs,
            or None or an empty list if there is nothing. A sync one is called on a thread. Several runners on one
            database all ask theirs, so it may well return what it, or another, has returned before: that is what keys
            are for.
        every: seconds between two calls, or a ``timedelta``.
        key: what makes an input the same as another, by default all of it. An input whose key has started a run, as
            long as that run is stored, starts none.
        name: what the trigger is known by, and its keys belong to; by default the workflow's name.

    Raises:
        TypeError: ``poll`` or ``key`` is no function.
        ValueError: ``every`` or ``name`` can't be one.

    >>> from cloaca import BlockingRunner, TriggerInfo, Workflow, task
    >>> class File(BaseModel):
    ...     path: str
    >>> @task
    ... def load(file: File) -> None:
    ...     print("loaded", file.path)
    >>> loading = Workflow("loading", load)
    >>> trigger = Trigger(loading, lambda: [File(path="a.csv")], every=60, key=lambda file: file.path)
    >>> with BlockingRunner("memory://", triggers=[trigger]) as runner:
    ...     while not runner.runs(status="succeeded"):
    ...         pass
    ...     asked = runner.triggers()
    loaded a.csv
    >>> isinstance(asked[0], TriggerInfo), asked[0].name, asked[0].failures
    (True, 'loading', 0)
    """

    workflow: Workflow[Input, Any, Any, Any]
    poll: Callable[[], Found[Input] | Awaitable[Found[Input]]]
    every: Seconds = 5.0
    key: Callable[[Input], str] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or getattr(self.workflow, "name", ""))
        object.__setattr__(self, "every", in_seconds(self.every))
        if not callable(self.poll) or not (self.key is None or callable(self.key)):
            raise TypeError(f"Trigger({self.name!r:.80}): poll and key are functions")
        if not isinstance(self.name, str) or not self.name.isprintable() or not 0 < len(self.name) <= LONGEST_NAME:
            raise ValueError(f"Trigger: name={self.name!r:.80}: a printable string of 1 to {LONGEST_NAME} characters")
        if not LEAST_EVERY_S <= self.every_s <= LONGEST_S:
            raise ValueError(f"Trigger({self.name!r}): every={self.every!r}: seconds, {LEAST_EVERY_S} at least")

    @property
    def every_s(self) -> float:
        """``every`` in seconds."""
        return in_seconds(self.every)
