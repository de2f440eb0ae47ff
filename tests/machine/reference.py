"""How a run must end, written from the words of the specification: a topological evaluation, given each node's fate.

It knows the program as written, and neither plans nor the machine. A node whose fate is not known yet is ``going``.

Skips: "A task is skipped by decision (a ``when``, the arm not taken) or by failure (something before it failed). By
default (``none_failed``) a task runs once every predecessor has succeeded or was skipped by decision. ``all_success``
skips it, by decision, if any predecessor was skipped. For the other rules a predecessor skipped by failure counts as
failed, one skipped by decision as neither (so ``all_failed`` needs every one failed)."

A branch: "what follows a ``branch`` runs after the arm that was taken"; the other is skipped by decision. A rescue: "if
``t`` finally fails, ``handler`` runs on the same context and stands in for it". So a handler is skipped by decision
where its task has succeeded or was skipped so; and what comes behind the task waits for both, and takes the handler's
success for the task's.

A condition over several tasks is one decision, made before the first of them: it has all their predecessors, and the
rule that they share (``all_done`` where they don't, so that each of them decides for itself).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cloaca.algebra.graphs import Rule
from tests.machine.programs import Handler, Scope

Standing = Literal["pending", "going", "succeeded", "failed", "skipped by decision", "skipped by failure"]
Gate = tuple[str, bool]  # a decision, and what it must have said
Fate = Literal["succeeded", "failed"]
OPEN: tuple[Standing, ...] = ("pending", "going")
FAILED: tuple[Standing, ...] = ("failed", "skipped by failure")


@dataclass
class Reference:
    """An evaluation. ``fates`` says how the nodes ended that ran, ``verdicts`` what the conditions said."""

    fates: Mapping[str, Fate]
    verdicts: Mapping[str, bool]
    typed: frozenset[str] = frozenset()  # what failed with a typed error
    handlers: dict[str, str] = field(default_factory=dict)
    standings: dict[str, Standing] = field(default_factory=dict)

    def run(self, scope: Scope, prefix: str = "", around: tuple[Gate, ...] = ()) -> None:
        """Evaluate the items of a scope in order; ``around`` are the decisions about the scope as a whole."""
        for place, item in enumerate(scope.items):
            for group in scope.groups:
                if group[0] == place:
                    self.condition(scope, prefix, group, around)
            own = scope.around(place, place + 1, prefix)
            gates = (*around, *((each.gate, each.said) for each in own))
            before = [prefix + scope.items[pred].name for pred in item.preds]
            name = prefix + item.name
            if item.inner is None:
                self.node(name, item.rule, before, gates)
                if item.handler is not None:
                    self.handlers[name] = prefix + item.handler.name
                    self.standings[prefix + item.handler.name] = self.stand_in(name, item.handler)
                continue
            self.node(f"entry:{name}", item.rule, before, gates)
            inside = (*gates, (f"entry:{name}", True))
            self.run(item.inner, f"{name}/", inside)
            after = {pred for other in item.inner.items for pred in other.preds}
            last = [f"{name}/{other.name}" for at, other in enumerate(item.inner.items) if at not in after]
            self.node(name, "none_failed", last, inside)

    def stand_in(self, name: str, handler: Handler) -> Standing:
        """Return how a handler stands, given how its task does."""
        match self.standings[name]:
            case "failed" if handler.typed and name not in self.typed:
                return "skipped by failure"
            case "failed":
                return self.fates.get(name.removesuffix(name.rpartition("/")[2]) + handler.name, "going")
            case "succeeded":
                return "skipped by decision"
            case "going":
                return "pending"
            case standing:
                return standing

    def counts_as(self, pred: str) -> Standing:
        """Return how a node stands for those behind it: a failed task as its handler does."""
        standing = self.standings[pred]
        if standing != "failed" or pred not in self.handlers:
            return standing
        handled = self.standings[self.handlers[pred]]
        return handled if handled in (*OPEN, "succeeded") else "failed"

    def condition(self, scope: Scope, prefix: str, group: tuple[int, int], around: tuple[Gate, ...]) -> None:
        """Evaluate the decision about a group."""
        heads = scope.heads(group)
        rules = {head.rule for head in heads}
        before = sorted({pred for head in heads for pred in head.preds})
        name = scope.gate(group, prefix)
        outer = [each for each in scope.around(*group, prefix) if each.gate != name]
        gates = (*around, *((each.gate, each.said) for each in outer))
        rule = rules.pop() if len(rules) == 1 else "all_done"
        self.node(name, rule, [prefix + scope.items[pred].name for pred in before], gates)

    def node(self, name: str, rule: Rule, before: list[str], gates: tuple[Gate, ...]) -> None:
        """Evaluate one node, behind its predecessors and the decisions about it."""
        standings = [self.counts_as(pred) for pred in before]
        if any(standing in OPEN for standing in (*standings, *(self.standings[gate] for gate, _ in gates))):
            self.standings[name] = "pending"
            return
        bars = [bar for gate, said in gates if (bar := self.bar(gate, said))]
        skip = bars[0] if bars else skipped(rule, standings)
        self.standings[name] = self.fates.get(name, "going") if skip is None else skip

    def bar(self, gate: str, said: bool) -> Standing | None:
        """Return how a decision skips what it is about, None if it lets it run."""
        match self.standings[gate]:
            case "succeeded":
                return None if self.verdicts.get(gate, True) == said else "skipped by decision"
            case "skipped by decision":
                return "skipped by decision"
            case _:
                return "skipped by failure"


def skipped(rule: Rule, standings: list[Standing]) -> Standing | None:
    """Return how a rule over predecessors that are final skips a node, None if it lets it run."""
    succeeded = standings.count("succeeded")
    failed = sum(standing in FAILED for standing in standings)
    by_decision = standings.count("skipped by decision")
    match rule:
        case "none_failed":
            return "skipped by failure" if failed else None
        case "all_success":
            return "skipped by failure" if failed else "skipped by decision" if by_decision else None
        case "all_done":
            return None
        case "any_success" if succeeded:
            return None
        case "any_success":
            return "skipped by failure" if failed else "skipped by decision"
        case "any_failed":
            return None if failed else "skipped by decision"
        case "all_failed":
            return None if succeeded + by_decision == 0 else "skipped by decision"


def evaluate(
    scope: Scope, fates: Mapping[str, Fate], verdicts: Mapping[str, bool], typed: Iterable[str] = ()
) -> dict[str, Standing]:
    """Return the standing of every node: each item and handler, each condition (``when:...``), each ``entry:...``."""
    return evaluated(scope, fates, verdicts, typed).standings


def evaluated(
    scope: Scope, fates: Mapping[str, Fate], verdicts: Mapping[str, bool], typed: Iterable[str] = ()
) -> Reference:
    """Return the whole evaluation."""
    reference = Reference(fates, verdicts, frozenset(typed))
    reference.run(scope)
    return reference
