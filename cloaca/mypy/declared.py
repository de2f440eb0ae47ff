"""Where in a module an expression's type is declared, and not inferred from the expression itself.

mypy tells a hook which type is wanted, but not whether a person wrote it: the type arguments of ``Workflow(...)`` are
inferred from its arguments. So the module is searched, once, and only if it matters: for the arguments of calls, of
which only those that are not generic declare a type; for variables that stand where a type is declared; and for
variables that are assigned more than once, which have one type and may not have one structure.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping

from mypy.checker import TypeChecker
from mypy.nodes import (
    AssertStmt,
    AssignmentExpr,
    AssignmentStmt,
    AwaitExpr,
    Block,
    CallExpr,
    ClassDef,
    ComparisonExpr,
    ConditionalExpr,
    Context,
    Decorator,
    DictExpr,
    Expression,
    ExpressionStmt,
    ForStmt,
    FuncDef,
    GeneratorExpr,
    IfStmt,
    IndexExpr,
    LambdaExpr,
    ListComprehension,
    ListExpr,
    MatchStmt,
    MemberExpr,
    NameExpr,
    OperatorAssignmentStmt,
    OpExpr,
    OverloadedFuncDef,
    RefExpr,
    ReturnStmt,
    SetExpr,
    StarExpr,
    Statement,
    TryStmt,
    TupleExpr,
    UnaryExpr,
    WhileStmt,
    WithStmt,
    YieldExpr,
)
from mypy.types import CallableType, Instance, Type
from mypy.types import get_proper_type as proper

COROUTINE = "typing.Coroutine"


def declared_places(api: TypeChecker) -> Mapping[Context, Expression | None]:
    """Return the expressions of the module under check whose type may be declared where they stand.

    For what is in an argument it is the function called: only one that is not generic declares the type, and mypy knows
    which is one by the time when it checks the argument.
    """
    found: dict[Context, Expression | None] = {}
    for statement in _all(api.tree.defs):
        for expression in _expressions(statement):
            _place(expression, None, found)
    return found


def _place(expression: Expression, callee: Expression | None, found: dict[Context, Expression | None]) -> None:
    """Note an expression and all in it. The operands of an operator are no places of their own."""
    found[expression] = callee
    if isinstance(expression, CallExpr):
        for argument in expression.args:
            _place(argument, expression.callee, found)
        _place(expression.callee, None, found)
        return
    for part in _parts(expression):
        _place(part, callee, found)


def _parts(expression: Expression) -> list[Expression]:
    match expression:
        case ListExpr(items=items) | TupleExpr(items=items) | SetExpr(items=items) | ComparisonExpr(operands=items):
            return items
        case DictExpr(items=pairs):
            return [part for pair in pairs for part in pair if part is not None]
        case ConditionalExpr(cond=cond, if_expr=one, else_expr=other):
            return [cond, one, other]
        case OpExpr(op="or" | "and", left=left, right=right):
            return [left, right]
        case OpExpr(left=left, right=right):
            return [part for side in (left, right) for part in _inside(side)]
        case AwaitExpr(expr=inner) | StarExpr(expr=inner) | MemberExpr(expr=inner) | UnaryExpr(expr=inner):
            return [inner]
        case YieldExpr(expr=inner) | AssignmentExpr(value=inner):
            return [inner] if inner is not None else []
        case IndexExpr(base=base, index=index):
            return [base, index]
        case LambdaExpr():
            return [inner for statement in expression.body.body for inner in _expressions(statement)]
        case ListComprehension(generator=generator):
            return [generator]
        case GeneratorExpr(left_expr=left, sequences=sequences):
            return [left, *sequences]
    return []


def _inside(operand: Expression) -> list[Expression]:
    """What is in an operand of ``>>`` or ``&``: calls have arguments."""
    return [operand] if isinstance(operand, CallExpr) else _parts(operand) if isinstance(operand, OpExpr) else []


def _expressions(statement: Statement) -> list[Expression]:
    """The expressions of a statement itself, without those of the statements in it."""
    match statement:
        case ReturnStmt(expr=found) | AssertStmt(expr=found):
            return [] if found is None else [found]
        case ExpressionStmt(expr=found) | ForStmt(expr=found) | WhileStmt(expr=found) | MatchStmt(subject=found):
            return [found]
        case AssignmentStmt(rvalue=found) | OperatorAssignmentStmt(rvalue=found):
            return [found]
        case IfStmt(expr=several) | WithStmt(expr=several):
            return several
        case FuncDef():
            return [argument.initializer for argument in statement.arguments if argument.initializer is not None]
    return []


def promised_places(api: TypeChecker, places: Iterable[Context]) -> Mapping[Context, list[Type]]:
    """Return what is assigned to a variable, and the types that are declared where the variable itself then stands.

    That is: what a function returns, and what another one takes, unless it is generic. An expression that mentions its
    own variable is a step on the way, and left out. ``places`` are those of ``declared_places``.
    """
    wanted: dict[object, list[Type]] = {}
    for variable, type in (*_returns(api), *_arguments(places)):
        wanted.setdefault(variable, []).append(type)
    return {
        place: wanted[variable]
        for statement in _all(api.tree.defs)
        for variable, place in _assigned(statement)
        if variable in wanted and isinstance(statement, AssignmentStmt) and not _mentions(statement.rvalue, variable)
    }


def _returns(api: TypeChecker) -> Iterator[tuple[object, Type]]:
    for function in _all(api.tree.defs):
        declared = _declared_return(function) if isinstance(function, FuncDef) else None
        if declared is not None and isinstance(function, FuncDef):
            for statement in _all(function.body.body):
                if isinstance(statement, ReturnStmt) and isinstance(statement.expr, NameExpr):
                    yield statement.expr.node, declared


def _arguments(places: Iterable[Context]) -> Iterator[tuple[object, Type]]:
    for call in places:
        callee = call.callee if isinstance(call, CallExpr) else None
        function = callee.node if isinstance(callee, RefExpr) else None
        known = function.type if isinstance(function, FuncDef) else None
        if isinstance(call, CallExpr) and isinstance(known, CallableType) and not known.variables:
            for place, (name, argument) in enumerate(zip(call.arg_names, call.args, strict=True)):
                formal = known.argument_by_name(name) if name else known.argument_by_position(place)
                if isinstance(argument, NameExpr) and formal is not None:
                    yield argument.node, formal.typ


def _declared_return(function: FuncDef) -> Type | None:
    if not isinstance(function.type, CallableType):
        return None
    declared = proper(function.type.ret_type)
    if function.is_coroutine and isinstance(declared, Instance) and declared.type.fullname == COROUTINE:
        return declared.args[2]
    return declared


def _mentions(expression: Expression, variable: object) -> bool:
    parts = [expression.left, expression.right] if isinstance(expression, OpExpr) else _parts(expression)
    if isinstance(expression, CallExpr):
        parts = [expression.callee, *expression.args]
    is_it = isinstance(expression, NameExpr) and expression.node is variable
    return is_it or any(_mentions(part, variable) for part in parts)


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
