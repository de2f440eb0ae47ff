"""A function with every kind of syntax that Pythons print differently: its fingerprint is to be the same on all."""

# ruff: noqa: B018, F841, PLC3002, PLW0131, PLW0602, RUF059
# mypy: ignore-errors=True

from __future__ import annotations

import datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache, partial

RATE = Decimal("1.19")
NAMES = ("a", "b")
KINDS = frozenset({"x", "y", "z", "w"})
CACHE = []
SINCE = datetime.date(2026, 1, 1)


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Calculator:
    """Adds."""

    factor: int = 3

    def run(self, x: int) -> int:
        return helper(x) * self.factor


@lru_cache
def helper(x: int) -> int:
    "The names."
    doubled = [i * 2 for i in range(x)]
    return sum(doubled) + len(NAMES) + len(KINDS)


halved = partial(helper, 2)
rounded, squared = (lambda x: round(x, 2)), (lambda x: x**2)


async def exotic(i, /, j: int = 3, *rest: int, k=RATE, **more: int) -> dict[str, int]:
    """Everything."""
    text = f"{i!r:>{10}} {j=} nested {f'{k}'} \N{SNOWMAN} \U0001fae9 {i:}tailx{j}{{}}"
    text += f"""{i} lines"""
    match i:
        case "x" | "y" as found:
            pass
        case {"a": [1, *others], **rest_of}:
            pass
        case Color.RED | Calculator(factor=3):
            pass
        case _:
            pass
    try:
        added = (lambda z, /, *, k=1: z + k)(1)
    except* (ValueError, TypeError) as group:
        raise RuntimeError from group
    else:
        del added
    finally:
        global CACHE
    async with i as a, j as (b, c):
        async for x in a:
            yield x
    counted = {key: value async for key, value in i if key if not value}
    1e10, 1_000, 0xFF, b"\xff", ..., 1j, -1, None, True, "\ud800", 10**100
    (walrus := i[1:2, ::3, ...])
    while not (i is not None and j not in NAMES):
        break
    assert Calculator().run(j) @ halved(), (CACHE, SINCE)
    x: int = squared(rounded(j))
    return
