"""One attempt in a child process: find the task, call its body, and say in plain JSON what became of it.

It runs in the child. It knows what ``errands`` sends; the process, its line to the parent and its end are others'.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from dataclasses import astuple
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from cloaca.algebra.context import TaskContext
from cloaca.algebra.declarations import Signature
from cloaca.algebra.outcomes import TaskFailure
from cloaca.algebra.signatures import Model
from cloaca.algebra.tasks import Task, task
from cloaca.current import ATTEMPT, Attempt, Place, RunName, Told
from cloaca.errors import TaskNotImportable
from cloaca.interpreter.answers import Exit, Raised, Report, answer, raised, worth_retrying
from cloaca.interpreter.homes import Home, found, known_as
from cloaca.logs import FILTER
from cloaca.ports import Codec
from cloaca.secrets import Sent

AnyTask = Task[Any, Any, Any, Any, Any]
Tell = Callable[[object], None]
Errand = Mapping[str, Any]


def perform(errand: Errand, tell: Tell, codec: Codec) -> dict[str, object]:
    """Make an attempt; return ``returned`` (a payload), ``raised`` (its parts), or why the task is ``unreachable``.

    An errand without inputs only asks whether the task can be found.
    """
    try:
        body = _task(errand)
        signature = body.signature
    except Exception as error:  # noqa: BLE001 - what a user's module raises when it is imported
        return {"unreachable": str(error)}
    if errand["inputs"] is None:
        return {"returned": None}
    try:
        models = _arguments(signature, errand, codec)
    except BaseException as error:  # noqa: BLE001 - a user's validator may raise anything
        return _told(raised(error, retryable=False))
    ATTEMPT.set(_current(errand))
    context = _context(errand["context"], tell)
    injected = {signature.context: context} if signature.context and context else {}
    tell(["begun"])
    return _told(_attempted(body, models, injected, errand, codec))


def _arguments(signature: Signature[Model], errand: Errand, codec: Codec) -> list[object]:
    """Build what the body is called with: models, and where a handler asks for it the ``TaskFailure``."""
    parameters = iter(signature.parameters)
    return [
        _failure(given, errand, codec) if place in signature.failures else codec.decode(next(parameters).model, given)
        for place, given in enumerate(errand["inputs"])
    ]


def _failure(given: Mapping[str, Any], errand: Errand, codec: Codec) -> TaskFailure:
    home, text = given["error"]
    error: Any = None if home is None else codec.decode(_model(Home(*home), errand), text)
    return TaskFailure(**{**given, "at": datetime.fromisoformat(given["at"]), "error": error})


def _model(home: Home, errand: Errand) -> type[BaseModel]:
    model = found(home, errand["main"])
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TaskNotImportable(f"a child process has imported {home}, but it is no model")
    return model


def _attempted(
    body: AnyTask, models: list[object], injected: Mapping[str, TaskContext], errand: Errand, codec: Codec
) -> Report:
    try:
        value = copy_context().run(_called, body, models, injected)
        if isinstance(value, Exit):
            raise value.error
        return answer(body.signature, value, codec)
    except BaseException as error:  # noqa: BLE001 - this is where user code runs
        return raised(error, retryable=worth_retrying(error, lambda error: _retries(error, body, errand)))


def _called(body: AnyTask, models: list[object], injected: Mapping[str, TaskContext]) -> object:
    """Call a body; one that is async gets an event loop of its own."""
    if body.signature.is_async:
        return asyncio.run(_awaited(body.function(*models, **injected)))
    return body.function(*models, **injected)


async def _awaited(work: Awaitable[object]) -> object:
    """Await a body; what it raises is a value, so that its traceback has nothing of an event loop."""
    try:
        return await work
    except BaseException as error:  # noqa: BLE001 - this is where user code runs
        return Exit(error)


def _told(report: Report) -> dict[str, object]:
    if isinstance(report, Raised):
        return {"raised": astuple(report)[:5]}
    return {"returned": report.payload}


def _task(errand: Errand) -> AnyTask:
    home = Home(*errand["home"])
    there = found(home, errand["main"])
    if isinstance(there, Task):
        return there
    if not callable(there):
        raise TaskNotImportable(f"a child process has imported {home}, but it is no task")
    made: AnyTask = task(there)
    return made


def _retries(error: BaseException, body: AnyTask, errand: Errand) -> bool:
    """Ask the retry policy: its classes by name, its predicate where that lives."""
    policy, main = errand["retries"], errand["main"]
    if "classes" in policy:
        return any(known_as(kind, main) in policy["classes"] for kind in type(error).__mro__)
    if "predicate" in policy:
        predicate: Any = found(Home(*policy["predicate"]), main)
        return bool(predicate(error))
    return body.options.retry.retries(error)


def _current(errand: Errand) -> Attempt | None:
    """Return the attempt as the parent knows it, with the secrets that it has sent."""
    if errand.get("attempt") is None:
        return None
    run, workflow, task, number, worker, tenant = errand["attempt"]
    return Told(RunName(run, workflow), task, number, Place(worker, tenant, Sent(errand["secrets"])))


def _context(given: Mapping[str, Any] | None, tell: Tell) -> TaskContext | None:
    """Return a context whose heartbeats and records go to the parent. It is never cancelled: its process is killed."""
    if given is None:
        return None
    logger = logging.Logger(given["logger"], given["level"])
    logger.addHandler(_Forwarding(tell))
    logger.addFilter(FILTER)
    who = {"run": given["run_id"], "task": given["task"], "attempt": given["attempt"]}
    scheduled_for = given["scheduled_for"]
    return TaskContext(
        run_id=given["run_id"],
        task=given["task"],
        attempt=given["attempt"],
        idempotency_key=given["idempotency_key"],
        logger=logging.LoggerAdapter(logger, who),
        scheduled_for=None if scheduled_for is None else datetime.fromisoformat(scheduled_for),
        beat=lambda: tell(["beat"]),
    )


class _Forwarding(logging.Handler):
    """Sends records to the parent, whose handlers show them."""

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self._tell = tell
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record as what a formatter needs of it, its message made up and its traceback as text."""
        try:
            names = ("levelno", "levelname", "pathname", "filename", "module", "lineno", "funcName", "created", "msecs")
            known: dict[str, object] = {name: getattr(record, name) for name in names}
            known |= {"msg": record.getMessage(), "process": record.process, "threadName": record.threadName}
            if record.exc_text:
                known["exc_text"] = record.exc_text
            elif record.exc_info:
                known["exc_text"] = self._formatter.formatException(record.exc_info)
            self._tell(["log", known])
        except Exception:  # noqa: BLE001 - a record that can't be made up must not fail the body
            self.handleError(record)
