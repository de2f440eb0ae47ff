"""The attempt that this code is part of, if it is part of one: for log records, and for secrets.

A context variable has it, so that it follows a body onto its thread and into the asyncio tasks that it starts. It
knows names and numbers, and neither workers nor runs.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol


class Run(Protocol):
    """What is to be known of a run."""

    @property
    def id(self) -> int:
        """Its id."""
        ...

    @property
    def workflow(self) -> str:
        """The name of its workflow."""
        ...


class Place(NamedTuple):
    """What the attempts of one worker have in common: its session, its tenant, its event loop, where secrets are."""

    worker: int
    tenant: str | None = None
    secrets: Any = None
    loop: Any = None


class RunName(NamedTuple):
    """A run as a child process knows it."""

    id: int
    workflow: str


@dataclass(slots=True)
class Attempt:
    """An attempt under way. ``revealed`` has the secrets that its body has asked for, by name; None for none."""

    run: Run
    task: str
    number: int
    place: Place
    revealed: dict[str, str] | None = None

    def facts(self) -> dict[str, object]:
        """Return what a log record says of it: ``run``, ``task``, ``attempt``, ``workflow``, ``worker``, ``tenant``."""
        return {
            "run": str(self.run.id),
            "task": self.task,
            "attempt": self.number,
            "workflow": self.run.workflow,
            "worker": self.place.worker,
            "tenant": self.place.tenant,
        }


ATTEMPT: ContextVar[Attempt | None] = ContextVar("cloaca_attempt", default=None)
