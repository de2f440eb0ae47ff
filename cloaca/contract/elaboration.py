"""From a graph to steps: conditions become gates, sealed graphs become an entry and an exit, models become rows.

It knows the algebra and pydantic's rows; it decides nothing about the contract, which the checker does with its
output, and nothing about execution, which the plan does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from cloaca.algebra.graphs import Graph, Guard, Node, Predicate, Row, Seal
from cloaca.algebra.models import row_of
from cloaca.algebra.signatures import Parameter, Unresolved, row_problems, undefined
from cloaca.algebra.structures import Structure, cyclic, find_cycle, topological, two_tasks_one_name
from cloaca.algebra.tasks import Renames, Task
from cloaca.contract.steps import Read, Step, Write
from cloaca.errors import ContractError, Violation

Kind = Literal["task", "gate", "entry", "exit", "end"]


@dataclass(slots=True)
class Site:
    """One node of the elaborated graph while it is being built; known by ``id``, unique and stable.

    ``task`` is the node's name in the user's words (a gate goes by its first task's), ``place`` the names that lead
    to it through sealed graphs, ``scope`` prefixes the keys of the sealed graph around it, ``guards`` are the ids of
    the gates that decide whether it runs, outermost first.
    """

    id: str
    kind: Kind
    task: str
    scope: str
    place: tuple[str, ...] = ()
    preds: Collection[str] = ()
    guards: tuple[str, ...] = ()
    rule: str = "none_failed"
    node: Node[Any, Any, Any] | None = None
    predicate: Predicate | None = None
    parameters: tuple[Parameter, ...] = ()
    renames: Renames = ()
    row: Row = None  # what an exit or the end collects, or an entry passes on


@dataclass(frozen=True, slots=True)
class Elaboration:
    """Sites and the checker's steps for them, both in topological order.

    Ties are in the order of names; what decides for tasks comes as soon as it can, so that it doesn't change theirs.
    """

    sites: tuple[Site, ...]
    steps: tuple[Step, ...]
    index: Mapping[str, int]
    key_names: Mapping[str, str]


END = "end:"


def first_of(graph: Graph[Any, Any, Any]) -> list[str]:
    """Return the names of the nodes that no node comes before, sorted."""
    return sorted(graph.structure.nodes.keys() - {target for _, target in graph.structure.edges})


def last_of(graph: Graph[Any, Any, Any]) -> list[str]:
    """Return the names of the nodes that no node comes after, sorted."""
    return sorted(graph.structure.nodes.keys() - {source for source, _ in graph.structure.edges})


def elaborate(graph: Graph[Any, Any, Any], output: Row, name: str) -> Elaboration:
    """Return the steps of ``graph``; with ``output``, a last step that reads that model.

    Raises:
        ContractError: the signatures of tasks, predicates or rows break ``task-model``; all of them at once.
    """
    builder = _Builder()
    builder.add_all(_Scope(graph.structure))
    if output is not None:
        builder.add(Site(END, "end", name, "", preds=last_of(graph), row=output))
    if builder.violations:
        raise ContractError(builder.violations)
    return builder.finished()


class _Scope:
    """A graph with what surrounds it: nothing, or the entry of a seal, which comes before its first nodes."""

    def __init__(
        self,
        structure: Structure[Node[Any, Any, Any]],
        place: tuple[str, ...] = (),
        guards: tuple[str, ...] = (),
        entry: str | None = None,
    ) -> None:
        self.structure, self.place, self.guards = structure, place, guards
        self.prefix = "".join(f"{name}/" for name in place)
        self.behind: dict[str, list[str]] = {name: [] for name in structure.nodes}
        for source, target in structure.edges:
            self.behind[target].append(self.prefix + source)
        for preds in self.behind.values():
            if not preds and entry is not None:
                preds.append(entry)
        self.gates: dict[tuple[int, Guard], str] = {}

    def heads_of(self, guard: Guard) -> list[str]:
        """The nodes before which ``guard`` decides. A graph put together node by node may lack the written ones."""
        present = guard.members & self.structure.nodes.keys()
        inside = {self.prefix + name for name in present}
        return sorted(guard.heads & present) or sorted(name for name in present if inside.isdisjoint(self.behind[name]))


class _Builder:
    """Collects sites, scope by scope."""

    def __init__(self) -> None:
        self.sites: dict[str, Site] = {}
        self.violations: list[Violation] = []
        self.key_names: dict[str, str] = {}
        self.rows: dict[object, tuple[Read, ...]] = {}
        self.written: dict[object, tuple[Write, ...]] = {}

    def add(self, site: Site) -> None:
        if site.id in self.sites:  # a name that looks like one that the elaboration made up
            self.violations.append(two_tasks_one_name(site.id))
        self.sites[site.id] = site

    def add_all(self, scope: _Scope) -> None:
        for name, node in sorted(scope.structure.nodes.items()):
            gates = self.gates(scope, node)
            behind = [*scope.behind[name], gates[-1]] if gates else scope.behind[name]
            if isinstance(node, Task):
                self.add_task(scope, node, behind, (*scope.guards, *gates))
            elif isinstance(node, Seal):
                self.add_seal(scope, node, behind, (*scope.guards, *gates))
            else:
                raise TypeError(f"{node!r} is no node of the language")

    def add_task(
        self, scope: _Scope, task: Task[Any, Any, Any, Any, Any], behind: Collection[str], guards: tuple[str, ...]
    ) -> None:
        name = scope.prefix + task.name
        site = Site(name, "task", name, scope.prefix, (*scope.place, task.name), behind, guards, task.rule, task)
        site.parameters, site.renames = self.parameters(task, name), task.reads
        self.add(site)

    def parameters(self, task: Task[Any, Any, Any, Any, Any], name: str) -> tuple[Parameter, ...]:
        try:
            return task.signature.parameters
        except ContractError as error:
            self.violations.extend(error.violations)
        except Unresolved as error:
            self.violations.append(undefined(name, f'Task "{name}"', error))
        return ()

    def add_seal(
        self, scope: _Scope, seal: Seal[Any, Any, Any], behind: Collection[str], guards: tuple[str, ...]
    ) -> None:
        name, place = scope.prefix + seal.name, (*scope.place, seal.name)
        entry = f"entry:{name}"
        site = Site(entry, "entry", name, scope.prefix, place, behind, guards, seal.rule, seal, row=seal.input)
        site.parameters = (Parameter("input", seal.input),) if seal.input else ()
        inside = (*guards, entry)
        inner = _Scope(seal.graph.structure, place, inside, entry)
        last = {inner.prefix + task for task in last_of(seal.graph)}
        self.add(site)
        self.add(Site(name, "exit", name, scope.prefix, place, last, inside, node=seal, row=seal.output))
        for what, row in (("the sealed input", seal.input), ("the sealed output", seal.output)):
            if row is not None:
                self.violations.extend(row_problems(row, what, name, f'"{name}"'))
        self.add_all(inner)

    def gates(self, scope: _Scope, node: Node[Any, Any, Any]) -> tuple[str, ...]:
        """Return the ids of the gates of a node's own conditions, outermost first; add those that are new."""
        ids: list[str] = []
        for depth, guard in enumerate(node.guards):
            known = scope.gates.get((depth, guard))
            if known is None:
                known = scope.gates[depth, guard] = self.add_gate(scope, guard, tuple(ids))
            ids.append(known)
        return tuple(ids)

    def add_gate(self, scope: _Scope, guard: Guard, enclosing: tuple[str, ...]) -> str:
        """Add the gate of ``guard``: it comes behind whatever comes before the first nodes that it decides for."""
        heads = scope.heads_of(guard)
        first = scope.structure.nodes[heads[0]]
        name = scope.prefix + first.name
        members = {scope.prefix + member for member in guard.members}
        behind = {pred for head in heads for pred in scope.behind[head]} - members
        rules = {scope.structure.nodes[head].rule for head in heads}
        site = Site(
            id=f"when:{name}:{len(enclosing)}",
            kind="gate",
            task=name,
            scope=scope.prefix,
            place=(*scope.place, first.name),
            preds=behind | {*enclosing[-1:]},
            guards=(*scope.guards, *enclosing),
            # Where the first nodes wait in different ways, the gate decides anyway, and each of them then by its rule.
            rule=rules.pop() if len(rules) == 1 else "all_done",
            node=first,
            predicate=guard.predicate,
        )
        site.parameters, site.renames = self.predicate_reads(guard.predicate, first, name)
        self.add(site)
        return site.id

    def predicate_reads(
        self, predicate: Predicate, first: Node[Any, Any, Any], name: str
    ) -> tuple[tuple[Parameter, ...], Renames]:
        who = f'The condition {predicate.name} of task "{name}"'
        try:
            model = predicate.model(name)
        except ContractError as error:
            self.violations.extend(error.violations)
            return (), ()
        except Unresolved as error:
            self.violations.append(undefined(name, who, error))
            return (), ()
        if model is not None:
            return (Parameter("model", model),), ()
        if isinstance(first, Seal) and first.input is not None:
            return (Parameter("model", first.input),), ()
        if isinstance(first, Task):
            problems = len(self.violations)
            if parameters := self.parameters(first, name):
                return parameters[:1], first.reads
            if len(self.violations) > problems:  # reported with the task itself
                del self.violations[problems:]
                return (), ()
        self.violations.append(
            Violation("task-model", name, "", f"{who}: annotate its parameter with the model to read")
        )
        return (), ()

    def finished(self) -> Elaboration:
        order = topological(self.sites, self.edges(), self.rank)
        if len(order) < len(self.sites):
            # The builder's cycle, or a condition over nodes with others between them, which wait for it in turn.
            cycle = find_cycle(self.sites, list(self.edges()))
            raise ContractError([cyclic(list(dict.fromkeys(self.sites[id].task for id in cycle)))])
        sites = tuple(self.sites[id] for id in order)
        index = {site.id: position for position, site in enumerate(sites)}
        steps = tuple(self.step(site, index) for site in sites)
        return Elaboration(sites, steps, index, self.key_names)

    def edges(self) -> Iterator[tuple[str, str]]:
        return ((pred, site.id) for site in self.sites.values() for pred in site.preds)

    def rank(self, id: str) -> tuple[bool, tuple[str, ...]]:
        site = self.sites[id]
        return site.kind not in ("gate", "entry"), site.place

    def step(self, site: Site, index: Mapping[str, int]) -> Step:
        return Step(
            task=site.task,
            preds=tuple(sorted([index[pred] for pred in site.preds])),
            reads=self.reads_of(site),
            writes=self.writes_of(site),
            rule=site.rule,
            guards=tuple([index[guard] for guard in site.guards]),
            instead=index[f"entry:{site.id}"] if site.kind == "exit" else None,
            entry=site.kind == "entry",
            closing=site.kind in ("exit", "end"),
            reader=_reader(site),
        )

    def reads_of(self, site: Site) -> tuple[Read, ...]:
        """What a site reads: a task its parameters, an exit and the end their row, from their own scope."""
        if site.kind in ("exit", "end"):
            return self.row_reads(site.row, f"{site.task}/" if site.kind == "exit" else "", ()) if site.row else ()
        if len(site.parameters) == 1:
            return self.row_reads(site.parameters[0].model, site.scope, site.renames)
        rows = (self.row_reads(parameter.model, site.scope, site.renames) for parameter in site.parameters)
        return tuple(read for row in rows for read in row)

    def row_reads(self, model: type[BaseModel], scope: str, renames: Renames) -> tuple[Read, ...]:
        """The reads of one model. Many nodes share those under its own names, so they are made once."""
        if not renames and (model, scope) in self.rows:
            return self.rows[model, scope]
        keys, name = dict(renames), model.__name__
        reads = [
            Read(self.key(scope, keys.get(field, field)), entry.type, entry.required, field, name)
            for field, entry in row_of(model).items()
        ]
        made = tuple(reads)
        if not renames:
            self.rows[model, scope] = made
        return made

    def writes_of(self, site: Site) -> tuple[Write, ...]:
        if site.kind == "entry" and site.row:
            return self.row_writes(site.row, f"{site.task}/", (), optional=True)
        if site.kind == "exit" and site.row:
            return self.row_writes(site.row, site.scope, ())
        if site.kind == "task" and isinstance(site.node, Task) and (output := site.node.signature.output):
            if site.node.whole:
                return (Write(self.key(site.scope, site.node.whole), output),)
            return self.row_writes(output, site.scope, site.node.writes)
        return ()

    def row_writes(
        self, model: type[BaseModel], scope: str, renames: Renames, *, optional: bool = False
    ) -> tuple[Write, ...]:
        """The writes of one model; with ``optional``, its fields with defaults may be left out."""
        if not renames and (model, scope, optional) in self.written:
            return self.written[model, scope, optional]
        keys = dict(renames)
        writes = [
            Write(self.key(scope, keys.get(field, field)), entry.type, entry.reducer, entry.required or not optional)
            for field, entry in row_of(model).items()
        ]
        made = tuple(writes)
        if not renames:
            self.written[model, scope, optional] = made
        return made

    def key(self, scope: str, name: str) -> str:
        if not scope:
            return name
        self.key_names[scope + name] = name
        return scope + name


def _reader(site: Site) -> str:
    if site.predicate is not None:
        return f'The condition {site.predicate.name} of task "{site.task}"'
    row = site.row.__name__ if site.row else ""
    if site.kind == "exit":
        return f'The output {row} of "{site.task}"'
    return f'The output {row} of workflow "{site.task}"' if site.kind == "end" else ""
