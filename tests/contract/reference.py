"""The context contract, straight from the words of its specification: explicit sets, no cleverness, cubic time.

What it shares with ``cloaca.contract`` is ``assignable``, nothing else. A sealed graph is one node here, and its inside
a program of its own, so that it also checks what cloaca makes of scopes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

from cloaca.contract.assignability import assignable
from tests.contract.programs import Branch, Case, Field, Leaf, Overlay, Program, Row, Sealed, Series, When

LENIENT = ("none_failed", "all_success")


class Found(NamedTuple):
    code: str
    task: str
    field: str


class Cyclic(Exception):
    """The program has no order."""


@dataclass(frozen=True)
class Group:
    """A condition over a graph; or with ``said`` an arm, whose ``id`` is the decision's name."""

    id: str
    members: frozenset[str]
    heads: frozenset[str]
    reads: Row
    said: bool | None = None


@dataclass(frozen=True)
class Choice:
    """The decision of a branch as a node."""

    reads: Row
    writes: Row = ()
    rule: str = "none_failed"


Way = frozenset[tuple[str, bool]]
Fact = tuple[str, Way]  # a task that surely has succeeded (or its handler has), if decisions have been made so
NOTHING: frozenset[Fact] = frozenset()


@dataclass(frozen=True)
class Flat:
    """A program as nodes, edges and groups, each list of groups outermost first."""

    nodes: dict[str, Leaf | Sealed | Choice]
    edges: frozenset[tuple[str, str]]
    heads: frozenset[str]
    tails: frozenset[str]
    groups: tuple[Group, ...]


def flat(program: Program) -> Flat:
    match program:
        case Leaf(name) | Sealed(_, name):
            return Flat({name: program}, frozenset(), frozenset((name,)), frozenset((name,)), ())
        case Branch(then, otherwise, reads, _):
            whole = Flat({program.name: Choice(reads)}, frozenset(), frozenset((program.name,)), frozenset(), ())
            for arm, said in ((then, True), (otherwise, False)):
                inner = flat(arm) if arm else Flat({}, frozenset(), frozenset(), frozenset((program.name,)), ())
                group = Group(program.name, frozenset(inner.nodes), inner.heads, (), said)
                chosen = {(program.name, head) for head in inner.heads}
                nodes, groups = {**whole.nodes, **inner.nodes}, (*whole.groups, group, *inner.groups)
                whole = Flat(nodes, whole.edges | inner.edges | chosen, whole.heads, whole.tails | inner.tails, groups)
            return whole
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
    """A flat program with the relations of the specification. A point is a node's name, or a condition's id.

    A handler is a node with the predecessors, the rule and the conditions of the task that it stands in for.
    """

    def __init__(self, case: Case) -> None:
        self.case, self.flat = case, flat(case.program)
        leaves = {name: node for name, node in self.flat.nodes.items() if isinstance(node, Leaf)}
        self.handlers = {name: leaf.handler.name for name, leaf in leaves.items() if leaf.handler}
        self.rescued = {handler: name for name, handler in self.handlers.items()}
        self.nodes = dict(self.flat.nodes)
        for leaf in leaves.values():
            if leaf.handler:
                self.nodes[leaf.handler.name] = Leaf(
                    leaf.handler.name, leaf.handler.reads, leaf.handler.writes, leaf.rule
                )
        self.groups = self.flat.groups
        edges = self.flat.edges | set(case.chains)
        self.awaited = {name: {a for a, b in edges if b == self.rescued.get(name, name)} for name in self.nodes}
        self.of_id = {group.id: group for group in self.groups if group.said is None}
        self.points = [*self.nodes, *self.of_id]
        self.awaited.update({group.id: self.before_group(group) for group in self.of_id.values()})
        self.preds = {p: before | {self.handlers.get(a, a) for a in before} for p, before in self.awaited.items()}
        self.around = cache(self.around)  # type: ignore[method-assign]  # as below, but asked for before
        self.before = self.closure()
        for name in ("certain", "settled", "passed", "can_be_skipped", "skips", "rule"):
            setattr(self, name, cache(getattr(self, name)))

    def before_group(self, group: Group) -> set[str]:
        """A condition is decided once, before the first tasks of its graph."""
        return {pred for head in group.heads for pred in self.awaited[head]} - group.members

    def around(self, point: str) -> list[Group]:
        """The groups that a point is in, outermost first: those that decide whether it comes to pass."""
        if point not in self.of_id:
            return [group for group in self.groups if self.rescued.get(point, point) in group.members]
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
        """The topological order of the tasks, ties by name. A decision comes as soon as it can."""
        done: list[str] = []
        left = {n for n in self.nodes if not isinstance(self.nodes[n], Choice)}
        while left:
            known = {*done, *(n for n in self.nodes if isinstance(self.nodes[n], Choice))}
            ready = (
                n for n in left if self.ancestors(n) | ({self.rescued[n]} if n in self.rescued else set()) <= known
            )
            done.append(min(ready))
            left.remove(done[-1])
        return done

    def rule(self, point: str) -> str:
        if point in self.nodes:
            return self.nodes[point].rule
        rules = {self.nodes[head].rule for head in self.of_id[point].heads}
        return rules.pop() if len(rules) == 1 else "all_done"

    def exclude(self, one: str, other: str) -> bool:
        """Whether never both of two points come to pass."""
        if self.rescued.get(one) == other or self.rescued.get(other) == one:
            return True
        said = self.said(other)
        return any(said.get(gate, taken) != taken for gate, taken in self.said(one).items())

    # What is sure

    def said(self, point: str) -> dict[str, bool]:
        """What the branches around a point have decided when it comes to pass."""
        return {group.id: group.said for group in self.around(point) if group.said is not None}

    def deciders(self, pred: str, point: str) -> list[Group]:
        """The conditions and arms that can skip ``pred`` though ``point`` comes to pass, outermost first."""
        around = {(group.id, group.said) for group in self.around(point)} | {(point, None)}
        return [group for group in self.around(pred) if (group.id, group.said) not in around]

    def can_be_skipped(self, pred: str, point: str) -> bool:
        """Whether ``pred`` can be skipped by decision though ``point`` comes to pass."""
        return bool(self.deciders(pred, point)) or self.skips(pred)

    def way(self, pred: str, point: str) -> Way | None:
        """What must be decided for ``pred`` not to be skipped by decision, if branches alone can skip it."""
        deciders = self.deciders(pred, point)
        if self.skips(pred) or any(group.said is None or self.skips(group.id) for group in deciders):
            return None
        return frozenset((group.id, bool(group.said)) for group in deciders)

    def skips(self, point: str) -> bool:
        """Whether a point's own rule can skip it by decision; a handler's is that it waits for a failure."""
        if point in self.rescued:
            return True
        match self.rule(point):
            case "all_success":
                return any(self.can_be_skipped(pred, point) for pred in self.awaited[point])
            case "any_success":
                ways = [way for pred in self.awaited[point] if (way := self.way(pred, point)) is not None]
                return not self.whatever(ways, self.said(point))
            case rule:
                return rule in ("any_failed", "all_failed")

    def whatever(self, ways: list[Way], said: dict[str, bool]) -> bool:
        """Whether one of the ways is taken, whatever is decided beyond what was said."""
        names = sorted({gate for way in ways for gate, _ in way} - said.keys())
        for taken in product((True, False), repeat=len(names)):
            case = {**said, **dict(zip(names, taken, strict=True))}
            if not any(all(case[gate] == choice for gate, choice in way) for way in ways):
                return False
        return True

    def certain(self, point: str) -> frozenset[Fact]:
        """The tasks that have surely succeeded when ``point`` comes to pass."""
        if self.rule(point) not in LENIENT:
            return NOTHING
        known = [self.certain(group.id) for group in self.around(point)]
        for pred in self.awaited[point]:
            every = self.rule(point) == "all_success"
            known.append(self.succeeded(pred) if every else self.passed(pred, point))
        return self.heard(NOTHING.union(*known), point)

    def heard(self, facts: frozenset[Fact], point: str) -> frozenset[Fact]:
        """What of the facts holds where ``point`` comes to pass."""
        said = self.said(point)
        possible = [(task, way) for task, way in facts if all(said.get(gate, taken) == taken for gate, taken in way)]
        return frozenset((task, frozenset(c for c in way if c[0] not in said)) for task, way in possible)

    def succeeded(self, point: str) -> frozenset[Fact]:
        return self.certain(point) | {(name, frozenset()) for name in {point} & self.nodes.keys()}

    def passed(self, pred: str, point: str) -> frozenset[Fact]:
        """What ``point`` may count on because of ``pred``, which has succeeded or was skipped by decision.

        If it was skipped by a branch, that was because of the other arm; so what is known if not holds in this arm.
        """
        known, way = NOTHING, frozenset[tuple[str, bool]]()
        for group in self.deciders(pred, point):
            known |= {(task, way | more) for task, more in self.settled(group.id)}
            if group.said is None or self.skips(group.id):
                return known
            way |= {(group.id, group.said)}
        return known | {(task, way | more) for task, more in self.settled(pred)}

    def settled(self, point: str) -> frozenset[Fact]:
        if not self.skips(point):
            return self.succeeded(point)
        if self.rule(point) != "all_success" or point in self.rescued:
            return NOTHING
        known = [self.certain(group.id) for group in self.around(point)]
        passed = NOTHING.union(*known, *(self.passed(pred, point) for pred in self.awaited[point]))
        return self.heard(passed, point)


def reads_of(node: Leaf | Sealed | Choice) -> Row:
    return node.input if isinstance(node, Sealed) else node.reads


def writes_of(node: Leaf | Sealed | Choice) -> Row:
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
                    apart = ordered or model.exclude(one, other) or _instead(model, one, other, first.key)
                    if one < other and not apart and first.key == second.key and not (first.fold and second.fold):
                        found.setdefault(first.key, set()).update((one, other))
    return found


def _instead(model: Model, one: str, other: str, key: str) -> bool:
    """Whether one of them is a handler that writes the key instead of its task: then the task stands for both."""
    return any(h in model.rescued and key in _keys(writes_of(model.nodes[model.rescued[h]])) for h in (one, other))


def providers(model: Model, point: str, key: str, sure: frozenset[Fact]) -> list[str]:
    """Who may have written the value, latest first, "" for the input."""
    writers = [n for n in model.order() if n in model.ancestors(point) and key in _keys(writes_of(model.nodes[n]))]
    writers = [n for n in writers if not _instead(model, n, "", key)]
    folds = any(field.fold for n in model.nodes for field in writes_of(model.nodes[n]) if field.key == key)
    replacing = [n for n in writers if not folds or not _folds(model, n, key)]
    said = model.said(point)
    found: list[str] = []
    for place, writer in reversed(list(enumerate(writers))):
        later = [way for task, way in sure if task in replacing and task in writers[place + 1 :]]
        own = model.said(writer)
        impossible = any(said.get(gate, taken) != taken for gate, taken in own.items())
        if not impossible and not model.whatever(later, {**said, **own}):
            found += [writer, *([model.handlers[writer]] if _writes_instead(model, writer, key) else [])]
    every = [way for task, way in sure if task in replacing]
    return [*found, ""] if key in _keys(model.case.input) and not model.whatever(every, said) else found


def _folds(model: Model, name: str, key: str) -> bool:
    return any(field.fold for field in writes_of(model.nodes[name]) if field.key == key)


def _writes_instead(model: Model, task: str, key: str) -> bool:
    return task in model.handlers and key in _keys(writes_of(model.nodes[model.handlers[task]]))


def _violations(case: Case, prefix: str) -> Iterator[Found]:
    model = Model(case)
    clashes = conflicts(model)
    for key, tasks in clashes.items():
        yield from (Found("write-conflict", prefix + task, key) for task in tasks)
    for name, node in model.nodes.items():
        yield from _read_violations(model, name, reads_of(node), prefix + name, clashes)
        for field in writes_of(node):
            before = (n for n in model.ancestors(name) if not model.exclude(n, name))
            written = any(field.key in _keys(writes_of(model.nodes[n])) for n in before)
            written = written or field.key in _keys(case.input)
            if written and not field.fold and field.key not in _keys(reads_of(node)):
                yield Found("unread-rewrite", prefix + name, field.key)
        if isinstance(node, Sealed):
            yield from _violations(Case(node.part, (), node.input, node.output), f"{prefix}{name}/")
    for group in model.of_id.values():
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
    elif read.required and not (read.key in given and given[read.key].required):
        writing = [way for task, way in sure if read.key in _keys(writes_of(model.nodes[task]))]
        if not model.whatever(writing, model.said(point)):
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
    model.awaited[end] = model.preds[end] - model.rescued.keys()
    assert last <= model.preds[end]
    model.before[end] = set(model.points)
    model.nodes = {**model.nodes, end: Leaf(end, model.case.output, ())}
    task = prefix.removesuffix("/") if prefix else "w"
    for found in _read_violations(model, end, model.case.output, task, clashes):
        yield Found("workflow-input", found.task, found.field)


def _keys(row: Row) -> set[str]:
    return {field.key for field in row}
