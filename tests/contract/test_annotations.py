"""The run-time idea of what is assignable, compared with mypy's on thousands of pairs of types, and its laws.

The differential tests write one module with a function ``def f(x: A) -> B: return x`` for each pair, run mypy on it
once, and compare the lines where mypy complains with ``assignable``.
"""

from __future__ import annotations

import datetime
import random
import re
import sys
import types
import typing
from pathlib import Path
from typing import Any

import pytest
import typing_extensions
from hypothesis import given, settings
from hypothesis import strategies as st
from mypy import api

from cloaca.contract.assignability import assignable
from cloaca.contract.notation import show

SAMPLE = """
import collections
import dataclasses
import datetime
import decimal
import enum
import ipaddress
import numbers
import os
import pathlib
import typing
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypeVar, Union

import pydantic
from pydantic import BaseModel, Field
from typing_extensions import NotRequired, ReadOnly, Required, TypeAliasType, TypedDict
from typing_extensions import TypeVar as DefaultedTypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)
D = DefaultedTypeVar("D", default=int)

class Animal(BaseModel):
    name: str
class Dog(Animal):
    age: int
class Page(BaseModel, Generic[T], arbitrary_types_allowed=True):
    items: list[T]
class Book(Page[list[T]], Generic[T]):
    cover: T
class DogPage(Page[Dog]):
    pass
class RawPage(Page):
    pass
class IntPage(BaseModel, Generic[D]):
    items: list[D]
class Source(Generic[T_co]):
    pass
class Sink(Generic[T_contra]):
    pass
class Cell(Generic[T]):
    pass
class IntCell(Cell[int]):
    pass
class Pipe(Source[T_co], Sink[T_contra], Generic[T_co, T_contra]):
    pass
@dataclasses.dataclass
class Holder(Generic[T]):
    x: T
class Color(enum.Enum):
    RED = 1
    BLUE = 2
class Kind(str, enum.Enum):
    A = "a"
    B = "b"
class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2
class Base(Any):  # type: ignore[misc]
    pass
class Meters(float):
    pass
class Named(typing.Protocol):
    name: str
UserId = NewType("UserId", int)
AdminId = NewType("AdminId", UserId)
class Movie(TypedDict):
    year: int
    title: NotRequired[str]
class Year(TypedDict):
    year: int
class FloatYear(TypedDict):
    year: float
class ReadYear(TypedDict):
    year: ReadOnly[float]
class MaybeYear(TypedDict, total=False):
    year: int
class SureYear(TypedDict, total=False):
    year: Required[int]
    title: str
class ReadMaybeYear(TypedDict):
    year: ReadOnly[NotRequired[int]]
class Sequel(Year):
    part: int
class Boxed(TypedDict, Generic[T]):
    x: T
class NodeA(TypedDict):
    next: NotRequired["NodeA"]
class NodeB(TypedDict):
    next: NotRequired["NodeB"]
class Point(NamedTuple):
    x: int
    y: str
class NamedPoint(Point):
    pass
class Spot(NamedTuple):
    x: int
    y: str
class Pair(tuple[int, str]):
    pass
class Numbers(list[int]):
    pass
class Code(str):
    pass
Ints = TypeAliasType("Ints", list[int])
Table = TypeAliasType("Table", dict[str, T], type_params=(T,))
Tree = TypeAliasType("Tree", "int | list[Tree]")
Shrub = TypeAliasType("Shrub", "int | list[Shrub]")
Bush = TypeAliasType("Bush", "list[Bush | int]")
Even = TypeAliasType("Even", "tuple[Odd, ...]")
Odd = TypeAliasType("Odd", "list[Even]")
MaybeInt = Optional[int]
Letters = Literal["a", "b"]
"""

TYPES = [
    *["int", "float", "complex", "bool", "str", "bytes", "bytearray", "object", "Any", "None", "Meters", "Code"],
    *["decimal.Decimal", "datetime.date", "datetime.datetime", "uuid.UUID", "pathlib.Path", "numbers.Number"],
    *["Animal", "Dog", "Page[Animal]", "Page[Dog]", "Page[Any]", "Page", "DogPage", "RawPage", "Page[list[Dog]]"],
    *["Book[Dog]", "IntPage", "IntPage[int]", "IntPage[str]", "Holder[int]", "Holder[float]"],
    *["Source[int]", "Source[float]", "Sink[int]", "Sink[float]", "Cell[int]", "Cell[bool]", "Cell[Any]", "IntCell"],
    *["Pipe[int, int]", "Pipe[float, bool]", "Color", "Kind", "Level", "enum.Enum"],
    *["Literal[Color.RED]", "Literal[Color.RED, Color.BLUE]", "Literal[1]", "Literal[True]", "Literal[True, False]"],
    *["Literal['a']", "Letters", "Literal['a', None]", "Literal[None]", "Literal[b'x']", "Literal[Level.LOW]"],
    *["UserId", "AdminId", "list[UserId]", "Movie", "Year", "FloatYear", "ReadYear", "Sequel", "NodeA", "NodeB"],
    *["MaybeYear", "SureYear", "ReadMaybeYear"],
    *[
        "Boxed[int]",
        "Boxed[str]",
        "Point",
        "NamedPoint",
        "Spot",
        "Pair",
        "Numbers",
        "Ints",
        "Table[int]",
        "Tree",
        "Shrub",
    ],
    *["MaybeInt", "float | None", "int | str", "str | int | None", "Optional[Animal]", "Union[Dog, Animal]"],
    *["list[int]", "list[float]", "list[Any]", "list", "list[int | str]", "list[bool]", "list[Literal[True, False]]"],
    *["list[Annotated[int, Field(gt=1)]]", "list[Page[Any]]", "list[Page[Dog]]", "typing.List[Animal]", "list[Dog]"],
    *["dict[str, int]", "dict[str, Any]", "dict[Any, float]", "dict", "typing.Dict[str, object]"],
    *["set[int]", "frozenset[int]", "frozenset[float]", "deque[int]", "Counter[str]", "defaultdict[str, int]"],
    *["OrderedDict[str, int]", "range", "tuple[int, str]", "tuple[float, str]", "tuple[int, ...]", "tuple[float, ...]"],
    *["tuple[()]", "tuple", "tuple[Any, ...]", "tuple[Any, Any]", "typing.Tuple[int | str, str]"],
    *["typing.Sequence[int]", "typing.Sequence[float]", "typing.Sequence[str]", "typing.Sequence[int | str]"],
    *["typing.Mapping[str, int]", "typing.Mapping[str, float]", "typing.Mapping[str, object]"],
    *["typing.MutableMapping[str, int]", "typing.AbstractSet[int]", "typing.AbstractSet[float]"],
    *["Annotated[int, 'metadata']", "pydantic.PositiveInt", "pydantic.HttpUrl", "pydantic.AnyUrl", "pydantic.UUID4"],
    *["pydantic.EmailStr", "pydantic.PastDate", "pydantic.AwareDatetime", "pydantic.IPvAnyAddress"],
    *["ipaddress.IPv4Address", "pydantic.Json[list[int]]", "pydantic.SecretStr", "pydantic.ByteSize"],
    *["type[Animal]", "type[Dog]", "type[Any]"],
]

BARE = ["Page", "RawPage", "list", "dict", "tuple"]  # of Any, all of them

# What is structural, or unknown here, fits and is fit by everything that mypy might refuse.
NOT_JUDGED = ["Named", "typing.Iterable[int]", "typing.Hashable", "os.PathLike[str]", "typing.Callable[[int], str]"]

LEAVES = [
    *["int", "float", "bool", "str", "None", "object", "Any", "Animal", "Dog", "Color", "Kind", "Level", "UserId"],
    *["datetime.date", "datetime.datetime", "Literal[1]", "Literal[True, False]", "Letters", "Literal[Color.RED]"],
    *["Point", "NamedPoint", "Movie", "Year", "Sequel", "DogPage", "IntCell", "Tree", "MaybeInt", "Code", "Meters"],
]
SHAPES = [
    *["list[{0}]", "dict[str, {0}]", "dict[int, {0}]", "set[{0}]", "frozenset[{0}]", "tuple[{0}, ...]", "tuple[{0}]"],
    *["tuple[{0}, {1}]", "typing.Sequence[{0}]", "typing.Mapping[str, {0}]", "Union[{0}, {1}]", "Optional[{0}]"],
    *["Page[{0}]", "Source[{0}]", "Sink[{0}]", "Cell[{0}]", "Pipe[{0}, {1}]", "Boxed[{0}]", "Table[{0}]"],
    "Annotated[{0}, 'metadata']",
]
RELATED = {
    "int": ["bool", "float", "UserId", "Literal[1]"],
    "bool": ["int", "Literal[True, False]"],
    "float": ["int", "Meters"],
    "str": ["Letters", "Code"],
    "Dog": ["Animal"],
    "Animal": ["Dog"],
    "list": ["typing.Sequence"],
    "dict": ["typing.Mapping"],
    "Pipe": ["Pipe"],
}


def names_of(name: str, code: str) -> dict[str, Any]:
    """The names of a module made of ``code``; TypedDicts, aliases and models look theirs up there."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(code, name, "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


NAMES = names_of("sample_of_types", SAMPLE)
NAMES_SHOWN = {**NAMES, **vars(typing), "date": datetime.date, "datetime": datetime.datetime}


def annotation(text: str) -> object:
    made: object = eval(text, NAMES)
    return made


def random_type(rng: random.Random, depth: int) -> str:
    if depth == 0 or rng.random() < 0.25:
        return rng.choice(LEAVES)
    return rng.choice(SHAPES).format(random_type(rng, depth - 1), random_type(rng, depth - 1))


def related_type(rng: random.Random, text: str) -> str:
    """A type that differs here and there, and so has a fair chance to fit."""

    def other(found: re.Match[str]) -> str:
        return rng.choice(RELATED[found[0]]) if rng.random() < 0.4 else found[0]

    return re.sub(rf"(?<![\w.])({'|'.join(RELATED)})(?!\w)", other, text)


def random_pairs(seed: int, count: int) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    pairs = []
    for _ in range(count):
        one = random_type(rng, rng.randint(1, 3))
        other = related_type(rng, one) if rng.random() < 0.8 else random_type(rng, 2)
        pairs.append((one, other) if rng.random() < 0.5 else (other, one))
    return pairs


def refused_by_mypy(prelude: str, pairs: list[tuple[str, str]], folder: Path) -> dict[int, str]:
    """The numbers of the pairs that mypy refuses, with its messages."""
    functions = [f"def f_{number}(x: {one}) -> {other}: return x" for number, (one, other) in enumerate(pairs)]
    source = folder / "pairs_of_types.py"
    source.write_text("\n".join([prelude.strip(), *functions, ""]))
    # Two checks that are not about fitting: a bare generic is Any, and returning Any.
    flags = ["--disable-error-code=type-arg", "--disable-error-code=no-any-return", "--no-pretty", "--config-file="]
    cache = f"--cache-dir={folder / 'cache'}"
    output, crash, _ = api.run(["--strict", "--show-error-codes", *flags, cache, str(source)])
    assert not crash
    first = len(prelude.strip().splitlines()) + 1
    refused = {}
    for line in output.splitlines():
        found = re.match(r".*pairs_of_types\.py:(\d+): error: (.*)$", line)
        if found:
            assert "[return-value]" in found[2], line
            refused[int(found[1]) - first] = found[2]
    return refused


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[tuple[str, str]], dict[int, str]]:
    """Every ordered pair of the types above, then random nested ones, with what mypy says of them."""
    known = [*TYPES, *NOT_JUDGED]
    pairs = [(one, other) for one in known for other in known] + random_pairs(seed=7, count=2000)
    return pairs, refused_by_mypy(SAMPLE, pairs, tmp_path_factory.mktemp("mypy"))


def test_the_verdict_is_mypys(table: tuple[list[tuple[str, str]], dict[int, str]]) -> None:
    pairs, refused = table
    wrong = [
        f"{one} -> {other}: mypy {'refuses' if number in refused else 'accepts'}"
        for number, (one, other) in enumerate(pairs)
        if assignable(annotation(one), annotation(other)) == (number in refused) and not {one, other} & set(NOT_JUDGED)
    ]
    assert len(pairs) > 20_000
    assert len(refused) > 5_000
    assert wrong == []


def test_what_is_not_judged_is_never_an_error_that_mypy_has_not(
    table: tuple[list[tuple[str, str]], dict[int, str]],
) -> None:
    pairs, refused = table
    alarms = [
        f"{one} -> {other}"
        for number, (one, other) in enumerate(pairs)
        if number not in refused and not assignable(annotation(one), annotation(other))
    ]
    assert alarms == []


def test_types_are_shown_as_mypy_prints_them(table: tuple[list[tuple[str, str]], dict[int, str]]) -> None:
    pairs, refused = table
    printed: dict[str, set[str]] = {text: set() for text in TYPES}
    for number, message in refused.items():
        found = re.match(r'Incompatible return value type \(got "(.*)", expected "(.*)"\)', message)
        if found:  # where None is wanted mypy says "No return value expected"
            one, other = pairs[number]
            printed.setdefault(one, set()).add(found[1])
            printed.setdefault(other, set()).add(found[2])
    # mypy prints a recursive alias by name, but first expands it once where it compares it.
    wrong = {
        text: (show(annotation(text)), printed[text])
        for text in set(TYPES) - {"Tree", "Shrub", "Any", "object"}
        if printed[text] != {show(annotation(text))}
    }
    assert wrong == {}


GENERIC_CLASSES = """
import dataclasses
from pydantic import BaseModel

class Page[T](BaseModel):
    items: list[T]
class Item[T](BaseModel):
    item: T
class Later[T](Page[T]):
    pass
class Keyed[K, V](BaseModel):
    keys: dict[K, V]
class Frozen[T](BaseModel, frozen=True):
    item: T
@dataclasses.dataclass(frozen=True)
class Value[T]:
    item: T
type Pair[T] = tuple[T, T]
type Rows[T] = dict[str, list[T]]
type Tree[T] = T | list[Tree[T]]
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is Python 3.12's")
def test_the_verdict_is_mypys_for_the_generics_of_python_3_12(tmp_path: Path) -> None:
    args = ["int", "bool", "float", "str"]
    known = [f"{name}[{arg}]" for name in ("Page", "Item", "Later", "Pair", "Rows", "Tree") for arg in args]
    known += [f"Keyed[{key}, {value}]" for key in args for value in args]
    inferred = [f"{name}[{arg}]" for name in ("Frozen", "Value") for arg in args]
    pairs = [(one, other) for one in known + inferred for other in known + inferred]
    refused = refused_by_mypy(GENERIC_CLASSES, pairs, tmp_path)
    names = names_of("generics_of_python_3_12", GENERIC_CLASSES)
    for number, (one, other) in enumerate(pairs):
        fits = assignable(eval(one, names), eval(other, names))
        if number not in refused or other not in inferred:  # a frozen class may be covariant: mypy's plugins differ
            assert fits == (number not in refused), f"{one} -> {other}"


@pytest.mark.parametrize(
    ("provided", "wanted", "expected"),
    [
        ("Literal[1]", "Literal[True]", False),  # though 1 == True
        ("Literal[True]", "Literal[1]", False),
        ("list[Literal[1]]", "list[Literal[True]]", False),
        ("Literal[0, False]", "Literal[False]", False),
        ("int", "float", True),
        ("float", "int", False),
        ("bool", "complex", True),
        ("bytearray", "bytes", False),
        ("None", "Literal[None]", True),
        ("dict[str, list[bool]]", "typing.Mapping[str, typing.Sequence[int]]", True),
        ("Annotated[list[Annotated[int, 1]], 2]", "list[Annotated[int, 3]]", True),
        ("Annotated[int, []]", "Annotated[int, {}]", True),  # metadata that has no hash
        ("Annotated[int, []]", "Annotated[str, {}]", False),
        ("typing.NoReturn", "int", True),
        ("int", "typing.NoReturn", False),
        ("typing.LiteralString", "str", True),
        ("T", "int", True),
        ("list[T]", "list[int]", True),
        ("'NotThere'", "int", True),
        ("int", "typing.ForwardRef('NotThere')", True),
        ("list['NotThere']", "list[int]", True),
        ("list['NotThere']", "set[int]", False),
        ("typing.Callable[[int], str]", "int", True),
        ("tuple[int, typing.Unpack[tuple[str, ...]]]", "tuple[int, str, str]", True),
        ("tuple[int, *tuple[str, ...]]", "tuple[int, str, str]", True),
        ("tuple[int, str, str]", "tuple[int, *tuple[str, ...]]", True),
        ("tuple[int, *tuple[str, ...]]", "typing.Sequence[str]", True),
        ("tuple[int, *tuple[str, ...]]", "typing.Mapping[str, str]", False),
        ("Animal", "typing.Iterable[int]", True),
        ("list[str]", "typing.Iterable[int]", False),  # it does inherit, so mypy and we can tell
        ("TypeAliasType('Lost', 'list[NotThere]')", "int", True),
        ("Bush", "Tree", True),  # both are recursive, out of step
        ("Tree", "Bush", False),
        ("Base", "int", True),  # of a class that mypy can't see
        ("Base", "UserId", True),
        ("Base", "None", False),
        ("type[Dog]", "type[Animal]", True),
        ("Table", "dict[str, int]", True),  # bare, it is of Any
        ("Table", "dict[int, int]", False),
        ("bool", "Literal[True] | None", False),
        ("bool", "Literal[False] | None", False),
        ("bool", "Union[Literal[False], None, Literal[True]]", True),
        ("type[Animal]", "type(Animal)", True),
        ("pydantic.JsonValue", "pydantic.JsonValue", True),
        ("dict[str, pydantic.JsonValue]", "pydantic.JsonValue", True),
        ("dict[str, int]", "pydantic.JsonValue", False),
        ("typing.Mapping[str, int]", "dict[str, int]", False),
        ("Year", "dict[str, int]", False),
        ("Year", "typing.Mapping[str, object]", True),
    ],
)
def test_cases_beyond_the_table(provided: str, wanted: str, expected: bool) -> None:
    assert assignable(annotation(provided), annotation(wanted)) is expected


class Dated(typing_extensions.TypedDict):
    year: int
    title: typing_extensions.NotRequired[str]


class Undated(typing_extensions.TypedDict, total=False):
    year: typing_extensions.Required[int]
    title: str


@pytest.mark.parametrize("postponed", [Dated, Undated])
def test_the_keys_of_a_typed_dict_with_postponed_annotations(postponed: type) -> None:
    for same in (annotation("Movie"), annotation("SureYear"), Dated, Undated):
        assert assignable(postponed, same)
        assert assignable(same, postponed)
    assert assignable(postponed, annotation("Year"))
    assert not assignable(annotation("Year"), postponed)
    assert not assignable(postponed, annotation("MaybeYear"))


def test_a_typed_dict_that_names_what_is_not_defined_is_not_judged() -> None:
    class Early(typing_extensions.TypedDict):
        x: NotThere  # type: ignore[name-defined] # noqa: F821 - the case under test

    assert assignable(Early, annotation("Year"))
    assert assignable(annotation("Year"), Early)
    assert not assignable(Early, int)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("None", "None"),
        ("int | None", "int | None"),
        ("Union[None, int, str]", "int | str | None"),
        ("Literal['a', 'b', None]", "Literal['a', 'b'] | None"),
        ("Union[str, Literal[1], Literal[2], None]", "Literal[1, 2] | str | None"),
        ("Literal[Color.RED]", "Literal[Color.RED]"),
        ("Page[Animal]", "Page[Animal]"),
        ("Page", "Page[Any]"),
        ("list", "list[Any]"),
        ("tuple[()]", "tuple[()]"),
        ("tuple", "tuple[Any, ...]"),
        ("typing.Dict[str, decimal.Decimal]", "dict[str, Decimal]"),
        ("typing.AbstractSet[int]", "AbstractSet[int]"),
        ("typing.Callable[[Animal], str]", "Callable[[Animal], str]"),
        ("Ints", "list[int]"),
        ("Table[int]", "dict[str, int]"),
        ("Tree", "Tree"),
        ("Even", "Even"),
        ("tuple[Odd, Ints]", "tuple[Odd, list[int]]"),
        ("list[pydantic.JsonValue]", "list[JsonValue]"),
        ("UserId", "UserId"),
        ("pydantic.EmailStr", "str"),
        ("pydantic.SecretStr", "SecretStr"),
        ("'some.Name'", "Name"),
        ("list['Name']", "list[Name]"),
        ("typing.ForwardRef('Name')", "Name"),
        ("T", "Any"),
        ("typing.NoReturn", "Never"),
        ("Annotated[int, 1]", "int"),
    ],
)
def test_shown(text: str, expected: str) -> None:
    assert show(annotation(text)) == expected


# Type checkers infer the variance of `class Page[T](BaseModel)`. This is what Python 3.11 can have of it.
INFERRED = """
from typing import Generic
from pydantic import BaseModel, Field
from typing_extensions import TypeVar
T = TypeVar("T", infer_variance=True)
class Assigned(BaseModel, Generic[T]):
    item: list[T]
    other: int
class Frozen(BaseModel, Generic[T], frozen=True):
    item: T
class FrozenField(BaseModel, Generic[T]):
    item: T = Field(frozen=True)
    other: int
class Plain(Generic[T]):
    pass
"""


def test_inferred_variance() -> None:
    names = names_of("inferred_variance", INFERRED)
    assigned = names["Assigned"]
    assert not assignable(assigned[bool], assigned[int])
    assert not assignable(assigned[int], assigned[bool])
    assert assignable(assigned[Any], assigned[bool])
    for unknown in (names["Frozen"], names["FrozenField"], names["Plain"]):
        assert assignable(unknown[bool], unknown[int])
        assert assignable(unknown[int], unknown[bool])
        assert not assignable(unknown[int], unknown[str])


def test_it_is_quick_enough_to_ask_for_every_edge() -> None:
    one, other = annotation("dict[str, list[Page[Dog]]]"), annotation("typing.Mapping[str, typing.Sequence[Page[Any]]]")
    assert all(assignable(one, other) for _ in range(100_000))  # from the cache: about 30 ms


def types_of(leaves: list[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        st.sampled_from(leaves),
        lambda inner: st.builds(
            lambda shape, one, other: shape.format(one, other), st.sampled_from(SHAPES), inner, inner
        ),
        max_leaves=6,
    )


ANY_TYPE = types_of(LEAVES)
SURE_TYPE = types_of([leaf for leaf in LEAVES if leaf != "Any"])


def fits(provided: str, wanted: str) -> bool:
    return assignable(annotation(provided), annotation(wanted))


class TestLaws:
    @given(ANY_TYPE)
    def test_reflexive(self, one: str) -> None:
        assert fits(one, one)

    @given(ANY_TYPE)
    def test_any_fits_both_ways_and_object_is_the_top(self, one: str) -> None:
        assert fits(one, "Any")
        assert fits("Any", one)
        assert fits(f"list[{one}]", "list[Any]")
        assert fits("list[Any]", f"list[{one}]")
        assert fits(one, "object")
        assert fits("typing.NoReturn", one)

    @given(SURE_TYPE, st.randoms(use_true_random=False))
    @settings(max_examples=500)
    def test_transitive_without_any(self, one: str, rng: random.Random) -> None:
        two = related_type(rng, one)
        three = related_type(rng, two)
        for first, second, third in [(one, two, three), (three, two, one), (two, one, three)]:
            if fits(first, second) and fits(second, third):
                assert fits(first, third)

    def test_transitive_on_the_table(self) -> None:
        sure = [text for text in TYPES if "Any" not in text and text not in BARE]
        above = {one: {other for other in sure if fits(one, other)} for one in sure}
        for one in sure:
            for other in above[one]:
                assert above[other] <= above[one], f"{one} -> {other} -> {above[other] - above[one]}"

    @given(ANY_TYPE, ANY_TYPE, ANY_TYPE)
    def test_unions(self, one: str, two: str, three: str) -> None:
        assert fits(one, f"Union[{one}, {two}]")
        assert fits(f"Union[{one}, {two}]", three) == (fits(one, three) and fits(two, three))
        if fits(one, two):
            assert fits(one, f"Union[{two}, {three}]")
            assert fits(one, f"Union[{three}, {two}]")

    @given(ANY_TYPE, st.randoms(use_true_random=False))
    def test_variance(self, one: str, rng: random.Random) -> None:
        other = related_type(rng, one)
        there, back = fits(one, other), fits(other, one)
        for covariant in ("typing.Sequence[{}]", "typing.Mapping[str, {}]", "tuple[{}, ...]", "Source[{}]", "type[{}]"):
            assert fits(covariant.format(one), covariant.format(other)) == there
        for invariant in ("list[{}]", "dict[str, {}]", "set[{}]", "Page[{}]", "Cell[{}]", "Boxed[{}]"):
            assert fits(invariant.format(one), invariant.format(other)) == (there and back)
        assert fits(f"Sink[{one}]", f"Sink[{other}]") == back

    @given(ANY_TYPE, ANY_TYPE)
    def test_metadata_makes_no_difference(self, one: str, other: str) -> None:
        assert fits(f"Annotated[{one}, 1]", other) == fits(one, f"Annotated[{other}, 2]") == fits(one, other)

    @given(ANY_TYPE)
    def test_what_is_shown_is_the_same_type(self, one: str) -> None:
        shown: object = eval(show(annotation(one)), NAMES_SHOWN)
        assert assignable(annotation(one), shown)
        assert assignable(shown, annotation(one))
