"""From a graph to sites: conditions become gates, sealed graphs an entry and an exit, handlers stand beside tasks.

It knows one graph at a time, with those that are sealed in it. What can be said of a node by itself is said here; what
its steps come to, and in which order, is decided when all sites are there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from cloaca.algebra.declarations import Parameter, Renames, Signature
from cloaca.algebra.guards import Arm, Guard, the_condition
from cloaca.algebra.structures import Structure, two_tasks_one_name
from cloaca.contract import epilogues
from cloaca.contract.accesses import Accesses
from cloaca.contract.epilogues import Callback
from cloaca.contract.fanouts import Last, signals_inside, undone_inside
from cloaca.contract.front_ends import Choice, Fanned, FrontEnd, Inside, Model, Node, Task, Waits
from cloaca.contract.rescues import given_to, misfit, misfits, misplaced
from cloaca.contract.scopes import Around, Scope, last_of
from cloaca.contract.sites import Fan, Site
from cloaca.errors import Violation


class Builder:
    """Collects sites, scope by scope. ``within`` begins the names to show in a graph inside a fan-out."""

    def __init__(self, front_end: FrontEnd, within: str = "") -> None:
        self.front_end, self.within = front_end, within
        self.sites: dict[str, Site] = {}
        self.violations: list[Violation] = []
        self.accesses = Accesses(front_end)

    def add(self, site: Site) -> None:
        if site.id in self.sites:  # a name that looks like one that the elaboration made up
            self.violations.append(two_tasks_one_name(site.id))
        self.sites[site.id] = site

    def add_all(self, scope: Scope) -> None:
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

    def add_task(self, scope: Scope, task: Task, site: Site) -> None:
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

    def add_handler(self, scope: Scope, rescued: Site, handler: Task, error: Model | None) -> None:
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

    def add_undo(self, scope: Scope, site: Site, task: Task) -> None:
        """Add what undoes a task, if anything does."""
        if task.undo is None:
            return
        if self.within:
            self.violations.append(undone_inside(site.task))
        self.add(epilogues.undo_of(site, task.undo, self.signature(task.undo, scope.prefix + task.undo.name)))

    def add_callback(self, callback: Callback, scope: Scope, last: Collection[str]) -> None:
        signature = self.signature(callback.task, callback.task.name)
        self.violations.extend(epilogues.failure_refused(callback.task.name, signature, callback.outcomes))
        site = epilogues.callback_of(callback, last, signature)
        site.preds = scope.with_handlers(last)
        self.add(site)

    def misfits(self, rescued: Site, handler: Site) -> Iterator[Violation]:
        """What keeps a handler from standing in for a task: they must write the same keys."""
        wanted, found = self.accesses.writes_of(rescued), self.accesses.writes_of(handler)
        for key, reason in misfits(rescued.task, wanted, found, self.front_end.types):
            yield misfit(rescued.task, handler.task, self.accesses.key_names.get(key, key), reason)

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

    def add_seal(self, scope: Scope, site: Site, inside: Inside) -> None:
        name, place, seal, shown = site.id, site.place, site.node, site.task
        entry = replace(site, id=f"entry:{name}", kind="entry", row=inside.input, within=f"{name}/")
        entry.parameters = () if inside.input is None else (Parameter("input", inside.input),)
        around = Around((*site.guards, entry.id), site.otherwise)
        inner = Scope(inside.structure, place, around, entry.id)
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
        inside = Builder(self.front_end, f"{site.task}/")
        inside.add_all(Scope(fanned.structure))
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

    def gates(self, scope: Scope, node: Node) -> tuple[tuple[str, ...], Around]:
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
                    enclosing = Around(tuple(ids), frozenset(otherwise))
                    known = scope.gates[depth, guard] = self.add_gate(scope, guard, enclosing)
            ids.extend(() if known is None else (known,))
        return tuple(ids), Around((*scope.around.guards, *ids), frozenset(otherwise))

    def decision(self, scope: Scope, arm: Arm, name: str) -> str | None:
        """Return the node that decides for an arm, None if a graph put together node by node lacks it."""
        decision = scope.structure.nodes.get(arm.decision)
        if decision is not None and isinstance(self.front_end.opened(decision), Choice):
            return scope.prefix + arm.decision
        task = self.within + scope.prefix + name
        text = f'Task "{task}" is in an arm of "{arm.decision}", but that is not in the graph; add the whole branch'
        self.violations.append(Violation("workflow-input", task, "", text))
        return None

    def add_gate(self, scope: Scope, guard: Guard, enclosing: Around) -> str:
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


def _input_of(waits: Waits) -> tuple[Parameter, ...]:
    return () if waits.input is None else (Parameter("input", waits.input),)
