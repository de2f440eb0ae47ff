"""What a child process of a runner calls for each job: an attempt, with the codec of its parent.

It runs in the child, and knows nothing but how the two are put together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from cloaca.codecs import MEBIBYTE, JsonCodec
from cloaca.interpreter import bodies

ENTRY: Final = "cloaca.runner.children:perform"


def perform(errand: dict[str, Any], tell: Callable[[object], None]) -> dict[str, object]:
    """Make an attempt; return what became of it."""
    return bodies.perform(errand, tell, JsonCodec(errand.get("limit", MEBIBYTE)))
