"""Terms: graph expressions as mypy types. They are written where a graph is composed, and read where it is closed.

A term is an ``Instance`` of ``cloaca.algebra.shapes.Term``, whose hash mypy keeps, so that a chain of operators costs
one small type each. It is wrapped in a ``TypedDict`` named ``Shape``, because mypy shows the name alone.
It knows how terms are spelt, and not what they mean: see ``structures``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias, TypeGuard

from mypy.checker import TypeChecker
from mypy.nodes import TypeInfo
from mypy.types import AnyType, Instance, LiteralType, NoneType, ProperType, TupleType, Type, TypedDictType, TypeOfAny
from mypy.types import get_proper_type as proper

SHAPES: Final = "cloaca.algebra.shapes"
GRAPH: Final = "cloaca.algebra.graphs.Graph"
HIDDEN: Final = 2  # the place of the hidden argument among Graph's

Term: TypeAlias = Instance
Spec = Mapping[str, Any]


def info(api: TypeChecker, fullname: str) -> TypeInfo:
    """Return a class of ours by its full name."""
    module, _, name = fullname.rpartition(".")
    node = api.modules[module].names[name].node
    assert isinstance(node, TypeInfo)
    return node


def term(
    api: TypeChecker, operator: str, spec: Spec | None = None, left: Type | None = None, right: Type | None = None
) -> Term:
    """Return the term of an operator over operands, which are terms or whatever types it needs."""
    text = json.dumps([operator, spec], sort_keys=True) if spec is not None else operator
    literal = LiteralType(text, api.named_generic_type("builtins.str", []))
    return Instance(info(api, f"{SHAPES}.Term"), [literal, left or NoneType(), right or NoneType()])


def read(term: Term) -> tuple[str, Spec, ProperType, ProperType]:
    """Return a term's operator, its details and its operands."""
    literal, left, right = (proper(arg) for arg in term.args)
    assert isinstance(literal, LiteralType)
    assert isinstance(literal.value, str)
    operator, spec = json.loads(literal.value) if literal.value[0] == "[" else (literal.value, {})
    return operator, spec, left, right


def row(api: TypeChecker, types: list[Type]) -> TupleType:
    """Return several types as one operand."""
    return TupleType(types, api.named_generic_type("builtins.tuple", [AnyType(TypeOfAny.special_form)]))


def shape(api: TypeChecker, term: Term) -> TypedDictType:
    """Return the hidden argument of a graph that this term makes."""
    fallback = Instance(info(api, f"{SHAPES}.Shape"), [])
    return TypedDictType({"term": term}, {"term"}, set(), fallback)


def term_of(shape: Type) -> Term | None:
    """Return the term in a hidden argument, None if it has none (any longer)."""
    known = proper(shape)
    if not isinstance(known, TypedDictType) or known.fallback.type.fullname != f"{SHAPES}.Shape":
        return None
    found = proper(known.items.get("term", NoneType()))
    return found if is_term(found) else None


def is_term(operand: Type) -> TypeGuard[Term]:
    """Return whether a type is a term."""
    return isinstance(operand, Instance) and operand.type.fullname == f"{SHAPES}.Term"
