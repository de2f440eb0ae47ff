"""``@task``: what a function's declared types say, as the term of one node.

It reads mypy's callable types, and the decorator's own arguments where they are written; the rules are in
``algebra.declarations``.
"""

from __future__ import annotations

from typing import Final, Literal

from mypy.errorcodes import ARG_TYPE
from mypy.nodes import ArgKind, CallExpr, Context, Decorator, Expression, FuncDef, LambdaExpr, RefExpr, Var
from mypy.plugin import MethodSigContext
from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    NoneType,
    Parameters,
    ParamSpecType,
    Type,
    TypeOfAny,
    UninhabitedType,
)
from mypy.types import get_proper_type as proper

from cloaca.algebra.caching import uncacheable
from cloaca.algebra.declarations import MISSING, Declared, Reader, Returned, Signature
from cloaca.mypy import terms
from cloaca.mypy.expressions import argument, is_age, literal_text, options_of
from cloaca.mypy.nodes import models_of
from cloaca.mypy.requirements import protocol
from cloaca.mypy.sessions import Session
from cloaca.mypy.terms import Term

RESULT: Final = "returns.result.Result"
TASK: Final = "cloaca.algebra.tasks.task"
TASK_CLASS: Final = "cloaca.algebra.tasks.Task"
COROUTINE: Final = "typing.Coroutine"
PARAMETERS: Final = 3  # the places among the type arguments of Task
RETURNED: Final = 4
_UNKNOWN_TYPES: Final = (TypeOfAny.from_error, TypeOfAny.from_unimported_type, TypeOfAny.from_another_any)


def decorator(context: MethodSigContext, session: Session) -> CallableType:
    """``@task``: the signature that takes this very function and returns its task.

    ``TaskDecorator.__call__`` is overloaded; mypy would try one after the other. Its first signature is made to fit,
    the others not to.
    """
    signature = context.default_signature
    made = proper(signature.ret_type)
    if not isinstance(made, Instance) or made.type.fullname != TASK_CLASS or not context.args or not context.args[0]:
        return signature  # @task(...), which makes a decorator
    if not _is_first(made):
        return impossible(signature)
    anything = AnyType(TypeOfAny.special_form)
    type = made.copy_modified(args=_arguments(context, session))
    return signature.copy_modified(arg_types=[anything], ret_type=type, variables=[])


def _is_first(made: Instance) -> bool:
    """Whether this is the signature for two models and an async ``Result``."""
    parameters, returned = made.args[PARAMETERS], proper(made.args[RETURNED])
    if not isinstance(returned, Instance) or returned.type.fullname != COROUTINE or not _is_result(returned.args[2]):
        return False
    return isinstance(parameters, ParamSpecType) and len(parameters.prefix.arg_types) == 2  # noqa: PLR2004 - models


def _is_result(hint: Type) -> bool:
    known = proper(hint)
    return isinstance(known, Instance) and known.type.fullname == RESULT


def _arguments(context: MethodSigContext, session: Session) -> list[Type]:
    """The type arguments of the task: ``[In, Out, Hidden, Params, Returned]``."""
    lost: Type = AnyType(TypeOfAny.special_form)
    expression = context.args[0][0]
    function = proper(session.api.expr_checker.accept(expression))
    if isinstance(expression, LambdaExpr):
        _refuse_lambda(expression, session)
    if not isinstance(function, CallableType) or isinstance(expression, LambdaExpr):
        lost = AnyType(TypeOfAny.from_error) if isinstance(expression, LambdaExpr) else lost
        return [lost, lost, lost, any_parameters(), lost]
    refused = session.reported
    read = _read(function, expression, context.context, session)
    if session.reported != refused or _has_errors(function):
        lost = AnyType(TypeOfAny.from_error)
    kinds, names = function.arg_kinds, function.arg_names
    rest: list[Type] = [Parameters(function.arg_types, kinds, names), function.ret_type]
    if read is None:
        return [lost, lost, lost, *rest]
    term, signature = read
    return [_input(signature, session), signature.output or NoneType(), terms.shape(session.api, term), *rest]


def _refuse_lambda(function: LambdaExpr, session: Session) -> None:
    """A lambda has no annotations, so that it can't be a task unless it reads and writes nothing."""
    reader: Reader[Instance] = Reader("<lambda>", 'Task "<lambda>"', session.hints)
    declared = [
        Declared(argument.variable.name, _kind(argument.kind), MISSING, argument.kind.is_optional())
        for argument in function.arguments
    ]
    reader.signature(declared, Returned(), is_async=False)
    for violation in reader.violations:
        session.report(violation, function)


def _input(signature: Signature[Instance], session: Session) -> Type:
    models = [each.model for each in signature.parameters]
    if len(models) < 2:  # noqa: PLR2004 - of two models what a task reads is no model any more
        return models[0] if models else NoneType()
    rows = [session.hints.row(model) for model in models]
    return protocol({name: field.type for row in rows for name, field in row.items() if field.required}, session)


def _has_errors(function: CallableType) -> bool:
    """Whether mypy has said what is wrong with the declaration."""
    return any(map(_is_unknown, map(proper, (*function.arg_types, function.ret_type))))


def any_parameters() -> Parameters:
    """Return what stands for any parameters."""
    anything = AnyType(TypeOfAny.from_error)
    return Parameters([anything, anything], [ArgKind.ARG_STAR, ArgKind.ARG_STAR2], [None, None])


def defined(expression: Expression) -> FuncDef | None:
    """Return the function that an expression names itself: what mypy knows of one in a variable is not in its cache."""
    node = expression.node if isinstance(expression, RefExpr) else None
    if isinstance(node, Decorator):
        return node.func
    return node if isinstance(node, FuncDef) else None


def _read(
    function: CallableType, expression: Expression, context: Context, session: Session
) -> tuple[Term, Signature[Instance]] | None:
    definition = context.func if isinstance(context, Decorator) else defined(expression)
    if definition is None:
        return None
    given = _given(context, definition)
    if given is None:
        return None
    name = given.pop("name", definition.name)
    is_async = definition.is_coroutine
    declared, returned = declarations(function, is_async=is_async)
    if any(map(_is_unknown, (*(each.hint for each in declared), returned.value, returned.error))):
        return None  # mypy has reported why
    reader: Reader[Instance] = Reader(name, f'Task "{name}"', session.hints)
    signature = reader.signature(declared, returned, is_async=is_async)
    for violation in reader.violations:
        session.report(violation, context)
    if not session.read(models_of(signature)) or reader.violations:
        return None
    if is_age(given.get("cache", "")) and (problem := uncacheable(name, signature, None)):
        written = _decorator(context, definition)
        session.say(problem, argument(written, "cache") or context, ARG_TYPE)
        return None
    spec = {
        "name": name,
        "function": identity(definition, session),
        "parameters": [each.name for each in signature.parameters],
        "answers": signature.answers,
        "failures": list(signature.failures),
        "options": given,
    }
    if signature.run_failure is not None:
        spec["run_failure"] = signature.run_failure
    if signature.session is not None:
        spec["session"] = signature.session
    none = NoneType()
    parameters = terms.row(session.api, [each.model for each in signature.parameters])
    results: list[Type] = [signature.output or none, signature.error or none]
    return terms.term(session.api, "task", spec, parameters, terms.row(session.api, results)), signature


def impossible(signature: CallableType) -> CallableType:
    """Return a signature with one more argument, that nobody gives."""
    return signature.copy_modified(
        arg_types=[*signature.arg_types, UninhabitedType()],
        arg_kinds=[*signature.arg_kinds, ArgKind.ARG_NAMED],
        arg_names=[*signature.arg_names, "this signature does not apply"],
    )


def _given(context: Context, definition: FuncDef) -> dict[str, str] | None:
    """The options that the decorator was given, as texts to compare, and the ``name``; None if there is no telling."""
    written = _decorator(context, definition)
    if isinstance(written, CallExpr):
        options = options_of(written)
        for kind, argument, expression in zip(written.arg_kinds, written.arg_names, written.args, strict=True):
            name = literal_text(expression) if argument == "name" else ""
            if kind is not ArgKind.ARG_NAMED or name is None:
                return None
            if name:
                options["name"] = name
        return options
    if isinstance(written, RefExpr) and written.fullname != TASK and isinstance(written.node, Var):
        return {"?": "?"}  # a decorator that was made elsewhere
    return {}


def _decorator(context: Context, definition: FuncDef) -> Expression | None:
    """The expression that decorates: ``task``, or ``task(...)``."""
    if isinstance(context, CallExpr):  # task(function), task(...)(function)
        return context.callee
    decorators = context.original_decorators if isinstance(context, Decorator) else []
    for each in decorators:
        callee = each.callee if isinstance(each, CallExpr) else each
        if isinstance(callee, RefExpr) and callee.fullname == TASK:
            return each
    return decorators[0] if len(decorators) == 1 else None


def identity(definition: FuncDef, session: Session) -> str:
    """Return what tells a function from others: its full name, with its place if it has none of its own."""
    if "." in definition.fullname:
        return definition.fullname
    return f"{session.api.tree.fullname}.{definition.name}:{definition.line}"


def declarations(function: CallableType, *, is_async: bool) -> tuple[list[Declared], Returned]:
    """Return a callable's parameters and return as the contract wants them."""
    declared = [
        Declared(name or "", _kind(kind), _hint(hint), kind.is_optional())
        for name, kind, hint in zip(function.arg_names, function.arg_kinds, function.arg_types, strict=True)
    ]
    return declared, _returned(function.ret_type, is_async=is_async)


def _kind(kind: ArgKind) -> Literal["positional", "keyword", "*", "**"]:
    if kind is ArgKind.ARG_STAR:
        return "*"
    if kind is ArgKind.ARG_STAR2:
        return "**"
    return "keyword" if kind.is_named() else "positional"


def _hint(hint: Type) -> object:
    known = proper(hint)
    return MISSING if isinstance(known, AnyType) and known.type_of_any == TypeOfAny.unannotated else known


def _returned(hint: Type, *, is_async: bool) -> Returned:
    known = proper(hint)
    if is_async and isinstance(known, Instance) and known.type.fullname == COROUTINE:
        known = proper(known.args[2])
    if isinstance(known, Instance) and known.type.fullname == RESULT:
        value, error = (proper(arg) for arg in known.args)
        return Returned(_none(value), answers=True, error=error)
    return Returned(_none(_hint(known)))


def _none(hint: object) -> object:
    return None if isinstance(hint, NoneType) else hint


def _is_unknown(hint: object) -> bool:
    return isinstance(hint, AnyType) and hint.type_of_any in _UNKNOWN_TYPES
