"""Names of rows inside fan-outs: ``each:fetch/17/parse`` is the node ``parse`` of element 17, counted from 0.

It reads names through a plan, and sorts a run's rows by the elements that they are about; it does not know what they
say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from cloaca.contract.plans import FanOut, Plan, PlanNode
from cloaca.ports import AttemptRow, FailureRow, History, RunRow, TaskRow, WaitRow

_ELEMENT = re.compile(r"/(\d+)/")


class Place(NamedTuple):
    """An element's node: the name of the fan-out around it, the element's number, the node's name in its plan."""

    fan: str
    element: int
    name: str


def place_of(plan: Plan, name: str) -> Place | None:
    """Return where in a fan-out of ``plan`` a row's name leads, None if it leads into none."""
    if not plan.fans or name in plan.by_name:
        return None
    for found in _ELEMENT.finditer(name):
        if name[: found.start()] in plan.fans:
            return Place(name[: found.start()], int(found[1]), name[found.end() :])
    return None


def prefix_of(fan: str, index: int) -> str:
    """Return what the names of an element's rows begin with.

    >>> prefix_of("each:fetch", 17)
    'each:fetch/17/'
    """
    return f"{fan}/{index}/"


def found(plan: Plan, name: str) -> PlanNode | None:
    """Return the node that a row is about, at any depth; None if the plan has none of that name."""
    if name in plan.by_name:
        return plan.nodes[plan.by_name[name]]
    place = place_of(plan, name)
    return None if place is None else found(fan_of(plan, place.fan).plan, place.name)


def outermost(plan: Plan, name: str) -> str:
    """Return the name, in the run's own plan, of the node that a row is about or that it is inside of."""
    place = place_of(plan, name)
    return name if place is None else place.fan


def fan_of(plan: Plan, name: str) -> FanOut:
    """Return a fan-out of a plan by its name."""
    fan = plan.fans[name].fan
    assert fan is not None  # that is what ``fans`` holds
    return fan


@dataclass(slots=True)
class Rows:
    """What is stored about one element, with names as in its plan; ``earlier`` as in ``RunRow``."""

    tasks: list[TaskRow] = field(default_factory=list)
    failures: list[FailureRow] = field(default_factory=list)
    attempts: list[AttemptRow] = field(default_factory=list)
    waits: list[WaitRow] = field(default_factory=list)
    children: list[RunRow] = field(default_factory=list)
    earlier: dict[str, int] = field(default_factory=dict)

    def history(self, run: RunRow) -> History:
        """Return the rows as those of a run of its own: that is what an element is to the machine."""
        earlier = json.dumps(self.earlier) if self.earlier else None
        row = run._replace(earlier=earlier, input=None)
        return History(row, self.tasks, self.failures, self.attempts, [], self.waits, (), self.children)

    @property
    def begun(self) -> set[str]:
        """The names of the nodes that are done, or wait."""
        return {row.name for row in self.tasks} | {row.name for row in self.waits}

    def all_succeeded(self, plan: Plan) -> bool:
        """Whether every node of the element's plan has succeeded, which is quickly seen."""
        return len(self.tasks) == len(plan.nodes) and all(row.status == "succeeded" for row in self.tasks)


Elements = Mapping[str, Mapping[int, Rows]]


def elements_in(plan: Plan, history: History, earlier: Mapping[str, int]) -> Elements:
    """Return the rows inside each fan-out of a run, by its name and the element's index. Cost: all rows."""
    sorted_out: dict[str, dict[int, Rows]] = {}

    def rows(place: Place) -> Rows:
        return sorted_out.setdefault(place.fan, {}).setdefault(place.element, Rows())

    if not plan.fans:
        return sorted_out
    for task, place in _inside(plan, history.tasks):
        rows(place).tasks.append(task._replace(name=place.name))
    for failure, place in _inside(plan, history.failures):
        rows(place).failures.append(failure._replace(name=place.name))
    for attempt, place in _inside(plan, history.attempts):
        rows(place).attempts.append(attempt._replace(name=place.name))
    for wait, place in _inside(plan, history.waits):
        rows(place).waits.append(wait._replace(name=place.name))
    for child in history.children:
        if child.parent_task is not None and (at := place_of(plan, child.parent_task)) is not None:
            rows(at).children.append(child._replace(parent_task=at.name))
    for name, count in earlier.items():
        if (at := place_of(plan, name)) is not None:
            rows(at).earlier[at.name] = count
    return sorted_out


R = TypeVar("R", TaskRow, FailureRow, AttemptRow, WaitRow)


def _inside(plan: Plan, rows: Iterable[R]) -> Iterator[tuple[R, Place]]:
    for row in rows:
        if (place := place_of(plan, row.name)) is not None:
            yield row, place
