"""``runner.schedules`` without ``await``. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime
from typing import Any, Protocol, TypeVar

from cloaca.interpreter.firings import Firing, Schedule, ScheduleStatistics
from cloaca.runner.schedules import Firings, Schedules

T = TypeVar("T")


class Call(Protocol):
    """Waits for a coroutine on another thread."""

    def __call__(self, work: Coroutine[Any, Any, T]) -> T: ...


class BlockingSchedules:
    """``Schedules`` without ``await``."""

    def __init__(self, schedules: Schedules, call: Call) -> None:
        self._schedules, self._call = schedules, call

    def list(self, *, limit: int = 100, after: str | None = None) -> list[Schedule]:
        """As ``Schedules.list``."""
        return self._call(self._schedules.list(limit=limit, after=after))

    def get(self, name: str) -> Schedule:
        """As ``Schedules.get``."""
        return self._call(self._schedules.get(name))

    def update(self, name: str, **changes: Any) -> Schedule:
        """As ``Schedules.update``."""
        return self._call(self._schedules.update(name, **changes))

    def pause(self, name: str) -> Schedule:
        """As ``Schedules.pause``."""
        return self._call(self._schedules.pause(name))

    def resume(self, name: str) -> Schedule:
        """As ``Schedules.resume``."""
        return self._call(self._schedules.resume(name))

    def delete(self, name: str) -> None:
        """As ``Schedules.delete``."""
        self._call(self._schedules.delete(name))

    def history(self, name: str, *, limit: int = 50, before: datetime | None = None) -> Firings:
        """As ``Schedules.history``."""
        return self._call(self._schedules.history(name, limit=limit, before=before))

    def statistics(self, name: str) -> ScheduleStatistics:
        """As ``Schedules.statistics``."""
        return self._call(self._schedules.statistics(name))

    def backfill(self, name: str, start: datetime, end: datetime, *, concurrency: int = 1) -> int:
        """As ``Schedules.backfill``."""
        return self._call(self._schedules.backfill(name, start, end, concurrency=concurrency))

    def run_now(self, name: str) -> Firing:
        """As ``Schedules.run_now``."""
        return self._call(self._schedules.run_now(name))
