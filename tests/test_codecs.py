"""Payloads: what comes back as it was, and what is refused, with the path of the field."""

from __future__ import annotations

import collections
import enum
import math
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Json,
    PrivateAttr,
    SerializeAsAny,
    ValidationError,
    computed_field,
    create_model,
    field_serializer,
    field_validator,
    model_validator,
)

from cloaca.codecs import JsonCodec
from cloaca.errors import PayloadError, PayloadTooLarge, UnstablePayload, WrongOutput

T = TypeVar("T")

BERLIN = ZoneInfo("Europe/Berlin")
CODEC = JsonCodec(10_000)


def holding(type: object) -> type[BaseModel]:
    """A model with one field, ``x``."""
    fields: dict[str, Any] = {"x": (type, ...)}
    return create_model("Holder", **fields)


def unchecked(model: type[BaseModel], **values: Any) -> BaseModel:
    """A model with whatever values."""
    return model.model_construct(**values)


def back(model: type[BaseModel], value: BaseModel) -> Any:
    """What a value comes back as."""
    return CODEC.decode(model, CODEC.encode(model, value))


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Point(NamedTuple):
    x: int
    y: float


@dataclass
class Pair:
    left: int
    right: float


class Animal(BaseModel):
    name: str


class Dog(Animal):
    barks: int = 1


class Cat(Animal):
    def purr(self) -> str:
        return self.name


class Other(BaseModel):
    name: str


class Circle(BaseModel):
    kind: Literal["circle"] = "circle"
    radius: float


class Square(BaseModel):
    kind: Literal["square"] = "square"
    side: float


class Page(BaseModel, Generic[T]):
    items: list[T]


class Constants(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="constants")
    x: Any


# What comes back as it was

SAME: dict[str, tuple[object, object]] = {
    "NUL": (str, "a\0b"),
    "odd text": (str, "ä\u0301\u2028\U0010ffff\ufeff'\"\\"),
    "huge integer": (int, -(10**4000)),
    "float": (float, 0.1 + 0.2),
    "smallest float": (float, 5e-324),
    "bytes": (bytes, "grün".encode()),
    "decimal": (Decimal, Decimal("1.10")),
    "long decimal": (Decimal, Decimal("1E+400")),
    "naive datetime": (datetime, datetime(2026, 1, 1, 0, 0, 0, 1)),
    "datetime with zone": (datetime, datetime(2026, 7, 1, tzinfo=BERLIN)),
    "datetime with offset": (datetime, datetime(2026, 7, 1, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))),
    "hour after summer": (datetime, datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN)),
    "hours after summer": (dict[str, list[datetime]], {"a": [datetime(2026, 10, 25, 2, 30, fold=0, tzinfo=BERLIN)]}),
    "last datetime": (datetime, datetime.max),
    "time": (time, time(1, 2, 3, 4, tzinfo=UTC)),
    "timedelta": (timedelta, timedelta(days=-3, microseconds=1)),
    "set": (set[int], {3, 1, 2}),
    "frozenset": (frozenset[str], frozenset("abc")),
    "tuple": (tuple[int, str], (1, "a")),
    "deque": (collections.deque[int], collections.deque([1, 2])),
    "nested": (dict[int, list[tuple[float, set[date]]]], {1: [(1.5, {date(2026, 1, 1)})]}),
    "enum": (Colour, Colour.RED),
    "enum of numbers": (Level, Level.LOW),
    "literal": (Literal["a", 1], 1),
    "union": (int | str, "1"),
    "union of dates": (datetime | date, date(2026, 1, 1)),
    "discriminated": (Circle | Square, Square(side=2)),
    "named tuple": (Point, Point(1, 2.0)),
    "dataclass": (Pair, Pair(1, 2.0)),
    "generic": (Page[int], Page[int](items=[1])),
    "path": (Path, Path("a/b")),
    "pattern": (re.Pattern[str], re.compile("a+")),
    "uuid": (uuid.UUID, uuid.UUID(int=7)),
    "any JSON": (Any, {"a": [1, 2.5, None, True, {"b": ""}]}),
    "empty key": (dict[str, int], {"": 1, "a.b": 2}),
    "model": (list[Animal], [Animal(name="a")]),
    "subclass without fields": (Animal, Cat(name="a")),
}


@pytest.mark.parametrize("case", SAME)
def test_a_value_comes_back_as_it_was(case: str) -> None:
    annotation, value = SAME[case]
    model = holding(annotation)
    found = back(model, model(x=value)).x
    if isinstance(value, datetime) and value.tzinfo is not None:
        assert found.astimezone(UTC) == value.astimezone(UTC)
    elif case == "subclass without fields":
        assert found == Animal(name="a")
    elif case != "hours after summer":
        assert found == value
        assert type(found) is type(value)


def test_a_nan_comes_back_where_the_model_says_how() -> None:
    for value in (math.nan, math.inf, [math.nan, (-math.inf,)][:1], {"a": math.nan}):
        assert repr(back(Constants, Constants(x=value))) == repr(Constants(x=value))


def test_names_are_used_and_never_aliases() -> None:
    class Aliased(BaseModel):
        model_config = ConfigDict(serialize_by_alias=True, extra="forbid")
        n: int = Field(validation_alias="number", serialization_alias="out")
        m: int = Field(alias="M")

    value = Aliased(number=1, M=2)
    assert CODEC.encode(Aliased, value) == '{"n":1,"m":2}'
    assert back(Aliased, value) == value


def test_a_subclass_is_stored_as_what_was_declared() -> None:
    assert CODEC.encode(Animal, Dog(name="a")) == '{"name":"a"}'


def test_extra_values_are_stored_if_they_are_allowed() -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")
        n: int

    class Wider(Open):
        more: int = 3

    value = Open.model_validate({"n": 1, "x": [1, {"y": None}]})
    assert back(Open, value) == value
    assert CODEC.encode(Open, Wider.model_validate({"n": 1, "x": 2})) == '{"n":1,"x":2}'
    for lost in ((1, 2), math.nan, date(2026, 1, 1)):
        with pytest.raises(UnstablePayload, match=r"^Open\.x was"):
            CODEC.encode(Open, Open.model_validate({"n": 1, "x": lost}))


@pytest.mark.parametrize("extra", ["allow", "forbid", "ignore"])
def test_computed_fields_are_computed_anew(extra: Literal["allow", "forbid", "ignore"]) -> None:
    class Computed(BaseModel):
        model_config = ConfigDict(extra=extra)
        n: int

        @computed_field  # type: ignore[prop-decorator]  # as pydantic's documentation has it
        @property
        def double(self) -> int:
            return self.n * 2

    assert CODEC.encode(Computed, Computed(n=1)) == '{"n":1}'
    assert back(Computed, Computed(n=1)).double == 2


def test_json_in_json_comes_back() -> None:
    class Wrapped(BaseModel):
        x: Json[list[int]]

    value = Wrapped.model_validate({"x": "[1, 2]"})
    assert back(Wrapped, value) == value


def test_strict_and_frozen_models_come_back() -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(strict=True, frozen=True)
        at: datetime
        many: tuple[int, ...]
        some: set[str]
        raw: bytes
        exact: Decimal
        id: uuid.UUID
        colour: Colour

    value = Strict(
        at=datetime(2026, 1, 1), many=(1,), some={"a"}, raw=b"x", exact=Decimal("1.0"), id=uuid.UUID(int=1),
        colour=Colour.RED,
    )  # fmt: skip
    assert back(Strict, value) == value


def test_private_attributes_are_no_part_of_the_data() -> None:
    class Private(BaseModel):
        x: int
        _cache: int = PrivateAttr(0)

    value = Private(x=1)
    value._cache = 5
    assert back(Private, value) == Private(x=1)


def test_a_validator_may_change_a_value_if_it_leaves_its_own_result_alone() -> None:
    class Tidy(BaseModel):
        x: str

        @field_validator("x")
        @classmethod
        def tidy(cls, value: str) -> str:
            return value.strip().lower()

    assert back(Tidy, Tidy(x=" A ")) == Tidy(x="a")


def test_a_serializer_and_a_validator_that_agree_are_trusted() -> None:
    class Cents(BaseModel):
        x: int

        @field_serializer("x")
        def dump(self, value: int) -> str:
            return f"{value} ct"

        @field_validator("x", mode="before")
        @classmethod
        def load(cls, value: object) -> object:
            return value.removesuffix(" ct") if isinstance(value, str) else value

    assert CODEC.encode(Cents, Cents(x=5)) == '{"x":"5 ct"}'
    assert back(Cents, Cents(x=5)) == Cents(x=5)


def test_base64_comes_back_if_both_ways_are_said() -> None:
    class Both(BaseModel):
        model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
        x: bytes

    assert back(Both, Both(x=b"\xff\x00")) == Both(x=b"\xff\x00")


def test_a_deprecated_field_warns_nobody() -> None:
    class Old(BaseModel):
        x: int = Field(1, deprecated=True)
        y: Any = None

    assert back(Old, Old()) == Old()
    with pytest.raises(UnstablePayload, match=r"^Old\.y"):
        CODEC.encode(Old, Old(y=(1,)))


# What is refused


class PlusOne(BaseModel):
    x: int

    @field_validator("x")
    @classmethod
    def change(cls, value: int) -> int:
        return value + 1


class Shown(BaseModel):
    x: int

    @field_serializer("x")
    def dump(self, value: int) -> str:
        return f"<{value}>"


class Drifting(BaseModel):
    x: int

    @field_serializer("x")
    def dump(self, value: int) -> int:
        return value + 1


class Raising(BaseModel):
    x: int

    @field_serializer("x")
    def dump(self, value: int) -> int:
        raise KeyError(value)


class Moody(BaseModel):
    x: int

    @model_validator(mode="after")
    def judge(self) -> Moody:
        if self.x == 13:
            raise KeyError("odd")
        return self


class OneWay(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64")
    x: bytes


class Tree(BaseModel):
    child: Tree | None = None


def ring() -> Tree:
    tree = Tree()
    tree.child = tree
    return tree


class Mute:
    def __repr__(self) -> str:
        raise ValueError

    def __eq__(self, other: object) -> bool:
        raise ValueError

    __hash__ = None  # type: ignore[assignment]  # as Python does it


UNSTABLE: dict[str, tuple[object, object, str]] = {
    "NaN": (float, math.nan, ".x does not survive"),
    "infinity": (float, -math.inf, ".x does not survive"),
    "NaN or None": (float | None, math.nan, ".x was nan and reads back as None"),
    "NaN inside": (dict[str, list[Pair]], {"a b": [Pair(1, math.nan)]}, ".x['a b'][0].right"),
    "lone surrogate": (str, "a\ud800", ".x can't be written"),
    "lone surrogate inside": (dict[str, list[Animal]], {"k": [Animal(name="a"), Animal(name="\udc80")]}, ".x.k[1]"),
    "lone surrogate as key": (dict[str, int], {"\udc80": 1}, ".x was"),
    "integer too long to read": (int, 10**5000, ".x can't be read back"),
    "no text": (bytes, b"\xff", ".x can't be written"),
    "tuple as any": (Any, {"a": (1, 2)}, ".x.a was (1, 2) and reads back as [1, 2]"),
    "date as any": (Any, date(2026, 1, 1), ".x was datetime.date(2026, 1, 1)"),
    "number as key": (Any, {1: 2}, ".x was {1: 2}"),
    "object as any": (Any, Mute(), ".x can't be written"),
    "text like a uuid": (uuid.UUID | str, str(uuid.UUID(int=1)), ".x was '00000000"),
    "wider model": (list[Animal], [Dog(name="a")], ".x[0] was of class Dog and reads back as Animal without barks"),
    "wider model as any": (SerializeAsAny[Animal], Dog(name="b"), ".x was of class Dog"),
    "endless": (Tree, ring(), ".x.child.child"),
    "validator that changes again": (PlusOne, PlusOne(x=1), ".x.x was 2 and reads back as 3"),
    "serializer alone": (list[Shown], [Shown(x=1)], ".x[0].x does not survive"),
    "serializer that drifts": (Drifting, Drifting(x=1), ".x.x was 1 and reads back as 2"),
    "serializer that raises": (list[Raising], [Raising(x=1)], ".x[0].x can't be written"),
    "base64 one way": (OneWay, OneWay(x=b"\xff\x00a"), ".x.x was b"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSTABLE)
def test_what_json_can_not_carry_is_refused_with_its_path(case: str) -> None:
    annotation, value, words = UNSTABLE[case]
    model = holding(annotation)
    with pytest.raises(UnstablePayload) as refused:
        CODEC.encode(model, model(x=value))
    assert f"Holder{words}" in str(refused.value)
    assert "give the model a serializer and a validator that agree" in str(refused.value)
    str(refused.value).encode()


WRONG: dict[str, tuple[object, object, str]] = {
    "another type": (int, "many", ".x fails its own model"),
    "text of a number": (int, "5", ".x was '5' and reads back as 5"),
    "a fraction": (int, 5.5, ".x fails its own model"),
    "a dict for a model": (Animal, {"name": "a"}, ".x was {'name': 'a'}"),
    "another model": (Animal, Other(name="a"), ".x was of class Other and reads back as Animal"),
    "a tuple for a list": (list[int], (1, 2), ".x was (1, 2) and reads back as [1, 2]"),
    "a list that is too long": (tuple[int, int], (1, 2, 3), ".x fails its own model"),
    "nothing": (str, None, ".x fails its own model"),
    "inside": (list[Animal], [unchecked(Animal, name=5)], ".x[0].name fails its own model"),
    "absent inside": (Animal, unchecked(Animal), ".x.name fails its own model: Field required"),
    "a member of a union": (Circle | Square, unchecked(Square, side="a"), "fails its own model"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_was_put_into_a_model_unchecked_is_refused(case: str) -> None:
    annotation, value, words = WRONG[case]
    model = holding(annotation)
    with pytest.raises((WrongOutput, UnstablePayload)) as refused:
        CODEC.encode(model, model.model_construct(x=value))
    assert words in str(refused.value)
    assert isinstance(refused.value, WrongOutput) == ("fails its own model" in words)
    assigned = model.model_construct(x=None)
    assigned.x = value  # type: ignore[attr-defined]  # a model made by create_model
    with pytest.raises(type(refused.value)):
        CODEC.encode(model, assigned)


def test_a_model_that_lacks_a_field_is_refused() -> None:
    with pytest.raises(WrongOutput, match=r"^Animal\.name fails its own model: Field required"):
        CODEC.encode(Animal, unchecked(Animal))
    dog = Dog(name="a")
    del dog.barks
    with pytest.raises(UnstablePayload, match=r"^Dog "):
        CODEC.encode(Dog, dog)


def test_a_number_that_fits_is_no_other_value() -> None:
    model = holding(float)
    assert CODEC.encode(model, model.model_construct(x=5)) == '{"x":5.0}'


@pytest.mark.parametrize("value", [None, {"name": "a"}, Other(name="a"), Animal, "a", Mute(), [Animal(name="a")]])
def test_what_is_not_the_model_is_refused(value: object) -> None:
    with pytest.raises(WrongOutput, match=r"^expected Animal, but got"):
        CODEC.encode(Animal, value)


def test_a_validator_that_raises_anything_is_no_crash() -> None:
    with pytest.raises(UnstablePayload, match="KeyError: 'odd'"):
        CODEC.encode(Moody, Moody.model_construct(x=13))


def test_an_equality_that_raises_compares_the_fields() -> None:
    class Touchy(BaseModel):
        x: int

        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        __hash__ = None  # type: ignore[assignment]  # as Python does it

    assert CODEC.encode(Touchy, Touchy(x=1)) == '{"x":1}'


# What is too large


class Book(BaseModel):
    title: str
    pages: list[Animal]
    index: dict[str, int] = {}


def test_the_limit_is_in_bytes_and_inclusive() -> None:
    value = Animal(name="ü" * 10)
    size = len(CODEC.encode(Animal, value).encode())
    assert JsonCodec(size).encode(Animal, value)
    with pytest.raises(PayloadTooLarge):
        JsonCodec(size - 1).encode(Animal, value)


@pytest.mark.parametrize(
    ("book", "largest"),
    [
        (Book(title="x" * 600, pages=[Animal(name="y" * 300)]), "Book.title with 602 bytes"),
        (Book(title="x" * 10, pages=[Animal(name="y"), Animal(name="z" * 800)]), "Book.pages[1].name with 802 bytes"),
        (Book(title="x" * 400, pages=[Animal(name="y")] * 50), "Book.pages with 651 bytes"),
        (Book(title="", pages=[], index={str(n): n for n in range(200)}), "Book.index with"),
    ],
)
def test_what_is_too_large_is_named_with_its_largest_part(book: Book, largest: str) -> None:
    with pytest.raises(PayloadTooLarge) as refused:
        JsonCodec(500).encode(Book, book)
    assert largest in str(refused.value)
    assert "more than payload_limit=500" in str(refused.value)


def test_a_number_that_is_too_long_is_too_large() -> None:
    model = holding(int)
    with pytest.raises(PayloadTooLarge, match="Holder takes 5,007 bytes"):
        JsonCodec(500).encode(model, model(x=10**5000))


# Reading


def test_a_payload_that_fails_its_model_is_a_validation_error() -> None:
    for payload in ("{}", "null", '{"name":5}', "{", ""):
        with pytest.raises(ValidationError):
            CODEC.decode(Animal, payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
PYTHON = st.recursive(
    JSON | st.floats() | st.binary() | st.dates() | st.decimals() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.integers(), inner, max_size=2),
    max_leaves=6,
)


@given(JSON)
def test_whatever_is_json_comes_back(value: object) -> None:
    assert back(Constants, Constants(x=value)).x == value


@given(PYTHON)
def test_whatever_comes_back_is_what_it_was_or_is_refused_with_its_path(value: object) -> None:
    try:
        found = repr(back(Constants, Constants(x=value)))
    except PayloadError as refused:
        path, expected = str(refused), "Constants.x"
        found = path[: len(expected)]
    else:
        expected = repr(Constants(x=value))
    assert found == expected
