"""Graphs of nodes as immutable values, and the operators that compose them.

It knows names, order and conditions; what a node reads and writes is the contract's business, when it runs the
machine's.

Axioms, for all graphs whose operands may be composed (``laws`` has them as functions):
    overlay ``&`` is commutative, associative, idempotent; ``Graph()`` is its identity.
    series ``>>`` is associative with disjoint operands; ``Graph()`` is its identity; it distributes over overlay.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Literal, Self, TypeAlias, get_args, overload

from pydantic import BaseModel
from typing_extensions import TypeVar

from cloaca.algebra.drawings import Drawable, picture_of
from cloaca.algebra.guards import Guard
from cloaca.algebra.signatures import local_names, name_of, read_predicate
from cloaca.algebra.structures import Structure, checked_name, closed, empty, leaf, nothing_to_seal, overlay, series
from cloaca.errors import ContractError, Violation

if TYPE_CHECKING:
    from cloaca.algebra.shapes import Shape  # noqa: F401 - the plugin looks it up among what is loaded with this module
    from cloaca.drawing import Picture

In = TypeVar("In", contravariant=True, default=Any)
Out = TypeVar("Out", covariant=True, default=Any)
# What a type checker's plugin knows of the graph. ``object``, not Any: a declared Graph[In, Out] is known to be opaque.
Hidden = TypeVar("Hidden", covariant=True, default=object)
Out2 = TypeVar("Out2")
RowIn = TypeVar("RowIn", bound=BaseModel)
RowOut = TypeVar("RowOut", bound=BaseModel)

Row: TypeAlias = type[BaseModel] | None
Rule = Literal["none_failed", "all_success", "all_done", "any_success", "any_failed", "all_failed"]
RULES: Final[tuple[Rule, ...]] = get_args(Rule)


@dataclass(frozen=True, slots=True)
class Predicate:
    """A condition: a function from a model to bool, by which a group of tasks runs or is skipped."""

    function: Callable[[Any], bool]
    names: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, function: object, by: str = "when") -> Predicate:
        """Return ``function`` as a predicate of ``by``, with the local names that its annotation may need."""
        if not callable(function) or isinstance(function, Graph):
            raise TypeError(f"{by}({function!r}): a condition is a plain function from a model to bool")
        return cls(function, local_names(function))

    @property
    def name(self) -> str:
        """The function's name; ``condition`` for a lambda."""
        return name_of(self.function)

    def model(self, task: str) -> type[BaseModel] | None:
        """The annotated model; None for a lambda. Raises as ``read_predicate`` does, about ``task``."""
        return read_predicate(self.function, task, {**local_names(self.function), **self.names})


class Graph(Drawable, Generic[In, Out, Hidden]):
    """A graph of tasks, as a value: what it reads, what it writes, and in which order its tasks run.

    Write ``Graph[In, Out]`` in annotations; the third type argument is for type checkers. ``Graph()`` is the empty
    graph. Composing never changes an operand; equal expressions are equal and hash equal.

    >>> from cloaca import task
    >>> @task
    ... def first() -> None: ...
    >>> @task
    ... def second() -> None: ...
    >>> @task
    ... def third() -> None: ...
    >>> graph = first >> [second, third]
    >>> print(graph.to_text())
    first ─┬─ second
           └─ third
    >>> isinstance(graph, Graph), graph == (first >> second) & (first >> third)
    (True, True)
    >>> print(graph.sealed(None, None).named("both").to_text())
    both
    """

    @cached_property
    def structure(self) -> Structure[Node[Any, Any, Any]]:
        """The nodes by name, the edges, the first and the last names."""
        return empty()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} can't be set: graphs are values; compose another")

    @overload
    def __rshift__(self, other: Graph[Any, Out2, Any], /) -> Graph[In, Out2]: ...
    @overload
    def __rshift__(self, other: list[Any] | tuple[Any, ...], /) -> Graph[In, Mapping[str, Any]]: ...
    def __rshift__(self, other: Any, /) -> Any:
        right = as_graph(other)
        return NotImplemented if right is None else _checked(*series(self.structure, right.structure))

    def __rrshift__(self, other: list[Any] | tuple[Any, ...], /) -> Graph[Any, Out]:
        left = as_graph(other)
        return NotImplemented if left is None else _checked(*series(left.structure, self.structure))

    def __and__(self, other: Graph[Any, Any, Any], /) -> Graph[Any, Mapping[str, Any]]:
        if not isinstance(other, Graph):
            return NotImplemented
        return overlaid(self, other)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and (self is other or self.structure == other.structure)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self.structure)

    def __iter__(self) -> Iterator[Node[Any, Any, Any]]:
        """Iterate over the nodes, by name."""
        return iter(node for _, node in sorted(self.structure.nodes.items()))

    def __bool__(self) -> bool:
        return True  # or __iter__'s presence would suggest that an empty graph is false; a graph is a value, not a list

    def __repr__(self) -> str:
        edges = ", ".join(f"{a} >> {b}" for a, b in sorted(self.structure.edges))
        lone = set(self.structure.nodes) - {name for edge in self.structure.edges for name in edge}
        return f"Graph({', '.join(filter(None, [edges, *sorted(lone)]))})"

    def when(self, predicate: Callable[[Any], bool], /) -> Graph[In, Out]:
        """Return this graph on a condition: run it all if ``predicate(model)`` holds, else skip it all.

        The predicate is a plain, quick, pure function of one pydantic model, read from the context like an input,
        decided once, before the first tasks of the graph. A lambda without annotation gets the first task's first
        model. Skipped in this way, the graph counts as done for what comes after it.
        """
        structure = self.structure
        guard = Guard(Predicate.of(predicate), frozenset(structure.nodes), structure.heads)
        nodes = {name: node.guarded(guard) for name, node in structure.nodes.items()}
        return graph_of(replace(structure, nodes=nodes))

    @overload
    def sealed(self, input: type[RowIn], output: type[RowOut], /) -> Seal[RowIn, RowOut]: ...
    @overload
    def sealed(self, input: type[RowIn], output: None, /) -> Seal[RowIn, None]: ...
    @overload
    def sealed(self, input: None, output: type[RowOut], /) -> Seal[None, RowOut]: ...
    @overload
    def sealed(self, input: None, output: None, /) -> Seal[None, None]: ...
    def sealed(self, input: Row, output: Row, /) -> Seal[Any, Any]:
        """Return this graph as one node that reads only ``input`` and writes only ``output``.

        What is inside sees nothing else of the context, and conflicts with nothing outside. None stands for no row.
        The node is named ``sealed:`` and its first task; ``.named`` gives it another.

        Raises:
            ContractError: ``workflow-input``: the graph is empty, or a row is no pydantic model.
        """
        if not self.structure.nodes:
            raise ContractError([nothing_to_seal()])
        graph = graph_of(closed(self.structure))
        name = f"sealed:{min(graph.structure.heads)}"
        rows: tuple[object, ...] = (input, output)
        for row in rows:
            if row is not None and not (isinstance(row, type) and issubclass(row, BaseModel)):
                text = f'"{name}": a sealed row must be a pydantic model or None, but it is {row!r}'
                raise ContractError([Violation("workflow-input", name, "", text)])
        return Seal(name, graph=graph, input=input, output=output)

    def picture(self, states: Mapping[str, str] | None = None) -> Picture:
        """Return the graph as a picture; ``states`` colours its nodes by task status."""
        return picture_of(repr(self), self.structure, states or {})


class Composite(Graph[In, Out, Hidden]):
    """A graph of several nodes, made by an operator."""

    def __init__(self, structure: Structure[Node[Any, Any, Any]]) -> None:
        self.__dict__["structure"] = structure


@dataclass(frozen=True, eq=False, repr=False)
class Node(Graph[In, Out, Hidden]):
    """A graph of one node, known by its name within any graph. ``kind`` is what pictures call it."""

    kind: ClassVar[str] = "task"

    name: str
    rule: Rule = field(default="none_failed", kw_only=True)
    guards: tuple[Guard[Predicate], ...] = field(default=(), kw_only=True)  # outermost first

    @cached_property
    def structure(self) -> Structure[Node[Any, Any, Any]]:
        """This node alone."""
        return leaf(self.name, self)

    @property
    def detail(self) -> str:
        """A short line about the node, for pictures."""
        return ""

    @property
    def shown_inside(self) -> Structure[Node[Any, Any, Any]] | None:
        """The graph that pictures show in the node's place, in a frame."""
        return None

    @property
    def stand_in(self) -> Node[Any, Any, Any] | None:
        """The node that stands in for this one if it fails, for pictures."""
        return None

    def identity(self) -> tuple[object, ...]:
        """What makes this node another one under the same name."""
        return (type(self), self.name, self.rule, self.guards)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and (self is other or self.identity() == other.identity())

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((type(self), self.name))

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.name}>"

    def named(self, name: str, /) -> Self:
        """Return the same node under another name, so that a graph can contain it twice."""
        checked_name(name)
        return self._changed(name=name, guards=tuple(guard.renamed(self.name, name) for guard in self.guards))

    def on(self, rule: Rule, /) -> Self:
        """Return the same node under a trigger rule over its direct predecessors, once they are all final.

        ``none_failed`` (the default): each has succeeded or was skipped by decision. ``all_success``: each has
        succeeded. ``all_done``: always. ``any_success``, ``any_failed``: at least one. ``all_failed``: every one.
        """
        if rule not in RULES:
            raise ValueError(f"on({rule!r}): choose one of {', '.join(RULES)}")
        return self._changed(rule=rule)

    def when(self, predicate: Callable[[Any], bool], /) -> Self:
        """Return the same node on a condition: see ``Graph.when``."""
        alone = frozenset((self.name,))
        return self.guarded(Guard(Predicate.of(predicate), alone, alone))

    def guarded(self, guard: Guard[Predicate]) -> Self:
        """Return the same node under one more condition, the outermost."""
        return self.under((guard, *self.guards))

    def under(self, guards: tuple[Guard[Predicate], ...]) -> Self:
        """Return the same node under these conditions alone."""
        return self._changed(guards=guards)

    def _changed(self, **changes: Any) -> Self:
        # Not dataclasses.replace: graphs of 100,000 nodes are built of changed copies, and this is ten times as fast.
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, **changes)
        for cached in ("structure", "_hash"):
            other.__dict__.pop(cached, None)
        return other


@dataclass(frozen=True, eq=False, repr=False)
class Seal(Node[In, Out, Hidden]):
    """A graph closed into one node: it reads one row and writes one row."""

    kind: ClassVar[str] = "sealed"

    graph: Graph[Any, Any, Any] = field(kw_only=True)
    input: Row = field(kw_only=True)
    output: Row = field(kw_only=True)

    def identity(self) -> tuple[object, ...]:
        """The inner graph and both rows count too."""
        return (*super().identity(), self.graph, self.input, self.output)

    @property
    def detail(self) -> str:
        """The two rows."""
        return " -> ".join(row.__name__ if row else "()" for row in (self.input, self.output))


def as_graph(operand: object) -> Graph[Any, Any, Any] | None:
    """Return ``operand`` as a graph, a list or tuple as the overlay of its items; None if it is neither."""
    if isinstance(operand, Graph):
        return operand
    if not isinstance(operand, list | tuple):
        if inspect.isroutine(operand):
            raise TypeError(
                f"Only tasks and graphs compose, but {operand!r} is a plain function; decorate it with @task"
            )
        return None
    parts = [as_graph(item) for item in operand]
    for item, part in zip(operand, parts, strict=True):
        if part is None:
            raise TypeError(
                f"Only tasks and graphs compose with >>, but the list contains {item!r}; decorate functions with @task"
            )
    return overlaid(*(part for part in parts if part is not None))


def overlaid(*graphs: Graph[Any, Any, Any]) -> Graph[Any, Any]:
    """Return the overlay of all ``graphs``: nodes are shared by name. Raises ContractError as ``&`` does."""
    return _checked(*overlay([graph.structure for graph in graphs]))


def graph_of(structure: Structure[Node[Any, Any, Any]]) -> Graph[Any, Any]:
    """Return the graph with this structure: a graph of one node is that node."""
    if len(structure.nodes) == 1:
        return next(iter(structure.nodes.values()))
    return Composite(structure) if structure.nodes else Graph()


def _checked(structure: Structure[Node[Any, Any, Any]], violations: tuple[Violation, ...]) -> Graph[Any, Any]:
    return graph_of(unless_wrong(structure, violations))


def unless_wrong(
    structure: Structure[Node[Any, Any, Any]], violations: tuple[Violation, ...]
) -> Structure[Node[Any, Any, Any]]:
    """Return a structure that was made, unless there is something wrong with it: then raise ContractError."""
    if violations:
        raise ContractError(violations)
    return structure
