"""What stored rows say about the elements of a fan-out: how many are done, and where each of them stands.

It reads rows through a plan and writes nothing, as ``histories`` does for runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from cloaca.contract.plans import FanOut, Plan
from cloaca.contract.sites import SHOWN
from cloaca.errors import UnknownTask
from cloaca.interpreter.histories import TaskInfo, earlier_attempts, outputs_of, restored, task_infos
from cloaca.interpreter.inputs import Outputs
from cloaca.interpreter.scopes import Rows, elements_in, fan_of, place_of, prefix_of
from cloaca.ports import History

STATUSES = ("pending", "running", "succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class ElementInfo:
    """An element of a fan-out: its place in the list, from 0, and where it and its tasks stand.

    ``status`` is ``pending``, ``running`` (something has been done for it, or is), ``succeeded``, ``failed`` or
    ``cancelled``. ``tasks`` is empty for one that is pending.
    """

    index: int
    status: str
    tasks: tuple[TaskInfo, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """A fan-out of a run: its full name, what it does, and what is stored about its elements."""

    name: str
    fan: FanOut
    total: int
    rows: Mapping[int, Rows]
    history: History


def counted(plan: Plan, history: History, infos: list[TaskInfo]) -> list[TaskInfo]:
    """Return the tasks of a run, with counts of the elements of those that are fan-outs. Cost: all rows."""
    if not plan.fans:
        return infos
    outputs = outputs_of(plan, history)
    inside = elements_in(plan, history, earlier_attempts(history.run))
    counts = {
        node.task: _counts(_found(plan, name, outputs, inside.get(name, {}), history))
        for name, node in plan.fans.items()
    }
    return [replace(info, elements=counts.get(info.name)) for info in infos]


def _counts(found: _Found) -> dict[str, int]:
    counts = {"succeeded": 0, "failed": 0, "running": 0, "cancelled": 0}
    for rows in found.rows.values():
        counts[_status(found, rows)] += 1
    known = {status: count for status, count in counts.items() if count}
    return {"total": found.total, **known}


def element_infos(
    plan: Plan, history: History, task: str, *, status: str | None, after: int, limit: int
) -> list[ElementInfo]:
    """Return some elements of the fan-out named ``task``, behind the element ``after``. Raises UnknownTask."""
    found = _reached(plan, history, task)
    infos = (_info(found, index) for index in range(after + 1, found.total))
    return list(islice((info for info in infos if status in (None, info.status)), limit))


def _reached(plan: Plan, history: History, task: str, prefix: str = "") -> _Found:
    """Find a fan-out by its name, that of one inside another by its full name: ``each:a/3/each:b``."""
    inside = elements_in(plan, history, earlier_attempts(history.run))
    outputs = outputs_of(plan, history)
    if task in plan.fans:
        found = _found(plan, task, outputs, inside.get(task, {}), history)
        return replace(found, name=prefix + task)
    place = place_of(plan, task)
    if place is None:
        known = ", ".join(prefix + name for name in plan.fans) or "none"
        raise UnknownTask(f'"{prefix}{task}" is no each() of workflow "{history.run.workflow}"; it has {known}')
    fan = fan_of(plan, place.fan)
    around = _found(plan, place.fan, outputs, inside.get(place.fan, {}), history)
    if place.element >= around.total:
        raise UnknownTask(f'"{prefix}{place.fan}" has {around.total:,} elements, so no element {place.element}')
    within = around.rows.get(place.element, Rows()).history(history.run)
    return _reached(fan.plan, within, place.name, f"{prefix}{prefix_of(place.fan, place.element)}")


def _found(plan: Plan, name: str, outputs: Outputs, rows: Mapping[int, Rows], history: History) -> _Found:
    fan = fan_of(plan, name)
    total = outputs.count(fan)
    return _Found(name, fan, max(rows, default=-1) + 1 if total is None else total, rows, history)


def _status(found: _Found, rows: Rows) -> str:
    if rows.all_succeeded(found.fan.plan):
        return "succeeded"
    state = restored(found.fan.plan, rows.history(found.history.run))
    if state.unfinished == 0:
        return "failed" if state.failed else "succeeded"
    return "cancelled" if found.history.run.finished_at is not None else "running"


def _info(found: _Found, index: int) -> ElementInfo:
    rows = found.rows.get(index)
    if rows is None:
        ended = found.history.run.finished_at is not None
        return ElementInfo(index, "cancelled" if ended else "pending", ())
    prefix = prefix_of(found.name, index)
    plan, history = found.fan.plan, rows.history(found.history.run)
    infos = counted(plan, history, task_infos(plan, history))
    return ElementInfo(index, _status(found, rows), tuple(_named(prefix, infos, plan)))


def _named(prefix: str, infos: list[TaskInfo], plan: Plan) -> Iterator[TaskInfo]:
    names = {node.task: node.name for node in plan.nodes if node.kind in SHOWN}
    for info in infos:
        scope, because = info.name.removesuffix(names[info.name]), info.skipped_because
        if because is not None and scope and because.startswith(scope):  # it begins with the task to blame
            because = prefix + because.removeprefix(scope)
        yield replace(info, name=prefix + names[info.name], skipped_because=because)
