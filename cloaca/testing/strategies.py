"""Hypothesis strategies for graphs of runnable tasks, and for scenarios of a workflow."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st
from pydantic import BaseModel, create_model

from cloaca.algebra.graphs import Graph, overlaid
from cloaca.algebra.retries import Retry
from cloaca.algebra.tasks import task
from cloaca.contract.plans import PlanNode
from cloaca.contract.workflows import Workflow
from cloaca.testing import deviations as d
from cloaca.testing.deviations import SUBMIT, Deviation, Scenario
from cloaca.testing.instances import inputs
from cloaca.testing.outside import waits_of
from cloaca.testing.searches import Faults


class Start(BaseModel):
    """What every graph of ``graphs()`` reads: its workflow's input."""

    start: int


def scenarios(
    workflow: Workflow[Any, Any, Any, Any], faults: Faults | None = None, *, workers: tuple[int, int] = (1, 3)
) -> st.SearchStrategy[Scenario]:
    """Return a strategy for scenarios of a workflow: what goes wrong at its tasks, how many workers there are.

    The simplest is the one in which nothing goes wrong.

    >>> from hypothesis import given, settings
    >>> from cloaca import task
    >>> from cloaca.testing import simulate
    >>> @task
    ... def pay() -> None: ...
    >>> bills = Workflow("bills", pay)
    >>> @settings(max_examples=5)
    ... @given(scenarios(bills))
    ... def every_scenario_ends(scenario: Scenario) -> None:
    ...     assert simulate(bills, scenario=scenario).status in ("succeeded", "failed")
    >>> every_scenario_ends()
    """
    allowed = faults or Faults()
    tasks = [node.task for node in workflow.plan.nodes if node.body is not None]
    timed = [n.task for n in workflow.plan.nodes if n.body is not None and n.body.options.timeout_s is not None]
    kinds = _kinds(allowed, tasks, timed)
    drawn = st.lists(st.one_of(kinds), max_size=allowed.at_most, unique=True) if kinds else st.just([])
    seeds = st.none() | st.integers(0, 2**16) if allowed.interleavings else st.none()
    return st.builds(_scenario, drawn, st.integers(*workers), seeds)


def _scenario(drawn: list[Deviation], workers: int, seed: int | None) -> Scenario:
    return Scenario(*drawn, workers=workers, seed=seed)


def _kinds(faults: Faults, tasks: list[str], timed: list[str]) -> list[st.SearchStrategy[Deviation]]:
    """One strategy for each kind, so that the kind is drawn first and none drowns another."""
    if not tasks:
        return []
    at, nth = st.sampled_from(tasks), st.integers(0, 1)
    families: list[tuple[bool, list[st.SearchStrategy[Deviation]]]] = [
        (faults.failures, [st.builds(d.fail, at, st.integers(1, 3)), st.builds(d.exhaust, at)]),
        (faults.failures and bool(timed), [st.builds(d.time_out, st.sampled_from(timed or tasks))]),
        (faults.crashes, [st.builds(d.crash_before_commit, at, nth), st.builds(d.crash_after_commit, at, nth)]),
        (faults.stalls, [st.builds(d.zombie, at, nth), st.builds(d.lose_lease, at, nth)]),
        (faults.store_errors, [st.builds(d.store_error, at, nth, lost=st.booleans())]),
        (faults.leaving, [st.builds(d.leave, at, nth)]),
        (faults.clocks, [st.builds(d.clock_jump, st.sampled_from([3600.0, -3600.0]), at, nth)]),
    ]
    return [strategy for allowed, strategies in families if allowed for strategy in strategies]


def signals(workflow: Workflow[Any, Any, Any, Any]) -> st.SearchStrategy[tuple[Deviation, ...]]:
    """Return a strategy for the signals of a workflow: for each wait one or two, before, during and after it.

    A wait with a timeout may get none, and one at its edge.

    >>> from hypothesis import given, settings
    >>> from pydantic import BaseModel
    >>> from cloaca import wait_for
    >>> class Approval(BaseModel):
    ...     approved: bool
    >>> @settings(max_examples=5)
    ... @given(signals(Workflow("approvals", wait_for(Approval))))
    ... def each_wait_gets_one(drawn: tuple[Deviation, ...]) -> None:
    ...     assert {deviation.kind for deviation in drawn} == {"send"}
    >>> each_wait_gets_one()
    """
    own = {id(node) for node in workflow.plan.nodes}  # a child run is not there yet when its parent is stored
    each = [_sent_for(node, early=id(node) in own) for node in waits_of(workflow)]
    return st.tuples(*each).map(lambda lists: tuple(itertools.chain(*lists)))


def _sent_for(node: PlanNode, *, early: bool) -> st.SearchStrategy[list[Deviation]]:
    assert node.wait is not None
    assert node.output is not None  # who waits for a signal is a wait, and has its model
    limit = node.wait.seconds
    delays = LATER_S if limit is None else (0.0, limit / 2, max(0.0, limit - EDGE_S), limit, limit + EDGE_S)
    before = [(SUBMIT, 0.0)] if early else []
    places = st.sampled_from([*before, *((node.name, delay) for delay in dict.fromkeys(delays))])
    one = st.builds(_sent, inputs(node.output), places)
    return st.lists(one, min_size=int(limit is None), max_size=MOST_SENT, unique=True)


def _sent(signal: BaseModel, place: tuple[str, float]) -> Deviation:
    return d.send(signal, place[0], after=place[1])


EDGE_S: Final = 0.01
LATER_S: Final = (0.0, 1.0, 2 * 86_400.0)  # after a wait has begun: at once, soon, and when its run may be parked
MOST_SENT: Final = 2  # for one wait


@st.composite
def graphs(draw: st.DrawFn, *, max_tasks: int = 6) -> Graph[Any, Any, Any]:
    """Draw a graph of 1 to ``max_tasks`` tasks whose bodies run: close it with ``Workflow(name, graph)``.

    Each task adds what it reads, and writes the sum as a field of its own; some are retried, some are asynchronous.

    >>> from hypothesis import given, settings
    >>> from cloaca.testing import simulate
    >>> @settings(max_examples=5)
    ... @given(graphs(max_tasks=3))
    ... def every_graph_ends(graph: Graph[Any, Any, Any]) -> None:
    ...     assert 1 <= len(graph.structure.nodes) <= 3
    >>> every_graph_ends()
    """
    nodes: list[Graph[Any, Any, Any]] = []
    before: list[set[int]] = []  # the ancestors of each
    parts: list[Graph[Any, Any, Any]] = []
    for number in range(draw(st.integers(1, max_tasks))):
        preds = draw(st.sets(st.sampled_from(range(number)), max_size=3)) if number else set()
        ancestors = preds.union(*(before[pred] for pred in preds))
        reads = draw(st.sets(st.sampled_from(sorted(ancestors)), max_size=3)) if ancestors else set()
        retried = draw(st.booleans())
        node = _task(number, sorted(reads), attempts=3 if retried else 1, is_async=draw(st.booleans()))
        nodes.append(node)
        before.append(ancestors)
        parts += [nodes[pred] >> node for pred in sorted(preds)] or [node]
    return overlaid(*parts)


def _task(number: int, reads: list[int], *, attempts: int, is_async: bool) -> Graph[Any, Any, Any]:
    needs: dict[str, Any] = {f"f{each}": (int, ...) for each in reads}
    read = create_model(f"Needs{number}", __base__=Start, **needs) if reads else Start
    writes: dict[str, Any] = {f"f{number}": (int, ...)}
    written = create_model(f"Sum{number}", **writes)

    def add(given: BaseModel) -> BaseModel:
        return written(**{f"f{number}": sum(dict(given).values()) + 1})

    async def add_later(given: BaseModel) -> BaseModel:
        return add(given)

    body: Callable[..., Any] = add_later if is_async else add
    body.__name__ = body.__qualname__ = f"t{number}"
    body.__annotations__ = {"given": read, "return": written}
    parameter = inspect.Parameter("given", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=read)
    body.__signature__ = inspect.Signature([parameter], return_annotation=written)  # type: ignore[attr-defined]
    made: Graph[Any, Any, Any] = task(retry=Retry(attempts=attempts, jitter=0))(body)
    return made
