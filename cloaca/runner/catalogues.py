"""The workflows that a runner has, by name: which there may be, and what has to be so before one of them runs.

It knows no run: whoever starts one asks here for the workflow and its plan.
"""

from __future__ import annotations

from typing import Any

from cloaca.contract.plans import Plan
from cloaca.contract.workflows import Workflow
from cloaca.errors import UnknownWorkflow
from cloaca.executors.processes import ProcessExecutor
from cloaca.interpreter.errands import check_children, check_homes
from cloaca.ports import PlanRow
from cloaca.runner.engines import Engine
from cloaca.runner.queues import Declared, warn_of_unknown


class Catalogue:
    """Workflows by name. ``queues`` are what the runner declares, ``works`` says whether it runs what it starts."""

    def __init__(self, engine: Engine, queues: Declared | None, processes: ProcessExecutor, *, works: bool) -> None:
        self.workflows: dict[str, Workflow[Any, Any, Any, Any]] = {}
        self._engine, self._queues, self._processes, self._works = engine, queues, processes, works
        self._plans: dict[Plan, PlanRow] = {}
        self._known_queues: set[str] = set()  # which others have declared, or of which was warned
        self._reached: set[str] = set()  # workflows whose bodies a child process has found

    def add(self, workflow: Workflow[Any, Any, Any, Any]) -> Workflow[Any, Any, Any, Any]:
        """Have a workflow, and those that it starts. Raises TypeError, ValueError, UnknownQueue."""
        if not isinstance(workflow, Workflow):
            raise TypeError(f"{workflow!r} is no workflow; close the graph: Workflow(name, graph)")
        if workflow.name not in self.workflows:
            check_homes(workflow.plan)
            for node in workflow.plan.everywhere():
                if node.child is not None:
                    self.add(node.child)
            if self._queues is not None:
                self._queues.check(workflow)
        known = self.workflows.setdefault(workflow.name, workflow)
        if known is not workflow and known != workflow:
            raise ValueError(f'two different workflows are both named "{workflow.name}"; rename one')
        return known

    def named(self, workflow: Workflow[Any, Any, Any, Any] | str) -> Workflow[Any, Any, Any, Any]:
        """Return a workflow, or the one of this name. Raises UnknownWorkflow, and as ``add``."""
        if not isinstance(workflow, str):
            return self.add(workflow)
        if workflow not in self.workflows:
            known = ", ".join(sorted(self.workflows)) or "none"
            raise UnknownWorkflow(
                f'no workflow is named "{workflow}" here (known: {known}); list it in Runner(workflows=[...])'
            )
        return self.workflows[workflow]

    def plan_row(self, workflow: Workflow[Any, Any, Any, Any]) -> PlanRow:
        """Return what is stored of a workflow's plan."""
        plan = workflow.plan
        if plan not in self._plans:
            self._plans[plan] = PlanRow(plan.digest, workflow.name, workflow.version, plan.spec)
        return self._plans[plan]

    async def check(self, workflow: Workflow[Any, Any, Any, Any]) -> None:
        """Look, before a run of a workflow is stored, whether its bodies are found and its queues known."""
        await self._check_children(workflow)
        await self.check_queues(workflow)

    async def check_queues(self, workflow: Workflow[Any, Any, Any, Any]) -> None:
        """Warn of queues that nobody has declared, if this runner declares none."""
        named = set(workflow.plan.queue_of.values())
        if self._queues is None and self._works and not named <= self._known_queues:
            await warn_of_unknown(self._engine.store, workflow)
            self._known_queues |= named

    async def _check_children(self, workflow: Workflow[Any, Any, Any, Any]) -> None:
        """Let a child process find the bodies that are for one, before the first run of a workflow is stored."""
        if self._engine.worker is not None and workflow.name not in self._reached:
            await check_children(workflow.plan, self._processes)
            self._reached.add(workflow.name)
            for node in workflow.plan.nodes:
                if node.child is not None:
                    await self._check_children(node.child)
