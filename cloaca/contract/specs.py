"""What of a plan is stored beside its runs, as JSON values: names, order, rules and rows, and what each field may hold.

It knows plans; what is made of a stored one, ``compatibility`` and those who show runs know. There is no code in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from cloaca.contract.schemas import FieldType, type_of, types_of

if TYPE_CHECKING:
    from cloaca.contract.plans import Answer, FanOut, Plan, PlanNode, Source

Types = dict[str, str]  # what a field may hold, as messages name it, by its id


def spec_of(plan: Plan) -> dict[str, Any]:
    """Return what is stored of a plan.

    ``types`` names the types whose ids the rows have: ``given`` is the input's row, ``writes`` a node's, ``error`` the
    row of its typed error, ``answers`` are those of the models that a run may answer with.
    """
    types: Types = {}
    return {
        "answers": [_row(model, types) for model in plan.outputs],
        "context": {key: _source(source) for key, source in plan.context.items()},
        "given": _row(plan.input, types) if plan.input else {},
        "input": plan.input.__name__ if plan.input else None,
        "nodes": [_node(node, types) for node in plan.nodes],
        "output": _answer(plan.answer),
        "types": types,
    }


def _row(model: type[BaseModel], types: Types) -> dict[str, str]:
    return {name: _noted(found, types) for name, found in types_of(model).items()}


def _noted(found: FieldType, types: Types) -> str:
    types[found.id] = found.shown
    return found.id


def _node(node: PlanNode, types: Types) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": node.name, "kind": node.kind, "preds": node.preds}
    if node.rule != "none_failed":
        spec["rule"] = node.rule
    if node.gates:
        spec["gates"] = node.gates
    usual = tuple([pred for pred in node.preds if pred not in node.gates]) if node.gates else node.preds
    if node.awaited != usual:
        spec["awaited"] = node.awaited
    if node.otherwise:
        spec["otherwise"] = sorted(node.otherwise)
    if node.predicate is not None:
        spec["predicate"] = getattr(node.predicate, "__name__", "condition")
    if node.rescues is not None:
        spec["rescues"] = node.rescues
    if node.given:
        spec["given"] = node.given
    if node.arguments:
        spec["reads"] = {name: _source(source) for arg in node.arguments for name, source in arg.sources.items()}
    if node.output:
        spec["writes"] = _row(node.output, types)
    if node.body is not None and node.body.signature.error is not None:
        spec["error"] = _row(node.body.signature.error, types)
    if node.undoes is not None:
        spec["undoes"] = node.undoes
    if node.outcomes:
        spec["outcomes"] = node.outcomes
    if node.fan:
        spec["each"] = _fan(node.fan, types)
    if node.signal is not None:
        spec["signal"] = node.signal
    if node.child is not None:
        spec["workflow"] = node.child.name
    return spec


def _fan(fan: FanOut, types: Types) -> dict[str, Any]:
    inner = {"nodes": [_node(node, types) for node in fan.plan.nodes], "output": fan.output}
    around = {key: _source(source) for key, source in fan.around.items()}
    return {
        "over": _source(fan.over),
        "fields": fan.fields,
        "around": around,
        "into": fan.into,
        "list": _noted(type_of(fan.type), types),
        **inner,
    }


def _source(source: Source) -> list[Any]:
    providers: list[Any] = [[provider.node, provider.field] for provider in source.providers]
    return [*providers, "reduce"] if source.reduce else providers


def _answer(answer: Answer) -> Any:
    if answer.argument is not None:
        return {name: _source(source) for name, source in answer.argument.sources.items()}
    if not answer.nodes:
        return None if answer.nothing else "context"
    return answer.nodes[0] if len(answer.nodes) == 1 else answer.nodes
