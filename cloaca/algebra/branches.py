"""``branch``: one of two graphs, chosen by a condition when the run gets there.

A branch is no box with graphs inside: it is a node that decides, and the nodes of both arms under their own names, so
that each of them can be seen, faked and read as anywhere else. The contract and the machine know what an arm means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias, overload

from typing_extensions import TypeVar

from cloaca.algebra.arms import branched, renamed, ruled
from cloaca.algebra.graphs import (
    Composite,
    Graph,
    Hidden,
    In,
    Node,
    Out,
    Predicate,
    Rule,
    as_graph,
    unless_wrong,
)
from cloaca.algebra.signatures import Unresolved
from cloaca.algebra.structures import checked_name, leaf
from cloaca.errors import ContractError

Then = TypeVar("Then")
Otherwise = TypeVar("Otherwise")
Several: TypeAlias = list[Any] | tuple[Any, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Decision(Node[In, Out, Hidden]):
    """The node that decides which arm of a branch runs. It reads what its predicate reads, and writes nothing."""

    kind: ClassVar[str] = "branch"

    predicate: Predicate = field(kw_only=True)

    @property
    def detail(self) -> str:
        """The model that it asks about."""
        try:
            model = self.predicate.model(self.name)
        except (Unresolved, ContractError):
            return ""
        return model.__name__ if model else ""

    def identity(self) -> tuple[object, ...]:
        """The predicate counts, too."""
        return (*super().identity(), self.predicate)


class Branch(Composite[In, Out, Hidden]):
    """A decision and both of its arms. Made by ``branch``; it composes like any graph."""

    def named(self, name: str, /) -> Branch[In, Out]:
        """Return the same branch whose decision goes by another name; the tasks in its arms keep theirs.

        Raises:
            ContractError: ``task-name``: a task in one of the arms has this name.
        """
        return Branch(unless_wrong(*renamed(self.structure, checked_name(name))))

    def on(self, rule: Rule, /) -> Branch[In, Out]:
        """Return the same branch, whose decision is made under a trigger rule: see ``Node.on``."""
        return Branch(ruled(self.structure, lambda node: node.on(rule)))

    def when(self, predicate: Callable[[Any], bool], /) -> Branch[In, Out]:
        """Return the same branch on a condition: see ``Graph.when``. If it does not hold, neither arm runs."""
        return Branch(super().when(predicate).structure)


@overload
def branch(
    predicate: Callable[[Any], bool], *, then: Graph[Any, Then, Any], otherwise: Graph[Any, Otherwise, Any]
) -> Branch[Any, Then | Otherwise]: ...
@overload
def branch(
    predicate: Callable[[Any], bool], *, then: Graph[Any, Any, Any] | Several, otherwise: Graph[Any, Any, Any] | Several
) -> Branch[Any, Any]: ...
def branch(predicate: Any, *, then: Any, otherwise: Any) -> Any:
    """Return a graph that runs ``then`` if ``predicate(model)`` holds, and else ``otherwise``.

    The predicate is a plain, quick, pure function of one pydantic model, by which it is annotated; the model is read
    from the context like an input. It is asked once in a run, before the first tasks of either arm, and its answer is
    kept: exactly one arm runs, also after a crash. The other is skipped by decision. ``Graph()`` is an arm in which
    nothing is done. The decision is a node named ``branch:`` and the predicate; ``.named`` gives it another name.

    Raises:
        ContractError: ``task-name``: both arms have a task of one name.
        TypeError: the predicate is no function, or an arm no graph.

    >>> from pydantic import BaseModel
    >>> from cloaca.algebra.tasks import task
    >>> class Order(BaseModel):
    ...     amount: int
    >>> def is_large(order: Order) -> bool:
    ...     return order.amount > 100
    >>> @task
    ... def approve(order: Order) -> None: ...
    >>> @task
    ... def accept(order: Order) -> None: ...
    >>> branch(is_large, then=approve, otherwise=accept)
    Graph(branch:is_large >> accept, branch:is_large >> approve)
    """
    condition = Predicate.of(predicate, "branch")
    name = checked_name(f"branch:{condition.name}")
    arms = [_arm(which, given) for which, given in (("then", then), ("otherwise", otherwise))]
    decision: Decision[Any, Any] = Decision(name, predicate=condition)
    if not arms[0].structure.nodes and not arms[1].structure.nodes:
        return Branch(leaf(name, decision))
    return Branch(unless_wrong(*branched(name, decision, arms[0].structure, arms[1].structure)))


def _arm(which: str, given: object) -> Graph[Any, Any, Any]:
    arm = as_graph(given)
    if arm is None:
        raise TypeError(f"branch(..., {which}={given!r}): an arm is a task or a graph, Graph() for none")
    return arm
