"""A class with the arguments of its type parameters, and as which of its bases it may be taken, with which arguments.

It knows classes as typeshed has them, and doesn't say what fits.
"""

from __future__ import annotations

import typing
from collections import abc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import typing_extensions

from cloaca.algebra.models import bind
from cloaca.contract.annotations import generic_of, known_of
from cloaca.contract.typeshed import BASES, PARAMETERS

_MARKERS: Final[tuple[object, ...]] = (
    object,
    typing.Generic,
    typing.Protocol,
    typing_extensions.Protocol,
    typing.NamedTuple,
)
_UNPACKS: Final = (typing.Unpack, typing_extensions.Unpack)


@dataclass(frozen=True, slots=True)
class Instance:
    """A class and the arguments of its type parameters. Those of a tuple are its items, or an item and ``...``."""

    cls: type
    args: tuple[object, ...]


def instance_of(annotation: object) -> Instance:
    """Read a class, ``list[int]``, ``typing.List``, or a generic model's ``Page[Order]``, which is a class itself."""
    args = typing.get_args(annotation)
    cls: type = generic_of(annotation)
    model = getattr(cls, "__pydantic_generic_metadata__", None)
    if model and model["origin"]:
        return Instance(model["origin"], model["args"])
    if cls is tuple:
        return Instance(tuple, (Any, ...) if annotation in (tuple, typing.Tuple) else args)  # noqa: UP006 - the bare alias
    return Instance(cls, args or tuple(bind(parameter, {}) for parameter in parameters_of(cls)))


def parameters_of(cls: type) -> tuple[object, ...]:
    declared: tuple[object, ...] = getattr(cls, "__parameters__", ())
    return PARAMETERS.get(cls, declared)


def as_base(instance: Instance, cls: type) -> Instance | None:
    """``instance`` as the base class ``cls`` that it inherits from, with the arguments that it has as such."""
    if instance.cls is cls:
        return instance
    bases = (as_base(base, cls) for base in _bases(instance))
    return next((base for base in bases if base is not None), None)


def _bases(instance: Instance) -> Iterator[Instance]:
    """The base classes, as typeshed has them where Python's own say less."""
    cls, args = instance.cls, instance.args
    if cls is tuple:
        yield Instance(abc.Sequence, (_item(args),))
        return
    bound = dict(zip(parameters_of(cls), args, strict=False))
    for base, base_args in BASES.get(cls, {}).items():
        yield Instance(base, tuple(bind(arg, bound) for arg in base_args))
    for declared in () if cls in BASES else _declared_bases(cls):
        if generic_of(declared) not in _MARKERS:
            yield instance_of(known_of(bind(declared, bound)))


def _declared_bases(cls: type) -> tuple[object, ...]:
    if typing_extensions.is_typeddict(cls):
        return (Mapping[str, object],)
    if tuple in cls.__bases__ and hasattr(cls, "_fields"):
        hints = hints_of(cls) or {}
        items = tuple(hints.get(name, Any) for name in cls._fields)
        return (tuple[items], *typing_extensions.get_original_bases(cls))  # type: ignore[valid-type] # run-time items
    return typing_extensions.get_original_bases(cls)


def hints_of(cls: type) -> Mapping[str, object] | None:
    try:
        return typing_extensions.get_type_hints(cls, include_extras=True)
    except NameError:  # a name that isn't defined yet, or only in the function around the class
        return None


def is_unpacked(item: object) -> bool:
    return typing.get_origin(item) in _UNPACKS or bool(getattr(item, "__unpacked__", False))


def _item(items: tuple[object, ...]) -> object:
    """The type of any item of a tuple."""
    if any(is_unpacked(item) for item in items):
        return Any
    items = tuple(item for item in items if item is not ...)
    return typing.Union[items] if items else typing.Never  # noqa: UP007 - made of run-time items
