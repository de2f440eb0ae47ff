"""``each(g, over="pages", into="results")``: the term of a fan-out.

It knows the call as mypy hands it over; what a term means is in ``structures``.
"""

from __future__ import annotations

from mypy.plugin import FunctionContext
from mypy.types import AnyType, Type, TypeOfAny

from cloaca.mypy import terms
from cloaca.mypy.closing import boundary, unchecked_boundary
from cloaca.mypy.expressions import literal_text, option_text
from cloaca.mypy.operands import is_from_error, operand, with_hidden
from cloaca.mypy.sessions import Session


def each(context: FunctionContext, session: Session) -> Type:
    """Return the type of ``each(...)``."""
    made = context.default_return_type
    given = {
        name: (types[0], expressions[0])
        for name, types, expressions in zip(context.callee_arg_names, context.arg_types, context.args, strict=True)
        if types
    }
    (graph, expression), *_ = given.values()
    names = {
        which: literal_text(given[which][1], given[which][0]) if which in given else None for which in ("over", "into")
    }
    term = operand(session, graph, expression)
    if term is None or None in names.values():
        kind = TypeOfAny.from_error if is_from_error(graph) else TypeOfAny.special_form
        if kind is TypeOfAny.special_form:
            unchecked_boundary(context.context, session)
        return with_hidden(made, AnyType(kind))
    limit = option_text(given["limit"][1]) if "limit" in given else "None"
    term = terms.term(session.api, "each", {**names, "limit": limit}, term)
    structure, violations = session.structures.found(term)
    for violation in violations:
        session.report(violation, context.context)
    if violations:
        return with_hidden(made, AnyType(TypeOfAny.from_error))
    return boundary(with_hidden(made, terms.shape(session.api, term)), structure, context.context, session)
