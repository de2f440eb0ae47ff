"""The places of a workflow at which something can go wrong, and what to say of one that it does not have.

A deviation at a place that does not exist never comes about, and a test of it holds whatever the engine does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, Final

from cloaca.contract.plans import Plan
from cloaca.contract.subflows import family
from cloaca.contract.workflows import Workflow
from cloaca.testing.deviations import ANY, CLAIM, SUBMIT, Scenario

BESIDE: Final = frozenset({ANY, CLAIM, SUBMIT})
FIRST: Final = "/0/"  # the first element of a fan-out, which stands for each


def require_places(workflow: Workflow[Any, Any, Any, Any], scenario: Scenario) -> None:
    """Raise ValueError for a deviation at a place that neither the workflow nor those that it starts have."""
    if not scenario.deviations:
        return
    known = {place for each in family(workflow).values() for place in _places(each.plan)}
    for each in scenario.deviations:
        if each.at in BESIDE or re.sub(r"/\d+/", FIRST, each.at) in known:
            continue
        text = f'Scenario: {each}: workflow "{workflow.name}" has no "{each.at}"'
        inside = sorted(place for place in known if place.endswith(FIRST + each.at.split("/")[-1]))
        if inside:
            text += f'; each element of a fan-out has its own, as in "{inside[0]}"'
        elif near := get_close_matches(each.at, sorted(known), n=1):
            text += f'; did you mean "{near[0]}"?'
        raise ValueError(text)


def _places(plan: Plan) -> Iterator[str]:
    for node in plan.nodes:
        yield node.name
        yield node.task
        if node.fan is not None:
            yield from (f"{node.name}{FIRST}{inner}" for inner in _places(node.fan.plan))
