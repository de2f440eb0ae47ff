"""What an annotation says, without what is around it: wrappers taken off, aliases expanded, unions by their arms.

It knows one annotation at a time, and neither compares nor prints it. What it has no rule for is ``Any``.
"""

from __future__ import annotations

import types
import typing
from collections import abc
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any, Final, TypeVar

import pydantic
import typing_extensions

from cloaca.algebra.models import ALIASES, alias_value, bind

_UNIONS: Final = (typing.Union, types.UnionType)
READ_ONLY: Final = (typing_extensions.ReadOnly, getattr(typing, "ReadOnly", typing_extensions.ReadOnly))
WRAPPERS: Final = (
    *(typing.Annotated, typing.Required, typing.NotRequired, typing.Final, typing.ClassVar),
    *READ_ONLY,
)
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


def bare_of(annotation: object) -> object:
    """Take off ``Annotated``, ``Required`` and their like."""
    while typing.get_origin(annotation) in WRAPPERS:
        annotation = typing.get_args(annotation)[0]
    return annotation


def known_of(annotation: object) -> object:
    """Expand aliases; ``Any`` for what there is no rule for."""
    while isinstance(generic_of(annotation), ALIASES):
        annotation = bare_of(_expanded(annotation))
    if annotation in (None, typing.Literal[None]):
        return types.NoneType
    if isinstance(annotation, TypeVar):
        return known_of(bare_of(bind(annotation, {})))
    if isinstance(annotation, type) and annotation in _PYDANTIC:
        return _PYDANTIC[annotation]
    if annotation in (typing.LiteralString, typing_extensions.LiteralString):
        return str
    if annotation in (typing.Never, typing.NoReturn, typing_extensions.Never):
        return typing.Never
    origin = generic_of(annotation)
    understood = origin in (*_UNIONS, typing.Literal) or isinstance(origin, type | typing.NewType)
    return annotation if understood and origin is not abc.Callable else Any


def _expanded(alias: object) -> object:
    origin = generic_of(alias)
    parameters = origin.__type_params__
    return bind(alias_value(origin), dict(zip(parameters, typing.get_args(alias), strict=False)))


def generic_of(annotation: object) -> Any:  # a class, an alias or a special form of typing, which has no type
    return typing.get_origin(annotation) or annotation


def arms_of(annotation: object) -> tuple[object, ...]:
    """The arms of a union or of a Literal with several values; ``()`` for anything else."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return tuple(typing.Literal[value] for value in args) if len(args) > 1 else ()
    return args if origin in _UNIONS else ()


def is_literal(annotation: object) -> bool:
    return typing.get_origin(annotation) is typing.Literal


def flat_arms(annotation: object) -> Iterator[object]:
    """The arms of a union, and of the unions in it."""
    known = known_of(bare_of(annotation))
    options = arms_of(known)
    for option in options:
        yield from flat_arms(option)
    if not options:
        yield known


def may_recur(annotation: object) -> bool:
    origin = generic_of(annotation)
    return isinstance(origin, ALIASES) or typing_extensions.is_typeddict(origin)


def is_recursive(annotation: object) -> bool:
    """Whether this is an alias whose value mentions it."""
    alias = generic_of(annotation)
    return isinstance(alias, ALIASES) and _mentions(alias_value(alias), alias, set())


def _mentions(annotation: object, alias: object, seen: set[object]) -> bool:
    origin = generic_of(bare_of(annotation))
    if origin is alias:
        return True
    if isinstance(origin, ALIASES) and origin not in seen:
        seen.add(origin)
        return _mentions(alias_value(origin), alias, seen)
    return any(_mentions(arg, alias, seen) for arg in typing.get_args(annotation))
