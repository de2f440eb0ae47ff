"""Plans as they are stored beside their runs: enough of a plan to say where a run stands, without the user's code.

It reads what ``Plan.spec`` writes: names, order, rules. There are no bodies, no models, and no predicates but their
names.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cloaca.contract.plans import Answer, FanOut, Plan, PlanNode, Source


def plan_of(spec: str) -> Plan:
    """Return the plan that ``spec`` describes, to read rows with; it can't be run. Raises ValueError.

    >>> plan = plan_of('{"input":null,"nodes":[{"kind":"task","name":"a","preds":[]},'
    ...                '{"kind":"task","name":"b","preds":[0]}]}')
    >>> [(node.task, node.preds, node.succs) for node in plan.nodes]
    [('a', (), (1,)), ('b', (0,), ())]
    """
    try:
        return _plan(json.loads(spec)["nodes"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the stored plan can't be read: {error!r}") from error


def _plan(stored: list[dict[str, Any]]) -> Plan:
    succs: list[list[int]] = [[] for _ in stored]
    for index, node in enumerate(stored):
        for pred in node["preds"]:
            succs[pred].append(index)
    nodes = tuple(_node(index, node, succs[index]) for index, node in enumerate(stored))
    handlers = {node.rescues: node.index for node in nodes if node.rescues is not None}
    return Plan(tuple(replace(node, handler=handlers.get(node.index)) for node in nodes), None, Answer(), {})


def _node(index: int, stored: dict[str, Any], succs: list[int]) -> PlanNode:
    gates = tuple(stored.get("gates", ()))
    preds = tuple(stored["preds"])
    return PlanNode(
        index=index,
        name=stored["name"],
        kind=stored["kind"],
        task=_task(stored["kind"], stored["name"]),
        preds=preds,
        succs=tuple(succs),
        awaited=tuple(stored.get("awaited", (pred for pred in preds if pred not in gates))),
        gates=gates,
        otherwise=frozenset(stored.get("otherwise", ())),
        rule=stored.get("rule", "none_failed"),
        signal=stored.get("signal"),
        predicate=_predicate(stored.get("predicate")) if stored["kind"] in ("gate", "branch") else None,
        rescues=stored.get("rescues"),
        given=tuple((place, what) for place, what in stored.get("given", ())),
        undoes=stored.get("undoes"),
        outcomes=tuple(stored.get("outcomes", ())),
        fan=_fan(stored["each"]) if "each" in stored else None,
    )


def _fan(stored: dict[str, Any]) -> FanOut:
    """Return a fan-out by which the rows of its elements are found; it has no element."""
    return FanOut(
        _plan(stored["nodes"]), Source(()), tuple(stored["fields"]), {}, stored["output"], stored["into"], object
    )


def _predicate(name: str | None) -> Callable[[Any], bool]:
    """Return something with the name of a condition. It is never asked."""

    def stand_in(_: Any) -> bool:
        raise AssertionError("a stored plan has no code")

    stand_in.__name__ = name or "condition"
    return stand_in


def _task(kind: str, name: str) -> str:
    """Return the task that a node goes by: a gate is named ``when:<task>:<depth>``, an entry ``entry:<task>``.

    >>> _task("gate", "when:ship:0"), _task("entry", "entry:s"), _task("task", "a:b")
    ('ship', 's', 'a:b')
    """
    if kind == "gate":
        return name.removeprefix("when:").rpartition(":")[0]
    return name.removeprefix("entry:") if kind == "entry" else name
