"""``cloaca worker``: import workflows and drive their runs, until a signal asks it to stop.

It knows the runner and what goes to the log; which signals there are, ``stopping`` knows.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from cloaca.algebra.queues import Queue
from cloaca.algebra.triggers import Trigger
from cloaca.cli.databases import shown_database
from cloaca.cli.logs import logging_to_stderr
from cloaca.cli.refusals import Refusal
from cloaca.cli.stopping import run_until_stopped
from cloaca.cli.targets import AnyWorkflow, Target, builders_of, load_module, named_workflow, triggers_of, workflows_of
from cloaca.runner import Runner

logger = logging.getLogger("cloaca.worker")

OBJECTS = (50_000, 20, 20)  # more than a thousand runs in memory make between two of their commits


@dataclass(frozen=True, slots=True)
class Post:
    """What a worker is given: a database, how much it does at once, its times in seconds, the queues it declares."""

    database: str | None
    concurrency: int
    lease_s: float
    grace_s: float
    retention: timedelta | None
    queues: Sequence[Queue] | None = None


def work(targets: Sequence[str], post: Post, *, as_json: bool) -> int:
    """Work until a signal comes; return the exit code. Raises Refusal and CloacaError."""
    workflows, triggers = workflows_at(targets), triggers_at(targets)
    with logging_to_stderr(as_json=as_json), seldom_collected():
        return run_until_stopped(partial(_serve, workflows, triggers, post))


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Have the garbage collector come seldom, and skip what is there already: modules and classes.

    A worker that is busy spends a sixth of its CPU time less then. It is for processes that do nothing but work: the
    collector is everybody's, so that a runner leaves it alone.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*OBJECTS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def runner_of(
    workflows: Iterable[AnyWorkflow], post: Post, database: str | None, triggers: Iterable[Trigger[Any]] = ()
) -> Runner:
    """Return the runner of a worker, on a database, not entered yet."""
    return Runner(
        database,
        workflows=workflows,
        triggers=triggers,
        queues=post.queues,
        concurrency=post.concurrency,
        lease_s=post.lease_s,
        grace_s=post.grace_s,
        retention=post.retention,
    )


async def _serve(
    workflows: Iterable[AnyWorkflow], triggers: Sequence[Trigger[Any]], post: Post, stop: asyncio.Event
) -> None:
    runner = runner_of(workflows, post, post.database, triggers)
    names = sorted(workflow.name for workflow in workflows)
    async with runner:
        started = {"pid": os.getpid(), "workflows": names, "database": shown_database(post.database)}
        logger.info(
            "Started: process %s works for %s on %s", os.getpid(), ", ".join(names), started["database"], extra=started
        )
        for trigger in triggers:
            asked = {"trigger": trigger.name, "workflow": trigger.workflow.name, "every_s": trigger.every_s}
            logger.info("Asks what there is to do for %s every %g seconds", trigger.name, trigger.every_s, extra=asked)
        await stop.wait()
        logger.info("Asked to stop: what runs has %g seconds to end, once more ends it at once", post.grace_s)
    logger.info("Stopped")


def workflows_at(targets: Sequence[str]) -> list[AnyWorkflow]:
    """Import targets and return their workflows; of a whole module, all that are values in it or started by triggers.

    Raises:
        Refusal: there is no such module or workflow, its import raises, or two workflows share a name.
        ContractError: a module has a workflow or a task that breaks the contract.
    """
    found: dict[str, tuple[str, AnyWorkflow]] = {}
    for text in dict.fromkeys(targets):
        for workflow in _workflows_of(text):
            place, known = found.setdefault(workflow.name, (text, workflow))
            if known != workflow:
                raise Refusal(
                    f'two different workflows are both named "{workflow.name}": one in {place}, one in {text}',
                    "A run is found by the name of its workflow: rename one of them.",
                )
    return [workflow for _, workflow in found.values()]


def _workflows_of(text: str) -> list[AnyWorkflow]:
    target = Target.parse(text)
    module = load_module(target)
    started = [trigger.workflow for trigger in triggers_of(module, target)]
    if target.name is not None:
        return started or [named_workflow(module, target)]
    workflows = list(workflows_of(module).values())
    workflows += [each for each in started if each not in workflows]
    if not workflows:
        builders = [f"Name a function that returns one: {text}:{name}" for name in builders_of(module)]
        raise Refusal(
            f'"{text}" has no workflow to work for',
            *(builders or ["Name the module in which Workflow(...) is called."]),
        )
    return workflows


def triggers_at(targets: Sequence[str]) -> list[Trigger[Any]]:
    """Return the triggers of targets: those that are named, and of a whole module all that are values in it.

    Raises as ``workflows_at``, and Refusal if two triggers share a name.
    """
    found: dict[str, tuple[str, Trigger[Any]]] = {}
    for text in dict.fromkeys(targets):
        target = Target.parse(text)
        for trigger in triggers_of(load_module(target), target):
            place, known = found.setdefault(trigger.name, (text, trigger))
            if known is not trigger:
                raise Refusal(
                    f'two different triggers are both named "{trigger.name}": one in {place}, one in {text}',
                    "What a trigger has started is found by its name: Trigger(..., name=...).",
                )
    return [trigger for _, trigger in found.values()]
