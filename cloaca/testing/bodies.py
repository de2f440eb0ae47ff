"""Bodies in a simulation: each task's function, or its fake, wrapped so that a stage is told when it begins and ends.

It changes a workflow's plan and nothing else: what reads it is the interpreter as it is. Which stage is told, the
context says in which a body runs, so that a workflow is wrapped once for many simulations.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, cast

from cloaca.algebra.context import TaskContext
from cloaca.algebra.tasks import Task
from cloaca.algebra.waits import Subflow
from cloaca.contract.plans import FanOut, Plan, PlanNode
from cloaca.contract.workflows import Workflow
from cloaca.interpreter.attempts import SUBSTITUTES, SUBSTITUTES_CONTEXT, function_of
from cloaca.testing.threads import sleep

CONTEXT = "cloaca_context"  # the wrapped body's own keyword: it wants to know the attempt, whatever the task asks for
Fakes = Mapping[Any, Callable[..., Any]]
AnyTask = Task[Any, Any, Any, ..., Any]


@dataclass(frozen=True, slots=True)
class Course:
    """What becomes of one attempt: seconds before its body, seconds after it, and an error in its place."""

    before_s: float = 0.0
    after_s: float = 0.0
    error: BaseException | None = None


class Stage(Protocol):
    """Who is told of bodies."""

    def begins(self, task: Task[Any, Any, Any, ..., Any], context: TaskContext) -> Course:
        """A body begins; answer what becomes of it."""
        ...

    def ends(self, context: TaskContext) -> None:
        """A body has returned."""
        ...

    def left(self, context: TaskContext) -> None:
        """A body is over, however it ended."""
        ...


STAGE: ContextVar[Stage] = ContextVar("cloaca_stage")


def staged(workflow: Workflow[Any, Any, Any, Any], fakes: Fakes) -> Workflow[Any, Any, Any, Any]:
    """Return the workflow with wrapped bodies. Raises ValueError for a fake of a task that it does not have."""
    known: set[object] = set()
    made = _staged_workflow(workflow, _by_function(fakes), known)
    for task in fakes:
        if _key(task) not in known:
            raise ValueError(f'fakes={{{task!r}: ...}}: workflow "{workflow.name}" has no such task')
    return made


def _staged_workflow(
    workflow: Workflow[Any, Any, Any, Any], fakes: Mapping[object, Callable[..., Any]], known: set[object]
) -> Workflow[Any, Any, Any, Any]:
    other: Workflow[Any, Any, Any, Any] = object.__new__(Workflow)
    vars(other).update(vars(workflow), plan=_staged(workflow.plan, fakes, known))
    return other


def takes_session(workflow: Workflow[Any, Any, Any, Any]) -> bool:
    """Whether a task of the workflow writes tables of its own."""
    return any(node.body is not None and node.body.signature.session is not None for node in workflow.plan.nodes)


def _by_function(fakes: Fakes) -> dict[object, Callable[..., Any]]:
    for task, fake in fakes.items():
        if not isinstance(task, Task | str):
            raise TypeError(f"fakes={{{task!r}: ...}}: the key is a task, or its name")
        if isinstance(fake, Task) or not callable(fake):
            raise TypeError(f"fakes: the fake of {_key(task)!r:.60} is a plain function, but it is {fake!r}")
    return {_key(task): fake for task, fake in fakes.items()}


def _key(task: object) -> object:
    return task.function if isinstance(task, Task) else task


def _staged(plan: Plan, fakes: Mapping[object, Callable[..., Any]], known: set[object]) -> Plan:
    return replace(plan, nodes=tuple([_node(node, fakes, known) for node in plan.nodes]))


def _node(node: PlanNode, fakes: Mapping[object, Callable[..., Any]], known: set[object]) -> PlanNode:
    changes: dict[str, Any] = {}
    for each in fields(node):
        value = getattr(node, each.name)
        if isinstance(value, Plan):  # a plan within a plan
            changes[each.name] = _staged(value, fakes, known)
        elif isinstance(value, FanOut):
            changes[each.name] = replace(value, plan=_staged(value.plan, fakes, known))
        elif isinstance(value, Subflow):
            changes[each.name] = value._changed(
                workflow=_staged_workflow(cast("Workflow[Any, Any, Any, Any]", value.workflow), fakes, known)
            )
    if node.body is not None:
        known.update((node.task, node.body.function))
        fake = fakes.get(node.task) or fakes.get(node.body.function)
        changes["body"] = _wrapped(node.body, fake)
    return replace(node, **changes) if changes else node


def _wrapped(task: AnyTask, fake: Callable[..., Any] | None) -> Any:
    signature = task.signature
    is_async = signature.is_async if fake is None else inspect.iscoroutinefunction(fake)
    body = _async_body(task, fake) if is_async else _sync_body(task, fake)
    options = replace(task.options, executor=None)  # there are no processes beside the simulated ones
    changed = task._changed(function=body, options=options)
    # What is cached under this name is the function's; the wrapper has the same models, and asks for the context.
    vars(changed)["signature"] = replace(signature, context=CONTEXT, is_async=is_async)
    return changed


def injected_name(task: AnyTask, fake: Callable[..., Any]) -> str | None:
    """Return the name under which a fake takes the context, None if it does not."""
    names = keywords_of(fake)
    wanted = task.signature.context or "ctx"
    return wanted if wanted in names else next((name for name in names if name == "ctx"), None)


def keywords_of(fake: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters that a fake takes by keyword alone."""
    return [each.name for each in inspect.signature(fake).parameters.values() if each.kind is each.KEYWORD_ONLY]


def _injection(task: AnyTask, fake: Callable[..., Any] | None) -> Callable[[dict[str, Any]], TaskContext]:
    """Return what makes of the given keywords those of the body: the context only if it asks for it."""
    signature = task.signature
    injected = signature.context if fake is None else injected_name(task, fake)
    dropped = signature.session if fake is not None and signature.session not in keywords_of(fake) else None

    def prepared(given: dict[str, Any]) -> TaskContext:
        context: TaskContext = given.pop(CONTEXT)
        if dropped is not None:
            given.pop(dropped, None)
        wanted = SUBSTITUTES_CONTEXT if fake is None and task.function in SUBSTITUTES else injected
        if wanted is not None:
            given[wanted] = context
        return context

    return prepared


def _sync_body(task: AnyTask, fake: Callable[..., Any] | None) -> Callable[..., Any]:
    prepared = _injection(task, fake)

    def body(*models: Any, **given: Any) -> Any:
        context, stage = prepared(given), STAGE.get()
        course = stage.begins(task, context)
        try:
            if course.before_s:
                sleep(course.before_s)
            value = (fake or function_of(task))(*models, **given)
            if course.after_s:
                sleep(course.after_s)
            return _returned(stage, context, value, course)
        finally:
            stage.left(context)

    return body


def _async_body(task: AnyTask, fake: Callable[..., Any] | None) -> Callable[..., Any]:
    prepared = _injection(task, fake)

    async def body(*models: Any, **given: Any) -> Any:
        context, stage = prepared(given), STAGE.get()
        course = stage.begins(task, context)
        try:
            if course.before_s:
                await asyncio.sleep(course.before_s)
            value = await (fake or function_of(task))(*models, **given)
            if course.after_s:
                await asyncio.sleep(course.after_s)
            return _returned(stage, context, value, course)
        finally:
            stage.left(context)

    return body


def _returned(stage: Stage, context: TaskContext, value: Any, course: Course) -> Any:
    """The body is over, its effects have happened; an error comes after them, when it hurts most."""
    stage.ends(context)
    if course.error is not None:
        raise course.error
    return value


class NoProcesses:
    """There are no child processes in a simulation: bodies that are for one run in the worker's own."""

    def submit(self, job: object, hear: Callable[[Any], None]) -> asyncio.Future[Any]:
        raise OSError("a simulated process has no child processes: replace the task with override({...})")

    def close(self) -> None:
        """Nothing to close."""
