"""What an attempt comes to, as values: what a body returns or raises, checked and put into words.

It runs where the body has run, in the worker's process or in a child. It knows a task's signature and the codec.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from asyncio import Future
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from returns.result import Failure, Result, Success

from cloaca.algebra.declarations import Signature
from cloaca.algebra.signatures import Model
from cloaca.errors import PayloadError, SecretExposed, TaskNotImportable, WrongOutput
from cloaca.interpreter.interrupts import is_interrupt
from cloaca.ports import Codec
from cloaca.secrets import exposed, masked

OUR_FILES = str(Path(__file__).parents[1])
LONGEST_TEXT = 65_536  # characters of a message or a traceback that are stored


@dataclass(frozen=True, slots=True)
class Returned:
    """The attempt succeeded: its payload (None for a task that writes nothing), or a gate's verdict.

    ``origin`` is the run whose result it is, if the body was not called because there was one in the cache.
    """

    payload: str | None
    verdict: bool | None = None
    origin: int | None = None


@dataclass(frozen=True, slots=True)
class Raised:
    """The attempt failed. ``error`` is the payload of a typed error, ``still_running`` a body that can't be stopped."""

    exception_type: str
    message: str
    traceback: str
    retryable: bool
    error: str | None = None
    still_running: Future[Any] | None = None


Report = Returned | Raised


class AttemptTimeout(TimeoutError):
    """The attempt took longer than the task's ``timeout``."""


class Withdrawn(Exception):
    """The body has not begun, and will not: this worker is leaving."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a body ended, as a value: a future can't carry every exception, and some would end the event loop."""

    error: BaseException


async def carried(call: Callable[[], Awaitable[object]]) -> object:
    """Call a body and await it; what would end the event loop comes as a value."""
    try:
        return await call()
    except (SystemExit, KeyboardInterrupt) as error:
        return Exit(error)


def answer(signature: Signature[Model], value: object, codec: Codec) -> Report:
    """Check what a body returned against what it declares. Raises PayloadError."""
    if type(value) is signature.output and not signature.answers:  # as it nearly always is
        return Returned(_kept_secret(codec.encode(signature.output, value), signature.output))
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
    return Returned(_kept_secret(codec.encode(signature.output, value), signature.output))


def _declined(error: object, model: type[BaseModel], codec: Codec) -> Raised:
    payload = _kept_secret(codec.encode(model, error), model)
    return Raised("Failure", _clean(_message(error)), "", retryable=False, error=payload)


def _kept_secret(payload: str, model: type[BaseModel]) -> str:
    """Return a payload in which no secret is that this attempt has revealed. Raises SecretExposed."""
    if (name := exposed(payload)) is not None:
        raise SecretExposed(
            f'{model.__name__} holds the value of secret "{name}", and would be stored with it: return the Secret '
            "itself, or what came of using it"
        )
    return payload


def _described(value: object) -> str:
    if value is None:
        return "None"
    try:
        return f"{type(value).__name__}: {masked(repr(value)):.100}"
    except BaseException:  # noqa: BLE001 - a user's __repr__ may raise anything
        return f"{type(value).__name__}: <its repr can't be shown>"


def worth_retrying(error: BaseException, retries: Callable[[BaseException], bool]) -> bool:
    """Whether ``retries``, a policy's own word, holds for an error; those of validation are never retried."""
    if isinstance(error, ValidationError | PayloadError | TaskNotImportable | asyncio.CancelledError):
        return False
    try:
        return retries(error)
    except BaseException:  # noqa: BLE001 - a user's predicate may raise anything; then the error stands as it is
        return False


def raised(error: BaseException, *, retryable: bool, still_running: Future[Any] | None = None) -> Raised:
    """Return an exception as a value, its traceback from the user's code on.

    Raises it again if a signal's handler has raised it: it is meant for the process.
    """
    if is_interrupt(error):
        raise error
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
    """Return text that every database can hold, and may: no secret, not too long, no NUL, no lone surrogate."""
    text = masked(text)
    if len(text) > LONGEST_TEXT:
        start, end = text[: LONGEST_TEXT // 4], text[-LONGEST_TEXT * 3 // 4 :]
        text = f"{start}\n... {len(text) - LONGEST_TEXT:,} characters are left out ...\n{end}"
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
