"""JSON schemas of models, as far as they say what a value may be: without titles, descriptions and examples.

It knows pydantic, not tasks. Fingerprints are made of whole models' schemas, stored plans of their fields'.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from cloaca.algebra.models import row_of
from cloaca.contract.notation import show


class FieldType(NamedTuple):
    """What a field may hold: a hash of its JSON schema, and its type as messages name it."""

    id: str
    shown: str


class _Schema(GenerateJsonSchema):
    """JSON schemas of every model: what JSON schema has no word for goes by its kind, and nothing warns."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - as its base class has it

    def handle_invalid_for_json_schema(self, schema: core_schema.CoreSchema, error_info: str) -> JsonSchemaValue:
        return {"kind": schema["type"]}


def schemas_of(*models: type[BaseModel] | None) -> list[object]:
    """Return the schemas of models, None for None."""
    return [schema_of(model) if model else None for model in models]


@lru_cache(maxsize=4096)
def schema_of(model: type[BaseModel]) -> Any:
    """Return the schema of a model as JSON values, by its fields' names; they are shared, so don't change them."""
    return _undescribed(model.model_json_schema(by_alias=False, schema_generator=_Schema))


@lru_cache(maxsize=4096)
def types_of(model: type[BaseModel]) -> Mapping[str, FieldType]:
    """Return what each field of a model's row may hold. A default does not count: it says nothing about a value."""
    schema = schema_of(model)
    properties, definitions = _fields(schema), schema.get("$defs", {})
    return {
        name: FieldType(_id(properties.get(name, show(field.type)), definitions), show(field.type))
        for name, field in row_of(model).items()
    }


def type_of(annotation: Any) -> FieldType:
    """Return what a value of an annotation may be."""
    schema = _undescribed(TypeAdapter(annotation).json_schema(by_alias=False, schema_generator=_Schema))
    return FieldType(_id(schema, schema.get("$defs", {})), show(annotation))


def _fields(schema: Any) -> Mapping[str, Any]:
    """The schemas of the fields. A model that refers to itself is a definition of its own."""
    if "$ref" in schema:
        schema = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema.get("properties", {})  # type: ignore[no-any-return]  # JSON


def _id(schema: Any, definitions: Mapping[str, Any]) -> str:
    if isinstance(schema, dict):
        schema = {key: value for key, value in schema.items() if key not in ("default", "$defs")}
    needed: dict[str, Any] = {}
    stack = list(_references(schema))
    while stack:
        name = stack.pop()
        if name in definitions and name not in needed:
            needed[name] = definitions[name]
            stack += _references(needed[name])
    return sha256(json.dumps([schema, needed], sort_keys=True).encode()).hexdigest()[:12]


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference.rpartition("/")[2]
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _undescribed(schema: Any) -> Any:
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
