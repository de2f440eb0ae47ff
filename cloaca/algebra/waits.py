"""Waits: nodes without a body that are over when a moment has come, a signal is there, or another run has ended.

It knows durations and rows; when a wait has begun, and what ends it, is the machine's and the interpreter's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from math import isfinite
from typing import Any, ClassVar, Protocol, Self

from pydantic import BaseModel
from typing_extensions import TypeVar

from cloaca.algebra.declarations import Reader, Renames, renamed, renamed_writes, whole_key
from cloaca.algebra.graphs import Hidden, In, Node, Out, Row
from cloaca.algebra.models import model_name, row_of
from cloaca.algebra.retries import LONGEST_S, Seconds, in_seconds
from cloaca.algebra.signatures import ANNOTATIONS
from cloaca.errors import ContractError

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, eq=False, repr=False)
class Wait(Node[In, Out, Hidden]):
    """A node that waits. ``input`` is the row it reads, ``output`` the row it writes, ``whole`` the key of ``into``."""

    kind: ClassVar[str] = "wait"

    input: Row = field(default=None, kw_only=True)
    output: Row = field(default=None, kw_only=True)
    reads: Renames = field(default=(), kw_only=True)
    writes: Renames = field(default=(), kw_only=True)
    whole: str | None = field(default=None, kw_only=True)

    def identity(self) -> tuple[object, ...]:
        """Its rows and keys count too."""
        return (*super().identity(), self.input, self.output, self.reads, self.writes, self.whole)

    @property
    def seconds(self) -> float | None:
        """When it is over at the latest, in seconds after it has begun; None for whenever that may be."""
        return None


@dataclass(frozen=True, eq=False, repr=False)
class Writing(Wait[In, Out, Hidden]):
    """A wait that writes a row."""

    def writing(self, **keys: str) -> Self:
        """Return the same wait with output fields written to other context keys: ``w.writing(by="approved_by")``.

        Raises:
            ContractError: ``task-model``: two fields would be written to one key.
        """
        fields = row_of(self.output) if self.output else ()
        return self._changed(writes=renamed_writes(self.name, self.writes, keys, fields))

    def into(self, key: str, /) -> Self:
        """Return the same wait, writing its whole output model as the one field ``key``."""
        return self._changed(whole=whole_key(self.name, key, self.output))


@dataclass(frozen=True, eq=False, repr=False)
class Sleep(Wait[In, Out, Hidden]):
    """A durable timer. Made by ``sleep``."""

    kind: ClassVar[str] = "sleep"

    duration_s: float = field(kw_only=True)

    def identity(self) -> tuple[object, ...]:
        """How long it is counts too."""
        return (*super().identity(), self.duration_s)

    @property
    def seconds(self) -> float:
        """How long it is, in seconds."""
        return self.duration_s

    @property
    def detail(self) -> str:
        """How long it is."""
        return lasting(self.duration_s)


@dataclass(frozen=True, eq=False, repr=False)
class WaitFor(Writing[In, Out, Hidden]):
    """A durable wait for a signal of the model ``output``. Made by ``wait_for``."""

    kind: ClassVar[str] = "wait"

    timeout_s: float | None = field(default=None, kw_only=True)

    def identity(self) -> tuple[object, ...]:
        """How long it waits counts too."""
        return (*super().identity(), self.timeout_s)

    @property
    def seconds(self) -> float | None:
        """How long it waits, in seconds; None for ever."""
        return self.timeout_s

    @property
    def detail(self) -> str:
        """How long it waits, if not for ever."""
        return "" if self.timeout_s is None else f"at most {lasting(self.timeout_s)}"


class Child(Protocol):
    """What a node needs of the workflow that it starts."""

    @property
    def name(self) -> str: ...
    @property
    def input(self) -> Row: ...
    @property
    def output(self) -> Row: ...


@dataclass(frozen=True, eq=False, repr=False)
class Subflow(Writing[In, Out, Hidden]):
    """A run of another workflow, as a node. Made by ``subflow``. ``sure``: the workflow always has an output."""

    kind: ClassVar[str] = "subflow"

    workflow: Child = field(kw_only=True)
    sure: bool = field(default=True, kw_only=True)

    def identity(self) -> tuple[object, ...]:
        """The workflow counts too."""
        return (*super().identity(), self.workflow)

    @property
    def detail(self) -> str:
        """The two rows, as in ``Order -> Payment``."""
        return " -> ".join(row.__name__ if row else "()" for row in (self.input, self.output))

    def reading(self, **keys: str) -> Self:
        """Return the same node with fields of the workflow's input read from other context keys."""
        known = row_of(self.input) if self.input else ()
        return self._changed(reads=renamed(self.reads, keys, known, f'Task "{self.name}" reads'))


def sleep(duration: Seconds, /) -> Sleep[None, None]:
    """Return a durable timer of ``duration`` (seconds, or a ``timedelta``); it holds no thread and no slot.

    It begins when what comes before it is done, and is over at the same moment whatever happens meanwhile: restarts,
    crashes, a pause. The node is named ``sleep``: where a graph has two, give them names: ``sleep(60).named("cool")``.

    Raises:
        TypeError: ``duration`` is neither a number nor a ``timedelta``.
        ValueError: it is negative, not finite, or longer than a hundred years.

    >>> sleep(timedelta(hours=1, minutes=30)).detail
    '1 h 30 min'
    """
    return Sleep("sleep", duration_s=_seconds("sleep", duration))


def wait_for(model: type[M], /, *, timeout: Seconds | None = None) -> WaitFor[None, M]:
    """Return a durable wait for ``handle.send(model(...))``, whose fields it writes.

    Signals may come before the wait begins: they are kept. Each is taken by one wait. After ``timeout`` (seconds, or a
    ``timedelta``) from its beginning the wait has failed, with ``WaitTimeout``; without one it waits for ever. It holds
    no thread and no slot. The node is named ``wait_for:`` and the model; ``.named`` gives it another name.

    Raises:
        ContractError: ``task-model``: ``model`` is no pydantic model, or can't survive JSON.
        TypeError: ``timeout`` is neither a number nor a ``timedelta``.
        ValueError: it is negative, not finite, or longer than a hundred years.

    >>> from cloaca import BlockingRunner, Workflow
    >>> class Approval(BaseModel):
    ...     by: str
    >>> approvals = Workflow("approvals", wait_for(Approval, timeout=timedelta(days=14)))
    >>> with BlockingRunner("memory://", workflows=[approvals]) as runner:
    ...     handle = runner.start(approvals)
    ...     handle.send(Approval(by="the office"))
    ...     handle.result().unwrap()
    Approval(by='the office')
    """
    name = f"wait_for:{model_name(model)}" if isinstance(model, type) else "wait_for"
    reader: Reader[type[BaseModel]] = Reader(name, f'Task "{name}"', ANNOTATIONS)
    reader.model("the signal", model)
    if reader.violations:
        raise ContractError(reader.violations)
    timeout_s = None if timeout is None else _seconds("wait_for", timeout, "timeout=")
    return WaitFor(name, output=model, timeout_s=timeout_s)


def _seconds(who: str, duration: Any, name: str = "") -> float:
    if isinstance(duration, bool) or not isinstance(duration, int | float | timedelta):
        raise TypeError(f"{who}({name}{duration!r:.80}): a duration is a timedelta, or a number of seconds")
    try:
        seconds = in_seconds(duration)
    except OverflowError:
        seconds = float("inf")
    if not isfinite(seconds) or not 0 <= seconds <= LONGEST_S:
        raise ValueError(
            f"{who}({name}{duration!r:.80}): a duration is finite, not negative, and a hundred years at most"
        )
    return seconds


_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def lasting(seconds: float) -> str:
    """Return a duration in words.

    >>> lasting(0.5), lasting(90), lasting(86_400 * 30), lasting(0)
    ('0.5 s', '1 min 30 s', '30 d', '0 s')
    """
    parts = []
    for unit, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count:g} {unit}")
    if seconds or not parts:
        parts.append(f"{seconds:g} s")
    return " ".join(parts)
