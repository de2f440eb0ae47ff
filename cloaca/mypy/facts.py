"""What a class body says about its fields that mypy's types don't keep: remembered with the class, and in its cache.

``remember`` is for ``Plugin.get_customize_class_mro_hook``: the one hook that is called for every class and that
pydantic's own plugin leaves free. It looks at the body before it is analysed, so it sees names as they are spelt. It
does not know types: those are mypy's, and ``models`` reads both together.

A change of what is remembered changes the class's interface for the cache, because ``TypeInfo.metadata`` is part of
it; and for the daemon, because of a private variable whose type spells the facts out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from mypy.nodes import (
    MDEF,
    AssignmentStmt,
    Block,
    CallExpr,
    ClassDef,
    Decorator,
    EllipsisExpr,
    Expression,
    IfStmt,
    IndexExpr,
    MemberExpr,
    NameExpr,
    OpExpr,
    StarExpr,
    StrExpr,
    SymbolTableNode,
    TempNode,
    TupleExpr,
    TypeInfo,
    TypeVarLikeExpr,
    Var,
)
from mypy.plugin import ClassDefContext, SemanticAnalyzerPluginInterface
from mypy.types import LiteralType, Type, TypeList, UnboundType, UnionType

from cloaca.algebra.survival import Mark
from cloaca.mypy.metadata import MARKS, NOTHING, UNKNOWN, Metadata, Place, Reader

KEY: Final = "cloaca"
BASE_MODEL: Final = "pydantic.main.BaseModel"
ENUM: Final = "enum.Enum"
_VARIABLE: Final = "__cloaca"  # private: mypy doesn't compare it with the same name in another base class


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """What a class body says about one of its fields beside its type."""

    name: str
    required: bool = True
    excluded: bool = False
    reducer: str | None = None
    marks: tuple[Mark, ...] = ()
    healed: bool = False


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """What a class body says: its own fields in order, and what its decorators dump and read.

    ``dumps`` and ``loads`` are names of fields, or ``"*"``; ``dumps_all`` and ``loads_all`` say so of the whole;
    ``heals``: an argument of a generic base class says how it is dumped or read.
    """

    fields: tuple[FieldFacts, ...]
    dumps: tuple[str, ...] = ()
    loads: tuple[str, ...] = ()
    dumps_all: bool = False
    loads_all: bool = False
    heals: bool = False


def remember(context: ClassDefContext) -> None:
    """Store the facts of a model, a dataclass or an enum in its ``TypeInfo``."""
    cls, info = context.cls, context.cls.info
    if any(base.fullname == ENUM for base in info.mro):
        info.metadata[KEY] = {"members": list(_assigned(cls))}
    if not (_is_dataclass(cls) or any(base.fullname == BASE_MODEL for base in info.mro)):
        return
    known = info.metadata.get(KEY)
    if known is not None and "open" not in known:  # mypy analyses a module until it has no new names to offer
        return
    # mypy's analyzer is more than the interface that it declares for plugins.
    facts = _Body(cls, cast(Any, context.api)).facts()
    info.metadata[KEY] = facts
    if _is_protocol(cls):  # whoever implements it would have to have our variable
        return
    text = json.dumps(facts, sort_keys=True)
    variable = Var(_VARIABLE, LiteralType(text, context.api.named_type("builtins.str")))
    variable.info, variable._fullname, variable.is_classvar = info, f"{info.fullname}.{_VARIABLE}", True
    info.names[_VARIABLE] = SymbolTableNode(MDEF, variable, plugin_generated=True)


def facts_of(info: TypeInfo) -> ClassFacts | None:
    """Return what was remembered of this class itself, None if it wasn't looked at."""
    stored: dict[str, Any] | None = info.metadata.get(KEY)
    if stored is None or "fields" not in stored:
        return None
    return ClassFacts(
        tuple(_field_facts(entry) for entry in stored["fields"]),
        tuple(stored.get("dumps", ())),
        tuple(stored.get("loads", ())),
        bool(stored.get("dumps_all")),
        bool(stored.get("loads_all")),
        bool(stored.get("heals")),
    )


def member_order(info: TypeInfo) -> list[str]:
    """Return the names that the body of an enum assigns, in order: the cache sorts those that mypy has."""
    stored: dict[str, list[str]] = info.metadata.get(KEY, {})
    return stored.get("members", [])


def _assigned(cls: ClassDef) -> Iterator[str]:
    for statement in _statements(cls.defs):
        if isinstance(statement, AssignmentStmt) and isinstance(target := statement.lvalues[0], NameExpr):
            yield target.name


def _field_facts(entry: Mapping[str, Any]) -> FieldFacts:
    return FieldFacts(
        entry["name"],
        not entry.get("optional"),
        bool(entry.get("excluded")),
        entry.get("reducer"),
        tuple(map(Mark, entry.get("marks", ()))),
        bool(entry.get("healed")),
    )


def _is_dataclass(cls: ClassDef) -> bool:
    return any(_word(decorator) == "dataclass" for decorator in cls.decorators)


def _is_protocol(cls: ClassDef) -> bool:
    bases = (*cls.base_type_exprs, *cls.removed_base_type_exprs)
    return any(_word(base.base if isinstance(base, IndexExpr) else base) == "Protocol" for base in bases)


def _word(expr: Expression) -> str:
    """The last word of the name that ``expr`` is, or calls."""
    while isinstance(expr, CallExpr):
        expr = expr.callee
    return expr.name if isinstance(expr, NameExpr | MemberExpr) else ""


def _dotted(expr: Expression) -> str:
    names: list[str] = []
    while isinstance(expr, MemberExpr):
        names.append(expr.name)
        expr = expr.expr
    return ".".join([expr.name, *reversed(names)]) if isinstance(expr, NameExpr) else ""


class _Body:
    """Reads the body of one class."""

    def __init__(self, cls: ClassDef, api: Any) -> None:
        self.cls = cls
        self.module: str = cast(SemanticAnalyzerPluginInterface, api).cur_mod_id
        self.reader = Reader(api.modules)
        self._carriers: dict[str, bool] = {}

    def facts(self) -> dict[str, Any]:
        """Return what the body says, without what is so by default, as JSON can carry it."""
        fields: dict[str, dict[str, Any]] = {}
        decorators = _Decorators(self)
        for statement in _statements(self.cls.defs):
            if isinstance(statement, Decorator):
                for expr in statement.original_decorators:
                    decorators.add(expr)
            elif not statement.new_syntax:
                if isinstance(statement.rvalue, CallExpr):
                    decorators.add(statement.rvalue.callee)
            elif (found := self.field(statement)) is not None:
                fields[found["name"]] = found
        found = {"fields": list(fields.values()), **decorators.facts()}
        found |= {"heals": True} if self.heals() else {}
        found |= {} if self.reader.is_certain else {"open": True}
        return found

    def heals(self) -> bool:
        args = [base.index for base in self.cls.base_type_exprs if isinstance(base, IndexExpr)]
        if not any(self.may_carry(name) for arg in args for name in _names_in(arg)):
            return False
        source = self.reader.source(self.module)
        bases = None if source is None else source.bases(self.cls.line)
        return bases is None or self.reader.heals(bases, Place(self.module, self.cls.fullname))

    def field(self, statement: AssignmentStmt) -> dict[str, Any] | None:
        target, default = statement.lvalues[0], statement.rvalue
        if not isinstance(target, NameExpr) or target.name.startswith("_") or target.name == "model_config":
            return None
        called = self.full_name(default.callee) if isinstance(default, CallExpr) else ""
        if called in _RELATIONSHIPS:
            return None
        found = self.metadata(statement, target.name)
        is_field = isinstance(default, CallExpr) and _is_field(called)
        if is_field and (excluded := _excluded(cast(CallExpr, default))) is not None:
            found = found.then(Metadata(excluded=excluded))
        optional = _field_default(cast(CallExpr, default)) if is_field else _is_default(default)
        return _entry(target.name, optional, found)

    def full_name(self, expr: Expression) -> str:
        dotted = _dotted(expr)
        return self.reader.full_name(self.module, dotted) if dotted else ""

    def metadata(self, statement: AssignmentStmt, name: str) -> Metadata:
        """What ``Annotated`` says: the source is asked only where a name may stand for it."""
        type_ = statement.unanalyzed_type
        if type_ is None or not any(map(self.may_carry, _names(type_))):
            return NOTHING
        source = self.reader.source(self.module)
        expr = None if source is None else source.annotation(statement.line, name)
        if expr is None:
            return UNKNOWN
        return self.reader.read(expr, Place(self.module, f"{self.cls.fullname}.{name}"))

    def may_carry(self, name: str) -> bool:
        """Whether ``name`` is ``Annotated``, or may be an alias for it."""
        found = self._carriers.get(name)
        if found is None:
            found = self._carriers[name] = self._is_carrier(name)
        return found

    def _is_carrier(self, name: str) -> bool:
        full = self.reader.full_name(self.module, name)
        root, last = full.partition(".")[0], full.rpartition(".")[2]
        if last == "Annotated":
            return True
        if root == "pydantic":
            return last in MARKS
        return root not in _WITHOUT_METADATA and not isinstance(self.reader.node(full), TypeInfo | TypeVarLikeExpr)


def _entry(name: str, optional: bool, found: Metadata) -> dict[str, Any]:
    """A field as JSON, without what is so by default."""
    entry: dict[str, Any] = {"name": name}
    if optional:
        entry["optional"] = True
    if found is NOTHING:
        return entry
    said = {
        "excluded": bool(found.excluded),
        "reducer": found.reducer,
        "marks": [mark.value for mark in found.marks],
        "healed": found.healed,
    }
    return entry | {key: value for key, value in said.items() if value}


_RELATIONSHIPS: Final = frozenset({"sqlmodel.main.Relationship", "sqlmodel.Relationship"})
_WITHOUT_METADATA: Final = frozenset({"typing", "typing_extensions", "builtins", "collections"})


def _is_field(called: str) -> bool:
    root, _, rest = called.partition(".")
    return rest.rpartition(".")[2] == "Field" and root in ("pydantic", "sqlmodel")


def _statements(block: Block) -> Iterator[AssignmentStmt | Decorator]:
    for statement in block.body:
        if isinstance(statement, AssignmentStmt | Decorator):
            yield statement
        elif isinstance(statement, IfStmt):
            for body in (*statement.body, *([statement.else_body] if statement.else_body else ())):
                if not body.is_unreachable:
                    yield from _statements(body)


def _names(type_: Type) -> list[str]:
    """The names in an annotation that isn't analysed yet."""
    if isinstance(type_, UnboundType):
        found = [type_.name]
        for arg in type_.args:
            found += _names(arg)
        return found
    return [name for item in type_.items for name in _names(item)] if isinstance(type_, UnionType | TypeList) else []


def _names_in(expr: Expression) -> Iterator[str]:
    """The names in the argument of a generic base class."""
    if isinstance(expr, TupleExpr):
        for item in expr.items:
            yield from _names_in(item)
    elif isinstance(expr, IndexExpr):
        yield from _names_in(expr.base)
        yield from _names_in(expr.index)
    elif isinstance(expr, OpExpr):
        yield from _names_in(expr.left)
        yield from _names_in(expr.right)
    elif name := _dotted(expr):
        yield name


def _is_default(value: Expression) -> bool:
    return not isinstance(value, TempNode | EllipsisExpr)


def _field_default(call: CallExpr) -> bool:
    """Whether this call of pydantic's ``Field`` gives a default."""
    for value, name in zip(call.args, call.arg_names, strict=True):
        if name in (None, "default"):
            return isinstance(value, StarExpr) or not (isinstance(value, EllipsisExpr) or _word(value) in _UNDEFINED)
        if name == "default_factory":
            return not _is_name(value, "None")
    return False


_UNDEFINED: Final = frozenset({"PydanticUndefined", "Undefined"})


def _excluded(call: CallExpr) -> bool | None:
    given = dict(zip(call.arg_names, call.args, strict=True))
    if "exclude_if" in given and not _is_name(given["exclude_if"], "None"):
        return True
    return _is_name(given["exclude"], "True") if "exclude" in given else None


def _is_name(expr: Expression, name: str) -> bool:
    return isinstance(expr, NameExpr) and expr.name == name


class _Decorators:
    """Collects what pydantic's decorators in one body are about."""

    def __init__(self, body: _Body) -> None:
        self.body = body
        self.dumps: set[str] = set()
        self.loads: set[str] = set()
        self.dumps_all = self.loads_all = False

    def add(self, expr: Expression) -> None:
        call = expr if isinstance(expr, CallExpr) else None
        word = self.body.full_name(expr if call is None else call.callee).rpartition(".")[2]
        if word == "model_serializer":
            self.dumps_all = True
        elif word == "model_validator":
            self.loads_all |= call is None or _mode(call) != "after"
        elif call is not None and word == "field_serializer":
            self.dumps.update(_about(call))
        elif call is not None and word == "field_validator" and _mode(call) != "after":
            self.loads.update(_about(call))

    def facts(self) -> dict[str, Any]:
        found: Iterable[tuple[str, Any]] = (
            ("dumps", sorted(self.dumps)),
            ("loads", sorted(self.loads)),
            ("dumps_all", self.dumps_all),
            ("loads_all", self.loads_all),
        )
        return {name: value for name, value in found if value}


def _mode(call: CallExpr) -> str:
    """The ``mode`` of a validator; ``""`` if it can't be told."""
    given = dict(zip(call.arg_names, call.args, strict=True))
    if "mode" not in given:
        return "after"
    mode = given["mode"]
    return mode.value if isinstance(mode, StrExpr) else ""


def _about(call: CallExpr) -> Iterator[str]:
    for value, name in zip(call.args, call.arg_names, strict=True):
        if name is None:
            yield value.value if isinstance(value, StrExpr) else "*"
