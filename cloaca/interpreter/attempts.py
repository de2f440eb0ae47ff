"""One attempt of one node: build its input, call the body, check what it returns. Where user code runs in a worker.

It knows a plan's node and the ports; what an attempt's end means for its run is decided elsewhere. Whatever a body
raises becomes a value here, ``SystemExit`` and ``KeyboardInterrupt`` too. A body in a child process is an errand.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any

from returns.result import Failure

from cloaca.algebra.context import TaskContext
from cloaca.algebra.outcomes import RunFailure, TaskFailure
from cloaca.algebra.tasks import Task
from cloaca.contract.plans import PlanNode
from cloaca.errors import WrongOutput
from cloaca.interpreter.answers import (
    AttemptTimeout,
    Exit,
    Report,
    Returned,
    Withdrawn,
    answer,
    carried,
    raised,
    worth_retrying,
)
from cloaca.interpreter.inputs import Outputs
from cloaca.ports import Codec, Executor, Transaction

Call = Callable[[], Any]

SUBSTITUTES: dict[Callable[..., Any], Callable[..., Any]] = {}  # of functions: tests put fakes in their places
SUBSTITUTES_CONTEXT = "ctx"  # under which each of them takes the context, whether the task asks for it or not
LEAVE_S = 1.0  # how long an async body that timed out or was cancelled may take to clean up


def evaluate(node: PlanNode, outputs: Outputs, codec: Codec) -> Report:
    """Do a node that has no body: ask a gate's predicate, or pass on the row of a sealed graph."""
    try:
        models = outputs.arguments(node.arguments, codec)
        if node.predicate is not None:
            return Returned(None, verdict=_verdict(copy_context().run(node.predicate, *models)))
        return Returned(codec.encode(node.output, models[0]) if node.output else None)
    except BaseException as error:  # noqa: BLE001 - a user's predicate may raise anything
        return raised(error, retryable=False)


def _verdict(answer: object) -> bool:
    """Return what a predicate has answered; what would have to be awaited is always true, and so never meant."""
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise WrongOutput("a predicate must answer True or False, but this one has returned what must be awaited")
    return bool(answer)


def function_of(body: Task[Any, Any, Any, ..., Any]) -> Callable[..., Any]:
    """Return the function that is a task's body, or what a test has put in its place."""
    return SUBSTITUTES.get(body.function, body.function)


async def attempt(
    node: PlanNode,
    outputs: Outputs,
    context: TaskContext | None,
    codec: Codec,
    executor: Executor,
    *,
    failure: TaskFailure | None = None,
    run_failure: RunFailure[Any] | None = None,
    transaction: Transaction | None = None,
) -> Report:
    """Run one attempt of a task and return how it ended.

    Raises CancelledError only if it was cancelled itself, Withdrawn if the executor was closed before the body began.

    ``context`` is None for a body that does not ask for it, and so are ``transaction``, which is left open, and
    ``run_failure``; ``failure`` is what a handler is given.
    """
    body = node.body
    assert body is not None  # nodes without a body are evaluated, not attempted
    try:
        models = given(node, outputs.arguments(node.arguments, codec), failure)
    except BaseException as error:  # noqa: BLE001 - a user's reducer or validator may raise anything
        return raised(error, retryable=False)
    call = _call(body, models, context, transaction, run_failure)
    return await concluded(node, _performed(node, call, executor), codec)


async def _performed(node: PlanNode, call: Call, executor: Executor) -> object:
    """Call a body where it belongs, and return what it returns."""
    body = node.body
    assert body is not None
    if body.options.timeout_s is not None:
        return await _limited(node, call, executor, body.options.timeout_s)
    if body.signature.is_async:
        return await call()
    return await executor.submit(partial(_called, call))


async def concluded(node: PlanNode, performed: Awaitable[object], codec: Codec) -> Report:
    """Return how an attempt ended whose body is ``performed``. Raises as ``attempt``."""
    body = node.body
    assert body is not None
    try:
        value = await performed
        if isinstance(value, Exit):
            return raised(value.error, retryable=worth_retrying(value.error, node.retry.retries))
        return answer(body.signature, value, codec)
    except _Overrun as overrun:
        late = AttemptTimeout(f"the attempt took longer than {body.options.timeout_s:g} s")
        return raised(late, retryable=worth_retrying(late, node.retry.retries), still_running=overrun.body)
    except asyncio.CancelledError as error:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise
        if not body.signature.is_async:  # what a body on a thread raises comes as a value
            raise Withdrawn from None
        return raised(error, retryable=False)
    except BaseException as error:  # noqa: BLE001 - this is where user code runs
        return raised(error, retryable=worth_retrying(error, node.retry.retries))


def given(node: PlanNode, models: Sequence[Any], failure: TaskFailure | None) -> list[Any]:
    """Return what a body is called with: its models, and for a handler how the task failed that it stands in for."""
    values = list(models)
    for place, what in node.given:
        assert failure is not None  # a handler runs only after a failure
        values.insert(place, failure if what == "failure" else failure.error)
    return values


def _call(
    body: Task[Any, Any, Any, Any, Any],
    models: list[Any],
    context: TaskContext | None,
    transaction: Transaction | None,
    run_failure: RunFailure[Any] | None,
) -> Call:
    """Return the call of a body with its inputs and what is injected; one with a session then writes what it holds."""
    signature = body.signature
    wanted = SUBSTITUTES_CONTEXT if body.function in SUBSTITUTES else signature.context
    injected: dict[str, object] = {wanted: context} if wanted and context else {}
    if signature.run_failure is not None:
        injected[signature.run_failure] = run_failure
    if signature.session is None or transaction is None:
        return partial(function_of(body), *models, **injected)
    injected[signature.session] = transaction.session
    flushing = _flushing_async if signature.is_async else _flushing
    return partial(transaction.call, partial(flushing, partial(function_of(body), *models, **injected), transaction))


def _flushing(call: Call, transaction: Transaction) -> object:
    value = call()
    if not isinstance(value, Failure):
        transaction.session.flush()
    return value


async def _flushing_async(call: Call, transaction: Transaction) -> object:
    value: object = await call()
    if not isinstance(value, Failure):
        await transaction.session.flush()
    return value


class _Overrun(Exception):
    """The time is up; ``body`` still runs, or is None."""

    def __init__(self, body: asyncio.Future[Any] | None) -> None:
        self.body = body


async def _limited(node: PlanNode, call: Call, executor: Executor, limit_s: float) -> object:
    """Call the body for ``limit_s`` seconds at most."""
    body = node.body
    assert body is not None
    if not body.signature.is_async:
        return await _limited_on_a_thread(partial(_called, call), executor, limit_s)
    running = asyncio.ensure_future(carried(call))
    running.add_done_callback(_seen)
    await _waited(running, limit_s)
    if running.done():
        return running.result()
    running.cancel()
    await asyncio.wait({running}, timeout=LEAVE_S)
    raise _Overrun(None if running.done() else running)


async def _limited_on_a_thread(call: Callable[[], object], executor: Executor, limit_s: float) -> object:
    """The time begins with the body: a call that waits for a thread has not begun."""
    loop = asyncio.get_running_loop()
    begun = asyncio.Event()

    def timed() -> object:
        loop.call_soon_threadsafe(begun.set)
        return call()

    running = executor.submit(timed)
    running.add_done_callback(lambda _: begun.set())
    try:
        await begun.wait()
    except asyncio.CancelledError:
        running.cancel()
        raise
    await _waited(running, limit_s)
    if running.done():
        return running.result()
    executor.abandon(running)
    raise _Overrun(running)


async def _waited(running: asyncio.Future[Any], limit_s: float) -> None:
    try:
        await asyncio.wait({running}, timeout=limit_s)
    except asyncio.CancelledError:
        running.cancel()
        raise


def _called(call: Call) -> object:
    try:
        return call()
    except BaseException as error:  # noqa: BLE001 - this is where user code runs
        return Exit(error)


def _seen(running: asyncio.Future[Any]) -> None:
    """Look at the end of a body, so that asyncio does not warn that nobody did."""
    if not running.cancelled():
        running.exception()
