"""The fields of a class as mypy has them: their types from its symbols, everything else from the remembered facts.

It does not know what becomes of a field: what survives a round trip is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from mypy.expandtype import expand_type_by_instance
from mypy.maptype import map_instance_to_supertype
from mypy.nodes import TypeInfo, Var
from mypy.types import AnyType, Instance, NoneType, Type, TypeOfAny

from cloaca.algebra.survival import Mark, Member
from cloaca.mypy.facts import BASE_MODEL, ClassFacts, FieldFacts, facts_of

INIT_VAR: Final = NoneType()
"""A type of its own, known by identity: mypy has none for ``InitVar``."""


def is_model(info: TypeInfo) -> bool:
    """Return whether a class is a pydantic model, ``BaseModel`` included."""
    return any(base.fullname == BASE_MODEL for base in info.mro)


_Declared = tuple[FieldFacts, TypeInfo, Var]


def model_fields(owner: Instance) -> dict[str, tuple[FieldFacts, Type]]:
    """Return the fields of a model in pydantic's order: that of the base classes first, each at its first place."""
    declared = _declared(owner.type)
    order = dict.fromkeys(fact.name for base in reversed(owner.type.mro[:-1]) for fact in _own_fields(base))
    fields = {name: declared[name] for name in order if name in declared}
    return {name: (fact, _in_subclass(variable, base, owner)) for name, (fact, base, variable) in fields.items()}


def _declared(info: TypeInfo) -> dict[str, _Declared]:
    """The fields of a class, each as its first base class has it: pydantic copies them, whatever the MRO says."""
    fields: dict[str, _Declared] = {}
    for base in reversed(info.bases):
        if base.type.fullname != "builtins.object":
            fields |= _declared(base.type)
    for fact in _own_fields(info):
        symbol = info.names.get(fact.name)
        variable = None if symbol is None else symbol.node
        if not isinstance(variable, Var):
            continue
        if variable.is_classvar or (variable.is_final and not fact.required):
            fields.pop(fact.name, None)
            continue
        fields[fact.name] = fact, info, variable
    return fields


def _own_fields(info: TypeInfo) -> Iterable[FieldFacts]:
    facts = facts_of(info)
    if facts is not None:
        return facts.fields
    return () if info.module_name in ("builtins", "typing", "abc") else _mixed_in(info)


def _mixed_in(info: TypeInfo) -> Iterator[FieldFacts]:
    """The fields of a base class that is no model: of what it assigns it isn't known whether it is a default."""
    for name, symbol in info.names.items():
        variable = symbol.node
        if isinstance(variable, Var) and _is_declared(variable) and not name.startswith("_"):
            yield FieldFacts(name, required=not variable.has_explicit_value)


def _is_declared(variable: Var) -> bool:
    declared = variable.is_initialized_in_class and not variable.is_inferred
    return declared and not (variable.is_property or variable.is_classvar)


def _in_subclass(variable: Var, base: TypeInfo, owner: Instance) -> Type:
    """The type of a field of ``base`` in ``owner``, which inherits from it."""
    type_ = variable.type
    if type_ is None:
        return AnyType(TypeOfAny.unannotated)
    return expand_type_by_instance(type_, map_instance_to_supertype(owner, base)) if base.is_generic() else type_


def members(owner: Instance) -> dict[str, Member]:
    """Return the fields of a model or a dataclass as members; what isn't known of them counts in their favour."""
    infos = [base for base in owner.type.mro if base.fullname != "builtins.object"]
    found = [facts for base in infos if (facts := facts_of(base)) is not None]
    fields = model_fields(owner) if is_model(owner.type) else _attributes(owner)
    return {name: _member(name, fact, type_, found) for name, (fact, type_) in fields.items()}


def _member(name: str, fact: FieldFacts, type_: Type, found: list[ClassFacts]) -> Member:
    dumps = any(name in facts.dumps or "*" in facts.dumps for facts in found)
    loads = any(name in facts.loads or "*" in facts.loads for facts in found)
    healed = fact.healed or any(facts.heals for facts in found)
    marks = (*fact.marks, Mark.OWN) if healed else fact.marks
    return Member(type_, marks, fact.excluded, dumps, loads)


def _attributes(owner: Instance) -> dict[str, tuple[FieldFacts, Type]]:
    """The fields of a dataclass. Of one without facts, from a stub, nothing is said."""
    known = {fact.name: fact for base in reversed(owner.type.mro) for fact in _own_fields(base)}
    fields: dict[str, tuple[FieldFacts, Type]] = {}
    for attribute in _dataclass(owner.type):
        name = attribute["name"]
        if attribute.get("is_init_var"):
            fields[name] = FieldFacts(name), INIT_VAR
            continue
        fact = known.get(name, FieldFacts(name, marks=(Mark.OWN,)))
        base = owner.type.get_containing_type_info(name)
        symbol = None if base is None else base.names[name]
        if base is not None and symbol is not None and isinstance(symbol.node, Var):
            fields[name] = fact, _in_subclass(symbol.node, base, owner)
    return fields


def _dataclass(info: TypeInfo) -> list[dict[str, Any]]:
    attributes: list[dict[str, Any]] = info.metadata.get("dataclass", {}).get("attributes", [])
    return attributes
