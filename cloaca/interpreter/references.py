"""The secrets that a payload names: what a child process may be asked for.

It knows models and ``Secret``; it reveals nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache

from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from cloaca.secrets import FORMAT, Secret


def secrets_in(model: type[BaseModel], payload: str) -> Iterator[Secret]:
    """Yield the secrets in a payload; it is read only if ``model`` may have some. Raises pydantic's ValidationError."""
    if _may_have(model):
        yield from _within(model.__pydantic_validator__.validate_json(payload, by_alias=False, by_name=True))


@lru_cache(maxsize=1024)
def _may_have(model: type[BaseModel]) -> bool:
    """Whether a model can hold a secret; one of which no JSON schema can be made may."""
    try:
        return FORMAT in json.dumps(model.model_json_schema(mode="serialization"), default=str)
    except PydanticUserError:
        return True


def _within(value: object) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, BaseModel):
        yield from _within({**value.__dict__, **(value.__pydantic_extra__ or {})})
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _within(key)
            yield from _within(inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _within(inner)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _within(vars(value))
