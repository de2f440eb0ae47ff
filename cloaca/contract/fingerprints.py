"""Fingerprints: hashes of a task's code and contract, and of a whole workflow, equal wherever the same code runs.

It knows plans, pydantic schemas and the text that ``sources`` makes of code. What it does not know is which runs are
affected by a change: that is decided where runs are stored.
"""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import sha256
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from cloaca.algebra.retries import Retry
from cloaca.algebra.tasks import Task
from cloaca.algebra.waits import Wait
from cloaca.contract.plans import Plan
from cloaca.contract.sources import code_of

AnyTask = Task[Any, Any, Any, Any, Any]


def version(plan: Plan) -> str:
    """Return the version of a workflow: 16 hexadecimal digits."""
    known: dict[object, str] = {}  # many nodes may be one task under several names
    answer = plan.answer.argument.model if plan.answer.argument else None
    return _hash([plan.spec, *_code(plan, known), _schemas(plan.input, answer)])


def _code(plan: Plan, known: dict[object, str]) -> list[object]:
    """The code of a plan's tasks and conditions, and the rows of its other nodes; of a fan-out what is inside it."""
    tasks = {node.name: _known(node.body, known) for node in plan.nodes if node.body is not None}
    conditions = {node.name: code_of(node.predicate) for node in plan.nodes if node.predicate is not None}
    rows = {node.name: _schemas(node.output) for node in plan.nodes if node.body is None and node.fan is None}
    fans = {name: [node.fan.limit, *_code(node.fan.plan, known)] for name, node in plan.fans.items() if node.fan}
    waits = {node.name: _wait(node.wait) for node in plan.nodes if node.wait is not None}
    return [tasks, conditions, rows, *([fans] if fans else []), *([waits] if waits else [])]


def _wait(node: Wait[Any, Any]) -> list[object]:
    """How long a node waits, and where its rows are. What a child workflow does is its own version's business."""
    return [node.seconds, node.reads, node.writes, node.whole, _schemas(node.input)]


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
    schemas = _schemas(*(parameter.model for parameter in signature.parameters), signature.output, signature.error)
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


class _Schema(GenerateJsonSchema):
    """JSON schemas of every model: what JSON schema has no word for goes by its kind, and nothing warns."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - as its base class has it

    def handle_invalid_for_json_schema(self, schema: core_schema.CoreSchema, error_info: str) -> JsonSchemaValue:
        return {"kind": schema["type"]}


def _schemas(*models: type[BaseModel] | None) -> list[object]:
    return [_schema(model) if model else None for model in models]


@lru_cache(maxsize=4096)
def _schema(model: type[BaseModel]) -> object:
    return _undescribed(model.model_json_schema(by_alias=False, schema_generator=_Schema))


def _undescribed(schema: object) -> object:
    """Leave out titles and descriptions, which come from names and docstrings."""
    if isinstance(schema, list):
        return [_undescribed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    words = {"title", "description", "examples"}
    return {
        key: {name: _undescribed(item) for name, item in value.items()}
        if key in ("properties", "$defs", "patternProperties") and isinstance(value, dict)
        else _undescribed(value)
        for key, value in schema.items()
        if key not in words
    }


def _hash(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
