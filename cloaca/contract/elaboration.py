"""From a graph to steps: conditions become gates, sealed graphs become an entry and an exit, models become rows.

It decides nothing about the contract, which the checker does with its output, and nothing about execution, which the
plan does. Nodes and models are opaque: a ``FrontEnd`` reads them, at run time the algebra's own and pydantic's, in a
type checker what stands for them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from cloaca.algebra.declarations import Parameter, Signature
from cloaca.algebra.guards import Guard
from cloaca.algebra.rows import Row
from cloaca.algebra.structures import Structure, cyclic, find_cycle, topological, two_tasks_one_name
from cloaca.contract import epilogues
from cloaca.contract.epilogues import EPILOGUE, Callback
from cloaca.contract.steps import Read, Step, Types, Write
from cloaca.errors import ContractError, Violation

Kind = Literal["task", "gate", "entry", "exit", "end", "undo", "callback"]
Model: TypeAlias = Any  # a front end's: opaque, hashable, compared
Renames = tuple[tuple[str, str], ...]


class Node(Protocol):
    """What a node of any front end has. ``reads``, ``writes`` and ``whole`` matter where it is a task."""

    @property
    def name(self) -> str: ...
    @property
    def rule(self) -> str: ...
    @property
    def guards(self) -> tuple[Guard, ...]: ...


class Task(Node, Protocol):
    """A node that is a task: ``reads`` and ``writes`` rename fields, ``whole`` is the key of ``into``.

    ``undo`` is the task that compensates it, if any.
    """

    @property
    def reads(self) -> Renames: ...
    @property
    def writes(self) -> Renames: ...
    @property
    def whole(self) -> str | None: ...
    @property
    def undo(self) -> Any | None: ...


class Inside(NamedTuple):
    """A sealed node opened: the graph in it, and its two rows."""

    structure: Structure[Any]
    input: Model | None
    output: Model | None


class FrontEnd(Protocol):
    """How nodes, conditions, models and types are read. What is wrong comes as ``task-model`` violations."""

    @property
    def types(self) -> Types:
        """What may be asked about the types of fields."""
        ...

    def opened(self, node: Any) -> Inside | None:
        """Return what is inside a sealed node, None for a task."""
        ...

    def signature(self, task: Any, name: str) -> tuple[Signature | None, Sequence[Violation]]:
        """Return what a task, named ``name`` in sentences, reads and writes."""
        ...

    def condition(self, predicate: Any, name: str) -> tuple[Model | None, Sequence[Violation]]:
        """Return the model that a condition of the task ``name`` is annotated with, None if it has no annotation."""
        ...

    def condition_name(self, predicate: Any) -> str:
        """Return a condition's name in sentences."""
        ...

    def row(self, model: Model) -> Row:
        """Return a model's fields."""
        ...

    def model_name(self, model: Model) -> str:
        """Return a model's name."""
        ...

    def row_problems(self, model: Model, what: str, owner: str, who: str) -> Sequence[Violation]:
        """Return why ``model`` can't be a row that no task declares."""
        ...


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
    node: Any = None
    predicate: Any = None
    parameters: tuple[Parameter, ...] = ()
    renames: Renames = ()
    writes: Renames = ()
    output: Model | None = None  # what a task writes, as a whole under the key ``whole`` if it has one
    whole: str | None = None
    row: Model | None = None  # what an exit or the end collects, or an entry passes on
    undoes: str | None = None  # the site that a compensation compensates
    outcomes: tuple[str, ...] = ()  # how a run ends that a callback is called for


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
# What decides comes as soon as it can; the epilogue comes behind all tasks, and changes the place of none.
_RANKS: Mapping[Kind, int] = {"gate": 0, "entry": 0, "undo": 2, "callback": 3, "end": 4}


def first_of(structure: Structure[Any]) -> list[str]:
    """Return the names of the nodes that no node comes before, sorted."""
    return sorted(structure.nodes.keys() - {target for _, target in structure.edges})


def last_of(structure: Structure[Any]) -> list[str]:
    """Return the names of the nodes that no node comes after, sorted."""
    return sorted(structure.nodes.keys() - {source for source, _ in structure.edges})


def elaborate(
    structure: Structure[Any],
    output: Model | None,
    name: str,
    front_end: FrontEnd,
    callbacks: Sequence[Callback] = (),
) -> Elaboration:
    """Return the steps of a graph, its epilogue behind them; with ``output``, a last step that reads that model.

    ``name`` is the workflow's; ``""`` for a graph whose rows are declared.

    Raises:
        ContractError: the signatures of tasks, predicates or rows break ``task-model``; all of them at once.
    """
    builder = _Builder(front_end)
    builder.add_all(_Scope(structure))
    for callback in callbacks:
        builder.add_callback(callback, last_of(structure))
    if output is not None:
        builder.add(Site(END, "end", name, "", preds=last_of(structure), row=output))
    if builder.violations:
        raise ContractError(builder.violations)
    return builder.finished()


class _Scope:
    """A graph with what surrounds it: nothing, or the entry of a seal, which comes before its first nodes."""

    def __init__(
        self,
        structure: Structure[Any],
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

    def __init__(self, front_end: FrontEnd) -> None:
        self.front_end = front_end
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
            guards = (*scope.guards, *gates)
            match self.front_end.opened(node):
                case None:
                    self.add_task(scope, node, behind, guards)
                case Inside() as inside:
                    self.add_seal(scope, node, inside, behind, guards)

    def add_task(self, scope: _Scope, task: Task, behind: Collection[str], guards: tuple[str, ...]) -> None:
        name = scope.prefix + task.name
        site = Site(name, "task", name, scope.prefix, (*scope.place, task.name), behind, guards, task.rule, task)
        signature = self.signature(task, name)
        if signature is not None:
            site.parameters, site.renames = signature.parameters, task.reads
            site.output, site.writes, site.whole = signature.output, task.writes, task.whole
            self.violations.extend(epilogues.failure_refused(name, signature))
        self.add(site)
        if task.undo is not None:
            self.add(epilogues.undo_of(site, task.undo, self.signature(task.undo, scope.prefix + task.undo.name)))

    def add_callback(self, callback: Callback, last: Collection[str]) -> None:
        signature = self.signature(callback.task, callback.task.name)
        self.violations.extend(epilogues.failure_refused(callback.task.name, signature, callback.outcomes))
        self.add(epilogues.callback_of(Site, callback, last, signature))

    def signature(self, task: Task, name: str) -> Signature | None:
        signature, violations = self.front_end.signature(task, name)
        self.violations.extend(violations)
        return signature

    def add_seal(
        self, scope: _Scope, seal: Node, inside: Inside, behind: Collection[str], guards: tuple[str, ...]
    ) -> None:
        name, place = scope.prefix + seal.name, (*scope.place, seal.name)
        entry, within = f"entry:{name}", (*guards, f"entry:{name}")
        site = Site(entry, "entry", name, scope.prefix, place, behind, guards, seal.rule, seal, row=inside.input)
        site.parameters = () if inside.input is None else (Parameter("input", inside.input),)
        inner = _Scope(inside.structure, place, within, entry)
        last = {inner.prefix + task for task in last_of(inside.structure)}
        self.add(site)
        self.add(Site(name, "exit", name, scope.prefix, place, last, within, node=seal, row=inside.output))
        for what, row in (("the sealed input", inside.input), ("the sealed output", inside.output)):
            if row is not None:
                self.violations.extend(self.front_end.row_problems(row, what, name, f'"{name}"'))
        self.add_all(inner)

    def gates(self, scope: _Scope, node: Node) -> tuple[str, ...]:
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

    def predicate_reads(self, predicate: Any, first: Any, name: str) -> tuple[tuple[Parameter, ...], Renames]:
        model, violations = self.front_end.condition(predicate, name)
        if violations:
            self.violations.extend(violations)
            return (), ()
        if model is not None:
            return (Parameter("model", model),), ()
        inside = self.front_end.opened(first)
        if inside is not None and inside.input is not None:
            return (Parameter("model", inside.input),), ()
        if inside is None:
            signature, violations = self.front_end.signature(first, name)
            if signature is not None and signature.parameters:
                return signature.parameters[:1], first.reads
            if violations:  # reported with the task itself
                return (), ()
        who = f'The condition {self.front_end.condition_name(predicate)} of task "{name}"'
        text = f"{who}: annotate its parameter with the model to read"
        self.violations.append(Violation("task-model", name, "", text))
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

    def rank(self, id: str) -> tuple[int, tuple[str, ...]]:
        site = self.sites[id]
        return _RANKS.get(site.kind, 1), site.place

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
            reader=self.reader(site),
        )

    def reads_of(self, site: Site) -> tuple[Read, ...]:
        """What a site reads: a task its parameters, an exit and the end their row, from their own scope."""
        if site.kind in ("exit", "end"):
            scope = f"{site.task}/" if site.kind == "exit" else ""
            return () if site.row is None else self.row_reads(site.row, scope, ())
        if len(site.parameters) == 1:
            return self.row_reads(site.parameters[0].model, site.scope, site.renames)
        rows = (self.row_reads(parameter.model, site.scope, site.renames) for parameter in site.parameters)
        return tuple(read for row in rows for read in row)

    def row_reads(self, model: Model, scope: str, renames: Renames) -> tuple[Read, ...]:
        """The reads of one model. Many nodes share those under its own names, so they are made once."""
        if not renames and (model, scope) in self.rows:
            return self.rows[model, scope]
        keys, name = dict(renames), self.front_end.model_name(model)
        reads = [
            Read(self.key(scope, keys.get(field, field)), entry.type, entry.required, field, name)
            for field, entry in self.front_end.row(model).items()
        ]
        made = tuple(reads)
        if not renames:
            self.rows[model, scope] = made
        return made

    def writes_of(self, site: Site) -> tuple[Write, ...]:
        if site.kind == "entry" and site.row is not None:
            return self.row_writes(site.row, f"{site.task}/", (), optional=True)
        if site.kind == "exit" and site.row is not None:
            return self.row_writes(site.row, site.scope, ())
        if site.output is None:
            return ()
        if site.whole:
            return (Write(self.key(site.scope, site.whole), site.output),)
        return self.row_writes(site.output, site.scope, site.writes)

    def row_writes(self, model: Model, scope: str, renames: Renames, *, optional: bool = False) -> tuple[Write, ...]:
        """The writes of one model; with ``optional``, its fields with defaults may be left out."""
        if not renames and (model, scope, optional) in self.written:
            return self.written[model, scope, optional]
        keys = dict(renames)
        writes = [
            Write(
                self.key(scope, keys.get(field, field)),
                entry.type,
                entry.reducer,
                entry.required or not optional,
                field,
            )
            for field, entry in self.front_end.row(model).items()
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

    def reader(self, site: Site) -> str:
        if site.kind in EPILOGUE:
            return epilogues.reader(site)
        if site.kind == "gate":
            return f'The condition {self.front_end.condition_name(site.predicate)} of task "{site.task}"'
        row = "" if site.row is None else self.front_end.model_name(site.row)
        if site.kind == "exit":
            return f'The output {row} of "{site.task}"'
        if site.kind == "end":
            return f'The output {row} of workflow "{site.task}"' if site.task else f"The declared output {row}"
        return ""
