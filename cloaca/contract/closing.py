"""Closing a graph under a name: find its input, elaborate, check. The same steps for every front end.

It compiles nothing and knows no pydantic model: see ``front_ends``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from cloaca.algebra.structures import Structure
from cloaca.contract.checker import check
from cloaca.contract.elaboration import elaborate
from cloaca.contract.epilogues import Callback
from cloaca.contract.fanouts import Given
from cloaca.contract.front_ends import Choice, Fanned, FrontEnd, Model
from cloaca.contract.scopes import first_of, last_of
from cloaca.contract.sites import Elaboration
from cloaca.contract.steps import Checked, Elaborated, Write, exclusive
from cloaca.errors import ContractError, Violation


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed graph. ``input`` is the declared or inferred model, ``last`` the names of its last nodes."""

    elaboration: Elaboration
    checked: Checked
    input: Model | None
    last: tuple[str, ...]

    def answering(self) -> tuple[int, ...]:
        """Return the last steps if never two of them run, ``()`` if several may: then the context is the answer.

        Each is followed by the handler that may have run instead.
        """
        steps, found = self.elaboration.steps, [self.elaboration.index[name] for name in self.last]
        if not all(exclusive(steps[one], steps[other]) for one, other in combinations(found, 2)):
            return ()
        handlers = {step.rescues: index for index, step in enumerate(steps) if step.rescues in found}
        return tuple(index for step in found for index in (step, handlers.get(step)) if index is not None)


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
    known: list[Model | None] = [] if input is None else [input]

    def given() -> Given:
        if not known:
            known.append(_inferred_input(name, structure, front_end))
        return _given(known[0], front_end)

    elaboration = elaborate(structure, output, name, front_end, given, callbacks=callbacks)
    checked = _checked(elaboration, known[0], "the workflow input", front_end)
    return Closed(elaboration, checked, known[0], tuple(last_of(structure)))


def check_declared(
    structure: Structure[Any], input: Model | None, output: Model | None, front_end: FrontEnd
) -> tuple[Violation, ...]:
    """Return what is wrong with a graph that is declared to read one row and to write another.

    Raises ContractError as ``close`` does.
    """
    elaboration = elaborate(structure, output, "", front_end, lambda: _given(input, front_end))
    return _checked(elaboration, input, "the declared input", front_end).violations


def _given(input: Model | None, front_end: FrontEnd) -> Given:
    """The row that comes into a graph."""
    row = {} if input is None else front_end.row(input)
    return {key: Write(key, entry.type, entry.reducer, sure=entry.required) for key, entry in row.items()}


def _checked(elaboration: Elaboration, input: Model | None, what: str, front_end: FrontEnd) -> Checked:
    named = "" if input is None else f"{what} {front_end.model_name(input)}"
    given = _given(input, front_end)
    checked = check(Elaborated(elaboration.steps, given, named, elaboration.key_names), front_end.types)
    return replace(checked, violations=(*checked.violations, *elaboration.violations))


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
    for first in first_tasks(structure, front_end):
        for row in _first_rows(name, first, structure.nodes[first], front_end):
            rows.setdefault(row, first)
    if len(rows) > 1:
        listed = ", ".join(f"{front_end.model_name(row)} ({task})" for row, task in rows.items())
        raise refused(name, f"its first tasks read several models: {listed}; say which input it takes: input=Model")
    return next(iter(rows), None)


def first_tasks(structure: Structure[Any], front_end: FrontEnd) -> list[str]:
    """Return the first nodes by name, but of a branch the first ones in its arms: what a workflow begins with.

    A decision is among them only if nothing else that is first reads anything.
    """
    before: dict[str, set[str]] = {name: set() for name in structure.nodes}
    after: dict[str, list[str]] = {name: [] for name in structure.nodes}
    for source, target in structure.edges:
        before[target].add(source)
        after[source].append(target)
    decisions: list[str] = []
    tasks: list[str] = []
    ready = first_of(structure)
    while ready:
        name = ready.pop()
        if not isinstance(front_end.opened(structure.nodes[name]), Choice):
            tasks.append(name)
            continue
        decisions.append(name)
        for other in after[name]:
            before[other].discard(name)
            if not before[other]:
                ready.append(other)
    reading = [name for name in sorted(tasks) if _reads(name, structure.nodes[name], front_end)]
    return reading or sorted(decisions)


def _reads(name: str, node: Any, front_end: FrontEnd) -> bool:
    """Whether a node reads anything that could be the input."""
    inside = front_end.opened(node)
    if isinstance(inside, Fanned):
        return False
    if inside is not None:
        return not isinstance(inside, Choice) and inside.input is not None
    signature, _ = front_end.signature(node, name)
    return bool(signature and signature.parameters)


def _first_rows(name: str, first: str, node: Any, front_end: FrontEnd) -> list[Model]:
    inside = front_end.opened(node)
    if isinstance(inside, Fanned):
        return []  # it reads a list, and what its elements lack: no model says that
    if isinstance(inside, Choice):
        model, _ = front_end.condition(inside.predicate, first)
        return [] if model is None else [model]
    if inside is not None:
        return [] if inside.input is None else [inside.input]
    signature, _ = front_end.signature(node, first)
    models = [parameter.model for parameter in signature.parameters] if signature else []
    if len(models) > 1:
        raise refused(name, f'its first task "{first}" has several inputs; say which input it takes: input=Model')
    return models
