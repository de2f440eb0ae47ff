"""How mypy prints an annotation, so that what is said when a program runs is what is said when it is checked.

It knows what an annotation says, not what fits.
"""

from __future__ import annotations

import re
import types
import typing
from collections import abc
from collections.abc import Iterator
from enum import Enum
from typing import Any, TypeVar

from cloaca.contract.annotations import arms_of, bare_of, generic_of, is_literal, is_recursive, known_of
from cloaca.contract.instances import Instance, instance_of


def show(annotation: object) -> str:
    """Return ``annotation`` as mypy prints it: without modules, aliases expanded, ``None`` last in a union.

    >>> show(typing.Optional[int]), show(typing.Dict[str, typing.Annotated[int, "in cents"]])
    ('int | None', 'dict[str, int]')
    """
    bare = bare_of(annotation)
    if is_recursive(bare):
        return _with_args(generic_of(bare).__name__, typing.get_args(bare))
    known = known_of(bare)
    if arms_of(known):
        return _shown_union(known)
    if is_literal(known):
        return f"Literal[{_shown_value(typing.get_args(known)[0])}]"
    if known is Any or isinstance(known, typing.NewType):
        return _shown_other(bare) if known is Any else known.__name__
    return _shown_class(instance_of(known))


def _shown_union(union: object) -> str:
    """Several literals are one, and in front; ``None`` is at the end."""
    arms = list(dict.fromkeys(_shown_arms(union)))
    values = [typing.get_args(arm)[0] for arm in arms if is_literal(arm)]
    shown = [show(arm) for arm in arms if arm is not types.NoneType and not (len(values) > 1 and is_literal(arm))]
    if len(values) > 1:
        shown.insert(0, f"Literal[{', '.join(map(_shown_value, values))}]")
    return " | ".join([*shown, "None"] if types.NoneType in arms else shown)


def _shown_arms(annotation: object) -> Iterator[object]:
    """The arms of a union as ``flat_arms`` has them, but for recursive aliases, which go by their names."""
    bare = bare_of(annotation)
    options = () if is_recursive(bare) else arms_of(known_of(bare))
    for option in options:
        yield from _shown_arms(option)
    if not options:
        yield bare if is_recursive(bare) else known_of(bare)


def _shown_value(value: object) -> str:
    return f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)


def _shown_class(instance: Instance) -> str:
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
