"""Which steps can be skipped by decision, and which gate would decide it: the part of the contract that no field
changes.

It knows rules and gates, neither fields nor types. A gate is a condition; the entry of a sealed graph is one that
decides nothing of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from cloaca.contract.steps import Step


class Certainty:
    """Facts about the steps of one graph. ``skippable``: those whose own rule can skip them by decision.

    That is: ``any_failed`` and ``all_failed``, which wait for a failure; ``all_success`` behind one that can be skipped
    by decision; ``any_success`` if all before it can. ``is_trivial``: nothing is ever skipped by decision, and each
    waits for all before it. Cost: linear in the edges and the gates around them.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.is_trivial = all(not step.guards and step.rule == "none_failed" for step in steps)
        self.skippable: set[int] = set()
        for index, step in enumerate(steps):
            if self._can_skip(index, step):
                self.skippable.add(index)

    def _can_skip(self, index: int, step: Step) -> bool:
        if step.rule in ("none_failed", "all_done"):
            return False
        awaited = (pred for pred in step.preds if pred not in step.guards)
        if step.rule == "all_success":
            return any(self._can_be_skipped(pred, index) for pred in awaited)
        if step.rule == "any_success":
            return all(self._can_be_skipped(pred, index) for pred in awaited)
        return True

    def _can_be_skipped(self, pred: int, step: int) -> bool:
        """Whether ``pred`` can be skipped by decision while the gates around ``step`` pass."""
        return pred in self.skippable or self.decider(pred, step) is not None

    def can_be_skipped(self, step: int) -> bool:
        """Whether ``step`` can be skipped by decision at all: by its own rule, or by a gate around it."""
        return step in self.skippable or any(self._decides(gate) for gate in self.steps[step].guards)

    def _decides(self, gate: int) -> bool:
        """Whether ``gate`` can skip what is behind it by decision; an entry only if its own rule skips it."""
        return not self.steps[gate].entry or gate in self.skippable

    def decider(self, pred: int, step: int) -> int | None:
        """Return the outermost gate that can skip ``pred`` by decision while the gates around ``step`` pass."""
        around = self.steps[step].guards
        for gate in self.steps[pred].guards:
            if gate not in around and self._decides(gate):
                return gate
        return None

    def entry_around(self, step: int) -> tuple[int, ...]:
        """Return the entry of the sealed graph around ``step``: for what is inside, it is the workflow's input."""
        for gate in reversed(self.steps[step].guards):
            if self.steps[gate].entry:
                return (gate,)
        return ()
