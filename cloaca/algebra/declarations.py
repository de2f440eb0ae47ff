"""What the declaration of a task or a condition says about its data, and what is wrong with it: rules and words.

It knows neither annotations nor a type checker's types: a front end hands it declared parameters with opaque hints,
and answers what a hint is. So ``task-model`` is decided by the same lines when a program runs and when it is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import count
from typing import Any, Final, Generic, Literal, Protocol

from typing_extensions import TypeVar

from cloaca.algebra.rows import Models
from cloaca.errors import ContractError, Violation

M = TypeVar("M", default=Any)  # what stands for a model in a front end
Renames = tuple[tuple[str, str], ...]

# The classes of a session that is injected, by their full names: for plain functions and for async ones. What is
# injected is SQLModel's, which is SQLAlchemy's, too; a class derived from them is somebody's own.
SESSIONS: Final = frozenset({"sqlmodel.orm.session.Session", "sqlalchemy.orm.session.Session"})
ASYNC_SESSIONS: Final = frozenset(
    {"sqlmodel.ext.asyncio.session.AsyncSession", "sqlalchemy.ext.asyncio.session.AsyncSession"}
)


class _Missing(Enum):
    HINT = 0


MISSING: Final = _Missing.HINT
"""The hint of what has no annotation."""


class Hints(Models, Protocol):
    """What a front end answers about any hint, model or not."""

    def shown(self, hint: Any) -> str:
        """Return a hint in words, without modules."""
        ...

    def same(self, one: Any, other: Any) -> bool:
        """Return whether two hints are one type, however they are spelt."""
        ...

    def is_context(self, hint: Any) -> bool:
        """Return whether a hint is ``TaskContext``, which is injected."""
        ...

    def is_run_failure(self, hint: Any) -> bool:
        """Return whether a hint is ``RunFailure``, which is injected into what runs because of one."""
        ...

    def is_failure(self, hint: Any) -> bool:
        """Return whether a hint is ``TaskFailure``, which a handler is given."""
        ...

    def session_class(self, hint: Any) -> str | None:
        """Return the full name of the class that a hint is, None for anything else."""
        ...


@dataclass(frozen=True, slots=True)
class Parameter(Generic[M]):
    """A positional parameter: its name, and the model it reads."""

    name: str
    model: M


@dataclass(frozen=True, slots=True)
class Signature(Generic[M]):
    """The data side of a task: what it reads, what it writes, how it answers.

    ``output`` is None for a task that writes nothing; ``answers`` says whether the body returns a ``Result``, whose
    error model is ``error``; ``context`` is the keyword-only parameter that takes the ``TaskContext``, if any,
    ``session`` the one that takes the database session of the completing transaction, ``run_failure`` the one that
    takes the ``RunFailure``. ``failures`` are the places, among all positional parameters, of those that take a
    ``TaskFailure``: these are not among the ``parameters``, which are read from the context.
    """

    parameters: tuple[Parameter[M], ...]
    output: M | None
    answers: bool = False
    error: M | None = None
    context: str | None = None
    is_async: bool = False
    session: str | None = None
    run_failure: str | None = None
    failures: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Declared:
    """A parameter as it is declared. ``hint`` is None for a parameter annotated as ``None``."""

    name: str
    kind: Literal["positional", "keyword", "*", "**"]
    hint: object = MISSING
    has_default: bool = False


@dataclass(frozen=True, slots=True)
class Returned:
    """A return as it is declared: ``value``, or with ``answers`` a ``Result[value, error]``. None stands for None."""

    value: object = MISSING
    answers: bool = False
    error: object = None


class Reader(Generic[M]):
    """Reads the declarations of one task, and collects its violations; ``who`` begins each sentence about it."""

    def __init__(self, task: str, who: str, hints: Hints) -> None:
        self.task, self.who, self.hints = task, who, hints
        self.violations: list[Violation] = []

    def refuse(self, field: str, reason: str) -> None:
        self.violations.append(Violation("task-model", self.task, field, f"{self.who}: {reason}"))

    def signature(self, declared: Sequence[Declared], returned: Returned, *, is_async: bool) -> Signature[M]:
        """Return what a task reads and writes; what is wrong is among the violations and missing from the answer."""
        parameters: list[Parameter[M]] = []
        context: str | None = None
        run_failure: str | None = None
        failures: list[int] = []
        places = count()
        sessions: list[str] = []
        for each in declared:
            place = next(places) if each.kind == "positional" else 0
            if each.kind in ("*", "**"):
                self.refuse(each.name, f'"{each.kind}{each.name}" can\'t be read from the context; name each input')
            elif each.kind == "positional" and self.hints.is_failure(each.hint):
                failures.append(place)
            elif each.kind == "positional":
                parameters.extend(self.parameter(each))
            elif self.hints.is_context(each.hint):
                context = each.name
            elif self.hints.is_run_failure(each.hint):
                run_failure = each.name
            elif self.is_session(each.hint):
                self.fitting_session(each, is_async=is_async)
                sessions.append(each.name)
            elif not each.has_default:
                self.refuse(
                    each.name,
                    f'keyword-only parameter "{each.name}" can\'t be injected: only ctx: TaskContext and '
                    "session: Session or AsyncSession are; inputs are positional",
                )
        output, error = self.returned(returned)
        self.agree(parameters)
        if len(sessions) > 1:
            names = " and ".join(f'"{name}"' for name in sessions)
            self.refuse(sessions[1], f"{names} both ask for a session; an attempt has one transaction: keep one")
        session = next(iter(sessions), None)
        return Signature(
            tuple(parameters), output, returned.answers, error, context, is_async, session, run_failure, tuple(failures)
        )

    def is_session(self, hint: Any) -> bool:
        return self.hints.session_class(hint) in SESSIONS | ASYNC_SESSIONS

    def fitting_session(self, declared: Declared, *, is_async: bool) -> None:
        """Refuse a session that the body can't use: one that nobody awaits, or one that would stop the event loop."""
        if (self.hints.session_class(declared.hint) in ASYNC_SESSIONS) == is_async:
            return
        what = f'keyword-only parameter "{declared.name}" is '
        if is_async:
            advice = "a Session, which would block the event loop; annotate it with AsyncSession, or use a plain def"
        else:
            advice = "an AsyncSession, which needs an async function; annotate it with Session, or use async def"
        self.refuse(declared.name, what + advice)

    def predicate(self, declared: Sequence[Declared], *, is_async: bool) -> Parameter[M] | None:
        """Return what a condition reads, None if its one parameter has no annotation (a lambda) or is wrong."""
        required = [each for each in declared if not each.has_default]
        if len(required) != 1 or required[0].kind != "positional":
            self.refuse("", "a predicate takes one model: predicate(model) -> bool")
        elif is_async:
            self.refuse("", "a predicate is a plain function, not an async one: it must be quick")
        elif required[0].hint is not MISSING:
            return next(iter(self.parameter(required[0])), None)
        return None

    def parameter(self, declared: Declared) -> list[Parameter[M]]:
        name = declared.name
        if declared.hint is MISSING:
            self.refuse(name, f'input "{name}" has no annotation; annotate it with the pydantic model to read')
        elif (model := self.model(f'input "{name}"', declared.hint)) is not None:
            return [Parameter(name, model)]
        return []

    def returned(self, returned: Returned) -> tuple[M | None, M | None]:
        if returned.value is MISSING:
            self.refuse(
                "", "the return has no annotation; annotate it with a pydantic model, None or Result[Model, Error]"
            )
            return None, None
        output = None if returned.value is None else self.model("the output", returned.value)
        return output, self.model("the error", returned.error) if returned.answers else None

    def model(self, what: str, hint: Any) -> M | None:
        """Return the model that a hint is, None if it is not one; its problems are among the violations."""
        if not self.hints.is_model(hint):
            shown = self.hints.shown(hint)
            wanted = "ctx: TaskContext" if self.hints.is_context(hint) else f"session: {shown}"
            is_injected = self.hints.is_context(hint) or self.is_session(hint)
            advice = f"; ask for it by a keyword-only parameter: *, {wanted}" if is_injected else ""
            self.refuse("", f"{what} must be a pydantic model, but it is {shown}{advice}")
            return None
        for problem in self.hints.problems(hint):
            self.refuse(problem.field, f"{what}, model {self.hints.name(hint)}: {problem.message}")
        model: M = hint
        return model

    def agree(self, parameters: Sequence[Parameter[M]]) -> None:
        """Two parameters that name the same field must agree on its type."""
        if len(parameters) < 2:  # noqa: PLR2004 - what is alone agrees
            return
        seen: dict[str, tuple[Parameter[M], object]] = {}
        for parameter in parameters:
            for field, entry in self.hints.row(parameter.model).items():
                first, wanted = seen.setdefault(field, (parameter, entry.type))
                if not self.hints.same(wanted, entry.type):
                    self.refuse(
                        field,
                        f'inputs "{first.name}" and "{parameter.name}" both read field "{field}", '
                        f"as {self.hints.shown(wanted)} and as {self.hints.shown(entry.type)}; give them one type",
                    )


def unknown_field(who: str, name: str, known: Iterable[str]) -> str:
    """Return what is wrong with renaming a field that a model lacks; ``who`` is as in ``Task "charge" reads``."""
    return f"{who} no field {name!r}; it has {', '.join(sorted(known)) or 'none'}"


def renamed(old: Renames, keys: Mapping[str, str], known: Iterable[str], who: str) -> Renames:
    """Return renames of fields with more of them. Raises TypeError or ValueError; ``who`` begins the sentence."""
    fields = set(known)
    for name, key in keys.items():
        if name not in fields:
            raise TypeError(unknown_field(who, name, fields))
        if not isinstance(key, str) or not key.isidentifier():
            raise ValueError(f"{name}={key!r}: a context key is a Python identifier")
    return tuple(sorted({**dict(old), **keys}.items()))


def collisions(task: str, fields: Iterable[str], renames: Mapping[str, str]) -> list[Violation]:
    """Return what is wrong with a task that writes two of its fields to one key."""
    written: dict[str, list[str]] = {}
    for name in sorted(fields):
        written.setdefault(renames.get(name, name), []).append(f'"{name}"')
    text = 'Task "{}" would write its fields {} to one key, "{}"; give each a key of its own'
    return [
        Violation("task-model", task, key, text.format(task, " and ".join(names), key))
        for key, names in sorted(written.items())
        if len(names) > 1
    ]


def renamed_writes(task: str, old: Renames, keys: Mapping[str, str], fields: Iterable[str]) -> Renames:
    """Return renames of a task's output fields with more of them. Raises TypeError, ValueError or ContractError."""
    known = set(fields)
    renames = renamed(old, keys, known, f'Task "{task}" writes')
    if violations := collisions(task, known, dict(renames)):
        raise ContractError(violations)
    return renames


def whole_key(task: str, key: object, output: object) -> str:
    """Return the key that takes the whole output of a task, if it has one. Raises TypeError or ValueError."""
    if not isinstance(key, str) or not key.isidentifier():
        raise ValueError(f"into({key!r}): a context key is a Python identifier")
    if output is None:
        raise TypeError(f'Task "{task}" writes nothing, so there is nothing to write into "{key}"')
    return key
