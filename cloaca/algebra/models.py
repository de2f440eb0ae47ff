"""What a pydantic model says as a row: its fields, their types, their defaults; or why it can't be a row.

It does not know tasks, graphs or who provides a field: it reads one model at a time and compares no types.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import types
import typing
from collections import Counter, OrderedDict, abc, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, Flag
from functools import cache, lru_cache
from typing import Any, Final

import pydantic
import typing_extensions
from pydantic import BaseModel, RootModel, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

Model = type[BaseModel]

ALIASES: Final = (
    typing_extensions.TypeAliasType,
    getattr(typing, "TypeAliasType", typing_extensions.TypeAliasType),  # another class, from Python 3.12 on
)
"""The classes of the named aliases that ``type X = ...`` makes, and its backport."""


@dataclass(frozen=True, slots=True)
class Reduce:
    """Fold the writes of unordered tasks into one value: ``total: Annotated[int, Reduce(operator.add)]``.

    ``function`` takes the value so far and the next write. The writes come in topological order, ties by task
    name, after the input's value if it has one: the same in every run, so ``function`` may depend on it.

    Raises:
        TypeError: ``function`` can't be called.

    >>> import operator
    >>> Reduce(operator.add).function(40, 2)
    42
    """

    function: Callable[[Any, Any], Any]

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"Reduce takes a function of two values, like operator.add, not {self.function!r}")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a row.

    ``type`` is the annotation as pydantic resolved it, without the metadata of an outermost ``Annotated``;
    ``required`` says that the model gives it no default; ``reducer`` is the ``Reduce`` of its annotation.
    """

    type: object
    required: bool
    reducer: Reduce | None = None


Row = Mapping[str, Field]
"""A model's fields by their python names, never their aliases, in the order of declaration."""


@dataclass(frozen=True, slots=True)
class ModelProblem:
    """Why a model can't be part of the contract. ``field`` is ``""`` if it is about the model as a whole."""

    field: str
    message: str


def row_of(model: Model) -> Row:
    """Return the row of ``model``.

    Properties, computed fields, class variables, private attributes and ``extra="allow"`` provide nothing. A
    default inside of ``Annotated`` counts as none, because no type checker sees it. What a generic model
    leaves open is ``Any``, as for mypy, or the default of its type variable.

    Raises:
        PydanticUndefinedAnnotation: a NameError; a name in an annotation isn't defined yet. Ask again later.

    >>> class Order(BaseModel):
    ...     sku: str
    ...     amount: typing.Annotated[int, pydantic.Field(gt=0)] = 1
    >>> row_of(Order)["amount"]
    Field(type=<class 'int'>, required=False, reducer=None)
    """
    return _row_of(model)


@lru_cache(maxsize=4096)
def _row_of(model: Model) -> Row:
    _complete(model)
    return types.MappingProxyType({name: _field(info) for name, info in model.model_fields.items()})


def model_problems(model: Model) -> tuple[ModelProblem, ...]:
    """Return why ``model`` can't be part of the contract; ``()`` for a model that can.

    Each field must survive a JSON round trip: dumped by name and validated by name, it comes back as it was.
    What depends on the value alone isn't judged: a field of type ``Any``, bytes that aren't UTF-8, a NaN, a
    value that fits two members of a union. A serializer is trusted, beside a validator that reads its dump.

    Raises:
        PydanticUndefinedAnnotation: a NameError; a name in an annotation isn't defined yet. Ask again later.

    >>> class Login(BaseModel):
    ...     token: pydantic.SecretStr
    >>> print(model_problems(Login)[0].message)
    field "token" is a SecretStr, which JSON can't carry: it is dumped as asterisks; pass the secret's name
    """
    return _model_problems(model)


@lru_cache(maxsize=4096)
def _model_problems(model: Model) -> tuple[ModelProblem, ...]:
    if issubclass(model, RootModel):
        return (ModelProblem("", f"{model.__name__} is a RootModel, which has no fields; use a BaseModel"),)
    try:
        _complete(model)
    except PydanticSchemaGenerationError as error:
        return (ModelProblem("", f"pydantic can't build {model.__name__}: {error.message}"),)
    return tuple(_problems(model))


def bind(annotation: object, bound: Mapping[object, object]) -> object:
    """Put ``bound`` for the type variables of ``annotation``; for one it lacks, its default (PEP 696) or ``Any``.

    >>> T = typing.TypeVar("T")
    >>> bind(list[T], {T: int}), bind(list[T], {})
    (list[int], list[typing.Any])
    """
    if isinstance(annotation, typing.TypeVar):
        default: object = getattr(annotation, "__default__", typing_extensions.NoDefault)
        return bound.get(annotation, Any if default is typing_extensions.NoDefault else default)
    model = getattr(annotation, "__pydantic_generic_metadata__", None)
    if model is not None:  # `Page[U]` is a class of its own, and `Page[T]` with Page's own T is Page
        parameters = model["parameters"] if model["args"] or bound.keys() & model["parameters"] else ()
    else:
        parameters = () if isinstance(annotation, type) else getattr(annotation, "__parameters__", ())
    if not parameters or not _are(parameters, typing.TypeVar):
        return annotation
    generic: Any = annotation  # it has parameters, so it takes arguments
    return generic[tuple(bind(parameter, bound) for parameter in parameters)]


def alias_value(alias: Any) -> object:  # one of ALIASES
    """Return what a named alias stands for, ``Any`` if it names something that isn't defined yet.

    Before Python 3.12 a recursive alias is made of strings; they are resolved.
    """
    names = vars(sys.modules[alias.__module__]) if alias.__module__ in sys.modules else {}
    try:
        holder = types.SimpleNamespace(__annotations__={"value": alias.__value__})
        return typing_extensions.get_type_hints(holder, names, {alias.__name__: alias}, include_extras=True)["value"]
    except NameError:
        return Any


def _complete(model: Model) -> None:
    """Resolve the forward references of ``model``, or raise: what isn't complete has no types yet."""
    if not model.__pydantic_complete__:
        model.model_rebuild()


def _field(info: FieldInfo) -> Field:
    annotation: object = info.annotation  # pydantic declares `type[Any] | None`, but it is any annotation
    reducers = [item for item in (*_alias_metadata(annotation), *info.metadata) if isinstance(item, Reduce)]
    return Field(bind(annotation, {}), not _has_default(info), reducers[-1] if reducers else None)


def _alias_metadata(annotation: object) -> tuple[object, ...]:
    """What ``type Total = Annotated[int, Reduce(add)]`` brings along: pydantic leaves such an alias alone."""
    base, metadata = _unannotated(annotation)
    return (*_alias_metadata(alias_value(base)), *metadata) if isinstance(base, ALIASES) else metadata


# Whether this pydantic keeps what a class body assigned to a field. It has no public place for it.
_CANARY: Final = pydantic.create_model("Canary", field=(int, 1)).model_fields["field"]
_KEEPS_ASSIGNMENTS: Final = getattr(_CANARY, "_original_assignment", None) == 1


def _has_default(info: FieldInfo) -> bool:
    """Whether the class body gives a default: pydantic merges in those of ``Annotated``."""
    if info.is_required() or not _KEEPS_ASSIGNMENTS:
        return not info.is_required()
    assigned: object = info._original_assignment
    if isinstance(assigned, FieldInfo):
        return not assigned.is_required()
    return assigned is not PydanticUndefined


_QUALIFIERS: Final = (
    *(typing.Required, typing.NotRequired, typing.Final, typing.ClassVar),
    *(typing_extensions.ReadOnly, getattr(typing, "ReadOnly", typing_extensions.ReadOnly)),
)
_SCHEMA: Final = "__get_pydantic_core_schema__"
_UNIONS: Final = (typing.Union, types.UnionType)
_SECRETS: Final = (pydantic.SecretStr, pydantic.SecretBytes, pydantic.Secret)
_ONE_PASS: Final = (abc.Iterable, abc.Iterator, abc.Generator)
_MAPPINGS: Final = (dict, defaultdict, OrderedDict, Counter, abc.Mapping, abc.MutableMapping)
_COLLECTIONS: Final = (
    *(list, tuple, set, frozenset, deque),
    *(abc.Sequence, abc.MutableSequence, abc.Set, abc.MutableSet),
)
_NOT_KEYS: Final = (*_COLLECTIONS, *_MAPPINGS, complex, types.NoneType)
_JSON: Final = (str, int, float, types.NoneType)
_PLAIN: Final[tuple[object, ...]] = (*_JSON, bool, Any, object, list, dict)
_CODE: Final[tuple[object, ...]] = (abc.Callable, type)
_IMPORT: Final = "an ImportString, whose value JSON may not give back: use str, and import it in the task"
_DUMPERS: Final = (pydantic.PlainSerializer, pydantic.WrapSerializer)
_LOADERS: Final = (pydantic.BeforeValidator, pydantic.PlainValidator, pydantic.WrapValidator)


@dataclass(frozen=True, slots=True)
class _Finding:
    """One thing that doesn't survive: ``field "x" (at Card.pin) is <text>``, or ``holds`` what is inside."""

    text: str
    holds: bool = False
    at: str = ""
    dump_only: bool = False  # a serializer alone heals it


@dataclass(frozen=True, slots=True)
class _Member:
    """A field of anything that has fields. ``dumps`` and ``loads``: the owner says how, by a decorator."""

    annotation: object
    metadata: tuple[object, ...]
    excluded: bool
    dumps: bool = False
    loads: bool = False


_Findings = Iterator[_Finding]


def _problems(model: Model) -> Iterator[ModelProblem]:
    for name, member in _members(model).items():
        for finding in _member_findings(member, {model}):
            at = f" (at {finding.at})" if finding.at else ""
            verb = "holds" if finding.holds else "is"
            yield ModelProblem(name, f'field "{name}"{at} {verb} {finding.text}')


def _members(owner: type) -> Mapping[str, _Member]:
    """The fields of a model, dataclass, TypedDict or named tuple."""
    if issubclass(owner, BaseModel):
        _complete(owner)
    infos: Mapping[str, FieldInfo] | None = getattr(owner, "__pydantic_fields__", None)
    if infos is not None:
        return {name: _info_member(owner, name, info) for name, info in infos.items()}
    try:
        hints = typing_extensions.get_type_hints(owner, include_extras=True)
    except NameError:  # a name that only pydantic could resolve, in the function around the class
        return {}
    fields = dataclasses.fields(owner) if dataclasses.is_dataclass(owner) else ()
    defaults = {field.name: field.default for field in fields}
    return {name: _hint_member(owner, hint, defaults.get(name)) for name, hint in hints.items()}


def _info_member(owner: Any, name: str, info: FieldInfo) -> _Member:  # a model or a dataclass of pydantic's
    decorators = owner.__pydantic_decorators__
    dumps = any(_is_about(found.info, name) for found in decorators.field_serializers.values())
    validators = (found.info for found in decorators.field_validators.values() if found.info.mode != "after")
    loads = any(_is_about(info, name) for info in validators)
    annotation: object = dataclasses.InitVar[Any] if getattr(info, "init_var", False) else info.annotation
    return _Member(annotation, tuple(info.metadata), _is_excluded(info), dumps, loads)


def _is_about(decorator: Any, name: str) -> bool:  # pydantic has no public type for what a decorator says
    return name in decorator.fields or "*" in decorator.fields


def _hint_member(owner: type, hint: object, default: object) -> _Member:
    base, metadata = _unannotated(hint)
    excluded = any(_is_excluded(item) for item in (*metadata, default))
    return _Member(base, metadata, excluded and not issubclass(owner, tuple))


def _is_excluded(item: object) -> bool:
    return isinstance(item, FieldInfo) and bool(item.exclude or getattr(item, "exclude_if", None))


def _unannotated(annotation: object) -> tuple[object, tuple[object, ...]]:
    """Split ``Annotated[X, a, b]`` into X and (a, b), below ``Required`` and its like."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in _QUALIFIERS:
        return _unannotated(args[0])
    return (args[0], args[1:]) if origin is typing.Annotated else (annotation, ())


def _member_findings(member: _Member, seen: set[object]) -> _Findings:
    if member.excluded:
        yield _Finding("left out of dumps, so it would be lost: drop exclude=, or use a private attribute")
        return
    found = _annotated_findings(member.annotation, member.metadata, seen)
    yield from _distrusted(found, member.dumps, member.loads)


def _annotated_findings(base: object, metadata: Iterable[object], seen: set[object]) -> _Findings:
    dumps = loads = False
    for item in metadata:
        marker = item if isinstance(item, type) else type(item)
        if marker is pydantic.ImportString:
            yield _Finding(_IMPORT)
            return
        if marker is pydantic.SkipValidation and not _is_json(base):
            yield _Finding(f"{_name(base)} without validation, which comes back as JSON: drop SkipValidation")
            return
        users = hasattr(marker, _SCHEMA) and marker.__module__.partition(".")[0] != "pydantic"
        both = users or marker is pydantic.GetPydanticSchema
        dumps |= both or marker in _DUMPERS
        loads |= both or marker in _LOADERS
    yield from _distrusted(_findings(base, seen), dumps, loads)


def _distrusted(findings: _Findings, dumps: bool, loads: bool) -> _Findings:
    return (finding for finding in findings if not (dumps and (loads or finding.dump_only)))


def _findings(annotation: object, seen: set[object]) -> _Findings:
    """What doesn't survive a JSON round trip in a value of this type; silent about what it doesn't know."""
    base, metadata = _unannotated(annotation)
    origin = typing.get_origin(base) or base
    if metadata:
        yield from _annotated_findings(base, metadata, seen)
    elif isinstance(base, dataclasses.InitVar):
        yield _Finding("an InitVar, which dumps leave out: make it a field")
    elif isinstance(origin, ALIASES):
        if origin not in seen:  # it may be recursive
            seen.add(origin)
            yield from _findings(alias_value(origin), seen)
        yield from _inside(typing.get_args(base), seen)
    elif origin is typing.Literal:
        yield from _literal_findings(typing.get_args(base))
    elif origin in _UNIONS:
        yield from _inside(typing.get_args(base), seen)
    elif isinstance(base, typing.NewType):
        yield from _findings(base.__supertype__, seen)
    elif isinstance(origin, type):
        yield from _class_findings(origin, base, seen)


def _inside(annotations: Iterable[object], seen: set[object]) -> _Findings:
    for annotation in annotations:
        for finding in _findings(annotation, seen):
            yield finding if finding.at else dataclasses.replace(finding, holds=True)


def _class_findings(cls: type, annotation: object, seen: set[object]) -> _Findings:
    args = tuple(arg for arg in typing.get_args(annotation) if arg is not Ellipsis)
    if text := _refusal(cls, annotation):
        yield _Finding(text, dump_only=issubclass(cls, _SECRETS))
    elif cls in _COLLECTIONS or cls in _MAPPINGS:
        keys = list(_key_findings(args[0], _name(annotation))) if cls in _MAPPINGS and args else []
        yield from keys
        yield from _inside(args[len(keys) :], seen)
    elif issubclass(cls, Enum):
        yield from _enum_findings(cls)
    elif _has_fields(cls):
        yield from _owner_findings(cls, seen)
        yield from _inside(args, seen)
    elif not _has_schema(cls):  # type: ignore[arg-type] # mypy takes the hash of a class for its instances'
        cure = "annotate it with a validator and a serializer, or use a model"
        yield _Finding(f"{_name(annotation)}, which pydantic can't read from JSON: {cure}")


def _refusal(cls: type, annotation: object) -> str:
    if issubclass(cls, _SECRETS):
        return f"a {cls.__name__}, which JSON can't carry: it is dumped as asterisks; pass the secret's name"
    if cls in _ONE_PASS:
        return f"{_name(annotation)}, which can be read only once: use list or Sequence"
    if cls in _CODE or issubclass(cls, type):
        return f"{_name(annotation)}, which JSON can't carry: pass a name, and look it up in the task"
    if cls is pydantic.ImportString:
        return _IMPORT
    if cls is re.Pattern and typing.get_args(annotation) == (bytes,):
        return "a pattern of bytes, which JSON doesn't give back: use Pattern[str]"
    return ""


def _has_fields(cls: type) -> bool:
    if issubclass(cls, tuple):
        return hasattr(cls, "_fields")
    if hasattr(cls, "__pydantic_fields__") or typing_extensions.is_typeddict(cls):
        return True
    return dataclasses.is_dataclass(cls) and not hasattr(cls, _SCHEMA)


def _owner_findings(owner: type, seen: set[object]) -> _Findings:
    """The findings in a nested model, at its fields. A model is looked into once, as it may be recursive."""
    if owner in seen:
        return
    seen.add(owner)
    dumps = loads = False
    if decorators := getattr(owner, "__pydantic_decorators__", None):
        dumps = bool(decorators.model_serializers)
        loads = any(found.info.mode != "after" for found in decorators.model_validators.values())
    for name, member in _members(owner).items():
        for finding in _distrusted(_member_findings(member, seen), dumps, loads):
            yield finding if finding.at else dataclasses.replace(finding, at=f"{owner.__name__}.{name}")


@cache
def _has_schema(cls: type[object]) -> bool:
    try:
        return hasattr(cls, _SCHEMA) or bool(TypeAdapter(cls))
    except PydanticSchemaGenerationError:
        return False


def _is_json(annotation: object) -> bool:
    """Whether a value of this type is what plain JSON gives back."""
    if annotation in _PLAIN:
        return True
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    return origin in (list, dict, *_UNIONS) and all(map(_is_json, args))


def _literal_findings(values: tuple[object, ...]) -> _Findings:
    odd = [value for value in values if value is not None and not isinstance(value, str | int)]
    if odd and isinstance(odd[0], Enum):
        yield _Finding(f"Literal[{odd[0]}], which JSON doesn't give back: mix str into the enum")
    elif odd:
        yield _Finding(f"Literal[{odd[0]!r}], which JSON doesn't give back: use str")


def _enum_findings(cls: type[Enum]) -> _Findings:
    odd = [member for member in cls if not isinstance(member.value, _JSON)]
    if odd:
        yield _Finding(f"{cls.__name__}, whose {odd[0]} JSON doesn't give back: give its members str values")
    elif not len(cls):
        yield _Finding(f"{cls.__name__}, which JSON doesn't give back: name the enum that is meant")


def _key_findings(key: object, mapping: str) -> _Findings:
    """The one thing, if any, that keys lose: JSON has only text for them, and pydantic reads back what it can."""
    kinds = list(_kinds(key))
    lost = [kind for kind in kinds if not _is_key(kind)]
    if lost:
        cure = "use str keys, or a list of pairs"
        yield _Finding(f"{mapping}, whose {_name(lost[0])} keys become text that doesn't come back: {cure}")
    elif str in kinds and not all(map(_is_text, kinds)):
        yield _Finding(f"{mapping}, whose keys would all come back as str: use keys of one type")


def _kinds(key: object) -> Iterator[object]:
    """The members of a key's union, each a class or a Literal."""
    base, _ = _unannotated(key)
    origin = typing.get_origin(base) or base
    if isinstance(origin, ALIASES):
        yield from _kinds(alias_value(origin))
    elif isinstance(base, typing.NewType):
        yield from _kinds(base.__supertype__)
    elif origin in _UNIONS:
        for member in typing.get_args(base):
            yield from _kinds(member)
    else:
        yield base if origin is typing.Literal else origin


def _is_text(kind: object) -> bool:
    return issubclass(kind, str) if isinstance(kind, type) else _are(typing.get_args(kind), str)


def _is_key(kind: object) -> bool:
    if not isinstance(kind, type):
        return kind is not None and _are(typing.get_args(kind), str | bool)
    if issubclass(kind, Enum):
        plain = issubclass(kind, str | int | float) or _are((one.value for one in kind), str | bool)
        return plain and not issubclass(kind, Flag)
    return issubclass(kind, str | bytes) or not (issubclass(kind, _NOT_KEYS) or _has_fields(kind))


def _are(values: Iterable[object], kinds: type | types.UnionType) -> bool:
    return all(isinstance(value, kinds) for value in values)


def _name(annotation: object) -> str:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return "None" if annotation is types.NoneType else annotation.__name__
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(annotation)).replace("NoneType", "None")
