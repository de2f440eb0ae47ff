"""``cloaca worker --tenant``: a runner for each tenant in one process, and for those that are made meanwhile.

It knows the tenants of a database and when to look for them; how one runner is made, ``working`` knows.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from cloaca.cli.databases import shown_database
from cloaca.cli.logs import logging_to_stderr
from cloaca.cli.refusals import Refusal
from cloaca.cli.stopping import run_until_stopped
from cloaca.cli.targets import AnyWorkflow
from cloaca.cli.working import Post, runner_of, seldom_collected, workflows_at
from cloaca.errors import StoreError, UnknownTenant
from cloaca.runner.databases import TenantUrl, url_of
from cloaca.runner.tenants import Tenants
from cloaca.stores.tenant_names import checked_tenant

logger = logging.getLogger("cloaca.worker")

LOOK_S: Final = 10.0  # one statement, for tenants that are new or gone


@dataclass(frozen=True, slots=True)
class Chosen:
    """Whom a worker works for: tenants by name, or every tenant."""

    names: tuple[str, ...]
    every: bool


def chosen(names: Sequence[str], *, every: bool) -> Chosen:
    """Return whom the command line means. Raises Refusal and InvalidTenant."""
    if names and every:
        raise Refusal("--tenant and --all-tenants exclude each other: name them, or work for all")
    return Chosen(tuple(dict.fromkeys(map(checked_tenant, names))), every)


def work_for_tenants(targets: Sequence[str], post: Post, whom: Chosen, *, as_json: bool) -> int:
    """Work for tenants until a signal comes; return the exit code. Raises Refusal and CloacaError."""
    workflows = workflows_at(targets)
    with logging_to_stderr(as_json=as_json), seldom_collected():
        return run_until_stopped(partial(_serve, workflows, post, whom))


async def _serve(workflows: Iterable[AnyWorkflow], post: Post, whom: Chosen, stop: asyncio.Event) -> None:
    tenants, crew = Tenants(post.database), Crew(list(workflows), post)
    try:
        known = [tenant.name for tenant in await tenants.list()]
        for name in whom.names:
            if name not in known:
                raise UnknownTenant(f'no tenant is named "{name}" in this database: cloaca tenants create {name}')
        await crew.serve(known if whom.every else whom.names)
        logger.info("Started: process %s works for tenants %s", os.getpid(), ", ".join(crew.names) or "to come")
        while not await _stopped(stop, LOOK_S if whom.every else None):
            await _keep_up(tenants, crew)
        logger.info("Asked to stop: what runs has %g seconds to end, once more ends it at once", post.grace_s)
    finally:
        await crew.leave()
    logger.info("Stopped")


async def _keep_up(tenants: Tenants, crew: Crew) -> None:
    """Work for tenants that are new, and no more for those that are gone."""
    try:
        await crew.serve([tenant.name for tenant in await tenants.list()])
    except StoreError as error:
        logger.warning("Tenants could not be looked for, will try again: %s", error)


async def _stopped(stop: asyncio.Event, within_s: float | None) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), within_s)
    except TimeoutError:
        return False
    return True


class Crew:
    """The runners of one process, one for each tenant."""

    def __init__(self, workflows: list[AnyWorkflow], post: Post) -> None:
        self._workflows, self._post = workflows, post
        self._runners: dict[str, AsyncExitStack] = {}

    @property
    def names(self) -> list[str]:
        """Whom it works for."""
        return sorted(self._runners)

    async def serve(self, names: Sequence[str]) -> None:
        """Work for these tenants and no others."""
        for gone in self._runners.keys() - set(names):
            logger.info("Tenant %s is gone", gone, extra={"tenant": gone})
            await self._runners.pop(gone).aclose()
        for name in names:
            if name not in self._runners:
                await self._begin(name)

    async def _begin(self, name: str) -> None:
        url = TenantUrl.of(url_of(self._post.database), name)
        stack = AsyncExitStack()
        await stack.enter_async_context(runner_of(self._workflows, self._post, url))
        self._runners[name] = stack
        place = shown_database(url)
        logger.info("Works for %s", place, extra={"tenant": name, "database": place})

    async def leave(self) -> None:
        """Leave all of them, at the same time."""
        leaving = [stack.aclose() for stack in self._runners.values()]
        self._runners = {}
        for error in await asyncio.gather(*leaving, return_exceptions=True):
            if isinstance(error, BaseException):
                logger.warning("A tenant's runner was not left in order: %s", error)
