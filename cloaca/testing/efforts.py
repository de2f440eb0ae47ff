"""How much a test tries where it does not say so itself: pytest's options change it, for the whole session."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final


@dataclass(slots=True)
class Effort:
    """How much is tried, and how.

    Attributes:
        examples: inputs for each test.
        scenarios: scenarios of several deviations for each input.
        sweep: whether every single deviation is tried once, with the first input.
        seed: decides all that is left to chance; None for another one each time.
        replay: what to run instead of all that, as a failing test has printed it.
        driver: what the worker runs on: ``step`` and ``loop`` are the memory store on virtual time.
        executions: how many there were so far.
    """

    examples: int = 50
    scenarios: int = 5
    sweep: bool = True
    seed: int | None = None
    replay: str | None = None
    driver: str = "step"
    executions: int = 0


EFFORT: Final = Effort()
DRIVERS: Final = ("step", "loop", "sqlite", "postgres")
DATABASES: Final = frozenset({"sqlite", "postgres"})


def vars_of(effort: Effort) -> dict[str, Any]:
    """Return its values by name."""
    return asdict(effort)
