"""Headstarts: bodies that ask for nothing but their inputs are begun at once, and driven by hand until they suspend.

Most bodies on the event loop are over without suspending at all, and so cost no coroutine of the engine's and no turn
of the loop. They run in the task that a slot has, as if they were awaited there. It knows a plan's node and the codec.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from types import CoroutineType, coroutine
from typing import Any

from cloaca.contract.plans import PlanNode
from cloaca.interpreter.answers import Report, answer, raised, worth_retrying
from cloaca.interpreter.inputs import Outputs
from cloaca.ports import Codec


def head_start(
    node: PlanNode, function: Callable[..., Any], outputs: Outputs, codec: Codec
) -> Report | Awaitable[object]:
    """Begin a body; return how its attempt ended if it is over, else what is to be awaited of it."""
    assert node.body is not None  # only tasks have a function
    try:
        models = outputs.arguments(node.arguments, codec)
    except BaseException as error:  # noqa: BLE001 - a user's reducer or validator may raise anything
        return raised(error, retryable=False)
    try:
        body = function(*models)
        if type(body) is not CoroutineType:
            return _awaited(body)
        waits_for = body.send(None)
    except StopIteration as end:
        value = end.value
    except BaseException as error:  # noqa: BLE001 - this is where user code runs
        return _failed(error)
    else:
        return _rest(body, waits_for)
    try:
        return answer(node.body.signature, value, codec)
    except BaseException as error:  # noqa: BLE001 - a user's serializer may raise anything
        return raised(error, retryable=worth_retrying(error, node.retry.retries))


async def _awaited(body: Awaitable[object]) -> object:
    return await body


async def _failed(error: BaseException) -> object:
    raise error


@coroutine
def _rest(body: CoroutineType[Any, Any, object], waits_for: object) -> Generator[object, None, object]:
    """Go on with a body that waits for something: hand that to the event loop, and to the body what comes of it."""
    while True:
        try:
            yield waits_for
        except GeneratorExit:
            body.close()
            raise
        except BaseException as error:  # noqa: BLE001 - as when a task is cancelled
            try:
                waits_for = body.throw(error)
            except StopIteration as end:
                return end.value
        else:
            return (yield from body)  # type: ignore[misc]  # a generator that is a coroutine may
