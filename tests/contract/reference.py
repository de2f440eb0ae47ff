"""The context contract, straight from the words of its specification: explicit sets, no cleverness, cubic time.

What it shares with ``cloaca.contract`` is ``assignable``, nothing else. A sealed graph is one node here, and its inside
a program of its own, so that it also checks what cloaca makes of scopes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from cloaca.contract.annotations import assignable
from tests.contract.programs import Case, Field, Leaf, Overlay, Program, Row, Sealed, Series, When

LENIENT = ("none_failed", "all_success")


class Found(NamedTuple):
    code: str
    task: str
    field: str


class Cyclic(Exception):
    """The program has no order."""


@dataclass(frozen=True)
class Group:
    id: str
    members: frozenset[str]
    heads: frozenset[str]
    reads: Row


@dataclass(frozen=True)
class Flat:
    """A program as nodes, edges and groups, each list of groups outermost first."""

    nodes: dict[str, Leaf | Sealed]
    edges: frozenset[tuple[str, str]]
    heads: frozenset[str]
    tails: frozenset[str]
    groups: tuple[Group, ...]


def flat(program: Program) -> Flat:
    match program:
        case Leaf(name) | Sealed(_, name):
            return Flat({name: program}, frozenset(), frozenset((name,)), frozenset((name,)), ())
        case When(part, reads, id):
            inner = flat(part)
            group = Group(id, frozenset(inner.nodes), inner.heads, reads)
            return Flat(inner.nodes, inner.edges, inner.heads, inner.tails, (group, *inner.groups))
        case Series(parts):
            whole, *rest = [flat(each) for each in parts]
            for other in rest:
                joined = {(a, b) for a in whole.tails for b in other.heads}
                nodes, groups = {**whole.nodes, **other.nodes}, (*whole.groups, *other.groups)
                whole = Flat(nodes, whole.edges | other.edges | joined, whole.heads, other.tails, groups)
            return whole
        case Overlay(parts):
            whole, *rest = [flat(each) for each in parts]
            for other in rest:
                whole = Flat(
                    {**whole.nodes, **other.nodes},
                    whole.edges | other.edges,
                    whole.heads | other.heads,
                    whole.tails | other.tails,
                    (*whole.groups, *other.groups),
                )
            return whole


class Model:
    """A flat program with the relations of the specification. A point is a node's name, or a group's id."""

    def __init__(self, case: Case) -> None:
        self.case, self.flat = case, flat(case.program)
        self.nodes, self.groups = self.flat.nodes, self.flat.groups
        edges = self.flat.edges | set(case.chains)
        self.preds = {name: {a for a, b in edges if b == name} for name in self.nodes}
        self.of_id = {group.id: group for group in self.groups}
        self.points = [*self.nodes, *self.of_id]
        self.preds.update({group.id: self.before_group(group) for group in self.groups})
        self.before = self.closure()
        for name in ("certain", "settled", "passed", "can_be_skipped"):
            setattr(self, name, cache(getattr(self, name)))

    def before_group(self, group: Group) -> set[str]:
        """A condition is decided once, before the first tasks of its graph."""
        return {pred for head in group.heads for pred in self.preds[head]} - group.members

    def around(self, point: str) -> list[Group]:
        """The groups that a point is in, outermost first: those that decide whether it comes to pass."""
        if point not in self.of_id:
            return [group for group in self.groups if point in group.members]
        members = self.of_id[point].members
        whole = [group for group in self.groups if members <= group.members]
        return whole[: [group.id for group in whole].index(point)]

    def closure(self) -> dict[str, set[str]]:
        """All points before each point."""
        before = {point: self.preds[point] | {group.id for group in self.around(point)} for point in self.points}
        for _ in self.points:
            for point in self.points:
                before[point] = before[point].union(*(before[other] for other in before[point]))
        if any(point in before[point] for point in self.points):
            raise Cyclic
        return before

    def ancestors(self, point: str) -> set[str]:
        return {other for other in self.before[point] if other in self.nodes}

    def order(self) -> list[str]:
        """The topological order of the tasks, ties by name."""
        done: list[str] = []
        while len(done) < len(self.nodes):
            done.append(min(n for n in self.nodes if n not in done and self.ancestors(n) <= set(done)))
        return done

    def rule(self, point: str) -> str:
        if point in self.nodes:
            return self.nodes[point].rule
        rules = {self.nodes[head].rule for head in self.of_id[point].heads}
        return rules.pop() if len(rules) == 1 else "all_done"

    # What is sure

    def decider(self, pred: str, point: str) -> str | None:
        """The outermost condition that can skip ``pred`` though ``point`` comes to pass."""
        around = {group.id for group in self.around(point)} | {point}
        return next((group.id for group in self.around(pred) if group.id not in around), None)

    def can_be_skipped(self, pred: str, point: str) -> bool:
        """Whether ``pred`` can be skipped by decision though ``point`` comes to pass."""
        return self.decider(pred, point) is not None or self.skips(pred)

    def skips(self, point: str) -> bool:
        """Whether a point's own rule can skip it by decision."""
        skippable = [self.can_be_skipped(pred, point) for pred in sorted(self.preds[point])]
        match self.rule(point):
            case "all_success":
                return any(skippable)
            case "any_success":
                return all(skippable)
            case rule:
                return rule in ("any_failed", "all_failed")

    def certain(self, point: str) -> frozenset[str]:
        """The tasks that have surely succeeded when ``point`` comes to pass."""
        if self.rule(point) not in LENIENT:
            return frozenset()
        known = [self.certain(group.id) for group in self.around(point)]
        for pred in self.preds[point]:
            every = self.rule(point) == "all_success"
            known.append(self.certain(pred) | {pred} if every else self.passed(pred, point))
        return frozenset().union(*known)

    def passed(self, pred: str, point: str) -> frozenset[str]:
        """What ``point`` may count on because of ``pred``, which has succeeded or was skipped by decision."""
        return self.settled(self.decider(pred, point) or pred)

    def settled(self, point: str) -> frozenset[str]:
        if not self.skips(point):
            return self.certain(point) | ({point} & self.nodes.keys())
        if self.rule(point) != "all_success":
            return frozenset()
        known = [self.certain(group.id) for group in self.around(point)]
        return frozenset().union(*known, *(self.passed(pred, point) for pred in self.preds[point]))


def reads_of(node: Leaf | Sealed) -> Row:
    return node.input if isinstance(node, Sealed) else node.reads


def writes_of(node: Leaf | Sealed) -> Row:
    return node.output if isinstance(node, Sealed) else node.writes


def violations(case: Case) -> set[Found]:
    """Return what is wrong, as the specification says. Raises Cyclic.

    Of ``write-conflict`` it says each task that is part of one; of ``field-type`` nothing for a field in conflict.
    """
    return set(_violations(case, ""))


def conflicts(model: Model) -> dict[str, set[str]]:
    """The tasks that write each field without an order between them, and without a reducer in both."""
    found: dict[str, set[str]] = {}
    for one in model.nodes:
        for other in model.nodes:
            ordered = one in model.ancestors(other) or other in model.ancestors(one)
            for first in writes_of(model.nodes[one]):
                for second in writes_of(model.nodes[other]):
                    if one < other and not ordered and first.key == second.key and not (first.fold and second.fold):
                        found.setdefault(first.key, set()).update((one, other))
    return found


def providers(model: Model, point: str, key: str, sure: frozenset[str]) -> list[str]:
    """Who may have written the value, latest first, "" for the input."""
    writers = [n for n in model.order() if n in model.ancestors(point) and key in _keys(writes_of(model.nodes[n]))]
    folds = any(field.fold for n in model.nodes for field in writes_of(model.nodes[n]) if field.key == key)
    found: list[str] = []
    for writer in reversed(writers):
        found.append(writer)
        replaces = not any(field.fold for field in writes_of(model.nodes[writer]) if field.key == key)
        if writer in sure and (replaces or not folds):
            return found
    return [*found, ""] if key in _keys(model.case.input) else found


def _violations(case: Case, prefix: str) -> Iterator[Found]:
    model = Model(case)
    clashes = conflicts(model)
    for key, tasks in clashes.items():
        yield from (Found("write-conflict", prefix + task, key) for task in tasks)
    for name, node in model.nodes.items():
        yield from _read_violations(model, name, reads_of(node), prefix + name, clashes)
        for field in writes_of(node):
            written = any(field.key in _keys(writes_of(model.nodes[n])) for n in model.ancestors(name))
            written = written or field.key in _keys(case.input)
            if written and not field.fold and field.key not in _keys(reads_of(node)):
                yield Found("unread-rewrite", prefix + name, field.key)
        if isinstance(node, Sealed):
            yield from _violations(Case(node.part, (), node.input, node.output), f"{prefix}{name}/")
    for group in model.groups:
        yield from _read_violations(model, group.id, group.reads, prefix + min(group.heads), clashes)
    if case.output:
        yield from _output_violations(model, prefix, clashes)


def _read_violations(model: Model, point: str, reads: Row, task: str, clashes: dict[str, set[str]]) -> Iterator[Found]:
    for read in reads:
        for code in _verdicts(model, point, read):
            if not (code == "field-type" and read.key in clashes):
                yield Found(code, task, read.key)


def _verdicts(model: Model, point: str, read: Field) -> Iterator[str]:
    sure = model.certain(point)
    found = providers(model, point, read.key, sure)
    given = {field.key: field for field in model.case.input}
    types = [
        next(f.type for f in (writes_of(model.nodes[n]) if n else model.case.input) if f.key == read.key) for n in found
    ]
    if read.required and not found:
        yield "missing-field"
    elif read.required and not sure & set(found) and not (read.key in given and given[read.key].required):
        yield "maybe-missing"
    if not all(assignable(type, read.type) for type in types):
        yield "field-type"


def _output_violations(model: Model, prefix: str, clashes: dict[str, set[str]]) -> Iterator[Found]:
    """``output=`` and the output of a sealed graph are read once everything is done."""
    assert model.case.output is not None
    last = {name for name in model.nodes if not any(name in model.ancestors(other) for other in model.nodes)}
    followed = {pred for name in model.nodes for pred in model.preds[name]}
    end = "end:"
    model.preds[end] = set(model.nodes) - followed
    assert last <= model.preds[end]
    model.before[end] = set(model.points)
    model.nodes = {**model.nodes, end: Leaf(end, model.case.output, ())}
    task = prefix.removesuffix("/") if prefix else "w"
    for found in _read_violations(model, end, model.case.output, task, clashes):
        yield Found("workflow-input", found.task, found.field)


def _keys(row: Row) -> set[str]:
    return {field.key for field in row}
