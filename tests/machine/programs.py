"""Programs to run through the machine, as plain data: what a random DAG looks like before cloaca has seen it.

The reference evaluates this description, the machine the plan that cloaca makes of it. Neither module knows the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

from pydantic import BaseModel
from returns.result import Result

from cloaca.algebra.branches import branch
from cloaca.algebra.graphs import RULES, Graph, Node, Rule
from cloaca.algebra.retries import NO_RETRY, Backoff, Retry
from cloaca.algebra.tasks import task
from cloaca.algebra.waits import sleep, wait_for
from cloaca.contract.plans import Plan
from cloaca.contract.subflows import subflow
from cloaca.contract.workflows import Workflow, WorkflowBuilder

Waiting = tuple[Literal["sleep", "wait", "subflow"], float | None]


class Nothing(BaseModel):
    """What the predicates read; the tests give the verdicts themselves."""


def holds(nothing: Nothing) -> bool:
    raise AssertionError("the machine calls nobody")


class Refusal(BaseModel):
    """What a task may answer with instead."""


@task
def step() -> Result[None, Refusal]:
    raise AssertionError("the machine calls nobody")


@task
def handler() -> None:
    raise AssertionError("the machine calls nobody")


@task
def refusal_handler(refusal: Refusal) -> None:
    raise AssertionError("the machine calls nobody")


class Signal(BaseModel):
    """What is waited for."""


child = Workflow("child", step)


@dataclass(frozen=True)
class Handler:
    """What stands in for a task; with ``typed`` only after a typed error."""

    name: str
    typed: bool = False
    retry: Retry = NO_RETRY
    undo: Retry | None = None


@dataclass(frozen=True)
class Item:
    """One node of a scope: a task, with ``inner`` a sealed graph, with ``waits`` what it waits for, and how long.

    ``preds`` are the places of earlier items.
    """

    name: str
    preds: tuple[int, ...] = ()
    rule: Rule = "none_failed"
    retry: Retry = NO_RETRY
    inner: Scope | None = None
    undo: Retry | None = None  # the retry policy of what compensates it, None if nothing does
    waits: Waiting | None = None
    handler: Handler | None = None


@dataclass(frozen=True)
class Around:
    """A condition over a range of items, by its ``gate``; or an arm, for which its decision must have ``said`` so."""

    range: tuple[int, int]
    gate: str
    said: bool = True
    is_arm: bool = False


@dataclass(frozen=True)
class Scope:
    """Items in a topological order, and the conditions over ranges of them, ``(first, behind the last)``.

    ``branches`` are ``(decision, first of the second arm, behind its last)``: the item ``decision`` chooses between the
    two ranges behind it. Ranges nest or are disjoint, the outer before the inner; no path leaves one and comes back.
    """

    items: tuple[Item, ...]
    groups: tuple[tuple[int, int], ...] = ()
    branches: tuple[tuple[int, int, int], ...] = ()

    def heads(self, group: tuple[int, int]) -> list[Item]:
        """Return the items of a group that no other item of it comes before."""
        start, stop = group
        return [item for item in self.items[start:stop] if not any(pred >= start for pred in item.preds)]

    def arms(self) -> list[tuple[tuple[int, int], int, bool]]:
        """Return the arms: their ranges, the decisions, and what those must say."""
        found = [((d + 1, middle), d, True) for d, middle, _ in self.branches]
        return found + [((middle, stop), d, False) for d, middle, stop in self.branches]

    def around(self, start: int, stop: int, prefix: str = "") -> list[Around]:
        """Return the conditions and arms around a range, the outermost first; its own condition is the last."""
        found = [Around(group, self.gate(group, prefix)) for group in self.groups if _within((start, stop), group)]
        for arm, d, said in self.arms():
            if _within((start, stop), arm):
                found.append(Around(arm, prefix + self.items[d].name, said, is_arm=True))
        return sorted(found, key=lambda each: (each.range[0], -each.range[1], not each.is_arm))

    def gate(self, group: tuple[int, int], prefix: str = "") -> str:
        """Return the name that the gate of a group has in the plan."""
        depth = sum(_within(group, other) for other in self.groups) - 1
        depth += sum(_within(group, arm) for arm, _, _ in self.arms())
        return f"when:{prefix}{min(item.name for item in self.heads(group))}:{depth}"


def _within(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def scope(
    *items: Item, groups: tuple[tuple[int, int], ...] = (), branches: tuple[tuple[int, int, int], ...] = ()
) -> Scope:
    """Return a scope, written by hand."""
    return Scope(items, groups, branches)


def plan_of(scope: Scope) -> Plan:
    """Return the plan that cloaca compiles a program to."""
    return _builder(scope, _guarded(scope), 0, len(scope.items)).build().plan


def _guarded(scope: Scope) -> list[Graph[Any, Any, Any]]:
    nodes = [_node(item) for item in scope.items]
    spans = [(start, stop, start) for start, stop in scope.groups] + [(d, stop, m) for d, m, stop in scope.branches]
    for start, stop, middle in sorted(spans, key=lambda span: (span[0], -span[1], span[2]), reverse=True):
        if (start, middle, stop) in scope.branches:
            item = scope.items[start]
            then, otherwise = _range(scope, nodes, start + 1, middle), _range(scope, nodes, middle, stop)
            graph: Graph[Any, Any, Any] = branch(holds, then=then, otherwise=otherwise).named(item.name).on(item.rule)
        else:
            graph = _range(scope, nodes, start, stop).when(holds)
        named = {node.name: node for node in graph}
        nodes[start:stop] = [named[item.name] for item in scope.items[start:stop]]
    return nodes


def _range(scope: Scope, nodes: list[Graph[Any, Any, Any]], start: int, stop: int) -> Graph[Any, Any, Any]:
    return _builder(scope, nodes, start, stop).build().graph if start < stop else Graph()


def _node(item: Item) -> Graph[Any, Any, Any]:
    if item.waits is not None:
        return _waits(*item.waits, key=item.name).named(item.name).on(item.rule)
    if item.inner is None:
        node = step.named(item.name).on(item.rule).with_options(retry=item.retry)
        if item.undo is not None:
            node = node.compensate(step.named(f"un-{item.name}").with_options(retry=item.undo))
        if item.handler is None:
            return node
        stand_in: Any = refusal_handler if item.handler.typed else handler
        stand_in = stand_in.named(item.handler.name).with_options(retry=item.handler.retry)
        if item.handler.undo is not None:
            stand_in = stand_in.compensate(step.named(f"un-{item.handler.name}").with_options(retry=item.handler.undo))
        return node.rescue(stand_in)
    inner = _builder(item.inner, _guarded(item.inner), 0, len(item.inner.items)).build().graph
    return inner.sealed(None, None).named(item.name).on(item.rule)


def _waits(kind: str, seconds: float | None, key: str) -> Node[Any, Any, Any]:
    if kind == "sleep":
        return sleep(seconds or 0.0)
    return subflow(child) if kind == "subflow" else wait_for(Signal, timeout=seconds).into(key)


def _builder(scope: Scope, nodes: list[Graph[Any, Any, Any]], start: int, stop: int) -> WorkflowBuilder:
    """Return a builder with a range of a scope's items, and the edges between them."""
    builder = WorkflowBuilder("random")
    for item, node in zip(scope.items[start:stop], nodes[start:stop], strict=True):
        builder.add(node, after=[nodes[pred] for pred in item.preds if pred >= start])
    return builder


def random_program(random: Random) -> Scope:
    """Return a random program: a DAG with rules, retries, nested conditions, sealed graphs."""
    return _random_scope(random, most=7, deep=1)


def _random_scope(random: Random, most: int, deep: int) -> Scope:
    count = random.choice((most // 2, *range(1, most + 1), most))
    items = tuple(_random_item(random, place, deep) for place in range(count))
    groups: set[tuple[int, int]] = set()
    for _ in range(random.choice((0, 0, 1, 1, 2, 3))):
        start = random.randrange(count)
        group = (start, random.randint(start + 1, count))
        if not any(_crossing(group, other) for other in groups):
            groups.add(group)
    ordered = tuple(sorted(groups, key=lambda group: (group[0], -group[1])))
    branches = _random_branches(random, count, ordered)
    return _chosen(Scope(items, ordered, branches))


def _random_branches(
    random: Random, count: int, groups: tuple[tuple[int, int], ...]
) -> tuple[tuple[int, int, int], ...]:
    branches: list[tuple[int, int, int]] = []
    for _ in range(random.choice((0, 0, 1, 1, 2))):
        d = random.randrange(count)
        stop = random.randint(d + 1, count)
        made = (d, random.randint(d + 1, stop), stop)
        spans = [*groups, *(span for other in branches for span in _spans(other))]
        if (
            all(made[0] != other[0] for other in branches)
            and not any(_crossing(span, other) for span in _spans(made) for other in spans)
            and all(_keeps(span, other) for span in (*spans, *_spans(made)) for other in (*branches, made))
        ):
            branches.append(made)
    return tuple(branches)


def _keeps(span: tuple[int, int], branch: tuple[int, int, int]) -> bool:
    """Whether a range that has the decision of a branch has all of it, and one behind that is in one arm."""
    d, middle, stop = branch
    if span[0] <= d < span[1]:
        return stop <= span[1]
    return not d < span[0] < stop or _within(span, (d + 1, middle)) or _within(span, (middle, stop))


def _spans(branch: tuple[int, int, int]) -> list[tuple[int, int]]:
    """The ranges of a branch: all of it, and its arms."""
    d, middle, stop = branch
    return [(d, stop), *(arm for arm in ((d + 1, middle), (middle, stop)) if arm[0] < arm[1])]


def _chosen(scope: Scope) -> Scope:
    """Return the scope whose decisions are plain items, before the first ones of their arms."""
    items = list(scope.items)
    for (start, stop), d, _ in scope.arms():
        items[d] = Item(items[d].name, items[d].preds, items[d].rule)
        for place in range(start, stop):
            if not any(start <= pred for pred in items[place].preds):
                items[place] = replace(items[place], preds=tuple(sorted({*items[place].preds, d})))
    return replace(scope, items=tuple(items))


def _crossing(one: tuple[int, int], other: tuple[int, int]) -> bool:
    (a, b), (c, d) = sorted((one, other))
    return a < c < b < d


def _random_item(random: Random, place: int, deep: int) -> Item:
    preds = tuple(pred for pred in range(place) if random.randrange(3) == 0)
    rule: Rule = "none_failed"
    if random.randrange(2 if preds else 9) == 1:
        rule = random.choice(RULES)
    if deep and random.randrange(6) == 1:
        return Item(f"t{place}", preds, rule, inner=_random_scope(random, most=3, deep=deep - 1))
    if random.randrange(5) == 1:
        kind: Literal["sleep", "wait", "subflow"] = random.choice(("sleep", "wait", "subflow"))
        seconds = None if kind == "subflow" else random.choice((0.0, 1.0, 4.0) if kind == "sleep" else (None, 1.0, 4.0))
        return Item(f"t{place}", preds, rule, waits=(kind, seconds))
    stand_in = None
    if random.randrange(4) == 1:
        stand_in = Handler(f"h{place}", random.random() < 0.5, _random_retry(random))
    return Item(f"t{place}", preds, rule, retry=_random_retry(random), handler=stand_in)


def _random_retry(random: Random) -> Retry:
    attempts = random.choice((2, 1, 1, 3))
    if attempts == 1:
        return NO_RETRY
    backoff: Backoff = random.choice(("exponential", "linear", "fixed"))
    jitter = random.choice((0.0, 0.5))
    return Retry(attempts, backoff, delay=random.choice((0.0, 1.0, 3.0)), max_delay=4.0, jitter=jitter)
