"""Tasks that have run before something that comes before them now, because other code ran them.

Such a task stays as it has ended, and waits for nothing; what comes after it waits for whatever it would have waited
for. That is a plan of its own, of which all the laws hold: the machine knows no task that is out of order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from cloaca.contract.plans import Plan, PlanNode
from cloaca.machine.states import RunState, admit
from cloaca.machine.statuses import FINAL_TASK

HANDED_ON = frozenset({"none_failed", "all_success"})  # rules by which a failure before skips what comes after


class Belated:
    """A plan while a run is restored by it, in topological order. ``plan`` is the one given until something is late."""

    def __init__(self, plan: Plan) -> None:
        self.given = self.plan = plan
        self.nodes: list[PlanNode] = []

    def admit(self, state: RunState, index: int) -> None:
        """Make a pending node ready that has run, and let its successors wait for what is open before it.

        Cost: its predecessors, its successors and theirs.
        """
        if self.plan is self.given:
            self.nodes = list(self.given.nodes)
            draft = cast("tuple[PlanNode, ...]", self.nodes)
            self.plan = Plan(draft, self.given.input, self.given.answer, self.given.context)
        node = self.nodes[index]
        held = frozenset(pred for pred in node.preds if state.tasks[pred] not in FINAL_TASK)
        for pred in held:
            succs = {*self.nodes[pred].succs, *node.succs} - {index}
            self.nodes[pred] = replace(self.nodes[pred], succs=tuple(sorted(succs)))
        for succ in node.succs:
            state.open[succ] += len(held.difference(self.nodes[succ].preds))
            self.nodes[succ] = _waiting(self.nodes[succ], held)
        kept = tuple([pred for pred in node.preds if pred not in held])
        awaited = tuple([pred for pred in node.awaited if pred not in held])
        self.nodes[index] = replace(node, preds=kept, awaited=awaited, gates=(), otherwise=frozenset(), rule="all_done")
        state.open[index] = 0
        admit(state, index)

    def placed(self) -> Plan:
        """Return the plan by which the run goes on."""
        if self.plan is self.given:
            return self.given
        return Plan(tuple(self.nodes), self.given.input, self.given.answer, self.given.context)


def _waiting(node: PlanNode, held: frozenset[int]) -> PlanNode:
    """Let a node wait for more nodes; by most rules it also runs only if these have not failed."""
    awaited = {*node.awaited, *held} if node.rule in HANDED_ON else node.awaited
    return replace(node, preds=tuple(sorted({*node.preds, *held})), awaited=tuple(sorted(awaited)))
