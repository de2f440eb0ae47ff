"""Where a graph is closed: ``Workflow(...)``, and a declared ``Graph[In, Out]``. Here the contract is checked.

It feeds ``contract.closing`` and places what it finds; the types of the result are in ``results``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from mypy.nodes import Context, Expression
from mypy.plugin import FunctionContext, MethodContext
from mypy.types import Instance, NoneType, ProperType, Type
from mypy.types import get_proper_type as proper

from cloaca.algebra.structures import Structure, closed, overlay
from cloaca.contract.closing import Closed, check_declared, close
from cloaca.errors import ContractError, Violation
from cloaca.mypy import results, terms
from cloaca.mypy.expressions import literal_text, parts
from cloaca.mypy.nodes import StaticNode, StaticSeal, StaticTask
from cloaca.mypy.operands import is_from_error, operand
from cloaca.mypy.sessions import Session
from cloaca.mypy.terms import GRAPH, HIDDEN

WORKFLOW: Final = "cloaca.contract.workflows.Workflow"
_ROWS: Final = ("input", "output")


@dataclass(frozen=True, slots=True)
class Call:
    """``Workflow(name, *graphs, input=, output=)`` as it is written."""

    name: str
    graphs: Sequence[tuple[Type, Expression]]
    rows: dict[str, Expression]


def workflow(context: FunctionContext, session: Session) -> Type:
    """Return the type of ``Workflow(...)``: its input, its output, its context and the errors that get out."""
    made = proper(context.default_return_type)
    if not isinstance(made, Instance):
        return made
    call = _read(context)
    found = [operand(session, type, expression) for type, expression in call.graphs]
    if None in found or not _are_known(made, call.rows, session):
        _unchecked(session, call, found, context.context)
        return made
    structure, violations = overlay([session.structures.of(term) for term in found if term is not None])
    result = None if violations else _close(call, closed(structure), made, session)
    if isinstance(result, Closed):
        violations = result.checked.violations
    elif result is not None:
        violations = result
    for violation in violations:
        session.report(violation, _place(violation, call, context.context, session))
    return made if not isinstance(result, Closed) else results.workflow(made, structure, result, call.rows, session)


def _read(context: FunctionContext) -> Call:
    """The arguments: by position the name and the graphs, by keyword the rows."""
    name, *graphs = [
        (type, expression)
        for argument, types, expressions in zip(context.callee_arg_names, context.arg_types, context.args, strict=True)
        if argument not in _ROWS
        for type, expression in zip(types, expressions, strict=True)
    ]
    rows = {
        argument: expressions[0]
        for argument, types, expressions in zip(context.callee_arg_names, context.arg_types, context.args, strict=True)
        if argument in _ROWS and types and not isinstance(proper(types[0]), NoneType)
    }
    return Call(literal_text(name[1], name[0]) or "?", graphs, rows)


def _are_known(made: Instance, rows: Iterable[str], session: Session) -> bool:
    """Whether mypy knows the models that are declared."""
    places = {"input": 0, "output": 1}
    models = [proper(made.args[places[row]]) for row in rows]
    return all(isinstance(model, Instance) and session.read([model]) for model in models)


def _close(
    call: Call, structure: Structure[StaticNode], made: Instance, session: Session
) -> Closed | tuple[Violation, ...]:
    input = proper(made.args[0]) if "input" in call.rows else None
    output = proper(made.args[1]) if "output" in call.rows else None
    session.depend(models(structure, input, output))
    try:
        return close(call.name, structure, input, output, session.nodes)
    except ContractError as error:
        return error.violations


def models(structure: Structure[StaticNode], *more: Type | None) -> Iterable[Instance]:
    """Yield the models that the nodes of a graph read and write."""
    for model in more:
        if isinstance(model, Instance):
            yield model
    for node in structure.nodes.values():
        for guard in node.guards:
            if guard.predicate.model is not None:
                yield guard.predicate.model
        if isinstance(node, StaticTask):
            yield from (parameter.model for parameter in node.signature.parameters)
            yield from (model for model in (node.signature.output, node.signature.error) if model is not None)
        elif isinstance(node, StaticSeal) and node.structure is not None:
            yield from models(node.structure, node.input, node.output)


LOST: Final = (
    "the structure of a graph is lost here (a list variable, a loop, a function without a declared return); "
    "write the graph as an expression, or declare it as Graph[In, Out]"
)


def _unchecked(session: Session, call: Call, found: Sequence[object], context: Context) -> None:
    lost = [graph for term, graph in zip(found, call.graphs, strict=True) if term is None]
    if not any(is_from_error(type) for type, _ in lost):
        session.unchecked(f'Workflow "{call.name}" is not checked: {LOST}', lost[0][1] if lost else context)


def unchecked_boundary(context: Context, session: Session) -> None:
    """Say that a graph was not checked against the ``Graph[In, Out]`` that its place declares, if it does."""
    if _declared(context, session) is not None:
        session.unchecked(f"This graph is not checked against its declared type: {LOST}", context)


def built(context: MethodContext, session: Session) -> Type:
    """``WorkflowBuilder(...).build()``, whose graph is made task by task."""
    session.unchecked("A workflow from a builder is checked when it is built, not before", context.context)
    return context.default_return_type


def _place(violation: Violation, call: Call, whole: Context, session: Session) -> Context:
    """The smallest expression that mentions the blamed node."""
    if violation.task == call.name and violation.code in ("workflow-input", "task-model"):
        for row, expression in call.rows.items():
            if f"the {row}" in violation.message or "The output" in violation.message:
                return expression
        return whole
    for _, expression in reversed(call.graphs):
        if mentions(session, expression, violation.task):
            return locate(session, expression, violation.task)
    return whole


def locate(session: Session, expression: Expression, name: str) -> Expression:
    """Return the smallest part of a graph expression that mentions a node."""
    for part in parts(expression):
        if mentions(session, part, name):
            return locate(session, part, name)
    return expression


def mentions(session: Session, expression: Expression, name: str) -> bool:
    """Return whether an expression's graph has a node; a list's, whether one of its items does."""
    known = proper(session.api.lookup_type_or_none(expression))
    if isinstance(known, Instance) and known.type.has_base(GRAPH):
        term = terms.term_of(known.args[HIDDEN])
        nodes = session.structures.of(term).nodes if term is not None else {}
        return name in nodes or name.partition("/")[0] in nodes
    return any(mentions(session, part, name) for part in parts(expression))


def boundary(made: Type, structure: Structure[StaticNode], context: Context, session: Session) -> Type:
    """Check a graph against the ``Graph[In, Out]`` that its place declares, if it does; return its type there."""
    graph, rows = proper(made), _declared(context, session)
    if rows is None or not isinstance(graph, Instance) or not structure.nodes or not isinstance(context, Expression):
        return made
    input, output = [row if isinstance(row, Instance) else None for row in rows]
    session.depend(models(structure, input, output))
    try:
        violations = check_declared(closed(structure), input, output, session.nodes)
    except ContractError as error:
        violations = error.violations
    for violation in violations:
        session.report(violation, locate(session, context, violation.task))
    return graph.copy_modified(args=[*rows, *graph.args[HIDDEN:]])


def _declared(context: Context, session: Session) -> tuple[ProperType, ...] | None:
    """The rows of the ``Graph[In, Out]`` that is declared where this expression stands."""
    wanted = proper(session.api.expr_checker.type_context[-1])
    if not isinstance(wanted, Instance) or wanted.type.fullname != GRAPH:
        return None
    hidden = proper(wanted.args[HIDDEN])
    if not isinstance(hidden, Instance):  # inferred from another graph, or lost
        return None
    rows = tuple(proper(row) for row in wanted.args[:HIDDEN])
    known = all(isinstance(row, NoneType) or session.hints.is_model(row) for row in rows)
    return rows if known and session.is_declared(context) else None
