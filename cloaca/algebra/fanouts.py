"""Fan-outs: a graph as one node that is run for each element of a list, however many there are at run time.

It knows the graph and the names of two fields, not their types, and not when which element is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cloaca.algebra.graphs import Graph, Hidden, In, Node, Out, as_graph, graph_of
from cloaca.algebra.structures import Structure, closed
from cloaca.errors import ContractError, Violation


@dataclass(frozen=True, eq=False, repr=False)
class Each(Node[In, Out, Hidden]):
    """A graph that is run for each element of the list field ``over``; made by ``each``.

    ``limit`` is how many elements are at work at a time, None for as many as a worker has room for.
    """

    kind: ClassVar[str] = "each"

    graph: Graph[Any, Any, Any] = field(kw_only=True)
    over: str = field(kw_only=True)
    into: str = field(kw_only=True)
    limit: int | None = field(default=None, kw_only=True)

    def identity(self) -> tuple[object, ...]:
        """The inner graph, both fields and the limit count too."""
        return (*super().identity(), self.graph, self.over, self.into, self.limit)

    @property
    def shown_inside(self) -> Structure[Node[Any, Any, Any]] | None:
        """The graph, if there is more in it than one task."""
        return self.graph.structure if len(self.graph.structure.nodes) > 1 else None

    @property
    def detail(self) -> str:
        """The two fields, as in ``pages -> results``."""
        return f"{self.over} -> {self.into}"


def each(
    graph: Graph[Any, Any, Any] | list[Any] | tuple[Any, ...], /, *, over: str, into: str, limit: int | None = None
) -> Each[Any, Mapping[str, Any]]:
    """Run ``graph`` for each element of a list field, and write the list of its outputs.

    ``over`` is a context field with a list of models. Each element has an instance of ``graph`` of its own, as durable
    as a run: it sees the context with the element's fields laid over it, what it writes nobody else sees, and what has
    been done for an element is never done again. ``into`` is the field that takes the outputs of the graph's last
    task, in the order of the elements. Once an element has failed the others still run, then the node has failed;
    ``handle.retry()`` runs only what has failed again.

    ``limit`` is how many elements are at work at a time; None leaves it to the worker's concurrency. The node is named
    ``each:`` and its first task; ``.named`` gives it another.

    Raises:
        TypeError, ValueError: ``over`` or ``into`` is no name of a field, ``limit`` no whole number above 0.
        ContractError: ``workflow-input``: the graph is empty.

    >>> from pydantic import BaseModel
    >>> from cloaca.algebra.tasks import task
    >>> class Page(BaseModel):
    ...     url: str
    >>> class Text(BaseModel):
    ...     text: str
    >>> @task
    ... def fetch(page: Page) -> Text: ...
    >>> each(fetch, over="pages", into="texts", limit=8)
    <each each:fetch>
    """
    found = as_graph(graph)
    if found is None:
        raise TypeError(f"each({graph!r}, ...): {graph!r} is no graph; decorate functions with @task")
    for what, name in (("over", over), ("into", into)):
        if not isinstance(name, str):
            raise TypeError(f'{what}={name!r}: name a context field, as in {what}="pages"')
        if not name.isidentifier():
            raise ValueError(f"{what}={name!r}: a context key is a Python identifier")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool)):
        raise TypeError(f"limit={limit!r}: a limit is a whole number of elements, or None for as many as there is room")
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit!r}: at least one element must be at work at a time; None means no limit")
    if not found.structure.nodes:
        raise ContractError([nothing_to_do()])
    inner = graph_of(closed(found.structure))
    return Each(f"each:{min(inner.structure.heads)}", graph=inner, over=over, into=into, limit=limit)


def nothing_to_do() -> Violation:
    """Return the violation for an empty graph: nothing says what to do with an element."""
    return Violation("workflow-input", "", "", "each() of an empty graph: there is nothing to do for an element")
