"""The steps that the checker looks at: who reads and writes which key, behind whom, and under which rule and gates.

Types are opaque here. The steps are made of graphs at run time, and of a type checker's own types by a plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cloaca.errors import Violation

INPUT = -1  # the provider "workflow input"
ABSENT = -2  # no provider


class Read(NamedTuple):
    """A node reads the context key ``key``, as its model's field ``field``, with this opaque type.

    A fan-out reads what the graph inside it reads from around: then ``task`` is the inner task to blame, and ``reader``
    says who reads, in messages.
    """

    key: str
    type: object
    required: bool
    field: str
    model: str
    task: str = ""
    reader: str = ""


class Write(NamedTuple):
    """A node writes the context key ``key`` with this opaque type; ``sure`` is False for a field it may leave out.

    ``reducer`` is None, or an opaque value that says how the writes of unordered nodes fold; ``field`` is the name of
    the model's field, None for a whole model. ``around`` marks what comes from the context around a fan-out, as part of
    the input of the graph inside: it is judged around, where its type is known to fit or not.
    """

    key: str
    type: object
    reducer: object | None = None
    sure: bool = True
    field: str | None = None
    around: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One node of an elaborated graph, at its place in topological order.

    ``task`` is the name to blame; ``guards`` are the indexes of the gates that decide whether it runs, outermost
    first, and ``otherwise`` those among them that must have said no, for the second arm of a branch; ``awaited`` are
    the predecessors that its rule looks at; ``rescues`` is the index of the task that a handler stands in for, whose
    predecessors it has; ``decides`` marks the decision of a branch; ``instead`` is the index of the step whose reads
    count for ``unread-rewrite`` (its own for a task, the entry for the exit of a sealed graph); ``entry`` marks the
    entry of a sealed graph: a gate that decides nothing of its own, and what stands for the workflow's input inside;
    ``closing`` marks a step that stands for a declared row (an ``output=``, the exit of a seal), whose unmet reads are
    ``workflow-input``; ``reader`` says who reads, in messages, ``elsewhere`` how it could write to another key, where
    that is not as for a task.
    """

    task: str
    preds: tuple[int, ...] = ()
    reads: tuple[Read, ...] = ()
    writes: tuple[Write, ...] = ()
    rule: str = "none_failed"
    guards: tuple[int, ...] = ()
    otherwise: frozenset[int] = frozenset()
    awaited: tuple[int, ...] = ()
    rescues: int | None = None
    decides: bool = False
    instead: int | None = None
    entry: bool = False
    closing: bool = False
    reader: str = ""
    elsewhere: str = ""


def exclusive(one: Step, other: Step) -> bool:
    """Return whether never both of two steps run: some gate lets one through on yes and the other on no."""
    if not one.otherwise and not other.otherwise:
        return False
    return any(gate in other.guards and (gate in one.otherwise) != (gate in other.otherwise) for gate in one.guards)


@dataclass(frozen=True, slots=True)
class Elaborated:
    """An elaborated graph: steps in topological order, and the row that the workflow's input provides.

    ``input_name`` is what messages call the input, ``the workflow input Order``; ``""`` if there is none.
    ``key_names`` gives the name to show for a key of an inner scope. ``by_element`` says that the input is an element
    of a fan-out's list: where its type does not fit, that is ``workflow-input``.
    """

    steps: Sequence[Step]
    input: Mapping[str, Write]
    input_name: str
    key_names: Mapping[str, str] = field(default_factory=dict)
    by_element: bool = False


@dataclass(frozen=True, slots=True)
class Types:
    """What the checker may ask about opaque types.

    ``element`` returns the model of which a type is a list, None for any other type; ``list_of`` the type of a list of
    a model, with ``optional`` of the model or None; of no model, a list of anything.
    """

    assignable: Callable[[object, object], bool]
    show: Callable[[object], str]
    element: Callable[[object], object | None]
    list_of: Callable[[object | None, bool], object]


@dataclass(frozen=True, slots=True)
class Checked:
    """``providers[step][key]``: who wrote what the step reads, latest first, INPUT last; ``()`` for nobody.

    The first of them that ran is the value's source. With a reducer all of them that ran count.
    """

    violations: tuple[Violation, ...]
    providers: Mapping[int, Mapping[str, tuple[int, ...]]]
