"""What an annotation demands of a value beside its type: bounds, lengths, patterns, wherever they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import annotated_types as at
from pydantic import StringConstraints
from pydantic.fields import FieldInfo

_NAMES = frozenset(
    {
        "gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern", "strip_whitespace", "to_lower",
        "to_upper", "max_digits", "decimal_places", "strict", "allow_inf_nan", "uuid_version",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a value must satisfy. ``checks``: something else looks at it, too, so that it has to be asked."""

    gt: Any = None
    ge: Any = None
    lt: Any = None
    le: Any = None
    multiple_of: Any = None
    min_length: int = 0
    max_length: int | None = None
    pattern: Any = None
    strip_whitespace: bool = False
    to_lower: bool = False
    to_upper: bool = False
    max_digits: int | None = None
    decimal_places: int | None = None
    strict: bool = False
    allow_inf_nan: bool = False
    zone: Any = field(default=None)
    uuid_version: int | None = None
    checks: bool = False


def constraints_of(metadata: Iterable[object]) -> Constraints:
    """Return what the metadata of an annotation says, the last word counting."""
    found: dict[str, Any] = {}
    for item in metadata:
        found.update(_read(item))
    return Constraints(**{name: value for name, value in found.items() if value is not None})


def _read(item: object) -> dict[str, Any]:
    match item:
        case at.Interval() | at.Len():
            return {name: value for part in item for name, value in _read(part).items()}
        case at.Gt() | at.Ge() | at.Lt() | at.Le() | at.MultipleOf() | at.MinLen() | at.MaxLen():
            return _named(item)
        case at.Timezone():
            return {"zone": item.tz}
        case StringConstraints():
            return _named(item)
        case FieldInfo():
            return {name: value for part in item.metadata for name, value in _read(part).items()}
    general = _named(item)
    return general or {"checks": _looks(item)}


def _named(item: object) -> dict[str, Any]:
    values = getattr(item, "__dict__", None) or {name: getattr(item, name, None) for name in _slots(item)}
    return {name: value for name, value in values.items() if name in _NAMES and value is not None}


def _slots(item: object) -> Iterator[str]:
    yield from (name for name in _NAMES if hasattr(item, name))


def _looks(item: object) -> bool | None:
    """Whether a piece of metadata is something that validates, in ways that only it knows."""
    return True if hasattr(item, "__get_pydantic_core_schema__") or isinstance(item, at.Predicate) else None
