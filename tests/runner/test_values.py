"""Values of every kind, from the input through tasks that read some of them to the outcome: none changes on the way."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, create_model
from returns.result import Failure, Success

from cloaca import RunFailure, Workflow, task
from tests.runner.databases import Database, asynchronous
from tests.runner.shop import Order


class Colour(Enum):
    RED = "red"
    BLUE = 2


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str


class Tree(BaseModel):
    value: int
    branches: list[Tree] = []


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]

VALUES: list[tuple[Any, Any]] = [
    (int, 2**53 + 1),
    (int, -(2**63) - 1),
    (int, 10**40),
    (float, 0.1 + 0.2),
    (float, 5e-324),
    (float, 1.7976931348623157e308),
    (float, -0.0),
    (float, math.inf),
    (float, math.nan),
    (bool, True),
    (str, "a\x00\u2028\U0001f408\\\"'"),
    (str, ""),
    (str | None, None),
    (int | str, "7"),
    (bytes, b"bytes"),
    (Decimal, Decimal("1.10")),
    (Decimal, Decimal("1E+20")),
    (datetime, datetime(2026, 3, 29, 2, 30, 1, 999999, tzinfo=UTC)),
    (datetime, datetime(1, 1, 1)),
    (date, date(9999, 12, 31)),
    (time, time(23, 59, 59, 1)),
    (timedelta, timedelta(days=-1, microseconds=1)),
    (UUID, UUID(int=7)),
    (PurePosixPath, PurePosixPath("/a/b")),
    (Colour, Colour.BLUE),
    (list[int], []),
    (tuple[int, str], (1, "a")),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (dict[str, float], {"": 1.5}),
    (dict[int, list[Decimal]], {7: [Decimal("0.5")]}),
    (Pet, Dog(name="rex")),
    (list[Pet], [Cat(lives=9), Dog(name="rex")]),
    (Tree, Tree(value=1, branches=[Tree(value=2)])),
    (Any, {"any": [1, None, "x"]}),
]


@pytest.mark.parametrize(("type", "value"), VALUES, ids=lambda value: f"{value}"[:30])
@asynchronous
async def test_a_value_stays_what_it_is(database: Database, type: Any, value: Any) -> None:
    seen: list[Any] = []
    config = ConfigDict(ser_json_inf_nan="constants")
    whole: Any = create_model("Whole", __config__=config, thing=(type, ...), order=(int, ...))
    part: Any = create_model("Part", __config__=config, thing=(type, ...))  # put together: it is one field of two
    other: Any = create_model("Other", __config__=config, other=(type, ...))

    def passes(given: Any) -> Any:
        seen.append(given.thing)
        return other(other=given.thing)

    def ends(given: Any) -> None:
        seen.append(given.other)

    passes.__annotations__ = {"given": part, "return": other}
    ends.__annotations__ = {"given": other, "return": None}
    workflow: Workflow[Any, Any] = Workflow("values", task(passes) >> task(ends), input=whole, output=whole)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, whole(thing=value, order=1))
        match await handle.result():
            case Success(answer):
                seen.append(answer.thing)
            case failed:
                pytest.fail(f"{failed}")
        context = await handle.context()
        output: Any = await handle.output_of("passes")
    for got in (*seen, context["thing"], context["other"], output.other):
        assert same(got, value)


class Measured(BaseModel):
    values: list[float]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
@asynchronous
async def test_what_a_model_writes_as_null_is_refused(database: Database, odd: float) -> None:
    """Pydantic's default for NaN and infinity: ``ser_json_inf_nan="constants"`` lets them pass."""

    @task
    def measure(order: Order) -> Measured:
        return Measured(values=[1.0, odd])

    workflow = Workflow("measured", measure)
    async with database.runner(workflow) as runner:
        match await runner.run(workflow, Order(order=1)):
            case Failure(RunFailure(task="measure", failures=(failure,))):
                assert failure.exception_type == "UnstablePayload"
                assert "Measured.values" in failure.message
            case other:
                pytest.fail(f"{other}")


def same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return repr(one) == repr(other)
    return one == other and one.__class__ is other.__class__


class Aliased(BaseModel):
    number: int = Field(alias="Number")


@asynchronous
async def test_aliases_are_for_others(database: Database) -> None:
    """Fields are known by their names: an alias is how another program calls them."""

    class Named(BaseModel):
        number: int

    @task
    def aliased(order: Order) -> Aliased:
        return Aliased(Number=order.order)

    @task
    def reads(named: Named, aliased: Aliased) -> Named:
        assert aliased.number == named.number
        return Named(number=named.number + 1)

    workflow = Workflow("aliased", aliased >> reads)
    async with database.runner(workflow) as runner:
        handle = await runner.start(workflow, Order(order=1))
        assert await handle.result() == Success(Named(number=2))
        assert await handle.output_of(aliased) == Aliased(Number=1)
