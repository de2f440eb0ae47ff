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
from functools import cache, lru_cache, partial
from typing import Any, Final

import pydantic
import typing_extensions
from pydantic import BaseModel, RootModel, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cloaca.algebra import survival
from cloaca.algebra.rows import Field, ModelProblem, Row

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
    field "token" is a SecretStr, which JSON can't carry: it is dumped as asterisks; use cloaca.Secret, a name
    """
    return _model_problems(model)


@lru_cache(maxsize=4096)
def _model_problems(model: Model) -> tuple[ModelProblem, ...]:
    if issubclass(model, RootModel):
        return (survival.root_model_problem(model.__name__),)
    try:
        _complete(model)
    except PydanticSchemaGenerationError as error:
        return (ModelProblem("", f"pydantic can't build {model.__name__}: {error.message}"),)
    return tuple(survival.survival_problems(model, _members(model), _ANNOTATIONS))


def model_name(model: type) -> str:
    """Return what messages call a class: its name, a generic model's with arguments as they are written.

    >>> T = typing.TypeVar("T")
    >>> class Page(BaseModel, typing.Generic[T]): ...
    >>> model_name(Page[typing.Optional[int]])
    'Page[int | None]'
    """
    made = getattr(model, "__pydantic_generic_metadata__", None)
    if not made or not made["origin"]:
        return model.__name__
    return f"{made['origin'].__name__}[{', '.join(map(_argument_name, made['args']))}]"


def _argument_name(argument: object) -> str:
    base, _ = _unannotated(argument)
    if typing.get_origin(base) in _UNIONS:
        names = [_argument_name(each) for each in typing.get_args(base)]
        return " | ".join(sorted(names, key=lambda name: name == "None"))
    return getattr(base, "__name__", _name(base)) if isinstance(base, typing.NewType) else _name(base)


class RuntimeModels:
    """How a running program reads models: as pydantic's classes."""

    def is_model(self, hint: object) -> bool:
        return isinstance(hint, type) and issubclass(hint, BaseModel) and hint is not BaseModel

    def name(self, model: Model) -> str:
        return model_name(model)

    def row(self, model: Model) -> Row:
        return row_of(model)

    def problems(self, model: Model) -> tuple[ModelProblem, ...]:
        return model_problems(model)


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
_MARKS: Final[Mapping[object, survival.Mark]] = {
    pydantic.ImportString: survival.Mark.IMPORTED,
    pydantic.SkipValidation: survival.Mark.UNVALIDATED,
    pydantic.GetPydanticSchema: survival.Mark.OWN,
    **dict.fromkeys((pydantic.PlainSerializer, pydantic.WrapSerializer), survival.Mark.DUMPED),
    **dict.fromkeys((pydantic.BeforeValidator, pydantic.PlainValidator, pydantic.WrapValidator), survival.Mark.LOADED),
}


class _Annotations:
    """The shapes of annotations."""

    def shape(self, annotation: object) -> survival.Shape:
        base, metadata = _unannotated(annotation)
        origin, args = typing.get_origin(base) or base, typing.get_args(base)
        if metadata:
            return survival.Marked(base, _marks(metadata))
        if isinstance(base, dataclasses.InitVar):
            return survival.Lost.INIT_VAR
        if isinstance(origin, ALIASES):
            return survival.Alias(origin, partial(alias_value, origin), args)
        if origin is typing.Literal:
            return survival.Literals(tuple(_literal_value(value) for value in args))
        if origin in _UNIONS:
            return survival.Inside(args)
        if isinstance(base, typing.NewType):
            return survival.Renamed(base.__supertype__)
        return _class_shape(origin, base) if isinstance(origin, type) else survival.Plain()

    def keys(self, annotation: object) -> Iterator[survival.Key]:
        for kind in _kinds(annotation):
            yield survival.Key(_name(kind), _is_key(kind), _is_text(kind), kind is str)

    def is_json(self, annotation: object) -> bool:
        if annotation in _PLAIN:
            return True
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        return origin in (list, dict, *_UNIONS) and all(map(self.is_json, args))

    def shown(self, annotation: object) -> str:
        return _name(annotation)


_ANNOTATIONS: Final = _Annotations()


def _marks(metadata: Iterable[object]) -> tuple[survival.Mark, ...]:
    marks = []
    for item in metadata:
        marker = item if isinstance(item, type) else type(item)
        users = hasattr(marker, _SCHEMA) and marker.__module__.partition(".")[0] != "pydantic"
        mark = survival.Mark.OWN if users else _MARKS.get(marker)
        if mark is not None:
            marks.append(mark)
    return tuple(marks)


def _literal_value(value: object) -> survival.Value:
    is_member = isinstance(value, Enum)
    return survival.Value(str(value) if is_member else repr(value), isinstance(value, str | int | None), is_member)


def _class_shape(cls: type, annotation: object) -> survival.Shape:
    args = tuple(arg for arg in typing.get_args(annotation) if arg is not Ellipsis)
    if lost := _lost(cls, args):
        return lost
    if cls in _COLLECTIONS:
        return survival.Inside(args)
    if cls in _MAPPINGS:
        return survival.Keyed(args)
    if issubclass(cls, Enum):
        members = tuple(survival.Value(str(member), isinstance(member.value, _JSON)) for member in cls)
        return survival.Enumeration(members)
    if _has_fields(cls):
        return _owner(cls, args)
    return survival.Plain() if _has_schema(cls) else survival.Lost.ARBITRARY  # type: ignore[arg-type] # mypy takes the hash of a class for its instances'


def _lost(cls: type, args: tuple[object, ...]) -> survival.Secret | survival.Lost | None:
    if issubclass(cls, _SECRETS):
        return survival.Secret(cls.__name__)
    if cls in _ONE_PASS:
        return survival.Lost.ONE_PASS
    if cls in _CODE or issubclass(cls, type):
        return survival.Lost.CODE
    if cls is pydantic.ImportString:
        return survival.Lost.IMPORTED
    return survival.Lost.BYTES_PATTERN if cls is re.Pattern and args == (bytes,) else None


def _owner(owner: type, args: tuple[object, ...]) -> survival.Owner:
    dumps = loads = False
    if decorators := getattr(owner, "__pydantic_decorators__", None):
        dumps = bool(decorators.model_serializers)
        loads = any(found.info.mode != "after" for found in decorators.model_validators.values())
    return survival.Owner(owner, owner.__name__, partial(_members, owner), dumps, loads, args)


def _members(owner: type) -> Mapping[str, survival.Member]:
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
    return {
        name: _hint_member(owner, hint, defaults.get(name))
        for name, hint in hints.items()
        if typing.ClassVar not in (hint, typing.get_origin(hint))
    }


def _info_member(owner: Any, name: str, info: FieldInfo) -> survival.Member:  # a model or a dataclass of pydantic's
    decorators = owner.__pydantic_decorators__
    dumps = any(_is_about(found.info, name) for found in decorators.field_serializers.values())
    validators = (found.info for found in decorators.field_validators.values() if found.info.mode != "after")
    loads = any(_is_about(info, name) for info in validators)
    annotation: object = dataclasses.InitVar[Any] if getattr(info, "init_var", False) else info.annotation
    return survival.Member(annotation, _marks(info.metadata), _is_excluded(info), dumps, loads)


def _is_about(decorator: Any, name: str) -> bool:  # pydantic has no public type for what a decorator says
    return name in decorator.fields or "*" in decorator.fields


def _hint_member(owner: type, hint: object, default: object) -> survival.Member:
    base, metadata = _unannotated(hint)
    excluded = any(_is_excluded(item) for item in (*metadata, default))
    return survival.Member(base, _marks(metadata), excluded and not issubclass(owner, tuple))


def _is_excluded(item: object) -> bool:
    return isinstance(item, FieldInfo) and bool(item.exclude or getattr(item, "exclude_if", None))


def _unannotated(annotation: object) -> tuple[object, tuple[object, ...]]:
    """Split ``Annotated[X, a, b]`` into X and (a, b), below ``Required`` and its like."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in _QUALIFIERS:
        return _unannotated(args[0])
    return (args[0], args[1:]) if origin is typing.Annotated else (annotation, ())


def _has_fields(cls: type) -> bool:
    if issubclass(cls, tuple):
        return hasattr(cls, "_fields")
    if hasattr(cls, "__pydantic_fields__") or typing_extensions.is_typeddict(cls):
        return True
    return dataclasses.is_dataclass(cls) and not hasattr(cls, _SCHEMA)


@cache
def _has_schema(cls: type[object]) -> bool:
    try:
        return hasattr(cls, _SCHEMA) or bool(TypeAdapter(cls))
    except PydanticSchemaGenerationError:
        return False


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
    text = re.sub(r"(?<!<)\b(?:\w+\.)+(?=\w)", "", str(annotation)).replace("NoneType", "None")
    return re.sub(r"<(\w+\.\w+): [^<>]*>", r"\1", text)  # Literal[Color.RED], not Literal[<Color.RED: 1>]
