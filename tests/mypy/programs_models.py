"""Models and functions of random programs, as text: every way of writing a field, its default, a task's signature.

It does not know graphs, nor which field is provided by whom: it is told the fields, and draws how they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from tests.mypy.programs_types import FieldType

X = TypeVar("X")


@dataclass(frozen=True)
class Column:
    """A field of a model. ``key`` is the context key that it stands for, by another name if it was renamed."""

    name: str
    type: FieldType
    required: bool = True
    fold: str = ""
    key: str = ""

    @property
    def at(self) -> str:
        """The context key."""
        return self.key or self.name


Columns = tuple[Column, ...]


@dataclass
class Pen:
    """Draws: whether something happens, one of several, some of them; and collects the statements of a program.

    A statement has the stage that orders it (helpers, models, tasks, graphs), the name that it binds, and its text.
    """

    random: Random
    statements: list[tuple[int, str, str]] = field(default_factory=list)
    models: dict[Columns, str] = field(default_factory=dict)

    def chance(self, percent: int) -> bool:
        """Return True in so many of 100 cases."""
        return self.random.randrange(100) < percent

    def pick(self, options: Sequence[X]) -> X:
        """Return one of ``options``."""
        return self.random.choice(options)

    def some(self, options: Sequence[X], least: int, most: int) -> list[X]:
        """Return up to ``most`` different ones."""
        count = self.random.randint(min(least, len(options)), min(most, len(options)))
        return self.random.sample(options, count)

    def name(self, wanted: str) -> str:
        """Return ``wanted``, or with a number behind it if a statement binds that name already."""
        taken = {name for _, name, _ in self.statements}
        others = (f"{wanted}_{number}" for number in range(2, 1000))
        return wanted if wanted not in taken else next(name for name in others if name not in taken)

    def state(self, stage: int, name: str, text: str) -> str:
        """Add a statement; return the name that it binds."""
        self.statements.append((stage, name, text))
        return name

    def model(self, wanted: str, columns: Columns) -> str:
        """Return how a model with these fields is called; add its class, unless there is one that can be used again."""
        bare = tuple(Column(c.name, c.type, c.required, c.fold) for c in columns)
        if bare in self.models and self.chance(60):
            return self.models[bare]
        made = self.models[bare] = (
            self._generic(wanted, bare) if self._may_be_generic(bare) else self._class(wanted, bare)
        )
        return made

    def _may_be_generic(self, columns: Columns) -> bool:
        if not columns or columns[0].fold or not columns[0].required:
            return False
        # With an annotated argument it is another class to Python than without, to mypy the same.
        return not columns[0].type.text.startswith("Annotated") and self.chance(4)

    def _generic(self, wanted: str, columns: Columns) -> str:
        name, first = self.name(f"{wanted}Of"), columns[0]
        lines = [f"    {first.name}: T", *(f"    {line}" for line in map(self._field, columns[1:]))]
        self.state(1, name, "\n".join([f"class {name}(BaseModel, Generic[T]):", *lines]))
        return f"{name}[{first.type.text}]"

    def _class(self, wanted: str, columns: Columns) -> str:
        name, base = self.name(wanted), "BaseModel"
        if len(columns) > 1 and self.chance(12):
            base, columns = self._class(f"{wanted}Base", columns[:1]), columns[1:]
        lines = [self._field(column) for column in columns]
        if self.chance(12):
            lines.append(self.pick(CLUTTER))
        body = "\n".join(f"    {line}" for line in "\n".join(lines or ["pass"]).split("\n"))
        return self.state(1, name, f"class {name}({base}):\n{body}")

    def _field(self, column: Column) -> str:
        text, value = column.type.text, column.type.value
        if column.fold:
            text = f"Annotated[int, Reduce({column.fold})]"
        forms = (REQUIRED if column.required else OPTIONAL) if self.chance(40) else (PLAIN[column.required],)
        return f"{column.name}: " + self.pick(forms).format(type=text, value=value, name=column.name)

    def function(self, name: str, inputs: Sequence[str], output: str, options: str) -> str:
        """Add a task that reads the models ``inputs`` and writes ``output``, with the arguments of its decorator."""
        parameters = [f"{WORDS[number]}: {model}" for number, model in enumerate(inputs)]
        parameters += ["*", "ctx: TaskContext"] if self.chance(8) else []
        answer = f"Result[{output}, {self._declined()}]" if self.chance(15) else output
        kind = "async def" if self.chance(25) else "def"
        lines = [f"@task{options}", f"{kind} {name}({', '.join(parameters)}) -> {answer}:", f"    {BODY}"]
        return self.state(2, name, "\n".join(lines))

    def _declined(self) -> str:
        if not any(name == "Declined" for _, name, _ in self.statements):
            self.state(1, "Declined", "class Declined(BaseModel):\n    reason: str")
        return "Declined"

    def broken(self, name: str) -> str:
        """Add a function that can't be a task, decorated."""
        signature, classes = self.pick(BROKEN)
        for line in classes:
            bound = line.removeprefix("class ").partition("(")[0].partition(":")[0]
            if not any(taken == bound for _, taken, _ in self.statements):
                self.state(1, bound, line)
        kind = self.pick(("def", "async def"))
        return self.state(2, name, f"@task\n{kind} {name}{signature}:\n    {BODY}")


BODY = "raise NotImplementedError"
WORDS = ("row", "other", "third")
PLAIN = {True: "{type}", False: "{type} = {value}"}
REQUIRED = (
    "{type} = Field()",
    "{type} = Field(...)",
    '{type} = Field(description="d")',
    '{type} = Field(alias="{name}_")',
    'Annotated[{type}, Field(description="d")]',
    "Annotated[{type}, Field(default={value})]",  # which no type checker sees
)
OPTIONAL = (
    "{type} = Field({value})",
    "{type} = Field(default={value})",
    "{type} = Field(default_factory=lambda: {value})",
    '{type} = Field({value}, description="d")',
    'Annotated[{type}, Field(description="d")] = {value}',
)
# What provides nothing.
CLUTTER = (
    'model_config = ConfigDict(extra="allow")',
    'unit: ClassVar[str] = "EUR"',
    "_memo: int = PrivateAttr(default=0)",
    '@property\ndef slot(self) -> str:\n    return "A1"',
    "@computed_field\ndef cents(self) -> int:\n    return 1",
)
PLAIN_ROW = "class Plain(BaseModel):\n    sku: str"
BROKEN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("(number: int) -> None", ()),
    ("(row: dict[str, int]) -> None", ()),
    ("(row: list[Plain]) -> None", (PLAIN_ROW,)),
    ("(row: Plain | None) -> None", (PLAIN_ROW,)),
    ("(row: BaseModel) -> None", ()),
    ("(*rows: Plain) -> None", (PLAIN_ROW,)),
    ("(row: Plain, *, loud: bool) -> None", (PLAIN_ROW,)),
    ("(ctx: TaskContext) -> None", ()),
    ("(row: Plain) -> int", (PLAIN_ROW,)),
    ("(row: Plain) -> list[Plain]", (PLAIN_ROW,)),
    ("(row: Plain) -> Result[int, Plain]", (PLAIN_ROW,)),
    ("(row: Plain) -> Result[Plain, str]", (PLAIN_ROW,)),
    ("(row: Login) -> None", ("class Login(BaseModel):\n    token: SecretStr",)),
    ("() -> Login", ("class Login(BaseModel):\n    token: SecretStr",)),
    ("(row: Silent) -> None", ("class Silent(BaseModel):\n    note: str = Field(exclude=True)",)),
    (
        "() -> Odd",
        (
            "class Thing:\n    pass",
            "class Odd(BaseModel):\n    model_config = ConfigDict(arbitrary_types_allowed=True)\n    thing: Thing",
        ),
    ),
    ("(row: Keyed) -> None", ("class Keyed(BaseModel):\n    items: dict[tuple[int, int], str]",)),
    (
        "(row: Plain, other: Clash) -> None",
        (PLAIN_ROW, "class Clash(BaseModel):\n    sku: int"),
    ),
)
