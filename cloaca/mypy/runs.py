"""Calls with a workflow or a task: the one signature that they have for this very workflow or task.

``run(workflow, input)`` and ``task(...)`` are overloaded for those who check without the plugin. Here the call is
checked against the signature that is meant, so that mypy says in its own words what is wrong with it; the overloads
then take whatever comes.
"""

from __future__ import annotations

from mypy.expandtype import expand_type
from mypy.nodes import ArgKind, CallExpr, Context, Expression
from mypy.plugin import FunctionSigContext, MethodSigContext
from mypy.types import AnyType, CallableType, Instance, NoneType, Parameters, Type, TypeOfAny, TypeVarType
from mypy.types import get_proper_type as proper

from cloaca.mypy.closing import WORKFLOW
from cloaca.mypy.sessions import Session
from cloaca.mypy.tasks import PARAMETERS, RETURNED, impossible


def started(context: MethodSigContext | FunctionSigContext, session: Session) -> CallableType:
    """``run(workflow, input)`` and ``start``: the input is the workflow's."""
    signature = context.default_signature
    if not context.args or not context.args[0]:
        return signature
    given, wanted = _workflow(_accepted(context.args[0][0], session)), _workflow(signature.arg_types[0])
    if given is None or isinstance(proper(given.args[0]), AnyType):
        return signature
    if wanted is None or _is_none(wanted) != _is_none(given):
        return impossible(signature)
    pairs = zip(map(proper, wanted.args), given.args, strict=True)
    known = {variable.id: type for variable, type in pairs if isinstance(variable, TypeVarType)}
    meant = expand_type(signature, known).copy_modified(variables=[])
    return _checked(meant, context.context, session)


def _workflow(known: Type) -> Instance | None:
    found = proper(known)
    return found if isinstance(found, Instance) and found.type.fullname == WORKFLOW else None


def _is_none(workflow: Instance) -> bool:
    return isinstance(proper(workflow.args[0]), NoneType)


def _accepted(expression: Expression, session: Session) -> Type:
    return session.api.lookup_type_or_none(expression) or session.api.expr_checker.accept(expression)


def _checked(meant: CallableType, context: Context, session: Session) -> CallableType:
    """Check a call against the signature that is meant; return one that takes whatever comes."""
    if not isinstance(context, CallExpr):
        return meant
    session.api.expr_checker.check_call(meant, context.args, context.arg_kinds, context, context.arg_names)
    anything = AnyType(TypeOfAny.special_form)
    return meant.copy_modified(
        arg_types=[anything, anything], arg_kinds=[ArgKind.ARG_STAR, ArgKind.ARG_STAR2], arg_names=[None, None]
    )


def called(context: MethodSigContext, session: Session) -> CallableType:
    """A task called as the plain function that it is."""
    signature, task = context.default_signature, context.type
    parameters = task.args[PARAMETERS] if isinstance(task, Instance) and len(task.args) > RETURNED else None
    if not isinstance(task, Instance) or not isinstance(parameters, Parameters):
        return signature
    if signature.arg_kinds == [ArgKind.ARG_STAR2]:  # for those without the plugin
        return impossible(signature)
    meant = signature.copy_modified(
        arg_types=parameters.arg_types,
        arg_kinds=parameters.arg_kinds,
        arg_names=parameters.arg_names,
        ret_type=task.args[RETURNED],
        variables=[],
        name=_name(context.context),
    )
    return _checked(meant, context.context, session)


def _name(context: Context) -> str | None:
    callee = context.callee if isinstance(context, CallExpr) else None
    return getattr(callee, "name", None)
