"""One project in two layouts, all in one module or in six, and the edits that a person makes to it.

An edit changes what mypy says of the workflows, often from far away: that is what a cache may miss. What mypy says is
not written here, only in which words it has to differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

BASES: Final = '''\
"""Base classes."""

from pydantic import BaseModel


class Place(BaseModel):
    street: str


class Town(Place):
    mayor: str = "?"


class Dated(BaseModel):
    day: str
'''

KINDS: Final = '''\
"""Field types."""

import operator
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Annotated, Generic, TypeAlias, TypedDict, TypeVar

from pydantic import BaseModel, SecretStr, field_serializer

from cloaca import Reduce
from .bases import Town

T = TypeVar("T")

Money: TypeAlias = Decimal
Total = Annotated[int, "total"]


class Shelf(Town):
    row: int


class Colour(str, Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Size:
    width: int
    height: int = 1


class Labels(TypedDict):
    text: str


class Box(BaseModel, Generic[T]):
    inside: T
'''

MODELS: Final = '''\
"""Models."""

import operator
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from cloaca import Reduce
from .bases import Dated, Place
from .kinds import Box, Colour, Labels, Money, Shelf, Size, Total


class OrderRef(BaseModel):
    order_id: int
    customer: str


class Order(Dated):
    order_id: int
    sku: str
    amount: Money
    colour: Literal[Colour.RED]
    size: Size
    labels: Labels
    box: Box[int]


class Charge(BaseModel):
    order_id: int
    amount: Decimal
    memo: str = ""


class Payment(BaseModel):
    payment_id: str


class Declined(BaseModel):
    reason: str


class Refused(BaseModel):
    reason: str


class Pick(BaseModel):
    sku: str
    day: str
    colour: Colour
    size: Size
    box: Box[int]


class Reservation(BaseModel):
    shelf: Shelf


class Parcel(BaseModel):
    payment_id: str
    shelf: Place
    customer: str


class Shipment(BaseModel):
    tracking: str


class Large(BaseModel):
    amount: Decimal


class Points(BaseModel):
    points: Annotated[int, "points"]


class Sum(BaseModel):
    total: Total
'''

TASKS: Final = '''\
"""Tasks."""

from returns.result import Result

from cloaca import Retry, TaskContext, task
from .models import (
    Charge,
    Declined,
    Large,
    Order,
    OrderRef,
    Parcel,
    Payment,
    Pick,
    Points,
    Refused,
    Reservation,
    Shipment,
    Sum,
)


@task
def fetch(ref: OrderRef) -> Order:
    raise NotImplementedError


@task(retry=Retry(attempts=5), timeout=30)
async def charge(bill: Charge) -> Result[Payment, Declined]:
    raise NotImplementedError


@task
def reserve(pick: Pick) -> Reservation:
    raise NotImplementedError


@task
def ship(parcel: Parcel, *, ctx: TaskContext) -> Shipment:
    raise NotImplementedError


@task
def early(order: Order) -> Points:
    raise NotImplementedError


@task
def late(order: Order) -> Points:
    raise NotImplementedError


@task
def added(order: Order) -> Sum:
    raise NotImplementedError


@task
def summed(order: Order) -> Sum:
    raise NotImplementedError


@task
def audit(shipment: Shipment) -> None:
    raise NotImplementedError


def is_large(order: Large) -> bool:
    raise NotImplementedError
'''

GRAPHS: Final = '''\
"""Graphs."""

from cloaca import Graph
from .models import Order, OrderRef, Parcel, Payment, Shipment
from .tasks import added, audit, charge, early, fetch, is_large, late, reserve, ship, summed

handled = charge & reserve
pair = (charge, reserve)


class Ends:
    last = ship


def handling() -> Graph[Parcel, Shipment]:
    return ship & ship


def pay() -> Graph[Order, Payment]:
    return charge & charge


sealed_off = (handled >> ship).sealed(Parcel, Shipment)
'''

WORKFLOWS: Final = '''\
"""Workflows."""

from cloaca import Workflow, run
from .graphs import Ends, handled, handling, pair, pay, sealed_off
from .models import OrderRef
from .tasks import added, audit, charge, early, fetch, is_large, late, reserve, ship, summed

inline = Workflow("inline", fetch >> [charge, reserve] >> ship, input=OrderRef)
imported = Workflow("imported", fetch >> handled >> Ends.last)
paired = Workflow("paired", fetch >> pair >> Ends.last >> audit)
declared = Workflow("declared", fetch >> [pay(), reserve] >> handling())
sealed = Workflow("sealed", fetch >> charge >> reserve >> sealed_off)
early_and_late = Workflow("early_and_late", fetch >> [early, late])
sums = Workflow("sums", fetch >> [added, summed])
conditional = Workflow("conditional", fetch >> (handled >> ship).when(is_large))
missing = Workflow("missing", reserve >> charge >> ship, input=OrderRef)


def later() -> None:
    reveal_type(Workflow("later", fetch >> handled >> ship))
    run(Workflow("other", fetch >> charge), 3)


class Held:
    workflow = Workflow("held", fetch >> handled >> ship)


reveal_type(inline)
reveal_type(declared)
reveal_type(conditional)
reveal_type(run(inline, OrderRef(order_id=1, customer="c")))
'''

MODULES: Final[Mapping[str, str]] = {
    "bases": BASES,
    "kinds": KINDS,
    "models": MODELS,
    "tasks": TASKS,
    "graphs": GRAPHS,
    "workflows": WORKFLOWS,
}


@dataclass(frozen=True)
class Edit:
    """A change of one module: ``old`` becomes ``new``, or ``new`` is what it begins with."""

    name: str
    module: str
    new: str
    old: str = ""

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    def applied(self) -> dict[str, str]:
        """Return the modules with the change."""
        text = MODULES[self.module]
        if self.old:
            assert text.count(self.old) == 1, (self.name, text.count(self.old))
        return {**MODULES, self.module: text.replace(self.old, self.new) if self.old else self.new + text}


def layouts(modules: Mapping[str, str]) -> dict[str, str]:
    """Return the files of both layouts."""
    whole = "".join(_without_own_imports(text) for text in modules.values())
    return {"one": whole, "six/__init__": "", **{f"six/{name}": text for name, text in modules.items()}}


def _without_own_imports(text: str) -> str:
    lines, inside = [], False
    for line in text.splitlines(keepends=True):
        inside = line.startswith("from .") or inside
        lines += [] if inside else [line]
        inside = inside and line.rstrip().endswith(("(", ","))
    return "".join(lines)


def _edit(module: str, name: str, old: str, new: str) -> Edit:
    return Edit(name, module, new, old)


COMMENTS: Final = [
    *(Edit(f"a comment in {module}", module, "# A comment.\n") for module in ("bases", "tasks")),
    *(Edit(f"a blank line in {module}", module, "\n") for module in ("models", "workflows")),
]

EDITS: Final = [
    # bases
    _edit("bases", "a base of a field's type changed", "class Town(Place):", "class Town(BaseModel):\n    street: str"),
    _edit("bases", "a field's type in a model's base changed", "day: str", "day: int"),
    _edit("bases", "a field of a model's base removed", "    day: str", "    pass"),
    _edit("bases", "a field of a model's base added", "day: str", "day: str\n    payment_id: int"),
    _edit("bases", "a model's base without BaseModel", "class Dated(BaseModel):", "class Dated:"),
    # kinds
    _edit("kinds", "an alias of a type changed", "Money: TypeAlias = Decimal", "Money: TypeAlias = str"),
    _edit("kinds", "an alias of Annotated of another type", '[int, "total"]', '[str, "total"]'),
    _edit("kinds", "an enum that JSON doesn't give back", "class Colour(str, Enum):", "class Colour(Enum):"),
    _edit("kinds", "a secret in a nested model", "row: int", "row: SecretStr"),
    _edit(
        "kinds",
        "a secret that is serialized",
        "row: int",
        "row: SecretStr\n\n    @field_serializer('row')\n    def dumped(self, row: SecretStr) -> str: ...",
    ),
    _edit("kinds", "a dataclass's field changed", "height: int = 1", "height: SecretStr = SecretStr('1')"),
    _edit("kinds", "a dataclass no longer", "@dataclass\n", ""),
    _edit("kinds", "a TypedDict no longer", "class Labels(TypedDict):", "class Labels:"),
    _edit("kinds", "a generic model's field changed", "inside: T", "inside: dict[tuple[T, T], T]"),
    # models
    _edit(
        "models",
        "a field's type changed",
        "class Pick(BaseModel):\n    sku: str",
        "class Pick(BaseModel):\n    sku: int",
    ),
    _edit("models", "a field added", "class Parcel(BaseModel):", "class Parcel(BaseModel):\n    weight: int"),
    _edit("models", "a field removed", "order_id: int\n    sku: str\n", "order_id: int\n"),
    _edit("models", "a default added", "customer: str\n\n\nclass Order(", 'customer: str = ""\n\n\nclass Order('),
    _edit(
        "models",
        "a default by Field added",
        "customer: str\n\n\nclass Order(",
        'customer: str = Field("")\n\n\nclass Order(',
    ),
    _edit("models", "a default removed", 'memo: str = ""', "memo: str"),
    _edit("models", "a field excluded", "tracking: str", "tracking: str = Field(exclude=True)"),
    _edit("models", "a Reduce added", '[int, "points"]', "[int, Reduce(operator.add)]"),
    _edit(
        "models",
        "a predicate's model changed",
        "class Large(BaseModel):\n    amount: Decimal",
        "class Large(BaseModel):\n    limit: int",
    ),
    _edit(
        "models",
        "an argument of a field's type changed",
        "size: Size\n    box: Box[int]\n\n\nclass Res",
        "size: Size\n    box: Box[str]\n\n\nclass Res",
    ),
    _edit(
        "models",
        "a model replaced by another",
        "class Reservation(BaseModel):\n    shelf: Shelf",
        "Reservation = Order",
    ),
    _edit("models", "a model no longer", "class Shipment(BaseModel):", "class Shipment:"),
    _edit("models", "a model gone", "class Shipment(BaseModel):\n    tracking: str\n", ""),
    # tasks
    _edit("tasks", "a parameter's model changed", "pick: Pick", "pick: Parcel"),
    _edit("tasks", "a parameter added", "pick: Pick", "pick: Pick, parcel: Parcel"),
    _edit("tasks", "an output changed", "-> Reservation:", "-> Points:"),
    _edit("tasks", "an error model changed", "Result[Payment, Declined]", "Result[Payment, Refused]"),
    _edit("tasks", "an error model no longer", "Result[Payment, Declined]", "Payment"),
    _edit("tasks", "a task renamed", "@task\ndef reserve", '@task(name="hold")\ndef reserve'),
    _edit("tasks", "a task renamed as another", "@task\ndef reserve", '@task(name="charge")\ndef reserve'),
    _edit("tasks", "no task any longer", "@task\ndef reserve", "def reserve"),
    _edit("tasks", "a predicate's parameter changed", "order: Large", "order: Parcel"),
    _edit("tasks", "a predicate without a model", "order: Large", "order: int"),
    # graphs
    _edit("graphs", "a structure changed", "handled = charge & reserve", "handled = early >> charge & reserve"),
    _edit("graphs", "a node left out", "handled = charge & reserve", "handled = charge & charge"),
    _edit("graphs", "a when added", "handled = charge & reserve", "handled = charge & reserve.when(is_large)"),
    _edit(
        "graphs", "a trigger rule added", "handled = charge & reserve", 'handled = charge & reserve.on("any_failed")'
    ),
    _edit("graphs", "a node renamed", "handled = charge & reserve", 'handled = charge & reserve.named("charge")'),
    _edit(
        "graphs",
        "a field written elsewhere",
        "handled = charge & reserve",
        'handled = charge & reserve.writing(shelf="s")',
    ),
    _edit("graphs", "a tuple of less", "pair = (charge, reserve)", "pair = (charge, charge)"),
    _edit("graphs", "a structure lost", "pair = (charge, reserve)", "pair = [charge, reserve]"),
    _edit("graphs", "an attribute of a class changed", "last = ship", "last = audit"),
    _edit("graphs", "a declared output changed", "Graph[Parcel, Shipment]", "Graph[Parcel, Payment]"),
    _edit("graphs", "a declared input changed", "Graph[Order, Payment]", "Graph[Shipment, Payment]"),
    _edit("graphs", "a sealed row changed", "sealed(Parcel, Shipment)", "sealed(Order, Payment)"),
    # workflows
    _edit("workflows", "an input left out", "reserve >> charge >> ship, input=OrderRef", "reserve >> charge >> ship"),
    _edit("workflows", "a chain turned round", "fetch >> handled >> Ends.last)", "handled >> fetch >> Ends.last)"),
]

# No type changes, so that a daemon does not look at the models again.
STALE: Final = [
    _edit("kinds", "a Reduce in an alias elsewhere", '[int, "total"]', "[int, Reduce(operator.add)]"),
]
BROKEN: Final = _edit("models", "a syntax error", "class Shipment(BaseModel):", "class Shipment(BaseModel:")
