"""Fingerprints: hashes of a task's code and contract, and of a whole workflow, equal wherever the same code runs.

It knows plans, pydantic schemas and the text that ``sources`` makes of code. What it does not know is which runs are
affected by a change: that is decided where runs are stored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from weakref import WeakKeyDictionary

from cloaca.algebra.retries import Retry
from cloaca.algebra.tasks import Task
from cloaca.algebra.waits import Wait
from cloaca.contract.plans import Plan
from cloaca.contract.schemas import schemas_of
from cloaca.contract.sources import code_of

AnyTask = Task[Any, Any, Any, Any, Any]


def version(plan: Plan) -> str:
    """Return the version of a workflow: 16 hexadecimal digits."""
    known: dict[object, str] = {}  # many nodes may be one task under several names
    _keep_codes(plan, known)
    answer = plan.answer.argument.model if plan.answer.argument else None
    return _hash([plan.spec, *_code(plan, known), schemas_of(plan.input, answer)])


_CODES: WeakKeyDictionary[Plan, Mapping[int, str]] = WeakKeyDictionary()


def codes(plan: Plan) -> Mapping[int, str]:
    """Return the fingerprint of what each node of a plan runs, by index: a task's, or that of a condition's code."""
    if plan not in _CODES:
        _keep_codes(plan, {})
    return _CODES[plan]


def _keep_codes(plan: Plan, known: dict[object, str]) -> None:
    tasks = {node.index: _known(node.body, known) for node in plan.nodes if node.body is not None}
    asked = {node.index: _hash(code_of(node.predicate)) for node in plan.nodes if node.predicate is not None}
    _CODES[plan] = tasks | asked


def _code(plan: Plan, known: dict[object, str]) -> list[object]:
    """The code of a plan's tasks and conditions, and the rows of its other nodes; of a fan-out what is inside it."""
    tasks = {node.name: _known(node.body, known) for node in plan.nodes if node.body is not None}
    conditions = {node.name: code_of(node.predicate) for node in plan.nodes if node.predicate is not None}
    rows = {node.name: schemas_of(node.output) for node in plan.nodes if node.body is None and node.fan is None}
    fans = {name: [node.fan.limit, *_code(node.fan.plan, known)] for name, node in plan.fans.items() if node.fan}
    waits = {node.name: _wait(node.wait) for node in plan.nodes if node.wait is not None}
    return [tasks, conditions, rows, *([fans] if fans else []), *([waits] if waits else [])]


def _wait(node: Wait[Any, Any]) -> list[object]:
    """How long a node waits, and where its rows are. What a child workflow does is its own version's business."""
    return [node.seconds, node.reads, node.writes, node.whole, schemas_of(node.input)]


def _known(task: AnyTask, known: dict[object, str]) -> str:
    key = (task.function, task.options, task.reads, task.writes, task.whole)
    if key not in known:
        known[key] = fingerprint(task)
    return known[key]


def fingerprint(task: AnyTask) -> str:
    """Return the fingerprint of one task: its code, its options, and the JSON schemas of its models.

    It is the same under every name and at every place of a graph.
    """
    signature = task.signature
    schemas = schemas_of(*(parameter.model for parameter in signature.parameters), signature.output, signature.error)
    options: list[object] = [_retry(task.options.retry), task.options.timeout_s, task.options.tags]
    if task.options.executor is not None:
        options.append(task.options.executor)
    if task.options.cache_s is not None:
        options.append({"cache": repr(task.options.cache_s)})
    if task.options.queue is not None:
        options.append({"queue": task.options.queue})
    return _hash([code_of(task.function), options, schemas, task.reads, task.writes, task.whole])


def _retry(retry: Retry) -> list[object]:
    on = [kind.__qualname__ for kind in _classes(retry.on)] or code_of(retry.on)  # type: ignore[arg-type]  # no class: a predicate
    return [retry.attempts, retry.backoff, retry.delay, retry.max_delay, retry.jitter, on]


def _classes(on: object) -> list[type]:
    return [kind for kind in (on if isinstance(on, tuple) else (on,)) if isinstance(kind, type)]


def _hash(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
