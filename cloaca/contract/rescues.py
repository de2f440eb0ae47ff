"""Handlers: what they are given beside the context, and whether they can stand in for the task that they rescue.

It knows declarations and writes, over opaque models and types; sites are the elaboration's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from cloaca.algebra.declarations import Parameter, Signature
from cloaca.contract.steps import Types, Write
from cloaca.errors import Violation

Given = Literal["failure", "error"]


def given_to(handler: Signature[Any], error: Any | None) -> tuple[tuple[Parameter[Any], ...], tuple[tuple[int, Given], ...]]:
    """Return the parameters that a handler reads from the context, and the places of what it is given.

    It is given the ``TaskFailure`` where it asks for that, and the rescued task's error, of the model ``error``.
    """
    read: list[Parameter[Any]] = []
    given: list[tuple[int, Given]] = []
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
    text = f'Task "{name}" takes a TaskFailure, which only a handler is given: write t.rescue({name.rpartition("/")[2]})'
    return Violation("task-model", name, "", text)


def misfits(
    task: str, handler: str, wanted: Sequence[Write], found: Sequence[Write], shown: Callable[[str], str], types: Types
) -> Iterator[Violation]:
    """Yield why ``handler`` can't stand in for ``task``: what it does not write, or with a type that does not fit."""
    who = f'The handler "{handler}" can\'t stand in for task "{task}"'
    written = {write.key: write for write in found}
    for write in wanted:
        key, other = shown(write.key), written.get(write.key)
        if other is None:
            reason = f'it does not write field "{key}" ({types.show(write.type)}), as "{task}" does'
        elif not types.assignable(other.type, write.type):
            reason = (
                f'it writes field "{key}" as {types.show(other.type)}, but "{task}" as {types.show(write.type)}'
            )
        elif other.reducer != write.reducer:
            reason = f'field "{key}" has a reducer in one of them only, or another one; give it the same in both'
        else:
            continue
        yield Violation("workflow-input", task, key, f"{who}: {reason}")
