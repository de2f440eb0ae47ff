"""Fidelity: of which values it is certain, without trying, that their JSON reads back as the same value.

It knows pydantic's schemas and nothing of payloads. The certain case is a model of plain fields, ``int``, ``float``,
``bool`` and ``str`` without any constraint, validator, serializer or configuration, that has exactly such values.
Whatever is not listed here is uncertain, and then tried; so what pydantic learns to do later is uncertain, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import isfinite
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import SchemaSerializer, SchemaValidator

# What a schema may say; anything else may change what is written or read.
MODEL_KEYS: Final = frozenset({"type", "cls", "schema", "config", "custom_init", "root_model", "metadata", "ref"})
FIELDS_KEYS: Final = frozenset({"type", "fields", "model_name", "computed_fields"})
FIELD_KEYS: Final = frozenset({"type", "schema", "metadata"})
DEFAULT_KEYS: Final = frozenset({"type", "schema", "default", "default_factory", "default_factory_takes_data"})
LARGEST: Final = 2**63 - 1  # JSON has integers of any length, but not every reader does

Fields = tuple[tuple[str, type], ...]


def is_certain(model: type[BaseModel], value: BaseModel) -> bool:
    """Whether ``value``, written as JSON by ``model``, is sure to read back as what is equal to it.

    That it can be written is not said: text may have lone surrogates.

    >>> class Point(BaseModel):
    ...     x: int
    >>> is_certain(Point, Point(x=1)), is_certain(Point, Point.model_construct(x="1"))
    (True, False)
    """
    fields = _plain_fields(model, model.__pydantic_validator__) if type(value) is model else None
    if fields is None or value.__pydantic_extra__ is not None:
        return False
    found: dict[str, Any] = value.__dict__
    if len(found) != len(fields):
        return False
    for name, kind in fields:
        if type(found.get(name)) is not kind:
            return False
        if kind is int and not -LARGEST <= found[name] <= LARGEST:
            return False
        if kind is float and not isfinite(found[name]):
            return False
    return True


@lru_cache(maxsize=1024)
def _plain_fields(model: type[BaseModel], validator: object) -> Fields | None:
    """The fields of a model and their types, None if it is not plain. A rebuilt model has another validator."""
    if type(validator) is not SchemaValidator or type(model.__pydantic_serializer__) is not SchemaSerializer:
        return None  # a plugin is in between, or the model is not complete
    if model.__eq__ is not BaseModel.__eq__ or model.__getattribute__ is not object.__getattribute__:
        return None
    schema: Mapping[str, Any] = model.__pydantic_core_schema__
    if schema["type"] != "model" or schema["cls"] is not model or not schema.keys() <= MODEL_KEYS:
        return None
    if schema.get("custom_init") or schema.get("root_model") or not schema.get("config", {}).keys() <= {"title"}:
        return None
    inner = schema["schema"]
    if inner["type"] != "model-fields" or not inner.keys() <= FIELDS_KEYS or inner.get("computed_fields"):
        return None
    kinds = {name: _kind(field) for name, field in inner["fields"].items()}
    found = [(name, kind) for name, kind in kinds.items() if kind is not None]
    return tuple(found) if len(found) == len(kinds) else None


KINDS: Final[Mapping[str, type]] = {"int": int, "float": float, "bool": bool, "str": str}


def _kind(field: Mapping[str, Any]) -> type | None:
    """The one type that a field's values have, None if it is not plain. A default does not matter: all is written."""
    if field["type"] != "model-field" or not field.keys() <= FIELD_KEYS:
        return None
    schema = field["schema"]
    if schema["type"] == "default" and schema.keys() <= DEFAULT_KEYS:
        schema = schema["schema"]
    return KINDS.get(schema["type"]) if schema.keys() == {"type"} else None
