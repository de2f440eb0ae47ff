"""Closing a graph under a name: find its input, elaborate, check. The same steps for every front end.

It compiles nothing and knows no pydantic model: see ``elaboration.FrontEnd``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloaca.algebra.structures import Structure
from cloaca.contract.checker import check
from cloaca.contract.elaboration import Elaboration, FrontEnd, Model, elaborate, first_of, last_of
from cloaca.contract.epilogues import Callback
from cloaca.contract.steps import Checked, Elaborated, Write
from cloaca.errors import ContractError, Violation


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed graph. ``input`` is the declared or inferred model, ``last`` the names of its last nodes."""

    elaboration: Elaboration
    checked: Checked
    input: Model | None
    last: tuple[str, ...]


def close(
    name: str,
    structure: Structure[Any],
    input: Model | None,
    output: Model | None,
    front_end: FrontEnd,
    *,
    callbacks: Sequence[Callback] = (),
) -> Closed:
    """Return the closed graph, its violations among what was checked; the input is inferred if it is None.

    Raises:
        ContractError: the graph can't be checked: ``task-model``, ``task-name``, ``graph-cycle``, or
            ``workflow-input`` if it has no task, or its input can't be inferred.
    """
    if not structure.nodes:
        raise ContractError([Violation("workflow-input", name, "", f'Workflow "{name}" has no task')])
    _refuse_declared(name, {"input": input, "output": output}, front_end)
    elaboration = elaborate(structure, output, name, front_end, callbacks)
    if input is None:
        input = _inferred_input(name, structure, front_end)
    checked = _checked(elaboration, input, "the workflow input", front_end)
    return Closed(elaboration, checked, input, tuple(last_of(structure)))


def check_declared(
    structure: Structure[Any], input: Model | None, output: Model | None, front_end: FrontEnd
) -> tuple[Violation, ...]:
    """Return what is wrong with a graph that is declared to read one row and to write another.

    Raises ContractError as ``close`` does.
    """
    elaboration = elaborate(structure, output, "", front_end)
    return _checked(elaboration, input, "the declared input", front_end).violations


def _checked(elaboration: Elaboration, input: Model | None, what: str, front_end: FrontEnd) -> Checked:
    row = {} if input is None else front_end.row(input)
    given = {key: Write(key, entry.type, entry.reducer, sure=entry.required) for key, entry in row.items()}
    named = "" if input is None else f"{what} {front_end.model_name(input)}"
    return check(Elaborated(elaboration.steps, given, named, elaboration.key_names), front_end.types)


def _refuse_declared(name: str, declared: Mapping[str, Model | None], front_end: FrontEnd) -> None:
    """Raise what is wrong with the models that a workflow declares."""
    violations: list[Violation] = []
    for what, model in declared.items():
        if model is not None:
            violations += front_end.row_problems(model, f"the {what}", name, f'Workflow "{name}"')
    if violations:
        raise ContractError(violations)


def refused(name: str, reason: str) -> ContractError:
    """Return the error for a workflow whose input or output does not fit."""
    return ContractError([Violation("workflow-input", name, "", f'Workflow "{name}": {reason}')])


def _inferred_input(name: str, structure: Structure[Any], front_end: FrontEnd) -> Model | None:
    rows: dict[Model, str] = {}
    for first in first_of(structure):
        for row in _first_rows(name, first, structure.nodes[first], front_end):
            rows.setdefault(row, first)
    if len(rows) > 1:
        listed = ", ".join(f"{front_end.model_name(row)} ({task})" for row, task in rows.items())
        raise refused(name, f"its first tasks read several models: {listed}; say which input it takes: input=Model")
    return next(iter(rows), None)


def _first_rows(name: str, first: str, node: Any, front_end: FrontEnd) -> list[Model]:
    inside = front_end.opened(node)
    if inside is not None:
        return [] if inside.input is None else [inside.input]
    signature, _ = front_end.signature(node, first)
    models = [parameter.model for parameter in signature.parameters] if signature else []
    if len(models) > 1:
        raise refused(name, f'its first task "{first}" has several inputs; say which input it takes: input=Model')
    return models
