"""What may undo a task: rules and words for ``compensate``. Nothing is undone here."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Protocol

from cloaca.algebra.handlers import Rescuable

if TYPE_CHECKING:
    from cloaca.algebra.tasks import Task


def check_undo(task: Task[Any, Any, Any, ..., Any], undo: object) -> None:
    """Raise TypeError unless ``undo`` may be the compensation of ``task``."""
    from cloaca.algebra.tasks import Task  # noqa: PLC0415 - tasks have compensations, and are compensations

    who = f'Task "{task.name}": compensate({undo!r})'
    if not isinstance(undo, Task):
        advice = "decorate the function with @task" if inspect.isroutine(undo) else "what undoes a task is one task"
        raise TypeError(f"{who}: {advice}")
    if reason := unfit_undo(task, undo):
        raise TypeError(f"{who}: {reason}")


class Closing(Rescuable, Protocol):
    """What of a task counts when it is undone, or runs in an epilogue; a type checker has tasks of its own."""

    @property
    def handler(self) -> Closing | None: ...
    @property
    def undo(self) -> Closing | None: ...


def unfit_undo(task: Closing, undo: Closing) -> str | None:
    """Return why a task can't be undone by another, None if it can."""
    if task.undo is not None and task.undo != undo:
        return f'it has a compensation already, "{task.undo.name}"; a task has one'
    if task.is_cached:
        return (
            "the task is cached, but what a run takes from the cache another run has done, and this one can't undo it: "
            "drop one of the two"
        )
    return unfit(undo)


def unfit(task: Closing) -> str | None:
    """Return why a task can't run in a run's epilogue, None if it can."""
    if task.guards:
        return "it has a condition (.when), but it must run whenever it is due: decide in its body"
    if task.rule != "none_failed":
        return "it has a trigger rule (.on), but it has no predecessors"
    if task.undo is not None:
        return f'it has a compensation of its own, "{task.undo.name}", but what has been undone is not done again'
    if task.handler is not None:
        return f'it has a handler, "{task.handler.name}" (.rescue), but nothing waits for it: use retry='
    if task.is_cached:
        return "it is cached, but it must run whenever it is due: drop cache="
    return None
