"""What a run answers with: its output, or a failure that says which task failed and how.

These are values for the caller's ``match``; nothing here knows how a run is executed or stored.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeAlias

from pydantic import BaseModel
from returns.result import Failure, Success
from typing_extensions import TypeVar

O_co = TypeVar("O_co", covariant=True)
E_co = TypeVar("E_co", covariant=True, default=Any)


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """One failed attempt of one task.

    ``exception_type`` is the class's name (``ConnectionError``; ``Failure`` where the body answered with a typed
    error, which is then ``error``; ``TimeoutError`` after a timeout), ``at`` is in UTC.

    >>> from cloaca import run, task, Workflow
    >>> @task
    ... def divide() -> None:
    ...     1 / 0
    >>> failure = run(Workflow("divide", divide), database="memory://").failure().failures[0]
    >>> failure.task, failure.attempt, failure.exception_type, failure.message
    ('divide', 1, 'ZeroDivisionError', 'division by zero')
    >>> isinstance(failure, TaskFailure), failure.error
    (True, None)
    """

    task: str
    attempt: int
    exception_type: str
    message: str
    traceback: str
    error: BaseModel | None
    at: datetime


@dataclass(frozen=True, slots=True)
class RunFailure(Generic[E_co]):
    """Why a run has no output.

    ``status`` is ``failed`` or ``cancelled``; ``task`` the first task that failed for good (``None`` if the run was
    cancelled); ``error`` that task's typed error (``None`` after an exception); ``failures`` every failed attempt,
    in the order in which they happened.

    >>> from returns.result import Result
    >>> from cloaca import Workflow, run, task
    >>> class Declined(BaseModel):
    ...     reason: str
    >>> @task
    ... def charge() -> Result[None, Declined]:
    ...     return Failure(Declined(reason="too much"))
    >>> outcome = run(Workflow("charge", charge), database="memory://")
    >>> match outcome:
    ...     case Success(nothing):
    ...         print("charged")
    ...     case Failure(RunFailure(status=status, task=name, error=error)):
    ...         print(status, name, error)
    failed charge reason='too much'
    """

    run_id: str
    status: Literal["failed", "cancelled"]
    task: str | None
    error: E_co | None
    failures: tuple[TaskFailure, ...] = field(default=())

    def __str__(self) -> str:
        last = next((f for f in reversed(self.failures) if f.task == self.task), None)
        reason = f": {last.exception_type}: {last.message}" if last else ""
        return f"run {self.run_id} {self.status}" + (f' at task "{self.task}"' if self.task else "") + reason


# An alias of two arms, and not of Result: so that mypy narrows both and a match on them is exhaustive.
Outcome: TypeAlias = Success[O_co] | Failure[RunFailure[E_co]]
"""How a run ends: ``Success(output)``, or ``Failure(RunFailure)``. It is also a ``returns.result.Result``."""
