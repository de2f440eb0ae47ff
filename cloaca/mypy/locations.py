"""Where to point: the smallest expression that mentions what is blamed, or in which a structure is lost.

It knows expressions and the types that mypy gave to them; it decides nothing.
"""

from __future__ import annotations

from mypy.nodes import CallExpr, Expression, OpExpr
from mypy.types import AnyType, TupleType, Type
from mypy.types import get_proper_type as proper

from cloaca.errors import Violation
from cloaca.mypy import terms
from cloaca.mypy.expressions import fanned, is_branch, parts
from cloaca.mypy.nodes import StaticTask
from cloaca.mypy.operands import graph_type
from cloaca.mypy.sessions import Session
from cloaca.mypy.terms import HIDDEN


def blamed(session: Session, expression: Expression, violation: Violation) -> Expression:
    """Return the part of a graph expression that a violation is about: a condition itself, or a node's last mention."""
    place = locate(session, expression, violation.task)
    about_condition = violation.message.startswith("The condition ")
    asks = is_branch(place) or getattr(getattr(place, "callee", None), "name", "") == "when"
    if about_condition and asks and isinstance(place, CallExpr) and place.args:
        return place.args[0]
    about_undo = isinstance(place, CallExpr) and getattr(place.callee, "name", "") == "compensate" and place.args
    if about_undo and mentions(session, place.args[0], violation.task):  # type: ignore[attr-defined]  # a call
        return place.args[0]  # type: ignore[attr-defined,no-any-return]  # as above
    return place


def locate(session: Session, expression: Expression, name: str) -> Expression:
    """Return the smallest part of a graph expression that mentions a node, the last one if several do."""
    inside = fanned(expression)
    if inside is not None:  # the names inside begin with the fan-out's
        name = name.partition("/")[2]
    for part in parts(expression):
        if mentions(session, part, name):
            return locate(session, part, name)
    return expression


def later(session: Session, expression: Expression, name: str) -> Expression:
    """Return where the right side of an operator mentions a node that its left side has mentioned."""
    if isinstance(expression, OpExpr) and mentions(session, expression.right, name):
        return locate(session, expression.right, name)
    return expression


def mentions(session: Session, expression: Expression, name: str) -> bool:
    """Return whether an expression's graph has a node; a list's or a tuple's, whether one of its items does."""
    known = proper(session.api.lookup_type_or_none(expression))
    if isinstance(known, TupleType):
        return any(_has(session, item, name) for item in known.items)
    if graph_type(known) is not None:
        return _has(session, known, name)
    return any(mentions(session, part, name) for part in parts(expression))


def _has(session: Session, type: Type | None, name: str) -> bool:
    graph = graph_type(type)
    if graph is None:
        return False
    term = terms.term_of(graph.args[HIDDEN])
    nodes = session.structures.of(term).nodes if term is not None else {}
    if name in nodes or name.partition("/")[0] in nodes:
        return True
    tasks = [node for node in nodes.values() if isinstance(node, StaticTask)]
    tasks += [node.handler for node in tasks if node.handler is not None]
    return any(other is not None and other.name == name for node in tasks for other in (node.handler, node.undo))


def lost_part(session: Session, expression: Expression) -> Expression:
    """Return the smallest part of an expression of whose structure nothing is known."""
    for part in parts(expression):
        if _is_lost(session, part):
            return lost_part(session, part)
    return expression


def _is_lost(session: Session, expression: Expression) -> bool:
    known = proper(session.api.lookup_type_or_none(expression))
    if isinstance(known, TupleType):
        return False
    graph = graph_type(known)
    if graph is not None:
        return isinstance(proper(graph.args[HIDDEN]), AnyType)
    inside = list(parts(expression))
    return any(_is_lost(session, part) for part in inside) if inside else True
