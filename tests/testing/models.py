"""Nineteen model families: what ``inputs`` draws of each is valid, survives the codec, and shrinks."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypeVar

import annotated_types
import pydantic
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, StringConstraints
from typing_extensions import TypedDict


class Color(enum.Enum):
    RED = "r"
    GREEN = "g"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Ints(BaseModel):
    a: int = Field(gt=0)
    b: int = Field(multiple_of=7, ge=100, lt=1000)
    c: Annotated[int, Field(lt=-5)]
    d: Annotated[int, Field(ge=3)] | None


class Decimals(BaseModel):
    a: Decimal = Field(max_digits=5, decimal_places=2, gt=0)
    b: Annotated[Decimal, Field(ge=0, le=1, decimal_places=3)]
    c: Decimal
    d: Annotated[Decimal, annotated_types.MultipleOf(Decimal("0.05")), Field(ge=0)]


class Floats(BaseModel):
    a: float = Field(gt=0.5, lt=0.75)
    b: float = Field(multiple_of=0.5)
    c: float
    d: bool


class Strings(BaseModel):
    a: str = Field(min_length=2, max_length=5)
    b: str = Field(pattern=r"^[A-Z]{2}\d+$")
    c: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    d: Annotated[str, StringConstraints(to_upper=True, max_length=3)]


class Times(BaseModel):
    a: dt.datetime
    b: pydantic.AwareDatetime
    c: pydantic.NaiveDatetime
    d: pydantic.PastDate
    e: pydantic.FutureDatetime
    f: dt.timedelta = Field(gt=dt.timedelta(0), le=dt.timedelta(days=1))
    g: dt.date = Field(ge=dt.date(2020, 1, 1))
    h: dt.time


class Ids(BaseModel):
    a: uuid.UUID
    b: pydantic.IPvAnyAddress
    c: pydantic.AnyUrl
    d: pydantic.HttpUrl
    e: Color
    f: Literal["x", 3]
    g: bytes
    h: pydantic.UUID4
    k: pydantic.UUID7
    i: pydantic.ByteSize
    j: Level


class Collections(BaseModel):
    a: list[int] = Field(min_length=1, max_length=3)
    b: set[str]
    c: dict[str, Ints]
    d: tuple[int, str]
    e: tuple[int, ...]
    f: frozenset[Color]
    g: Sequence[int]
    h: Mapping[str, float]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=0, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    bark: bool


class Discriminated(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    pets: list[Cat | Dog]


class Tree(BaseModel):
    value: int
    children: list[Tree] = []
    left: Tree | None = None


class Branch(BaseModel):
    value: int
    children: list[Branch]
    left: Branch | None


class Even(BaseModel):
    a: int
    b: str

    @pydantic.field_validator("a")
    @classmethod
    def even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("odd")
        return value


class Ordered(BaseModel):
    low: int = Field(ge=0, le=20)
    high: int = Field(ge=0, le=20)

    @pydantic.model_validator(mode="after")
    def in_order(self) -> Ordered:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class Aliased(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int = Field(alias="A")
    b: str = Field(validation_alias="bee", serialization_alias="bee", default="x")


T = TypeVar("T")


class Box(BaseModel, Generic[T]):
    value: T
    values: list[T]


class Roots(RootModel[list[int]]):
    pass


class Typed(TypedDict):
    a: int
    b: NotRequired[str]


class Point(NamedTuple):
    x: int
    y: float


@dataclasses.dataclass
class Data:
    a: int
    b: str = "x"


def by_three(value: int) -> int:
    if value % 3:
        raise ValueError("not by three")
    return value


class Structured(BaseModel):
    typed: Typed
    data: Data
    point: Point
    anything: Any
    box: Box[int]
    roots: Roots


class Checked(BaseModel):
    a: Annotated[int, AfterValidator(by_three)]
    b: pydantic.PositiveInt
    c: int | str | None
    d: float | None = None


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)
    a: int
    b: Decimal
    c: dt.date
    d: list[Color]
    e: tuple[int, str]
    f: set[int]


class Person(BaseModel):
    name: str = Field(min_length=1)


class Employee(Person):
    boss: Person | None = None
    team: list[Person] = Field(default_factory=list, max_length=2)


FAMILIES: list[type[BaseModel]] = [
    Ints, Decimals, Floats, Strings, Times, Ids, Collections, Discriminated, Tree, Branch, Even, Ordered, Aliased,
    Box[str], Roots, Structured, Checked, Strict, Employee,
]  # fmt: skip
