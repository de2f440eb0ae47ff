"""Where in a module an expression's type is declared: at a return, at an annotated variable, as a plain argument.

mypy tells a hook which type is wanted, but not whether a person wrote it or it was inferred from the expression itself,
as the type arguments of ``Workflow(...)`` are. So the module is searched, once, and only if it matters. So it is for
the variables that are assigned more than once, which have one type and may not have one structure.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

from mypy.checker import TypeChecker
from mypy.nodes import (
    AssignmentExpr,
    AssignmentStmt,
    AwaitExpr,
    Block,
    CallExpr,
    ClassDef,
    ConditionalExpr,
    Context,
    Decorator,
    Expression,
    ExpressionStmt,
    ForStmt,
    FuncDef,
    IfStmt,
    MatchStmt,
    NameExpr,
    OperatorAssignmentStmt,
    OverloadedFuncDef,
    ReturnStmt,
    Statement,
    TryStmt,
    WhileStmt,
    WithStmt,
)
from mypy.types import CallableType
from mypy.types import get_proper_type as proper


def declared_places(api: TypeChecker) -> Mapping[Context, Expression | None]:
    """Return the expressions of the module under check whose type may be declared where they stand.

    For an argument it is the function called: only one that is not generic declares the type, and mypy knows which is
    one by the time when it checks the argument.
    """
    return {place: callee for statement in _all(api.tree.defs) for place, callee in _places(statement)}


def is_generic(callee: Expression, api: TypeChecker) -> bool:
    """Return whether a function has type parameters, or is not known."""
    known = proper(api.lookup_type_or_none(callee))
    return not isinstance(known, CallableType) or bool(known.variables)


def rebound_places(api: TypeChecker) -> Container[Context]:
    """Return the expressions of the module that are assigned to a variable which elsewhere is assigned another."""
    places: dict[object, list[Context]] = {}
    for statement in _all(api.tree.defs):
        for variable, place in _assigned(statement):
            places.setdefault(variable, []).append(place)
    return {place for found in places.values() if len(found) > 1 for place in found}


def _assigned(statement: Statement) -> Iterator[tuple[object, Context]]:
    """The variables that a statement assigns, and what mypy takes for the place of the value."""
    if isinstance(statement, AssignmentStmt):
        for target in statement.lvalues:
            if isinstance(target, NameExpr) and target.node is not None:
                yield target.node, statement.rvalue
    elif isinstance(statement, OperatorAssignmentStmt) and isinstance(statement.lvalue, NameExpr):
        yield statement.lvalue.node, statement


def _all(statements: list[Statement]) -> Iterator[Statement]:
    """Every statement, those in functions and classes too."""
    waiting = list(statements)
    while waiting:
        statement = waiting.pop()
        yield statement
        for block in _blocks(statement):
            waiting += block.body
        if isinstance(statement, Decorator):
            waiting.append(statement.func)
        elif isinstance(statement, OverloadedFuncDef):
            waiting += statement.items


def _blocks(statement: Statement) -> list[Block]:
    match statement:
        case FuncDef(body=Block() as body) | WhileStmt(body=body) | ForStmt(body=body) | WithStmt(body=body):
            more = getattr(statement, "else_body", None)
            return [body, more] if more else [body]
        case ClassDef(defs=block):
            return [block]
        case IfStmt(body=blocks, else_body=more) | TryStmt(handlers=blocks, else_body=more):
            rest = (more, getattr(statement, "finally_body", None))
            first = [statement.body] if isinstance(statement, TryStmt) else []
            return [*first, *blocks, *(block for block in rest if block is not None)]
        case MatchStmt(bodies=blocks):
            return blocks
    return []


def _places(statement: Statement) -> Iterator[tuple[Expression, Expression | None]]:
    if isinstance(statement, ReturnStmt) and statement.expr is not None:
        yield from _parts(statement.expr, None)
    elif isinstance(statement, AssignmentStmt):
        yield from _parts(statement.rvalue, None)
    elif isinstance(statement, ExpressionStmt):
        yield from _parts(statement.expr, None)


def _parts(expression: Expression, callee: Expression | None) -> Iterator[tuple[Expression, Expression | None]]:
    """The expression itself, the two of a conditional one, and the arguments of a call."""
    yield expression, callee
    if isinstance(expression, ConditionalExpr):
        yield from _parts(expression.if_expr, callee)
        yield from _parts(expression.else_expr, callee)
    elif isinstance(expression, AssignmentExpr):
        yield from _parts(expression.value, callee)
    elif isinstance(expression, AwaitExpr):
        yield from _parts(expression.expr, callee)
    elif isinstance(expression, CallExpr):
        for argument in expression.args:
            yield from _parts(argument, expression.callee)
