"""What it takes to move a blocked run to other code: whose results don't fit, and what came after them.

It reads rows through plans and writes nothing: it says what is to be written.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cloaca.contract.plans import Plan
from cloaca.errors import IncompatibleRun
from cloaca.interpreter.histories import earlier_attempts
from cloaca.interpreter.scopes import found, place_of, prefix_of
from cloaca.interpreter.versions import Code, Verdict, judge_rows
from cloaca.machine.states import onward
from cloaca.ports import History


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade writes: whose rows to delete, what ``RunRow.earlier`` becomes, and the text of its note.

    ``give_up`` are the tasks whose results are given up, as users know them, in the order of the workflow; ``verdict``
    is why.
    """

    give_up: tuple[str, ...]
    anew: list[str]
    earlier: str | None
    detail: str
    verdict: Verdict


def upgrade(code: Code, version: str, spec: Mapping[str, Any] | None, history: History) -> Upgrade:
    """Return what moves a run to some code. Raises IncompatibleRun if no result that is given up would make it fit."""
    verdict = judge_rows(code.plan, spec, history)
    now, kept = verdict, history
    dropped: set[str] = set()
    while not now.fits:
        cures = {misfit.cure for misfit in now.misfits}
        hopeless = [misfit.message for misfit in now.misfits if not misfit.cure]
        if history.run.closing is not None and any(not _closes(code.plan, cure) for cure in cures):
            hopeless = ["its outcome is known, and its compensations or callbacks are under way"]
        names = _behind(code.plan, cures, {row.name for row in kept.tasks})
        if hopeless or not names:
            raise IncompatibleRun("; ".join(hopeless or [now.reason]))
        dropped |= names
        kept = kept._replace(tasks=[row for row in kept.tasks if row.name not in names])
        now = judge_rows(code.plan, spec, kept)
    rows = [row for row in history.tasks if row.name in dropped]
    earlier = earlier_attempts(history.run) | {row.name: row.attempt for row in rows}
    give_up = tuple(dict.fromkeys(_shown(code.plan, row.name) for row in rows))
    told = f"; given up: {', '.join(give_up)}" if give_up else ""
    return Upgrade(
        give_up,
        [row.name for row in rows],
        json.dumps(earlier, sort_keys=True) if earlier else None,
        f"from version {history.run.version} to {version}{told}",
        verdict,
    )


def _closes(plan: Plan, name: str) -> bool:
    """Whether a row is one of the epilogue."""
    return plan.by_name.get(name, -1) >= plan.length


def _behind(plan: Plan, names: Collection[str], rows: Collection[str]) -> set[str]:
    """Return the rows of some tasks, and of all that comes after them."""
    gone: set[str] = set()
    for name in names:
        gone.update(_and_after(plan, name))
    return {row for row in rows if row in gone or any(row.startswith(f"{name}/") for name in gone)}


def _and_after(plan: Plan, name: str, prefix: str = "") -> Iterator[str]:
    """Yield the names of a task and of those behind it, at every depth; one that the plan lacks is alone."""
    if name in plan.by_name:
        index = plan.by_name[name]
        proper = onward(plan, [index]) if index < plan.length else [index]
        yield from (prefix + plan.nodes[node].name for node in proper)
        return
    place = place_of(plan, name)
    if place is None:
        yield prefix + name
        return
    fan = plan.fans[place.fan]
    assert fan.fan is not None  # that is what ``fans`` holds
    yield from _and_after(fan.fan.plan, place.name, prefix + prefix_of(place.fan, place.element))
    yield from (prefix + plan.nodes[node].name for node in onward(plan, [fan.index])[1:])


def _shown(plan: Plan, name: str) -> str:
    """Return the name by which a user gives up a row: that of the task, inside a fan-out that of its row."""
    node = found(plan, name) if name in plan.by_name else None
    return name if node is None else node.task
