"""How types are spelt in messages: as Python prints the annotation, without modules.

It does not know what is done with a type. Unlike mypy's own words for one, these have no arguments where the
annotation has none, so that they are what a running program says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mypy.nodes import TypeAlias
from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    LiteralType,
    NoneType,
    TupleType,
    Type,
    TypeAliasType,
    TypedDictType,
    TypeOfAny,
    TypeType,
    TypeVarType,
    UnionType,
    get_proper_type,
)


def recursive(type_: Type) -> TypeAlias | None:
    """Return the alias that ``type_`` is, if its value mentions it."""
    return type_.alias if isinstance(type_, TypeAliasType) and type_.is_recursive else None


def grouped(items: Iterable[Type]) -> Iterator[tuple[list[LiteralType], list[Type]]]:
    """Yield the items of a union; literals that stand together come together, as ``Literal`` has several values."""
    literals: list[LiteralType] = []
    for item in items:
        if isinstance(literal := get_proper_type(item), LiteralType):
            literals.append(literal)
            continue
        if literals:
            yield literals, []
            literals = []
        yield [], [item]
    if literals:
        yield literals, []


def shown(type_: Type) -> str:
    """Return ``type_`` as messages show it."""
    if (alias := recursive(type_)) is not None:
        return _with_args(alias.name, type_.args if isinstance(type_, TypeAliasType) else ())
    match get_proper_type(type_):
        case AnyType():
            return "Any"
        case NoneType():
            return "None"
        case TypeVarType(name=name):
            return f"~{name}"
        case UnionType(items=items):
            return _shown_union(items)
        case LiteralType() as literal:
            return f"Literal[{shown_value(literal)}]"
        case TupleType(partial_fallback=fallback, items=items):
            named = fallback.type.fullname != "builtins.tuple"
            return fallback.type.name if named else f"tuple[{', '.join(map(shown, items)) or '()'}]"
        case TypedDictType(fallback=fallback):
            return fallback.type.name
        case TypeType(item=item):
            return f"type[{shown(item)}]"
        case CallableType() as function:
            return _shown_callable(function)
        case Instance() as instance:
            return _shown_instance(instance)
        case other:
            return str(other)


def _with_args(name: str, args: Iterable[Type]) -> str:
    shown_args = ", ".join(map(shown, args))
    return f"{name}[{shown_args}]" if shown_args else name


def _shown_union(items: Iterable[Type]) -> str:
    parts: list[str] = []
    for literals, others in grouped(items):
        values = ", ".join(map(shown_value, literals))
        parts.append(f"Literal[{values}]" if literals else shown(others[0]))
    return " | ".join(parts)


def shown_value(literal: LiteralType) -> str:
    """Return what stands between the brackets of ``Literal``."""
    return f"{literal.fallback.type.name}.{literal.value}" if literal.is_enum_literal() else literal.value_repr()


def _shown_callable(function: CallableType) -> str:
    result = get_proper_type(function.ret_type)
    if isinstance(result, AnyType) and result.type_of_any == TypeOfAny.from_omitted_generics:
        return "Callable"
    args = "..." if function.is_ellipsis_args else f"[{', '.join(map(shown, function.arg_types))}]"
    return f"Callable[{args}, {shown(function.ret_type)}]"


def _shown_instance(instance: Instance) -> str:
    name = "Set" if instance.type.fullname == "typing.AbstractSet" else instance.type.name.partition("@")[0]
    omitted = all(isinstance(arg, AnyType) and arg.type_of_any != TypeOfAny.explicit for arg in instance.args)
    if omitted:
        return name
    args = ", ".join(map(shown, instance.args))
    return f"{name}[{args}, ...]" if instance.type.fullname == "builtins.tuple" else f"{name}[{args}]"
