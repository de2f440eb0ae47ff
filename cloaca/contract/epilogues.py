"""The epilogue of a run, elaborated: what undoes its tasks, and what is called once its outcome is known.

It knows sites, not how an outcome comes about. A compensation reads what its task could read, and what the task wrote;
a callback reads what the last tasks left. What they write is no part of the context.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

from cloaca.algebra.declarations import Signature
from cloaca.contract.front_ends import Task
from cloaca.contract.sites import Site
from cloaca.errors import Violation

EPILOGUE: Final = ("undo", "callback")  # kinds of sites
OUTCOMES: Final[Mapping[str, str]] = {"on_success": "succeeded", "on_failure": "failed", "on_cancel": "cancelled"}


class Callback(NamedTuple):
    """A task that a workflow calls at its end. ``names`` are the arguments that have it, such as ``on_failure``."""

    names: tuple[str, ...]
    task: Any

    @property
    def outcomes(self) -> tuple[str, ...]:
        """How a run ends that it is called for."""
        return tuple(OUTCOMES[name] for name in self.names)


def callbacks_of(given: Mapping[str, Any]) -> tuple[Callback, ...]:
    """Return the callbacks among a workflow's arguments; a task that is given twice is one."""
    found: dict[Any, list[str]] = {}
    for name in OUTCOMES:
        if given.get(name) is not None:
            found.setdefault(given[name], []).append(name)
    return tuple(Callback(tuple(names), task) for task, names in found.items())


def undo_of(site: Site, undo: Task, signature: Signature[Any] | None) -> Site:
    """Return the site of what undoes a task. It runs only if the task has succeeded.

    What a handler surely writes is what the task writes that it stands in for: it is behind both.
    """
    done = (site.id,) if site.rescues is None else (site.rescues, site.id)
    made = Site(
        id=site.scope + undo.name,
        kind="undo",
        task=site.scope + undo.name,
        scope=site.scope,
        place=(*site.place[:-1], undo.name),
        preds=done,
        guards=site.guards,
        otherwise=site.otherwise,
        awaited=done[:1],
        rule="none_failed" if site.rule == "none_failed" else "all_success",
        node=undo,
        undoes=site.id,
    )
    return _reading(made, undo, signature)


def callback_of(callback: Callback, last: Collection[str], signature: Signature[Any] | None) -> Site:
    """Return the site of a callback. Only a success says that anything but the workflow's input is there."""
    task, surely = callback.task, callback.outcomes == ("succeeded",)
    made = Site(
        id=task.name,
        kind="callback",
        task=task.name,
        scope="",
        place=(task.name,),
        preds=last,
        awaited=last,
        rule="none_failed" if surely else "all_done",
        node=task,
        outcomes=callback.outcomes,
    )
    return _reading(made, task, signature)


def _reading(site: Site, task: Task, signature: Signature[Any] | None) -> Site:
    if signature is not None:
        site.parameters, site.renames = signature.parameters, task.reads
    return site


def reader(site: Site) -> str:
    """Return who reads, in sentences."""
    if site.kind == "undo":
        return f'The compensation "{site.task}" of task "{site.undoes}"'
    names = (name for name, outcome in OUTCOMES.items() if outcome in site.outcomes)
    return f'The callback "{site.task}" ({", ".join(names)})'


def failure_refused(
    name: str, signature: Signature[Any] | None, outcomes: Iterable[str] = ("succeeded",)
) -> list[Violation]:
    """Return what is wrong with a task that wants to know why its run has failed, where a run need not have."""
    if signature is None or signature.run_failure is None or "succeeded" not in outcomes:
        return []
    text = (
        f'Task "{name}": keyword-only parameter "{signature.run_failure}" can\'t be injected: a RunFailure is there '
        "for a compensation and for the on_failure= and on_cancel= of a workflow, once the run has failed"
    )
    return [Violation("task-model", name, signature.run_failure, text)]


def check_home(task: Any) -> None:
    """Raise TypeError if a task wants the ``RunFailure`` in a child process, where nobody knows its errors' models."""
    if task.signature.run_failure is not None and task.options.executor == "process":
        raise TypeError(
            f'Task "{task.name}" takes a RunFailure, which can\'t be sent to a child process: drop executor="process"'
        )
