"""How a run must end, written from the words of the specification: one step after another, each once.

It knows programs as plain data, and neither plans nor the machine nor any store. What the words say:

"A task is skipped by decision (a ``when``, the arm not taken) or by failure (something before it failed). By default
(``none_failed``) a task runs once every predecessor has succeeded or was skipped by decision. ``all_success`` skips it,
by decision, if any predecessor was skipped. For the other rules a predecessor skipped by failure counts as failed, one
skipped by decision as neither. A run has failed if a task failed, whatever ran because of it."

"A task sees the workflow's input and the writes of all its ancestors, and nothing else. The writes of a field with a
reducer fold in topological order, ties by task name, after the input's value."

A condition is decided once, before the first steps of its group, with all their predecessors and the rule that they
share; where they share none, it is always decided, and each of them goes by its own rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cloaca.algebra.graphs import Rule
from tests.interpreter.programs import Group, Program, Step, Trace, value_of

Standing = Literal["succeeded", "failed", "skipped by decision", "skipped by failure"]
FAILED: tuple[Standing, ...] = ("failed", "skipped by failure")


@dataclass
class Reference:
    """The end of a program: where each step stands, what it wrote, and its failed attempts."""

    program: Program
    standings: dict[str, Standing] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[str, int, str]] = field(default_factory=list)
    finally_failed: list[str] = field(default_factory=list)
    declined: set[str] = field(default_factory=set)
    decisions: dict[Group, Standing] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ancestors: dict[str, set[str]] = {}
        for step in self.program.steps:
            self.ancestors[step.name] = {*step.preds}.union(*(self.ancestors[pred] for pred in step.preds))
        self.order = by_name(self.program)
        for step in self.program.steps:
            self.standings[step.name] = self.end_of(step)

    def end_of(self, step: Step) -> Standing:
        for group in self.around(step.name):
            if group not in self.decisions:
                self.decisions[group] = self.decision(group)
            if self.decisions[group] == "failed":
                return "skipped by failure"
            if self.decisions[group] != "succeeded":
                return self.decisions[group]
        return ruled(step.rule, [self.standings[pred] for pred in step.preds]) or self.execution(step)

    def around(self, name: str) -> list[Group]:
        return [group for group in self.program.groups if name in group.members]

    def decision(self, group: Group) -> Standing:
        """Succeeded stands for yes."""
        for outer in self.program.groups[: self.program.groups.index(group)]:
            if group.members <= outer.members and (standing := self.decisions[outer]) != "succeeded":
                return "skipped by failure" if standing == "failed" else standing
        heads = [step for step in self.program.steps if step.name in group.heads]
        rules = {head.rule for head in heads}
        before = sorted({pred for head in heads for pred in head.preds})
        rule = rules.pop() if len(rules) == 1 else "all_done"
        if skipped := ruled(rule, [self.standings[pred] for pred in before]):
            return skipped
        if group.verdict == "raises":
            first = min(group.heads)
            self.failures.append((first, 1, "Odd"))
            self.finally_failed.append(first)
            return "failed"
        return "succeeded" if group.verdict == "yes" else "skipped by decision"

    def execution(self, step: Step) -> Standing:
        for attempt in range(1, step.attempts + 1):
            if attempt <= step.failures or step.fate == "raises":
                self.failures.append((step.name, attempt, "Odd"))
                continue
            if step.fate == "declines":
                self.failures.append((step.name, attempt, "Failure"))
                self.declined.add(step.name)
                break
            seen = {name: self.values[name] for name in self.ancestors[step.name] if name in self.values}
            self.values[step.name] = value_of(step, self.program.seed, seen, self.trace_of(step), attempt)
            return "succeeded"
        self.finally_failed.append(step.name)
        return "failed"

    def trace_of(self, step: Step | None) -> Trace:
        """The fold of what a step's ancestors wrote; of what all wrote, for the final context."""
        writers = [
            other.name
            for other in self.program.steps
            if other.traces and other.name in self.values and (step is None or other.name in self.ancestors[step.name])
        ]
        return ("input", *sorted(writers, key=self.order.index))

    # What a run must show

    @property
    def has_failed(self) -> bool:
        return bool(self.finally_failed)

    def context(self) -> dict[str, object]:
        written = {f"v_{name}": value for name, value in self.values.items()}
        return {"seed": self.program.seed, "trace": self.trace_of(None), **written}

    def statuses(self) -> dict[str, str]:
        """A task whose own condition raised is shown as failed."""
        shown = {name: standing.split()[0] for name, standing in self.standings.items()}
        return shown | dict.fromkeys(self.finally_failed, "failed")


def ruled(rule: Rule, before: list[Standing]) -> Standing | None:
    """Return how a rule skips a task whose predecessors ended like this, None if it runs."""
    failed = sum(standing in FAILED for standing in before)
    skipped = before.count("skipped by decision")
    succeeded = before.count("succeeded")
    match rule:
        case "none_failed":
            return "skipped by failure" if failed else None
        case "all_success":
            return "skipped by failure" if failed else "skipped by decision" if skipped else None
        case "all_done":
            return None
        case "any_success":
            return None if succeeded else "skipped by failure" if failed else "skipped by decision"
        case "any_failed":
            return None if failed else "skipped by decision"
        case "all_failed":
            return None if failed == len(before) else "skipped by decision"


def by_name(program: Program) -> list[str]:
    """Return the names in topological order, ties by name."""
    left = {step.name: set(step.preds) for step in program.steps}
    order: list[str] = []
    while left:
        name = min(name for name, preds in left.items() if preds <= set(order))
        order.append(name)
        del left[name]
    return order
