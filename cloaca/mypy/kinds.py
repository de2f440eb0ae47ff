"""What kind of type each of mypy's types is, in the closed set of shapes that ``cloaca.algebra.survival`` judges.

It decides nothing. Where mypy knows less than a running program, a type is ``Plain``: a false alarm is worse than an
error that shows when the program starts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import Final

from mypy.nodes import TypeInfo, Var
from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    LiteralType,
    NoneType,
    Overloaded,
    ProperType,
    TupleType,
    Type,
    TypeAliasType,
    TypedDictType,
    TypeOfAny,
    TypeType,
    UnionType,
    UnpackType,
    get_proper_type,
)

from cloaca.algebra import survival
from cloaca.mypy.facts import ENUM, facts_of, member_order
from cloaca.mypy.fields import INIT_VAR, is_model, members
from cloaca.mypy.spelling import grouped, recursive, shown, shown_value


class StaticTypes:
    """The shapes of mypy's types."""

    def shape(self, type_: Type) -> survival.Shape:
        if type_ is INIT_VAR:
            return survival.Lost.INIT_VAR
        if isinstance(type_, TypeAliasType) and (alias := recursive(type_)) is not None:
            return survival.Alias(alias.fullname, partial(get_proper_type, type_), tuple(type_.args))
        match get_proper_type(type_):
            case UnionType(items=items):
                return _union_shape(list(grouped(items)))
            case LiteralType() as literal:
                return survival.Literals((_literal_value(literal),))
            case TupleType(partial_fallback=fallback, items=items) if fallback.type.fullname == "builtins.tuple":
                return survival.Inside(tuple(item for item in items if not isinstance(item, UnpackType)))
            case CallableType() | Overloaded() | TypeType():
                return survival.Lost.CODE
            case Instance() as instance:
                return _instance_shape(instance)
        return survival.Plain()  # a TypedDict, a named tuple: mypy forgets the metadata of their items

    def keys(self, type_: Type) -> Iterator[survival.Key]:
        proper = get_proper_type(type_)
        items = list(proper.items) if isinstance(proper, UnionType) else [proper]
        for literals, others in grouped(items):
            if literals:
                yield _literal_key(literals)
            elif isinstance(inner := get_proper_type(others[0]), UnionType) or _new_type_base(inner):
                yield from self.keys(_new_type_base(inner) or inner)
            else:
                yield _key(inner)

    def is_json(self, type_: Type) -> bool:
        if recursive(type_) is not None:
            return False
        match get_proper_type(type_):
            case AnyType() | NoneType():
                return True
            case UnionType(items=items):
                return all(map(self.is_json, items))
            case Instance(type=info, args=args):
                return info.fullname in _JSON and all(map(self.is_json, args))
        return False

    def shown(self, type_: Type) -> str:
        return shown(type_)


def _union_shape(groups: list[tuple[list[LiteralType], list[Type]]]) -> survival.Shape:
    if len(groups) == 1 and groups[0][0]:
        return survival.Literals(tuple(map(_literal_value, groups[0][0])))
    return survival.Inside(tuple(item for literals, others in groups for item in (literals or others)))


def _literal_value(literal: LiteralType) -> survival.Value:
    if literal.is_enum_literal():
        info = literal.fallback.type
        returns = _has_base(info, "builtins.str", "builtins.int")
        return survival.Value(f"{info.name}.{literal.value}", returns, is_member=True)
    return survival.Value(literal.value_repr(), literal.fallback.type.fullname != "builtins.bytes")


def _literal_key(literals: list[LiteralType]) -> survival.Key:
    name = f"Literal[{', '.join(map(shown_value, literals))}]"
    text = [_has_base(literal.fallback.type, "builtins.str") for literal in literals]
    returns = [
        is_text or literal.fallback.type.fullname == "builtins.bool"
        for is_text, literal in zip(text, literals, strict=True)
    ]
    return survival.Key(name, all(returns), all(text), is_str=False)


def _new_type_base(type_: ProperType) -> ProperType | None:
    """What a ``NewType`` is made of."""
    info = _info(type_)
    if info is None or not info.is_newtype:
        return None
    return info.tuple_type or info.typeddict_type or get_proper_type(info.bases[0])


def _info(type_: ProperType) -> TypeInfo | None:
    match type_:
        case Instance(type=info):
            return info
        case TupleType(partial_fallback=fallback) | TypedDictType(fallback=fallback):
            return fallback.type
    return None


def _has_base(info: TypeInfo, *names: str) -> bool:
    return any(base.fullname in names for base in info.mro)


def _key(type_: ProperType) -> survival.Key:
    info = _info(type_)
    name = "None" if isinstance(type_, NoneType) else info.name if info else shown(type_)
    if info is None:
        return survival.Key(name, not isinstance(type_, NoneType), is_text=False, is_str=False)
    is_text = _has_base(info, "builtins.str")
    if _has_base(info, ENUM):
        returns = _is_enum_key(info)
    else:
        lost = _has_base(info, *_NOT_KEYS) or is_model(info) or "dataclass" in info.metadata
        returns = is_text or info.fullname == "builtins.bytes" or not (lost or isinstance(type_, TypedDictType))
    return survival.Key(name, returns, is_text, info.fullname == "builtins.str")


def _is_enum_key(info: TypeInfo) -> bool:
    if _has_base(info, "enum.Flag"):
        return False
    if _has_base(info, "builtins.str", "builtins.int", "builtins.float") or _is_custom(info):
        return True
    return all(kind in ("builtins.str", "builtins.bool", "") for _, kind in _enum_values(info))


def _instance_shape(instance: Instance) -> survival.Shape:
    info, args = instance.type, instance.args
    if info.is_newtype:
        return survival.Renamed(_new_type_base(instance))
    if (lost := _lost(info, args)) is not None:
        return lost
    if info.fullname in _COLLECTIONS:
        return survival.Inside(args)
    if info.fullname in _MAPPINGS:
        return survival.Keyed(args)
    if _has_base(info, ENUM):
        return _enum_shape(info)
    if is_model(info):
        return _owner(instance)
    if any(info.get(name) is not None for name in _SCHEMAS):
        return survival.Plain()
    if "dataclass" in info.metadata:
        return _owner(instance)
    return survival.Lost.ARBITRARY if _is_arbitrary(info) else survival.Plain()


def _lost(info: TypeInfo, args: tuple[Type, ...]) -> survival.Secret | survival.Lost | None:
    if _has_base(info, *_SECRETS):
        return survival.Secret(info.name)
    if info.fullname in _ONE_PASS:
        return survival.Lost.ONE_PASS
    if _has_base(info, "builtins.type"):
        return survival.Lost.CODE
    item = get_proper_type(args[0]) if info.fullname == "re.Pattern" and args else None
    is_bytes = isinstance(item, Instance) and item.type.fullname == "builtins.bytes"
    return survival.Lost.BYTES_PATTERN if is_bytes else None


def _owner(instance: Instance) -> survival.Shape:
    if _nesting(instance) > _DEEPEST:  # a generic class that holds itself with an ever longer argument
        return survival.Plain()
    found = [facts for base in instance.type.mro if (facts := facts_of(base)) is not None]
    dumps, loads = any(facts.dumps_all for facts in found), any(facts.loads_all for facts in found)
    # The fields of a model have its arguments in their types, at run time those of a generic dataclass don't.
    args = () if is_model(instance.type) else tuple(instance.args)
    plain = Instance(instance.type, [AnyType(TypeOfAny.special_form)] * len(args)) if args else instance
    return survival.Owner(plain, shown(plain), partial(members, plain), dumps, loads, args)


def _nesting(type_: Type) -> int:
    """How many brackets stand in each other in the name of ``type_``."""
    args = type_.args if isinstance(type_, Instance | TypeAliasType) else ()
    return 1 + max(map(_nesting, args)) if args else 0


def _enum_shape(info: TypeInfo) -> survival.Shape:
    if _is_custom(info):
        return survival.Plain()
    values = _enum_values(info)
    return survival.Enumeration(
        tuple(survival.Value(f"{info.name}.{name}", kind in ("", *_JSON)) for name, kind in values)
    )


def _is_custom(info: TypeInfo) -> bool:
    """Whether the values of this enum's members may not be what its body assigns."""
    users = [base for base in info.mro if base.module_name not in ("enum", "builtins")]
    says_so = any(name in base.names for base in users for name in _SAYING_VALUES)
    return says_so or info.fallback_to_any or not all(_has_base(base, ENUM) for base in users)


def _enum_values(info: TypeInfo) -> list[tuple[str, str]]:
    """The members of an enum in order, and the full names of the classes of their values, ``""`` where not known."""
    members = info.enum_members
    order = {name: place for place, name in enumerate(member_order(info))}
    return [(name, _kind(info.names[name].node)) for name in sorted(members, key=lambda name: order.get(name, 0))]


def _kind(node: object) -> str:
    type_ = get_proper_type(node.type) if isinstance(node, Var) and node.type is not None else None
    info = None if type_ is None else _info(type_)
    if info is None or info.module_name not in _KNOWN_MODULES:
        return "builtins.str" if isinstance(type_, NoneType) else ""
    return "builtins.int" if info.fullname == "enum.auto" else info.fullname


def _is_arbitrary(info: TypeInfo) -> bool:
    """Whether pydantic surely can't read this class: a user's without a schema, or one that Python keeps for itself."""
    if info.fallback_to_any or info.meta_fallback_to_any or info.fullname in _READABLE:
        return False
    root = info.module_name.partition(".")[0]
    if root in sys.stdlib_module_names:
        return root in _UNREADABLE and not _has_base(info, *_READABLE_BASES)
    return root not in ("pydantic", "pydantic_core", "pydantic_extra_types", "_typeshed")


_DEEPEST: Final = 8
_SAYING_VALUES: Final = ("__new__", "__init__", "_value_", "_generate_next_value_")
_SCHEMAS: Final = ("__get_pydantic_core_schema__", "__get_validators__", "__pydantic_core_schema__")
_JSON: Final = (
    *("builtins.str", "builtins.int", "builtins.float", "builtins.bool", "builtins.object"),
    *("builtins.list", "builtins.dict"),
)
_SECRETS: Final = ("pydantic.types.SecretStr", "pydantic.types.SecretBytes", "pydantic.types.Secret")
_ONE_PASS: Final = ("typing.Iterable", "typing.Iterator", "typing.Generator")
_COLLECTIONS: Final = (
    *("builtins.list", "builtins.tuple", "builtins.set", "builtins.frozenset", "collections.deque"),
    *("typing.Sequence", "typing.MutableSequence", "typing.AbstractSet", "typing.MutableSet"),
)
_MAPPINGS: Final = (
    *("builtins.dict", "collections.defaultdict", "collections.OrderedDict", "collections.Counter"),
    *("typing.Mapping", "typing.MutableMapping"),
)
_NOT_KEYS: Final = (*_COLLECTIONS, *_MAPPINGS, "builtins.complex")
_KNOWN_MODULES: Final = ("builtins", "datetime", "decimal", "enum", "fractions", "types", "uuid")
_READABLE: Final = frozenset(
    {
        *("builtins.object", "builtins.bytes", "builtins.complex", "builtins.str", "builtins.int", "builtins.float"),
        *("builtins.bool", "builtins.ellipsis", "types.EllipsisType", "typing.Hashable"),
    }
)
_READABLE_BASES: Final = ("os.PathLike",)
# Of Python's own classes those of these modules, where pydantic has no more to learn.
_UNREADABLE: Final = frozenset(
    {
        *("_thread", "asyncio", "builtins", "collections", "concurrent", "contextlib", "io", "_io", "logging"),
        *("multiprocessing", "queue", "socket", "sqlite3", "subprocess", "threading", "types", "typing"),
    }
)
