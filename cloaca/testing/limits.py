"""The limits of queues in a simulation: how many bodies of a queue run at once, and how many begin within its window.

A body counts as long as the lease of its worker lasts, as slots do: what a worker goes on with that was taken for dead
is no business of its queue any more. It knows bodies and leases, not how slots are given out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from cloaca.algebra.queues import Queue
from cloaca.testing.leases import Leases
from cloaca.testing.scenes import Scene

SAME_S = 0.001


class Limits:
    """Counts the bodies of each queue that has limits, and writes into the world where there are too many."""

    def __init__(self, scene: Scene, leases: Leases, queues: Iterable[Queue]) -> None:
        self._scene, self._leases = scene, leases
        self._queues = {queue.name: queue for queue in queues}
        self._running: dict[str, list[int]] = defaultdict(list)  # the sessions of bodies that run
        self._starts: dict[str, list[float]] = defaultdict(list)

    def begins(self, name: str | None, session: int) -> None:
        """A body of a queue begins."""
        queue = None if name is None else self._queues.get(name)
        if queue is None or session not in self._leases:
            return
        running, starts = self._running[queue.name], self._starts[queue.name]
        running.append(session)
        at_work = sum(each in self._leases for each in running)
        if queue.concurrency is not None and at_work > queue.concurrency:
            self._wrong(f'{at_work} bodies of queue "{queue.name}" run at once, of which {queue.concurrency} may')
        now = self._scene.clock.now()
        starts.append(now)
        if queue.starts is None or queue.window_s is None or not self._punctual:
            return
        starts[:] = [start for start in starts if start > now - queue.window_s + SAME_S]
        if len(starts) > queue.starts:
            self._wrong(f'{len(starts)} bodies of queue "{queue.name}" began within {queue.window_s:g} s')

    def ends(self, name: str | None, session: int) -> None:
        """A body of a queue is over."""
        if name in self._queues and session in self._running[name]:
            self._running[name].remove(session)

    @property
    def _punctual(self) -> bool:
        """Whether bodies begin when their slots are given out: not those of a worker that is silent meanwhile."""
        return self._scene.clock.steady and not self._scene.scenario.of_kinds({"zombie"})

    def _wrong(self, what: str) -> None:
        self._scene.world.violations.append(f"queue-limit: {what}")
