"""Which steps can be skipped by decision, and which gate would decide it: the part of the contract that no field
changes.

It knows rules and gates, neither fields nor types. A gate is a condition; the decision of a branch is one that lets
through one of two arms; the entry of a sealed graph is one that decides nothing of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cloaca.contract.cases import Way, inevitable
from cloaca.contract.steps import Step


class Certainty:
    """Facts about the steps of one graph. ``skippable``: those whose own rule can skip them by decision.

    That is: handlers, which run only after a failure; ``any_failed`` and ``all_failed``, which wait for one;
    ``all_success`` behind one that can be skipped by decision; ``any_success`` if all before it can at once.
    ``is_trivial``: nothing is ever skipped by decision, and each waits for all before it. ``has_branches``: some steps
    are in arms. ``handlers`` has, for the tasks that are rescued, the step that stands in. Cost: linear in the edges
    and the gates around them.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.handlers = {step.rescues: index for index, step in enumerate(steps) if step.rescues is not None}
        self.is_trivial = not self.handlers and all(not s.guards and s.rule == "none_failed" for s in steps)
        self.has_branches = any(step.decides for step in steps)
        self.skippable: set[int] = set()
        for index, step in enumerate(steps):
            if self._can_skip(index, step):
                self.skippable.add(index)

    def _can_skip(self, index: int, step: Step) -> bool:
        if step.rescues is not None:
            return True
        if step.rule in ("none_failed", "all_done"):
            return False
        if step.rule == "all_success":
            return any(self._can_be_skipped(pred, index) for pred in step.awaited)
        if step.rule == "any_success":
            ways = (self.way(pred, index) for pred in step.awaited)
            return not inevitable((way for way in ways if way is not None), self.said(index))
        return True

    def _can_be_skipped(self, pred: int, step: int) -> bool:
        """Whether ``pred`` can be skipped by decision while the gates around ``step`` pass."""
        return pred in self.skippable or self.decider(pred, step) is not None

    def can_be_skipped(self, step: int) -> bool:
        """Whether ``step`` can be skipped by decision at all: by its own rule, or by a gate around it."""
        return step in self.skippable or any(self._decides(gate) for gate in self.steps[step].guards)

    def way(self, pred: int, step: int) -> Way | None:
        """Return what must be decided for ``pred`` not to be skipped by decision, if branches alone can skip it.

        The gates around ``step`` pass.
        """
        return self._way(pred, self.deciders(pred, step))

    def _way(self, pred: int, deciders: Sequence[int]) -> Way | None:
        if pred in self.skippable or not all(map(self.is_settled, deciders)):
            return None
        return tuple((gate, gate not in self.steps[pred].otherwise) for gate in deciders)

    def is_settled(self, gate: int) -> bool:
        """Whether a gate is a branch's, which lets one of two arms through unless it is skipped by a gate around it."""
        return self.steps[gate].decides and gate not in self.skippable

    def one_runs(self, steps: Iterable[int]) -> bool:
        """Return whether, whatever is decided, one of these steps is not skipped by decision."""
        ways = (self._way(step, list(filter(self._decides, self.steps[step].guards))) for step in steps)
        return inevitable((way for way in ways if way is not None), {})

    def _decides(self, gate: int) -> bool:
        """Whether ``gate`` can skip what is behind it by decision; an entry only if its own rule skips it."""
        return not self.steps[gate].entry or gate in self.skippable

    def decider(self, pred: int, step: int) -> int | None:
        """Return the outermost gate that can skip ``pred`` by decision while the gates around ``step`` pass."""
        return next(self._deciders(pred, step), None)

    def deciders(self, pred: int, step: int) -> list[int]:
        """Return all gates that can skip ``pred`` by decision while the gates around ``step`` pass, outermost first."""
        return list(self._deciders(pred, step))

    def _deciders(self, pred: int, step: int) -> Iterator[int]:
        before, after = self.steps[pred], self.steps[step]
        for gate in before.guards:
            passes = gate in after.guards and (gate in before.otherwise) == (gate in after.otherwise)
            if not passes and self._decides(gate):
                yield gate

    def said(self, step: int) -> dict[int, bool]:
        """Return what the branches around ``step`` have decided when it runs."""
        known = self.steps[step]
        return {gate: gate not in known.otherwise for gate in known.guards if self.steps[gate].decides}

    def entry_around(self, step: int) -> tuple[int, ...]:
        """Return the entry of the sealed graph around ``step``: for what is inside, it is the workflow's input."""
        for gate in reversed(self.steps[step].guards):
            if self.steps[gate].entry:
                return (gate,)
        return ()
