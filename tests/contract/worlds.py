"""Every way in which a run of a small program can go, by the words of the specification about skips.

A world says of each task whether its body succeeds, and of each condition whether it holds. What the plan binds must
be there in each of them: the latest write before each read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from cloaca.contract.plans import Plan, Source
from cloaca.contract.steps import INPUT
from tests.contract.reference import Choice, Model, _keys, writes_of

# How each point ended: ok, no (a condition that does not hold), otherwise (a branch that says no), failed, decision,
# failure.
World = Mapping[str, str]


def worlds(model: Model) -> Iterator[World]:
    """Yield how the points of a program may end."""
    points = sorted(model.points, key=lambda point: (len(model.before[point]), point in model.rescued, point))
    for choices in product((True, False), repeat=len(points)):
        chosen = dict(zip(points, choices, strict=True))
        world: dict[str, str] = {}
        for point in points:
            world[point] = _end(model, point, chosen[point], world)
        yield world


def _end(model: Model, point: str, choice: bool, world: World) -> str:
    if point in model.rescued:
        end = world[model.rescued[point]]
        if end != "failed":
            return end if end in ("decision", "failure") else "decision"
        return "ok" if choice else "failed"
    for group in model.around(point):
        if world[group.id] != ("otherwise" if group.said is False else "ok"):
            return "decision" if world[group.id] in ("ok", "no", "otherwise", "decision") else "failure"
    skipped = _skipped(model.rule(point), [_standing(model, pred, world) for pred in sorted(model.awaited[point])])
    if skipped:
        return skipped
    if point in model.of_id:
        return "ok" if choice else "no"
    if isinstance(model.nodes[point], Choice):
        return "ok" if choice else "otherwise"
    return "ok" if choice else "failed"


def _standing(model: Model, pred: str, world: World) -> str:
    handler = model.handlers.get(pred)
    rescued = handler is not None and world[pred] == "failed" and world[handler] == "ok"
    return "ok" if rescued or world[pred] == "otherwise" else world[pred]


def _skipped(rule: str, preds: list[str]) -> str | None:
    failed = [end for end in preds if end in ("failed", "failure")]
    succeeded = [end for end in preds if end == "ok"]
    neither = [end for end in preds if end == "decision"]
    if rule == "all_done":
        return None
    if rule == "none_failed":
        return "failure" if failed else None
    if rule == "all_success":
        return "failure" if failed else "decision" if neither else None
    if rule == "any_success":
        return None if succeeded else "failure" if failed else "decision"
    if rule == "any_failed":
        return None if failed else "decision"
    return None if len(failed) == len(preds) else "decision"  # all_failed


def unsound(model: Model, plan: Plan) -> str | None:
    """Return what goes wrong in some world, None if nothing does."""
    order, by_point = model.order(), _by_point(model, plan)
    for world in worlds(model):
        for point, node in by_point.items():
            if world[point] in ("decision", "failure"):
                continue
            for argument in plan.nodes[node].arguments:
                for name, field in argument.model.model_fields.items():
                    source = argument.sources.get(name)
                    wrote = [n for n in order if n in model.ancestors(point) and world[n] == "ok"]
                    wrote = [n for n in wrote if name in _keys(writes_of(model.nodes[n]))]
                    expected = [plan.by_name[n] for n in reversed(wrote)]
                    expected += [INPUT] if name in _keys(model.case.input) else []
                    found = _ran(model, plan, source, world)
                    if found != (expected if source and source.reduce else expected[:1]):
                        return f"{point} reads {name} from {found}, not {expected}, in {world}"
                    if field.is_required() and not _surely(model, name, found):
                        return f"{point} lacks {name} in {world}"
    return None


def _by_point(model: Model, plan: Plan) -> dict[str, int]:
    gates = [node for node in plan.nodes if node.kind == "gate"]
    named = {node.predicate.__name__: node.index for node in gates if node.predicate}
    readers = {name: plan.by_name.get(f"entry:{name}", plan.by_name[name]) for name in model.nodes}
    return {**readers, **{id: named[id] for id in model.of_id}}


def _ran(model: Model, plan: Plan, source: Source | None, world: World) -> list[int]:
    """The providers of a source that have written; with a reducer all of them, else the first."""
    ran = [p for p in (source.providers if source else ()) if p.node == INPUT or world[plan.nodes[p.node].name] == "ok"]
    return [p.node for p in (ran if source and source.reduce else ran[:1])]


def _surely(model: Model, key: str, found: list[int]) -> bool:
    given = next((field for field in model.case.input if field.key == key), None)
    return any(node != INPUT for node in found) or (INPUT in found and given is not None and given.required)
