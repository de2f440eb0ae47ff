"""Which call is whose: the table of hooks, by the full name of what is called, each guarded.

It is loaded when the first of them is needed: a check that has everything in its cache calls none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from mypy.checker import TypeChecker
from mypy.plugin import ClassDefContext, FunctionContext, FunctionSigContext, MethodContext, MethodSigContext
from mypy.types import AnyType, FunctionLike, Instance, Type, TypeOfAny, UninhabitedType

from cloaca.mypy import closing, facts, fanouts, operators, runs, tasks, waits
from cloaca.mypy.expressions import EACH
from cloaca.mypy.sessions import Session, session, unfiltered

GRAPHS: Final = "cloaca.algebra.graphs"
TASK: Final = "cloaca.algebra.tasks.Task"
BRANCHES: Final = "cloaca.algebra.branches"
WAITS: Final = tuple(f"cloaca.algebra.waits.{name}" for name in ("Wait", "Writing", "Sleep", "WaitFor", "Subflow"))
RECEIVERS: Final = (
    *(f"{GRAPHS}.{name}" for name in ("Graph", "Composite", "Node", "Seal")),
    *(f"{BRANCHES}.{name}" for name in ("Branch", "Decision")),
    "cloaca.algebra.fanouts.Each",
    TASK,
    *WAITS,
)
RUNNERS: Final = ("cloaca.runner.runners.Runner", "cloaca.runner.blocking.BlockingRunner")

_METHODS: Final[dict[str, Callable[[MethodContext, Session], Type]]] = {
    "cloaca.contract.workflows.WorkflowBuilder.build": closing.built,
    **{f"{cls}.{name}": hook for cls in RECEIVERS for name, hook in operators.METHODS.items()},
}
_FUNCTIONS: Final[dict[str, Callable[[FunctionContext, Session], Type]]] = {
    closing.WORKFLOW: closing.workflow,
    f"{GRAPHS}.Graph": operators.made,
    EACH: fanouts.each,
    f"{BRANCHES}.branch": operators.branch,
    **waits.FUNCTIONS,
}
_METHOD_SIGNATURES: Final[dict[str, Callable[[MethodSigContext, Session], FunctionLike]]] = {
    "cloaca.algebra.tasks.TaskDecorator.__call__": tasks.decorator,
    **{
        f"{cls}.{name}": operators.free_result for cls in RECEIVERS for name in ("__rshift__", "__rrshift__", "__and__")
    },
    **{f"{cls}.when": operators.read_by_lambda for cls in RECEIVERS},
    **{f"{cls}.{name}": runs.started for cls in RUNNERS for name in ("start", "run")},
    f"{TASK}.__call__": runs.called,
}
_FUNCTION_SIGNATURES: Final[dict[str, Callable[[FunctionSigContext, Session], FunctionLike]]] = {
    closing.WORKFLOW: closing.free_graphs,
    "cloaca.runner.blocking.run": runs.started,
}

C = TypeVar("C", FunctionContext, MethodContext, FunctionSigContext, MethodSigContext)
R = TypeVar("R", bound=Type)


def guarded(hooks: dict[str, Callable[[C, Session], R]], default: str) -> dict[str, Callable[[C], R]]:
    """Hooks that can't crash mypy: on a fault of ours they answer with what mypy had without us."""

    def wrapped(hook: Callable[[C, Session], R]) -> Callable[[C], R]:
        def run(context: C) -> R:
            api = context.api
            if not isinstance(api, TypeChecker):
                return _without(context)
            try:
                return hook(context, session(api))
            except Exception as error:  # noqa: BLE001 - whatever it is, the check of the user's program goes on
                _confess(api, context, error)
                return _without(context)

        return run

    def _without(context: C) -> R:
        answer: R = getattr(context, default)
        return _known(answer)

    return {name: wrapped(hook) for name, hook in hooks.items()}


def _known(answer: R) -> R:
    """What mypy had, with Any for what it left to us to infer."""
    if not isinstance(answer, Instance):
        return answer
    anything = AnyType(TypeOfAny.from_error)
    args = [anything if isinstance(arg, UninhabitedType) else arg for arg in answer.args]
    return answer.copy_modified(args=args)  # type: ignore[return-value]  # of the same class


def remember(context: ClassDefContext) -> None:
    """``facts.remember``, guarded."""
    try:
        facts.remember(context)
    except Exception as error:  # noqa: BLE001 - as above
        note = getattr(context.api, "note")  # noqa: B009 - mypy's analyzer has it, its interface for plugins not
        note(_fault(error), context.cls)


def _confess(api: TypeChecker, context: Any, error: Exception) -> None:
    with unfiltered(api):
        api.note(_fault(error), context.context)


def _fault(error: Exception) -> str:
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place is not None else "?"
    fault = f"{type(error).__name__}: {error} ({where})"
    return f"cloaca.mypy could not check this, which is a fault of its own: {fault}"


METHODS: Final = guarded(_METHODS, "default_return_type")
FUNCTIONS: Final = guarded(_FUNCTIONS, "default_return_type")
METHOD_SIGNATURES: Final = guarded(_METHOD_SIGNATURES, "default_signature")
FUNCTION_SIGNATURES: Final = guarded(_FUNCTION_SIGNATURES, "default_signature")
