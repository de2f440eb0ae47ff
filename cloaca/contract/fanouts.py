"""Fan-outs in the contract: what the graph inside reads of an element and of the context around, and what comes out.

The graph inside is elaborated and checked by itself. Its input is an element of the list, laid over the context around
the node; what it reads of that context, the node itself reads, so that the check around judges it. It knows steps and
opaque types; who elaborates the graph inside hands that in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple

from cloaca.contract.certainty import Certainty
from cloaca.contract.checker import check
from cloaca.contract.front_ends import Fanned, FrontEnd
from cloaca.contract.steps import INPUT, Checked, Elaborated, Read, Step, Write
from cloaca.errors import Violation

if TYPE_CHECKING:
    from cloaca.contract.sites import Elaboration

Given = Mapping[str, Write]


class Last(NamedTuple):
    """What comes out of the graph in a fan-out: the name of its one last node, and its model."""

    name: str
    model: Any


@dataclass(frozen=True, slots=True)
class Inner:
    """The graph in a fan-out, elaborated and checked.

    ``element`` is the model of the elements, ``given`` the row that the graph reads: the element's fields over those of
    the context around. ``reads`` is what it reads of the latter. ``output`` is the index of the step whose output is an
    element's, ``optional`` says that there may be none: it may be skipped by decision, or be a child run that answers
    with None.
    """

    elaboration: Elaboration
    checked: Checked
    element: Any
    given: Given
    reads: tuple[Read, ...]
    output: int
    optional: bool


@dataclass(frozen=True, slots=True)
class Resolved:
    """A fan-out at its place: what it reads and writes. ``inner`` is None where its elements are not known."""

    reads: tuple[Read, ...]
    write: Write
    violations: tuple[Violation, ...]
    inner: Inner | None = None


class Place(NamedTuple):
    """Where a fan-out is: its name in messages, the prefix of the keys around, what they hold, what it is made of.

    ``elaborated`` makes the steps of the graph inside, given its input.
    """

    task: str
    scope: str
    around: Given
    fan: Fanned
    last: Last | None
    elaborated: Callable[[Given], Elaboration]


def resolved(place: Place, front_end: FrontEnd) -> Resolved:
    """Return what a fan-out reads and writes, with the graph inside checked against the elements."""
    types, fan = front_end.types, place.fan
    provided = place.around.get(fan.over)
    listed = types.list_of(None, False) if provided is None else provided.type
    over = Read(place.scope + fan.over, listed, True, fan.over, "")
    model = place.last.model if place.last else None
    write = Write(place.scope + fan.into, types.list_of(model, False))
    violations = [] if place.last else [_no_output(place)]
    element = None if provided is None else types.element(provided.type)
    if provided is not None and element is None:
        violations.append(_no_models(place, types.show(provided.type)))
    elif element is not None:
        violations += front_end.row_problems(element, "the element", place.task, f'"{place.task}"')
    if violations or element is None or place.last is None:
        return Resolved((over,), write, tuple(violations))
    inner = _inner(place, place.last, element, front_end)
    write = Write(write.key, types.list_of(model, inner.optional))
    return Resolved((over, *inner.reads), write, violations_in(inner), inner)


def _inner(place: Place, last: Last, element: Any, front_end: FrontEnd) -> Inner:
    row = front_end.row(element)
    fields = {key: Write(key, entry.type, entry.reducer, field=key) for key, entry in row.items()}
    given = {**place.around, **fields}
    made = place.elaborated(given)
    name = f"the element {front_end.model_name(element)}"
    checked = check(Elaborated(made.steps, given, name, made.key_names, by_element=True), front_end.types)
    output = made.index[last.name]
    reads = tuple(_outer_reads(place.scope, made.steps, checked, given))
    optional = not made.sites[output].sure or Certainty(made.steps).can_be_skipped(output)
    return Inner(made, checked, element, given, reads, output, optional)


def violations_in(inner: Inner) -> tuple[Violation, ...]:
    """Return what is wrong inside, at any depth."""
    return (*inner.checked.violations, *inner.elaboration.violations)


def _outer_reads(scope: str, steps: Sequence[Step], checked: Checked, given: Given) -> list[Read]:
    """What the steps inside may get from the context around, as reads of the node: each with the task to blame."""
    return [
        read._replace(key=scope + read.key, task=read.task or step.task, reader=read.reader or step.reader)
        for index, step in enumerate(steps)
        for read in step.reads
        if INPUT in checked.providers[index][read.key] and given[read.key].around
    ]


def visible(steps: Sequence[Step], preds: Sequence[int], scope: str, given: Given) -> dict[str, Write]:
    """Return what a node behind ``preds`` sees, by key of its scope: of each key the latest write before it.

    ``given`` is the row that comes into the graph. Cost: its ancestors and what they write.
    """
    found: dict[str, Write] = {}
    seen, heap = set(preds), [-pred for pred in preds]
    heap.sort()
    while heap:
        step = steps[-heappop(heap)]
        for write in step.writes:
            if write.key.startswith(scope) and "/" not in (key := write.key[len(scope) :]):
                found.setdefault(key, write)
        for pred in step.preds:
            if pred not in seen:
                seen.add(pred)
                heappush(heap, -pred)
    rows = (given, found) if not scope else (found,)
    return {key: write._replace(key=key, sure=True, around=True) for row in rows for key, write in row.items()}


def _no_models(place: Place, shown: str) -> Violation:
    text = (
        f'Task "{place.task}" goes over field "{place.fan.over}", which must be a list of models, but it is {shown}; '
        f"declare it as list[Model]: each element's fields are what an instance reads"
    )
    return Violation("workflow-input", place.task, place.fan.over, text)


def _no_output(place: Place) -> Violation:
    text = (
        f'Task "{place.task}" collects the outputs of its graph in field "{place.fan.into}", so it must have one '
        f"last task that returns a model; end it with one, or seal it: g.sealed(Element, Output)"
    )
    return Violation("workflow-input", place.task, place.fan.into, text)


def undone_inside(name: str) -> Violation:
    """Return the violation for a compensation in a fan-out: it is the tasks of a run that are undone at its end."""
    text = (
        f'"{name}": a task in each() can\'t have a compensation: what is undone are the tasks of a whole run, in their '
        "order; behind the each(), compensate a task that reads its list, or give each element a run of its own: "
        "each(subflow(workflow), ...)"
    )
    return Violation("workflow-input", name, "", text)


def signals_inside(name: str) -> Violation:
    """Return the violation for a wait for signals in a fan-out: they are sent to a run, and name no element."""
    text = (
        f'"{name}": a signal is sent to a run, and says nothing of the element of each() that it would be for; put the '
        "wait_for into a workflow, and give each element a run of its own: each(subflow(workflow), ...)"
    )
    return Violation("workflow-input", name, "", text)
