"""Workflows: graphs that were closed under a name, checked, and compiled to a plan; and their builder.

It knows the order of the steps from syntax to plan: infer the input, elaborate, check, compile. It runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeAlias, TypedDict, Unpack, overload

from pydantic import BaseModel
from typing_extensions import TypeVar

from cloaca.algebra.compensations import unfit
from cloaca.algebra.drawings import Drawable, picture_of
from cloaca.algebra.graphs import Graph, Node, Row, as_graph, graph_of, overlaid
from cloaca.algebra.structures import Structure, checked_name, closed, cyclic
from cloaca.algebra.tasks import Task
from cloaca.contract import fingerprints
from cloaca.contract.certainty import Certainty
from cloaca.contract.closing import Closed, close, refused
from cloaca.contract.epilogues import OUTCOMES, Callback, callbacks_of
from cloaca.contract.nodes import NODES
from cloaca.contract.plans import Answer, Plan, compile_plan
from cloaca.errors import ContractError

if TYPE_CHECKING:
    from cloaca.drawing import Picture

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
# What a type checker's plugin knows of the context and of the errors that can get out.
Context = TypeVar("Context", covariant=True, default=Mapping[str, Any])
Errors = TypeVar("Errors", covariant=True, default=Any)
In2 = TypeVar("In2", bound=BaseModel)
Out2 = TypeVar("Out2", bound=BaseModel)
BuilderIn = TypeVar("BuilderIn", default=Any)
BuilderOut = TypeVar("BuilderOut", default=Any)
AnyGraph: TypeAlias = Graph[Any, Any, Any]
AnyTask: TypeAlias = Task[Any, Any, Any, ..., Any]


Versioning: TypeAlias = Literal["compatible", "pinned"]


class Callbacks(TypedDict, total=False):
    """The tasks that a workflow calls once its outcome is known, and with which code its runs go on."""

    versioning: Versioning
    on_success: AnyTask | None
    on_failure: AnyTask | None
    on_cancel: AnyTask | None


class Workflow(Drawable, Generic[In, Out, Context, Errors]):
    """A named, closed, checked graph: an immutable value.

    ``Workflow(name, g1, g2, ..., input=Model, output=Model)`` overlays the graphs, which share tasks by name. Without
    ``input`` the first task's model is the input; without ``output`` the last task's model is the output, or, with
    several last tasks, the final context as a dict.

    ``on_success=``, ``on_failure=`` and ``on_cancel=`` take a task each, which runs, durably, once the outcome is known
    and compensations are done, before the run ends. It reads the final context; of that nothing but the workflow's
    input is sure after a failure or a cancellation. It may ask for the failure: ``*, failure: RunFailure``. Whatever
    becomes of it, the outcome stays.

    A run that other code has begun goes on with this code if it is compatible: every task that is committed is still
    there with the same contract, and what is still to come finds its fields. With ``versioning="pinned"`` it goes on
    with the very same version alone. Otherwise it is ``blocked``.

    Raises:
        ContractError: with every violation of the context contract at once.
        TypeError: a callback is no task, or has a condition, a trigger rule, a cache or a compensation.
        ValueError: ``versioning`` is neither ``compatible`` nor ``pinned``.

    >>> from pydantic import BaseModel
    >>> from cloaca import task
    >>> class Order(BaseModel):
    ...     order_id: int
    >>> class Payment(BaseModel):
    ...     payment_id: str
    >>> @task
    ... def charge(order: Order) -> Payment:
    ...     return Payment(payment_id=f"pay-{order.order_id}")
    >>> orders = Workflow("orders", charge)
    >>> orders.name, orders.input is Order, orders.output is Payment
    ('orders', True, True)
    >>> print(orders.to_text())
    charge
    >>> orders.to_dot().splitlines()[0], orders.to_mermaid().splitlines()[0], orders.to_svg()[:4]
    ('digraph "orders" {', 'flowchart LR', '<svg')
    """

    name: str
    graph: Graph[Any, Any, Any]
    input: Row
    plan: Plan
    callbacks: tuple[Callback, ...]
    versioning: Versioning
    _declared: Row

    # One graph, or two and more: overloads that differ in arity can't both match where a type checker knows a graph
    # only as Any, or it would give up and infer Workflow[Any, Any].
    @overload
    def __init__(
        self: Workflow[In, Out], name: str, graph: Graph[In, Out, Any], /, **callbacks: Unpack[Callbacks]
    ) -> None: ...
    @overload
    def __init__(
        self: Workflow[In2, Out],
        name: str,
        graph: Graph[Any, Out, Any],
        /,
        *,
        input: type[In2],
        **callbacks: Unpack[Callbacks],
    ) -> None: ...
    @overload
    def __init__(
        self: Workflow[In, Out2],
        name: str,
        graph: Graph[In, Any, Any],
        /,
        *,
        output: type[Out2],
        **callbacks: Unpack[Callbacks],
    ) -> None: ...
    @overload
    def __init__(
        self: Workflow[In2, Out2],
        name: str,
        graph: Graph[Any, Any, Any],
        /,
        *,
        input: type[In2],
        output: type[Out2],
        **callbacks: Unpack[Callbacks],
    ) -> None: ...
    @overload
    def __init__(
        self: Workflow[Any, Any],
        name: str,
        g1: AnyGraph,
        g2: AnyGraph,
        /,
        *more: AnyGraph,
        **callbacks: Unpack[Callbacks],
    ) -> None: ...
    @overload
    def __init__(
        self: Workflow[In2, Any],
        name: str,
        g1: AnyGraph,
        g2: AnyGraph,
        /,
        *more: AnyGraph,
        input: type[In2],
        **callbacks: Unpack[Callbacks],
    ) -> None: ...
    @overload
    def __init__(
        self: Workflow[Any, Out2],
        name: str,
        g1: AnyGraph,
        g2: AnyGraph,
        /,
        *more: AnyGraph,
        output: type[Out2],
        **callbacks: Unpack[Callbacks],
    ) -> None: ...
    @overload
    def __init__(
        self: Workflow[In2, Out2],
        name: str,
        g1: AnyGraph,
        g2: AnyGraph,
        /,
        *more: AnyGraph,
        input: type[In2],
        output: type[Out2],
        **callbacks: Unpack[Callbacks],
    ) -> None: ...
    def __init__(self, name: str, /, *graphs: Any, input: Any = None, output: Any = None, **callbacks: Any) -> None:
        graph = _overlay_of(checked_name(name), graphs)
        versioning = _checked_versioning(name, callbacks.pop("versioning", "compatible"))
        called = _checked_callbacks(name, callbacks)
        input, plan = _close(name, graph, input, output, called)
        # The only place where a workflow is written to: it is a value, and refuses assignments.
        vars(self).update(name=name, graph=graph, input=input, plan=plan, callbacks=called, _declared=output)
        vars(self).update(versioning=versioning)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} can't be set: workflows are values; make another")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Workflow) and self._key == other._key

    def __hash__(self) -> int:
        return hash((self.name, self.graph))

    def __repr__(self) -> str:
        output = " | ".join(model.__name__ for model in self.outputs) or (
            "None" if self.plan.answer.nothing else "dict"
        )
        return f"<workflow {self.name}: {self.input.__name__ if self.input else 'None'} -> {output}>"

    @property
    def _key(self) -> tuple[object, ...]:
        return (self.name, self.graph, self.input, self._declared, self.callbacks, self.versioning)

    @property
    def output(self) -> Row:
        """The output model; None if the workflow answers with nothing, with its context as a dict, or with one of
        several models, as after a ``branch``: see ``outputs``."""
        outputs = self.outputs
        return outputs[0] if len(outputs) == 1 else None

    @property
    def outputs(self) -> tuple[type[BaseModel], ...]:
        """The models of which one is the output: of a last ``branch`` those of its arms, else one or none."""
        return self.plan.outputs

    @cached_property
    def version(self) -> str:
        """A hash of the structure, the code of the tasks and their models; equal wherever the same code runs."""
        return fingerprints.version(self.plan)

    def picture(self, states: Mapping[str, str] | None = None) -> Picture:
        """Return the workflow as a picture; ``states`` colours its tasks by status."""
        return picture_of(self.name, self.graph.structure, states or {}, self.callbacks)


def _overlay_of(name: str, graphs: Iterable[object]) -> Graph[Any, Any, Any]:
    parts = []
    for graph in graphs:
        part = as_graph(graph)
        if part is None:
            raise TypeError(f"Workflow({name!r}, ...): {graph!r} is no graph; decorate functions with @task")
        parts.append(part)
    whole = parts[0] if len(parts) == 1 else overlaid(*parts)
    return graph_of(closed(whole.structure))


def _checked_versioning(name: str, given: object) -> Versioning:
    if given == "compatible" or given == "pinned":  # noqa: PLR1714 - so that a type checker knows which
        return given
    raise ValueError(f'Workflow({name!r}, versioning={given!r}): choose "compatible" or "pinned"')


def _checked_callbacks(name: str, given: Mapping[str, Any]) -> tuple[Callback, ...]:
    """Return what a workflow calls at its end. Raises TypeError for what it can't call."""
    unknown = ", ".join(sorted(given.keys() - OUTCOMES.keys()))
    if unknown:
        raise TypeError(f"Workflow({name!r}, ...) got an unexpected keyword argument: {unknown}")
    for argument, task in given.items():
        if task is not None and not isinstance(task, Task):
            raise TypeError(f"Workflow({name!r}, {argument}={task!r}): a callback is one task; decorate it with @task")
        if task is not None and (reason := unfit(task)):
            raise TypeError(f"Workflow({name!r}, {argument}={task!r}): {reason}")
    return callbacks_of(given)


def _close(
    name: str, graph: Graph[Any, Any, Any], input: Row, output: Row, callbacks: tuple[Callback, ...]
) -> tuple[Row, Plan]:
    """Close the graph, and compile its plan."""
    for what, model in (("input", input), ("output", output)):
        if model is not None and not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise refused(name, f"{what}={model!r} must be a pydantic model")
    found = close(name, graph.structure, input, output, NODES, callbacks=callbacks)
    if found.checked.violations:
        raise ContractError(found.checked.violations)
    answer = None if output is not None else _answer(found)
    return found.input, compile_plan(found.elaboration, found.checked, found.input, answer)


def _answer(found: Closed) -> Answer:
    nodes = found.answering()
    if not nodes:
        return Answer()
    sites = found.elaboration.sites
    if any(sites[node].fan is not None for node in nodes):
        return Answer()  # a list is no model: what it is called, the context says
    writing = tuple(node for node in nodes if sites[node].answers)
    certainty = Certainty(found.elaboration.steps)
    optional = any(certainty.can_be_skipped(node) or not sites[node].sure for node in nodes)
    return Answer(writing, optional=optional) if writing else Answer(nothing=True)


class WorkflowBuilder(Generic[BuilderIn, BuilderOut]):
    """Builds a workflow in a loop, task by task; ``build()`` gives the same value as ``Workflow(...)``.

    >>> from cloaca.algebra.tasks import task
    >>> @task
    ... def step() -> None: ...
    >>> builder = WorkflowBuilder("steps")
    >>> first = step.named("s0")
    >>> builder.add(first).add(step.named("s1"), after=[first]).build() == Workflow("steps", first >> step.named("s1"))
    True
    """

    @overload
    def __init__(
        self: WorkflowBuilder[In2, Any], name: str, *, input: type[In2], **callbacks: Unpack[Callbacks]
    ) -> None: ...
    @overload
    def __init__(
        self: WorkflowBuilder[Any, Out2], name: str, *, output: type[Out2], **callbacks: Unpack[Callbacks]
    ) -> None: ...
    @overload
    def __init__(
        self: WorkflowBuilder[In2, Out2],
        name: str,
        *,
        input: type[In2],
        output: type[Out2],
        **callbacks: Unpack[Callbacks],
    ) -> None: ...
    @overload
    def __init__(self: WorkflowBuilder[Any, Any], name: str, **callbacks: Unpack[Callbacks]) -> None: ...
    def __init__(self, name: str, *, input: Row = None, output: Row = None, **callbacks: Any) -> None:
        self.versioning = _checked_versioning(name, callbacks.pop("versioning", "compatible"))
        _checked_callbacks(name, callbacks)
        self.name, self.input, self.output, self.callbacks = name, input, output, callbacks
        self._nodes: dict[str, Node[Any, Any, Any]] = {}
        self._edges: set[tuple[str, str]] = set()

    def add(self, task: Graph[Any, Any, Any], /, *, after: Iterable[Graph[Any, Any, Any] | str] = ()) -> Self:
        """Add a task, behind tasks that were added before (given as values or by name). Returns the builder.

        Raises:
            ContractError: ``task-name``: another task has this name; ``graph-cycle``: it is to come after itself.
            ValueError: ``after`` has a task that was not added.
        """
        if not isinstance(task, Node):
            raise TypeError(f"add({task!r}): add one task at a time; to add a graph, build with Workflow(...)")
        self._same(self._nodes.setdefault(task.name, task), task)
        for other in [after] if isinstance(after, str | Graph) else after:
            before = other if isinstance(other, str) else getattr(other, "name", repr(other))
            if before not in self._nodes:
                raise ValueError(f"add({task.name!r}): after={before!r} has not been added; add it first")
            if isinstance(other, Graph):
                self._same(self._nodes[before], other)
            if before == task.name:
                raise ContractError([cyclic([before])])
            self._edges.add((before, task.name))
        return self

    @staticmethod
    def _same(added: Graph[Any, Any, Any], given: Graph[Any, Any, Any]) -> None:
        if added != given:
            overlaid(added, given)  # raises task-name

    def build(self) -> Workflow[BuilderIn, BuilderOut]:
        """Return the checked workflow. Raises ContractError as ``Workflow(...)`` does."""
        structure = Structure(dict(self._nodes), frozenset(self._edges), frozenset(), frozenset())
        graph = graph_of(closed(structure))
        declared: dict[str, Any] = {"input": self.input, "output": self.output, **self.callbacks}  # None: "inferred"
        declared["versioning"] = self.versioning
        return Workflow(self.name, graph, **declared)
