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


class Attempt(Protocol):
    """An attempt under way. ``revealed`` has the secrets that its body has asked for, by name; None for none."""

    revealed: dict[str, str] | None

    @property
    def run(self) -> Run:
        """The run that it belongs to."""
        ...

    @property
    def task(self) -> str:
        """The name by which its body knows the task."""
        ...

    @property
    def number(self) -> int:
        """Its number, from 1."""
        ...

    @property
    def place(self) -> Place:
        """The worker that makes it."""
        ...


@dataclass(slots=True)
class Told:
    """An attempt as a child process was told of it."""

    run: Run
    task: str
    number: int
    place: Place
    revealed: dict[str, str] | None = None


def facts(attempt: Attempt) -> dict[str, object]:
    """Return what a log record says of one: ``run``, ``task``, ``attempt``, ``workflow``, ``worker``, ``tenant``."""
    return {
        "run": str(attempt.run.id),
        "task": attempt.task,
        "attempt": attempt.number,
        "workflow": attempt.run.workflow,
        "worker": attempt.place.worker,
        "tenant": attempt.place.tenant,
    }


ATTEMPT: ContextVar[Attempt | None] = ContextVar("cloaca_attempt", default=None)
