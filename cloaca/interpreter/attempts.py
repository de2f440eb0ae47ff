"""One attempt of one node: build its input, call the body, check what it returns. The one place that runs user code.

It knows a plan's node and the ports; what an attempt's end means for its run is decided elsewhere. Whatever a body
raises becomes a value here, ``SystemExit`` and ``KeyboardInterrupt`` too.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from returns.result import Failure, Result, Success

from cloaca.algebra.context import TaskContext
from cloaca.contract.plans import PlanNode
from cloaca.errors import PayloadError, WrongOutput
from cloaca.interpreter.inputs import Outputs
from cloaca.ports import Codec, Executor

OUR_FILES = str(Path(__file__).parents[1])
LONGEST_TEXT = 65_536  # characters of a message or a traceback that are stored
LEAVE_S = 1.0  # how long an async body that timed out or was cancelled may take to clean up


@dataclass(frozen=True, slots=True)
class Returned:
    """The attempt succeeded: its payload (None for a task that writes nothing), or a gate's verdict."""

    payload: str | None
    verdict: bool | None = None


@dataclass(frozen=True, slots=True)
class Raised:
    """The attempt failed. ``error`` is the payload of a typed error, ``still_running`` a body that can't be stopped."""

    exception_type: str
    message: str
    traceback: str
    retryable: bool
    error: str | None = None
    still_running: asyncio.Future[Any] | None = None


Report = Returned | Raised


class AttemptTimeout(TimeoutError):
    """The attempt took longer than the task's ``timeout``."""


def evaluate(node: PlanNode, outputs: Outputs, codec: Codec) -> Report:
    """Do a node that has no body: ask a gate's predicate, or pass on the row of a sealed graph."""
    try:
        models = outputs.arguments(node.arguments, codec)
        if node.predicate is not None:
            return Returned(None, verdict=bool(copy_context().run(node.predicate, *models)))
        return Returned(codec.encode(node.output, models[0]) if node.output else None)
    except BaseException as error:  # noqa: BLE001 - a user's predicate may raise anything
        return raised(error, node, retryable=False)


async def attempt(
    node: PlanNode, outputs: Outputs, context: TaskContext | None, codec: Codec, executor: Executor
) -> Report:
    """Run one attempt of a task and return how it ended.

    Raises CancelledError only if it was cancelled itself, Withdrawn if the executor was closed before the body began.

    ``context`` is None for a body that does not ask for it.
    """
    body = node.body
    assert body is not None  # nodes without a body are evaluated, not attempted
    signature = body.signature
    try:
        models = outputs.arguments(node.arguments, codec)
    except BaseException as error:  # noqa: BLE001 - a user's reducer or validator may raise anything
        return raised(error, node, retryable=False)
    injected = {signature.context: context} if signature.context and context else {}
    try:
        if body.options.timeout_s is not None:
            value = await _limited(node, models, injected, executor, body.options.timeout_s)
        elif signature.is_async:
            value = await body.function(*models, **injected)
        else:
            value = await executor.submit(partial(_called, body.function, models, injected))
        if isinstance(value, _Exit):
            return raised(value.error, node, retryable=_worth_retrying(node, value.error))
        return _answer(node, value, codec)
    except _Overrun as overrun:
        late = AttemptTimeout(f"the attempt took longer than {body.options.timeout_s:g} s")
        return raised(late, node, retryable=_worth_retrying(node, late), still_running=overrun.body)
    except asyncio.CancelledError as error:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise
        if not signature.is_async:  # what a body on a thread raises comes as a value
            raise Withdrawn from None
        return raised(error, node, retryable=False)
    except BaseException as error:  # noqa: BLE001 - this is where user code runs
        return raised(error, node, retryable=_worth_retrying(node, error))


class Withdrawn(Exception):
    """The body has not begun, and will not: this worker is leaving."""


class _Overrun(Exception):
    """The time is up; ``body`` still runs, or is None."""

    def __init__(self, body: asyncio.Future[Any] | None) -> None:
        self.body = body


async def _limited(
    node: PlanNode, models: list[BaseModel], injected: dict[str, TaskContext], executor: Executor, limit_s: float
) -> object:
    """Call the body for ``limit_s`` seconds at most."""
    body = node.body
    assert body is not None
    if not body.signature.is_async:
        call = partial(_called, body.function, models, injected)
        return await _limited_on_a_thread(call, executor, limit_s)
    running = asyncio.ensure_future(_carried(body.function(*models, **injected)))
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


@dataclass(frozen=True, slots=True)
class _Exit:
    """How a body ended, as a value: a future can't carry every exception, and some would end the event loop."""

    error: BaseException


def _called(function: Callable[..., object], models: list[BaseModel], injected: dict[str, TaskContext]) -> object:
    try:
        return function(*models, **injected)
    except BaseException as error:  # noqa: BLE001 - this is where user code runs
        return _Exit(error)


async def _carried(work: Awaitable[object]) -> object:
    try:
        return await work
    except (SystemExit, KeyboardInterrupt) as error:
        return _Exit(error)


def _seen(running: asyncio.Future[Any]) -> None:
    """Look at the end of a body, so that asyncio does not warn that nobody did."""
    if not running.cancelled():
        running.exception()


def _answer(node: PlanNode, value: object, codec: Codec) -> Report:
    """Check what a body returned against what it declares."""
    body = node.body
    assert body is not None
    signature = body.signature
    if inspect.iscoroutine(value):
        value.close()  # so that Python does not warn that nobody awaited it
        raise WrongOutput("the body returned a coroutine that nobody awaits: declare the task with async def")
    if signature.answers:
        if isinstance(value, Failure):
            return _declined(value.failure(), cast("type[BaseModel]", signature.error), codec)
        if not isinstance(value, Success):
            raise WrongOutput(f"expected a Result, Success(...) or Failure(...), but got {_described(value)}")
        value = cast("Result[object, object]", value).unwrap()
    elif isinstance(value, Result):
        returned = f"Result[{signature.output.__name__ if signature.output else None}, ...]"
        raise WrongOutput(f"got {_described(value)}, but the task does not declare it: annotate it with -> {returned}")
    if signature.output is None:
        if value is not None:
            raise WrongOutput(f"expected None, as the task declares, but got {_described(value)}")
        return Returned(None)
    return Returned(codec.encode(signature.output, value))


def _declined(error: object, model: type[BaseModel], codec: Codec) -> Raised:
    payload = codec.encode(model, error)
    return Raised("Failure", _clean(_message(error)), "", retryable=False, error=payload)


def _described(value: object) -> str:
    if value is None:
        return "None"
    try:
        return f"{type(value).__name__}: {value!r:.100}"
    except BaseException:  # noqa: BLE001 - a user's __repr__ may raise anything
        return f"{type(value).__name__}: <its repr can't be shown>"


def _worth_retrying(node: PlanNode, error: BaseException) -> bool:
    if isinstance(error, ValidationError | PayloadError | asyncio.CancelledError):
        return False
    try:
        return node.retry.retries(error)
    except BaseException:  # noqa: BLE001 - a user's predicate may raise anything; then the error stands as it is
        return False


def raised(
    error: BaseException, node: PlanNode, *, retryable: bool, still_running: asyncio.Future[Any] | None = None
) -> Raised:
    """Return an exception as a value, its traceback from the user's code on."""
    kind = "TimeoutError" if isinstance(error, AttemptTimeout) else type(error).__name__
    return Raised(
        kind, _clean(_message(error)), _clean(_traceback(error)), retryable=retryable, still_running=still_running
    )


def _message(error: object) -> str:
    try:
        return str(error)
    except BaseException as odd:  # noqa: BLE001 - a user's __str__ may raise anything
        return f"<its message can't be shown: {type(odd).__name__}>"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, _from_user_code_on(error)))
    except BaseException as odd:  # noqa: BLE001 - as above
        return f"<its traceback can't be shown: {type(odd).__name__}>"


def _from_user_code_on(error: BaseException) -> TracebackType | None:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(OUR_FILES):
        frames = frames.tb_next
    return frames


def _clean(text: str) -> str:
    """Return text that every database can hold: not too long, no NUL, no lone surrogate."""
    if len(text) > LONGEST_TEXT:
        start, end = text[: LONGEST_TEXT // 4], text[-LONGEST_TEXT * 3 // 4 :]
        text = f"{start}\n... {len(text) - LONGEST_TEXT:,} characters are left out ...\n{end}"
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
