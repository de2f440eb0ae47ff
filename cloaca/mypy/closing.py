"""Where a graph is closed: ``Workflow(...)``, and a declared ``Graph[In, Out]``. Here the contract is checked.

It feeds ``contract.closing`` and places what it finds; the types of the result are in ``results``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mypy.errorcodes import ARG_TYPE
from mypy.nodes import Context, Expression
from mypy.plugin import FunctionContext, FunctionSigContext, MethodContext
from mypy.types import AnyType, FunctionLike, Instance, NoneType, ProperType, Type, TypeOfAny, UnionType
from mypy.types import get_proper_type as proper

from cloaca.algebra.compensations import unfit
from cloaca.algebra.guards import Arm
from cloaca.algebra.structures import Structure, closed, overlay
from cloaca.contract.closing import Closed, check_declared, close
from cloaca.contract.epilogues import OUTCOMES, Callback, callbacks_of
from cloaca.errors import ContractError, Violation
from cloaca.mypy import results
from cloaca.mypy.expressions import literal_text
from cloaca.mypy.hints import UnknownElement
from cloaca.mypy.locations import blamed, lost_part, mentions
from cloaca.mypy.nodes import StaticDecision, StaticEach, StaticNode, StaticSeal, StaticTask, models_of
from cloaca.mypy.operands import graph_type, instances_of, is_from_error, operand
from cloaca.mypy.sessions import Session
from cloaca.mypy.terms import GRAPH, HIDDEN, Term

WORKFLOW: Final = "cloaca.contract.workflows.Workflow"
_ROWS: Final = ("input", "output")

Rows = tuple[ProperType, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """``Workflow(name, *graphs, input=, output=, on_failure=)`` as it is written.

    A row is None if mypy doesn't know the model.
    """

    name: str
    graphs: Sequence[tuple[Type, Expression]]
    rows: Mapping[str, tuple[Instance | None, Expression]]
    callbacks: Mapping[str, tuple[Type, Expression]]

    def row(self, which: str) -> Instance | None:
        """Return a declared model."""
        return self.rows[which][0] if which in self.rows else None


def free_graphs(context: FunctionSigContext, session: Session) -> FunctionLike:
    """The signature of ``Workflow`` that takes any graphs: what they read and write is checked by the contract."""
    signature = context.default_signature
    types = [_free(type, session) for type in signature.arg_types]
    return signature.copy_modified(arg_types=types)


def _free(known: Type, session: Session) -> Type:
    graph = proper(known)
    if not isinstance(graph, Instance) or graph.type.fullname != GRAPH:
        return known
    return graph.copy_modified(args=[AnyType(TypeOfAny.special_form)] * len(graph.args))


def workflow(context: FunctionContext, session: Session) -> Type:
    """Return the type of ``Workflow(...)``: its input, its output, its context and the errors that get out."""
    made = proper(context.default_return_type)
    if not isinstance(made, Instance):
        return made
    call = _read(context)
    found = [operand(session, type, expression) for type, expression in call.graphs]
    called = {name: operand(session, type, expression) for name, (type, expression) in call.callbacks.items()}
    unknown = any(row is None or not session.read([row]) for row, _ in call.rows.values())
    if None in found or unknown or None in called.values():
        _unchecked(session, call, found, called.values(), context.context)
        return _lost(made, call, session)
    if _refused_callbacks(call, called, session):
        return _lost(made, call, session)
    structure, violations = overlay([session.structures.of(term) for term in found if term is not None])
    try:
        result = None if violations else _close(call, closed(structure), _tasks(called, session), session)
    except UnknownElement:
        session.unchecked(f'Workflow "{call.name}" is not checked: {UNSEEN}', context.context)
        return _lost(made, call, session)
    if isinstance(result, Closed):
        violations = result.checked.violations
    elif result is not None:
        violations = result
    for violation in violations:
        session.report(violation, _place(violation, call, context.context, session))
    if not isinstance(result, Closed):
        return _lost(made, call, session)
    known = results.workflow(made, structure, result, call.row("output"), session)
    if context.context not in session.rebound:
        return known
    lost = _lost(made, call, session)  # the variable holds other workflows, too, of one type
    return known.copy_modified(args=[*known.args[:2], *lost.args[2:]])


def _read(context: FunctionContext) -> Call:
    """The arguments: by position the name and the graphs, by keyword the rows."""
    given = [
        (argument, type, expression)
        for argument, types, expressions in zip(context.callee_arg_names, context.arg_types, context.args, strict=True)
        for type, expression in zip(types, expressions, strict=True)
    ]
    name, *graphs = [(type, each) for argument, type, each in given if argument not in (*_ROWS, *OUTCOMES)]
    rows = {
        argument: (_model(type), expression)
        for argument, type, expression in given
        if argument in _ROWS and not isinstance(proper(type), NoneType)
    }
    callbacks = {
        argument: (type, expression)
        for argument, type, expression in given
        if argument is not None and argument in OUTCOMES and not isinstance(proper(type), NoneType)
    }
    return Call(literal_text(name[1], name[0]) or "?", graphs, rows, callbacks)


def _tasks(called: Mapping[str, Term | None], session: Session) -> tuple[Callback, ...]:
    """The callbacks; what is no single task mypy has refused by its type."""
    structures = {name: session.structures.of(term) for name, term in called.items() if term is not None}
    nodes = {name: next(iter(found.nodes.values()), None) for name, found in structures.items()}
    return callbacks_of({name: node for name, node in nodes.items() if isinstance(node, StaticTask)})


def _refused_callbacks(call: Call, called: Mapping[str, Term | None], session: Session) -> bool:
    """Report the callbacks that can't be one, for more than their types."""
    refused = False
    for callback in _tasks(called, session):
        if reason := unfit(callback.task):
            refused = True
            for name in callback.names:
                text = f'Workflow("{call.name}", {name}="{callback.task.name}"): {reason}'
                session.say(text, call.callbacks[name][1], ARG_TYPE)
    return refused


def _model(argument: Type) -> Instance | None:
    known = proper(argument)
    model = instances_of(known)
    is_class = isinstance(known, FunctionLike)  # and no variable, which may hold a subclass
    return model if isinstance(model, Instance) and is_class else None


def _lost(made: Instance, call: Call, session: Session) -> Instance:
    """The type of a workflow of which no more is known than what its one graph says, and its declared rows."""
    anything = AnyType(TypeOfAny.special_form)
    graph = graph_type(call.graphs[0][0]) if len(call.graphs) == 1 else None
    rows = [call.row(row) or (graph.args[place] if graph else anything) for place, row in enumerate(_ROWS)]
    return made.copy_modified(args=[*rows, results.any_context(session), anything])


def _close(
    call: Call, structure: Structure[StaticNode], callbacks: Sequence[Callback], session: Session
) -> Closed | tuple[Violation, ...]:
    input, output = call.row("input"), call.row("output")
    read = (model for each in callbacks for model in models_of(each.task.signature))
    session.depend(models(structure, input, output, *read))
    try:
        return close(call.name, structure, input, output, session.nodes, callbacks=callbacks)
    except ContractError as error:
        return error.violations


def _place(violation: Violation, call: Call, whole: Context, session: Session) -> Context:
    """The smallest expression that mentions the blamed node."""
    if violation.task == call.name and violation.code in ("workflow-input", "task-model"):
        for row, (_, expression) in call.rows.items():
            if f"the {row}" in violation.message or "The output" in violation.message:
                return expression
        return whole
    for _, expression in call.callbacks.values():
        if mentions(session, expression, violation.task):
            return expression
    for _, expression in reversed(call.graphs):
        if mentions(session, expression, violation.task):
            return blamed(session, expression, violation)
    return whole


def models(structure: Structure[StaticNode], *more: Type | None) -> Iterable[Instance]:
    """Yield the models that the nodes of a graph read and write."""
    for model in more:
        if isinstance(model, Instance):
            yield model
    for node in structure.nodes.values():
        for guard in node.guards:
            if not isinstance(guard.predicate, Arm) and guard.predicate.model is not None:
                yield guard.predicate.model
        if isinstance(node, StaticDecision) and node.condition is not None and node.condition.model is not None:
            yield node.condition.model
        elif isinstance(node, StaticTask):
            for task in (node, node.handler):
                yield from () if task is None else models_of(task.signature)
                yield from () if task is None or task.undo is None else models_of(task.undo.signature)
        elif isinstance(node, StaticSeal) and node.structure is not None:
            yield from models(node.structure, node.input, node.output)
        elif isinstance(node, StaticEach) and node.structure is not None:
            yield from models(node.structure)


UNSEEN: Final = "each() goes over a list of models that can't be seen from here; import them where they are typed"
LOST: Final = (
    "the structure of a graph is lost here (a list variable, a loop, a variable that holds several graphs, a function "
    "without a declared return, a name or key that is no literal); write the graph as one expression, or declare it as "
    "Graph[In, Out]"
)


def _unchecked(
    session: Session, call: Call, found: Sequence[object], called: Iterable[object], context: Context
) -> None:
    terms, graphs = [*found, *called], [*call.graphs, *call.callbacks.values()]
    lost = [graph for term, graph in zip(terms, graphs, strict=True) if term is None]
    if not any(is_from_error(type) for type, _ in lost):
        place = lost_part(session, lost[0][1]) if lost else context
        session.unchecked(f'Workflow "{call.name}" is not checked: {LOST}', place)


def unchecked_boundary(context: Context, session: Session) -> None:
    """Say that a graph was not checked against the ``Graph[In, Out]`` that its place declares, if it does."""
    if _declared(context, session) or any(_rows(type, session) for type in session.promised(context)):
        place = lost_part(session, context) if isinstance(context, Expression) else context
        session.unchecked(f"This graph is not checked against its declared type: {LOST}", place)


def built(context: MethodContext, session: Session) -> Type:
    """``WorkflowBuilder(...).build()``, whose graph is made task by task."""
    session.unchecked("A workflow from a builder is checked when it is built, not before", context.context)
    return context.default_return_type


def boundary(made: Type, structure: Structure[StaticNode], context: Context, session: Session) -> Type:
    """Check a graph against the ``Graph[In, Out]`` that is declared where it stands; return its type there."""
    graph = proper(made)
    if not isinstance(graph, Instance) or not structure.nodes or not isinstance(context, Expression):
        return made
    declared = _declared(context, session)
    promised = (_rows(type, session) for type in session.promised(context))
    for rows in (declared, *promised):
        if rows is not None:
            _check_declared(structure, rows, context, session)
    return made if declared is None else graph.copy_modified(args=[*declared, *graph.args[HIDDEN:]])


def _check_declared(structure: Structure[StaticNode], rows: Rows, context: Expression, session: Session) -> None:
    input, output = [row if isinstance(row, Instance) else None for row in rows]
    session.depend(models(structure, input, output))
    try:
        violations = check_declared(closed(structure), input, output, session.nodes)
    except ContractError as error:
        violations = error.violations
    except UnknownElement:
        session.unchecked(f"This graph is not checked against its declared type: {UNSEEN}", context)
        return
    for violation in violations:
        session.report(violation, blamed(session, context, violation))


def _declared(context: Context, session: Session) -> Rows | None:
    """The rows of the ``Graph[In, Out]`` that is declared where this expression stands."""
    rows = _rows(session.api.expr_checker.type_context[-1], session)
    return rows if rows is not None and session.is_declared(context) else None


def _rows(wanted: Type | None, session: Session) -> Rows | None:
    """The rows of a declared type: models, or None for none."""
    graph = graph_type(_not_none(wanted))
    if graph is None or not isinstance(proper(graph.args[HIDDEN]), Instance):  # inferred from another graph, or lost
        return None
    rows = tuple(proper(row) for row in graph.args[:HIDDEN])
    return rows if all(isinstance(row, NoneType) or session.hints.is_model(row) for row in rows) else None


def _not_none(wanted: Type | None) -> Type | None:
    """The one type of an optional one."""
    known = proper(wanted)
    if not isinstance(known, UnionType):
        return known
    items = [item for item in known.items if not isinstance(proper(item), NoneType)]
    return items[0] if len(items) == 1 else None
