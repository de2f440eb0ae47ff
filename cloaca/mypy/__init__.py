"""The mypy plugin: what ``Workflow(...)`` refuses when a program runs, mypy refuses when it is checked.

List it in mypy's configuration: ``plugins = pydantic.mypy, cloaca.mypy``, in any order.

It knows which call is whose: each hook reads one kind of expression, and feeds the same checker as at run time. A fault
of its own becomes a note that names it, never a crash of mypy's.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar

from mypy.checker import TypeChecker
from mypy.plugin import (
    ClassDefContext,
    FunctionContext,
    FunctionSigContext,
    MethodContext,
    MethodSigContext,
    Plugin,
    ReportConfigContext,
)
from mypy.types import FunctionLike, Type

from cloaca.mypy import closing, facts, metadata, operators, runs, tasks
from cloaca.mypy.sessions import Session, session, unfiltered

GRAPHS: Final = "cloaca.algebra.graphs"
TASK: Final = "cloaca.algebra.tasks.Task"
RECEIVERS: Final = (f"{GRAPHS}.Graph", f"{GRAPHS}.Composite", f"{GRAPHS}.Node", f"{GRAPHS}.Seal", TASK)
RUNNERS: Final = ("cloaca.runner.runners.Runner", "cloaca.runner.blocking.BlockingRunner")

_METHODS: Final[dict[str, Callable[[MethodContext, Session], Type]]] = {
    "cloaca.contract.workflows.WorkflowBuilder.build": closing.built,
    **{f"{cls}.{name}": hook for cls in RECEIVERS for name, hook in operators.METHODS.items()},
}
_FUNCTIONS: Final[dict[str, Callable[[FunctionContext, Session], Type]]] = {
    closing.WORKFLOW: closing.workflow,
    f"{GRAPHS}.Graph": operators.made,
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
    "cloaca.runner.blocking.run": runs.started,
}

C = TypeVar("C", FunctionContext, MethodContext, FunctionSigContext, MethodSigContext)
R = TypeVar("R", bound=Type)


def _guarded(hooks: dict[str, Callable[[C, Session], R]], default: str) -> dict[str, Callable[[C], R]]:
    """Hooks that can't crash mypy: on a fault of ours they answer with what mypy had without us."""

    def guarded(hook: Callable[[C, Session], R]) -> Callable[[C], R]:
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
        return answer

    return {name: guarded(hook) for name, hook in hooks.items()}


def _confess(api: TypeChecker, context: Any, error: Exception) -> None:
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place is not None else "?"
    fault = f"{type(error).__name__}: {error} ({where})"
    with unfiltered(api):
        api.note(f"cloaca.mypy could not check this, which is a fault of its own: {fault}", context.context)


class CloacaPlugin(Plugin):
    """The hooks, by the full name of what is called."""

    _methods: Final = _guarded(_METHODS, "default_return_type")
    _functions: Final = _guarded(_FUNCTIONS, "default_return_type")
    _method_signatures: Final = _guarded(_METHOD_SIGNATURES, "default_signature")
    _function_signatures: Final = _guarded(_FUNCTION_SIGNATURES, "default_signature")

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        """Return the hook of an operator, a graph's method or a decorator."""
        return self._methods.get(fullname)

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        """Return the hook of ``Workflow(...)`` and ``Graph()``."""
        return self._functions.get(fullname)

    def get_method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        """Return the hook that narrows a method's signature."""
        return self._method_signatures.get(fullname)

    def get_function_signature_hook(self, fullname: str) -> Callable[[FunctionSigContext], FunctionLike] | None:
        """Return the hook that narrows a function's signature."""
        return self._function_signatures.get(fullname)

    def report_config_data(self, ctx: ReportConfigContext) -> Any:
        """Return what a module says in metadata, which mypy forgets: with it, its cache knows of a change."""
        return metadata.aliases_of(ctx.path)

    def get_customize_class_mro_hook(self, fullname: str) -> Callable[[ClassDefContext], None] | None:
        """Return the hook that notes of every class what mypy forgets."""
        return facts.remember


def plugin(version: str) -> type[Plugin]:
    """Return the plugin; mypy calls this with its own version."""
    return CloacaPlugin


def _digest() -> str:
    """A hash of this package's sources: mypy drops its caches when it changes."""
    package = Path(__file__).parents[1]
    folders = (package / "mypy", package / "contract", package / "algebra")
    files = sorted(path for folder in folders for path in folder.glob("*.py"))
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


__version__ = _digest()
