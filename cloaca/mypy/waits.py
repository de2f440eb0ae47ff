"""``sleep``, ``wait_for``, ``subflow``: each as the term of one node that waits.

It reads the types and the expressions of a call; what is wrong with a row is said by the lines that say it at run time.
"""

from __future__ import annotations

from typing import Final

from mypy.nodes import AssignmentStmt, CallExpr, Expression, NameExpr, RefExpr, Var
from mypy.plugin import FunctionContext
from mypy.types import Instance, NoneType, ProperType, Type, TypedDictType, UninhabitedType, UnionType
from mypy.types import get_proper_type as proper

from cloaca.algebra.declarations import Reader
from cloaca.contract.subflows import no_row
from cloaca.errors import Violation
from cloaca.mypy import terms
from cloaca.mypy.closing import WORKFLOW
from cloaca.mypy.expressions import literal_text, option_text, options_of, source_text
from cloaca.mypy.operands import instances_of, with_hidden
from cloaca.mypy.operators import NEVER_CHECKED, REFUSED
from cloaca.mypy.sessions import Session, distinct
from cloaca.mypy.terms import Spec

Models = tuple[Instance | None, Instance | None]


def sleep(context: FunctionContext, session: Session) -> Type:
    """``sleep(timedelta(hours=1))``."""
    duration = context.args[0][0]
    spec = {"kind": "sleep", "name": "sleep", "options": {"duration": option_text(duration)}, "sure": True}
    return _made(context, session, spec, (None, None), [])


def wait_for(context: FunctionContext, session: Session) -> Type:
    """``wait_for(Approval, timeout=60)``."""
    model = instances_of(proper(context.arg_types[0][0]))
    if not isinstance(model, Instance) or not session.hints.is_model(model):
        return with_hidden(context.default_return_type, NEVER_CHECKED)
    name = f"wait_for:{session.hints.name(model)}"
    if not session.read([model]):
        return with_hidden(context.default_return_type, NEVER_CHECKED)
    reader: Reader[Instance] = Reader(name, f'Task "{name}"', session.hints)
    reader.model("the signal", model)
    for violation in reader.violations:
        session.report(violation, context.context)
    if reader.violations:
        return with_hidden(context.default_return_type, REFUSED)
    options = options_of(context.context) if isinstance(context.context, CallExpr) else {}
    return _made(context, session, {"kind": "wait", "name": name, "options": options, "sure": True}, (None, model), [])


def subflow(context: FunctionContext, session: Session) -> Type:
    """``subflow(orders)``."""
    child, written = proper(context.arg_types[0][0]), context.args[0][0]
    if not isinstance(child, Instance) or child.type.fullname != WORKFLOW:
        return with_hidden(context.default_return_type, NEVER_CHECKED)
    name = workflow_name(written, session)
    input, output, _, errors = (proper(arg) for arg in child.args)
    if isinstance(output, TypedDictType):
        session.report(Violation("workflow-input", f"subflow:{name}", "", no_row(name)), written)
        return with_hidden(context.default_return_type, REFUSED)
    rows = [known for known in (input, _surely(output)) if isinstance(known, NoneType) or _is_row(known, session)]
    if len(rows) != 2:  # noqa: PLR2004 - what it reads and what it writes
        return with_hidden(context.default_return_type, NEVER_CHECKED)
    sure = not isinstance(output, UnionType)
    reads, writes = (row if isinstance(row, Instance) else None for row in rows)
    options = {"workflow": source_text(written)}
    spec = {"kind": "subflow", "name": f"subflow:{name}", "options": options, "sure": sure}
    return _made(context, session, spec, (reads, writes), _items(errors))


def _is_row(model: ProperType, session: Session) -> bool:
    return isinstance(model, Instance) and session.hints.is_model(model) and session.read([model])


def _surely(output: ProperType) -> ProperType:
    """The output of a workflow whose last task may be skipped."""
    if not isinstance(output, UnionType):
        return output
    items = [item for item in map(proper, output.items) if not isinstance(item, NoneType)]
    return items[0] if len(items) == 1 else output


def _items(errors: ProperType) -> list[Type]:
    if isinstance(errors, UninhabitedType):
        return []
    return list(errors.items) if isinstance(errors, UnionType) else [errors]


def _made(context: FunctionContext, session: Session, spec: Spec, models: Models, errors: list[Type]) -> Type:
    """The graph of one node. ``models`` are what it reads and writes, ``errors`` those of a child run."""
    api, none = session.api, NoneType()
    rows = terms.row(api, [model or none for model in models])
    term = terms.term(api, "wait", spec, rows, terms.row(api, errors))
    return with_hidden(context.default_return_type, terms.shape(api, term))


def workflow_name(expression: Expression, session: Session) -> str:
    """Return the name of the workflow that an expression is, as far as it can be read; else a mention of it."""
    named = _named(expression)
    if named is None and isinstance(expression, RefExpr) and isinstance(expression.node, Var):
        named = _assigned(expression.node, session)
    if named is not None:
        return named
    shown = expression.name if isinstance(expression, NameExpr) else "workflow"
    return distinct(shown, source_text(expression))


def _named(expression: Expression) -> str | None:
    is_call = isinstance(expression, CallExpr) and isinstance(expression.callee, RefExpr)
    if not is_call or not isinstance(expression, CallExpr) or not isinstance(expression.callee, RefExpr):
        return None
    return literal_text(expression.args[0]) if expression.callee.fullname == WORKFLOW and expression.args else None


def _assigned(variable: Var, session: Session) -> str | None:
    """The name in what is assigned to a module's variable, where mypy has the module's syntax at hand."""
    tree = session.api.modules.get(variable.fullname.rpartition(".")[0])
    for statement in tree.defs if tree is not None else ():
        if isinstance(statement, AssignmentStmt):
            targets = [target for target in statement.lvalues if isinstance(target, NameExpr)]
            if any(target.node is variable for target in targets):
                return _named(statement.rvalue)
    return None


FUNCTIONS: Final = {
    "cloaca.algebra.waits.sleep": sleep,
    "cloaca.algebra.waits.wait_for": wait_for,
    "cloaca.contract.subflows.subflow": subflow,
}
