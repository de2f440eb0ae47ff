"""Operands of the graph operators: the term of a graph, of a list or a tuple of graphs; None where it is lost.

It knows expressions and types as mypy hands them over, and no operator.
"""

from __future__ import annotations

from mypy.maptype import map_instance_to_supertype
from mypy.nodes import CallExpr, Expression, ListExpr, MemberExpr, NameExpr, StarExpr, TupleExpr
from mypy.types import AnyType, FunctionLike, Instance, NoneType, ProperType, TupleType, Type, TypeOfAny, TypeType
from mypy.types import get_proper_type as proper

from cloaca.mypy import terms
from cloaca.mypy.expressions import source_text
from cloaca.mypy.sessions import Session, distinct
from cloaca.mypy.terms import GRAPH, HIDDEN, Term


def graph_type(known: Type | None) -> Instance | None:
    """Return a type as one whose first arguments are those of ``Graph[In, Out, Hidden]``, None if it is no graph."""
    instance = proper(known)
    if not isinstance(instance, Instance) or not instance.type.has_base(GRAPH):
        return None
    if instance.type.module_name.startswith("cloaca."):
        return instance
    base = next(info for info in instance.type.mro if info.fullname == GRAPH)  # a class of a user's
    return map_instance_to_supertype(instance, base)


def operand(session: Session, known: Type, expression: Expression) -> Term | None:
    """Return the term of an operand, a list or a tuple as the overlay of its items; None if it is lost."""
    graph = graph_type(known)
    if graph is not None:
        return _graph_term(session, graph, expression)
    items = _items(session, proper(known), expression)
    if items is None:
        return None
    found = [operand(session, type, item) for type, item in items]
    whole = terms.term(session.api, "empty")
    for index, each in enumerate(found):
        if each is None:
            return None
        whole = terms.term(session.api, "overlay", None, whole, each) if index else each
        _, violations = session.structures.found(whole)
        for violation in violations:
            session.report(violation, expression)
        if violations:
            return None
    return whole


def _graph_term(session: Session, graph: Instance, expression: Expression) -> Term | None:
    hidden = proper(graph.args[HIDDEN])
    known = terms.term_of(hidden)
    if known is not None or not isinstance(hidden, Instance):
        return known
    rows = [proper(arg) for arg in graph.args[:HIDDEN]]
    if not all(isinstance(row, NoneType) or session.hints.is_model(row) for row in rows):
        return None
    if not session.read(row for row in rows if isinstance(row, Instance)):
        return None
    return terms.term(session.api, "opaque", {"name": _mention(expression)}, *rows)


def _mention(expression: Expression) -> str:
    """A name for a graph of which only the rows are known: two equal expressions are taken to be one graph."""
    shown = f"{_short(expression.callee)}()" if isinstance(expression, CallExpr) else _short(expression)
    return distinct(shown, source_text(expression))


def _short(expression: Expression) -> str:
    return expression.name if isinstance(expression, NameExpr | MemberExpr) else "graph"


def _items(session: Session, known: ProperType, expression: Expression) -> list[tuple[Type, Expression]] | None:
    """The items of a list or a tuple, with their expressions or what stands for them."""
    if isinstance(expression, ListExpr | TupleExpr):
        found: list[tuple[Type, Expression]] = []
        for item in expression.items:
            starred = item.expr if isinstance(item, StarExpr) else None
            type = _type_of(session, starred or item)
            items = [(type, item)] if starred is None else _items(session, proper(type), starred)
            if items is None:
                return None
            found += items
        return found
    if isinstance(known, TupleType):
        return [(type, expression) for type in known.items]
    return None


def _type_of(session: Session, expression: Expression) -> Type:
    return session.api.lookup_type_or_none(expression) or session.api.expr_checker.accept(expression)


def with_hidden(known: Type, hidden: Type) -> Type:
    """Return a graph's type with another hidden argument."""
    graph = graph_type(known)
    if graph is None:
        return known
    args = list(graph.args)
    args[HIDDEN] = hidden
    return graph.copy_modified(args=args)


def is_from_error(type: Type) -> bool:
    """Return whether nothing is known of a graph because of an error, which was reported where it is."""
    graph = graph_type(type)
    known = proper(type) if graph is None else proper(graph.args[HIDDEN])
    if not isinstance(known, AnyType):
        return False
    return TypeOfAny.from_error in (known.type_of_any, known.source_any.type_of_any if known.source_any else None)


def instances_of(argument: ProperType) -> ProperType | None:
    """Return what a class as an argument stands for, its instances; ``None`` for itself; None where it isn't known."""
    if isinstance(argument, NoneType):
        return argument
    if isinstance(argument, FunctionLike) and argument.is_type_obj():
        return proper(argument.items[0].ret_type)
    return proper(argument.item) if isinstance(argument, TypeType) and isinstance(argument.item, Instance) else None
