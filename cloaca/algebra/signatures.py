"""What a function's annotations say about its data: the models it reads, the one it writes, the errors it answers with.

It knows the three shapes of the language (a model, ``None``, ``Result[Model, Error]``) and refuses the rest with
``task-model``; it never calls the function. Annotations that name something not defined yet are left for later:
``Unresolved`` says so, and whoever closes the graph asks again.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType, NoneType
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticUndefinedAnnotation
from returns.result import Result

from cloaca.algebra.context import TaskContext
from cloaca.algebra.models import model_problems, row_of
from cloaca.errors import ContractError, Violation

Model = type[BaseModel]


class Unresolved(Exception):
    """An annotation names something that is not defined yet."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A positional parameter: its name, and the model it reads."""

    name: str
    model: Model


@dataclass(frozen=True, slots=True)
class Signature:
    """The data side of a task: what it reads, what it writes, how it answers.

    ``output`` is None for a task that writes nothing; ``answers`` says whether the body returns a ``Result``, whose
    error model is ``error``; ``context`` is the keyword-only parameter that takes the ``TaskContext``, if any.
    """

    parameters: tuple[Parameter, ...]
    output: Model | None
    answers: bool = False
    error: Model | None = None
    context: str | None = None
    is_async: bool = False


def read_signature(function: Callable[..., Any], name: str, names: Mapping[str, Any]) -> Signature:
    """Return the signature of the task ``name``; ``names`` are local names that its annotations may use.

    Raises:
        ContractError: with every ``task-model`` violation of the function.
        Unresolved: an annotation names something that is not defined yet.
    """
    reader = _Reader(name, f'Task "{name}"')
    hints = reader.hints(function, names)
    parameters: list[Parameter] = []
    context: str | None = None
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name, inspect.Parameter.empty)
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            reader.refuse(parameter.name, f'"{parameter}" can\'t be read from the context; name each input')
        elif parameter.kind is not parameter.KEYWORD_ONLY:
            parameters.extend(reader.parameter(parameter.name, hint))
        elif isinstance(hint, type) and issubclass(hint, TaskContext):
            context = parameter.name
        elif parameter.default is parameter.empty:
            reader.refuse(
                parameter.name,
                f'keyword-only parameter "{parameter.name}" can\'t be injected: only ctx: TaskContext is; '
                "inputs are positional",
            )
    output, answers, error = reader.output(hints.get("return", inspect.Parameter.empty))
    reader.agree(parameters)
    if reader.violations:
        raise ContractError(reader.violations)
    is_async = inspect.iscoroutinefunction(function)
    return Signature(tuple(parameters), output, answers, error, context, is_async)


def read_predicate(function: Callable[..., Any], task: str, names: Mapping[str, Any]) -> Model | None:
    """Return the model that a predicate of ``task`` reads, None if its one parameter has no annotation (a lambda).

    Raises:
        ContractError: it doesn't take exactly one model.
        Unresolved: the annotation names something that is not defined yet.
    """
    reader = _Reader(task, f'The condition {name_of(function)} of task "{task}"')
    required = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    if len(required) != 1 or required[0].kind not in (required[0].POSITIONAL_ONLY, required[0].POSITIONAL_OR_KEYWORD):
        reader.refuse("", "a predicate takes one model: predicate(model) -> bool")
    elif inspect.iscoroutinefunction(function):
        reader.refuse("", "a predicate is a plain function, not an async one: it must be quick")
    if reader.violations:
        raise ContractError(reader.violations)
    hint = reader.hints(function, names).get(required[0].name)
    read = [] if hint is None else reader.parameter(required[0].name, hint)
    if reader.violations:
        raise ContractError(reader.violations)
    return read[0].model if read else None


def row_problems(model: Model, what: str, owner: str, who: str) -> list[Violation]:
    """Return why ``model`` can't be a row that no task declares, such as ``input=Model``."""
    reader = _Reader(owner, who)
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
    return "condition" if name == "<lambda>" else name


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
_KNOWN: Mapping[str, Any] = {"TaskContext": TaskContext, "Result": Result}


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


class _Reader:
    """Collects the violations of one function; ``who`` begins each sentence about it."""

    def __init__(self, task: str, who: str) -> None:
        self.task, self.who = task, who
        self.violations: list[Violation] = []

    def refuse(self, field: str, reason: str) -> None:
        self.violations.append(Violation("task-model", self.task, field, f"{self.who}: {reason}"))

    def hints(self, function: Callable[..., Any], names: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return typing.get_type_hints(function, localns={**_surroundings(function), **names})
        except (NameError, AttributeError) as error:  # an attribute of a module that is still being imported
            raise Unresolved(str(error)) from error
        except (TypeError, SyntaxError) as error:
            self.refuse("", f"an annotation can't be read: {error}")
            raise ContractError(self.violations) from error

    def parameter(self, name: str, hint: object) -> list[Parameter]:
        if hint is inspect.Parameter.empty:
            self.refuse(name, f'input "{name}" has no annotation; annotate it with the pydantic model to read')
        elif model := self.model(f'input "{name}"', hint):
            return [Parameter(name, model)]
        return []

    def output(self, hint: object) -> tuple[Model | None, bool, Model | None]:
        if hint is inspect.Parameter.empty:
            self.refuse(
                "", "the return has no annotation; annotate it with a pydantic model, None or Result[Model, Error]"
            )
            return None, False, None
        if typing.get_origin(hint) is not Result:
            return self._value("the output", hint), False, None
        value, error = typing.get_args(hint)
        return self._value("the output", value), True, self.model("the error", error)

    def _value(self, what: str, hint: object) -> Model | None:
        return None if hint in (None, NoneType) else self.model(what, hint)

    def model(self, what: str, hint: object) -> Model | None:
        if not (isinstance(hint, type) and issubclass(hint, BaseModel)) or hint is BaseModel:
            asks = isinstance(hint, type) and issubclass(hint, TaskContext)
            advice = "; ask for it by a keyword-only parameter: *, ctx: TaskContext" if asks else ""
            self.refuse("", f"{what} must be a pydantic model, but it is {_named(hint)}{advice}")
            return None
        try:
            problems = model_problems(hint)
        except (PydanticUndefinedAnnotation, NameError) as error:
            raise Unresolved(str(error)) from error
        for problem in problems:
            self.refuse(problem.field, f"{what}, model {hint.__name__}: {problem.message}")
        return hint

    def agree(self, parameters: list[Parameter]) -> None:
        """Two parameters that name the same field must agree on its type."""
        seen: dict[str, tuple[Parameter, object]] = {}
        for parameter in parameters:
            for field, entry in row_of(parameter.model).items():
                first, wanted = seen.setdefault(field, (parameter, entry.type))
                if not _same(wanted, entry.type):
                    self.refuse(
                        field,
                        f'inputs "{first.name}" and "{parameter.name}" both read field "{field}", '
                        f"as {_named(wanted)} and as {_named(entry.type)}; give them one type",
                    )


def _same(one: object, other: object) -> bool:
    """Whether two annotations are one type, also if one of them is spelt as before Python 3.9: ``typing.List``."""
    args, others = typing.get_args(one), typing.get_args(other)
    if not args or len(args) != len(others):
        return one == other
    origins = typing.get_origin(one) == typing.get_origin(other)
    return one == other or (origins and all(map(_same, args, others)))


def _named(hint: object) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
