"""How one field flows through a graph with branches: each write beside what must be decided for it to be sure.

Where no branch is, the latest writer stands for all; behind a branch there may be one in each arm. So a state has
*facts*: a writer, and the way through decisions on which it surely ran. A field is sure if some writer ran whichever
way the decisions go, and a write no longer counts if, wherever it ran, a later one ran surely. Writers are in
topological order, and of those that are in conflict it is not decided which is the latest.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from heapq import heappop, heappush
from typing import NamedTuple

from cloaca.contract.cases import Way, inevitable
from cloaca.contract.flows import Flow
from cloaca.contract.steps import ABSENT, INPUT, Write, exclusive

Fact = tuple[int, Way]
Facts = tuple[Fact, ...]  # the latest writer first


def _left(way: Way, said: Mapping[int, bool]) -> Way | None:
    """What of a way is not said already, None if it was said otherwise."""
    if any(said.get(gate, taken) != taken for gate, taken in way):
        return None
    return tuple((gate, taken) for gate, taken in way if gate not in said)


class Case(NamedTuple):
    """What holds at one step: the latest writers before it, what is sure when it runs, and what once it is settled."""

    last: tuple[int, ...]
    sure: Facts
    settled: Facts


NOTHING = Case((), (), ())


class Branching(Flow):
    """One key's way through a graph with branches."""

    def carry(self, input: Write | None) -> None:
        """Visit, in topological order, every step behind a writer, as far as the last reader or writer."""
        self.input = input
        self.cases: dict[int, Case] = {}
        heap = list(self.order)
        seen = set(heap)
        while heap:
            index = heappop(heap)
            self.cases[index] = self._case(index)
            for succ in self.succs[index]:
                if succ <= self.until and succ not in seen:
                    seen.add(succ)
                    heappush(heap, succ)

    @property
    def visits(self) -> int:
        """How many steps were looked at."""
        return len(self.cases)

    def case(self, index: int) -> Case:
        """Return what holds at a step."""
        return self.cases.get(index, NOTHING)

    def _case(self, index: int) -> Case:
        step = self.steps[index]
        last = self._latest_of({w for pred in step.preds for w in self._writers_through(pred)})
        sure = self._facts_at(index, step.rule)
        if index in self.certainty.skippable:
            rule = "none_failed" if step.rule == "all_success" and step.rescues is None else "all_done"
            return Case(last, sure, self._facts_at(index, rule))
        return Case(last, sure, self._with_own(index, sure))

    def _writers_through(self, pred: int) -> tuple[int, ...]:
        return (pred,) if pred in self.writers else self.case(pred).last

    def _latest_of(self, writers: set[int]) -> tuple[int, ...]:
        """Leave out the writers that come before others."""
        latest = sorted(writers, reverse=True)
        if len(latest) > 1:
            first = latest[-1]
            before = self._back_from(latest[:1], first)
            for writer in latest[1:]:
                if writer not in before:
                    before |= self._back_from([writer], first)
            latest = [writer for writer in latest if writer not in before]
        return tuple(latest)

    def _back_from(self, writers: Iterable[int], until: int) -> set[int]:
        """The writers before some others, no further back than ``until``."""
        found: set[int] = set()
        stack = list(writers)
        while stack:
            for writer in self.case(stack.pop()).last:
                if writer >= until and writer not in found:
                    found.add(writer)
                    stack.append(writer)
        return found

    # What is sure

    def _facts_at(self, index: int, rule: str) -> Facts:
        step = self.steps[index]
        found: set[Fact] = set()
        for entry in self.certainty.entry_around(index):
            found.update(self._after_facts(entry))
        if rule == "all_success":
            for pred in self._before(step):
                found.update(self._after_facts(pred))
        elif rule == "none_failed":
            for pred in self._before(step):
                found.update(self._passed_facts(pred, index))
        return self._told(found, self.certainty.said(index)) if found else ()

    def _after_facts(self, step: int) -> Facts:
        """What is sure once ``step`` has succeeded."""
        return self._with_own(step, self.case(step).sure)

    def _with_own(self, step: int, sure: Facts) -> Facts:
        write = self.writers.get(step)
        if not write or not write.sure:
            return sure
        return self._told({(step, ()), *sure}, {}) if sure else ((step, ()),)

    def _passed_facts(self, pred: int, step: int) -> Iterator[Fact]:
        """What is sure for ``step`` because of ``pred``, which has succeeded or was skipped by decision."""
        if pred in self.steps[step].guards:
            yield from self._after_facts(pred)  # a gate that let the step through
            return
        way: Way = ()
        for gate in self.certainty.deciders(pred, step):
            yield from self._on(way, self.case(gate).settled)
            if not self.certainty.is_settled(gate):
                return
            way = (*way, (gate, gate not in self.steps[pred].otherwise))
        yield from self._on(way, self.case(pred).settled)

    @staticmethod
    def _on(way: Way, facts: Facts) -> Iterator[Fact]:
        return ((writer, way + then) for writer, then in facts) if way else iter(facts)

    def _told(self, facts: Iterable[Fact], said: Mapping[int, bool]) -> Facts:
        """Leave out of facts what was said, those of other arms, and those that others make superfluous."""
        kept: list[Fact] = []
        told = {(writer, left) for writer, way in facts if (left := _left(way, said)) is not None}
        for writer, way in sorted(told, key=lambda fact: (-fact[0], len(fact[1]), fact[1])):
            known = {**said, **dict(way)}
            others = (other_way for other, other_way in kept if other == writer or self._supersedes(other, writer))
            if not inevitable(others, known):
                kept.append((writer, way))
        return tuple(kept)

    def _supersedes(self, later: int, writer: int) -> bool:
        """Whether nobody needs to know of ``writer`` where ``later`` surely ran."""
        return self.writers[later].reducer is None or self.writers[writer].reducer is not None

    # Answers

    def last(self, index: int) -> int:
        """Return the latest writer before a step that may have run, INPUT or ABSENT if there is none."""
        near = self.case(index).last
        while near:
            for writer in near:
                if not exclusive(self.steps[writer], self.steps[index]):
                    return writer
            near = self._latest_of({before for writer in near for before in self.case(writer).last})
        return INPUT if self.input else ABSENT

    def is_sure(self, index: int) -> bool:
        """Whether the key surely has a value when the step runs."""
        if self.input and self.input.sure:
            return True
        return inevitable((way for _, way in self.case(index).sure), self.certainty.said(index))

    def unordered(self) -> Iterator[tuple[int, int]]:
        """Yield pairs of writers of which both may run, without an order between them: one for each that has any."""
        beside: dict[int, list[int]] = {}  # the earlier writers that are not before this one, the latest first
        for index in self.order:
            others = self._beside(index, beside)
            clash = next((w for w in others if not exclusive(self.steps[w], self.steps[index])), None)
            if clash is None:
                beside[index] = others
            else:  # it is reported, and what follows is as if they were ordered
                yield clash, index
                beside[index] = [w for w in others if w > clash] + beside[clash]

    def _beside(self, index: int, beside: Mapping[int, list[int]]) -> list[int]:
        latest, *more = self.case(index).last or (None,)
        start = 0 if latest is None else bisect_right(self.order, latest)
        found = self.order[start : bisect_left(self.order, index)][::-1] + ([] if latest is None else beside[latest])
        for other in more:
            known = set(beside[other])
            found = [writer for writer in found if writer > other or writer in known]
        return found

    def candidates(self, index: int) -> Iterator[int]:
        """Yield who may have written the value that the step reads, latest first, and then perhaps the input."""
        facts, said = self.case(index).sure, self.certainty.said(index)
        until = self._certain_since(facts, said)
        for writer in self._writers_before(index, until):
            if not self._is_superseded(writer, facts, said):
                yield writer
        if self.input and until is None:
            yield INPUT

    def _writers_before(self, index: int, until: int | None) -> list[int]:
        near = self.case(index).last
        first = self.order[0] if until is None and self.order else until or 0
        return sorted(({*near} | self._back_from(near, first)) - {w for w in near if w < first}, reverse=True)

    def _certain_since(self, facts: Facts, said: Mapping[int, bool]) -> int | None:
        """The latest writer such that it, or one after it, surely ran and replaced what was before."""
        ways: list[Way] = []
        for writer, way in facts:
            if self.writers[writer].reducer is None:
                ways.append(way)
                if inevitable(ways, said):
                    return writer
        return None

    def _is_superseded(self, writer: int, facts: Facts, said: Mapping[int, bool]) -> bool:
        """Whether a later writer surely ran wherever this one did; also if this one can't have run at all."""
        own = self.certainty.said(writer)
        if any(said.get(gate, taken) != taken for gate, taken in own.items()):
            return True
        ways = (way for later, way in facts if later > writer and self.writers[later].reducer is None)
        return inevitable(ways, {**said, **own})


class BranchingFold(Branching):
    """The way of a key with a reducer through a graph with branches."""

    def _latest_of(self, writers: set[int]) -> tuple[int, ...]:
        return ()  # they need no order; who wants to know their ancestors looks for himself

    def last(self, index: int) -> int:
        """Return the latest writer before a step that may have run, INPUT or ABSENT if there is none."""
        before = self._ancestors(index)
        found = (w for w in reversed(self.order) if w in before and not exclusive(self.steps[w], self.steps[index]))
        return next(found, INPUT if self.input else ABSENT)

    def unordered(self) -> Iterator[tuple[int, int]]:
        """Yield pairs without an order of which both may run, and whose writes don't fold with each other."""
        for place, index in enumerate(self.order):
            reducer = self.writers[index].reducer
            others = [w for w in self.order[:place] if reducer is None or self.writers[w].reducer != reducer]
            before = self._ancestors(index) if others else set()
            for other in others:
                if other not in before and not exclusive(self.steps[other], self.steps[index]):
                    yield other, index

    def _writers_before(self, index: int, until: int | None) -> list[int]:
        before = self._ancestors(index)
        return [w for w in reversed(self.order) if w in before and (until is None or w >= until)]
