"""Payloads: a model's JSON, and the proof that it reads back as the same value.

It knows pydantic and nothing of runs. A payload is checked before it is stored: that it is what was declared, that
it is not too large, and that reading it gives what was written, so that no run depends on a value that only existed in
memory. The same is what ``==`` says, of fields and of extra values; a NaN is the same as a NaN, private attributes are
no part of the data, and a subclass is stored as the model that was declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json

from cloaca.errors import CodecNeeded, PayloadTooLarge, UnstablePayload, WrongOutput
from cloaca.fidelity import is_certain
from cloaca.ports import SEALED
from cloaca.secrets import masked

MEBIBYTE = 1024 * 1024
# How far, and among how many, the one value is looked for that can't be written.
DEEPEST, MOST_CHILDREN = 20, 1000

CURE = "declare a type that JSON can carry, or give the model a serializer and a validator that agree"


@dataclass(frozen=True, slots=True)
class JsonCodec:
    """Models as JSON text, by field name, never by alias. ``limit`` is the largest payload, in bytes."""

    limit: int = MEBIBYTE

    def encode(self, model: type[BaseModel], value: object) -> str:
        """Return ``value`` as JSON.

        Raises:
            WrongOutput: it is no ``model``, or fails that model.
            UnstablePayload: it can't be written as JSON, or reads back as something else.
            PayloadTooLarge: it is larger than the limit.

        >>> class Order(BaseModel):
        ...     sku: str
        >>> JsonCodec().encode(Order, Order(sku="A-1"))
        '{"sku":"A-1"}'
        """
        if not isinstance(value, model):
            raise WrongOutput(f"expected {model.__name__}, but got {_described(value)}")
        try:
            raw = _dump(model, value)
        except Exception as error:
            raise _unwritable(model, value, error) from error
        if len(raw) > self.limit:
            raise PayloadTooLarge(_too_large(model, raw, self.limit))
        if not is_certain(model, value):
            back = _read_back(model, value, raw)
            if not _equal(back, value):
                _refuse_difference(model, value, back)
        return raw.decode()

    def decode(self, model: type[BaseModel], payload: str) -> BaseModel:
        """Return the model that ``payload`` says. Raises pydantic's ValidationError; CodecNeeded if it is encrypted."""
        try:
            return model.__pydantic_validator__.validate_json(payload, by_alias=False, by_name=True)  # type: ignore[no-any-return]  # pydantic-core's validators are not generic
        except ValidationError:
            if not payload.startswith(SEALED):
                raise
        raise CodecNeeded(f"{model.__name__} is encrypted, and there is no key for it here: give Runner(codec=...)")


# Writing


def _dump(model: type[BaseModel], value: BaseModel, include: Any = None) -> bytes:
    # Computed fields are left out, as they are no input. A value that does not fit its declared type only warns; what
    # reads it back finds it and says where.
    return model.__pydantic_serializer__.to_json(
        value, by_alias=False, round_trip=True, warnings=False, include=include
    )


def _unwritable(model: type[BaseModel], value: BaseModel, error: Exception) -> UnstablePayload:
    return UnstablePayload(_shown(f"{_culprit(model, value)} can't be written as JSON: {error}; {CURE}"))


def _culprit(model: type[BaseModel], value: BaseModel) -> str:
    """The path of the innermost value that is no JSON, found by writing it without its siblings."""
    keys: list[object] = []
    inner: object = value
    while len(keys) < DEEPEST and (found := _failing_child(model, value, keys, inner)) is not None:
        key, inner = found
        keys.append(key)
    return _path(model, keys)


def _failing_child(
    model: type[BaseModel], value: BaseModel, keys: list[object], inner: object
) -> tuple[object, object] | None:
    children = list(_children(inner))
    for key, child in children if len(children) <= MOST_CHILDREN else ():
        include: Any = {key}
        for outer in reversed(keys):
            include = {outer: include}
        try:
            from_json(_dump(model, value, include))
        except Exception:  # noqa: BLE001 - a user's serializer may raise anything; which one is what is asked here
            return key, child
    return None


def _children(value: object) -> Iterator[tuple[object, object]]:
    if isinstance(value, BaseModel):
        yield from value.__dict__.items()
    elif isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)


def _too_large(model: type[BaseModel], raw: bytes, limit: int) -> str:
    keys, size = _largest(raw)
    return (
        f"{model.__name__} takes {len(raw):,} bytes as JSON, more than payload_limit={limit:,}; its largest part is "
        f"{_path(model, keys)} with {size:,} bytes; store the bulk elsewhere and pass a reference, "
        "or raise payload_limit"
    )


def _largest(raw: bytes) -> tuple[list[object], int]:
    """The path to the largest field, and on to whatever makes up most of it."""
    keys: list[object] = []
    size = len(raw)
    try:
        inner = from_json(raw)
    except ValueError:  # a number of thousands of digits
        inner = None
    while isinstance(inner, dict | list) and inner:
        parts = inner.items() if isinstance(inner, dict) else enumerate(inner)
        part, key, child = max(
            ((len(to_json(child, inf_nan_mode="constants")), key, child) for key, child in parts),
            key=lambda found: found[0],
        )
        if keys and part < size / 2:
            break
        keys.append(key)
        inner, size = child, part
    return keys, size


# Reading back


def _read_back(model: type[BaseModel], value: BaseModel, raw: bytes) -> BaseModel:
    try:
        return model.__pydantic_validator__.validate_json(raw, by_alias=False, by_name=True)  # type: ignore[no-any-return]  # as above
    except ValidationError as error:
        raise _rejected(model, value, error) from error
    except Exception as error:
        text = f"{model.__name__} can't be read back from its JSON: {type(error).__name__}: {error}; {CURE}"
        raise UnstablePayload(_shown(text)) from error


def _rejected(model: type[BaseModel], value: BaseModel, error: ValidationError) -> WrongOutput | UnstablePayload:
    """The JSON fails the model: either the value itself is wrong, or only its JSON is."""
    details = error.errors(include_url=False)[0]
    if details["type"] == "json_invalid":
        return UnstablePayload(
            _shown(f"{_culprit(model, value)} can't be read back from JSON: {details['msg']}; {CURE}")
        )
    path = _path(model, details["loc"])
    if any(_fails_itself(inner) for inner in _models_at(value, details["loc"])):
        return WrongOutput(_shown(f"{path} fails its own model: {details['msg']}"))
    text = f"{path} does not survive a round trip through JSON: {details['msg']}"
    return UnstablePayload(_shown(f"{text} (JSON has {masked(repr(details['input'])):.80}); {CURE}"))


def _models_at(value: object, keys: Sequence[object]) -> Iterator[BaseModel]:
    """The models on a path, as far as it can be followed: the location of an error also names members of unions."""
    for key in (None, *keys):
        if key is not None:
            value = dict(_children(value)).get(key, value)
        if isinstance(value, BaseModel):
            yield value


def _fails_itself(value: BaseModel) -> bool:
    state = {**value.__dict__, **(value.__pydantic_extra__ or {})}
    try:
        type(value).__pydantic_validator__.validate_python(state, by_alias=False, by_name=True)
    except Exception:  # noqa: BLE001 - a user's validator may raise anything; it only tells the two cases apart
        return True
    return False


# Comparing


def _refuse_difference(model: type[BaseModel], value: BaseModel, back: BaseModel) -> None:
    names = type(back).model_fields
    found = next(_differences(_state(value, names), _state(back, names), model.__name__), None)
    if found is not None:
        raise UnstablePayload(_shown(f"{found}, so it does not survive a round trip through JSON; {CURE}"))


def _differences(one: object, other: object, path: str) -> Iterator[str]:
    """Yield what really differs in two values that compare unequal, and where."""
    if one is other or _equal(one, other):
        return
    if isinstance(one, BaseModel) and isinstance(other, BaseModel):
        yield from _model_differences(one, other, path)
    elif isinstance(one, Mapping) and isinstance(other, Mapping) and one.keys() == other.keys():
        for key in one:
            yield from _differences(one[key], other[key], _step(path, key))
    elif isinstance(one, Sequence) and type(one) is type(other) and not isinstance(one, str | bytes):
        yield from _item_differences(one, other, path)
    elif is_dataclass(one) and type(one) is type(other):
        for item in fields(one):
            yield from _differences(getattr(one, item.name), getattr(other, item.name), _step(path, item.name))
    else:
        yield f"{path} was {_repr(one)} and reads back as {_repr(other)}"


def _model_differences(one: BaseModel, other: BaseModel, path: str) -> Iterator[str]:
    known, lost = type(other).model_fields, type(one).model_fields.keys() - type(other).model_fields.keys()
    if lost or not (isinstance(one, type(other)) or isinstance(other, type(one))):
        fate = f" without {', '.join(sorted(lost))}" if lost else ""
        yield f"{path} was of class {type(one).__name__} and reads back as {type(other).__name__}{fate}"
    else:
        yield from _differences(_state(one, known), _state(other, known), path)


def _item_differences(one: Sequence[object], other: Any, path: str) -> Iterator[str]:
    if len(one) != len(other):
        yield f"{path} had {len(one)} items and reads back with {len(other)}"
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        yield from _differences(left, right, _step(path, index))


def _state(model: BaseModel, names: Mapping[str, object]) -> dict[str, object]:
    """The values of the fields ``names`` that are there, and the extra ones."""
    found = {name: model.__dict__[name] for name in names if name in model.__dict__}
    return {**found, **(model.__pydantic_extra__ or {})}


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are the same. Python finds that no NaN and no time in the hour after summer is."""
    try:
        if one == other or (type(one) is type(other) and one != one and other != other):  # noqa: PLR0124 - a NaN
            return True
        if isinstance(one, datetime) and isinstance(other, datetime) and one.tzinfo and other.tzinfo:
            return one.astimezone(UTC) == other.astimezone(UTC)
    except Exception:  # noqa: BLE001 - a user's __eq__ may raise anything; then the two count as different
        pass
    return False


# Words


def _path(model: type[BaseModel], keys: Sequence[object]) -> str:
    path = model.__name__
    for key in keys:
        path = _step(path, key)
    return path


def _step(path: str, key: object) -> str:
    return f"{path}.{key}" if isinstance(key, str) and key.isidentifier() else f"{path}[{_repr(key)}]"


def _described(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__}: {_repr(value)}"


def _repr(value: object) -> str:
    try:
        return f"{masked(repr(value)):.80}"
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything
        return f"a {type(value).__name__}"


def _shown(text: str) -> str:
    """Text that can be printed and stored, whatever a value had in it."""
    return text.encode("utf-8", "backslashreplace").decode()
