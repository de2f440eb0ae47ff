"""Programs to run through the machine, as plain data: what a random DAG looks like before cloaca has seen it.

The reference evaluates this description, the machine the plan that cloaca makes of it. Neither module knows the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from pydantic import BaseModel

from cloaca.algebra.graphs import RULES, Graph, Rule
from cloaca.algebra.retries import NO_RETRY, Backoff, Retry
from cloaca.algebra.tasks import task
from cloaca.contract.plans import Plan
from cloaca.contract.workflows import WorkflowBuilder


class Nothing(BaseModel):
    """What the predicates read; the tests give the verdicts themselves."""


def holds(nothing: Nothing) -> bool:
    raise AssertionError("the machine calls nobody")


@task
def step() -> None:
    raise AssertionError("the machine calls nobody")


@dataclass(frozen=True)
class Item:
    """One node of a scope: a task, or with ``inner`` a sealed graph. ``preds`` are the places of earlier items."""

    name: str
    preds: tuple[int, ...] = ()
    rule: Rule = "none_failed"
    retry: Retry = NO_RETRY
    inner: Scope | None = None
    undo: Retry | None = None  # the retry policy of what compensates it, None if nothing does


@dataclass(frozen=True)
class Scope:
    """Items in a topological order, and the conditions over ranges of them, ``(first, behind the last)``.

    Groups nest or are disjoint, the outer before the inner; a range has no path that leaves it and comes back.
    """

    items: tuple[Item, ...]
    groups: tuple[tuple[int, int], ...] = ()

    def heads(self, group: tuple[int, int]) -> list[Item]:
        """Return the items of a group that no other item of it comes before."""
        start, stop = group
        return [item for item in self.items[start:stop] if not any(pred >= start for pred in item.preds)]

    def around(self, place: int) -> list[tuple[int, int]]:
        """Return the groups that an item belongs to, the outermost first."""
        return [group for group in self.groups if group[0] <= place < group[1]]

    def gate(self, group: tuple[int, int], prefix: str = "") -> str:
        """Return the name that the gate of a group has in the plan."""
        depth = sum(other[0] <= group[0] and group[1] <= other[1] for other in self.groups) - 1
        return f"when:{prefix}{min(item.name for item in self.heads(group))}:{depth}"


def scope(*items: Item, groups: tuple[tuple[int, int], ...] = ()) -> Scope:
    """Return a scope, written by hand."""
    return Scope(items, groups)


def plan_of(scope: Scope) -> Plan:
    """Return the plan that cloaca compiles a program to."""
    return _builder(scope, _guarded(scope), 0, len(scope.items)).build().plan


def _guarded(scope: Scope) -> list[Graph[Any, Any, Any]]:
    nodes = [_node(item) for item in scope.items]
    for start, stop in reversed(scope.groups):
        group = _builder(scope, nodes, start, stop).build().graph.when(holds)
        named = {node.name: node for node in group}
        nodes[start:stop] = [named[item.name] for item in scope.items[start:stop]]
    return nodes


def _node(item: Item) -> Graph[Any, Any, Any]:
    if item.inner is None:
        node = step.named(item.name).on(item.rule).with_options(retry=item.retry)
        if item.undo is None:
            return node
        return node.compensate(step.named(f"un-{item.name}").with_options(retry=item.undo))
    inner = _builder(item.inner, _guarded(item.inner), 0, len(item.inner.items)).build().graph
    return inner.sealed(None, None).named(item.name).on(item.rule)


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
    return Scope(items, tuple(sorted(groups, key=lambda group: (group[0], -group[1]))))


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
    return Item(f"t{place}", preds, rule, retry=_random_retry(random))


def _random_retry(random: Random) -> Retry:
    attempts = random.choice((2, 1, 1, 3))
    if attempts == 1:
        return NO_RETRY
    backoff: Backoff = random.choice(("exponential", "linear", "fixed"))
    jitter = random.choice((0.0, 0.5))
    return Retry(attempts, backoff, delay=random.choice((0.0, 1.0, 3.0)), max_delay=4.0, jitter=jitter)
