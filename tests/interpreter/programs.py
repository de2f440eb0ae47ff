"""Random programs as plain data, and the workflows that cloaca makes of them.

A step adds up what it sees of the others, so that whatever it may not see changes its value. The reference evaluates
the data; the module that turns it into workflows knows nothing of the reference.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from hypothesis import strategies as st
from pydantic import BaseModel, create_model
from returns.result import Failure, Result, Success

from cloaca import Graph, Reduce, Retry, TaskContext, Workflow, WorkflowBuilder, task
from cloaca.algebra.graphs import RULES, Rule

Trace = tuple[str, ...]
Verdict = Literal["yes", "no", "raises"]
Fate = Literal["succeeds", "declines", "raises"]


@dataclass(frozen=True)
class Step:
    """A task. Its first ``failures`` attempts raise; then, if attempts are left, it meets its ``fate``."""

    name: str
    preds: tuple[str, ...] = ()
    rule: Rule = "none_failed"
    fate: Fate = "succeeds"
    failures: int = 0
    attempts: int = 1
    traces: bool = False
    is_async: bool = True
    pause_ms: int = 0


@dataclass(frozen=True)
class Group:
    """A condition over steps; ``heads`` are those that come first among them."""

    members: frozenset[str]
    heads: frozenset[str]
    verdict: Verdict


@dataclass(frozen=True)
class Program:
    """Steps in a topological order, and groups, an outer one before those in it."""

    steps: tuple[Step, ...]
    groups: tuple[Group, ...] = ()
    seed: int = 1

    @property
    def lasts(self) -> list[str]:
        """The names of the steps that no other waits for."""
        before = {pred for step in self.steps for pred in step.preds}
        return [step.name for step in self.steps if step.name not in before]


def value_of(step: Step, seed: int, seen: Mapping[str, int], trace: Trace, attempt: int) -> int:
    """Return what a step writes, given everything that it sees."""
    total = seed * 1009 + attempt * 31 + len(trace) * 17 + sum(ord(letter) for entry in trace for letter in entry)
    for place, name in enumerate(sorted(seen)):
        total += (place + 3) * seen[name] * (sum(name.encode()) + 1)
    return (total + sum(step.name.encode())) % 1_000_003


class Input(BaseModel):
    seed: int
    trace: Annotated[Trace, Reduce(lambda old, new: old + new)]


class Refused(BaseModel):
    by: str


class Odd(Exception):
    """What bodies raise."""


# The workflow of a program


def workflow_of(program: Program, name: str) -> Workflow[Any, Any]:
    """Return the workflow that does what a program says."""
    nodes = {step.name: _node(step, program) for step in program.steps}
    if not program.groups or all(len(group.members) == 1 for group in program.groups):
        return _built(program, name, nodes)
    return Workflow(name, _composed(program, nodes), input=Input)


def _built(program: Program, name: str, nodes: dict[str, Any]) -> Workflow[Any, Any]:
    for group in reversed(program.groups):
        [member] = group.members
        nodes[member] = nodes[member].when(_predicate(group.verdict))
    builder = WorkflowBuilder(name, input=Input)
    for step in program.steps:
        builder.add(nodes[step.name], after=step.preds)
    return builder.build()


def _composed(program: Program, nodes: dict[str, Any]) -> Any:
    """Groups of several steps can be written with operators alone: these programs are blocks, one after another."""
    graph: Any = Graph()
    for block in blocks_of(program):
        parallel: Any = Graph()
        for branch in block:
            chain: Any = Graph()
            for step in branch:
                chain = chain >> nodes[step]
            for group in reversed(program.groups):
                if group.members == frozenset(branch):
                    chain = chain.when(_predicate(group.verdict))
            parallel = parallel & chain
        for group in reversed(program.groups):
            members = {step for branch in block for step in branch}
            if group.members == members and len(block) > 1:
                parallel = parallel.when(_predicate(group.verdict))
        graph = graph >> parallel
    return graph


def blocks_of(program: Program) -> list[list[list[str]]]:
    """Read blocks of parallel chains back from the names: ``b0c1s2`` is the third step of a chain."""
    blocks: dict[str, dict[str, list[str]]] = {}
    for step in program.steps:
        block, rest = step.name.split("c")
        chain, _ = rest.split("s")
        blocks.setdefault(block, {}).setdefault(chain, []).append(step.name)
    return [list(block.values()) for _, block in sorted(blocks.items())]


def _predicate(verdict: Verdict) -> Any:
    def predicate(given: Input) -> bool:
        if verdict == "raises":
            raise Odd("undecided")
        return verdict == "yes"

    predicate.__annotations__ = {"given": Input, "return": bool}
    return predicate


def _node(step: Step, program: Program) -> Any:
    others: dict[str, Any] = {f"v_{other.name}": (int | None, None) for other in program.steps if other is not step}
    reads = create_model(f"Reads_{step.name}", seed=(int, ...), trace=(Trace, ...), **others)
    fields: dict[str, Any] = {f"v_{step.name}": (int, ...)}
    if step.traces:
        fields["trace"] = (Annotated[Trace, *Input.model_fields["trace"].metadata], ...)
    writes = create_model(f"Writes_{step.name}", **fields)

    def answer(given: Any, ctx: TaskContext) -> Any:
        if ctx.attempt <= step.failures or step.fate == "raises":
            raise Odd(f"{step.name} {ctx.attempt}")
        if step.fate == "declines":
            return Failure(Refused(by=step.name))
        seen = {
            other.name: getattr(given, f"v_{other.name}")
            for other in program.steps
            if other is not step and getattr(given, f"v_{other.name}") is not None
        }
        written: dict[str, Any] = {f"v_{step.name}": value_of(step, given.seed, seen, given.trace, ctx.attempt)}
        if step.traces:
            written["trace"] = (step.name,)
        return Success(writes(**written)) if declares else writes(**written)

    declares = step.fate == "declines" or step.traces  # some that always succeed could have declined

    async def async_body(given: Any, *, ctx: TaskContext) -> Any:
        await asyncio.sleep(step.pause_ms / 1000)
        return answer(given, ctx)

    def sync_body(given: Any, *, ctx: TaskContext) -> Any:
        time.sleep(step.pause_ms / 1000)
        return answer(given, ctx)

    returned: Any = Result[writes, Refused] if declares else writes
    hints = {"given": reads, "ctx": TaskContext, "return": returned}
    body: Any = async_body if step.is_async else sync_body
    body.__annotations__ = hints
    return task(name=step.name, retry=Retry(attempts=step.attempts, delay=0))(body).on(step.rule)


# Programs by chance


@st.composite
def steps(draw: st.DrawFn, name: str, preds: tuple[str, ...]) -> Step:
    attempts = draw(st.integers(1, 3))
    return Step(
        name,
        preds,
        rule=draw(st.sampled_from(("none_failed", "none_failed", "none_failed", *RULES))),
        fate=draw(st.sampled_from(("succeeds", "succeeds", "succeeds", "succeeds", "declines", "raises"))),
        failures=draw(st.integers(0, attempts)) if draw(st.booleans()) else 0,
        attempts=attempts,
        traces=draw(st.booleans()),
        is_async=draw(st.booleans()),
        pause_ms=draw(st.sampled_from((0, 0, 0, 1, 3))),
    )


VERDICTS: st.SearchStrategy[Verdict] = st.sampled_from(("yes", "yes", "no", "no", "raises"))


@st.composite
def graphs(draw: st.DrawFn) -> Program:
    """Any DAG, with conditions on single steps."""
    # Names whose order is not the order of the steps, or ties by name would never show.
    count = draw(st.integers(1, 9))
    names = draw(st.permutations([f"t{n}" for n in range(count)]))
    made: list[Step] = []
    groups: list[Group] = []
    for place, name in enumerate(names):
        before = draw(st.sets(st.sampled_from(names[:place]), max_size=3)) if place else set()
        made.append(draw(steps(name, tuple(sorted(before)))))
        for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
            groups.append(Group(frozenset((name,)), frozenset((name,)), draw(VERDICTS)))
    return Program(tuple(made), tuple(groups), draw(st.integers(1, 5)))


@st.composite
def blocks(draw: st.DrawFn) -> Program:
    """Blocks of parallel chains, one after another, with conditions on chains and on whole blocks."""
    made: list[Step] = []
    groups: list[Group] = []
    tails: tuple[str, ...] = ()
    for block in range(draw(st.integers(1, 3))):
        chains = [
            [f"b{block}c{chain}s{place}" for place in range(draw(st.integers(1, 3)))]
            for chain in range(draw(st.integers(1, 3)))
        ]
        whole = frozenset(name for chain in chains for name in chain)
        if len(chains) > 1 and draw(st.booleans()):
            groups.append(Group(whole, frozenset(chain[0] for chain in chains), draw(VERDICTS)))
        for chain in chains:
            if draw(st.booleans()):
                groups.append(Group(frozenset(chain), frozenset(chain[:1]), draw(VERDICTS)))
            for place, name in enumerate(chain):
                made.append(draw(steps(name, tuple(chain[place - 1 : place]) if place else tails)))
        tails = tuple(sorted(chain[-1] for chain in chains))
    return Program(tuple(made), tuple(groups), draw(st.integers(1, 5)))
