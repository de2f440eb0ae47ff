"""Bodies in a simulation: each task's function, or its fake, wrapped so that a stage is told when it begins and ends.

It changes a workflow's plan and nothing else: what reads it is the interpreter as it is. A body that takes virtual time
on a "thread" says so by ``Later``, which the simulated executor understands.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Protocol

from cloaca.algebra.context import TaskContext
from cloaca.algebra.tasks import Task
from cloaca.contract.plans import FanOut, Plan, PlanNode
from cloaca.contract.workflows import Workflow
from cloaca.interpreter.answers import Exit
from cloaca.interpreter.attempts import function_of

CONTEXT = "cloaca_context"  # the wrapped body's own keyword: it wants to know the attempt, whatever the task asks for
Fakes = Mapping[Any, Callable[..., Any]]


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


class Later(BaseException):
    """A body on a thread that takes ``seconds``, and is then what ``then`` does."""

    def __init__(self, seconds: float, then: Callable[[], object]) -> None:
        self.seconds, self.then = seconds, then


def staged(workflow: Workflow[Any, Any, Any, Any], stage: Stage, fakes: Fakes) -> Workflow[Any, Any, Any, Any]:
    """Return the workflow with wrapped bodies. Raises ValueError for a fake of a task that it does not have."""
    known: set[object] = set()
    plan = _staged(workflow.plan, stage, _by_function(fakes), known)
    for task in fakes:
        if _key(task) not in known:
            raise ValueError(f'fakes={{{task!r}: ...}}: workflow "{workflow.name}" has no such task')
    other = object.__new__(Workflow)
    vars(other).update(vars(workflow), plan=plan)
    return other


def _by_function(fakes: Fakes) -> dict[object, Callable[..., Any]]:
    for task, fake in fakes.items():
        if not isinstance(task, Task | str):
            raise TypeError(f"fakes={{{task!r}: ...}}: the key is a task, or its name")
        if isinstance(fake, Task) or not callable(fake):
            raise TypeError(f"fakes: the fake of {_key(task)!r:.60} is a plain function, but it is {fake!r}")
    return {_key(task): fake for task, fake in fakes.items()}


def _key(task: object) -> object:
    return task.function if isinstance(task, Task) else task


def _staged(plan: Plan, stage: Stage, fakes: Mapping[object, Callable[..., Any]], known: set[object]) -> Plan:
    nodes = tuple([_node(node, stage, fakes, known) for node in plan.nodes])
    return replace(plan, nodes=nodes)


def _node(node: PlanNode, stage: Stage, fakes: Mapping[object, Callable[..., Any]], known: set[object]) -> PlanNode:
    changes: dict[str, Any] = {}
    for each in fields(node):
        value = getattr(node, each.name)
        if isinstance(value, Plan):  # a plan within a plan
            changes[each.name] = _staged(value, stage, fakes, known)
        elif isinstance(value, FanOut):
            changes[each.name] = replace(value, plan=_staged(value.plan, stage, fakes, known))
        elif isinstance(value, Workflow):
            changes[each.name] = value
    if node.body is not None:
        known.update((node.task, node.body.function))
        fake = fakes.get(node.task) or fakes.get(node.body.function) or function_of(node.body)
        changes["body"] = _wrapped(node.body, fake, stage)
    return replace(node, **changes) if changes and is_dataclass(node) else node


def _wrapped(task: Task[Any, Any, Any, ..., Any], function: Callable[..., Any], stage: Stage) -> Any:
    signature = task.signature
    injected = injected_name(task, function)
    is_async = inspect.iscoroutinefunction(function)
    body = _async_body(task, function, injected, stage) if is_async else _sync_body(task, function, injected, stage)
    options = replace(task.options, executor=None)  # there are no processes beside the simulated ones
    changed = task._changed(function=body, options=options)
    # What is cached under this name is the function's; the wrapper has the same models, and asks for the context.
    vars(changed)["signature"] = replace(signature, context=CONTEXT, is_async=is_async)
    return changed


def injected_name(task: Task[Any, Any, Any, ..., Any], function: Callable[..., Any]) -> str | None:
    """Return the name under which a function takes the context, None if it does not."""
    if function is function_of(task):
        return task.signature.context
    parameters = inspect.signature(function).parameters.values()
    names = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    wanted = task.signature.context or "ctx"
    return wanted if wanted in names else next((name for name in names if name == "ctx"), None)


def _sync_body(task: Any, function: Callable[..., Any], injected: str | None, stage: Stage) -> Callable[..., Any]:
    def body(*models: Any, **given: Any) -> Any:
        context: TaskContext = given.pop(CONTEXT)
        if injected is not None:
            given[injected] = context
        course = stage.begins(task, context)

        def called() -> Any:
            value = function(*models, **given)
            if course.after_s:
                raise Later(course.after_s, lambda: _returned(stage, context, value, course))
            return _returned(stage, context, value, course)

        if course.before_s:
            raise Later(course.before_s, called)
        return called()

    return body


def _async_body(task: Any, function: Callable[..., Any], injected: str | None, stage: Stage) -> Callable[..., Any]:
    async def body(*models: Any, **given: Any) -> Any:
        context: TaskContext = given.pop(CONTEXT)
        if injected is not None:
            given[injected] = context
        course = stage.begins(task, context)
        if course.before_s:
            await asyncio.sleep(course.before_s)
        value = await function(*models, **given)
        if course.after_s:
            await asyncio.sleep(course.after_s)
        return _returned(stage, context, value, course)

    return body


def _returned(stage: Stage, context: TaskContext, value: Any, course: Course) -> Any:
    """The body is over, its effects have happened; an error comes after them, when it hurts most."""
    stage.ends(context)
    if course.error is not None:
        raise course.error
    return value


class SimulatedThreads:
    """The executor of a simulated process: a body runs in one instant, at once or after the time that it takes."""

    def __init__(self) -> None:
        self._closed = False

    def submit(self, call: Callable[[], object]) -> asyncio.Future[object]:
        if self._closed:
            raise RuntimeError("the executor is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        loop.call_soon(self._run, future, call)
        return future

    def _run(self, future: asyncio.Future[object], call: Callable[[], object]) -> None:
        """Run a body, whether somebody still waits for it or not: a thread can't be stopped."""
        try:
            result = call()
        except Later as later:
            self._again(future, later)
            return
        except BaseException as error:  # noqa: BLE001 - a user's body may raise anything
            result = Exit(error)
        if isinstance(result, Exit) and isinstance(result.error, Later):
            self._again(future, result.error)
        elif not future.done():
            future.set_result(result)

    def _again(self, future: asyncio.Future[object], later: Later) -> None:
        asyncio.get_running_loop().call_later(later.seconds, self._run, future, later.then)

    def abandon(self, future: asyncio.Future[object]) -> None:
        """Nothing is to be done: there is always room for another body."""

    def close(self) -> None:
        self._closed = True


class NoProcesses:
    """There are no child processes in a simulation: bodies that are for one run in the worker's own."""

    def submit(self, job: object, hear: Callable[[Any], None]) -> asyncio.Future[Any]:
        raise OSError("a simulated process has no children")

    def close(self) -> None:
        """Nothing to close."""
