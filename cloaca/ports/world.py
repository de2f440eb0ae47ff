"""The world as the interpreter sees it: a clock, and one of each port. It knows no implementation of any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from cloaca.ports.executors import Executor, Processes
from cloaca.ports.payloads import Codec
from cloaca.ports.stores import Store


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """The world as the interpreter sees it."""

    store: Store
    clock: Clock
    executor: Executor
    codec: Codec
    processes: Processes
    tenant: str | None = None
    secrets: Any = None  # where ``Secret.reveal`` finds values, None for the environment
    telemetry: Any = None  # a ``telemetry.Telemetry``, None if nobody wants to know
