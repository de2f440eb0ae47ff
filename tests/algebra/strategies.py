"""Random graphs over a pool of tasks that read and write nothing, so that every composition may be closed."""

from __future__ import annotations

from typing import Any, TypeAlias

from hypothesis import strategies as st

from cloaca.algebra.graphs import Graph
from cloaca.algebra.tasks import Task, task

AnyGraph: TypeAlias = Graph[Any, Any, Any]


@task
def step() -> None: ...


POOL: list[Task[None, None]] = [step.named(f"t{n}") for n in range(9)]


def is_ready() -> bool:
    return True


@st.composite
def graphs(draw: st.DrawFn, pool: list[Task[None, None]] = POOL, *, empty: bool = True) -> AnyGraph:
    """Draw a graph over some tasks of ``pool``.

    A task comes before another only in the order of the pool, so that two graphs over one pool can be laid over each
    other: no cycle can come of it.
    """
    chosen = [each for each in pool if draw(st.booleans())]
    if not chosen and not empty:
        chosen = [draw(st.sampled_from(pool))]
    return draw(_over(chosen))


def _over(chosen: list[Task[None, None]]) -> st.SearchStrategy[AnyGraph]:
    if len(chosen) <= 1:
        return st.just(chosen[0] if chosen else Graph())
    return st.one_of(_series(chosen), _overlay(chosen), _shared(chosen))


@st.composite
def _series(draw: st.DrawFn, chosen: list[Task[None, None]]) -> AnyGraph:
    cut = draw(st.integers(1, len(chosen) - 1))
    composed: AnyGraph = draw(_over(chosen[:cut])) >> draw(_over(chosen[cut:]))
    return composed


@st.composite
def _overlay(draw: st.DrawFn, chosen: list[Task[None, None]]) -> AnyGraph:
    left = [each for each in chosen if draw(st.booleans())]
    right = [each for each in chosen if each not in left]
    return draw(_over(left) if left != chosen else _series(left)) & draw(_over(right))


@st.composite
def _shared(draw: st.DrawFn, chosen: list[Task[None, None]]) -> AnyGraph:
    """Two chains with tasks in common: what makes the written first and last tasks differ from the real ones."""
    part = [each for each in chosen if draw(st.booleans())]
    return draw(_series(chosen)) & draw(_over(part) if len(part) < len(chosen) else _series(part))


def disjoint(count: int, *, empty: bool = True) -> st.SearchStrategy[tuple[AnyGraph, ...]]:
    """Draw ``count`` graphs without a task in common."""
    return st.tuples(*(graphs(POOL[n::count], empty=empty) for n in range(count)))
