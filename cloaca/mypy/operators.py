"""The operators and methods that compose graphs: each makes the term of its result, and says what is wrong with it.

It knows receivers and operands as mypy hands them over; what a term means is in ``structures``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from mypy.errorcodes import ARG_TYPE, CALL_ARG
from mypy.nodes import CallExpr, Context, Expression, LambdaExpr, OpExpr, TempNode
from mypy.plugin import FunctionContext, MethodContext, MethodSigContext
from mypy.types import AnyType, CallableType, FunctionLike, Instance, ProperType, Type, TypeOfAny
from mypy.types import get_proper_type as proper

from cloaca.algebra.caching import uncacheable
from cloaca.algebra.compensations import unfit_undo
from cloaca.algebra.declarations import Reader, collisions, unknown_field
from cloaca.algebra.guards import UNNAMED
from cloaca.algebra.handlers import unfit_handler
from cloaca.algebra.structures import Structure
from cloaca.contract.front_ends import Inside
from cloaca.errors import Violation
from cloaca.mypy import results, terms
from cloaca.mypy.closing import boundary, unchecked_boundary
from cloaca.mypy.expressions import argument, is_age, literal_text, options_of
from cloaca.mypy.locations import later
from cloaca.mypy.nodes import StaticDecision, StaticNode, StaticTask
from cloaca.mypy.operands import graph_type, instances_of, is_from_error, operand, with_hidden
from cloaca.mypy.requirements import fits, protocol, required
from cloaca.mypy.sessions import Session
from cloaca.mypy.structures import LARGEST
from cloaca.mypy.tasks import declarations, defined, identity
from cloaca.mypy.terms import GRAPH, HIDDEN, Spec, Term

NEVER_CHECKED: Final = AnyType(TypeOfAny.special_form)  # the structure is lost
REFUSED: Final = AnyType(TypeOfAny.from_error)  # and it was said why


def series(context: MethodContext, session: Session) -> Type:
    """``a >> b``."""
    return _composed(context, session, "series")


def series_behind(context: MethodContext, session: Session) -> Type:
    """``[a, b] >> c``, where mypy knows the list only as an expression."""
    whole = context.context
    left = whole.left if isinstance(whole, OpExpr) else context.args[0][0]
    term = operand(session, context.arg_types[0][0], left)
    right = operand(session, context.type, whole.right if isinstance(whole, OpExpr) else left)
    return _result(context, session, _joined(session, "series", term, right))


def overlay(context: MethodContext, session: Session) -> Type:
    """``a & b``."""
    return _composed(context, session, "overlay")


def _composed(context: MethodContext, session: Session, operator: str) -> Type:
    whole = context.context
    left = whole.left if isinstance(whole, OpExpr) else TempNode(context.type, context=whole)
    one = operand(session, context.type, left)
    other = operand(session, context.arg_types[0][0], _written(context.args[0][0], whole))
    return _result(context, session, _joined(session, operator, one, other))


def _written(expression: Expression, whole: Context) -> Expression:
    return whole.right if isinstance(expression, TempNode) and isinstance(whole, OpExpr) else expression


def _joined(session: Session, operator: str, left: Term | None, right: Term | None) -> Term | None:
    if left is None or right is None:
        return None
    made = terms.term(session.api, operator, None, left, right)
    return made if session.structures.size(made) <= LARGEST else None


def _result(context: MethodContext | FunctionContext, session: Session, term: Term | None) -> Type:
    """The type of the result: what mypy inferred, or of an operator what its operands say, with the term."""
    if term is None:
        receiver = (context.type,) if isinstance(context, MethodContext) else ()
        known = (*receiver, *(type for types in context.arg_types for type in types))
        if any(map(is_from_error, known)):
            return with_hidden(_inferred(context, session), REFUSED)
        unchecked_boundary(context.context, session)
        return with_hidden(_inferred(context, session), NEVER_CHECKED)
    structure, violations = session.structures.found(term)
    for violation in violations:
        session.report(violation, _place(violation, context.context, session))
    if violations:
        return with_hidden(_inferred(context, session), REFUSED)
    made = with_hidden(_inferred(context, session, structure), terms.shape(session.api, term))
    made = _honest(made, structure, context.context, session)
    declared = boundary(made, structure, context.context, session)
    return _of_any_structure(declared, session) if context.context in session.rebound else declared


def _place(violation: Violation, context: Context, session: Session) -> Context:
    """A cycle is all of an operator's business, a node that both sides have is its right side's."""
    if violation.code == "graph-cycle" or not isinstance(context, Expression):
        return context
    return later(session, context, violation.task)


def _honest(made: Type, structure: Structure[StaticNode], context: Context, session: Session) -> Type:
    """The type with all that the graph requires, where it leaves the expression: mypy may compare it with others."""
    graph = graph_type(made)
    if graph is None or not session.is_declared(context):
        return made
    fields = required(structure, session)
    if fits(fields, proper(graph.args[0]), session):
        return made
    return graph.copy_modified(args=[protocol(fields, session), *graph.args[1:]])


def _inferred(
    context: MethodContext | FunctionContext, session: Session, structure: Structure[StaticNode] | None = None
) -> Type:
    made = proper(context.default_return_type)
    if isinstance(context, FunctionContext) and isinstance(made, Instance) and structure is not None:
        return made.copy_modified(args=[*results.rows(structure, session), made.args[HIDDEN]])
    if not isinstance(made, AnyType):
        return made
    rows = (AnyType(TypeOfAny.special_form),) * 2 if structure is None else results.rows(structure, session)
    return Instance(terms.info(session.api, GRAPH), [*rows, AnyType(TypeOfAny.special_form)])


def _of_any_structure(known: Type, session: Session) -> Type:
    """What is assigned to a variable that gets another graph, too: the variable has one type for both."""
    graph = graph_type(known)
    if graph is not None and graph.type.fullname != GRAPH:
        return with_hidden(known, NEVER_CHECKED)
    return Instance(terms.info(session.api, GRAPH), [NEVER_CHECKED] * 3)


def made(context: FunctionContext, session: Session) -> Type:
    """``Graph()``."""
    if context.context in session.rebound:
        return _of_any_structure(context.default_return_type, session)
    return with_hidden(context.default_return_type, terms.shape(session.api, terms.term(session.api, "empty")))


def free_result(context: MethodSigContext, session: Session) -> FunctionLike:
    """The signature of an operator without its result, or a declared type around would be asked of each operand."""
    return context.default_signature.copy_modified(ret_type=AnyType(TypeOfAny.special_form))


def read_by_lambda(context: MethodSigContext, session: Session) -> FunctionLike:
    """The signature of ``when`` for a lambda: its parameter is the first task's first model."""
    signature = context.default_signature
    predicate = context.args[0][0] if context.args and context.args[0] else None
    wanted = proper(signature.arg_types[0]) if signature.arg_types else None
    if not isinstance(predicate, LambdaExpr) or not isinstance(wanted, CallableType):
        return signature
    model = _first_model(context.type, context.context, session)
    if model is None:
        return signature
    return signature.copy_modified(arg_types=[wanted.copy_modified(arg_types=[model])])


def _first_model(receiver: Type, context: Context, session: Session) -> Type | None:
    term = operand(session, receiver, TempNode(receiver, context=context))
    structure = None if term is None else session.structures.of(term)
    if structure is None or not structure.nodes:
        return None
    first = structure.nodes[min(structure.heads)]
    inside = session.nodes.opened(first)
    if isinstance(first, StaticDecision):
        return first.condition.model if first.condition else None
    if isinstance(inside, Inside):
        return inside.input
    parameters = first.signature.parameters if isinstance(first, StaticTask) else ()
    return parameters[0].model if parameters else None


def _changed(
    context: MethodContext, session: Session, operator: str, spec: Spec | None, right: Type | None = None
) -> Type:
    receiver = graph_type(context.type)
    term = operand(session, context.type, _receiver(context)) if receiver else None
    if term is None or spec is None:
        return _result(context, session, None)
    return _result(context, session, terms.term(session.api, operator, spec, term, right))


def _receiver(context: MethodContext) -> Expression:
    call = context.context
    callee = call.callee if isinstance(call, CallExpr) else None
    inner = getattr(callee, "expr", None)
    return inner if isinstance(inner, Expression) else TempNode(context.type, context=call)


def named(context: MethodContext, session: Session) -> Type:
    """``t.named("x")``."""
    name = _literal(context, 0)
    return _changed(context, session, "named", None if name is None else {"name": name})


def on(context: MethodContext, session: Session) -> Type:
    """``t.on("all_done")``."""
    rule = _literal(context, 0)
    return _changed(context, session, "on", None if rule is None else {"rule": rule})


def into(context: MethodContext, session: Session) -> Type:
    """``t.into("payment")``."""
    key = _literal(context, 0)
    return _changed(context, session, "into", None if key is None else {"key": key})


def _literal(context: MethodContext, place: int) -> str | None:
    if len(context.args) <= place or len(context.args[place]) != 1:
        return None
    return literal_text(context.args[place][0], context.arg_types[place][0])


def reading(context: MethodContext, session: Session) -> Type:
    """``t.reading(field="key")``."""
    return _renaming(context, session, "reading", "reads")


def writing(context: MethodContext, session: Session) -> Type:
    """``t.writing(field="key")``."""
    return _renaming(context, session, "writing", "writes")


def _renaming(context: MethodContext, session: Session, operator: str, verb: str) -> Type:
    call = context.context
    if not isinstance(call, CallExpr) or None in call.arg_names:
        return _result(context, session, None)
    keys = {name: literal_text(each) for name, each in zip(call.arg_names, call.args, strict=True) if name}
    term = operand(session, context.type, _receiver(context))
    if term is None or None in keys.values():
        return _result(context, session, None)
    (task,) = session.structures.of(term).nodes.values()
    if isinstance(task, StaticTask) and _refused(call, task, verb, keys, session):
        return with_hidden(context.default_return_type, REFUSED)
    return _result(context, session, terms.term(session.api, operator, keys, term))


def _refused(call: CallExpr, task: StaticTask, verb: str, keys: Mapping[str, str | None], session: Session) -> bool:
    """Report the fields that the task's models lack, and those that it would write to one key."""
    signature = task.signature
    models = [each.model for each in signature.parameters] if verb == "reads" else [signature.output]
    known = {name for model in models if model is not None for name in session.hints.row(model)}
    unknown = [name for name in keys if name not in known]
    for name in unknown:
        place = call.args[call.arg_names.index(name)]
        session.say(unknown_field(f'Task "{task.name}" {verb}', name, known), place, CALL_ARG)
    if unknown or verb == "reads":
        return bool(unknown)
    found = collisions(task.name, known, {**dict(task.writes), **{name: key for name, key in keys.items() if key}})
    for violation in found:
        session.report(violation, call)
    return bool(found)


def compensate(context: MethodContext, session: Session) -> Type:
    """``t.compensate(undo)``."""
    if not context.args or len(context.args[0]) != 1:
        return _result(context, session, None)
    undo = operand(session, context.arg_types[0][0], context.args[0][0])
    done = operand(session, context.type, _receiver(context)) if graph_type(context.type) else None
    task, stand_in = _task_of(done, session), _task_of(undo, session)
    if task is not None and stand_in is not None and (problem := unfit_undo(task, stand_in)) is not None:
        session.say(f'Task "{task.name}": compensate("{stand_in.name}"): {problem}', context.args[0][0], ARG_TYPE)
        return with_hidden(context.default_return_type, REFUSED)
    return _changed(context, session, "compensate", {} if stand_in else None, undo)


def with_options(context: MethodContext, session: Session) -> Type:
    """``t.with_options(timeout=30)``."""
    call = context.context
    if not isinstance(call, CallExpr) or None in call.arg_names:
        return _changed(context, session, "with_options", None)
    options = options_of(call)
    if is_age(options.get("cache", "")):
        task = _task_of(operand(session, context.type, _receiver(context)), session)
        problem = None if task is None or task.is_opaque else uncacheable(task.name, task.signature, task.undo)
        if problem is not None:
            session.say(problem, argument(call, "cache") or call, ARG_TYPE)
            return with_hidden(context.default_return_type, REFUSED)
    return _changed(context, session, "with_options", options)


def sealed(context: MethodContext, session: Session) -> Type:
    """``g.sealed(In, Out)``."""
    rows = [instances_of(proper(types[0])) for types in context.arg_types if types]
    if len(rows) != 2 or None in rows or not session.read(_models(rows)):  # noqa: PLR2004 - its two rows
        return _result(context, session, None)
    return _changed(context, session, "sealed", {}, terms.row(session.api, [row for row in rows if row is not None]))


def _models(rows: Iterable[Type | None]) -> Iterator[Instance]:
    return (row for row in rows if isinstance(row, Instance))


def when(context: MethodContext, session: Session) -> Type:
    """``g.when(predicate)``."""
    if not context.args or len(context.args[0]) != 1:
        return _result(context, session, None)
    predicate, type = context.args[0][0], proper(context.arg_types[0][0])
    read = _condition(predicate, type, session)
    if read is None:
        return _result(context, session, None)
    spec, model = read
    return _changed(context, session, "when", spec, model)


def _condition(predicate: Expression, type: ProperType, session: Session) -> tuple[Spec, Type | None] | None:
    place = f"{session.api.tree.fullname}:{predicate.line}:{predicate.column}"
    if isinstance(predicate, LambdaExpr):
        return _lambda(predicate, place, session)
    definition = defined(predicate)
    if not isinstance(type, CallableType) or definition is None:
        return None
    is_async = definition.is_coroutine
    reader: Reader[Instance] = Reader("", "", session.hints)
    parameter = reader.predicate(declarations(type, is_async=is_async)[0], is_async=is_async)
    problems = [violation.message.removeprefix(": ") for violation in reader.violations]
    spec = {"identity": identity(definition, session), "name": definition.name, "problems": problems}
    if parameter is not None and not session.read([parameter.model]):
        return None
    return spec, None if parameter is None else parameter.model


def _lambda(predicate: LambdaExpr, place: str, session: Session) -> tuple[Spec, Type | None]:
    required = [argument for argument in predicate.arguments if argument.initializer is None]
    fits = len(required) == 1 and required[0].kind.is_positional()
    problems = [] if fits else ["a predicate takes one model: predicate(model) -> bool"]
    return {"identity": place, "name": UNNAMED, "problems": problems}, None


def branch(context: FunctionContext, session: Session) -> Type:
    """``branch(predicate, then=g, otherwise=h)``."""
    given = {
        name: (expressions[0], types[0])
        for name, expressions, types in zip(context.callee_arg_names, context.args, context.arg_types, strict=True)
        if len(expressions) == 1
    }
    if given.keys() != {"predicate", "then", "otherwise"}:
        return _result(context, session, None)
    predicate, type = given["predicate"]
    read = _condition(predicate, proper(type), session)
    arms = [operand(session, type, expression) for expression, type in (given["then"], given["otherwise"])]
    if read is None or None in arms:
        return _result(context, session, None)
    spec, model = read
    both = terms.term(session.api, "arms", None, *arms)
    made = terms.term(session.api, "branch", spec, both, model)
    return _result(context, session, made if session.structures.size(made) <= LARGEST else None)


def rescue(context: MethodContext, session: Session) -> Type:
    """``t.rescue(handler)``."""
    if not context.args or len(context.args[0]) != 1:
        return _result(context, session, None)
    expression = context.args[0][0]
    handler = operand(session, context.arg_types[0][0], expression)
    rescued = operand(session, context.type, _receiver(context)) if graph_type(context.type) else None
    nodes = [_task_of(term, session) for term in (rescued, handler)]
    if rescued is None or None in nodes:
        return _result(context, session, None)
    task, stand_in = (node for node in nodes if node is not None)
    problem = unfit_handler(task, stand_in)
    if problem is not None:
        session.say(problem, expression, ARG_TYPE)
        return with_hidden(context.default_return_type, REFUSED)
    return _result(context, session, terms.term(session.api, "rescue", None, rescued, handler))


def _task_of(term: Term | None, session: Session) -> StaticTask | None:
    nodes = [] if term is None else list(session.structures.of(term).nodes.values())
    return nodes[0] if len(nodes) == 1 and isinstance(nodes[0], StaticTask) else None


METHODS: Final[Mapping[str, Callable[[MethodContext, Session], Type]]] = {
    "__rshift__": series,
    "__rrshift__": series_behind,
    "__and__": overlay,
    "when": when,
    "named": named,
    "on": on,
    "into": into,
    "reading": reading,
    "rescue": rescue,
    "writing": writing,
    "with_options": with_options,
    "compensate": compensate,
    "sealed": sealed,
}
