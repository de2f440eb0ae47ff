"""Calls with a workflow or a task: the signature that they have for this very workflow.

``run(workflow, input)`` is overloaded; of its signatures those that can't be meant are made impossible, so that mypy
checks the input against the workflow's, and says so in its own words.
"""

from __future__ import annotations

from mypy.errorcodes import ARG_TYPE, CALL_ARG, ErrorCode
from mypy.expandtype import expand_type
from mypy.messages import format_type_distinctly
from mypy.nodes import ArgKind, CallExpr, Context, Expression
from mypy.plugin import FunctionSigContext, MethodSigContext
from mypy.subtypes import is_subtype
from mypy.types import AnyType, CallableType, Instance, NoneType, Parameters, ProperType, Type, TypeOfAny, TypeVarType
from mypy.types import get_proper_type as proper

from cloaca.mypy.closing import WORKFLOW
from cloaca.mypy.sessions import Session, unfiltered
from cloaca.mypy.tasks import PARAMETERS, impossible


def started(context: MethodSigContext | FunctionSigContext, session: Session) -> CallableType:
    """``run(workflow, input)`` and ``start``: the input is the workflow's, or mypy's own error says so."""
    signature = context.default_signature
    if len(context.args) < 2 or not context.args[0]:  # noqa: PLR2004 - a workflow, and an input
        return signature
    given, wanted = _workflow(_accepted(context.args[0][0], session)), _workflow(signature.arg_types[0])
    if given is None or isinstance(proper(given.args[0]), AnyType):
        return signature
    if wanted is None:
        return impossible(signature)
    declared, input = proper(wanted.args[0]), proper(given.args[0])
    if isinstance(declared, NoneType) != isinstance(input, NoneType):
        return impossible(signature)
    return _checked(context, signature, declared, input, session)


def _workflow(known: Type) -> Instance | None:
    found = proper(known)
    return found if isinstance(found, Instance) and found.type.fullname == WORKFLOW else None


def _accepted(expression: Expression, session: Session) -> Type:
    return session.api.lookup_type_or_none(expression) or session.api.expr_checker.accept(expression)


def _checked(
    context: MethodSigContext | FunctionSigContext,
    signature: CallableType,
    declared: ProperType,
    input: ProperType,
    session: Session,
) -> CallableType:
    """The signature for this input; one that doesn't fit is reported here, and taken."""
    if isinstance(declared, TypeVarType):
        bound = expand_type(signature, {declared.id: input})
        signature = bound.copy_modified(variables=[each for each in signature.variables if each.id != declared.id])
    fault = _fault(context, signature, input, session)
    if fault is None:
        return signature
    text, place, code = fault
    with unfiltered(session.api):
        session.api.fail(text, place, code=code)
    anything = AnyType(TypeOfAny.from_error)
    types, kinds = list(signature.arg_types), list(signature.arg_kinds)
    types[1], kinds[1] = anything, ArgKind.ARG_OPT
    return signature.copy_modified(arg_types=types, arg_kinds=kinds)


def _fault(
    context: MethodSigContext | FunctionSigContext, signature: CallableType, input: ProperType, session: Session
) -> tuple[str, Context, ErrorCode] | None:
    """What is wrong with the input, in mypy's own words."""
    name = " of ".join(f'"{part}"' for part in (signature.name or "").split(" of "))
    if not context.args[1]:
        call = context.context
        starred = isinstance(call, CallExpr) and any(kind.is_star() for kind in call.arg_kinds)
        if signature.arg_kinds[1].is_optional() or starred:
            return None
        return f'Missing positional argument "input" in call to {name}', context.context, CALL_ARG
    expression = context.args[1][0]
    given = session.api.expr_checker.accept(expression, type_context=input)
    if is_subtype(given, input):
        return None
    actual, expected = format_type_distinctly(given, input, options=session.api.options)
    return f"Argument 2 to {name} has incompatible type {actual}; expected {expected}", expression, ARG_TYPE


def called(context: MethodSigContext, session: Session) -> CallableType:
    """A task as a plain function: where its parameters are known, the signature that takes any keyword is not meant."""
    signature, task = context.default_signature, context.type
    known = isinstance(task, Instance) and len(task.args) > PARAMETERS and isinstance(task.args[PARAMETERS], Parameters)
    takes_anything = signature.arg_kinds == [ArgKind.ARG_STAR2] and isinstance(proper(signature.arg_types[0]), AnyType)
    return impossible(signature) if known and takes_anything else signature
