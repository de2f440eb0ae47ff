"""Whether a value of one annotation may be read as another, as mypy would say; and what mypy would call it.

It does not know fields, rows or tasks, and it doesn't judge what it has no rule for: an annotation that it doesn't
understand fits everything, and everything fits a structural type (a protocol, ``Iterable``, ``Hashable``) that it
doesn't inherit from. So it may miss an error that mypy has, but never has one that mypy hasn't.
"""

from __future__ import annotations

import re
import types
import typing
from collections import ChainMap, Counter, OrderedDict, abc, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any, Final, TypeVar

import pydantic
import typing_extensions

from cloaca.algebra.models import ALIASES, alias_value, bind


def assignable(provided: object, wanted: object) -> bool:
    """Return whether a value annotated as ``provided`` may be used where ``wanted`` is annotated.

    ``Any`` fits both ways; an int is a float; lists, dicts and sets are invariant, but sequences, frozen sets,
    tuples and the values of mappings covariant; a ``NewType`` fits its base, not the other way round; metadata in
    ``Annotated`` is not compared.

    >>> assignable(int, float), assignable(list[int], list[float]), assignable(list[int], typing.Sequence[float])
    (True, False, True)
    """
    try:
        hash((provided, wanted))
    except TypeError:  # metadata may be anything
        return _fits(provided, wanted, ())
    return _cached_fits(provided, wanted)


def show(annotation: object) -> str:
    """Return ``annotation`` as mypy prints it: without modules, aliases expanded, ``None`` last in a union.

    >>> show(typing.Optional[int]), show(typing.Dict[str, typing.Annotated[int, "in cents"]])
    ('int | None', 'dict[str, int]')
    """
    bare = _bare(annotation)
    if _is_recursive(bare):
        return _with_args(_generic(bare).__name__, typing.get_args(bare))
    known = _known(bare)
    if _options(known):
        return _shown_union(known)
    if _is_literal(known):
        return f"Literal[{_shown_value(typing.get_args(known)[0])}]"
    if known is Any or isinstance(known, typing.NewType):
        return _shown_other(bare) if known is Any else known.__name__
    return _shown_class(_instance(known))


def element_of(annotation: object) -> object | None:
    """Return the model of which ``annotation`` is a list, None if it is no list of models.

    What JSON keeps as a list counts: ``list``, ``Sequence`` and ``tuple[Model, ...]``.

    >>> class Page(pydantic.BaseModel): ...
    >>> element_of(list[Page]) is Page, element_of(typing.Sequence[Page]) is Page, element_of(list[int])
    (True, True, None)
    """
    known = _known(_bare(annotation))
    if _options(known) or not isinstance(_generic(known), type):
        return None
    instance = _instance(known)
    if instance.cls not in _LISTS or instance.args[1:] != ((...,) if instance.cls is tuple else ()):
        return None
    element = _known(_bare(instance.args[0]))
    return element if isinstance(element, type) and _is_model(element) else None


def list_of(model: object | None, optional: bool) -> object:
    """Return the annotation of a list of a model, with ``optional`` of the model or None; of None, of anything."""
    if model is None:
        return list[Any]
    return list[model | None] if optional else list[model]  # type: ignore[valid-type]  # a class


def _is_model(element: type) -> bool:
    return issubclass(element, pydantic.BaseModel) and element is not pydantic.BaseModel


_Assumed = tuple[tuple[object, object], ...]


@lru_cache(maxsize=16384)
def _cached_fits(provided: object, wanted: object) -> bool:
    return _fits(provided, wanted, ())


def _fits(provided: object, wanted: object, assumed: _Assumed) -> bool:
    """Compare any two annotations. ``assumed``: the recursive pairs under comparison, which are taken to fit."""
    provided, wanted = _bare(provided), _bare(wanted)
    if _may_recur(provided) or _may_recur(wanted):
        if (provided, wanted) in assumed or len(assumed) > _DEEPEST:
            return True
        assumed = (*assumed, (provided, wanted))
    left, right = _known(provided), _known(wanted)
    if left is Any or right is Any or right is object or left is typing.Never:
        return True
    if arms := _options(left):
        return all(_fits(arm, right, assumed) for arm in arms)
    if options := _options(right):
        return any(_fits(left, option, assumed) for option in options) or _is_spelled_out(left, right)
    if isinstance(left, type) and Any in left.__mro__:
        return right is not types.NoneType
    if isinstance(left, typing.NewType):
        return left is right or _fits(left.__supertype__, right, assumed)
    if _is_literal(right):
        return left == right
    if _is_literal(left):
        return _fits(type(typing.get_args(left)[0]), right, assumed)
    if right is typing.Never or isinstance(right, typing.NewType):
        return False
    return _instance_fits(_instance(left), _instance(right), assumed)


def _options(annotation: object) -> tuple[object, ...]:
    """The arms of a union or of a Literal with several values; ``()`` for anything else."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return tuple(typing.Literal[value] for value in args) if len(args) > 1 else ()
    return args if origin in _UNIONS else ()


def _is_literal(annotation: object) -> bool:
    return typing.get_origin(annotation) is typing.Literal


def _is_spelled_out(left: object, union: object) -> bool:
    """Whether ``left`` is bool or an enum, and ``union`` has each of its members as a literal."""
    values: tuple[object, ...]
    if left is bool:
        values = (False, True)
    elif isinstance(left, type) and issubclass(left, Enum):
        values = tuple(left)
    else:
        return False
    literals = [typing.get_args(arm)[0] for arm in _flat(union) if _is_literal(arm)]
    return bool(values) and all(any(value is literal for literal in literals) for value in values)


def _flat(annotation: object) -> Iterator[object]:
    """The arms of a union, and of the unions in it."""
    known = _known(_bare(annotation))
    options = _options(known)
    for option in options:
        yield from _flat(option)
    if not options:
        yield known


def _generic(annotation: object) -> Any:  # a class, an alias or a special form of typing, which has no type
    return typing.get_origin(annotation) or annotation


def _bare(annotation: object) -> object:
    """Take off ``Annotated``, ``Required`` and their like."""
    while typing.get_origin(annotation) in _WRAPPERS:
        annotation = typing.get_args(annotation)[0]
    return annotation


def _known(annotation: object) -> object:
    """Expand aliases; ``Any`` for what there is no rule for."""
    while isinstance(_generic(annotation), ALIASES):
        annotation = _bare(_expanded(annotation))
    if annotation in (None, typing.Literal[None]):
        return types.NoneType
    if isinstance(annotation, TypeVar):
        return _known(_bare(bind(annotation, {})))
    if isinstance(annotation, type) and annotation in _PYDANTIC:
        return _PYDANTIC[annotation]
    if annotation in (typing.LiteralString, typing_extensions.LiteralString):
        return str
    if annotation in (typing.Never, typing.NoReturn, typing_extensions.Never):
        return typing.Never
    origin = _generic(annotation)
    understood = origin in (*_UNIONS, typing.Literal) or isinstance(origin, type | typing.NewType)
    return annotation if understood and origin is not abc.Callable else Any


def _expanded(alias: object) -> object:
    origin = _generic(alias)
    parameters = origin.__type_params__
    return bind(alias_value(origin), dict(zip(parameters, typing.get_args(alias), strict=False)))


def _may_recur(annotation: object) -> bool:
    origin = _generic(annotation)
    return isinstance(origin, ALIASES) or typing_extensions.is_typeddict(origin)


def _is_recursive(annotation: object) -> bool:
    """Whether this is an alias whose value mentions it."""
    alias = _generic(annotation)
    return isinstance(alias, ALIASES) and _mentions(alias_value(alias), alias, set())


def _mentions(annotation: object, alias: object, seen: set[object]) -> bool:
    origin = _generic(_bare(annotation))
    if origin is alias:
        return True
    if isinstance(origin, ALIASES) and origin not in seen:
        seen.add(origin)
        return _mentions(alias_value(origin), alias, seen)
    return any(_mentions(arg, alias, seen) for arg in typing.get_args(annotation))


@dataclass(frozen=True, slots=True)
class _Instance:
    """A class and the arguments of its type parameters. Those of a tuple are its items, or an item and ``...``."""

    cls: type
    args: tuple[object, ...]


def _instance(annotation: object) -> _Instance:
    """Read a class, ``list[int]``, ``typing.List``, or a generic model's ``Page[Order]``, which is a class itself."""
    args = typing.get_args(annotation)
    cls: type = _generic(annotation)
    model = getattr(cls, "__pydantic_generic_metadata__", None)
    if model and model["origin"]:
        return _Instance(model["origin"], model["args"])
    if cls is tuple:
        return _Instance(tuple, (Any, ...) if annotation in (tuple, typing.Tuple) else args)  # noqa: UP006 - the bare alias
    return _Instance(cls, args or tuple(bind(parameter, {}) for parameter in _parameters(cls)))


def _parameters(cls: type) -> tuple[object, ...]:
    declared: tuple[object, ...] = getattr(cls, "__parameters__", ())
    return _PARAMETERS.get(cls, declared)


def _instance_fits(left: _Instance, right: _Instance, assumed: _Assumed) -> bool:
    if typing_extensions.is_typeddict(right.cls):
        return typing_extensions.is_typeddict(left.cls) and _typed_dict_fits(left, right, assumed)
    promoted = [_PROMOTIONS[base] for base in left.cls.__mro__ if base in _PROMOTIONS]
    if any(_fits(wider, right.cls, assumed) for wider in promoted):
        return True
    base = _as_base(left, right.cls)
    if base is None:
        metaclass = left.cls is type and issubclass(right.cls, type)
        return metaclass or _is_structural(right.cls) or _is_registered(left.cls, right.cls)
    if right.cls is tuple:
        return _tuple_fits(base.args, right.args, assumed)
    return _args_fit(base, right, assumed)


def _as_base(instance: _Instance, cls: type) -> _Instance | None:
    """``instance`` as the base class ``cls`` that it inherits from, with the arguments that it has as such."""
    if instance.cls is cls:
        return instance
    bases = (_as_base(base, cls) for base in _bases(instance))
    return next((base for base in bases if base is not None), None)


def _bases(instance: _Instance) -> Iterator[_Instance]:
    """The base classes, as typeshed has them where Python's own say less."""
    cls, args = instance.cls, instance.args
    if cls is tuple:
        yield _Instance(abc.Sequence, (_item(args),))
        return
    bound = dict(zip(_parameters(cls), args, strict=False))
    for base, base_args in _BASES.get(cls, {}).items():
        yield _Instance(base, tuple(bind(arg, bound) for arg in base_args))
    for declared in () if cls in _BASES else _declared_bases(cls):
        if _generic(declared) not in _MARKERS:
            yield _instance(_known(bind(declared, bound)))


def _declared_bases(cls: type) -> tuple[object, ...]:
    if typing_extensions.is_typeddict(cls):
        return (Mapping[str, object],)
    if tuple in cls.__bases__ and hasattr(cls, "_fields"):
        hints = _hints(cls) or {}
        items = tuple(hints.get(name, Any) for name in cls._fields)
        return (tuple[items], *typing_extensions.get_original_bases(cls))  # type: ignore[valid-type] # run-time items
    return typing_extensions.get_original_bases(cls)


def _hints(cls: type) -> Mapping[str, object] | None:
    try:
        return typing_extensions.get_type_hints(cls, include_extras=True)
    except NameError:  # a name that isn't defined yet, or only in the function around the class
        return None


def _is_structural(cls: type) -> bool:
    """A protocol, or a class of the standard library that decides by itself what is a subclass, as protocols do."""
    return bool(getattr(cls, "_is_protocol", False)) or "__subclasshook__" in vars(cls)


def _is_registered(cls: type, base: type) -> bool:
    """Whether Python says that ``cls`` is a collection, though it doesn't inherit: typeshed may say that it does."""
    return base.__module__ == "collections.abc" and issubclass(cls, base) and not typing_extensions.is_typeddict(cls)


def _args_fit(left: _Instance, right: _Instance, assumed: _Assumed) -> bool:
    parameters = _parameters(right.cls)
    if len(parameters) != len(right.args) or len(left.args) != len(right.args):
        return True
    trios = zip(parameters, left.args, right.args, strict=True)
    return all(_arg_fits(right.cls, parameter, one, other, assumed) for parameter, one, other in trios)


def _arg_fits(cls: type, parameter: object, left: object, right: object, assumed: _Assumed) -> bool:
    """Compare by the variance of a parameter of ``cls``. One that isn't known may be either."""
    if not isinstance(parameter, TypeVar) or (_is_inferred(parameter) and not _is_assigned(cls, parameter)):
        return _fits(left, right, assumed) or _fits(right, left, assumed)
    there = parameter.__contravariant__ or _fits(left, right, assumed)
    return there and (parameter.__covariant__ or _fits(right, left, assumed))


def _is_inferred(parameter: TypeVar) -> bool:
    """Whether type checkers infer the variance: ``class Page[T](BaseModel)``, from Python 3.12 on."""
    return bool(getattr(parameter, "__infer_variance__", False))


def _is_assigned(cls: type, parameter: TypeVar) -> bool:
    """Whether ``cls`` is a model with an assignable field of this type: it makes the parameter invariant."""
    if not issubclass(cls, pydantic.BaseModel) or cls.model_config.get("frozen"):
        return False
    fields = (info.annotation for info in cls.model_fields.values() if not info.frozen)
    return any(bind(field, {parameter: int}) != bind(field, {parameter: str}) for field in fields)


def _tuple_fits(left: tuple[object, ...], right: tuple[object, ...], assumed: _Assumed) -> bool:
    if any(_is_unpacked(item) for item in (*left, *right)):
        return True
    if right[1:] == (...,):
        return all(_fits(item, right[0], assumed) for item in left if item is not ...)
    if left[1:] == (...,):
        return _known(_bare(left[0])) is Any
    return len(left) == len(right) and all(_fits(one, other, assumed) for one, other in zip(left, right, strict=True))


def _is_unpacked(item: object) -> bool:
    return typing.get_origin(item) in _UNPACKS or bool(getattr(item, "__unpacked__", False))


def _item(items: tuple[object, ...]) -> object:
    """The type of any item of a tuple."""
    if any(_is_unpacked(item) for item in items):
        return Any
    items = tuple(item for item in items if item is not ...)
    return typing.Union[items] if items else typing.Never  # noqa: UP007 - made of run-time items


@dataclass(frozen=True, slots=True)
class _Entry:
    """A key of a TypedDict."""

    type: object
    required: bool
    read_only: bool


def _typed_dict_fits(left: _Instance, right: _Instance, assumed: _Assumed) -> bool:
    """Every key of ``right`` is one of ``left``; one that may be set or deleted is so in both, with the same type."""
    ours, theirs = _keys(left), _keys(right)
    if ours is None or theirs is None:
        return True
    return all(_key_fits(ours.get(name), key, assumed) for name, key in theirs.items())


def _key_fits(left: _Entry | None, right: _Entry, assumed: _Assumed) -> bool:
    if left is None or (right.required and not left.required):
        return False
    if right.read_only:
        return _fits(left.type, right.type, assumed)
    same = _fits(left.type, right.type, assumed) and _fits(right.type, left.type, assumed)
    return same and not left.read_only and left.required == right.required


def _keys(instance: _Instance) -> Mapping[str, _Entry] | None:
    bound = dict(zip(_parameters(instance.cls), instance.args, strict=False))
    optional: frozenset[str] = getattr(instance.cls, "__optional_keys__", frozenset())
    hints = _hints(instance.cls)
    return None if hints is None else {name: _entry(hint, bound, name in optional) for name, hint in hints.items()}


def _entry(hint: object, bound: Mapping[object, object], optional: bool) -> _Entry:
    read_only = False
    while (origin := typing.get_origin(hint)) in _WRAPPERS:
        optional = (optional or origin is typing.NotRequired) and origin is not typing.Required
        read_only = read_only or origin in _READ_ONLY
        hint = typing.get_args(hint)[0]
    return _Entry(bind(hint, bound), not optional, read_only)


def _shown_union(union: object) -> str:
    """Several literals are one, and in front; ``None`` is at the end."""
    arms = list(dict.fromkeys(_shown_arms(union)))
    values = [typing.get_args(arm)[0] for arm in arms if _is_literal(arm)]
    shown = [show(arm) for arm in arms if arm is not types.NoneType and not (len(values) > 1 and _is_literal(arm))]
    if len(values) > 1:
        shown.insert(0, f"Literal[{', '.join(map(_shown_value, values))}]")
    return " | ".join([*shown, "None"] if types.NoneType in arms else shown)


def _shown_arms(annotation: object) -> Iterator[object]:
    """The arms of a union as ``_flat`` has them, but for recursive aliases, which go by their names."""
    bare = _bare(annotation)
    options = () if _is_recursive(bare) else _options(_known(bare))
    for option in options:
        yield from _shown_arms(option)
    if not options:
        yield bare if _is_recursive(bare) else _known(bare)


def _shown_value(value: object) -> str:
    return f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)


def _shown_class(instance: _Instance) -> str:
    cls, args = instance.cls, instance.args
    if cls is types.NoneType:
        return "None"
    if cls is tuple:
        return f"tuple[{', '.join('...' if item is ... else show(item) for item in args) or '()'}]"
    return _with_args("AbstractSet" if cls is abc.Set else cls.__name__, args)


def _with_args(name: str, args: tuple[object, ...]) -> str:
    return f"{name}[{', '.join(map(show, args))}]" if args else name


def _shown_other(annotation: object) -> str:
    """What there is no rule for, as Python prints it."""
    if isinstance(annotation, TypeVar):
        return "Any"
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(getattr(annotation, "__forward_arg__", annotation)))


_DEEPEST: Final = 50
_MARKERS: Final[tuple[object, ...]] = (
    object,
    typing.Generic,
    typing.Protocol,
    typing_extensions.Protocol,
    typing.NamedTuple,
)
_LISTS: Final = (list, tuple, abc.Sequence)
_UNIONS: Final = (typing.Union, types.UnionType)
_UNPACKS: Final = (typing.Unpack, typing_extensions.Unpack)
_READ_ONLY: Final = (typing_extensions.ReadOnly, getattr(typing, "ReadOnly", typing_extensions.ReadOnly))
_WRAPPERS: Final = (
    *(typing.Annotated, typing.Required, typing.NotRequired, typing.Final, typing.ClassVar),
    *_READ_ONLY,
)
_PROMOTIONS: Final[Mapping[type, type]] = {int: float, float: complex}

# Classes of pydantic's that type checkers are told to take for something else.
_PYDANTIC: Final[Mapping[object, object]] = {
    pydantic.EmailStr: str,
    pydantic.ImportString: Any,
    pydantic.Json: Any,
    pydantic.PastDate: date,
    pydantic.FutureDate: date,
    pydantic.PastDatetime: datetime,
    pydantic.FutureDatetime: datetime,
    pydantic.AwareDatetime: datetime,
    pydantic.NaiveDatetime: datetime,
    pydantic.IPvAnyAddress: IPv4Address | IPv6Address,
    pydantic.IPvAnyInterface: IPv4Interface | IPv6Interface,
    pydantic.IPvAnyNetwork: IPv4Network | IPv6Network,
}

_Item = TypeVar("_Item")
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
_Item_co = TypeVar("_Item_co", covariant=True)
_Value_co = TypeVar("_Value_co", covariant=True)

# The type parameters of what Python defines without, and the base classes, both as in typeshed.
_PARAMETERS: Final[Mapping[type, tuple[TypeVar, ...]]] = {
    **dict.fromkeys((list, set, deque, Counter, abc.MutableSequence, abc.MutableSet, re.Pattern, re.Match), (_Item,)),
    **dict.fromkeys((abc.Iterable, abc.Iterator, abc.Reversible, abc.Container, abc.Collection), (_Item_co,)),
    **dict.fromkeys((frozenset, abc.Sequence, abc.Set, type), (_Item_co,)),
    **dict.fromkeys((dict, defaultdict, OrderedDict, ChainMap, abc.MutableMapping), (_Key, _Value)),
    abc.Mapping: (_Key, _Value_co),
}
_BASES: Final[Mapping[type, Mapping[type, tuple[object, ...]]]] = {
    list: {abc.MutableSequence: (_Item,)},
    deque: {abc.MutableSequence: (_Item,)},
    bytearray: {abc.MutableSequence: (int,)},
    abc.MutableSequence: {abc.Sequence: (_Item,)},
    str: {abc.Sequence: (str,)},
    bytes: {abc.Sequence: (int,)},
    range: {abc.Sequence: (int,)},
    memoryview: {abc.Sequence: (int,)},
    abc.Sequence: {abc.Reversible: (_Item_co,), abc.Collection: (_Item_co,)},
    set: {abc.MutableSet: (_Item,)},
    abc.MutableSet: {abc.Set: (_Item,)},
    frozenset: {abc.Set: (_Item_co,)},
    abc.Set: {abc.Collection: (_Item_co,)},
    defaultdict: {dict: (_Key, _Value)},
    OrderedDict: {dict: (_Key, _Value)},
    Counter: {dict: (_Item, int)},
    dict: {abc.MutableMapping: (_Key, _Value)},
    ChainMap: {abc.MutableMapping: (_Key, _Value)},
    abc.MutableMapping: {abc.Mapping: (_Key, _Value)},
    abc.Mapping: {abc.Collection: (_Key,)},
    abc.Collection: {abc.Iterable: (_Item_co,), abc.Container: (_Item_co,)},
    abc.Reversible: {abc.Iterable: (_Item_co,)},
    abc.Iterator: {abc.Iterable: (_Item_co,)},
}
