"""The slots of queues in memory: the reference of who gets one, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cloaca.ports import Granted, QueueRow, SlotRow


@dataclass(slots=True)
class MemorySlots:
    """Slots by session and ticket, those that are held, and for each queue when attempts started."""

    queues: dict[str, QueueRow] = field(default_factory=dict)
    wanted: dict[tuple[int, int], SlotRow] = field(default_factory=dict)
    held: dict[tuple[int, int], SlotRow] = field(default_factory=dict)
    starts: dict[str, list[float]] = field(default_factory=dict)

    def declare(self, queues: Sequence[QueueRow]) -> list[QueueRow]:
        """Set the limits of queues; return those that had others, as they were."""
        before = [self.queues.get(queue.name, queue) for queue in queues]
        self.queues.update((queue.name, queue) for queue in queues)
        return [old for old, new in zip(before, queues, strict=True) if old != new]

    def free(self, session: int, tickets: Sequence[int] | None = None) -> None:
        """Forget slots of a session, all of them unless some are named."""
        for slots in (self.wanted, self.held):
            for key in [key for key in slots if key[0] == session and (tickets is None or key[1] in tickets)]:
                del slots[key]

    def acquire(self, sessions: Mapping[int, float], session: int, wanted: Sequence[SlotRow], at: float) -> Granted:
        """Want slots, and give those out that are free in the queues in which the session waits."""
        for row in wanted:
            if (session, row.ticket) not in self.held:
                self.wanted.setdefault((session, row.ticket), row)
        due_s = {}
        for queue in sorted(self._queues_of(session)):
            due = self._serve(sessions, queue, at)
            if due is not None and queue in self._queues_of(session):
                due_s[queue] = due
        return Granted(frozenset(ticket for owner, ticket in self.held if owner == session), due_s)

    def _queues_of(self, session: int) -> set[str]:
        return {row.queue for (owner, _), row in self.wanted.items() if owner == session}

    def _serve(self, sessions: Mapping[int, float], queue: str, at: float) -> float | None:
        limits = self.queues.get(queue, QueueRow(queue, None, None, None))
        waiting = [key for key, row in self.wanted.items() if row.queue == queue and sessions.get(key[0], at - 1) >= at]
        waiting.sort(key=lambda key: (-self.wanted[key].priority, self.wanted[key].run, *key))
        if limits.concurrency is not None:
            taken = sum(row.queue == queue for row in self.held.values())
            waiting = waiting[: max(0, limits.concurrency - taken)]
        if limits.starts is None or limits.window_s is None:
            self._give(waiting)
            return None
        counted = sorted(min(start, at) for start in self.starts.get(queue, ()) if start > at - limits.window_s)
        left = max(0, limits.starts - len(counted))
        self._give(waiting[:left])
        self.starts[queue] = counted + [at] * len(waiting[:left])
        return None if len(waiting) < left else (counted[0] if counted else at) + limits.window_s - at

    def _give(self, keys: Sequence[tuple[int, int]]) -> None:
        for key in keys:
            self.held[key] = self.wanted.pop(key)
