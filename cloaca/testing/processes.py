"""Simulated processes: who a callback belongs to. A process that is killed never runs again, one that is frozen later.

It knows callbacks, not what runs them.
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Callback = Callable[..., object]


class Call:
    """A callback that is to run, as a part of its process. asyncio holds it, to cancel it."""

    __slots__ = ("args", "callback", "context", "housekeeping", "process")

    def __init__(
        self, callback: Callback, args: tuple[Any, ...], context: contextvars.Context, process: Process
    ) -> None:
        self.callback: Callback | None = callback
        self.args, self.context, self.process = args, context, process
        self.housekeeping = False

    def cancel(self) -> None:
        """Never run it."""
        self.callback, self.args = None, ()

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self.callback is None


@dataclass(eq=False)
class Process:
    """A simulated process: ``alive`` until it is killed, at rest until ``frozen_until``.

    ``ready`` are its callbacks that may run, in their order: within a process they run as asyncio promises.
    """

    name: str
    alive: bool = True
    frozen_until: float = 0.0
    ready: deque[Call] = field(default_factory=deque)

    def __repr__(self) -> str:
        return f"<process {self.name}>"


PROCESS: contextvars.ContextVar[Process] = contextvars.ContextVar("cloaca_simulated_process")
