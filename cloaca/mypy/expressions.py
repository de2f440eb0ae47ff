"""Expressions as they are written: literal texts, options that can be compared, and where a node was mentioned.

It knows syntax and the types that mypy gave to it; it knows no rule of the contract.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mypy.nodes import (
    AssignmentExpr,
    BytesExpr,
    CallExpr,
    Expression,
    FloatExpr,
    IntExpr,
    ListExpr,
    MemberExpr,
    OpExpr,
    RefExpr,
    StarExpr,
    StrExpr,
    TupleExpr,
    TypeInfo,
    UnaryExpr,
)
from mypy.types import Instance, LiteralType, Type
from mypy.types import get_proper_type as proper

UNKNOWN: Final = "?"  # begins the text of an option that equals itself, and may equal any other
EACH: Final = "cloaca.algebra.fanouts.each"
RETRY: Final = "cloaca.algebra.retries.Retry"
BRANCH: Final = "cloaca.algebra.branches.branch"
_OPTIONS: Final = ("retry", "timeout", "queue", "executor", "cache", "tags")
_NOTHING: Final = {**dict.fromkeys(_OPTIONS, "None"), "tags": "()"}
_CONSTANTS: Final = ("builtins.None", "builtins.True", "builtins.False")
_DURATION: Final = f"{UNKNOWN}datetime.timedelta("
_RETRY_DEFAULTS: Final = {
    "attempts": "1.0",
    "backoff": "'exponential'",
    "delay": "1.0",
    "max_delay": "60.0",
    "jitter": "0.0",
}


def literal_text(expression: Expression, type: Type | None = None) -> str | None:
    """Return the string that an expression surely is, None if it isn't known."""
    if isinstance(expression, StrExpr):
        return expression.value
    known = proper(type)
    if isinstance(known, Instance):
        known = known.last_known_value
    if isinstance(known, LiteralType) and isinstance(known.value, str):
        return known.value
    return None


def options_of(call: CallExpr) -> dict[str, str]:
    """Return the options among a call's arguments as texts to compare; what is at its default is left out."""
    pairs = zip(call.arg_names, call.args, strict=True)
    written = {name: option_text(expression) for name, expression in pairs if name in _OPTIONS}
    if written.get("tags", "").startswith("'"):
        written["tags"] = f"({written['tags']})"  # one tag may go without its tuple
    return {name: "" if text == _NOTHING[name] else text for name, text in written.items()}


def argument(call: Expression | None, name: str) -> Expression | None:
    """Return the argument of a call that is given by this name, None if there is none."""
    if not isinstance(call, CallExpr) or name not in call.arg_names:
        return None
    return call.args[call.arg_names.index(name)]


def option_text(expression: Expression) -> str:
    """Return an option's value as text: two equal texts are equal values, two others differ unless one is unknown."""
    text = _value(expression)
    return text if text is not None else f"{UNKNOWN}{source_text(expression)}"


def is_age(text: str) -> bool:
    """Return whether the text of ``cache=`` surely says that results are reused."""
    return text.startswith(_DURATION) or not (text.startswith(UNKNOWN) or text in ("", "False"))


def _value(expression: Expression) -> str | None:
    if isinstance(expression, IntExpr | FloatExpr):
        return repr(float(expression.value))
    if isinstance(expression, StrExpr | BytesExpr):
        return repr(expression.value)
    if isinstance(expression, RefExpr):
        is_certain = expression.fullname in _CONSTANTS or isinstance(expression.node, TypeInfo)
        return expression.fullname.removeprefix("builtins.") if is_certain else None
    if isinstance(expression, TupleExpr | ListExpr):
        items = [_value(item) for item in expression.items]
        return None if None in items else f"({', '.join(map(str, items))})"
    if isinstance(expression, CallExpr) and isinstance(expression.callee, RefExpr):
        return _retry(expression) if expression.callee.fullname == RETRY else None
    return None


def _retry(call: CallExpr) -> str | None:
    names = iter(_RETRY_DEFAULTS)
    given: dict[str, str] = {}
    for name, expression in zip(call.arg_names, call.args, strict=True):
        key, value = name or next(names, ""), _value(expression)
        if value is None or not key:
            return None
        if value != _RETRY_DEFAULTS.get(key):
            given[key] = value
    return f"Retry({', '.join(f'{key}={value}' for key, value in sorted(given.items()))})" if given else "None"


def source_text(expression: Expression) -> str:
    """Return an expression as text, with its place only where it can't be written otherwise."""
    if isinstance(expression, RefExpr) and expression.fullname:
        return expression.fullname
    if isinstance(expression, MemberExpr):
        return f"{source_text(expression.expr)}.{expression.name}"
    if isinstance(expression, CallExpr):
        pairs = zip(expression.arg_names, expression.args, strict=True)
        args = ", ".join(f"{name}={source_text(arg)}" if name else source_text(arg) for name, arg in pairs)
        return f"{source_text(expression.callee)}({args})"
    if isinstance(expression, UnaryExpr):
        return f"{expression.op}{source_text(expression.expr)}"
    if isinstance(expression, OpExpr):
        return f"({source_text(expression.left)} {expression.op} {source_text(expression.right)})"
    value = _value(expression)
    return f"{type(expression).__name__}:{expression.line}:{expression.column}" if value is None else value


def is_branch(expression: Expression) -> bool:
    """Return whether an expression is a call of ``branch``."""
    callee = expression.callee if isinstance(expression, CallExpr) else None
    return isinstance(callee, RefExpr) and callee.fullname == BRANCH


def parts(expression: Expression) -> Iterator[Expression]:
    """Yield the sub-expressions in which a graph's nodes may be mentioned, in the order to look."""
    if isinstance(expression, OpExpr):
        yield from (expression.right, expression.left)
    elif isinstance(expression, ListExpr | TupleExpr):
        yield from expression.items
    elif isinstance(expression, StarExpr):
        yield expression.expr
    elif isinstance(expression, AssignmentExpr):
        yield expression.value
    elif (inside := fanned(expression)) is not None:
        yield inside
    elif isinstance(expression, CallExpr) and isinstance(expression.callee, MemberExpr):
        if expression.callee.name == "rescue":
            yield from expression.args
        yield expression.callee.expr
    elif is_branch(expression) and isinstance(expression, CallExpr):
        yield from reversed(expression.args[1:])


def fanned(expression: Expression) -> Expression | None:
    """Return the graph in ``each(graph, ...)``, None for any other expression."""
    if not isinstance(expression, CallExpr) or not isinstance(expression.callee, RefExpr) or not expression.args:
        return None
    return expression.args[0] if getattr(expression.callee.node, "fullname", "") == EACH else None
