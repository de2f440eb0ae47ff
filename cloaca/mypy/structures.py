"""What a term means: the structure of the graph, by the algebra's own operators, and what is wrong with it.

It knows terms and nodes; it reads no syntax and reports nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from mypy.types import Instance, ProperType, TupleType
from mypy.types import get_proper_type as proper

from cloaca.algebra import arms
from cloaca.algebra.arms import branched
from cloaca.algebra.declarations import Parameter, Signature
from cloaca.algebra.guards import Guard
from cloaca.algebra.structures import Structure, empty, leaf, nothing_to_do, nothing_to_seal, overlay, series
from cloaca.errors import Violation
from cloaca.mypy import terms
from cloaca.mypy.nodes import Condition, StaticDecision, StaticNode, StaticTask, StaticWait, fanned, renamed, sealed
from cloaca.mypy.terms import Spec, Term

Graph = Structure[StaticNode]
Found = tuple[Graph, tuple[Violation, ...]]


LARGEST: Final = 20_000  # leaves of a term: mypy goes through types as trees, where a graph's parts may be shared


class Structures:
    """The structures of terms, each made once."""

    def __init__(self) -> None:
        self._known: dict[Term, Found] = {}
        self._sizes: dict[Term, int] = {}

    def size(self, term: Term) -> int:
        """Return how many leaves a term has as a tree."""
        if term not in self._sizes:
            operands = (proper(arg) for arg in term.args[1:])
            sizes = [self.size(operand) for operand in operands if terms.is_term(operand)]
            self._sizes[term] = max(1, sum(sizes))
        return self._sizes[term]

    def of(self, term: Term) -> Graph:
        """Return the structure that a term makes."""
        return self.found(term)[0]

    def found(self, term: Term) -> Found:
        """Return the structure that a term makes, and what is wrong with its outermost operator."""
        known = self._known.get(term)
        if known is None:
            known = self._known[term] = self._make(*terms.read(term))
        return known

    def _make(self, operator: str, spec: Spec, left: ProperType, right: ProperType) -> Found:
        if operator == "series":
            return series(self._of(left), self._of(right))
        if operator == "overlay":
            return overlay([self._of(left), self._of(right)])
        if operator == "empty":
            return empty(), ()
        if operator == "sealed":
            return self._sealed(self._of(left), *_items(right))
        if operator == "each":
            return self._each(self._of(left), spec)
        if operator == "branch":
            return self._branched(spec, left, right)
        if operator == "rescue":
            rescued = replace(_only(self._of(left)), handler=_only(self._of(right)))
            return leaf(rescued.name, rescued), ()
        if operator in _BRANCHES and len(self._of(left).nodes) > 1:
            return _BRANCHES[operator](self._of(left), spec)
        if operator in _LEAVES:
            node = _LEAVES[operator](spec, left, right)
        elif operator == "compensate":
            node = replace(_only(self._of(left)), undo=_only(self._of(right)))
        elif operator == "when":
            return self._guarded(self._of(left), _condition(spec, right)), ()
        else:
            node = _CHANGES[operator](_only(self._of(left)), spec)
        return leaf(node.name, node), ()

    def _of(self, operand: ProperType) -> Graph:
        assert isinstance(operand, Instance)
        return self.of(operand)

    def _sealed(self, graph: Graph, input: ProperType, output: ProperType) -> Found:
        if not graph.nodes:
            return graph, (nothing_to_seal(),)
        node = sealed(graph, _model(input), _model(output))
        return leaf(node.name, node), ()

    def _each(self, graph: Graph, spec: Spec) -> Found:
        if not graph.nodes:
            return graph, (nothing_to_do(),)
        node = fanned(graph, spec["over"], spec["into"], spec["limit"])
        return leaf(node.name, node), ()

    def _branched(self, spec: Spec, both: ProperType, model: ProperType) -> Found:
        assert isinstance(both, Instance)
        _, _, then, otherwise = terms.read(both)
        name = f"branch:{spec['name']}"
        decision = StaticDecision(name, "branch", condition=_condition(spec, model))
        one, other = self._of(then), self._of(otherwise)
        return branched(name, decision, one, other) if one.nodes or other.nodes else (leaf(name, decision), ())

    def _guarded(self, graph: Graph, condition: Condition) -> Graph:
        guard = Guard(condition, frozenset(graph.nodes), graph.heads)
        nodes = {name: node.under((guard, *node.guards)) for name, node in graph.nodes.items()}
        return replace(graph, nodes=nodes)


def _task(spec: Spec, parameters: ProperType, returned: ProperType) -> StaticNode:
    models = [_model(item) for item in _items(parameters)]
    output, error = (_model(item) for item in _items(returned))
    pairs = zip(spec["parameters"], models, strict=True)
    signature = Signature(
        tuple(Parameter(name, model) for name, model in pairs if model is not None),
        output,
        spec["answers"],
        error,
        session=spec.get("session"),
        run_failure=spec.get("run_failure"),
        failures=tuple(spec["failures"]),
    )
    options = tuple(sorted(spec["options"].items()))
    return StaticTask(spec["name"], spec["function"], signature=signature, options=options)


def _opaque(spec: Spec, input: ProperType, output: ProperType) -> StaticNode:
    model = _model(input)
    parameters = () if model is None else (Parameter("input", model),)
    signature = Signature(parameters, _model(output))
    return StaticTask(spec["name"], f"graph {spec['name']}", signature=signature, is_opaque=True)


def _wait(spec: Spec, rows: ProperType, errors: ProperType) -> StaticNode:
    input, output = (_model(item) for item in _items(rows))
    signature = Signature(() if input is None else (Parameter("input", input),), output)
    return StaticWait(
        spec["name"],
        spec["kind"],
        signature=signature,
        options=tuple(sorted(spec["options"].items())),
        kind=spec["kind"],
        sure=spec["sure"],
        errors=tuple(_items(errors)),
    )


_LEAVES: Final[Mapping[str, Callable[[Spec, ProperType, ProperType], StaticNode]]] = {
    "task": _task,
    "opaque": _opaque,
    "wait": _wait,
}


def _reading(node: StaticTask, spec: Spec) -> StaticNode:
    return replace(node, reads=renamed(node.reads, spec))


def _writing(node: StaticTask, spec: Spec) -> StaticNode:
    return replace(node, writes=renamed(node.writes, spec))


def _with_options(node: StaticTask, spec: Spec) -> StaticNode:
    return replace(node, options=tuple(sorted({**dict(node.options), **spec}.items())))


_CHANGES: Final[Mapping[str, Callable[[Any, Spec], StaticNode]]] = {
    "named": lambda node, spec: node.named(spec["name"]),
    "on": lambda node, spec: replace(node, rule=spec["rule"]),
    "into": lambda node, spec: replace(node, whole=spec["key"]),
    "reading": _reading,
    "writing": _writing,
    "with_options": _with_options,
}


_BRANCHES: Final[Mapping[str, Callable[[Graph, Spec], Found]]] = {
    "named": lambda graph, spec: arms.renamed(graph, spec["name"]),
    "on": lambda graph, spec: (arms.ruled(graph, lambda node: replace(node, rule=spec["rule"])), ()),
}


def _only(graph: Graph) -> Any:  # the node of one kind that an operator is about
    (node,) = graph.nodes.values()
    return node


def _condition(spec: Spec, model: ProperType) -> Condition:
    return Condition(spec["identity"], spec["name"], _model(model), tuple(spec["problems"]))


def _items(operand: ProperType) -> list[ProperType]:
    assert isinstance(operand, TupleType)
    return [proper(item) for item in operand.items]


def _model(operand: ProperType) -> Instance | None:
    return operand if isinstance(operand, Instance) else None
