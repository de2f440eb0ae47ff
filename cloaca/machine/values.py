"""How the machine's commands and events are made: as immutable values that cost little.

A frozen dataclass sets each field through ``object.__setattr__``, and two commands and two events are made for each
attempt. So that nobody changes a value is checked before it runs, by type checkers, and not again while it runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from typing_extensions import dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(kind: type[T]) -> type[T]:
    """Make a class a dataclass with slots, equality and a hash, which type checkers take for frozen."""
    return dataclass(slots=True, unsafe_hash=True)(kind)
