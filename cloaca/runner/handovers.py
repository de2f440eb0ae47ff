"""Handing work over to the runners of another tenant, or of another database: a workflow that starts a run there.

It has two tasks. The first draws a key, which is committed before anything else happens; the second starts the run
under that key, as often as it takes. So there is one run there, wherever a process dies. A schedule of it is a schedule
whose firings are handed over: the ledger claims a firing and hands it to a run of this workflow, which hands it on.
It knows runs and databases, not schedules.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from cloaca.algebra.context import TaskContext
from cloaca.algebra.retries import Retry
from cloaca.algebra.tasks import task
from cloaca.clocks import SystemClock
from cloaca.codecs import JsonCodec
from cloaca.contract.workflows import Workflow
from cloaca.errors import StoreError, UnknownTenant
from cloaca.interpreter.ids import run_ids
from cloaca.ports import NewRun
from cloaca.runner.databases import open_store, open_tenants, url_of
from cloaca.runner.runners import Runner
from cloaca.stores.tenant_names import checked_tenant

Input = TypeVar("Input", bound=BaseModel | None)

FOR_LONG = Retry(attempts=100_000, delay=1, max_delay=60, jitter=0.2, on=StoreError)  # 69 days


class HandoverKey(BaseModel):
    """The idempotency key of a run that is started elsewhere."""

    key: str


class Drawn(BaseModel):
    """What the second task reads of the first."""

    handover_key: HandoverKey


class HandedOver(BaseModel):
    """A run that was started elsewhere: its id in that database, and the tenant's name, if it is a tenant's.

    >>> HandedOver(run_id="912335401040649617", tenant="acme")
    HandedOver(run_id='912335401040649617', tenant='acme')
    """

    run_id: str
    tenant: str | None


def handover(
    workflow: Workflow[Input, Any, Any, Any],
    database: str | Path | None = None,
    *,
    tenant: str | None = None,
    name: str | None = None,
) -> Workflow[Input, HandedOver, Any, Any]:
    """Return a workflow with the same input that starts a run of ``workflow`` elsewhere, exactly once.

    Its run has succeeded once the other run is durable there; its output says which one it is. While the other database
    can't be reached it tries again. The runners there need to have ``workflow``; those that hand over need only this.

    Args:
        workflow: what is to be run there.
        database: where, as for a ``Runner``. It is stored nowhere, and no fingerprint has it.
        tenant: whose run it is to be there, if it is a tenant's, which has to be there.
        name: the name of the workflow that is returned, by default that of ``workflow`` and where it goes.

    Raises:
        InvalidTenant, InvalidDatabaseUrl: there is no such place.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from cloaca import BlockingRunner
    >>> @task
    ... def greet() -> None: ...
    >>> greetings = Workflow("greetings", greet)
    >>> with TemporaryDirectory() as directory:
    ...     there = f"sqlite:///{directory}/there.db"
    ...     with BlockingRunner(there, workflows=[greetings], work=False) as elsewhere:
    ...         with BlockingRunner("memory://") as here:
    ...             handed_over = here.run(handover(greetings, there)).unwrap()
    ...         print(elsewhere.get(handed_over.run_id).workflow.name, handed_over.tenant)
    greetings None
    """
    place = Elsewhere(workflow, url_of(database), None if tenant is None else checked_tenant(tenant))

    async def hand_over(drawn: Any, *, ctx: TaskContext) -> HandedOver:
        return await place.start(drawn.handover_key.key, None, ctx)

    async def hand_over_with(drawn: Any, given: Any, *, ctx: TaskContext) -> HandedOver:
        return await place.start(drawn.handover_key.key, given, ctx)

    body: Any = hand_over if workflow.input is None else hand_over_with
    body.__annotations__ = {"drawn": Drawn, "ctx": TaskContext, "return": HandedOver}
    if workflow.input is not None:
        body.__annotations__["given"] = workflow.input
    last = task(name="hand_over", retry=FOR_LONG)(body)
    title = name or f"{workflow.name} {'elsewhere' if tenant is None else f'for {tenant}'}"
    graph: Any = draw_key.into("handover_key") >> last.into("handed_over")
    model: Any = workflow.input
    return cast("Workflow[Input, HandedOver, Any, Any]", Workflow(title, graph, input=model))


@task
def draw_key() -> HandoverKey:
    """Draw the key under which a run is started elsewhere: it is committed before that run can be there."""
    return HandoverKey(key=uuid.uuid4().hex)


class Elsewhere:
    """A place where runs of a workflow are started."""

    def __init__(self, workflow: Workflow[Any, Any, Any, Any], database: str, tenant: str | None) -> None:
        open_store(database, tenant)  # refuses what is no place
        self._workflow, self._database, self._tenant = workflow, database, tenant
        self._codec, self._clock = JsonCodec(), SystemClock()
        self._ids = run_ids(self._clock)
        self._is_there = False

    async def start(self, key: str, input: BaseModel | None, ctx: TaskContext) -> HandedOver:
        """Start a run under a key, unless it is there, and say which one it is.

        Raises:
            UnknownTenant: the tenant is not there.
            StoreError: its database can't be used now.
        """
        await self._check_tenant()
        model = self._workflow.input
        payload = None if model is None or input is None else self._codec.encode(model, input)
        return HandedOver(run_id=str(await self._submit(self._run(key, payload, ctx))), tenant=self._tenant)

    def _run(self, key: str, payload: str | None, ctx: TaskContext) -> NewRun:
        workflow, plan = self._workflow, self._workflow.plan
        instant = None if ctx.scheduled_for is None else ctx.scheduled_for.timestamp()
        return NewRun(
            next(self._ids), workflow.name, workflow.version, plan.digest, payload, f"handover:{key}", None,
            self._clock.now(), epilogue=plan.has_epilogue, scheduled_for=instant,
        )  # fmt: skip

    async def _submit(self, run: NewRun) -> int:
        """Store a run as a runner there would."""
        runner = Runner(self._database, tenant=self._tenant, work=False)
        store = runner._engine.store
        try:
            await store.open()
            return (await store.submit(runner._catalogue.plan_row(self._workflow), run)).id
        finally:
            await store.close()

    async def _check_tenant(self) -> None:
        """Refuse a tenant that is not there: opening its store would make its tables."""
        if self._tenant is None or self._is_there or self._database == "memory://":
            return
        if not await open_tenants(self._database).list(self._tenant):
            raise UnknownTenant(
                f'run handed over to nobody: no tenant is named "{self._tenant}" there; make it, then retry this run'
            )
        self._is_there = True
