"""What an open graph reads: its first task's model where that is all it reads, else a row as a protocol.

An open graph that is returned, assigned or handed over is compared with a declared ``Graph[In, Out]`` by mypy itself,
through its ``In``. So that says all that the graph requires: a required read that nobody inside writes is part of it.
The protocol has a read-only attribute for each such field, and whatever model has these fields fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mypy.mro import calculate_mro
from mypy.nodes import GDEF, MDEF, Block, ClassDef, SymbolTable, SymbolTableNode, TypeInfo, Var
from mypy.types import Instance, Type

from cloaca.algebra.structures import Structure, closed
from cloaca.contract.checker import check
from cloaca.contract.elaboration import elaborate
from cloaca.contract.sites import Elaboration
from cloaca.contract.steps import Checked, Elaborated
from cloaca.errors import ContractError
from cloaca.mypy.hints import UnknownElement
from cloaca.mypy.nodes import StaticNode
from cloaca.mypy.sessions import Session


def required(structure: Structure[StaticNode], session: Session) -> dict[str, Type]:
    """Return the fields that a graph must be given, with the type of the first read of each."""
    try:
        made = elaborate(closed(structure), None, "", session.nodes)
    except (ContractError, UnknownElement):  # said elsewhere
        return {}
    found: dict[str, Type] = {}
    for key, type in _unmet(made, check(Elaborated(made.steps, {}, ""), session.hints.types)):
        found.setdefault(key, type)
    return found


def _unmet(made: Elaboration, checked: Checked) -> Iterator[tuple[str, Type]]:
    """Yield the required reads that nobody inside provides, those inside fan-outs too."""
    for index, (site, step) in enumerate(zip(made.sites, made.steps, strict=True)):
        for read in step.reads:
            if read.required and not checked.providers[index].get(read.key) and isinstance(read.type, Type):
                yield read.key, read.type
        if not site.scope and site.fan is not None and site.fan.resolved is not None:
            inner = site.fan.resolved.inner
            yield from () if inner is None else _unmet(inner.elaboration, inner.checked)


def fits(fields: Mapping[str, Type], model: Type, session: Session) -> bool:
    """Return whether a model has all these fields."""
    row = session.hints.row(model) if isinstance(model, Instance) else {}
    return all(name in row and session.hints.assignable(row[name].type, type) for name, type in fields.items())


def protocol(fields: Mapping[str, Any], session: Session) -> Instance:
    """Return the protocol of whatever has these fields. The module keeps it, as mypy does with intersections."""
    tree = session.api.tree
    name = f"<{', '.join(f'{key}: {session.hints.in_mypys_words(type)}' for key, type in sorted(fields.items()))}>"
    symbol = tree.names.get(name)
    if symbol is None or not isinstance(symbol.node, TypeInfo):
        symbol = tree.names[name] = SymbolTableNode(GDEF, _class(name, fields, session), module_public=False)
    assert isinstance(symbol.node, TypeInfo)
    return Instance(symbol.node, [])


def _class(name: str, fields: Mapping[str, Type], session: Session) -> TypeInfo:
    module = session.api.tree.fullname
    definition = ClassDef(name, Block([]))
    definition.fullname = f"{module}.{name}"
    info = TypeInfo(SymbolTable(), definition, module)
    definition.info = info
    info.is_protocol = True
    info.bases = [session.api.named_type("builtins.object")]
    for key, type in sorted(fields.items()):
        info.names[key] = SymbolTableNode(MDEF, _attribute(info, key, type))
    calculate_mro(info)
    info.metaclass_type = info.calculate_metaclass_type()
    return info


def _attribute(info: TypeInfo, key: str, type: Type) -> Var:
    attribute = Var(key, type)
    attribute.info = info
    attribute._fullname = f"{info.fullname}.{key}"
    attribute.is_property = True
    attribute.is_initialized_in_class = True
    return attribute
