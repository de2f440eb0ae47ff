"""Sources of models, each with the models in it to be read: by a running program, and by mypy."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

HEADER = """
import collections, dataclasses, datetime, decimal, enum, fractions, functools, ipaddress, operator, pathlib, re, types
import typing, uuid, threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Generic, Hashable, Literal, NamedTuple, NewType, Optional
from typing import TypeVar, Union
import pydantic
import pydantic.dataclasses
import sqlmodel
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PlainValidator
from pydantic import RootModel, SecretStr, SkipValidation, WrapSerializer, field_serializer, field_validator
from pydantic import model_serializer, model_validator
from typing_extensions import NotRequired, TypedDict
from cloaca import Reduce
T = TypeVar("T")
U = TypeVar("U")
"""


@dataclass(frozen=True)
class Case:
    """``names`` are the models to read, as expressions. ``header``: what comes before the source."""

    name: str
    source: str
    names: tuple[str, ...]
    header: str = HEADER

    @property
    def text(self) -> str:
        return self.header + textwrap.dedent(self.source)


def case(name: str, source: str, *names: str, header: str = HEADER) -> Case:
    return Case(name, source, names or ("M",), header)


def fields(name: str, *lines: str) -> Case:
    """A case of one model with these lines as its body."""
    return case(name, "class M(BaseModel):\n" + "".join(f"    {line}\n" for line in lines))


ALIEN = """
class Alien:
    pass
"""
ARBITRARY = "model_config = ConfigDict(arbitrary_types_allowed=True)"


def aliens(name: str, *lines: str, before: str = "") -> Case:
    """A case of a model that allows for arbitrary types, with a class that pydantic knows nothing about."""
    body = "".join(f"    {line}\n" for line in (ARBITRARY, *lines))
    return case(name, ALIEN + textwrap.dedent(before) + "\nclass M(BaseModel):\n" + body)


CASES = [
    fields("plain", "order_id: int", "note: str = ''", "when: datetime.datetime", "price: decimal.Decimal"),
    fields(
        "defaults",
        "assigned: int = 3",
        "none: int | None = None",
        "nullable: int | None",
        "old_nullable: Optional[int]",
        "dots: int = ...  # type: ignore[assignment]",
        "mutable: list[int] = []",
        "computed: int = 1 + 2",
    ),
    fields(
        "field_forms",
        "empty: int = Field()",
        "positional: int = Field(3)",
        "dots: int = Field(...)",
        "default: int = Field(default=3)",
        "default_dots: int = Field(default=...)",
        "none: int | None = Field(None)",
        "factory: list[int] = Field(default_factory=list)",
        "no_factory: int = Field(default_factory=None)",
        "constrained: int = Field(gt=0)",
        "both: int = Field(3, gt=0)",
        "qualified: int = pydantic.Field(default=3)",
        "fields: int = pydantic.fields.Field(3)",
        "aliased: int = Field(alias='Aliased')",
        "validation: int = Field(1, validation_alias='V')",
        "frozen: int = Field(frozen=True)",
        "kept: int = Field(exclude=False)",
        "kept_too: int = Field(exclude=None)",
    ),
    fields(
        "default_in_annotated",
        "inside: Annotated[int, Field(default=3)]",
        "factory: Annotated[list[int], Field(default_factory=list)]",
        "both: Annotated[int, Field(default=3)] = 4",
        "described: Annotated[int, Field(default=3)] = Field(description='d')",
        "bare: Annotated[int, 'doc']",
    ),
    fields(
        "no_fields",
        "model_config = ConfigDict(extra='allow')",
        "kind: ClassVar[str] = 'rich'",
        "other: ClassVar = 3",
        "_private: int = pydantic.PrivateAttr(default=1)",
        "_bare: int",
        "real: int",
        "frozen: Final[int]  # type: ignore[misc]",
        "@property",
        "def doubled(self) -> int: return 2",
        "@pydantic.computed_field  # type: ignore[prop-decorator]",
        "@property",
        "def computed(self) -> int: return 1",
        "@functools.cached_property",
        "def cached(self) -> int: return 1",
        "def method(self) -> None: ...",
    ),
    case(
        "inheritance",
        """
        class A(BaseModel):
            first: int = 3
            second: str
            third: list[int] = []
        class B(A):
            fourth: int
            first: int
        class C(B):
            third: list[int]
            second: str = "x"
        """,
        *("A", "B", "C"),
    ),
    case(
        "diamond",
        """
        class A(BaseModel):
            a: int
        class B(A):
            b: int = 1
        class C(A):
            c: int
            a: int = 2
        class D(B, C):
            d: int
        """,
        "D",
    ),
    case(
        "two_bases",
        """
        class A(BaseModel):
            x: int
        class B(BaseModel):
            y: int = Field(1)
        class M(A, B):
            z: int
        @dataclasses.dataclass
        class Shape(typing.Protocol):
            x: int
        @dataclasses.dataclass
        class Square:
            x: int = 1
            y: int = 2
        shape: Shape = Square()
        """,
    ),
    case(
        "narrowed",
        """
        class A(BaseModel):
            x: object
            y: float = 1
        class B(A):
            x: int
            y: int = 2
        """,
        *("A", "B"),
    ),
    case(
        "mixin",
        """
        class Stamp:
            at: datetime.datetime
            by: str = "me"
            def method(self) -> None: ...
        class M(Stamp, BaseModel):
            x: int
        """,
    ),
    case(
        "class_variable_in_subclass",
        """
        class A(BaseModel):
            x: int = 1
            y: int
        class M(A):
            x: ClassVar[int] = 2  # type: ignore[misc]
        """,
    ),
    case(
        "generic",
        """
        class Page(BaseModel, Generic[T]):
            items: list[T]
            first: T | None = None
        class Order(BaseModel):
            x: int
        class Orders(Page[Order]):
            total: int
        class Pair(Page[T], Generic[T, U]):
            other: U
        class Holder(BaseModel):
            page: Page[Order]
            bare: Page
        """,
        *("Page[Order]", "Page", "Orders", "Pair[int, str]", "Pair", "Page[list[int]]", "Page[Page[int]]", "Holder"),
    ),
    case(
        "generic_problems",
        """
        class Sack(BaseModel, Generic[T]):
            item: T
            items: list[T]
        class M(BaseModel):
            sack: Sack[SecretStr]
            fine: Sack[int]
        """,
        *("Sack[SecretStr]", "M", "Sack"),
    ),
    case(
        "generic_default",
        """
        import typing_extensions
        D = typing_extensions.TypeVar("D", default=int)
        class Counted(BaseModel, Generic[D]):
            count: D
        """,
        *("Counted", "Counted[str]"),
    ),
    case(
        "generic_dataclass",
        """
        @dataclasses.dataclass
        class Box(Generic[T]):
            item: T
            token: SecretStr
        class M(BaseModel):
            box: Box[int]
            other: Box[SecretStr]
        """,
    ),
    fields(
        "types",
        "a: bool",
        "b: bytes",
        "c: float",
        "d: uuid.UUID",
        "e: pathlib.Path",
        "f: datetime.timedelta",
        "g: Any",
        "h: object",
        "i: fractions.Fraction",
        "j: ipaddress.IPv4Address",
        "k: re.Pattern[str]",
        "l: None",
        "m: Hashable",
        "n: complex",
        "o: datetime.date",
    ),
    fields(
        "containers",
        "a: list[int]",
        "b: dict[str, list[int]]",
        "c: set[int] | frozenset[str]",
        "d: tuple[int, str]",
        "e: tuple[int, ...]",
        "f: tuple[()]",
        "g: Sequence[int]",
        "h: Mapping[str, int]",
        "i: collections.deque[int]",
        "j: collections.Counter[str]",
        "k: collections.defaultdict[str, list[int]]",
        "l: collections.OrderedDict[str, int]",
        "m: typing.List[int]",
        "n: typing.Dict[str, int]",
        "o: collections.abc.Set[int]",
        "p: list[list[Any]]",
    ),
    fields("bare_containers", "a: list", "b: dict", "c: tuple", "d: set"),
    fields(
        "unions",
        "a: int | str",
        "b: Union[int, str]",
        "c: Optional[list[int]]",
        "d: Literal['a', 'b']",
        "e: Literal[1, 'b', True, None]",
        "f: int | None | str",
        "g: Literal['a'] | int",
    ),
    fields(
        "annotated",
        "a: Annotated[int, Field(gt=0)]",
        "b: list[Annotated[int, Field(gt=0)]]",
        "c: Annotated[Annotated[int, 1], 2]",
        "d: Annotated[int | None, 'doc'] = None",
        "e: typing.Annotated[str, pydantic.StringConstraints(min_length=1)]",
    ),
    fields(
        "pydantic_types",
        "a: pydantic.PositiveInt",
        "b: pydantic.HttpUrl",
        "c: pydantic.AwareDatetime",
        "d: pydantic.Base64Bytes",
        "e: pydantic.ByteSize",
        "f: pydantic.PastDate",
        "g: pydantic.PostgresDsn",
        "h: pydantic.StrictInt",
        "i: pydantic.FilePath",
        "j: pydantic.UUID4",
    ),
    fields("json_value", "a: pydantic.JsonValue", "b: list[pydantic.JsonValue]"),
    fields("json", "a: pydantic.Json[list[int]]", "b: pydantic.Json[Any]"),
    fields("ip_any", "a: pydantic.IPvAnyAddress"),
    case(
        "nested",
        """
        class Address(BaseModel):
            city: str
        class Customer(BaseModel):
            address: Address
            others: list[Address] = []
        class M(BaseModel):
            customer: Customer | None
        """,
    ),
    case(
        "nested_problems",
        """
        class Card(BaseModel):
            pin: SecretStr
            hidden: int = Field(1, exclude=True)
        class Wallet(BaseModel):
            cards: list[Card]
        class M(BaseModel):
            fine: int
            wallet: Wallet | None
            again: dict[str, Card]
            card: Card
        """,
        *("M", "Card", "Wallet"),
    ),
    case(
        "recursive",
        """
        class Node(BaseModel):
            value: int
            children: "list[Node]" = []
            parent: "Node | None" = None
            token: SecretStr
        class M(BaseModel):
            node: Node
            other: "Partner | None" = None
        class Partner(BaseModel):
            m: M
            key: SecretStr
        """,
        *("Node", "M", "Partner"),
    ),
    case(
        "forward",
        """
        class M(BaseModel):
            later: "Later"
            laters: list["Later"]
        class Later(BaseModel):
            x: SecretStr
        """,
    ),
    case(
        "future_annotations",
        """
        class M(BaseModel):
            later: Later
            total: Annotated[int, Reduce(operator.add)]
            hidden: Annotated[int, Field(exclude=True)]
            quoted: "Annotated[int, Field(exclude=True)]"
            default: int = 3
        class Later(BaseModel):
            x: SecretStr
        """,
        header="from __future__ import annotations\n" + HEADER,
    ),
    fields(
        "secrets",
        "a: SecretStr",
        "b: pydantic.SecretBytes",
        "c: pydantic.Secret[int]",
        "d: list[SecretStr]",
        "e: dict[str, list[SecretStr]]",
        "f: tuple[SecretStr, ...]",
        "g: tuple[int, SecretStr]",
        "h: set[SecretStr] | None",
        "i: SecretStr | None = None",
    ),
    fields(
        "exclude",
        "a: int = Field(exclude=True)",
        "b: int = Field(1, exclude=True)",
        "c: Annotated[int, Field(exclude=True)]",
        "d: Annotated[int, Field(exclude=True)] = 3",
        "e: Annotated[int, Field(exclude=True)] = Field(1, description='still')",
        "f: Annotated[int, Field(exclude=True)] = Field(1, exclude=False)",
        "g: int = Field(exclude_if=bool)",
        "h: SecretStr = Field(exclude=True)",
        "i: Annotated[int, Field(exclude_if=bool)]",
        "j: list[Annotated[int, Field(exclude=True)]]",
    ),
    case(
        "exclude_in_alias",
        """
        Hidden = Annotated[int, Field(exclude=True)]
        Twice = Annotated[Hidden, "doc"]
        class M(BaseModel):
            a: Hidden
            b: Twice
            c: "Hidden"
            d: list[Hidden]
        """,
    ),
    case(
        "reducers",
        """
        def fold(a: int, b: int) -> int: return a
        add = operator.add
        ADD = Reduce(operator.add)
        Total = Annotated[int, Reduce(operator.add)]
        AnyTotal = Annotated[Total, "doc"]
        Odd = Annotated[int, Reduce(lambda a, b: a)]
        class Tools:
            @staticmethod
            def best(a: int, b: int) -> int: return a
        class Derived(Tools):
            pass
        class A(BaseModel):
            add: Annotated[int, Reduce(operator.add)]
            mul: Annotated[int, Reduce(operator.mul)]
            fold: Annotated[int, Reduce(fold)]
            named: Annotated[int, Reduce(add)]
            variable: Annotated[int, ADD]
            alias: Total
            alias_twice: AnyTotal
            odd: Odd
            lambda_1: Annotated[int, Reduce(lambda a, b: a)]
            lambda_2: Annotated[int, Reduce(lambda a, b: a)]
            keyword: Annotated[int, Reduce(function=operator.add)]
            builtin: Annotated[int, Reduce(max)]
            partial: Annotated[int, Reduce(functools.partial(fold))]
            plain: int
            inside: list[Annotated[int, Reduce(operator.add)]]
            optional: Total | None
        class B(BaseModel):
            add: Annotated[int, Field(gt=0), Reduce(operator.add)] = Field(default=1, lt=9)
            last: Annotated[Annotated[int, Reduce(operator.mul)], Reduce(operator.add)]
            mul: Annotated[int, Reduce(operator.mul), "doc"] = 1
            fold: Annotated[int, Reduce(fold)]
            odd: Odd
            builtin: Annotated[int, Reduce(max)]
            best: Annotated[int, Reduce(Tools.best)]
            derived: Annotated[int, Reduce(Derived.best)]
            lambda_1: Annotated[int, Reduce(lambda a, b: a)]
        class C(A):
            add: int
            more: Total
        """,
        *("A", "B", "C"),
    ),
    case(
        "arbitrary",
        ALIEN
        + """
class Text(str):
    pass
class Tags(list[int]):
    pass
class M(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    a: Alien
    b: list[Alien]
    c: Alien | None = None
    d: Text
    e: Tags
    f: bytearray
    g: threading.Event
    h: typing.Collection[int]
    i: dict[Alien, int]
    j: Exception
""",
    ),
    case(
        "schema",
        """
        class Ratio:
            @classmethod
            def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
                from pydantic_core import core_schema
                return core_schema.any_schema()
        class Half(Ratio):
            pass
        class M(BaseModel):
            a: Ratio
            b: list[Half]
        """,
    ),
    fields(
        "code",
        ARBITRARY,
        "a: Callable[[int], int]",
        "b: type[int]",
        "c: type",
        "d: Callable[..., Any]",
        "e: Callable[[], None] | None",
        "f: typing.Callable",
        "g: list[type[int]]",
    ),
    fields(
        "one_pass",
        "a: Iterable[int]",
        ARBITRARY,
        "b: Iterator[int]",
        "c: typing.Generator[int, None, None]",
        "d: list[Iterable[int]]",
    ),
    fields(
        "import_string", "a: pydantic.ImportString", "b: pydantic.ImportString[Any]", "c: pydantic.ImportString = 'x'"
    ),
    fields("patterns", "a: re.Pattern[bytes]", "b: re.Pattern[str]", "c: typing.Pattern[bytes] | None"),
    aliens(
        "skip_validation",
        "a: SkipValidation[datetime.date]",
        "b: SkipValidation[list[int]]",
        "c: Annotated[datetime.date, SkipValidation]",
        "d: Annotated[dict[str, datetime.date], SkipValidation()]",
        "e: pydantic.SkipValidation[dict[str, datetime.date]]",
        "f: Annotated[int | None, SkipValidation]",
    ),
    aliens("instance_of", "a: pydantic.InstanceOf[Alien]", "b: pydantic.InstanceOf[int]"),
    case(
        "enums",
        """
        class Plain(enum.Enum):
            Z = "a"
            B = 2
            C = None
            D = 1.5
            E = -1
        class Pairs(enum.Enum):
            Z = "z"
            Y = (1, 2)
            A = (3, 4)
        class Days(enum.Enum):
            ONE = datetime.timedelta(days=1)
        class Mixed(str, enum.Enum):
            A = "a"
        class Strings(enum.StrEnum):
            A = enum.auto()
        class Level(enum.IntEnum):
            LOW = 1
        class Bits(enum.Flag):
            X = 1
            Y = 2
        class Auto(enum.Enum):
            A = enum.auto()
        class Switch(enum.Enum):
            ON = True
        class Labelled(enum.Enum):
            A = ("a", "label")
            def __new__(cls, value: str, label: str) -> "Labelled":
                made = object.__new__(cls)
                made._value_ = value
                return made
        class M(BaseModel):
            a: Plain
            b: Pairs
            c: Days | None
            d: Mixed
            e: Level
            f: Bits
            g: Auto
            h: Labelled
            i: Strings
            j: enum.Enum
            k: list[Pairs]
            l: Switch
        class Keys(BaseModel):
            a: dict[Plain, int]
            b: dict[Pairs, int]
            c: dict[Mixed, int]
            d: dict[Level, int]
            e: dict[Bits, int]
            f: dict[Auto, int]
            g: dict[Strings, int]
            h: dict[Switch, int]
        """,
        *("M", "Keys"),
    ),
    case(
        "literals",
        """
        class Plain(enum.Enum):
            A = "a"
        class Mixed(str, enum.Enum):
            A = "a"
        class M(BaseModel):
            a: Literal["x"]
            b: Literal[b"x"]
            c: Literal[Plain.A]
            d: Literal[Mixed.A]
            e: Literal[b"x", "y"]
            f: list[Literal[Plain.A]]
            g: Literal["a", 1, True, None]
        """,
    ),
    case(
        "keys",
        """
        class Point(NamedTuple):
            x: int
        @dataclasses.dataclass(frozen=True)
        class Plan:
            x: int
        class Frozen(BaseModel, frozen=True):
            x: int
        PairId = NewType("PairId", tuple[int, int])
        UserId = NewType("UserId", int)
        class Plain(enum.Enum):
            A = 1
        class M(BaseModel):
            a: dict[tuple[int, int], str]
            b: dict[int | str, str]
            c: dict[int, str]
            d: dict[Point, int]
            e: dict[Plan, int]
            f: dict[Frozen, int]
            g: dict[PairId, int]
            h: dict[UserId, int]
            i: dict[None, int]
            j: dict[str | None, int]
            k: dict[frozenset[int], int]
            l: dict[Literal[1], int]
            m: dict[Literal["a", "b"], int]
            n: dict[Literal[Plain.A], int]
            o: dict[float | str, int]
            p: Mapping[int | float, int]
            q: dict[Any, int]
            r: dict[uuid.UUID, int]
            s: dict[bytes, int]
            t: dict[tuple[int, int], SecretStr]
            u: list[dict[tuple[int, ...], str]]
            v: dict[datetime.date, int]
            w: dict[Literal["a"] | int, int]
            x: collections.Counter[tuple[int, int]]
            y: dict[Literal["a", 1], int]
            z: dict[complex, int]
        """,
    ),
    case(
        "dataclasses",
        """
        @dataclasses.dataclass
        class Plan:
            x: int
            token: SecretStr
            hidden: int = Field(1, exclude=True)
            kind: ClassVar[int] = 3
        @dataclasses.dataclass
        class Longer(Plan):
            more: SecretStr | None = None
        @pydantic.dataclasses.dataclass
        class Checked:
            x: int
            plan: Plan
            hidden: int = Field(exclude=True)
        @pydantic.dataclasses.dataclass
        class WithInit:
            x: int
            seed: dataclasses.InitVar[int]
        @dataclasses.dataclass
        class WithInitToo:
            x: int
            seed: dataclasses.InitVar[SecretStr]
        class M(BaseModel):
            a: Plan
            b: list[Longer]
            c: Checked
            d: WithInit
            e: WithInitToo | None
        """,
    ),
    case(
        "dataclass_metadata",
        ALIEN
        + """
@dataclasses.dataclass
class Plan:
    a: Annotated[SecretStr, PlainSerializer(lambda s: s.get_secret_value())]
    b: Annotated[Alien, PlainSerializer(lambda a: 1)]
    c: Annotated[int, Field(exclude=True)]
class M(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    a: Plan
""",
    ),
    case(
        "checked_dataclass_decorators",
        """
        @pydantic.dataclasses.dataclass
        class Checked:
            token: SecretStr
            other: SecretStr
            @field_serializer("token")
            def reveal(self, token: SecretStr) -> str: return token.get_secret_value()
        class M(BaseModel):
            a: Checked
        """,
    ),
    case(
        "typed_dicts",
        """
        class Movie(TypedDict):
            name: str
            year: NotRequired[int]
        class M(BaseModel):
            a: Movie
            b: list[Movie]
        """,
    ),
    case(
        "named_tuples",
        """
        class Point(NamedTuple):
            x: int
            y: str = ""
        class M(BaseModel):
            a: Point
            b: dict[str, Point]
        """,
    ),
    case(
        "new_types",
        """
        UserId = NewType("UserId", int)
        Token = NewType("Token", SecretStr)
        Tokens = NewType("Tokens", list[SecretStr])
        Pair = NewType("Pair", tuple[int, int])
        class M(BaseModel):
            a: UserId
            b: Token
            c: list[UserId]
            d: Tokens
            e: Pair
        """,
    ),
    case(
        "aliases",
        """
        Amounts = list[decimal.Decimal]
        Listed = list[T]
        Key = dict[tuple[int, int], str]
        Name: typing.TypeAlias = str
        class M(BaseModel):
            a: Amounts
            b: Listed[int]
            c: Listed[SecretStr]
            d: Key
            e: Name
        """,
    ),
    case(
        "named_aliases",
        """
        from typing_extensions import TypeAliasType
        Amounts = TypeAliasType("Amounts", list[decimal.Decimal])
        Deep = TypeAliasType("Deep", "dict[str, Deep] | int")
        Secrets = TypeAliasType("Secrets", "dict[str, Secrets] | SecretStr")
        Total = TypeAliasType("Total", Annotated[int, Reduce(operator.add)])
        Hidden = TypeAliasType("Hidden", Annotated[int, Field(exclude=True)])
        class M(BaseModel):
            a: Amounts
            b: Deep
            c: Secrets
            d: Total
            e: Hidden
        """,
    ),
    case("root_model", "class M(RootModel[list[str]]):\n    pass\n"),
    case("generic_root_model", "class R(RootModel[list[T]], Generic[T]):\n    pass\n", "R[int]"),
    case(
        "root_model_inside",
        """
        class Tags(RootModel[list[str]]):
            pass
        class Tokens(RootModel[list[SecretStr]]):
            pass
        class M(BaseModel):
            a: Tags
            b: Tokens
        """,
    ),
    case(
        "sqlmodel",
        """
        class Hero(sqlmodel.SQLModel):
            id: int | None = sqlmodel.Field(default=None, primary_key=True)
            name: str = sqlmodel.Field(index=True)
            age: int = sqlmodel.Field(3)
            token: SecretStr
            tags: list[str] = sqlmodel.Field(default_factory=list)
        """,
        "Hero",
    ),
    case(
        "sqlmodel_table",
        """
        class Team(sqlmodel.SQLModel, table=True):
            id: int | None = sqlmodel.Field(default=None, primary_key=True)
            heroes: list["Hero"] = sqlmodel.Relationship(back_populates="team")
        class Hero(sqlmodel.SQLModel, table=True):
            id: int | None = sqlmodel.Field(default=None, primary_key=True)
            team_id: int | None = sqlmodel.Field(default=None, foreign_key="team.id")
            team: Team | None = sqlmodel.Relationship(back_populates="heroes")
            secret: int = sqlmodel.Field(exclude=True)
        """,
        *("Team", "Hero"),
    ),
    aliens(
        "metadata",
        "a: Annotated[Alien, PlainValidator(lambda _: Alien()), PlainSerializer(lambda _: 1)]",
        "b: Annotated[SecretStr, PlainSerializer(lambda s: s.get_secret_value())]",
        "c: list[Annotated[SecretStr, PlainSerializer(lambda s: s.get_secret_value())]]",
        "d: Annotated[Alien, PlainSerializer(lambda _: 1)]",
        "e: Annotated[Alien, BeforeValidator(lambda x: x)]",
        "f: Annotated[Alien, AfterValidator(lambda x: x), WrapSerializer(lambda x, f: x)]",
        "g: Annotated[Alien, Load, Dump]",
        "h: Healed",
        "i: list[Healed]",
        "j: Healed | None",
        "k: Annotated[SecretStr, 'doc']",
        "l: Annotated[list[SecretStr], Field(min_length=1)]",
        "m: Annotated[Alien, pydantic.GetPydanticSchema(lambda t, h: h(int))]",
        before="""
        Load = PlainValidator(lambda _: Alien())
        Dump = PlainSerializer(lambda _: 1)
        Healed = Annotated[Alien, Load, Dump]
        """,
    ),
    aliens(
        "own_metadata",
        "a: Annotated[Alien, AlienSchema()]",
        "b: Annotated[Alien, AlienSchema]",
        "c: list[Annotated[Alien, AlienSchema()]]",
        before="""
        class AlienSchema:
            @classmethod
            def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
                from pydantic_core import core_schema
                return core_schema.any_schema()
        """,
    ),
    aliens(
        "decorators",
        "token: SecretStr",
        "alien: Alien",
        "other: Alien",
        "third: Alien",
        "@field_serializer('token', when_used='json')",
        "def reveal(self, token: SecretStr) -> str: return token.get_secret_value()",
        "@field_serializer('alien', 'other')",
        "def dump(self, alien: Alien) -> int: return 1",
        "@field_validator('alien', mode='before')",
        "@classmethod",
        "def load(cls, value: object) -> object: return value",
        "@field_validator('other', mode='after')",
        "@classmethod",
        "def check(cls, value: Alien) -> Alien: return value",
    ),
    case(
        "inherited_decorators",
        """
        class A(BaseModel):
            token: SecretStr
            @field_serializer("*")
            def reveal(self, token: Any) -> str: return "x"
        class M(A):
            other: SecretStr
        """,
    ),
    case(
        "assigned_decorators",
        """
        def reveal(value: SecretStr) -> str: return value.get_secret_value()
        class M(BaseModel):
            token: SecretStr
            other: SecretStr
            _reveal = field_serializer("token")(reveal)
        """,
    ),
    case(
        "model_decorators",
        ALIEN
        + """
class Closed(BaseModel):
    token: SecretStr
    @model_serializer
    def dump(self) -> str: return self.token.get_secret_value()
    @model_validator(mode="before")
    @classmethod
    def load(cls, value: Any) -> Any: return value
class Flat(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    token: SecretStr
    alien: Alien
    @model_serializer(mode="plain")
    def dump(self) -> int: return 1
    @model_validator(mode="after")
    def check(self) -> "Flat": return self
class M(BaseModel):
    a: Closed
    b: Flat
""",
        *("M", "Closed", "Flat"),
    ),
    case(
        "conditional",
        """
        import sys
        class M(BaseModel):
            a: int
            if sys.version_info >= (3, 8):
                b: int = 1
            else:
                c: int
        """,
    ),
    case(
        "config",
        """
        class M(BaseModel, frozen=True, populate_by_name=True):
            a: int = Field(alias="A")
            b: int = 3
        class N(M):
            c: SecretStr
        """,
        *("M", "N"),
    ),
    case(
        "in_class",
        """
        class Outer:
            class M(BaseModel):
                x: int
                total: Annotated[int, Reduce(operator.add)] = 0
        """,
        "Outer.M",
    ),
    case("base_model_itself", "class M(BaseModel):\n    a: BaseModel\n    b: list[BaseModel] = []\n"),
    case("empty", "class M(BaseModel):\n    pass\n"),
    case(
        "shared",
        """
        class Shared(BaseModel):
            token: SecretStr
            total: Annotated[int, Reduce(operator.add)] = 0
            first: Annotated[int, Field(exclude=True)]
        Hidden = Annotated[int, Field(exclude=True)]
        Total = Annotated[int, Reduce(operator.add)]
        ADD = Reduce(operator.add)
        LAST = Reduce(lambda a, b: b)
        Last = Annotated[int, LAST]
        """,
        "Shared",
    ),
    case(
        "other_module",
        """
        from case_shared import Shared, Total, Hidden, ADD, Last
        import case_shared
        import case_shared as cs
        class Child(Shared):
            first: int
            zeroth: int
        class M(BaseModel):
            nested: Shared
            total: Total
            qualified: case_shared.Total
            renamed: cs.Hidden
            hidden: Hidden
            add: Annotated[int, ADD]
            last: Last
            last_too: Annotated[int, cs.LAST]
            listed: list[Hidden]
        """,
        *("Child", "M"),
    ),
    case(
        "star_import",
        """
        from case_shared import *
        class M(BaseModel):
            hidden: Hidden
            total: Total
        """,
    ),
    case(
        "late_alias",
        """
        class M(BaseModel):
            hidden: "Hidden"
            total: "Total"
        Hidden = Annotated[int, Field(exclude=True)]
        Total = Annotated[int, Reduce(operator.add)]
        """,
    ),
    case(
        "renamed_imports",
        """
        from pydantic import Field as F, BaseModel as B, SecretStr as S
        from typing import Annotated as A
        import typing as t
        from operator import add
        from cloaca import Reduce as R
        import cloaca
        class M(B):
            a: int = F(3)
            b: int = F(gt=0)
            c: A[int, F(exclude=True)]
            d: t.Annotated[int, R(add)]
            e: S
            f: A[int, cloaca.Reduce(operator.add)]
        """,
    ),
    case(
        "type_parameters",
        """
        class Animal(BaseModel):
            name: str
        B = TypeVar("B", bound=Animal)
        class Cage(BaseModel, Generic[B]):
            animal: B
        class Cat(Animal):
            lives: int = 9
        """,
        *("Cage[Cat]", "Cage"),
    ),
    case(
        "renamed_decorators",
        """
        from pydantic import field_serializer as dumps, field_validator as loads
        import pydantic as p
        class M(BaseModel):
            token: SecretStr
            other: SecretStr
            third: SecretStr
            @dumps("token")
            def reveal(self, token: SecretStr) -> str: return token.get_secret_value()
            @p.field_serializer("other")
            def reveal_other(self, token: SecretStr) -> str: return token.get_secret_value()
        """,
    ),
    case(
        "healed_argument",
        """
        Revealed = Annotated[SecretStr, PlainSerializer(lambda s: s.get_secret_value())]
        class Sack(BaseModel, Generic[T]):
            item: T
        class M(Sack[Annotated[SecretStr, PlainSerializer(lambda s: s.get_secret_value())]]):
            pass
        class N(Sack[Revealed]):
            pass
        class O(Sack[SecretStr]):
            pass
        class P(BaseModel):
            sack: Sack[Revealed]
        """,
        *("M", "N", "O", "P"),
    ),
    case(
        "enums_of_their_own",
        """
        class Named(enum.Enum):
            A = ("a", 1)
            def __init__(self, label: str, number: int) -> None:
                self.label = label
        class Renamed(enum.Enum):
            A = ("a", 1)
            def __init__(self, label: str, number: int) -> None:
                self._value_ = label
        class Generated(enum.Enum):
            @staticmethod
            def _generate_next_value_(name: str, start: int, count: int, last: list[Any]) -> str: return name
            A = enum.auto()
        class Outer:
            class Inner(enum.Enum):
                A = (1,)
        class Amounts(enum.Enum):
            A = decimal.Decimal("1")
        class Methods(enum.Enum):
            A = "a"
            label: str
            @property
            def upper(self) -> str: return "A"
            def method(self) -> None: ...
        class M(BaseModel):
            a: Named
            b: Renamed
            c: Generated
            d: Outer.Inner
            e: Amounts
            f: Methods
            g: dict[Generated, int]
            h: dict[Methods, int]
        """,
    ),
    case(
        "frozen",
        """
        class A(BaseModel, frozen=True):
            x: int
            y: list[int] = []
            token: SecretStr
        class M(A):
            z: int = 1
        class Plan(BaseModel):
            model_config = ConfigDict(frozen=True)
            x: int = Field(3)
        class Longer(Plan):
            y: Annotated[int, Reduce(operator.add)]
        """,
        *("A", "M", "Longer"),
    ),
    case(
        "overridden_facts",
        """
        class A(BaseModel):
            total: Annotated[int, Reduce(operator.add)]
            hidden: int = Field(exclude=True)
            token: Annotated[SecretStr, PlainSerializer(lambda s: s.get_secret_value())]
        class M(A):
            total: int
            hidden: int
            token: SecretStr
        """,
        *("A", "M"),
    ),
    case(
        "dataclass_forms",
        """
        @dataclasses.dataclass
        class Plan:
            x: int
            _: dataclasses.KW_ONLY
            y: int = dataclasses.field(default=1, init=False)
            z: list[int] = dataclasses.field(default_factory=list)
            code: ClassVar[Callable[[], int]]
        @dataclasses.dataclass(frozen=True)
        class Own:
            x: SecretStr
            @classmethod
            def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
                from pydantic_core import core_schema
                return core_schema.any_schema()
        class M(BaseModel):
            a: Plan
            b: Own
        """,
    ),
    case(
        "typed_dict_problems",
        """
        class Login(TypedDict):
            token: SecretStr
            revealed: Annotated[SecretStr, PlainSerializer(lambda s: s.get_secret_value())]
        class Point(NamedTuple):
            token: SecretStr
        class M(BaseModel):
            a: Login
            b: Point
            c: dict[Login, int]
            d: list[Login]
        """,
    ),
    case(
        "created",
        'M = pydantic.create_model("M", token=(SecretStr, ...), x=(int, 3))\nclass N(M):  # type: ignore\n    y: int\n',
        "N",
    ),
    case(
        "unknown",
        """
        from dataclasses import dataclass
        @dataclass
        class Marker:
            text: str
        def my_field() -> Any:
            return Field(gt=0)
        COMMON: Any = Field(gt=0)
        class M(BaseModel):
            a: Annotated[SecretStr, Marker("x")]
            b: int = my_field()
            c: int = COMMON
            d: list[Annotated[SecretStr, Marker("x")]]
        """,
    ),
    case(
        "arguments",
        """
        KW: Any = {"gt": 0}
        class M(BaseModel):
            a: int = Field(**KW)
            b: int = Field(1, **KW)
            c: int = Field(exclude=KW is KW)
        """,
    ),
]

Field_ = tuple[str, str, str]

SILENT: dict[Field_, str] = {
    ("typed_dict_problems", "M", "a"): "mypy drops the metadata of a TypedDict's items, so what they hold isn't judged",
    ("typed_dict_problems", "M", "b"): "the same for a named tuple's",
    ("typed_dict_problems", "M", "d"): "the same in a list",
    ("unknown", "M", "a"): "metadata of an own class may say how to dump and read, as far as a type checker knows",
    ("unknown", "M", "d"): "the same in a list",
    ("arguments", "M", "c"): "the value of exclude= is known when the program runs",
    ("enums_of_their_own", "M", "a"): "an __init__ may set _value_",
    ("created", "N", "token"): "what create_model makes isn't visible: StaticModels.is_known says so",
}
"""Problems that only a running program tells: by case, model and field, each with its reason."""

REQUIRED: dict[Field_, str] = {
    ("unknown", "M", "b"): "what a function of one's own returns may be a default or a Field without one",
    ("unknown", "M", "c"): "so may what a variable holds",
    ("arguments", "M", "a"): "a default may be among the arguments in **KW",
}
"""Fields that are required, and that mypy and its plugins take to have a default."""

TYPES: dict[Field_, str] = {
    ("code", "M", "c"): "type is type[Any], and mypy doesn't say so",
    ("code", "M", "e"): "a running program doesn't compare functions, and shows none",
    ("code", "M", "f"): "the same",
    ("import_string", "M", "a"): "pydantic tells type checkers that it is Any",
    ("import_string", "M", "c"): "the same",
}
"""Fields whose types print otherwise."""

NAMES: dict[tuple[str, str], str] = {
    ("generic_default", "Counted"): "mypy fills in the default, and forgets that it did",
}
"""Models whose names print otherwise."""
