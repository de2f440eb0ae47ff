"""From a graph to steps: conditions become gates, sealed graphs become an entry and an exit, models become rows.

It decides nothing about the contract, which the checker does with its output, and nothing about execution, which the
plan does. Nodes and models are opaque: a ``FrontEnd`` reads them, at run time the algebra's own and pydantic's, in a
type checker what stands for them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from cloaca.algebra.declarations import Parameter, Renames, Signature
from cloaca.algebra.guards import Arm, Guard, the_condition
from cloaca.algebra.rows import Row
from cloaca.algebra.structures import Structure, cyclic, find_cycle, topological, two_tasks_one_name
from cloaca.contract import epilogues
from cloaca.contract.epilogues import EPILOGUE, Callback
from cloaca.contract.fanouts import (
    Fanned,
    Given,
    Last,
    Place,
    Resolved,
    resolved,
    signals_inside,
    undone_inside,
    visible,
)
from cloaca.contract.rescues import Handed, given_to, misfit, misfits, misplaced
from cloaca.contract.steps import Read, Step, Types, Write
from cloaca.errors import ContractError, Violation

Kind = Literal["task", "gate", "branch", "entry", "exit", "each", "sleep", "wait", "subflow", "end", "undo", "callback"]
# The kinds that users see and ask for by name, and whose writes stay.
SHOWN: Final[tuple[Kind, ...]] = ("task", "exit", "branch", "each", "sleep", "wait", "subflow")
Model: TypeAlias = Any  # a front end's: opaque, hashable, compared


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

    ``handler`` is the task that stands in for it if it fails, ``undo`` the task that compensates it, if any.
    """

    @property
    def reads(self) -> Renames: ...
    @property
    def writes(self) -> Renames: ...
    @property
    def whole(self) -> str | None: ...
    @property
    def undo(self) -> Any | None: ...
    @property
    def handler(self) -> Task | None: ...


class Choice(NamedTuple):
    """The decision of a branch: the condition that it asks."""

    predicate: Any


class Inside(NamedTuple):
    """A sealed node opened: the graph in it, and its two rows."""

    structure: Structure[Any]
    input: Model | None
    output: Model | None


class Waits(NamedTuple):
    """A node that waits, opened: what it reads and writes; ``sure`` if it surely writes once it has succeeded.

    Its node has ``reads``, ``writes`` and ``whole`` as a task has.
    """

    kind: Literal["sleep", "wait", "subflow"]
    input: Model | None = None
    output: Model | None = None
    sure: bool = True


class FrontEnd(Protocol):
    """How nodes, conditions, models and types are read. What is wrong comes as ``task-model`` violations."""

    @property
    def types(self) -> Types:
        """What may be asked about the types of fields."""
        ...

    def opened(self, node: Any) -> Inside | Fanned | Waits | Choice | None:
        """Return what a node is: a sealed graph, a fan-out, a wait, the decision of a branch; None for a task."""
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
    the gates that decide whether it runs, outermost first, ``otherwise`` those of them that must say no, ``awaited``
    the predecessors that its rule looks at. ``rescues`` is the id of the task that a handler stands in for, ``given``
    what it gets beside its parameters, by place. ``within`` prefixes the keys inside, of an entry or an exit.
    """

    id: str
    kind: Kind
    task: str
    scope: str
    place: tuple[str, ...] = ()
    preds: Collection[str] = ()
    guards: tuple[str, ...] = ()
    otherwise: frozenset[str] = frozenset()
    awaited: Collection[str] = ()
    rule: str = "none_failed"
    node: Any = None
    rescues: str | None = None
    given: tuple[tuple[int, Handed], ...] = ()
    predicate: Any = None
    parameters: tuple[Parameter, ...] = ()
    renames: Renames = ()
    writes: Renames = ()
    output: Model | None = None  # what a task writes, as a whole under the key ``whole`` if it has one
    whole: str | None = None
    sure: bool = True  # whether it surely writes once it has succeeded
    row: Model | None = None  # what an exit or the end collects, or an entry passes on
    undoes: str | None = None  # the site that a compensation compensates
    outcomes: tuple[str, ...] = ()  # how a run ends that a callback is called for
    within: str = ""
    fan: Fan | None = None

    @property
    def answers(self) -> Model | None:
        """The model of what it writes as a node: a task's output, a sealed graph's; None if it writes nothing."""
        return self.row if self.kind == "exit" else self.output


@dataclass(slots=True)
class Fan:
    """A fan-out: what it is made of, the graph inside as it is being built, and what that comes to at its place."""

    fanned: Fanned
    inside: _Builder
    last: Last | None
    resolved: Resolved | None = None


@dataclass(frozen=True, slots=True)
class Elaboration:
    """Sites and the checker's steps for them, both in topological order.

    Ties are in the order of names; what decides for tasks comes as soon as it can, so that it doesn't change theirs.
    ``violations`` are those of the graphs inside fan-outs.
    """

    sites: tuple[Site, ...]
    steps: tuple[Step, ...]
    index: Mapping[str, int]
    key_names: Mapping[str, str]
    violations: tuple[Violation, ...] = ()


END = "end:"
# What decides comes as soon as it can; the epilogue comes behind all tasks, and changes the place of none.
_RANKS: Final[Mapping[Kind, int]] = {"gate": 0, "branch": 0, "entry": 0, "undo": 2, "callback": 3, "end": 4}
NONE: Final[frozenset[int]] = frozenset()


def _input_of(waits: Waits) -> tuple[Parameter, ...]:
    return () if waits.input is None else (Parameter("input", waits.input),)


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
    given: Callable[[], Given] = dict,
    *,
    callbacks: Sequence[Callback] = (),
) -> Elaboration:
    """Return the steps of a graph, its epilogue behind them; with ``output``, a last step that reads that model.

    ``name`` is the workflow's; ``""`` for a graph whose rows are declared. ``given`` returns the row that comes into
    the graph; it is asked once the signatures are known to be right.

    Raises:
        ContractError: the signatures of tasks, predicates or rows break ``task-model``; all of them at once.
    """
    builder = _Builder(front_end)
    scope = _Scope(structure)
    builder.add_all(scope)
    for callback in callbacks:
        builder.add_callback(callback, scope, last_of(structure))
    if output is not None:
        last = last_of(structure)
        builder.add(Site(END, "end", name, "", preds=scope.with_handlers(last), awaited=last, row=output))
    if builder.violations:
        raise ContractError(builder.violations)
    return builder.finished(given())


class _Around(NamedTuple):
    """The gates around something, outermost first, and those among them that must say no."""

    guards: tuple[str, ...] = ()
    otherwise: frozenset[str] = frozenset()


class _Scope:
    """A graph with what surrounds it: nothing, or the entry of a seal, which comes before its first nodes.

    ``before`` has what is directly before each node; who waits for a task waits for its handler, too.
    """

    def __init__(
        self,
        structure: Structure[Any],
        place: tuple[str, ...] = (),
        around: _Around = _Around(),  # noqa: B008 - a value
        entry: str | None = None,
    ) -> None:
        self.structure, self.place, self.around, self.entry = structure, place, around, entry
        self.prefix = "".join(f"{name}/" for name in place)
        handlers = ((name, getattr(node, "handler", None)) for name, node in structure.nodes.items())
        self.handlers = {self.prefix + name: self.prefix + handler.name for name, handler in handlers if handler}
        self.before: dict[str, list[str]] = {name: [] for name in structure.nodes}
        for source, target in structure.edges:
            self.before[target].append(self.prefix + source)
        self.gates: dict[tuple[int, Guard], str] = {}

    def behind(self, name: str) -> list[str]:
        """What a node waits for."""
        before = self.before[name]
        if before:
            return self.with_handlers(before) if self.handlers else before
        return before if self.entry is None else [self.entry]

    def with_handlers(self, ids: Collection[str]) -> list[str]:
        """Nodes, and the handlers that stand in for them."""
        return [*ids, *(self.handlers[id] for id in ids if id in self.handlers)]

    def heads_of(self, guard: Guard) -> list[str]:
        """The nodes before which ``guard`` decides. A graph put together node by node may lack the written ones."""
        present = guard.members & self.structure.nodes.keys()
        inside = {self.prefix + name for name in present}
        return sorted(guard.heads & present) or sorted(name for name in present if inside.isdisjoint(self.before[name]))


class _Builder:
    """Collects sites, scope by scope. ``within`` begins the names to show in a graph inside a fan-out."""

    def __init__(self, front_end: FrontEnd, within: str = "") -> None:
        self.front_end, self.within = front_end, within
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
            gates, around = self.gates(scope, node)
            behind = [*scope.behind(name), gates[-1]] if gates else scope.behind(name)
            task = scope.prefix + node.name
            site = Site(
                task,
                "task",
                self.within + task,
                scope.prefix,
                (*scope.place, node.name),
                behind,
                *around,
                rule=node.rule,
            )
            site.node, site.awaited = node, scope.before[name]
            match self.front_end.opened(node):
                case None:
                    self.add_task(scope, node, site)
                case Choice(predicate):
                    self.add_decision(site, predicate)
                case Inside() as inside:
                    self.add_seal(scope, site, inside)
                case Fanned() as fanned:
                    self.add_each(site, fanned)
                case Waits() as waits:
                    self.add_wait(site, node, waits)

    def add_task(self, scope: _Scope, task: Task, site: Site) -> None:
        signature = self.signature(task, site.task)
        if signature is not None:
            site.parameters, site.renames = signature.parameters, task.reads
            site.output, site.writes, site.whole = signature.output, task.writes, task.whole
            self.violations.extend(epilogues.failure_refused(site.task, signature))
            if signature.failures:
                self.violations.append(misplaced(site.task))
        self.add(site)
        self.add_undo(scope, site, task)
        if task.handler is not None:
            self.add_handler(scope, site, task.handler, None if signature is None else signature.error)

    def add_handler(self, scope: _Scope, rescued: Site, handler: Task, error: Model | None) -> None:
        """Add the handler of a task: it sees what the task has seen, and waits for it."""
        name, shown = scope.prefix + handler.name, self.within + scope.prefix + handler.name
        site = replace(
            rescued,
            id=name,
            task=shown,
            place=(*scope.place, handler.name),
            preds=[*rescued.preds, rescued.id],
            node=handler,
            rescues=rescued.id,
            parameters=(),
            output=None,
        )
        signature = self.signature(handler, shown)
        if signature is not None:
            site.parameters, site.given = given_to(signature, error)
            site.renames, site.output = handler.reads, signature.output
            if handler.writes or handler.whole is not None:  # else where the task itself would have written
                site.writes, site.whole = handler.writes, handler.whole
            self.violations.extend(self.misfits(rescued, site))
            self.violations.extend(epilogues.failure_refused(shown, signature))
        self.add(site)
        self.add_undo(scope, site, handler)

    def add_undo(self, scope: _Scope, site: Site, task: Task) -> None:
        """Add what undoes a task, if anything does."""
        if task.undo is None:
            return
        if self.within:
            self.violations.append(undone_inside(site.task))
        self.add(epilogues.undo_of(site, task.undo, self.signature(task.undo, scope.prefix + task.undo.name)))

    def add_callback(self, callback: Callback, scope: _Scope, last: Collection[str]) -> None:
        signature = self.signature(callback.task, callback.task.name)
        self.violations.extend(epilogues.failure_refused(callback.task.name, signature, callback.outcomes))
        site = epilogues.callback_of(Site, callback, last, signature)
        site.preds = scope.with_handlers(last)
        self.add(site)

    def misfits(self, rescued: Site, handler: Site) -> Iterator[Violation]:
        """What keeps a handler from standing in for a task: they must write the same keys."""
        wanted, found = self.writes_of(rescued), self.writes_of(handler)
        for key, reason in misfits(rescued.task, wanted, found, self.front_end.types):
            yield misfit(rescued.task, handler.task, self.key_names.get(key, key), reason)

    def add_decision(self, site: Site, predicate: Any) -> None:
        site.kind, site.predicate = "branch", predicate
        site.parameters = self.condition_reads(predicate, site.task)
        self.add(site)

    def add_wait(self, site: Site, node: Task, waits: Waits) -> None:
        if self.within and waits.kind == "wait":
            self.violations.append(signals_inside(site.task))
        site.kind = waits.kind
        site.parameters, site.renames = _input_of(waits), node.reads
        site.output, site.writes, site.whole, site.sure = waits.output, node.writes, node.whole, waits.sure
        self.add(site)

    def signature(self, task: Task, name: str) -> Signature | None:
        signature, violations = self.front_end.signature(task, name)
        self.violations.extend(violations)
        return signature

    def add_seal(self, scope: _Scope, site: Site, inside: Inside) -> None:
        name, place, seal, shown = site.id, site.place, site.node, site.task
        entry = replace(site, id=f"entry:{name}", kind="entry", row=inside.input, within=f"{name}/")
        entry.parameters = () if inside.input is None else (Parameter("input", inside.input),)
        around = _Around((*site.guards, entry.id), site.otherwise)
        inner = _Scope(inside.structure, place, around, entry.id)
        last = [inner.prefix + task for task in last_of(inside.structure)]
        self.add(entry)
        preds = inner.with_handlers(last)
        end = Site(name, "exit", shown, scope.prefix, place, preds, *around, last, node=seal, row=inside.output)
        end.within = entry.within
        self.add(end)
        for what, row in (("the sealed input", inside.input), ("the sealed output", inside.output)):
            if row is not None:
                self.violations.extend(self.front_end.row_problems(row, what, shown, f'"{shown}"'))
        self.add_all(inner)

    def add_each(self, site: Site, fanned: Fanned) -> None:
        inside = _Builder(self.front_end, f"{site.task}/")
        inside.add_all(_Scope(fanned.structure))
        self.violations.extend(inside.violations)
        site.kind, site.fan = "each", Fan(fanned, inside, self.last(fanned.structure))
        self.add(site)

    def last(self, structure: Structure[Any]) -> Last | None:
        """Return the one last node of a graph with the model that it writes, None if there is none."""
        names = last_of(structure)
        node = structure.nodes[names[0]] if len(names) == 1 else None
        if node is None:
            return None
        model: Model | None = None
        match self.front_end.opened(node):
            case None:
                signature, _ = self.front_end.signature(node, node.name)
                model = signature.output if signature is not None else None
            case Inside() as inside:
                model = inside.output
            case Waits() as waits:
                model = waits.output
            case Fanned() | Choice():
                pass
        return None if model is None else Last(names[0], model)

    def gates(self, scope: _Scope, node: Node) -> tuple[tuple[str, ...], _Around]:
        """Return the ids of the gates of a node's own conditions, outermost first, and all that is around it.

        Gates that are new are added; the gate of an arm is the decision itself.
        """
        if not node.guards:
            return (), scope.around
        ids: list[str] = []
        otherwise = set(scope.around.otherwise)
        for depth, guard in enumerate(node.guards):
            if isinstance(guard.predicate, Arm):
                known: str | None = self.decision(scope, guard.predicate, node.name)
                if known is not None and not guard.predicate.taken:
                    otherwise.add(known)
            else:
                known = scope.gates.get((depth, guard))
                if known is None:
                    enclosing = _Around(tuple(ids), frozenset(otherwise))
                    known = scope.gates[depth, guard] = self.add_gate(scope, guard, enclosing)
            ids.extend(() if known is None else (known,))
        return tuple(ids), _Around((*scope.around.guards, *ids), frozenset(otherwise))

    def decision(self, scope: _Scope, arm: Arm, name: str) -> str | None:
        """Return the node that decides for an arm, None if a graph put together node by node lacks it."""
        decision = scope.structure.nodes.get(arm.decision)
        if decision is not None and isinstance(self.front_end.opened(decision), Choice):
            return scope.prefix + arm.decision
        task = self.within + scope.prefix + name
        text = f'Task "{task}" is in an arm of "{arm.decision}", but that is not in the graph; add the whole branch'
        self.violations.append(Violation("workflow-input", task, "", text))
        return None

    def add_gate(self, scope: _Scope, guard: Guard, enclosing: _Around) -> str:
        """Add the gate of ``guard``: it comes behind whatever comes before the first nodes that it decides for."""
        heads = scope.heads_of(guard)
        first = scope.structure.nodes[heads[0]]
        name, shown = scope.prefix + first.name, self.within + scope.prefix + first.name
        members = {scope.prefix + member for member in guard.members}
        awaited = {pred for head in heads for pred in scope.before[head]} - members
        entry = {scope.entry} if scope.entry and any(not scope.before[head] for head in heads) else set()
        rules = {scope.structure.nodes[head].rule for head in heads}
        site = Site(
            id=f"when:{name}:{len(enclosing.guards)}",
            kind="gate",
            task=shown,
            scope=scope.prefix,
            place=(*scope.place, first.name),
            preds={*scope.with_handlers(awaited), *entry, *enclosing.guards[-1:]},
            guards=(*scope.around.guards, *enclosing.guards),
            otherwise=enclosing.otherwise,
            awaited=awaited,
            # Where the first nodes wait in different ways, the gate decides anyway, and each of them then by its rule.
            rule=rules.pop() if len(rules) == 1 else "all_done",
            node=first,
            predicate=guard.predicate,
        )
        site.parameters, site.renames = self.predicate_reads(guard.predicate, first, shown)
        self.add(site)
        return site.id

    def condition_reads(self, predicate: Any, name: str) -> tuple[Parameter, ...]:
        """What the decision of a branch reads: its predicate must say so."""
        model, violations = self.front_end.condition(predicate, name)
        if model is None and not violations:
            violations = [self.unannotated(predicate, name)]
        self.violations.extend(violations)
        return () if model is None else (Parameter("model", model),)

    def unannotated(self, predicate: Any, name: str) -> Violation:
        who = the_condition(self.front_end.condition_name(predicate), name)
        return Violation("task-model", name, "", f"{who}: annotate its parameter with the model to read")

    def predicate_reads(self, predicate: Any, first: Any, name: str) -> tuple[tuple[Parameter, ...], Renames]:
        model, violations = self.front_end.condition(predicate, name)
        if violations:
            self.violations.extend(violations)
            return (), ()
        if model is not None:
            return (Parameter("model", model),), ()
        inside = self.front_end.opened(first)
        if isinstance(inside, Choice):  # a branch, whose decision is what comes first
            read, violations = self.front_end.condition(inside.predicate, first.name)
            return ((Parameter("model", read),), ()) if read is not None and not violations else ((), ())
        if isinstance(inside, Inside | Waits) and inside.input is not None:
            return (Parameter("model", inside.input),), first.reads if isinstance(inside, Waits) else ()
        if inside is None:
            signature, violations = self.front_end.signature(first, name)
            if signature is not None and signature.parameters:
                return signature.parameters[:1], first.reads
            if violations:  # reported with the task itself
                return (), ()
        self.violations.append(self.unannotated(predicate, name))
        return (), ()

    def finished(self, given: Given) -> Elaboration:
        order = topological(self.sites, self.edges(), self.rank)
        if len(order) < len(self.sites):
            # The builder's cycle, or a condition over nodes with others between them, which wait for it in turn.
            cycle = find_cycle(self.sites, list(self.edges()))
            raise ContractError([cyclic(list(dict.fromkeys(self.sites[id].task for id in cycle)))])
        sites = tuple(self.sites[id] for id in order)
        index = {site.id: position for position, site in enumerate(sites)}
        steps: list[Step] = []
        for site in sites:  # in order: what a fan-out goes over is written before it
            if site.fan is not None:
                preds = [index[pred] for pred in site.preds]
                site.fan.resolved = self.resolved(site, site.fan, visible(steps, preds, site.scope, given))
            steps.append(self.step(site, index))
        fans = (site.fan.resolved for site in sites if site.fan is not None and site.fan.resolved is not None)
        inside = (*self.odd_names(), *(violation for fan in fans for violation in fan.violations))
        return Elaboration(sites, tuple(steps), index, self.key_names, inside)

    def odd_names(self) -> list[Violation]:
        """Refuse names that look like those of an element's rows: the rows of both would be taken for each other's."""
        fans = [f"{site.id}/" for site in self.sites.values() if site.fan is not None]
        return [
            two_tasks_one_name(id)
            for fan in fans
            for id in sorted(self.sites)
            if id.startswith(fan) and id.removeprefix(fan).partition("/")[0].isdecimal()
        ]

    def resolved(self, site: Site, fan: Fan, around: Given) -> Resolved:
        place = Place(site.task, site.scope, around, fan.fanned, fan.last, fan.inside.finished)
        found = resolved(place, self.front_end)
        for key in (*(read.key for read in found.reads), found.write.key):
            self.key(site.scope, key.removeprefix(site.scope))
        return found

    def edges(self) -> Iterator[tuple[str, str]]:
        return ((pred, site.id) for site in self.sites.values() for pred in site.preds)

    def rank(self, id: str) -> tuple[int, tuple[str, ...]]:
        site = self.sites[id]
        return _RANKS.get(site.kind, 1), site.place

    def step(self, site: Site, index: Mapping[str, int]) -> Step:
        preds = tuple(sorted([index[pred] for pred in site.preds if pred != site.rescues]))
        plain = not site.guards and len(site.awaited) == len(preds)  # then it looks at all that it waits for
        return Step(
            task=site.task,
            preds=preds,
            reads=self.reads_of(site),
            writes=self.writes_of(site),
            rule=site.rule,
            guards=tuple([index[guard] for guard in site.guards]),
            otherwise=frozenset([index[gate] for gate in site.otherwise]) if site.otherwise else NONE,
            awaited=preds if plain else tuple(sorted([index[pred] for pred in site.awaited])),
            rescues=None if site.rescues is None else index[site.rescues],
            decides=site.kind == "branch",
            instead=index[f"entry:{site.id}"] if site.kind == "exit" else None,
            entry=site.kind == "entry",
            closing=site.kind in ("exit", "end", "subflow"),
            reader=self.reader(site),
            elsewhere='another name, into="..."' if site.fan else "",
        )

    def reads_of(self, site: Site) -> tuple[Read, ...]:
        """What a site reads: a task its parameters, an exit and the end their row, from their own scope."""
        if site.fan is not None and site.fan.resolved is not None:
            return site.fan.resolved.reads
        if site.kind in ("exit", "end"):
            return () if site.row is None else self.row_reads(site.row, site.within, ())
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
        if site.fan is not None and site.fan.resolved is not None:
            return (site.fan.resolved.write,)
        if site.kind == "entry" and site.row is not None:
            return self.row_writes(site.row, site.within, (), optional=True)
        if site.kind == "exit" and site.row is not None:
            return self.row_writes(site.row, site.scope, ())
        if site.output is None:
            return ()
        writes = self.row_writes(site.output, site.scope, site.writes)
        if site.whole:
            writes = (Write(self.key(site.scope, site.whole), site.output),)
        return writes if site.sure else tuple(write._replace(sure=False) for write in writes)

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
        if site.kind in ("gate", "branch"):
            return the_condition(self.front_end.condition_name(site.predicate), site.task)
        if site.kind == "subflow" and site.parameters:
            return f'The input {self.front_end.model_name(site.parameters[0].model)} of "{site.task}"'
        row = "" if site.row is None else self.front_end.model_name(site.row)
        if site.kind == "exit":
            return f'The output {row} of "{site.task}"'
        if site.kind == "end":
            return f'The output {row} of workflow "{site.task}"' if site.task else f"The declared output {row}"
        return ""
