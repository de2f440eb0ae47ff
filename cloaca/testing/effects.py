"""Effects on the outside world, as a simulation sees them: each is a place where a process may be killed.

It knows no simulation: who runs one sets ``WITNESS`` in the context in which the bodies run.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol


class World(Protocol):
    """Something outside that remembers, such as a ledger."""

    def remembered(self) -> object:
        """Return all that it holds."""
        ...

    def restore(self, remembered: object) -> None:
        """Hold again what it held then."""
        ...


class Witness(Protocol):
    """Who is told before an effect happens. May raise, and then it does not happen."""

    def effect(self, world: World) -> None: ...


WITNESS: ContextVar[Witness | None] = ContextVar("cloaca_effects", default=None)


def about_to_happen(world: World) -> None:
    """Say that an effect on ``world`` is about to happen. Outside of simulations nobody is there to hear it."""
    witness = WITNESS.get()
    if witness is not None:
        witness.effect(world)
