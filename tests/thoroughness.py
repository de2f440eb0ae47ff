"""How much is tried of cases that are much alike: a part of them, or all with ``CLOACA_TEST_ALL=1``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final, TypeVar

T = TypeVar("T")

ALL: Final = os.environ.get("CLOACA_TEST_ALL") == "1"


def some(cases: Iterable[T], every: int) -> list[T]:
    """Return one of ``every`` cases, the first among them; all of them if all are to be tried."""
    return list(cases) if ALL else list(cases)[::every]
