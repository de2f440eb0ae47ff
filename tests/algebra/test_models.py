"""Rows and problems of models: every claim about what JSON carries is checked against pydantic itself."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import operator
import pathlib
import re
import sys
import textwrap
import types
import typing
import uuid
import warnings
import zoneinfo
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, NamedTuple, NewType, TypeVar

import pydantic
import pydantic.dataclasses
import pytest
import sqlmodel
import typing_extensions
from pydantic import BaseModel, ConfigDict, create_model
from pydantic_core import core_schema
from typing_extensions import TypeAliasType, TypedDict

from cloaca.algebra import models
from cloaca.algebra.models import Reduce, RuntimeModels, alias_value, bind, model_problems, row_of
from cloaca.algebra.rows import Field, ModelProblem, Models

T = TypeVar("T")
U = TypeVar("U")
D = typing_extensions.TypeVar("D", default=int)
ADD = Reduce(operator.add)


class Order(BaseModel):
    order_id: int
    note: str = ""


class Page(BaseModel, Generic[T]):
    items: list[T]
    first: T | None = None


class Counted(BaseModel, Generic[D]):
    count: D


class Base(BaseModel):
    assigned: int = 3
    factory: list[int] = pydantic.Field(default_factory=list)
    field: int = pydantic.Field(default=3)
    inside: Annotated[int, pydantic.Field(default=3)]
    inside_factory: Annotated[list[int], pydantic.Field(default_factory=list)]
    both: Annotated[int, pydantic.Field(default=3)] = 4
    described: Annotated[int, pydantic.Field(default=3)] = pydantic.Field(description="no default of its own")
    bare: int
    dots: int = ...  # type: ignore[assignment] # pydantic's way to say that it is required
    nullable: int | None


class Child(Base):
    assigned: int


REQUIRED = {"inside", "inside_factory", "described", "bare", "dots", "nullable"}


@contextmanager
def module(code: str) -> Iterator[dict[str, Any]]:
    """The names of a module made of ``code``, while it can be imported."""
    made = types.ModuleType("made_of_code")
    made.__dict__.update({"BaseModel": BaseModel, "Annotated": Annotated, "ADD": ADD})
    sys.modules["made_of_code"] = made
    try:
        exec(compile(textwrap.dedent(code), made.__name__, "exec", dont_inherit=True), made.__dict__)
        yield made.__dict__
    finally:
        del sys.modules["made_of_code"]


def required(model: type[BaseModel]) -> set[str]:
    return {name for name, field in row_of(model).items() if field.required}


class TestRow:
    def test_a_row_has_the_fields_in_order_with_their_types(self) -> None:
        assert row_of(Order) == {"order_id": Field(int, required=True), "note": Field(str, required=False)}
        assert list(row_of(Order)) == ["order_id", "note"]

    def test_a_row_can_not_be_changed(self) -> None:
        assert not hasattr(row_of(Order), "__setitem__")

    def test_a_default_inside_of_annotated_counts_as_none(self) -> None:
        assert required(Base) == REQUIRED

    def test_a_subclass_inherits_defaults_and_a_bare_annotation_drops_one(self) -> None:
        assert required(Child) == REQUIRED | {"assigned"}

    def test_without_pydantics_private_notes_its_own_word_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(models, "_KEEPS_ASSIGNMENTS", False)
        model = create_model("Made", inside=Annotated[int, pydantic.Field(default=3)], bare=int)
        assert required(model) == {"bare"}

    def test_this_pydantic_keeps_assignments(self) -> None:
        assert models._KEEPS_ASSIGNMENTS

    def test_only_fields_provide(self) -> None:
        class Rich(BaseModel):
            model_config = ConfigDict(extra="allow")
            kind: ClassVar[str] = "rich"
            _private: int = pydantic.PrivateAttr(default=1)
            real: int
            frozen: Final[int]  # type: ignore[misc] # mypy would have it set here, pydantic sets it

            @property
            def doubled(self) -> int:
                return 2 * self.real

            @pydantic.computed_field  # type: ignore[prop-decorator] # mypy wants no decorators on properties
            @property
            def computed(self) -> int:
                return self.real

        assert {name: field.type for name, field in row_of(Rich).items()} == {"real": int, "frozen": int}

    def test_names_are_pythons_not_aliases(self) -> None:
        class Aliased(BaseModel):
            amount: int = pydantic.Field(alias="Amount")
            other: int = pydantic.Field(validation_alias="Other")

        assert list(row_of(Aliased)) == ["amount", "other"]

    def test_annotated_is_stripped_on_top_and_kept_below(self) -> None:
        positive = Annotated[int, pydantic.Field(gt=0)]

        class Constrained(BaseModel):
            top: positive
            below: list[positive]

        row = row_of(Constrained)
        assert row["top"].type is int
        assert row["below"].type == list[positive]

    def test_a_generic_model_is_bound_or_any(self) -> None:
        assert row_of(Page[Order])["items"].type == list[Order]
        assert row_of(Page)["items"].type == list[Any]
        assert row_of(Page)["first"].type == Any | None
        assert row_of(create_model("Holder", page=eval("Page[U]")))["page"].type is Page[Any]
        assert row_of(create_model("Holder", page=Page))["page"].type is Page
        assert row_of(Counted)["count"].type is int

    def test_a_forward_reference_is_asked_for_again(self) -> None:
        class Early(BaseModel):
            late: Late
            lates: list[Late]

        with pytest.raises(NameError, match="Late"):
            row_of(Early)
        with pytest.raises(NameError, match="Late"):
            model_problems(Early)

        class Late(BaseModel):
            token: pydantic.SecretStr

        Early.model_rebuild()
        assert row_of(Early)["lates"].type == list[Late]
        assert [problem.field for problem in model_problems(Early)] == ["late", "lates"]

    def test_a_model_that_pydantic_can_finish_by_now_is_finished(self) -> None:
        with module("class A(BaseModel):\n    b: 'B'\n\nclass B(BaseModel):\n    x: int\n") as made:
            assert row_of(made["A"])["b"].type is made["B"]

    def test_sqlmodel_classes_are_models(self) -> None:
        class Hero(sqlmodel.SQLModel):
            id: int | None = sqlmodel.Field(default=None, primary_key=True)
            name: str = sqlmodel.Field(index=True)

        assert row_of(Hero) == {"id": Field(int | None, required=False), "name": Field(str, required=True)}
        assert model_problems(Hero) == ()


class TestRuntimeModels:
    def test_they_are_read_as_by_the_functions(self) -> None:
        read: Models = RuntimeModels()
        assert [read.is_model(hint) for hint in (Order, Page[Order], BaseModel, int, list[Order], None)] == [
            *(True, True),
            *(False, False, False, False),
        ]
        assert read.name(Page[Order]) == "Page[Order]"
        assert read.row(Order) == row_of(Order)
        assert read.problems(Card) == model_problems(Card) != ()


class TestReduce:
    def test_it_is_found_beside_other_metadata_and_with_a_default(self) -> None:
        class Totals(BaseModel):
            plain: Annotated[int, ADD]
            mixed: Annotated[int, pydantic.Field(gt=0), ADD] = pydantic.Field(default=1, lt=9)
            nested: Annotated[int | None, ADD] = None
            inside: list[Annotated[int, ADD]]
            none: int

        row = row_of(Totals)
        assert {name for name, field in row.items() if field.reducer} == {"plain", "mixed", "nested"}
        assert row["plain"] == Field(int, required=True, reducer=ADD)

    def test_the_outermost_counts(self) -> None:
        last = Reduce(operator.mul)
        model = create_model("Totals", total=Annotated[Annotated[int, ADD], last])
        assert row_of(model)["total"].reducer is last

    def test_a_named_alias_brings_its_own(self) -> None:
        total = TypeAliasType("total", Annotated[int, ADD])
        # Not "is": typing hands out an equal Annotated that another module has made before.
        assert row_of(create_model("Totals", total=total))["total"].reducer == ADD

    def test_it_is_a_value(self) -> None:
        assert Reduce(operator.add) == Reduce(operator.add) != Reduce(operator.mul)
        assert hash(Reduce(operator.add)) == hash(Reduce(operator.add))

    def test_what_can_not_be_called_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"like operator\.add, not 3"):
            Reduce(3)  # type: ignore[arg-type] # the mistake under test


class TestAliasValue:
    def test_strings_are_resolved_and_what_is_not_there_is_any(self) -> None:
        assert alias_value(Amounts) == list[decimal.Decimal]
        assert alias_value(Deep) == dict[str, Deep] | int
        assert alias_value(TypeAliasType("Lost", "list[NotThere]")) is Any  # noqa: F821 - the case under test


class TestBind:
    @pytest.mark.parametrize(
        ("annotation", "expected"),
        [
            ("int", "int"),
            ("T", "str"),
            ("D", "int"),
            ("list[T]", "list[str]"),
            ("typing.Mapping[T, list[T]]", "typing.Mapping[str, list[str]]"),
            ("T | None", "str | None"),
            ("Annotated[T, 1]", "Annotated[str, 1]"),
            ("Page[T]", "Page[str]"),
            ("Page[U]", "Page[Any]"),
            ("Page[int]", "Page[int]"),
            ("tuple[T, D]", "tuple[str, int]"),
            ("Callable[[T], T]", "Callable[[str], str]"),
        ],
    )
    def test_type_variables_are_replaced_at_any_depth(self, annotation: str, expected: str) -> None:
        assert bind(eval(annotation), {T: str}) == eval(expected)

    def test_what_is_no_type_variable_is_left_alone(self) -> None:
        ts = typing_extensions.TypeVarTuple("ts")
        generic = tuple[*ts]
        assert bind(generic, {}) is generic


# ------------------------------------------------------------------- what survives a JSON round trip, and what doesn't


class Plain(enum.Enum):
    A = "a"
    B = 2
    C = None
    D = 1.5


class Text(enum.Enum):
    A = "a"
    B = "b"


class TextMixed(str, enum.Enum):  # noqa: UP042 - as many people write it
    A = "a"


class Level(enum.IntEnum):
    LOW = -1
    HIGH = 1


class Weight(float, enum.Enum):
    HALF = 0.5


class Bits(enum.Flag):
    X = 1
    Y = 2


class Switch(enum.Enum):
    ON = True
    OFF = False


class Pairs(enum.Enum):
    A = (1, 2)


class Days(enum.Enum):
    ONE = datetime.timedelta(days=1)


class Labelled(enum.Enum):
    A = ("a", "Label of a")

    def __new__(cls, value: str, label: str) -> Labelled:
        made = object.__new__(cls)
        made._value_ = value
        return made


class Frozen(BaseModel, frozen=True):
    x: int


class Point(NamedTuple):
    x: int
    y: str


@dataclasses.dataclass(frozen=True)
class Plan:
    x: int
    hidden: int = dataclasses.field(default=1, init=False)


@pydantic.dataclasses.dataclass
class Checked:
    x: int
    y: list[Plan]


class Movie(TypedDict):
    name: str
    year: typing_extensions.NotRequired[int]


class Tags(pydantic.RootModel[list[str]]):
    pass


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = pydantic.Field(default="dog", frozen=True)


class Node(BaseModel):
    value: int
    children: list[Node] = []
    parent: Node | None = None


class Ratio:
    """A type of the user's own that says how it is read and written."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ratio) and self.value == other.value

    __hash__ = None  # type: ignore[assignment] # as for any class with an __eq__

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls(value),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda ratio: ratio.value),
        )


class Alien:
    """A type that pydantic knows nothing about."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alien)

    __hash__ = None  # type: ignore[assignment] # as for any class with an __eq__


class AlienSchema:
    """Metadata that says how an Alien is read and written."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda _: Alien(), serialization=core_schema.plain_serializer_function_ser_schema(lambda _: 1)
        )


UserId = NewType("UserId", int)
PairId = NewType("PairId", tuple[int, int])
PairName = TypeAliasType("PairName", tuple[int, int])
Amounts = TypeAliasType("Amounts", list[decimal.Decimal])
Deep = TypeAliasType("Deep", "dict[str, Deep] | int")
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
WHEN = datetime.datetime(2026, 3, 29, 2, 30, 1, 5, datetime.UTC)
SOME_UUID = uuid.UUID(int=7)

SURVIVES: list[tuple[Any, Any]] = [
    *[(bool, True), (int, 1), (float, 1.5), (str, "ä"), (bytes, b"ab"), (complex, 1 + 2j), (None, None)],
    *[(Any, 1), (object, "x"), (typing.Hashable, 1), (pydantic.JsonValue, {"a": [1, None]}), (int | str, "1")],
    *[(decimal.Decimal, decimal.Decimal("1.50")), (fractions.Fraction, fractions.Fraction(1, 3))],
    *[(datetime.datetime, WHEN), (datetime.date, WHEN.date()), (datetime.time, WHEN.time())],
    *[(datetime.timedelta, datetime.timedelta(days=1, microseconds=3)), (zoneinfo.ZoneInfo, BERLIN)],
    *[(uuid.UUID, SOME_UUID), (pathlib.Path, pathlib.Path("/a")), (re.Pattern[str], re.compile("a"))],
    *[(ipaddress.IPv4Address, ipaddress.IPv4Address("1.2.3.4")), (pydantic.IPvAnyNetwork, "10.0.0.0/8")],
    *[(pydantic.HttpUrl, pydantic.HttpUrl("https://a.b/")), (pydantic.PostgresDsn, "postgres://a:b@h/d")],
    *[(pydantic.PositiveInt, 3), (pydantic.conlist(int, min_length=1), [1]), (pydantic.ByteSize, "1kb")],
    *[(pydantic.Base64Bytes, b"YWI="), (pydantic.Json[list[int]], "[1]"), (pydantic.PastDate, "2000-01-01")],
    *[(Plain, Plain.A), (Plain, Plain.C), (Plain, Plain.D), (Level, Level.LOW), (Bits, Bits.X | Bits.Y)],
    *[(Labelled, Labelled.A), (Switch, Switch.OFF), (TextMixed, TextMixed.A)],
    *[(Literal["a", 1, True, None], None), (Literal[TextMixed.A], TextMixed.A), (Literal[Level.HIGH], Level.HIGH)],
    *[(list[int], [1]), (set[int], {1}), (frozenset[Frozen], {Frozen(x=1)}), (tuple[int, str], (1, "a"))],
    *[(tuple[int, ...], (1, 2)), (tuple[()], ()), (Sequence[int], [1]), (Mapping[str, int], {"a": 1})],
    *[(collections.deque[int], collections.deque([1])), (collections.Counter[str], {"a": 2})],
    *[(collections.defaultdict[str, list[int]], {"a": [1]}), (collections.OrderedDict[str, int], {"a": 1})],
    *[(Order, Order(order_id=1)), (Page[Order], Page[Order](items=[Order(order_id=1)])), (Tags, Tags(["a"]))],
    *[(Node, Node(value=1, children=[Node(value=2)])), (Point, Point(1, "a")), (Movie, {"name": "M"})],
    *[(Plan, Plan(1)), (Checked, Checked(1, [Plan(2)])), (UserId, 1), (Amounts, [decimal.Decimal("1")])],
    *[(Deep, {"a": {"b": 1}}), (dict[str, Annotated[int, pydantic.Field(gt=0)]], {"a": 1})],
    *[(Annotated[Cat | Dog, pydantic.Field(discriminator="kind")], Dog()), (Ratio, Ratio(1.5))],
    *[(pydantic.InstanceOf[Order], Order(order_id=1)), (pydantic.SkipValidation[list[int]], [1])],
    *[(Annotated[Alien, AlienSchema], Alien()), (Annotated[Alien, AlienSchema()], Alien())],
    (Annotated[Alien, pydantic.PlainValidator(lambda _: Alien()), pydantic.PlainSerializer(lambda _: 1)], Alien()),
    (Annotated[pydantic.SecretStr, pydantic.PlainSerializer(lambda s: s.get_secret_value())], "s"),
    (list[Annotated[pydantic.SecretStr, pydantic.PlainSerializer(lambda s: s.get_secret_value())]], ["s"]),
]

KEYS: list[tuple[Any, Any]] = [
    *[(str, "a"), (int, 1), (float, 1.5), (bool, True), (bytes, b"a"), (decimal.Decimal, decimal.Decimal("1.5"))],
    *[(fractions.Fraction, fractions.Fraction(1, 3)), (datetime.date, WHEN.date()), (datetime.datetime, WHEN)],
    *[(datetime.timedelta, datetime.timedelta(3)), (uuid.UUID, SOME_UUID), (pathlib.Path, pathlib.Path("a"))],
    *[(ipaddress.IPv4Address, ipaddress.IPv4Address("1.2.3.4")), (pydantic.AnyUrl, "https://a.b/"), (UserId, 1)],
    *[(Text, Text.A), (TextMixed, TextMixed.A), (Level, Level.LOW), (Weight, Weight.HALF), (Switch, Switch.ON)],
    *[(Literal["a", "b"], "a"), (Literal[True], True), (Literal[TextMixed.A], TextMixed.A), (int | float, 1.5)],
    *[(pydantic.PositiveInt, 3), (Any, "a"), (Literal["a"] | int, 3), (zoneinfo.ZoneInfo, BERLIN)],
]

LOST_KEYS: list[tuple[Any, Any]] = [
    *[(tuple[int, int], (1, 2)), (Point, Point(1, "a")), (frozenset[int], frozenset({1})), (Frozen, Frozen(x=1))],
    *[(PairId, (1, 2)), (PairName, (1, 2)), (Plan, Plan(1)), (None, None), (str | None, None), (int | None, None)],
    *[(int | str, 1), (float | str, 1.5)],
    *[(Plain, Plain.B), (Bits, Bits.X), (Literal[1], 1), (Literal[Plain.A], Plain.A), (Literal["a", 1], 1)],
]


def checked_round_trip(annotation: Any, value: Any) -> bool:
    """Whether pydantic gives back what a field of this type had."""
    config = ConfigDict(arbitrary_types_allowed=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic warns of values that it can only guess how to dump
        model = create_model("Trip", __config__=config, field=(annotation, ...))
        there = model(field=value)
        try:
            back = model.model_validate_json(there.model_dump_json(round_trip=True, by_alias=False), by_name=True)
        except ValueError:  # it can't be dumped, or not be read
            return False
    return back == there and type(getattr(back, "field")) is type(getattr(there, "field"))  # noqa: B009 - made above


def problems_of(annotation: Any) -> tuple[ModelProblem, ...]:
    return model_problems(
        create_model("Trip", __config__=ConfigDict(arbitrary_types_allowed=True), field=(annotation, ...))
    )


def shown(kind: object) -> str:
    """Name a parameter alike in every process: without addresses."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(kind))


class TestWhatSurvives:
    @pytest.mark.parametrize(("annotation", "value"), SURVIVES, ids=[shown(kind) for kind, _ in SURVIVES])
    def test_what_is_accepted_comes_back(self, annotation: Any, value: Any) -> None:
        assert problems_of(annotation) == ()
        assert checked_round_trip(annotation, value)

    @pytest.mark.parametrize(("key", "value"), KEYS, ids=[shown(kind) for kind, _ in KEYS])
    def test_keys_that_are_accepted_come_back(self, key: Any, value: Any) -> None:
        assert problems_of(dict[key, int]) == ()
        assert checked_round_trip(dict[key, int], {value: 1})

    @pytest.mark.parametrize(("key", "value"), LOST_KEYS, ids=[shown(kind) for kind, _ in LOST_KEYS])
    def test_keys_that_are_refused_do_not(self, key: Any, value: Any) -> None:
        for mapping in (dict, Mapping, collections.defaultdict):
            keyed: Any = mapping[key, int]
            assert [problem.field for problem in problems_of(keyed)] == ["field"]
            assert "keys" in problems_of(keyed | None)[0].message
        assert not checked_round_trip(dict[key, int], {value: 1})


SECRET = "which JSON can't carry: it is dumped as asterisks; use cloaca.Secret, a name"
SCHEMA = "which pydantic can't read from JSON: annotate it with a validator and a serializer, or use a model"


class Card(BaseModel):
    pin: pydantic.SecretStr
    owner: Order


class Wallet(BaseModel):
    cards: list[Card]


Secrets = TypeAliasType("Secrets", "dict[str, Secrets] | pydantic.SecretStr")


class Sack(BaseModel, Generic[T]):
    item: T


class Hidden(BaseModel):
    x: int = pydantic.Field(exclude=True)


class SometimesHidden(BaseModel):
    x: int = pydantic.Field(exclude_if=bool)


class HiddenDict(TypedDict):
    x: Annotated[int, pydantic.Field(exclude=True)]


@dataclasses.dataclass
class HiddenPlan:
    x: int = pydantic.Field(exclude=True)


@pydantic.dataclasses.dataclass
class HiddenChecked:
    x: int = pydantic.Field(exclude=True)


@pydantic.dataclasses.dataclass
class WithInit:
    x: int
    seed: dataclasses.InitVar[int]

    def __post_init__(self, seed: int) -> None:
        self.x += seed


class SecretDict(TypedDict, Generic[T]):
    token: pydantic.SecretStr
    other: T


class SecretPoint(NamedTuple):
    token: pydantic.SecretStr


@dataclasses.dataclass
class DumpedPlan:
    alien: Annotated[Alien, pydantic.PlainSerializer(lambda _: 1)]


class GenericDict(TypedDict, Generic[T]):
    x: T


Token = NewType("Token", pydantic.SecretStr)
Listed = TypeAliasType("Listed", list[T], type_params=(T,))
S = pydantic.SecretStr("s")

LOST: list[tuple[Any, Any, str]] = [
    (Token, "s", f'field "field" is a SecretStr, {SECRET}'),
    (Listed[pydantic.SecretStr], ["s"], f'field "field" holds a SecretStr, {SECRET}'),
    (list[Annotated[pydantic.SecretStr, "metadata"]], ["s"], f'field "field" holds a SecretStr, {SECRET}'),
    (SecretDict[int], {"token": "s", "other": 1}, f'field "field" (at SecretDict.token) is a SecretStr, {SECRET}'),
    (GenericDict[pydantic.SecretStr], {"x": "s"}, f'field "field" holds a SecretStr, {SECRET}'),
    (SecretPoint, SecretPoint(S), f'field "field" (at SecretPoint.token) is a SecretStr, {SECRET}'),
    (DumpedPlan, DumpedPlan(Alien()), f'field "field" (at DumpedPlan.alien) is Alien, {SCHEMA}'),
    (
        pydantic.SkipValidation[dict[str, datetime.date]],
        {"a": WHEN.date()},
        'field "field" is dict[str, date] without validation, which comes back as JSON: drop SkipValidation',
    ),
    (pydantic.SecretStr, "s", f'field "field" is a SecretStr, {SECRET}'),
    (pydantic.SecretBytes, b"s", f'field "field" is a SecretBytes, {SECRET}'),
    (pydantic.Secret[int], 3, f'field "field" is a Secret, {SECRET}'),
    (pydantic.SecretStr | None, "s", f'field "field" holds a SecretStr, {SECRET}'),
    (list[dict[str, pydantic.SecretStr]], [{"a": "s"}], f'field "field" holds a SecretStr, {SECRET}'),
    (tuple[pydantic.SecretStr, ...], ("s",), f'field "field" holds a SecretStr, {SECRET}'),
    (
        Wallet,
        Wallet(cards=[Card(pin=pydantic.SecretStr("1"), owner=Order(order_id=1))]),
        f'field "field" (at Card.pin) is a SecretStr, {SECRET}',
    ),
    (
        Sack[pydantic.SecretStr],
        {"item": "s"},
        f'field "field" (at Sack[SecretStr].item) is a SecretStr, {SECRET}',
    ),
    *[
        (
            owner,
            value,
            f'field "field" (at {owner.__name__}.x) is left out of dumps, so it would be lost: '
            "drop exclude=, or use a private attribute",
        )
        for owner, value in [
            (Hidden, Hidden(x=1)),
            (SometimesHidden, SometimesHidden(x=1)),
            (HiddenDict, {"x": 1}),
            (HiddenPlan, HiddenPlan(1)),
            (HiddenChecked, HiddenChecked(1)),
        ]
    ],
    (
        WithInit,
        WithInit(1, 2),
        'field "field" (at WithInit.seed) is an InitVar, which dumps leave out: make it a field',
    ),
    (Alien, Alien(), f'field "field" is Alien, {SCHEMA}'),
    (list[Alien], [Alien()], f'field "field" holds Alien, {SCHEMA}'),
    (bytearray, bytearray(b"a"), f'field "field" is bytearray, {SCHEMA}'),
    (typing.Collection[int], [1], f'field "field" is Collection[int], {SCHEMA}'),
    (pydantic.InstanceOf[Alien], Alien(), f'field "field" is Alien, {SCHEMA}'),
    (
        Callable[[int], int],
        abs,
        'field "field" is Callable[[int], int], which JSON can\'t carry: pass a name, and look it up in the task',
    ),
    (type[int], bool, 'field "field" is type[int], which JSON can\'t carry: pass a name, and look it up in the task'),
    (type, int, 'field "field" is type, which JSON can\'t carry: pass a name, and look it up in the task'),
    (
        typing.Iterable[int],
        [1],
        'field "field" is Iterable[int], which can be read only once: use list or Sequence',
    ),
    (
        typing.Generator[int, None, None],
        (number for number in [1]),
        'field "field" is Generator[int, None, None], which can be read only once: use list or Sequence',
    ),
    (
        pydantic.ImportString,
        "sys.stdout",
        'field "field" is an ImportString, whose value JSON may not give back: use str, and import it in the task',
    ),
    (
        re.Pattern[bytes],
        re.compile(b"a"),
        'field "field" is a pattern of bytes, which JSON doesn\'t give back: use Pattern[str]',
    ),
    (Pairs, Pairs.A, 'field "field" is Pairs, whose Pairs.A JSON doesn\'t give back: give its members str values'),
    (Days, Days.ONE, 'field "field" is Days, whose Days.ONE JSON doesn\'t give back: give its members str values'),
    (enum.Enum, Text.A, 'field "field" is Enum, which JSON doesn\'t give back: name the enum that is meant'),
    (
        Literal[Plain.A],
        Plain.A,
        'field "field" is Literal[Plain.A], which JSON doesn\'t give back: mix str into the enum',
    ),
    (Literal[b"x"], b"x", "field \"field\" is Literal[b'x'], which JSON doesn't give back: use str"),
    (
        pydantic.SkipValidation[datetime.date],
        WHEN.date(),
        'field "field" is date without validation, which comes back as JSON: drop SkipValidation',
    ),
    (
        dict[tuple[int, int], str],
        {(1, 2): "a"},
        'field "field" is dict[tuple[int, int], str], whose tuple keys become text that doesn\'t come back: '
        "use str keys, or a list of pairs",
    ),
    (
        dict[int | str, str],
        {1: "a"},
        'field "field" is dict[int | str, str], whose keys would all come back as str: use keys of one type',
    ),
    (
        Annotated[dict[Plain, str], "metadata"],
        {Plain.B: "a"},
        'field "field" is dict[Plain, str], whose Plain keys become text that doesn\'t come back: '
        "use str keys, or a list of pairs",
    ),
    (
        dict[Literal[Plain.B], str],
        {Plain.B: "a"},
        'field "field" is dict[Literal[Plain.B], str], whose Literal[Plain.B] keys become text that doesn\'t come '
        "back: use str keys, or a list of pairs",
    ),
    (Annotated[Alien, pydantic.PlainSerializer(lambda _: 1)], Alien(), f'field "field" is Alien, {SCHEMA}'),
]


class TestWhatDoesNot:
    @pytest.mark.parametrize(("annotation", "value", "message"), LOST, ids=[shown(lost[0]) for lost in LOST])
    def test_it_is_refused_and_pydantic_loses_it(self, annotation: Any, value: Any, message: str) -> None:
        assert problems_of(annotation) == (ModelProblem("field", message),)
        assert not checked_round_trip(annotation, value)

    def test_excluded_fields_of_the_model_itself(self) -> None:
        message = 'field "x" is left out of dumps, so it would be lost: drop exclude=, or use a private attribute'
        assert model_problems(Hidden) == (ModelProblem("x", message),)

    def test_a_root_model_has_no_fields(self) -> None:
        message = "Tags is a RootModel, which has no fields; use a BaseModel"
        assert model_problems(Tags) == (ModelProblem("", message),)

    def test_every_field_is_reported_and_each_nested_model_once(self) -> None:
        class Bad(BaseModel):
            fine: int
            cards: list[Card] | dict[str, Card]
            again: Card
            token: pydantic.SecretStr

        assert [(problem.field, "Card.pin" in problem.message) for problem in model_problems(Bad)] == [
            ("cards", True),
            ("again", True),
            ("token", False),
        ]

    def test_recursion_ends_and_finds(self) -> None:
        class Loop(BaseModel):
            token: pydantic.SecretStr
            loops: list[Loop] | None = None
            other: Partner | None = None

        class Partner(BaseModel):
            loop: Loop
            key: pydantic.SecretStr

        Loop.model_rebuild()
        assert [(one.field, one.message.split(" is ")[0]) for one in model_problems(Loop)] == [
            ("token", 'field "token"'),
            ("other", 'field "other" (at Partner.key)'),
        ]

    def test_a_recursive_alias_ends_and_finds(self) -> None:
        message = f'field "field" holds a SecretStr, {SECRET}'
        assert problems_of(Secrets) == (ModelProblem("field", message),)

    def test_a_late_reference_to_a_type_without_schema_is_a_problem(self) -> None:
        with module("class Early(BaseModel):\n    late: 'Stranger'\n\nclass Stranger:\n    pass\n") as made:
            problem = model_problems(made["Early"])[0]
        assert problem.field == ""
        assert problem.message.startswith("pydantic can't build Early: Unable to generate pydantic-core schema")

    def test_a_dataclass_that_only_pydantic_can_resolve_is_not_judged(self) -> None:
        class Local(BaseModel):
            x: int

        @dataclasses.dataclass
        class Holder:
            local: Local

        class Trip(BaseModel):
            holder: Holder

        Trip.model_rebuild()  # finds Local here
        assert model_problems(Trip) == ()


class TestNoFields:
    def test_a_class_variable_of_a_dataclass_is_no_field(self) -> None:
        @dataclasses.dataclass
        class Holder:
            x: int
            code: ClassVar[Callable[[], int]]
            bare: ClassVar = print

        assert problems_of(Holder) == ()


class TestTrust:
    """A serializer is taken at its word, beside a validator that reads what it dumps."""

    def test_decorators_of_the_model(self) -> None:
        class Healed(BaseModel):
            model_config = ConfigDict(arbitrary_types_allowed=True)
            token: pydantic.SecretStr
            alien: Alien
            other: Alien

            @pydantic.field_serializer("token", when_used="json")
            def reveal(self, token: pydantic.SecretStr) -> str:
                return token.get_secret_value()

            @pydantic.field_serializer("alien", "other")
            def dump(self, alien: Alien) -> int:
                return 1

            @pydantic.field_validator("alien", mode="before")
            @classmethod
            def load(cls, value: object) -> Alien:
                return Alien()

            @pydantic.field_validator("other", mode="after")
            @classmethod
            def check(cls, value: Alien) -> Alien:
                return value

        assert [problem.field for problem in model_problems(Healed)] == ["other"]

    def test_a_serializer_alone_heals_secrets_only(self) -> None:
        class Dumped(BaseModel):
            model_config = ConfigDict(arbitrary_types_allowed=True)
            token: pydantic.SecretStr
            alien: Alien

            @pydantic.field_serializer("*")
            def dump(self, value: object) -> int:
                return 1

        class Flat(BaseModel):
            model_config = ConfigDict(arbitrary_types_allowed=True)
            token: pydantic.SecretStr
            alien: Alien

            @pydantic.model_serializer
            def dump(self) -> int:
                return 1

        assert [problem.field for problem in model_problems(Dumped)] == ["alien"]
        assert [problem.message for problem in problems_of(Flat)] == [
            f'field "field" (at Flat.alien) is Alien, {SCHEMA}'
        ]

    def test_a_nested_model_that_dumps_and_reads_itself(self) -> None:
        class Closed(BaseModel):
            token: pydantic.SecretStr

            @pydantic.model_serializer
            def dump(self) -> str:
                return self.token.get_secret_value()

            @pydantic.model_validator(mode="before")
            @classmethod
            def load(cls, value: object) -> object:
                return {"token": value} if isinstance(value, str) else value

        assert problems_of(Closed) == ()
        assert checked_round_trip(Closed, Closed(token=pydantic.SecretStr("s")))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is Python 3.12's")
def test_the_generic_classes_and_aliases_of_python_3_12() -> None:
    code = """
        type Total = Annotated[int, ADD]
        type Pair[T] = tuple[T, T]
        type Json = dict[str, Json] | list[Json] | str
        class Box[T](BaseModel):
            item: T
            pair: Pair[T]
            total: Total = 0
            json_value: Json
    """
    with module(code) as made:
        row = row_of(made["Box"][str])
        assert row["item"].type is str
        assert row["pair"].type == made["Pair"][str]
        assert row["total"] == Field(made["Total"], required=False, reducer=ADD)
        assert row_of(made["Box"])["pair"].type == made["Pair"][Any]
        assert model_problems(made["Box"][str]) == ()
        assert [problem.field for problem in model_problems(made["Box"][pydantic.SecretStr])] == ["item", "pair"]


def models_with_findings() -> Iterator[type[BaseModel]]:
    yield from (Wallet, Hidden, Card)


@pytest.mark.parametrize("model", list(models_with_findings()))
def test_messages_name_the_field_and_what_to_do(model: type[BaseModel]) -> None:
    for problem in model_problems(model):
        assert problem.message.startswith(f'field "{problem.field}"')
        assert ": " in problem.message
