"""Whether a value of one annotation may be read as another, as mypy would say.

It does not know fields, rows or tasks, and it doesn't judge what it has no rule for: an annotation that it doesn't
understand fits everything, and everything fits a structural type (a protocol, ``Iterable``, ``Hashable``) that it
doesn't inherit from. So it may miss an error that mypy has, but never has one that mypy hasn't.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final, TypeVar

import pydantic
import typing_extensions

from cloaca.algebra.models import bind
from cloaca.contract.annotations import (
    READ_ONLY,
    WRAPPERS,
    arms_of,
    bare_of,
    flat_arms,
    is_literal,
    known_of,
    may_recur,
)
from cloaca.contract.instances import Instance, as_base, hints_of, instance_of, is_unpacked, parameters_of
from cloaca.contract.typeshed import PROMOTIONS

_Assumed = tuple[tuple[object, object], ...]
_DEEPEST: Final = 50


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


@lru_cache(maxsize=16384)
def _cached_fits(provided: object, wanted: object) -> bool:
    return _fits(provided, wanted, ())


def _fits(provided: object, wanted: object, assumed: _Assumed) -> bool:
    """Compare any two annotations. ``assumed``: the recursive pairs under comparison, which are taken to fit."""
    provided, wanted = bare_of(provided), bare_of(wanted)
    if may_recur(provided) or may_recur(wanted):
        if (provided, wanted) in assumed or len(assumed) > _DEEPEST:
            return True
        assumed = (*assumed, (provided, wanted))
    left, right = known_of(provided), known_of(wanted)
    if left is Any or right is Any or right is object or left is typing.Never:
        return True
    if arms := arms_of(left):
        return all(_fits(arm, right, assumed) for arm in arms)
    if options := arms_of(right):
        return any(_fits(left, option, assumed) for option in options) or _is_spelled_out(left, right)
    if isinstance(left, type) and Any in left.__mro__:
        return right is not types.NoneType
    if isinstance(left, typing.NewType):
        return left is right or _fits(left.__supertype__, right, assumed)
    if is_literal(right):
        return left == right
    if is_literal(left):
        return _fits(type(typing.get_args(left)[0]), right, assumed)
    if right is typing.Never or isinstance(right, typing.NewType):
        return False
    return _instance_fits(instance_of(left), instance_of(right), assumed)


def _is_spelled_out(left: object, union: object) -> bool:
    """Whether ``left`` is bool or an enum, and ``union`` has each of its members as a literal."""
    values: tuple[object, ...]
    if left is bool:
        values = (False, True)
    elif isinstance(left, type) and issubclass(left, Enum):
        values = tuple(left)
    else:
        return False
    literals = [typing.get_args(arm)[0] for arm in flat_arms(union) if is_literal(arm)]
    return bool(values) and all(any(value is literal for literal in literals) for value in values)


def _instance_fits(left: Instance, right: Instance, assumed: _Assumed) -> bool:
    if typing_extensions.is_typeddict(right.cls):
        return typing_extensions.is_typeddict(left.cls) and _typed_dict_fits(left, right, assumed)
    promoted = [PROMOTIONS[base] for base in left.cls.__mro__ if base in PROMOTIONS]
    if any(_fits(wider, right.cls, assumed) for wider in promoted):
        return True
    base = as_base(left, right.cls)
    if base is None:
        metaclass = left.cls is type and issubclass(right.cls, type)
        return metaclass or _is_structural(right.cls) or _is_registered(left.cls, right.cls)
    if right.cls is tuple:
        return _tuple_fits(base.args, right.args, assumed)
    return _args_fit(base, right, assumed)


def _is_structural(cls: type) -> bool:
    """A protocol, or a class of the standard library that decides by itself what is a subclass, as protocols do."""
    return bool(getattr(cls, "_is_protocol", False)) or "__subclasshook__" in vars(cls)


def _is_registered(cls: type, base: type) -> bool:
    """Whether Python says that ``cls`` is a collection, though it doesn't inherit: typeshed may say that it does."""
    return base.__module__ == "collections.abc" and issubclass(cls, base) and not typing_extensions.is_typeddict(cls)


def _args_fit(left: Instance, right: Instance, assumed: _Assumed) -> bool:
    parameters = parameters_of(right.cls)
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
    if any(is_unpacked(item) for item in (*left, *right)):
        return True
    if right[1:] == (...,):
        return all(_fits(item, right[0], assumed) for item in left if item is not ...)
    if left[1:] == (...,):
        return known_of(bare_of(left[0])) is Any
    return len(left) == len(right) and all(_fits(one, other, assumed) for one, other in zip(left, right, strict=True))


@dataclass(frozen=True, slots=True)
class _Entry:
    """A key of a TypedDict."""

    type: object
    required: bool
    read_only: bool


def _typed_dict_fits(left: Instance, right: Instance, assumed: _Assumed) -> bool:
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


def _keys(instance: Instance) -> Mapping[str, _Entry] | None:
    bound = dict(zip(parameters_of(instance.cls), instance.args, strict=False))
    optional: frozenset[str] = getattr(instance.cls, "__optional_keys__", frozenset())
    hints = hints_of(instance.cls)
    return None if hints is None else {name: _entry(hint, bound, name in optional) for name, hint in hints.items()}


def _entry(hint: object, bound: Mapping[object, object], optional: bool) -> _Entry:
    read_only = False
    while (origin := typing.get_origin(hint)) in WRAPPERS:
        optional = (optional or origin is typing.NotRequired) and origin is not typing.Required
        read_only = read_only or origin in READ_ONLY
        hint = typing.get_args(hint)[0]
    return _Entry(bind(hint, bound), not optional, read_only)
