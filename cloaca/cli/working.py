"""``cloaca worker``: import workflows and drive their runs, until a signal asks it to stop.

It knows the runner and what goes to the log; which signals there are, ``stopping`` knows.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from cloaca.algebra.queues import Queue
from cloaca.cli.databases import shown_database
from cloaca.cli.logs import logging_to_stderr
from cloaca.cli.refusals import Refusal
from cloaca.cli.stopping import run_until_stopped
from cloaca.cli.targets import AnyWorkflow, Target, builders_of, load_module, named_workflow, workflows_of
from cloaca.runner import Runner

logger = logging.getLogger("cloaca.worker")


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
    workflows = workflows_at(targets)
    with logging_to_stderr(as_json=as_json):
        return run_until_stopped(partial(_serve, workflows, post))


def runner_of(workflows: Iterable[AnyWorkflow], post: Post, database: str | None) -> Runner:
    """Return the runner of a worker, on a database, not entered yet."""
    return Runner(
        database,
        workflows=workflows,
        queues=post.queues,
        concurrency=post.concurrency,
        lease_s=post.lease_s,
        grace_s=post.grace_s,
        retention=post.retention,
    )


async def _serve(workflows: Iterable[AnyWorkflow], post: Post, stop: asyncio.Event) -> None:
    runner = runner_of(workflows, post, post.database)
    names = sorted(workflow.name for workflow in workflows)
    async with runner:
        started = {"pid": os.getpid(), "workflows": names, "database": shown_database(post.database)}
        logger.info(
            "Started: process %s works for %s on %s", os.getpid(), ", ".join(names), started["database"], extra=started
        )
        await stop.wait()
        logger.info("Asked to stop: what runs has %g seconds to end, once more ends it at once", post.grace_s)
    logger.info("Stopped")


def workflows_at(targets: Sequence[str]) -> list[AnyWorkflow]:
    """Import targets and return their workflows; of a whole module, all that are values in it.

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
    if target.name is not None:
        return [named_workflow(module, target)]
    workflows = list(workflows_of(module).values())
    if not workflows:
        builders = [f"Name a function that returns one: {text}:{name}" for name in builders_of(module)]
        raise Refusal(
            f'"{text}" has no workflow to work for',
            *(builders or ["Name the module in which Workflow(...) is called."]),
        )
    return workflows
