"""What a function's annotations say about its data: the front end, at run time, to ``declarations``.

It reads annotations, and knows the three shapes of a return (a model, ``None``, ``Result[Model, Error]``); it never
calls the function. Annotations that name something not defined yet are left for later: ``Unresolved`` says so, and
whoever closes the graph asks again.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Callable, Mapping
from types import FrameType, NoneType
from typing import Any, Final

from pydantic import BaseModel
from pydantic.errors import PydanticUndefinedAnnotation
from returns.result import Result

from cloaca.algebra.context import TaskContext
from cloaca.algebra.declarations import MISSING, Declared, Reader, Returned, Signature
from cloaca.algebra.guards import UNNAMED, the_condition
from cloaca.algebra.models import RuntimeModels, model_name
from cloaca.algebra.outcomes import RunFailure, TaskFailure
from cloaca.algebra.rows import ModelProblem
from cloaca.errors import ContractError, Violation

Model = type[BaseModel]


class Unresolved(Exception):
    """An annotation names something that is not defined yet."""


def read_signature(function: Callable[..., Any], name: str, names: Mapping[str, Any]) -> Signature[Model]:
    """Return the signature of the task ``name``; ``names`` are local names that its annotations may use.

    Raises:
        ContractError: with every ``task-model`` violation of the function.
        Unresolved: an annotation names something that is not defined yet.
    """
    reader: Reader[Model] = Reader(name, f'Task "{name}"', ANNOTATIONS)
    hints = _hints(reader, function, names)
    is_async = inspect.iscoroutinefunction(function)
    signature = reader.signature(_declared(function, hints), _returned(hints), is_async=is_async)
    return _unless_refused(reader, signature)


def read_predicate(function: Callable[..., Any], task: str, names: Mapping[str, Any]) -> Model | None:
    """Return the model that a predicate of ``task`` reads, None if its one parameter has no annotation (a lambda).

    Raises:
        ContractError: it doesn't take exactly one model.
        Unresolved: the annotation names something that is not defined yet.
    """
    reader: Reader[Model] = Reader(task, the_condition(name_of(function), task), ANNOTATIONS)
    if not inspect.isroutine(function):
        reader.refuse("", f"a predicate is a plain function, not {type(function).__name__}: wrap it in one")
        raise ContractError(reader.violations)
    is_async = inspect.iscoroutinefunction(function)
    _unless_refused(reader, reader.predicate(_declared(function, {}), is_async=is_async))
    read = reader.predicate(_declared(function, _hints(reader, function, names)), is_async=is_async)
    parameter = _unless_refused(reader, read)
    return parameter.model if parameter else None


def row_problems(model: object, what: str, owner: str, who: str) -> list[Violation]:
    """Return why ``model`` can't be a row that no task declares, such as ``input=Model``."""
    reader: Reader[Model] = Reader(owner, who, ANNOTATIONS)
    try:
        reader.model(what, model)
    except Unresolved as error:
        return [undefined(owner, who, error)]
    return reader.violations


def undefined(task: str, who: str, error: Unresolved) -> Violation:
    """Return the violation for an annotation that names something undefined, once nothing more can be defined."""
    text = f"{who}: {error}; define it before the workflow, and import it when the program runs, too"
    return Violation("task-model", task, "", text)


def name_of(function: Callable[..., Any]) -> str:
    """Return the function's name; ``condition`` for a lambda."""
    name: str = getattr(function, "__name__", type(function).__name__)
    return UNNAMED if name == "<lambda>" else name


def local_names(function: Callable[..., Any]) -> dict[str, Any]:
    """Return what the annotations of ``function`` name among the locals of the functions that it is defined in.

    Python resolves string annotations (``from __future__ import annotations``) against globals alone; tasks and
    models defined inside a function, as tests do, would not resolve without this. It sees the functions that are
    still running: at the decorator all of them, later a model defined further down, too.
    """
    code, path = getattr(function, "__code__", None), getattr(function, "__qualname__", "")
    found: dict[str, Any] = {}
    if code is None or "." not in path:
        return found
    hints = function.__annotations__.values()
    words = {word for hint in hints for word in _IDENTIFIER.findall(hint if isinstance(hint, str) else repr(hint))}
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        inside = path.startswith((f"{frame.f_code.co_qualname}.<locals>.", f"{frame.f_code.co_qualname}."))
        if inside and frame.f_code.co_filename == code.co_filename:
            known = frame.f_locals
            found = {**{word: known[word] for word in words if word in known}, **found}
        frame = frame.f_back
    return found


_IDENTIFIER = re.compile(r"[^\W\d]\w*")
# What a linter likes to see imported for type checkers only.
_KNOWN: Mapping[str, Any] = {
    "TaskContext": TaskContext,
    "TaskFailure": TaskFailure,
    "RunFailure": RunFailure,
    "Result": Result,
}


def _surroundings(function: Callable[..., Any]) -> dict[str, Any]:
    """The names that ``function`` closes over; a cell is empty while what it names isn't defined."""
    surroundings = {name: value for name, value in _KNOWN.items() if name not in getattr(function, "__globals__", {})}
    code = getattr(function, "__code__", None)
    for name, cell in zip(code.co_freevars if code else (), getattr(function, "__closure__", None) or (), strict=False):
        try:
            surroundings[name] = cell.cell_contents
        except ValueError:
            continue
    return surroundings


class _Annotations(RuntimeModels):
    """What annotations are, in answer to ``declarations``."""

    def problems(self, model: Model) -> tuple[ModelProblem, ...]:
        try:
            return super().problems(model)
        except (PydanticUndefinedAnnotation, NameError) as error:
            raise Unresolved(str(error)) from error

    def shown(self, hint: object) -> str:
        if isinstance(hint, type) and not typing.get_args(hint):
            return "None" if hint is NoneType else model_name(hint)
        return _MODULES.sub("", str(hint)).replace("NoneType", "None")

    def same(self, one: object, other: object) -> bool:
        """Also if one of them is spelt as before Python 3.9: ``typing.List``."""
        args, others = typing.get_args(one), typing.get_args(other)
        if not args or len(args) != len(others):
            return one == other
        origins = typing.get_origin(one) == typing.get_origin(other)
        return one == other or (origins and all(map(self.same, args, others)))

    def is_context(self, hint: object) -> bool:
        return isinstance(hint, type) and issubclass(hint, TaskContext)

    def is_run_failure(self, hint: object) -> bool:
        return hint is RunFailure or typing.get_origin(hint) is RunFailure

    def is_failure(self, hint: object) -> bool:
        return hint is TaskFailure

    def session_class(self, hint: object) -> str | None:
        """By its name, so that nothing of SQL is loaded to ask."""
        return f"{hint.__module__}.{hint.__qualname__}" if isinstance(hint, type) else None


ANNOTATIONS: Final = _Annotations()
_MODULES: Final = re.compile(r"\b(?:\w+\.)+(?=\w)")

_KINDS: Final[Mapping[Any, typing.Literal["positional", "keyword", "*", "**"]]] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
    inspect.Parameter.KEYWORD_ONLY: "keyword",
}


def _hints(reader: Reader[Model], function: Callable[..., Any], names: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, localns={**_surroundings(function), **names})
    except (NameError, AttributeError) as error:  # an attribute of a module that is still being imported
        raise Unresolved(str(error)) from error
    except (TypeError, SyntaxError) as error:
        reader.refuse("", f"an annotation can't be read: {error}")
        raise ContractError(reader.violations) from error


def _declared(function: Callable[..., Any], hints: Mapping[str, Any]) -> list[Declared]:
    return [
        Declared(
            parameter.name,
            _KINDS.get(parameter.kind, "positional"),
            hints.get(parameter.name, MISSING),
            parameter.default is not parameter.empty,
        )
        for parameter in inspect.signature(function).parameters.values()
    ]


def _returned(hints: Mapping[str, Any]) -> Returned:
    hint = hints.get("return", MISSING)
    if typing.get_origin(hint) is not Result:
        return Returned(_none(hint))
    value, error = typing.get_args(hint)
    return Returned(_none(value), answers=True, error=error)


def _none(hint: object) -> object:
    return None if hint is NoneType else hint


T = typing.TypeVar("T")


def _unless_refused(reader: Reader[Model], read: T) -> T:
    if reader.violations:
        raise ContractError(reader.violations)
    return read
