"""The nodes of a graph as a type checker sees them, and the front end that reads them for the contract.

It decides nothing: it answers what ``contract.front_ends`` asks, with mypy's types for models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias

from mypy.types import Instance, Type

from cloaca.algebra.declarations import Reader, Signature
from cloaca.algebra.guards import Guard, the_condition
from cloaca.algebra.rows import Row
from cloaca.algebra.structures import Structure, closed
from cloaca.contract.front_ends import Choice, Fanned, Inside, Waits
from cloaca.contract.steps import Types
from cloaca.errors import Violation
from cloaca.mypy.expressions import UNKNOWN, is_age

if TYPE_CHECKING:
    from cloaca.mypy.hints import MypyHints

Model: TypeAlias = Instance
Renames = tuple[tuple[str, str], ...]

NOTHING: Final[Signature[Model]] = Signature((), None)


@dataclass(frozen=True, slots=True)
class Condition:
    """A predicate. ``identity`` tells one from another; ``problems`` are what is wrong with its declaration."""

    identity: str
    name: str
    model: Model | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class StaticNode:
    """A node of a graph. Two are equal if they surely are; what can't be known is taken to be equal."""

    name: str
    identity: str
    rule: str = "none_failed"
    guards: tuple[Guard[Condition], ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StaticNode) and self.key() == other.key()

    def __hash__(self) -> int:
        return hash(self.name)

    def key(self) -> tuple[object, ...]:
        """What makes a node another one."""
        return (self.name, self.identity, self.rule, self.guards)

    def named(self, name: str, /) -> Self:
        """Return the same node under another name."""
        return replace(self, name=name, guards=tuple(guard.renamed(self.name, name) for guard in self.guards))

    def under(self, guards: tuple[Guard[Condition], ...]) -> Self:
        """Return the same node under these conditions alone."""
        return replace(self, guards=guards)


@dataclass(frozen=True, eq=False)
class StaticTask(StaticNode):
    """A task, or with ``is_opaque`` a graph of which no more is known than its two rows.

    ``handler`` is the task that stands in for it if it fails.
    """

    signature: Signature[Model] = NOTHING
    options: tuple[tuple[str, str], ...] = ()
    reads: Renames = ()
    writes: Renames = ()
    whole: str | None = None
    undo: StaticTask | None = None
    is_opaque: bool = False
    handler: StaticTask | None = None

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and isinstance(other, StaticTask) and _may_agree(self.options, other.options)

    __hash__ = StaticNode.__hash__

    @property
    def is_cached(self) -> bool:
        """Whether it surely has a cache."""
        return is_age(dict(self.options).get("cache", ""))

    def key(self) -> tuple[object, ...]:
        """Where its rows are in the context counts, too, and its handler, and what undoes it."""
        return (*super().key(), self.reads, self.writes, self.whole, self.handler, self.undo)


@dataclass(frozen=True, eq=False)
class StaticDecision(StaticNode):
    """The decision of a branch."""

    condition: Condition | None = None

    def key(self) -> tuple[object, ...]:
        """The condition counts, too."""
        return (*super().key(), self.condition)


@dataclass(frozen=True, eq=False)
class StaticWait(StaticTask):
    """A node that waits; ``errors`` are the typed errors of a child run, ``sure`` if it surely writes."""

    kind: Literal["sleep", "wait", "subflow"] = "sleep"
    sure: bool = True
    errors: tuple[Type, ...] = ()


@dataclass(frozen=True, eq=False)
class StaticSeal(StaticNode):
    """A sealed graph."""

    structure: Structure[StaticNode] | None = None
    input: Model | None = None
    output: Model | None = None

    def key(self) -> tuple[object, ...]:
        """What is inside counts, too."""
        return (*super().key(), self.structure, self.input, self.output)


@dataclass(frozen=True, eq=False)
class StaticEach(StaticNode):
    """A fan-out. ``limit`` is a text to compare, as those of a task's options."""

    structure: Structure[StaticNode] | None = None
    over: str = ""
    into: str = ""
    limit: str = ""

    def __eq__(self, other: object) -> bool:
        if not super().__eq__(other) or not isinstance(other, StaticEach):
            return False
        return _may_agree((("limit", self.limit),), (("limit", other.limit),))

    __hash__ = StaticNode.__hash__

    def key(self) -> tuple[object, ...]:
        """What is inside and both fields count, too."""
        return (*super().key(), self.structure, self.over, self.into)


def _may_agree(ours: Sequence[tuple[str, str]], theirs: Sequence[tuple[str, str]]) -> bool:
    one, other = dict(ours), dict(theirs)
    pairs = ((one.get(key, ""), other.get(key, "")) for key in one.keys() | other.keys())
    return all(a == b or a.startswith(UNKNOWN) or b.startswith(UNKNOWN) for a, b in pairs)


def sealed(structure: Structure[StaticNode], input: Model | None, output: Model | None) -> StaticSeal:
    """Return a graph as one node, as ``Graph.sealed`` does."""
    inner = closed(structure)
    return StaticSeal(f"sealed:{min(inner.heads)}", "sealed", structure=inner, input=input, output=output)


def fanned(structure: Structure[StaticNode], over: str, into: str, limit: str) -> StaticEach:
    """Return a graph for each element as one node, as ``each`` does."""
    inner = closed(structure)
    return StaticEach(f"each:{min(inner.heads)}", "each", structure=inner, over=over, into=into, limit=limit)


class StaticNodes:
    """The front end of the contract in a type checker."""

    def __init__(self, hints: MypyHints) -> None:
        self.hints = hints

    @property
    def types(self) -> Types:
        """What may be asked about types."""
        return self.hints.types

    def opened(self, node: StaticNode) -> Inside | Fanned | Waits | Choice | None:
        """Return what a node is: a sealed graph, a fan-out, a wait, the decision of a branch; None for a task."""
        if isinstance(node, StaticDecision):
            return Choice(node.condition)
        if isinstance(node, StaticWait):
            inputs = [parameter.model for parameter in node.signature.parameters]
            return Waits(node.kind, next(iter(inputs), None), node.signature.output, node.sure)
        if isinstance(node, StaticSeal) and node.structure is not None:
            return Inside(node.structure, node.input, node.output)
        if isinstance(node, StaticEach) and node.structure is not None:
            return Fanned(node.structure, node.over, node.into)
        return None

    def signature(self, task: StaticTask, name: str) -> tuple[Signature[Model] | None, Sequence[Violation]]:
        """Return a task's signature, whose problems were reported at its decorator."""
        return task.signature, ()

    def condition(self, predicate: Condition, name: str) -> tuple[Model | None, Sequence[Violation]]:
        """Return a condition's model."""
        who = the_condition(predicate.name, name)
        return predicate.model, [Violation("task-model", name, "", f"{who}: {text}") for text in predicate.problems]

    def condition_name(self, predicate: Condition) -> str:
        """Return a condition's name."""
        return predicate.name

    def row(self, model: Model) -> Row:
        """Return a model's fields."""
        return self.hints.row(model)

    def model_name(self, model: Model) -> str:
        """Return a model's name."""
        return self.hints.name(model)

    def row_problems(self, model: Model, what: str, owner: str, who: str) -> Sequence[Violation]:
        """Return why a model can't be a row."""
        reader: Reader[Model] = Reader(owner, who, self.hints)
        reader.model(what, model)
        return reader.violations


def renamed(old: Renames, keys: Mapping[str, str]) -> Renames:
    """Return renames with some more."""
    return tuple(sorted({**dict(old), **keys}.items()))


def models_of(signature: Signature[Model]) -> list[Model]:
    """Return the models that a task reads, writes and answers with."""
    found = [each.model for each in signature.parameters]
    return [*found, *(model for model in (signature.output, signature.error) if model is not None)]
