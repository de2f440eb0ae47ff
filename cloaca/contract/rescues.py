"""Handlers: what they are given beside the context, and whether they can stand in for the task that they rescue.

It knows declarations and writes, over opaque models and types; sites are the elaboration's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from cloaca.algebra.declarations import Parameter, Signature
from cloaca.contract.steps import Types, Write
from cloaca.errors import Violation

Handed = Literal["failure", "error"]
Places = tuple[tuple[int, Handed], ...]


def given_to(handler: Signature[Any], error: Any | None) -> tuple[tuple[Parameter[Any], ...], Places]:
    """Return the parameters that a handler reads from the context, and the places of what it is given.

    It is given the ``TaskFailure`` where it asks for that, and the rescued task's error, of the model ``error``.
    """
    read: list[Parameter[Any]] = []
    given: list[tuple[int, Handed]] = []
    parameters = iter(handler.parameters)
    for place in range(len(handler.parameters) + len(handler.failures)):
        if place in handler.failures:
            given.append((place, "failure"))
        elif (parameter := next(parameters)).model == error and error is not None:
            given.append((place, "error"))
        else:
            read.append(parameter)
    return tuple(read), tuple(given)


def misplaced(name: str) -> Violation:
    """Return the violation for a task that takes a ``TaskFailure`` and is no handler."""
    call = f"t.rescue({name.rpartition('/')[2]})"
    text = f'Task "{name}" takes a TaskFailure, which only a handler is given: write {call}'
    return Violation("task-model", name, "", text)


def misfits(task: str, wanted: Sequence[Write], found: Sequence[Write], types: Types) -> Iterator[tuple[str, str]]:
    """Yield why a handler's writes can't stand for those of ``task``: keys, and reasons with ``{}`` for the key."""
    written = {write.key: write for write in found}
    for write in wanted:
        other = written.get(write.key)
        if other is None:
            yield write.key, f'it does not write field "{{}}" ({types.show(write.type)}), as "{task}" does'
        elif not types.assignable(other.type, write.type):
            shown = types.show(other.type)
            yield write.key, f'it writes field "{{}}" as {shown}, but "{task}" as {types.show(write.type)}'
        elif other.reducer != write.reducer:
            yield write.key, 'field "{}" has not the same reducer in both'


def misfit(task: str, handler: str, key: str, reason: str) -> Violation:
    """Return the violation for one of these reasons."""
    who = f'The handler "{handler}" can\'t stand in for task "{task}"'
    return Violation("workflow-input", task, key, f"{who}: {reason.replace('{}', key)}")
