"""What elaboration asks about a graph: what a node is, what a task reads and writes, what fields a model has.

Nodes and models are opaque: at run time they are the algebra's own and pydantic's, in a type checker what stands for
them. It answers nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from cloaca.algebra.declarations import Renames, Signature
from cloaca.algebra.guards import Guard
from cloaca.algebra.rows import Row
from cloaca.algebra.structures import Structure
from cloaca.contract.steps import Types
from cloaca.errors import Violation

Model: TypeAlias = Any  # a front end's: opaque, hashable, compared


class Node(Protocol):
    """What a node of any front end has. ``reads``, ``writes`` and ``whole`` matter where it is a task."""

    @property
    def name(self) -> str: ...
    @property
    def rule(self) -> str: ...
    @property
    def guards(self) -> tuple[Guard, ...]: ...


class Task(Node, Protocol):
    """A node that is a task: ``reads`` and ``writes`` rename fields, ``whole`` is the key of ``into``.

    ``handler`` is the task that stands in for it if it fails, ``undo`` the task that compensates it, if any.
    """

    @property
    def reads(self) -> Renames: ...
    @property
    def writes(self) -> Renames: ...
    @property
    def whole(self) -> str | None: ...
    @property
    def undo(self) -> Any | None: ...
    @property
    def handler(self) -> Task | None: ...


class Choice(NamedTuple):
    """The decision of a branch: the condition that it asks."""

    predicate: Any


class Inside(NamedTuple):
    """A sealed node opened: the graph in it, and its two rows."""

    structure: Structure[Any]
    input: Model | None
    output: Model | None


class Fanned(NamedTuple):
    """A fan-out opened: the graph in it, the fields that it goes over and writes, how many elements at a time."""

    structure: Structure[Any]
    over: str
    into: str
    limit: int | None = None


class Waits(NamedTuple):
    """A node that waits, opened: what it reads and writes; ``sure`` if it surely writes once it has succeeded.

    Its node has ``reads``, ``writes`` and ``whole`` as a task has.
    """

    kind: Literal["sleep", "wait", "subflow"]
    input: Model | None = None
    output: Model | None = None
    sure: bool = True


class FrontEnd(Protocol):
    """How nodes, conditions, models and types are read. What is wrong comes as ``task-model`` violations."""

    @property
    def types(self) -> Types:
        """What may be asked about the types of fields."""
        ...

    def opened(self, node: Any) -> Inside | Fanned | Waits | Choice | None:
        """Return what a node is: a sealed graph, a fan-out, a wait, the decision of a branch; None for a task."""
        ...

    def signature(self, task: Any, name: str) -> tuple[Signature | None, Sequence[Violation]]:
        """Return what a task, named ``name`` in sentences, reads and writes."""
        ...

    def condition(self, predicate: Any, name: str) -> tuple[Model | None, Sequence[Violation]]:
        """Return the model that a condition of the task ``name`` is annotated with, None if it has no annotation."""
        ...

    def condition_name(self, predicate: Any) -> str:
        """Return a condition's name in sentences."""
        ...

    def row(self, model: Model) -> Row:
        """Return a model's fields."""
        ...

    def model_name(self, model: Model) -> str:
        """Return a model's name."""
        ...

    def row_problems(self, model: Model, what: str, owner: str, who: str) -> Sequence[Violation]:
        """Return why ``model`` can't be a row that no task declares."""
        ...
