"""The types that fields of random programs have: how each is written, a default for it, and what it nearly fits.

It does not know models or tasks. Which type fits which is taken from the run-time check, only to aim with: what a
program is worth is decided by the two checks that read it.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from cloaca.contract.assignability import assignable

# What the texts below need. A program has the lines that it uses, see ``imports_of`` and ``helpers_of``.
IMPORTS = """
import operator
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, ClassVar, Generic, Literal, NewType, Optional, TypeVar, Union
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, PositiveInt, PrivateAttr, SecretStr, computed_field
from returns.result import Result
from typing_extensions import NotRequired, TypedDict

from cloaca import Graph, Reduce, Retry, TaskContext, TaskFailure, Workflow
from cloaca import branch, each, sleep, subflow, task, wait_for
"""

T = 'T = TypeVar("T")'
ANIMAL = "class Animal(BaseModel):\n    name: str"
HELPERS: Mapping[str, tuple[str, ...]] = {
    "UserId": ('UserId = NewType("UserId", int)',),
    "Color": ('class Color(Enum):\n    RED = "red"\n    BLUE = "blue"',),
    "Kind": ('class Kind(str, Enum):\n    NEW = "new"\n    OLD = "old"',),
    "Animal": (ANIMAL,),
    "Dog": (ANIMAL, "class Dog(Animal):\n    age: int"),
    "Page": (T, "class Page(BaseModel, Generic[T]):\n    items: list[T]"),
    "Movie": ("class Movie(TypedDict):\n    year: int\n    title: NotRequired[str]",),
    "Letters": ('Letters = Literal["a", "b"]',),
}


@dataclass(frozen=True)
class FieldType:
    """A type as it is written in a program, and an expression for a value of it."""

    text: str
    value: str

    @property
    def optional(self) -> bool:
        return self.text.endswith("| None") or self.text.startswith("Optional")


TABLE = tuple(
    FieldType(text, value)
    for text, value in [
        ("int", "1"),
        ("float", "1.5"),
        ("bool", "True"),
        ("str", '"x"'),
        ("bytes", 'b"x"'),
        ("Decimal", "Decimal(1)"),
        ("date", "date(2026, 1, 1)"),
        ("datetime", "datetime(2026, 1, 1)"),
        ("timedelta", "timedelta(1)"),
        ("UUID", "uuid4()"),
        ("int | None", "None"),
        ("Optional[str]", "None"),
        ("Union[int, str]", "1"),
        ("float | str | None", "None"),
        ("Any", "1"),
        ("object", "1"),
        ("list[int]", "[1]"),
        ("list[bool]", "[True]"),
        ("list[str]", '["x"]'),
        ("list[Any]", "[1]"),
        ("set[int]", "{1}"),
        ("frozenset[bool]", "frozenset()"),
        ("frozenset[int]", "frozenset()"),
        ("dict[str, int]", '{"x": 1}'),
        ("dict[str, list[str]]", "{}"),
        ("Mapping[str, int]", "{}"),
        ("Mapping[str, float]", "{}"),
        ("Sequence[int]", "[1]"),
        ("Sequence[float]", "[1.5]"),
        ("Sequence[Animal]", "[]"),
        ("tuple[int, str]", '(1, "x")'),
        ("tuple[float, str]", '(1.5, "x")'),
        ("tuple[int, ...]", "(1,)"),
        ('Literal["a"]', '"a"'),
        ('Literal["a", "b"]', '"a"'),
        ("Letters", '"b"'),
        ("Literal[True, False]", "True"),
        ("Color", "Color.RED"),
        ("Kind", "Kind.NEW"),
        ("Animal", 'Animal(name="Rex")'),
        ("Dog", 'Dog(name="Rex", age=3)'),
        ("Animal | None", "None"),
        ("list[Dog]", "[]"),
        ("list[Animal]", "[]"),
        ("Page[int]", "Page[int](items=[])"),
        ("Page[str]", "Page[str](items=[])"),
        ("Page[Any]", "Page[Any](items=[])"),
        ("Movie", "Movie(year=1999)"),
        ("UserId", "UserId(1)"),
        ("Annotated[int, Field(gt=0)]", "1"),
        ('Annotated[str, "a note"]', '"x"'),
        ("PositiveInt", "1"),
        ("HttpUrl", 'HttpUrl("https://example.org")'),
    ]
)
PLAIN = TABLE[:4]  # drawn more often than the rest
INT = TABLE[0]
WORD = r"(?<![\w.\"])({})(?![\w\"])"


@cache
def namespace() -> Mapping[str, object]:
    """The names that the types are made of, in a module of their own."""
    module = types.ModuleType("types_of_programs")
    sys.modules[module.__name__] = module  # where pydantic looks names up
    blocks = dict.fromkeys(block for needed in HELPERS.values() for block in needed)
    code = "\n".join([IMPORTS, *blocks])
    exec(compile(code, module.__name__, "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


@cache
def annotation(text: str) -> object:
    """Return the type that ``text`` stands for."""
    made: object = eval(text, dict(namespace()))
    return made


@cache
def readable_as(provided: FieldType) -> tuple[FieldType, ...]:
    """The types as which a field of type ``provided`` may be read."""
    return tuple(other for other in TABLE if assignable(annotation(provided.text), annotation(other.text)))


@cache
def unreadable_as(provided: FieldType) -> tuple[FieldType, ...]:
    """The types as which it may not; those that would fit the other way round stand twice: they are near misses."""
    others = [other for other in TABLE if other not in readable_as(provided)]
    return (*others, *(other for other in others if provided in readable_as(other)))
