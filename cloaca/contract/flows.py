"""How one field flows through a graph: reaching definitions, with what is sure beside what is possible.

It knows steps, writes and gates; it compares no types and finds no words. Writers of a field must be ordered, so the
latest writer before a node stands for all of them; it is carried forward from the writers to the readers, and only
there. The latest writer that surely ran is carried beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from cloaca.contract.certainty import Certainty
from cloaca.contract.steps import ABSENT, INPUT, Step, Write


class State(NamedTuple):
    """What holds at one step: the latest writer before it, and the latest that surely ran.

    ``settled`` is the latest that is sure once the step has succeeded or was skipped by decision, provided that the
    gates around it have passed.
    """

    last: int
    sure: int
    settled: int


class Flow:
    """One key's way. ``states`` has the steps behind a writer; at any other there is just the input, if it has the key.

    Cost: the steps between the first writer and the last reader, and the edges between them.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        succs: Sequence[Sequence[int]],
        certainty: Certainty,
        writers: Mapping[int, Write],
        readers: Iterable[int],
    ) -> None:
        self.steps, self.succs, self.certainty, self.written = steps, succs, certainty, writers
        self.is_trivial = certainty.is_trivial and all(write.sure for write in writers.values())
        # A handler that writes what the task writes that it rescues: whoever may read the one may read the other.
        handlers = ((step, certainty.handlers.get(step)) for step in writers) if certainty.handlers else ()
        self.instead = {step: handler for step, handler in handlers if handler is not None and handler in writers}
        instead = set(self.instead.values())
        self.writers = {step: write for step, write in writers.items() if step not in instead} if instead else writers
        self.order = list(self.writers)  # they were collected in topological order
        self.until = max([*writers, *readers], default=-1)
        self.states: dict[int, State] = {}

    def carry(self, input: Write | None) -> None:
        """Visit, in topological order, every step behind a writer, as far as the last reader or writer."""
        sure = INPUT if input and input.sure else ABSENT
        self.input, self.before = input, State(INPUT if input else ABSENT, sure, sure)
        heap = list(self.order)
        seen = set(heap)
        while heap:
            index = heappop(heap)
            self.states[index] = self._state(index)
            for succ in self.succs[index]:
                if succ <= self.until and succ not in seen:
                    seen.add(succ)
                    heappush(heap, succ)

    def _state(self, index: int) -> State:
        last = max([self._latest(pred) for pred in self.steps[index].preds], default=self.before.last)
        if self.is_trivial:  # every task runs, so that the latest writer is sure, too
            sure = last if last >= 0 else self.before.sure
            return State(last, sure, self._or_own(index, sure))
        sure = max(self._known(index), default=self.before.sure)
        if index in self.certainty.skippable:
            return State(last, sure, max(self._known_though_skipped(index), default=self.before.sure))
        return State(last, sure, self._or_own(index, sure))

    def _latest(self, pred: int) -> int:
        return pred if pred in self.writers else self.at(pred).last

    def _or_own(self, step: int, sure: int) -> int:
        write = self.writers.get(step)
        return step if write and write.sure else sure

    def _after(self, step: int) -> int:
        """What is sure once ``step`` has succeeded."""
        return self._or_own(step, self.at(step).sure)

    def _known(self, index: int) -> list[int]:
        """What is sure when a step runs: from each side."""
        step = self.steps[index]
        if step.rule == "none_failed":
            return self._around(index) + [self._passed(pred, index) for pred in self._before(step)]
        if step.rule == "all_success":
            return self._around(index) + [self._after(pred) for pred in self._before(step)]
        return self._around(index)

    def _before(self, step: Step) -> Sequence[int]:
        """The predecessors of a step; what a handler does is sure only together with the task that it rescues."""
        if not self.certainty.handlers:
            return step.preds
        return [pred for pred in step.preds if self.steps[pred].rescues is None]

    def _known_though_skipped(self, index: int) -> list[int]:
        """What is sure though a step's own rule may have skipped it, by decision."""
        step = self.steps[index]
        if step.rule != "all_success":
            return self._around(index)
        return self._around(index) + [self._passed(pred, index) for pred in self._before(step)]  # none has failed

    def _around(self, index: int) -> list[int]:
        return [self._after(entry) for entry in self.certainty.entry_around(index)]

    def _passed(self, pred: int, step: int) -> int:
        """What is sure for ``step`` because of ``pred``, which has succeeded or was skipped by decision."""
        if pred in self.steps[step].guards:
            return self._after(pred)  # a gate that let the step through
        decider = self.certainty.decider(pred, step)
        return self.at(pred if decider is None else decider).settled

    @property
    def visits(self) -> int:
        """How many steps were looked at."""
        return len(self.states)

    def at(self, index: int) -> State:
        """Return what holds at a step."""
        return self.states.get(index, self.before)

    def last(self, index: int) -> int:
        """Return the latest writer before a step, INPUT or ABSENT if there is none."""
        return self.at(index).last

    def is_sure(self, index: int) -> bool:
        """Whether the key surely has a value when the step runs."""
        return self.at(index).sure != ABSENT

    def write(self, provider: int) -> Write:
        """Return what ``provider`` writes."""
        if provider == INPUT:
            assert self.input is not None  # INPUT is a candidate only where the input has the key
            return self.input
        return self.written[provider]

    def providers(self, index: int) -> Iterator[int]:
        """Yield the candidates, each with the handler that may have written instead of it."""
        for provider in self.candidates(index):
            yield provider
            if provider in self.instead:
                yield self.instead[provider]

    def unordered(self) -> Iterator[tuple[int, int]]:
        """Yield pairs of writers without an order between them: so many that, once they are ordered, all are."""
        for earlier, index in zip(self.order, self.order[1:], strict=False):
            if self.last(index) != earlier:
                yield earlier, index

    def candidates(self, index: int) -> Iterator[int]:
        """Yield who may have written the value that the step reads, latest first, down to the first that surely did."""
        sure = self.at(index).sure
        provider = self.last(index)
        while provider != ABSENT:
            yield provider
            if provider in (sure, INPUT):
                return
            provider = self.last(provider)

    def _ancestors(self, index: int) -> set[int]:
        """The ancestors of a step, as far as the first writer."""
        first = self.order[0] if self.order else index
        ancestors: set[int] = set()
        stack = [index]
        while stack:
            for pred in self.steps[stack.pop()].preds:
                if pred not in ancestors and pred >= first:
                    ancestors.add(pred)
                    stack.append(pred)
        return ancestors


class Fold(Flow):
    """The way of a key with a reducer: its writes fold, in topological order; one without a reducer replaces them."""

    def carry(self, input: Write | None) -> None:
        """Carry the latest writers, and beside them the latest that replace."""
        super().carry(input)
        replacing = {index: write for index, write in self.writers.items() if write.reducer is None}
        self.replaced = Flow(self.steps, self.succs, self.certainty, replacing, (self.until,))
        self.replaced.carry(input)

    def unordered(self) -> Iterator[tuple[int, int]]:
        """Yield pairs without an order whose writes don't fold with each other."""
        folding: list[int] = []  # those since the latest that replaces
        replacing: int | None = None
        for index in self.order:
            reducer = self.writers[index].reducer
            others = [other for other in folding if reducer is None or self.writers[other].reducer != reducer]
            before = self._ancestors(index) if others else set()
            if replacing is not None and self.replaced.last(index) != replacing:
                yield replacing, index
            yield from ((other, index) for other in others if other not in before)
            if reducer is None:
                folding, replacing = [], index
            else:
                folding.append(index)

    def candidates(self, index: int) -> Iterator[int]:
        """Yield every ancestor whose write takes part, latest first, then the input."""
        start = self.replaced.at(index).sure
        ancestors = self._ancestors(index)
        for writer in reversed(self.order):
            if writer in ancestors:
                yield writer
                if writer == start:
                    return
        if self.input:
            yield INPUT
