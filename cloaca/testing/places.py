"""The places of a workflow at which something can go wrong, and what to say of one that it does not have.

A deviation at a place that does not exist never comes about, and a test of it holds whatever the engine does.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Final

from cloaca.contract.subflows import family
from cloaca.contract.workflows import Workflow
from cloaca.testing.deviations import ANY, CLAIM, SUBMIT, Scenario

BESIDE: Final = frozenset({ANY, CLAIM, SUBMIT})


def require_places(workflow: Workflow[Any, Any, Any, Any], scenario: Scenario) -> None:
    """Raise ValueError for a deviation at a place that neither the workflow nor those that it starts have."""
    if not scenario.deviations:
        return
    plans = [each.plan for each in family(workflow).values()]
    known = {name for plan in plans for node in plan.nodes for name in (node.name, node.task)}
    inside = {name for plan in plans for node in plan.everywhere() for name in (node.name, node.task)} - known
    for each in scenario.deviations:
        if each.at in known or each.at in BESIDE:
            continue
        *fans, name = each.at.split("/")
        if fans and name in inside:
            continue
        text = f'Scenario: {each}: workflow "{workflow.name}" has no "{each.at}"'
        if name in inside:
            text += f'; each element of a fan-out has its own, as in "{_element(workflow, name)}"'
        elif near := get_close_matches(each.at, known, n=1):
            text += f'; did you mean "{near[0]}"?'
        raise ValueError(text)


def _element(workflow: Workflow[Any, Any, Any, Any], name: str) -> str:
    """Return the place of a task for the first element of its fan-out."""
    nodes = [node for each in family(workflow).values() for node in each.plan.everywhere() if node.fan is not None]
    fans = [n.name for n in nodes if n.fan is not None and name in {m.name for m in n.fan.plan.nodes}]
    return f"{fans[0] if fans else 'each:...'}/0/{name}"
