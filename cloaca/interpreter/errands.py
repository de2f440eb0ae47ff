"""An attempt whose body runs in a child process: what is sent there, what is heard from it, and what comes back.

Plain JSON both ways: the home of the function, its inputs as payloads, and a payload or an error's words as the
answer; no object of the user is ever pickled. ``bodies`` is the other end. It knows the port, not how children live.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from cloaca.algebra.context import TaskContext
from cloaca.algebra.outcomes import TaskFailure
from cloaca.algebra.retries import Retry
from cloaca.algebra.tasks import Task
from cloaca.contract.plans import Plan, PlanNode
from cloaca.current import ATTEMPT
from cloaca.errors import (
    ContractError,
    PayloadTooLarge,
    RunnerClosed,
    TaskNotImportable,
    UnknownSecret,
    Violation,
    WrongOutput,
)
from cloaca.interpreter.answers import AttemptTimeout, Raised, Report, Returned, Withdrawn, raised, worth_retrying
from cloaca.interpreter.homes import Home, here, home_of, known_as, main_module
from cloaca.interpreter.inputs import Outputs
from cloaca.interpreter.references import secrets_in
from cloaca.ports import Codec, Processes

Errand = dict[str, Any]


def runs_in_a_child(node: PlanNode) -> bool:
    """Whether a node's body is for a child process."""
    return node.body is not None and node.body.options.executor == "process"


def check_homes(plan: Plan) -> None:
    """Raise TaskNotImportable unless every body that is for a child process can be found from there, by its looks.

    Raises ContractError for one that asks for a session.
    """
    for node in filter(runs_in_a_child, plan.everywhere()):
        _errand(node)


async def check_children(plan: Plan, processes: Processes) -> None:
    """Raise TaskNotImportable unless a child process has found every body that is for one. ProcessDied, OSError."""
    asked = {}
    for node in filter(runs_in_a_child, plan.everywhere()):
        errand = _errand(node)
        asked[tuple(errand["home"])] = errand
    for errand in asked.values():
        try:
            reply = await processes.submit(errand, lambda _: None)
        except asyncio.CancelledError:
            _unless_withdrawn()
            raise RunnerClosed("the runner was left before a child process had found the tasks") from None
        _check_found(reply)


async def run_errand(
    node: PlanNode,
    outputs: Outputs,
    context: TaskContext | None,
    codec: Codec,
    processes: Processes,
    *,
    failure: TaskFailure | None = None,
) -> Report:
    """Make an attempt in a child process and return how it ended.

    Raises CancelledError only if it was cancelled itself, Withdrawn if the executor was closed before the body began.
    """
    assert node.body is not None
    try:
        errand = _errand(node)
        inputs = _given(node, outputs.texts(node.arguments), failure)
        errand |= {"inputs": inputs, "limit": codec.limit, "context": _context(context)}
        errand |= {"attempt": _attempt(), "secrets": await _secrets(node, inputs)}
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - a user's reducer may raise anything
        return raised(error, retryable=False)
    try:
        reply = await _reply(errand, context, processes, node.body.options.timeout_s)
        return _report(node, reply, codec)
    except asyncio.CancelledError:
        _unless_withdrawn()
        raise Withdrawn from None
    except Exception as error:  # noqa: BLE001 - a timeout, a child that died, a payload that does not fit
        return raised(error, retryable=worth_retrying(error, node.retry.retries))


def _unless_withdrawn() -> None:
    """Raise CancelledError if it is the current task that was cancelled, not the job that it waits for."""
    current = asyncio.current_task()
    if current is not None and current.cancelling():
        raise asyncio.CancelledError


async def _reply(errand: Errand, context: TaskContext | None, processes: Processes, limit_s: float | None) -> Any:
    """Send an errand and wait for the answer; the time begins with the body, and ends it."""
    hearing = _Hearing(context)
    running = processes.submit(errand, hearing)
    if limit_s is None:
        return await running
    running.add_done_callback(lambda _: hearing.begun.set())
    try:
        await hearing.begun.wait()
        await asyncio.wait({running}, timeout=limit_s)
        if running.done():
            return running.result()
        raise AttemptTimeout(f"the attempt took longer than {limit_s:g} s")
    finally:
        running.cancel()  # kills the child, if it is at it


class _Hearing:
    """Hears what a child says while it runs a body: that it has begun, heartbeats, log records."""

    def __init__(self, context: TaskContext | None) -> None:
        self._context = context
        self.begun = asyncio.Event()

    def __call__(self, message: list[Any]) -> None:
        match message:
            case ["begun"]:
                self.begun.set()
            case ["beat"] if self._context:
                self._context.heartbeat()
            case ["log", record] if self._context:
                _log(self._context, record)


def _log(context: TaskContext, record: Mapping[str, Any]) -> None:
    """Log a child's record as if the body had run here."""
    logger = _plain(context.logger)
    who = {"run": context.run_id, "task": context.task, "attempt": context.attempt}
    logger.handle(logging.makeLogRecord({"name": logger.name, **record, **who}))  # the logger's filter completes it


def _plain(logger: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> logging.Logger:
    return logger.logger if isinstance(logger, logging.LoggerAdapter) else logger


def _report(node: PlanNode, reply: Mapping[str, Any], codec: Codec) -> Report:
    """Turn an answer into a report; what the child has checked against its models must fit this process's, too."""
    assert node.body is not None
    signature = node.body.signature
    if "raised" in reply:
        kind, message, trace, retryable, error = reply["raised"]
        if error is not None:
            _check(cast("type[BaseModel]", signature.error), error, codec)
        return Raised(kind, message, trace, retryable=retryable, error=error)
    _check_found(reply)
    payload = reply["returned"]
    if signature.output is not None:
        _check(signature.output, payload, codec)
    return Returned(payload)


def _check_found(reply: Mapping[str, Any]) -> None:
    if "returned" not in reply:
        raise TaskNotImportable(reply.get("unreachable") or reply["fault"])


def _check(model: type[BaseModel], payload: str, codec: Codec) -> None:
    if len(payload) > codec.limit:
        raise PayloadTooLarge(f"{model.__name__} is larger than payload_limit={codec.limit:,}")
    try:
        codec.decode(model, payload)
    except ValidationError as error:
        text = f"{model.__name__} of the child process does not fit this process's: has its module changed meanwhile?"
        raise WrongOutput(f"{text} {error}") from error


# What is sent


def _errand(node: PlanNode) -> Errand:
    """Return an errand without inputs, which only asks for the task. Raises TaskNotImportable or ContractError."""
    body = node.body
    assert body is not None
    who = f'Task "{node.task}"'
    if body.signature.session is not None:
        text = f'{who} runs in a child process, where it can\'t have the session of "{body.signature.session}": the '
        text += "transaction is this process's; leave executor= out, or do what needs the session in a task after it"
        raise ContractError([Violation("task-model", node.task, body.signature.session, text)])
    home = home_of(body.function, who)
    retries = _retries(node.retry, home, who)
    homes = {home.module, *(name.partition(":")[0] for name in retries.get("classes", ()))}
    main = main_module() if "__main__" in homes else None
    return {"home": home, "main": main, "retries": retries, "inputs": None}


def _retries(retry: Retry, home: Home, who: str) -> dict[str, Any]:
    """Say which errors are worth another attempt in words that a child understands."""
    on = retry.on
    if isinstance(on, tuple | type):
        return {"classes": [known_as(kind, None) for kind in (on if isinstance(on, tuple) else (on,))]}
    there = here(home)
    if isinstance(there, Task) and there.options.retry.on is on:
        return {"own": True}  # the child's own task has it, so that it may well be a lambda
    return {"predicate": home_of(on, f"The retry predicate of {who[0].lower()}{who[1:]}")}


def _given(node: PlanNode, texts: Sequence[str], failure: TaskFailure | None) -> list[object]:
    """Return what a child makes the arguments of: JSON, and for a handler how the task failed that it stands in for."""
    inputs: list[object] = list(texts)
    for place, what in node.given:
        assert failure is not None  # a handler runs only after a failure
        error = failure.error
        text = None if error is None else error.model_dump_json()
        if what == "error":
            inputs.insert(place, text)
            continue
        home = None if error is None else home_of(type(error), f'The error of task "{failure.task}" for the handler')
        inputs.insert(
            place, {**asdict(replace(failure, error=None)), "at": failure.at.isoformat(), "error": [home, text]}
        )
    return inputs


def _attempt() -> list[object] | None:
    """Say what attempt it is, for the child's log records."""
    found = ATTEMPT.get()
    if found is None:
        return None
    return [found.run.id, found.run.workflow, found.task, found.number, found.place.worker, found.place.tenant]


async def _secrets(node: PlanNode, inputs: Sequence[object]) -> dict[str, str]:
    """Look up the secrets that the inputs name, but for unknown ones: the pipe to the child has them, and nothing else.

    Raises what ``Runner(secrets=...)`` raises.
    """
    assert node.body is not None
    found: dict[str, str] = {}
    for argument, text in zip(node.arguments, _payloads(node, inputs), strict=True):
        for secret in secrets_in(argument.model, text):
            with contextlib.suppress(UnknownSecret):
                found[secret.name] = await secret.reveal_async()
    return found


def _payloads(node: PlanNode, inputs: Sequence[object]) -> list[str]:
    """Return the inputs that models are made of, without those that say how another task failed."""
    places = {place for place, _ in node.given}
    return [text for place, text in enumerate(inputs) if place not in places and isinstance(text, str)]


def _context(context: TaskContext | None) -> dict[str, Any] | None:
    if context is None:
        return None
    logger = _plain(context.logger)
    return {
        "run_id": context.run_id,
        "task": context.task,
        "attempt": context.attempt,
        "idempotency_key": context.idempotency_key,
        "scheduled_for": context.scheduled_for and context.scheduled_for.isoformat(),
        "logger": logger.name,
        "level": logger.getEffectiveLevel(),
    }
