"""The workloads: chains, fans and layers of trivial tasks, so that what is measured is the engine."""

from __future__ import annotations

import asyncio
import functools
import operator
from typing import Any

from pydantic import BaseModel

from cloaca import Runner, Task, Workflow, WorkflowBuilder, task


class Count(BaseModel):
    """A context of one field."""

    n: int


executed: list[None] = []  # one for each body of ``count`` that this process has executed


@task
async def count(given: Count) -> Count:
    """Add one, on the event loop."""
    executed.append(None)
    return Count(n=given.n + 1)


@task
def count_on_thread(given: Count) -> Count:
    """Add one, on a thread."""
    return Count(n=given.n + 1)


@task
async def look(given: Count) -> None:
    """Read, write nothing."""


def chain(step: Task[Any, Any], length: int) -> Workflow[Any, Any]:
    """``length`` tasks, one after the other."""
    steps = [step.named(f"t{number}") for number in range(length)]
    return Workflow(f"chain{length}", functools.reduce(operator.rshift, steps), input=Count)


def fan(width: int) -> Workflow[Any, Any]:
    """One task, then ``width`` in parallel, then one."""
    middle = [look.named(f"m{number}") for number in range(width)]
    return Workflow(f"fan{width}", count.named("first") >> middle >> count.named("last"), input=Count)


def layers(nodes: int, *, width: int = 100, fan_in: int = 3) -> Workflow[Any, Any]:
    """Layers of ``width`` tasks, each behind ``fan_in`` of the layer before."""
    builder = WorkflowBuilder(f"layers{nodes}", input=Count)
    for number in range(nodes):
        layer, place = divmod(number, width)
        before = [f"l{layer - 1}_{(place + shift) % width}" for shift in range(fan_in)] if layer else []
        builder.add(look.named(f"l{layer}_{place}"), after=before)
    return builder.build()


async def many(runner: Runner, workflow: Workflow[Any, Any], runs: int) -> None:
    """Start ``runs`` runs at once and wait for all."""
    handles = await asyncio.gather(*[runner.start(workflow, Count(n=0)) for _ in range(runs)])
    await asyncio.gather(*[handle.result() for handle in handles])


async def one_by_one(runner: Runner, workflow: Workflow[Any, Any], runs: int) -> None:
    """Run ``runs`` runs, each after the other."""
    for _ in range(runs):
        await runner.run(workflow, Count(n=0))
