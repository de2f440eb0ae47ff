"""``override``: fakes in the places of tasks' bodies, wherever they run, for a while."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cloaca.algebra.tasks import Task
from cloaca.interpreter.attempts import SUBSTITUTES, SUBSTITUTES_CONTEXT
from cloaca.testing.bodies import injected_name, keywords_of
from cloaca.testing.threads import on_a_thread, wait_until_done

AnyTask = Task[Any, Any, Any, ..., Any]


@contextmanager
def override(fakes: Mapping[Any, Callable[..., Any]]) -> Iterator[None]:
    """Replace the bodies of tasks: in simulations, and in every runner of this process.

    A fake has the task's signature, ``ctx`` optional; it may be synchronous or not, whatever the task is. The task is
    replaced under whatever name and with whatever options a workflow has it.

    >>> from pydantic import BaseModel
    >>> from cloaca import Workflow, task
    >>> from cloaca.testing import simulate
    >>> class Number(BaseModel):
    ...     value: int
    >>> @task
    ... def double(number: Number) -> Number:
    ...     return Number(value=number.value * 2)
    >>> with override({double: lambda number: Number(value=0)}):
    ...     simulate(Workflow("numbers", double), Number(value=21)).outcome
    <Success: value=0>

    Raises:
        TypeError: a key is no task, or a fake is no plain function.
    """
    before = dict(SUBSTITUTES)
    SUBSTITUTES.update({_task(task).function: _fitted(_task(task), fake) for task, fake in fakes.items()})
    try:
        yield
    finally:
        SUBSTITUTES.clear()
        SUBSTITUTES.update(before)


def _task(task: object) -> AnyTask:
    if not isinstance(task, Task):
        raise TypeError(f"override({{{task!r}: ...}}): the key is a task")
    return task


def _fitted(task: AnyTask, fake: Callable[..., Any]) -> Callable[..., Any]:
    """Return a fake that is called as the task's own function is."""
    if isinstance(fake, Task) or not callable(fake):
        raise TypeError(f'override: the fake of "{task.name}" is a plain function, but it is {fake!r}')
    injected = injected_name(task, fake)
    dropped = task.signature.session if task.signature.session not in keywords_of(fake) else None

    def given(keywords: dict[str, Any]) -> dict[str, Any]:
        context = keywords.pop(SUBSTITUTES_CONTEXT)
        if dropped is not None:
            keywords.pop(dropped, None)
        return {**keywords, injected: context} if injected else keywords

    if task.signature.is_async:

        @functools.wraps(fake)
        async def later(*models: Any, **keywords: Any) -> Any:
            value = fake(*models, **given(keywords))
            return await value if inspect.isawaitable(value) else value

        return later

    @functools.wraps(fake)
    def now(*models: Any, **keywords: Any) -> Any:
        value = fake(*models, **given(keywords))
        if not inspect.iscoroutine(value):
            return value
        return wait_until_done(value) if on_a_thread() else asyncio.run(value)

    return now
