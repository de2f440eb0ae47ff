"""The context contract: which task provides each field that a task reads, and every way in which a graph breaks it.

It knows nodes, rows and opaque types: it is given ``assignable`` and ``show``, and has no idea whether a type is a
run-time annotation or a type checker's. At run time ``elaboration`` feeds it, in a type checker a plugin does, so that
the two can't reach different verdicts.

Method: one field at a time, see ``flows``. Cost: for each field, the nodes between its first writer and its last
reader.
"""

from __future__ import annotations

from cloaca.contract import messages
from cloaca.contract.branching import Branching, BranchingFold
from cloaca.contract.certainty import Certainty
from cloaca.contract.flows import Flow, Fold
from cloaca.contract.steps import INPUT, Checked, Elaborated, Read, Types, Write
from cloaca.errors import Violation

__all__ = ["INPUT", "Checker", "check"]


def check(graph: Elaborated, types: Types) -> Checked:
    """Return the providers of every read, and all violations at once, in topological order, then by field."""
    return Checker(graph, types).run()


class Checker:
    """One check. Holds the successors and the violations by step, so that they come out in order."""

    def __init__(self, graph: Elaborated, types: Types) -> None:
        self.graph, self.types, self.steps = graph, types, graph.steps
        self.succs: list[list[int]] = [[] for _ in graph.steps]
        for index, step in enumerate(graph.steps):
            for pred in step.preds:
                self.succs[pred].append(index)
        self.certainty = Certainty(graph.steps)
        self.writers: dict[str, dict[int, Write]] = {}
        self.readers: dict[str, dict[int, list[Read]]] = {}
        self.found: dict[int, list[Violation]] = {}
        self.providers: dict[int, dict[str, tuple[int, ...]]] = {}
        self.visits = 0  # how many steps were looked at, over all keys: the cost

    def run(self) -> Checked:
        for index, step in enumerate(self.steps):
            for write in step.writes:
                self.writers.setdefault(write.key, {})[index] = write
            for read in step.reads:
                self.readers.setdefault(read.key, {}).setdefault(index, []).append(read)
        for key in sorted(self.writers.keys() | self.readers.keys()):
            self.check_key(key, self.writers.get(key, {}), self.readers.get(key, {}))
        violations = tuple(violation for _, found in sorted(self.found.items()) for violation in found)
        return Checked(violations, self.providers)

    def check_key(self, key: str, writers: dict[int, Write], readers: dict[int, list[Read]]) -> None:
        folds = any(write.reducer is not None for write in writers.values())
        kind = (BranchingFold if folds else Branching) if self.certainty.has_branches else Fold if folds else Flow
        flow = kind(self.steps, self.succs, self.certainty, writers, readers)
        flow.carry(self.graph.input.get(key))
        self.visits += flow.visits
        for earlier, index in flow.unordered():
            self.report(index, messages.write_conflict(self, key, earlier, index))
        for index, write in writers.items():
            before = flow.last(index)
            if write.reducer is None and self.is_known(before, key) and not self.reads_key(index, key):
                self.report(index, messages.unread_rewrite(self, key, index, before))
        for index, reads in readers.items():
            found = tuple(flow.providers(index))
            self.providers.setdefault(index, {})[key] = found
            for read in reads if len(reads) == 1 else _distinct(reads):
                self.check_read(index, read, found, flow)

    def report(self, index: int, violation: Violation) -> None:
        self.found.setdefault(index, []).append(violation)

    def is_known(self, provider: int, key: str) -> bool:
        """Whether a field has a value to replace: inside a fan-out, that of the context around is nobody's concern."""
        return provider >= 0 or (provider == INPUT and not self.graph.input[key].around)

    def reads_key(self, index: int, key: str) -> bool:
        instead = self.steps[index].instead
        return (index if instead is None else instead) in self.readers.get(key, {})

    def check_read(self, index: int, read: Read, found: tuple[int, ...], flow: Flow) -> None:
        if not found and read.required:
            self.report(index, messages.missing_field(self, index, read))
        for provider in found:
            write = flow.write(provider)
            if not write.around and not self.types.assignable(write.type, read.type):
                self.report(index, messages.field_type(self, index, read, provider, write.type))
        if found and read.required and not flow.is_sure(index):
            self.report(index, messages.maybe_missing(self, index, read, found))


def _distinct(reads: list[Read]) -> list[Read]:
    """One read for several of one type: two parameters that name the same field are one requirement."""
    distinct: list[Read] = []
    for read in sorted(reads, key=lambda read: not read.required):
        if not any(read.type == other.type for other in distinct):
            distinct.append(read)
    return distinct
